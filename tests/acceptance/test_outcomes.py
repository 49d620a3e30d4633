"""Every execution is followed to its outcome, with few requests, and no more run at a time than may.

10,000 executions: BATCHKIT_ACCEPTANCE=full
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from counting import Counting

import batchkit as bk
from batchkit.core.execution import ExecutionStatus
from batchkit.core.lifecycle import BatchStatus

FULL = os.environ.get("BATCHKIT_ACCEPTANCE") == "full"
ROWS = 10_000 if FULL else 1_500
#: beside one request for 50 executions, one for each of so many seconds
SECONDS_A_REQUEST = 30


def filer() -> bk.Agent:
    return bk.Agent(name="Filer", inputs=[bk.InputVariable("value", schema={"type": "string"}, required=True)])


@pytest.fixture
def shuffled() -> Iterator[bk.DemoPlatform]:
    """Ends come in any order, and every kind of them."""
    with bk.DemoPlatform(
        agents=[filer()],
        duration=(0.5, 30.0 if FULL else 8.0),
        failure_share=0.2,
        unsuccessful_share=0.2,
        attention_share=0.02,
    ) as demo:
        yield demo


def create(ws: bk.Workspace, rows: int, **limits: object) -> bk.Batch:
    import pandas as pd

    table = bk.read_csv(pd.DataFrame({"value": [str(n) for n in range(rows)]}))
    agent = ws.agent("Filer")
    checked = ws.validate(table, ws.suggest_mapping(table, agent), agent)
    return ws.create_batch(checked, bk.BatchConfig(name="Followed", **limits))


def test_every_outcome_is_right_with_few_requests(shuffled: bk.DemoPlatform, tmp_path: Path) -> None:
    target = Counting(shuffled)
    with bk.Workspace(target, store=tmp_path / "runs.sqlite") as ws:
        target.asked.clear()
        began = time.monotonic()
        batch = create(ws, ROWS, max_concurrent=40, batch_interval=0)
        before = len(target.asked)
        batch.join("finished")
        took = time.monotonic() - began
        counts = batch.progress.executions
        known = {
            each.execution.id: each.execution for each in ws.engine.call(ws.store.items(batch.id)) if each.execution
        }
    truth = {each["id"]: each for each in shuffled.executions()}
    assert known.keys() == truth.keys()
    for identity, execution in known.items():
        result = truth[identity].get("executionResult") or {}
        assert execution.status.value == truth[identity]["status"]
        assert (execution.outcome and execution.outcome.value) == result.get("outcome")
    standings = Counter(execution.standing for execution in known.values())
    assert counts.open == counts.waiting == counts.timed_out == 0
    assert (counts.succeeded, counts.failed, counts.cancelled) == (
        standings["succeeded"],
        standings["failed"],
        standings["cancelled"],
    )
    asked = len(target.asked) - before
    print(f"{asked} requests for {ROWS} executions in {took:.1f} s")
    assert asked <= ROWS / 50 + took / SECONDS_A_REQUEST


def active(demo: bk.DemoPlatform) -> int:
    return sum(not ExecutionStatus(each["status"]).terminal for each in demo.executions())


def most_at_once(demo: bk.DemoPlatform) -> list[tuple[float, int]]:
    """By the server's own times: when executions began and ended, and how many there were then."""
    moves = []
    for each in demo.executions():
        moves.append((each["createdAt"], 1))
        if each.get("terminalAt"):
            moves.append((each["terminalAt"], -1))
    count, course = 0, []
    for at, move in sorted(moves):
        count += move
        course.append((at, count))
    return course


def test_no_more_are_in_flight_than_may_be_and_a_higher_limit_is_followed(tmp_path: Path) -> None:
    with bk.DemoPlatform(agents=[filer()], duration=(0.3, 1.5), failure_share=0) as demo:
        target = Counting(demo, poll_interval=0.25)
        with bk.Workspace(target, store=tmp_path / "runs.sqlite") as ws:
            batch = create(ws, 10_000 if FULL else 400, max_concurrent=100, batch_interval=0, max_in_flight=20)
            time.sleep(4)
            course = most_at_once(demo)
            # Never more; and not many fewer, though those that have ended and are not known to have count.
            assert 15 <= max(count for _, count in course) <= 20
            batch.update(max_in_flight=50)
            changed, seen = time.monotonic(), 0
            # Of those that may be in flight some have ended and are not known to, the more the busier the machine is.
            while time.monotonic() < changed + 1.0 and seen < 35:
                seen = max(seen, active(demo))
            assert seen >= 35, f"{seen} within a second"
            if FULL:
                time.sleep(20)
                batch.cancel()
            else:
                batch.join("finished")
                assert batch.status is BatchStatus.COMPLETED
        assert 40 <= max(count for _, count in most_at_once(demo)) <= 50
