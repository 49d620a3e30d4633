"""The limits of a batch as they are typed anew: what is wrong at which field, and what follows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from desk import Desk, eventually
from records import NOW, record

from batchkit.core.flow import Flow
from batchkit.core.hours import WorkingHours
from batchkit.core.lifecycle import BatchStatus
from batchkit.core.limits import Limits
from batchkit.core.progress import Progress
from batchkit.core.schedule import Pace
from batchkit.errors import ConfigError
from batchkit.ui.limits import LimitsDraft

WHOLE = "This must be a whole number of executions, 1 or more."


def draft(**more: str) -> LimitsDraft:
    return LimitsDraft.of({"max_concurrent": "10", "batch_interval": "60", "max_in_flight": ""} | more)


@pytest.mark.parametrize(
    ("typed", "problems"),
    [
        ({}, {}),
        ({"max_in_flight": " 20 "}, {}),
        ({"max_concurrent": "0"}, {"max_concurrent": WHOLE}),
        ({"max_concurrent": ""}, {"max_concurrent": WHOLE}),
        ({"batch_interval": "-1"}, {"batch_interval": "This must be a number of seconds, 0 or more."}),
        ({"max_in_flight": "1.5"}, {"max_in_flight": f"{WHOLE[:-1]}, or empty."}),
        ({"max_in_flight": "0"}, {"max_in_flight": f"{WHOLE[:-1]}, or empty."}),
        ({"max_in_flight": "?"}, {"max_in_flight": f"{WHOLE[:-1]}, or empty."}),
    ],
)
def test_what_is_wrong_stands_at_its_field(typed: dict[str, str], problems: dict[str, str]) -> None:
    assert draft(**typed).problems() == problems
    assert draft(**typed).outlook(record(), NOW)["problems"] == problems


def test_the_fields_begin_with_what_the_batch_has() -> None:
    assert LimitsDraft.now(record()) == draft()
    limited = record(pace=Pace(max_concurrent=3, batch_interval=0.5), flow=Flow(max_in_flight=20))
    assert LimitsDraft.now(limited) == draft(max_concurrent="3", batch_interval="0.5", max_in_flight="20")
    assert draft(max_in_flight="20").limits() == Limits(max_concurrent=10, batch_interval=60.0, max_in_flight=20)
    assert draft().limits().max_in_flight is None
    with pytest.raises(ConfigError, match="whole number"):
        draft(max_concurrent="x").limits()


@pytest.mark.parametrize("interval", [1234567.0, 100000.5, 0.1234567, 1e-05, 60.0])
def test_the_interval_stands_there_as_it_is(interval: float) -> None:
    shown = record(pace=Pace(max_concurrent=10, batch_interval=interval))
    begun = LimitsDraft.now(shown)
    assert begun.limits().batch_interval == interval
    assert begun.outlook(shown, NOW)["changed"] is False


def outlook(shown: Any = None, **typed: str) -> dict[str, Any]:
    return draft(**typed).outlook(shown or record(), NOW)


def test_a_new_end_follows_while_it_runs() -> None:
    same = outlook()
    assert (same["changed"], same["moves"], same["groups"]) == (False, False, 7)
    quicker = outlook(max_concurrent="35", batch_interval="10")
    assert (quicker["changed"], quicker["moves"], quicker["groups"], quicker["seconds"]) == (True, True, 2, 10.0)
    assert quicker["at"] == (NOW + timedelta(seconds=10)).isoformat()
    # The last group went 40 seconds ago, by the pace it has: the next one is 10 seconds after that, and so now.
    gated = outlook(record(gate_at=NOW + timedelta(seconds=20)), batch_interval="90")
    assert gated["at"] == (NOW + timedelta(seconds=50 + 6 * 90)).isoformat()
    in_flight = outlook(max_in_flight="5")
    assert (in_flight["changed"], in_flight["moves"], in_flight["most_in_flight"]) == (True, False, 5)


def test_what_is_paused_or_has_no_interval_has_no_end_by_the_clock() -> None:
    paused = outlook(record(BatchStatus.PAUSED), batch_interval="10")
    assert (paused["at"], paused["seconds"], paused["runs"]) == ("", 60.0, False)
    without = outlook(batch_interval="0")
    assert (without["seconds"], without["at"]) == (None, "")
    waits = outlook(record(BatchStatus.PENDING, start_at=NOW + timedelta(days=1)), max_concurrent="70")
    assert waits["at"] == (NOW + timedelta(days=1)).isoformat()


def test_an_only_group_that_has_to_wait_for_its_time_does_not_start_at_once() -> None:
    gated = record(gate_at=NOW + timedelta(seconds=36), progress=Progress(total=10, pending=5, triggered=5))
    waits = outlook(gated, max_concurrent="12")
    assert (waits["groups"], waits["at_once"]) == (1, False)
    assert waits["at"] == (NOW + timedelta(seconds=36)).isoformat()
    assert outlook(record(gate_at=NOW, progress=gated.progress), max_concurrent="12")["at_once"] is True


def test_an_end_beyond_the_calendar_stands_at_the_interval() -> None:
    slow = outlook(record(BatchStatus.PENDING, start_at=datetime(8999, 1, 1, tzinfo=UTC)), batch_interval="3e7")
    assert "after the year" in slow["problems"]["batch_interval"]


def test_working_hours_are_taken_into_account() -> None:
    # NOW is a Sunday, at noon.
    hours = WorkingHours(days=("mon", "tue"), start="09:00", end="10:00", zone="UTC")
    with_hours = record(flow=Flow(working_hours=hours))
    half_hourly = outlook(with_hours, batch_interval="1800", max_concurrent="20")
    assert (half_hourly["groups"], half_hourly["at"]) == (4, "2026-03-03T09:30:00+00:00")
    paused = outlook(record(BatchStatus.PAUSED, flow=Flow(working_hours=hours)), batch_interval="1800")
    assert (paused["runs"], paused["hours"], paused["at"]) == (False, True, "2026-03-10T09:00:00+00:00")
    years = outlook(
        record(flow=Flow(working_hours=hours), progress=Progress(total=9000, pending=9000)),
        max_concurrent="1",
        batch_interval="3600",
    )
    assert "takes about 9,000 working days" in years["problems"]["batch_interval"]


def test_limits_are_changed_from_the_card(desk: Desk) -> None:
    batch = desk.make(6)
    eventually(lambda: batch.progress.triggered == 2)
    texts = {"max_concurrent": "2", "batch_interval": "1800", "max_in_flight": "50"}
    assert desk.do("limits_outlook", batch, **texts)["groups"] == 2
    desk.do("change_limits", batch, **texts)
    assert desk.note(batch)["text"] == "The limits were changed. Pending rows have new times."
    card = desk.card(batch)
    assert (card["interval"], card["limits"]) == (1800.0, texts)
    desk.do("change_limits", batch, **texts | {"max_in_flight": ""})
    assert desk.note(batch)["text"] == "The limits were changed."
    assert batch.record.flow.max_in_flight is None
    desk.do("change_limits", batch, **texts | {"max_concurrent": "0"})
    assert desk.note(batch) == {"kind": "error", "text": WHOLE, "leads_to": ""}
    desk.do("cancel", batch)
    desk.do("change_limits", batch, **texts)
    assert "has ended" in desk.note(batch)["text"]
    assert "limit" not in desk.card(batch)["commands"]
