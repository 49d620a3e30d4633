"""Why a row is not done with: every hold has its line, and a page of rows costs two queries, not one for each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from desk import Desk, eventually

from batchkit.core.execution import ExecutionStatus
from batchkit.core.explanation import Explanation, Hold
from batchkit.ui.waiting import Waiting, waiting_for_person, waiting_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
#: what `core.explanation` tells beside the hold
FACTS: dict[Hold, dict[str, Any]] = {
    Hold.ANSWER: {"sent_at": NOON},
    Hold.PAUSE: {"reason": "", "paused_by": "Ada", "paused_at": NOON},
    Hold.TRIAL: {"trial": 3},
    Hold.TARGET: {"reason": "Too many requests."},
    Hold.IN_FLIGHT: {"in_flight": 1200, "max_in_flight": 1000},
    Hold.PROFILE: {"reason": "Every profile of the pool is in use."},
    Hold.TURN: {"ahead": 1500},
}


def said(hold: Hold, **facts: Any) -> str:
    """The line as the page puts it together, the time as noon or midnight."""
    until = None if hold in (Hold.DECISION, Hold.INTERRUPTION) else NOON
    why = Explanation(item=0, hold=hold, sentence="", until=until, facts=FACTS.get(hold, {}) | facts)
    line = waiting_of(why)
    if line is None:
        return ""
    at = "" if line.at is None else " noon"
    return f"{line.before}{at}{line.after}"


def test_every_hold_has_its_line() -> None:
    assert {hold: said(hold) for hold in Hold} == {
        Hold.NOTHING: "",
        Hold.ANSWER: "Being sent since noon.",
        Hold.LOOKUP: "May have run; looked up from noon on.",
        Hold.DECISION: "May have run, and cannot be looked up: retry or skip it.",
        Hold.START: "The batch has not started; due noon.",
        Hold.PAUSE: "Paused by Ada at noon.",
        Hold.INTERRUPTION: "Nobody runs the batch: it was interrupted.",
        Hold.TRIAL: "The first 3 rows are tried before it.",
        Hold.TIME: "Waits for its scheduled time.",
        Hold.OWN_TIME: "Its row has a time of its own; due noon.",
        Hold.TARGET: "Waits until noon. Too many requests.",
        Hold.WORKING_HOURS: "Outside the working hours; due noon.",
        Hold.IN_FLIGHT: "1,200 executions are not finished, and 1,000 may be in flight at a time.",
        Hold.PROFILE: "Every profile of the pool is in use.",
        Hold.INTERVAL: "Due; the next group starts noon.",
        Hold.TURN: "Due, after 1,500 rows that are sent before it.",
    }


def test_lines_say_what_is_known() -> None:
    assert said(Hold.PAUSE, paused_by=None, paused_at=None) == "Paused."
    assert said(Hold.PAUSE, reason="50 executions failed.") == "The batch paused itself. 50 executions failed."
    assert said(Hold.TRIAL, trial=1) == "The first row is tried before it."
    assert said(Hold.TURN, ahead=0) == "Due, and the next."
    assert said(Hold.TURN, ahead=1) == "Due, after 1 row that is sent before it."
    flying = said(Hold.IN_FLIGHT, in_flight=1, max_in_flight=1)
    assert flying == "1 execution is not finished, and 1 may be in flight at a time."
    assert said(Hold.TURN, ahead=None) == "Due, after the rows that are due before it."
    assert said(Hold.WORKING_HOURS, opens_at=NOON) == "Due, outside the working hours, which begin noon."
    assert waiting_for_person(ExecutionStatus.AWAITING_CONFIRMATION).before.startswith("Awaiting confirmation: ")


def test_a_line_is_json() -> None:
    assert Waiting(before="Due", at=NOON).to_json() == {"before": "Due", "at": NOON.isoformat(), "after": ""}


def test_the_rows_of_a_page_say_what_they_wait_for(desk: Desk) -> None:
    batch = desk.make(4, start_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    lines = [row["waits"]["before"] for row in desk.rows(batch)]
    assert lines == ["The batch has not started; due"] * 4
    assert desk.do("item", batch, item=2)["waits"]["before"] == "The batch has not started; due"


def test_the_rows_of_a_paused_batch_say_who_paused_it(desk: Desk) -> None:
    batch = desk.make(4)
    eventually(lambda: batch.progress.triggered == 2)
    assert [row["waits"] and row["waits"]["before"] for row in desk.rows(batch)] == [
        None, None, "Waits for its scheduled time.", "Waits for its scheduled time.",
    ]  # fmt: skip
    desk.do("pause", batch)
    assert desk.rows(batch)[3]["waits"]["before"] == f"Paused by {desk.ws.actor} at"


def test_a_page_of_waiting_rows_takes_no_query_for_each(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = desk.make(60)
    eventually(lambda: batch.progress.triggered == 2)
    calls: list[str] = []
    store = desk.ws.store
    for name in ("page", "batch", "events", "items", "ahead_of"):
        asked = getattr(store, name)
        monkeypatch.setattr(store, name, lambda *a, _n=name, _f=asked, **k: (calls.append(_n), _f(*a, **k))[1])
    desk.do("pause", batch)
    calls.clear()
    assert sum(row["waits"] is not None for row in desk.rows(batch)) == 58
    assert [name for name in calls if name in ("page", "events", "ahead_of")] == ["page", "events"]
