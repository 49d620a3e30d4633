"""A cluster whose workers, whose server and whose submitting process die: nothing is lost, nothing is sent twice."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from accounts import adds_up, keeps_its_pace, sent, settled_account
from batches import create_batch, eventually
from crew import Place, PlacedWorkspace, pid_of_runner, submit, work
from long_form import FULL
from postgres_server import PostgresServer
from processes import Processes, requests_later

import batchkit as bk
from batchkit.core.wake import RESTING, Wake
from batchkit.engine.wakes import Wakes
from batchkit.io import leases
from batchkit.io.address import address_of, conninfo_of

KILLS = 40 if FULL else 2
RESTARTS = 12 if FULL else 1


@pytest.fixture
def place(demo: bk.DemoPlatform, postgres: PostgresServer, tmp_path: Path) -> Iterator[Place]:
    with postgres.database() as name:
        yield Place(url=demo.url, api_key=demo.api_key, store=postgres.url(name), said=tmp_path / "said")


@pytest.fixture
def ws(place: Place) -> Iterator[PlacedWorkspace]:
    with PlacedWorkspace(place) as ws:
        yield ws


def runs(batch: bk.Batch, workers: dict[int, BaseProcess]) -> bool:
    return pid_of_runner(batch) in workers


def test_a_killed_workers_batch_goes_on_in_another_one(
    demo: bk.DemoPlatform, place: Place, ws: PlacedWorkspace, processes: Processes
) -> None:
    demo.faults.latency = 0.05
    first, second = (create_batch(ws, 30 + 60 * KILLS, max_concurrent=6, batch_interval=1) for _ in range(2))
    workers = {process.pid: process for process in (processes.start(work, place) for _ in range(2))}
    killed = 0
    while killed < KILLS:
        eventually(lambda: runs(first, workers))
        requests_later(demo, 3)
        pid = pid_of_runner(first)
        if pid not in workers:
            # It has just been left; the next one is killed.
            continue
        processes.kill(workers.pop(pid))
        killed += 1
        replaced = processes.start(work, place)
        workers[replaced.pid] = replaced
        eventually(lambda gone=pid: pid_of_runner(first) not in (0, gone))
        adds_up(first)
    for batch in (first, second):
        # Two groups at least, of whichever the killed worker had.
        eventually(lambda batch=batch: len(sent(demo, batch)) > 6)
        keeps_its_pace(sent(demo, batch), 6, 1)
        batch.update(batch_interval=0)
        batch.join()
        settled_account(demo, batch)


def test_when_all_workers_were_killed_a_new_one_goes_on(
    demo: bk.DemoPlatform, place: Place, ws: PlacedWorkspace, processes: Processes
) -> None:
    workers = [processes.start(work, place) for _ in range(2)]
    submitter = processes.start(submit, place, 150, 6, 1)
    requests_later(demo, 6)
    # Whoever made the batch goes first.
    processes.kill(submitter)
    [batch] = ws.batches()
    requests_later(demo, 4)
    for process in workers:
        processes.kill(process)
    eventually(lambda: batch.interrupted)
    before = demo.requests.count
    processes.start(work, place)
    # Two groups, at least.
    eventually(lambda: demo.requests.count > before + 6)
    keeps_its_pace(sent(demo, batch), 6, 1)
    batch.update(batch_interval=0)
    batch.join()
    settled_account(demo, batch)


def test_a_server_that_was_killed_and_is_back_costs_no_row(
    demo: bk.DemoPlatform, place: Place, processes: Processes, server: PostgresServer
) -> None:
    dice = random.Random(3)
    demo.faults.latency = 0.03
    with server.database() as name:
        place = replace(place, store=server.url(name))
        with PlacedWorkspace(place) as ws:
            workers = [processes.start(work, place) for _ in range(2)]
            running = [create_batch(ws, 20 + 25 * RESTARTS, max_concurrent=5, batch_interval=1) for _ in range(2)]
            resting = create_batch(ws, 2, max_concurrent=1, batch_interval=3600)
            eventually(lambda: resting.progress.triggered == 1 and resting.record.runner == RESTING)
            for _ in range(RESTARTS):
                requests_later(demo, 10 + dice.randint(1, 20))
                server.stop()
                time.sleep(dice.random())
                server.start()
                requests_later(demo, 10)
            for batch in running:
                batch.join()
                settled_account(demo, batch)
                keeps_its_pace(sent(demo, batch), 5, 1)
            # The workers still hear of what is new.
            resting.update(batch_interval=0.2)
            eventually(lambda: resting.status == "completed")
            settled_account(demo, resting)
            for process in workers:
                process.terminate()
                processes.ends(process, seconds=60)


def test_a_worker_that_is_told_to_stop_hands_its_batches_over(
    demo: bk.DemoPlatform, place: Place, ws: PlacedWorkspace, processes: Processes
) -> None:
    demo.faults.latency = 0.2
    leaving = processes.start(work, place)
    batch = create_batch(ws, 40, max_concurrent=2, batch_interval=0.4)
    requests_later(demo, 3)
    processes.start(work, place)
    eventually(lambda: pid_of_runner(batch) == leaving.pid)
    leaving.terminate()
    processes.ends(leaving, seconds=60)
    assert pid_of_runner(batch) != leaving.pid
    batch.join()
    settled_account(demo, batch)
    assert batch.record.epoch == 2
    assert not [event for event in batch.events().itertuples() if event.kind == "in_doubt"]


def test_stale_wakes_and_those_for_nothing_do_nothing(
    demo: bk.DemoPlatform, place: Place, ws: PlacedWorkspace, processes: Processes, postgres: PostgresServer
) -> None:
    address = address_of(place.store)
    assert not isinstance(address, Path)
    wakes = Wakes(conninfo_of(address))
    database = str(address.database)

    def defer(batch_id: str, revision: int) -> None:
        target = ws.target.info.identity
        wake = Wake(batch_id=batch_id, revision=revision, due=datetime.now(UTC), target=target, at_once=True)
        ws.engine.call(wakes.defer(wake))

    # It would go on for a minute.
    paused = create_batch(ws, 120, max_concurrent=1, batch_interval=0.5)
    later = create_batch(ws, 6, max_concurrent=2, batch_interval=1, start_at=ws.clock.now() + timedelta(hours=1))
    # Its only wake is stale by now.
    paused_revision = paused.record.revision
    processes.start(work, place)
    requests_later(demo, 2)
    paused.pause()
    eventually(lambda: not paused.record.runner_alive)
    count, epochs = demo.requests.count, (paused.record.epoch, later.record.epoch)
    for batch in (paused, later):
        defer(batch.id, batch.record.revision + 7)
        defer(batch.id, batch.record.revision - 1)
    defer(paused.id, paused_revision)
    defer("b-nowhere", 0)
    # Of the wake for later there is one, and it is not due.
    eventually(lambda: _jobs(postgres, database) == [(later.id,)])
    assert demo.requests.count == count
    assert (paused.record.epoch, later.record.epoch) == epochs
    ws.engine.call(wakes.aclose())


def test_a_wake_waits_for_a_worker_with_its_target_and_that_is_said_once(
    demo: bk.DemoPlatform,
    place: Place,
    ws: PlacedWorkspace,
    processes: Processes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert place.said is not None
    demo.faults.latency = 0
    with bk.DemoPlatform(duration=0.05, failure_share=0) as another:
        processes.start(work, replace(place, url=another.url, api_key=another.api_key))
        # Of this process alone.
        monkeypatch.setattr(leases, "REST_GRACE_SECONDS", 1.0)
        batch = create_batch(ws, 2, max_concurrent=2, batch_interval=0.2)
        eventually(lambda: place.said.exists() and "no worker with that target" in place.said.read_text())
        # The worker looks every two seconds, and does not make it seem that somebody has it.
        eventually(lambda: batch.record.interrupted, seconds=10)
        time.sleep(2.5)
        assert batch.record.interrupted
        assert place.said.read_text().count("no worker with that target") == 1
        assert batch.progress.triggered == 0
        processes.start(work, place)
        batch.join()
        settled_account(demo, batch)
        assert another.requests.count == 0


def _jobs(postgres: PostgresServer, database: str) -> list[tuple[object, ...]]:
    return postgres.execute(
        "SELECT args->>'batch_id' FROM procrastinate_jobs WHERE task_name = 'batchkit.wake'", database
    )
