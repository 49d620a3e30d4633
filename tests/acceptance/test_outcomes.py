"""Every execution is followed to its outcome, with few requests, and no more run at a time than may.

10,000 executions: BATCHKIT_ACCEPTANCE=full
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from batches import create_batch, eventually, most_at_once
from counting import Counting
from long_form import FULL

import batchkit as bk
from batchkit.core.execution import ExecutionStatus
from batchkit.core.lifecycle import BatchStatus

ROWS = 10_000 if FULL else 1_500
#: beside one request for 50 executions, one for each of so many seconds ...
SECONDS_A_REQUEST = 30
#: ... and three more for each beyond one for so many: a batch that takes long may be asked about more often
EXECUTIONS_A_PAUSE = 1000


def filer() -> bk.Agent:
    return bk.Agent(name="Filer", inputs=[bk.InputVariable("value", schema={"type": "string"}, required=True)])


@pytest.fixture
def shuffled() -> Iterator[bk.DemoPlatform]:
    """Ends come in any order, and every kind of them."""
    with bk.DemoPlatform(
        agents=[filer()],
        duration=(0.5, 30.0 if FULL else 5.0),
        failure_share=0.2,
        unsuccessful_share=0.2,
        attention_share=0.02,
    ) as demo:
        yield demo


def test_every_outcome_is_right_with_few_requests(shuffled: bk.DemoPlatform, tmp_path: Path) -> None:
    target = Counting(shuffled)
    with bk.Workspace(target, store=tmp_path / "runs.sqlite") as ws:
        target.asked.clear()
        began = time.monotonic()
        batch = create_batch(ws, ROWS, max_concurrent=40, batch_interval=0)
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
    pauses = took / SECONDS_A_REQUEST
    assert asked <= ROWS / 50 + pauses + 3 * max(0.0, pauses - ROWS / EXECUTIONS_A_PAUSE)


def active(demo: bk.DemoPlatform) -> int:
    return sum(not ExecutionStatus(each["status"]).terminal for each in demo.executions())


def test_no_more_are_in_flight_than_may_be_and_a_higher_limit_is_followed(tmp_path: Path) -> None:
    # So long that as many as may be in flight are at one time, before the first of them ends.
    with bk.DemoPlatform(agents=[filer()], duration=(2.0, 3.0), failure_share=0) as demo:
        target = Counting(demo, poll_interval=0.25)
        with bk.Workspace(target, store=tmp_path / "runs.sqlite") as ws:
            batch = create_batch(ws, 10_000 if FULL else 120, max_concurrent=100, batch_interval=0, max_in_flight=20)
            eventually(lambda: active(demo) == 20)
            # Some end and are followed by others.
            eventually(lambda: len(demo.executions()) > 30)
            assert most_at_once(demo, "batch") == {batch.id: 20}
            batch.update(max_in_flight=50)
            eventually(lambda: active(demo) == 50)
            if FULL:
                time.sleep(20)
                batch.cancel()
            else:
                batch.join("finished")
                assert batch.status is BatchStatus.COMPLETED
        assert most_at_once(demo, "batch") == {batch.id: 50}
