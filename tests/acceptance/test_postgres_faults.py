"""Batches in PostgreSQL: workers are killed, and so is the server; nothing is lost and nothing is sent twice."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from accounts import adds_up, settled_account
from batches import create_batch
from long_form import FULL
from postgres_server import PostgresServer
from processes import PATIENCE, Processes, requests_later
from sending import Plan, Planner, ShortWorkspace, run

import batchkit as bk

KILLS = 100 if FULL else 2
RESTARTS = 20 if FULL else 1
#: where a worker dies first
PLACES = ("after the intent", "after the answer", "after the outcome")


@pytest.fixture
def plan(demo: bk.DemoPlatform, plan: Plan, server: PostgresServer) -> Iterator[Plan]:
    demo.faults.latency = 0.04
    with server.database() as name:
        yield replace(plan, store=server.url(name))


def test_a_killed_workers_batch_goes_on_in_another(
    demo: bk.DemoPlatform, plan: Plan, planner: Planner, processes: Processes
) -> None:
    dice = random.Random(1)
    batch = create_batch(planner, 60 * KILLS + 150, max_concurrent=10, batch_interval=0)
    plan = replace(plan, batch_id=batch.id)
    for step in PLACES:
        processes.ends(processes.start(run, replace(plan, step=step)), -signal.SIGKILL)
    for _ in range(KILLS):
        worker = processes.start(run, plan)
        requests_later(demo, dice.randint(1, 40))
        time.sleep(dice.random() * 0.01)
        assert worker.is_alive(), "it ended before it could be killed"
        processes.kill(worker)
        adds_up(batch)
    processes.ends(processes.start(run, plan))
    settled_account(demo, batch)
    assert batch.record.epoch == KILLS + len(PLACES) + 1


def test_a_server_that_is_killed_and_comes_back_costs_no_row(
    demo: bk.DemoPlatform, plan: Plan, server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    dice = random.Random(2)
    with ShortWorkspace(plan) as ws:
        batch = create_batch(ws, 100 * RESTARTS + 100, max_concurrent=10, batch_interval=0)
        waiting = ws.engine.submit(ws.engine.wait(batch.id, "triggered"))
        for _ in range(RESTARTS):
            requests_later(demo, dice.randint(20, 60))
            server.stop()
            with pytest.raises(bk.StoreError, match="see whether the server runs"):
                batch.pause()
            sent = demo.requests.count
            time.sleep(0.5)
            # What was claimed before may have left.
            assert demo.requests.count - sent <= 10
            server.start()
            requests_later(demo, 20)
        assert waiting.result(PATIENCE).status == "completed"
        settled_account(demo, batch)
        assert batch.record.epoch == 1
    assert "see whether the server runs" in caplog.text
