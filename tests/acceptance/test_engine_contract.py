"""What every engine promises, wherever its batches are kept and whoever runs them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from accounts import adds_up, keeps_its_pace, ran, sent, settled_account
from batches import create_batch, eventually
from crew import Place, PlacedWorkspace, work
from postgres_server import PostgresServer
from processes import Processes

import batchkit as bk
from batchkit.core.request import BATCH_KEY

#: seconds, of which a poll is one at most, and the rest is for a machine that does other things
_WITHIN = 10.0


@pytest.fixture(scope="module")
def platform() -> Iterator[bk.DemoPlatform]:
    agent = bk.Agent(name="Filer", inputs=[bk.InputVariable("value", schema={"type": "string"}, required=True)])
    with bk.DemoPlatform(agents=[agent], duration=0.05, failure_share=0) as platform:
        yield platform


@pytest.fixture(scope="module", params=["kernel, SQLite", "kernel, PostgreSQL", "cluster, PostgreSQL"])
def place(
    request: pytest.FixtureRequest, platform: bk.DemoPlatform, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """One of each kind, where the cluster has two workers."""
    engine, _, store = request.param.partition(", ")
    place = Place(url=platform.url, api_key=platform.api_key, store="", engine=engine)
    if store == "SQLite":
        yield replace(place, store=str(tmp_path_factory.mktemp("store") / "runs.sqlite"))
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    processes = Processes()
    with server.database() as name:
        place = replace(place, store=server.url(name))
        if engine == "cluster":
            for _ in range(2):
                processes.start(work, place)
        yield place
        processes.end_all()


@pytest.fixture
def ws(place: Place) -> Iterator[PlacedWorkspace]:
    with PlacedWorkspace(place) as ws:
        yield ws


def stands_still(platform: bk.DemoPlatform, batch: bk.Batch, seconds: float) -> list[float]:
    """What was sent, once nothing more has been for so long."""
    eventually(lambda: time.monotonic() - max(sent(platform, batch)) > seconds)
    return sent(platform, batch)


def test_rows_run_at_their_pace_and_their_outcomes_come_back(platform: bk.DemoPlatform, ws: PlacedWorkspace) -> None:
    batch = create_batch(ws, 12, max_concurrent=4, batch_interval=1)
    batch.join("finished")
    settled_account(platform, batch)
    results = batch.results()
    assert list(results["value"]) == [str(number) for number in range(12)]
    assert Counter(results["outcome"]) == {"success": 12}
    keeps_its_pace(sent(platform, batch), 4, 1)


def test_pause_holds_what_is_left_and_resume_goes_on(platform: bk.DemoPlatform, ws: PlacedWorkspace) -> None:
    batch = create_batch(ws, 60, max_concurrent=2, batch_interval=0.5)
    eventually(lambda: len(sent(platform, batch)) >= 4)
    batch.pause()
    paused = time.monotonic()
    # So long that groups would follow, had it not been paused.
    times = stands_still(platform, batch, 1.5)
    assert 4 <= len(times) < 60
    assert max(times) < paused + _WITHIN
    assert batch.status == "paused"
    adds_up(batch)
    batch.resume()
    eventually(lambda: len(sent(platform, batch)) > len(times))
    batch.update(batch_interval=0)
    batch.join("finished")
    settled_account(platform, batch)


def test_cancel_ends_it_and_what_was_triggered_goes_on(platform: bk.DemoPlatform, ws: PlacedWorkspace) -> None:
    batch = create_batch(ws, 60, max_concurrent=2, batch_interval=0.5)
    eventually(lambda: len(sent(platform, batch)) >= 2)
    batch.cancel()
    cancelled = time.monotonic()
    with pytest.raises(bk.BatchCancelled):
        batch.join()
    eventually(lambda: batch.progress.executions.succeeded == batch.progress.triggered >= 2)
    # So long that groups would follow, had it not been cancelled.
    assert max(stands_still(platform, batch, 1.5)) < cancelled + _WITHIN
    assert len(ran(platform, batch.id)) == batch.progress.triggered
    assert batch.progress.cancelled == 60 - batch.progress.triggered > 0
    adds_up(batch)


def test_single_rows_are_cancelled_and_moved(platform: bk.DemoPlatform, ws: PlacedWorkspace) -> None:
    # So far apart that the rows which are to be moved and cancelled are still pending.
    batch = create_batch(ws, 5, max_concurrent=1, batch_interval=600)
    assert batch.reschedule_items([3], ws.clock.now() + timedelta(hours=2)).done == (3,)
    assert batch.cancel_items([4]).done == (4,)
    batch.update(batch_interval=0.4)
    eventually(lambda: batch.progress.executions.succeeded == 3)
    # Where the cluster runs it, its worker leaves it alone until that hour. By now both rows would have been sent.
    stands_still(platform, batch, 1.5)
    assert batch.status == "running"
    assert batch.progress.triggered == 3
    assert not batch.interrupted
    assert set(batch.cancel_items([0]).not_done) == {0}
    assert batch.reschedule_items([3], ws.clock.now()).done == (3,)
    batch.join("finished")
    assert {item: len(them) for item, them in ran(platform, batch.id).items()} == {0: 1, 1: 1, 2: 1, 3: 1}
    adds_up(batch)


def test_other_limits_hold_at_once(platform: bk.DemoPlatform, ws: PlacedWorkspace) -> None:
    batch = create_batch(ws, 6, max_concurrent=1, batch_interval=3600)
    eventually(lambda: batch.progress.executions.succeeded == 1)
    changed = time.monotonic()
    batch.update(max_concurrent=4, batch_interval=1)
    batch.join("finished")
    settled_account(platform, batch)
    _, second, *_ = times = sent(platform, batch)
    # An hour by the former limits.
    assert second < changed + 60.0
    keeps_its_pace(times[1:], 4, 1)


def test_a_batch_starts_at_its_time_and_not_before(platform: bk.DemoPlatform, ws: PlacedWorkspace) -> None:
    start = ws.clock.now() + timedelta(seconds=1.5)
    batch = create_batch(ws, 2, max_concurrent=2, batch_interval=1, start_at=start)
    assert batch.status == "pending" or ws.clock.now() >= start
    batch.join("finished")
    began = [each.at for each in platform.requests if each.metadata.get(BATCH_KEY) == batch.id]
    assert start <= min(began) < start + timedelta(seconds=30)
    settled_account(platform, batch)


def test_a_pending_batch_can_be_cancelled(platform: bk.DemoPlatform, ws: PlacedWorkspace) -> None:
    for ahead in (1.5, 15.0, 60.0):
        start = ws.clock.now() + timedelta(seconds=ahead)
        batch = create_batch(ws, 2, max_concurrent=2, batch_interval=1, start_at=start)
        batch.cancel()
        if ws.clock.now() < start:
            break
    assert batch.status == "cancelled"
    # So long that its start has passed.
    time.sleep(max(0.0, (start - ws.clock.now()).total_seconds()) + 1.5)
    assert batch.status == "cancelled"
    assert not sent(platform, batch)


def test_where_a_cluster_runs_batches_the_process_that_made_them_runs_none(ws: PlacedWorkspace, place: Place) -> None:
    # It runs on for longer than it is looked at.
    batch = create_batch(ws, 60, max_concurrent=1, batch_interval=1)
    eventually(lambda: batch.progress.triggering or batch.progress.triggered)
    record = batch.record
    assert ws.engine.active == (() if place.engine == "cluster" else (batch.id,))
    assert record.runner_alive
    assert (record.runner == ws.engine.owner) == (place.engine == "kernel")
    batch.cancel()
