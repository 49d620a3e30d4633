from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from batch_records import batch_record
from hypothesis import given
from hypothesis import strategies as st

from batchkit.core.execution import Execution, ExecutionStatus
from batchkit.core.explanation import Hold, explain
from batchkit.core.flow import Flow
from batchkit.core.hours import WorkingHours
from batchkit.core.lifecycle import BatchStatus, ItemStatus
from batchkit.core.progress import ExecutionCounts, Progress
from batchkit.core.record import Event, ItemRecord

#: a Thursday
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
BATCH = batch_record(NOW)
ITEM = ItemRecord(
    item=4,
    row=6,
    line=6,
    status=ItemStatus.PENDING,
    execute_at=NOW,
    by_hand=False,
    attempt=0,
    intent_at=None,
    triggered_at=None,
    settle_at=None,
    error="",
    execution=None,
)
FULL = Progress(total=9, pending=6, triggered=3, executions=ExecutionCounts(running=3))
PENDING = [
    (
        {"status": BatchStatus.PENDING, "start_at": LATER},
        {"execute_at": LATER},
        Hold.START,
        "starts at 2026-01-01 13:00",
    ),
    ({"runner_alive": False}, {}, Hold.INTERRUPTION, "take_over"),
    ({"trial": 2}, {}, Hold.TRIAL, "first 2 rows"),
    ({}, {"execute_at": LATER}, Hold.TIME, "due at 2026-01-01 13:00:00 UTC"),
    ({}, {"execute_at": LATER, "by_hand": True}, Hold.TIME, "set by hand"),
    ({}, {"execute_at": LATER, "not_before": LATER}, Hold.OWN_TIME, "Its row says"),
    ({"gate_at": LATER, "reason": "The target asked to wait."}, {}, Hold.TARGET, "until 2026-01-01 13:00"),
    ({"flow": Flow(working_hours=WorkingHours(days="fri", zone="UTC"))}, {}, Hold.WORKING_HOURS, "2026-01-02 08:00"),
    ({"flow": Flow(max_in_flight=3), "progress": FULL}, {}, Hold.IN_FLIGHT, "3 executions have not finished"),
    ({"gate_at": LATER}, {}, Hold.INTERVAL, "5 rows every 60 s"),
    ({}, {}, Hold.TURN, "It is the next."),
]


@pytest.mark.parametrize(("batch", "item", "hold", "words"), PENDING)
def test_a_pending_row_says_what_holds_it(batch: dict[str, Any], item: dict[str, Any], hold: Hold, words: str) -> None:
    said = explain(replace(BATCH, **batch), replace(ITEM, **item), NOW)
    assert said.hold is hold
    assert words in str(said)
    assert said.until is None or said.until > NOW


def test_rows_before_it_are_counted() -> None:
    assert str(explain(BATCH, ITEM, NOW, ahead=1_200)) == "It is due. 1,200 rows are sent before it."
    uncounted = explain(BATCH, ITEM, NOW, ahead=None)
    assert (str(uncounted), uncounted.facts["ahead"]) == (
        "It is due. Rows that are due before it are sent first.",
        None,
    )


def test_a_paused_batch_says_who_paused_it_and_when() -> None:
    paused = replace(BATCH, status=BatchStatus.PAUSED)
    by_ada = Event(at=NOW, actor="Ada", kind="paused", message="")
    said = explain(paused, ITEM, LATER, events=[replace(by_ada, actor="Bob"), by_ada])
    assert said.hold is Hold.PAUSE
    assert str(said) == "The batch was paused by Ada at 2026-01-01 12:00:00 UTC. batch.resume() goes on."
    assert said.facts["paused_by"] == "Ada"
    itself = replace(paused, reason="2 executions failed; the limit is 2.")
    own = Event(at=NOW, actor="batchkit", kind="failure_threshold", message="")
    assert str(explain(itself, ITEM, LATER, events=[own])).startswith(
        "The batch paused itself at 2026-01-01 12:00:00 UTC. 2 executions failed"
    )


def test_what_is_done_says_when() -> None:
    waits = Execution(id="x", status=ExecutionStatus.AWAITING_CONFIRMATION, url="https://there/x")
    done = replace(ITEM, status=ItemStatus.TRIGGERED, triggered_at=NOW, execution=waits)
    said = explain(BATCH, done, LATER)
    assert said.hold is Hold.NOTHING
    assert "waits for a person. There: https://there/x" in str(said)
    ended = replace(done, execution=Execution(id="x", status=ExecutionStatus.FAILED, finished_at=LATER))
    assert "Its execution failed at 2026-01-01 13:00:00 UTC." in str(explain(BATCH, ended, LATER))
    assert "deadline" in str(explain(BATCH, replace(done, timed_out=True), LATER))


def test_a_row_in_doubt_says_when_it_is_looked_up_or_who_decides() -> None:
    doubt = replace(ITEM, status=ItemStatus.IN_DOUBT, intent_at=NOW, error="The answer was lost.")
    assert explain(BATCH, replace(doubt, settle_at=LATER), NOW).hold is Hold.LOOKUP
    asked = explain(BATCH, doubt, NOW)
    assert asked.hold is Hold.DECISION
    assert 'batch.settle(4, "retry")' in str(asked)


@given(
    st.sampled_from(list(BatchStatus)),
    st.sampled_from(list(ItemStatus)),
    st.sampled_from([part for part, *_ in PENDING]),
    st.sampled_from([part for _, part, *_ in PENDING]),
)
def test_everything_has_an_explanation(
    status: BatchStatus, state: ItemStatus, batch: dict[str, Any], item: dict[str, Any]
) -> None:
    said = explain(replace(BATCH, **{**batch, "status": status}), replace(ITEM, **{**item, "status": state}), NOW)
    assert said.sentence.strip()
    assert "None" not in said.sentence
