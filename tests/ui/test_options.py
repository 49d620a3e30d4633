"""What is typed under "More options": what it means, and what is said where it means nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batchkit.core.flow import FailureThreshold
from batchkit.core.hours import WorkingHours
from batchkit.errors import ConfigError
from batchkit.ui.draft import Draft
from batchkit.ui.options import Options

#: a Friday, 17:30 in Berlin
FRIDAY = datetime(2026, 3, 6, 16, 30, tzinfo=UTC)
BERLIN = {"hours": True, "hours_zone": "Europe/Berlin"}


def drafted(pace: dict[str, str] | None = None, **options: Any) -> Draft:
    return Draft(name="March", options=Options(**options), **(pace or {}))


def test_nothing_is_limited_unless_it_is_said() -> None:
    config = drafted().config(1, (), ())
    assert config.flow.to_dict() == {}
    assert (config.timezone, Options().count) == (None, 0)


def test_every_option_reaches_the_configuration() -> None:
    draft = drafted(
        max_in_flight="20",
        on_capacity_limit="queue",
        **BERLIN,
        hours_days=("mon", "sat"),
        hours_start="22:00",
        hours_end="24:00",
        failure_share="12.5",
        failure_count="7",
        failure_minimum="40",
        item_deadline="0.5",
    )
    assert draft.problems() == {}
    config = draft.config(1, (), ())
    assert (config.max_in_flight, config.on_capacity_limit, config.item_deadline) == (20, "queue", 30.0)
    assert config.working_hours == WorkingHours(days=("mon", "sat"), start="22:00", end="24:00", zone="Europe/Berlin")
    assert config.failure_threshold == FailureThreshold(share=0.125, count=7, minimum=40)
    assert Options.of(draft.options.to_json()) == draft.options
    assert draft.options.count == 5


@pytest.mark.parametrize(
    ("typed", "field", "words"),
    [
        ({"max_in_flight": "0"}, "max_in_flight", "a whole number of executions, 1 or more, or empty"),
        ({"max_in_flight": "2.5"}, "max_in_flight", "a whole number"),
        ({"max_in_flight": "inf"}, "max_in_flight", "a whole number"),
        ({"on_capacity_limit": "wait"}, "on_capacity_limit", "Choose one of the list"),
        ({**BERLIN, "hours_days": ()}, "hours_days", "Choose at least one day"),
        ({**BERLIN, "hours_start": "8 am"}, "hours_start", "a time of day, like 08:00"),
        ({**BERLIN, "hours_end": "08:00+01:00"}, "hours_end", "a time of day, like 08:00"),
        ({**BERLIN, "hours_zone": "Berlin"}, "hours_zone", "IANA name"),
        ({**BERLIN, "hours_zone": "../Berlin"}, "hours_zone", "IANA name"),
        ({**BERLIN, "hours_zone": ""}, "hours_zone", "IANA name"),
        ({"failure_share": "0"}, "failure_share", "a percentage above 0, at most 100"),
        ({"failure_share": "101"}, "failure_share", "a percentage above 0, at most 100"),
        ({"failure_count": "few"}, "failure_count", "a whole number"),
        ({"failure_share": "5", "failure_minimum": ""}, "failure_minimum", "a whole number of executions, 1 or more."),
        ({"item_deadline": "0"}, "item_deadline", "a number of minutes above 0"),
        ({"item_deadline": "nan"}, "item_deadline", "a number of minutes above 0"),
        ({"item_deadline": "inf"}, "item_deadline", "a number of minutes above 0"),
        ({"item_deadline": "1e308"}, "item_deadline", "a number of minutes above 0"),
        ({"item_deadline": "600000"}, "item_deadline", "longer than a year; it is in minutes"),
    ],
)
def test_what_means_nothing_is_told_at_its_field(typed: dict[str, Any], field: str, words: str) -> None:
    draft = drafted(**typed)
    problems = draft.problems()
    assert list(problems) == [field]
    assert words in problems[field]
    assert draft.outlook(5, FRIDAY) is None


def test_an_interval_below_a_microsecond_is_told_at_its_field() -> None:
    draft = drafted({"max_concurrent": "1", "batch_interval": "1e-9"}, **BERLIN)
    assert list(draft.problems()) == ["batch_interval"]
    assert draft.outlook(5, FRIDAY) is None


def test_when_the_share_counts_is_asked_only_of_a_share() -> None:
    draft = drafted(failure_count="7", failure_minimum="")
    assert draft.problems() == {}
    assert draft.config(1, (), ()).failure_threshold == FailureThreshold(count=7)


@pytest.mark.parametrize(
    ("start", "end", "next_day"),
    [("08:00", "18:00", False), ("22:00", "06:00", True), ("08:00", "08:00", True), ("8 am", "06:00", False)],
)
def test_hours_may_end_on_the_next_day(start: str, end: str, next_day: bool) -> None:
    assert Options(hours_start=start, hours_end=end).ends_next_day is next_day


def test_what_is_kept_of_a_draft_is_the_draft() -> None:
    draft = drafted({"batch_interval": "7"}, **BERLIN, hours_days=("sun",))
    assert Draft.of(draft.to_json()) == draft


def test_hours_that_are_not_wanted_are_not_complained_of() -> None:
    assert drafted(hours=False, hours_start="x", hours_zone="").problems() == {}


def test_what_is_no_set_of_options_is_refused() -> None:
    with pytest.raises(ConfigError, match="no options of a batch"):
        Options.of({"hours": True})


def test_the_plan_takes_the_working_hours_into_account() -> None:
    hourly = {"max_concurrent": "2", "batch_interval": "1800"}
    outlook = drafted(hourly, **BERLIN).outlook(5, FRIDAY)
    assert outlook is not None
    # 17:30, then Monday from 08:00 on
    monday = datetime(2026, 3, 9, 7, 0, tzinfo=UTC)
    assert (outlook.groups, outlook.first_at, outlook.waits) == (3, FRIDAY, False)
    assert outlook.last_at == monday + timedelta(minutes=30)
    assert [FRIDAY + timedelta(seconds=after) for after, _ in outlook.bars] == [FRIDAY, monday, outlook.last_at]
    assert [rows for _, rows in outlook.bars] == [2, 2, 1]
    evening = drafted(hourly, **BERLIN).outlook(5, FRIDAY + timedelta(hours=3))
    assert evening is not None
    assert (evening.first_at, evening.waits) == (monday, True)


def test_a_long_plan_shows_its_first_groups_and_its_last_in_working_hours() -> None:
    outlook = drafted({"max_concurrent": "1", "batch_interval": "3600"}, **BERLIN).outlook(100, FRIDAY)
    assert outlook is not None
    assert (len(outlook.bars), outlook.left_out) == (40, 60)
    assert outlook.bars[-1][0] == outlook.seconds
    assert outlook.first_at + timedelta(seconds=outlook.seconds) == outlook.last_at


def test_a_plan_of_thousands_of_working_days_is_refused_at_once() -> None:
    slow = drafted({"max_concurrent": "1", "batch_interval": "86400"}, **BERLIN)
    assert "takes about 1,000,000 working days" in slow.problems(1_000_000)["batch_interval"]
    assert slow.outlook(1_000_000, FRIDAY) is None
    assert slow.problems(5) == {}
    # without an interval the hours only say when it begins
    at_once = drafted({"max_concurrent": "1", "batch_interval": "0"}, **BERLIN).outlook(1_000_000, FRIDAY)
    assert at_once is not None
    assert (at_once.seconds, at_once.bars) == (0.0, ((0.0, 1_000_000),))
