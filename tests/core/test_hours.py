from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from long_form import examples

from batchkit.core.hours import WorkingHours
from batchkit.core.schedule import Pace
from batchkit.core.slots import Slots
from batchkit.errors import ConfigError

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"]
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
hours = st.builds(
    lambda days, start, end, zone: WorkingHours(days=days, start=start, end=end, zone=zone),
    days=st.lists(st.sampled_from(DAYS), min_size=1),
    start=st.times(),
    end=st.times(),
    zone=st.sampled_from(ZONES),
)
#: near the days on which clocks are set, and the one that Samoa left out
moments = st.one_of(
    st.datetimes(datetime.fromisoformat("2011-12-25"), datetime.fromisoformat("2030-01-01"), timezones=st.just(UTC)),
    st.datetimes(datetime.fromisoformat("2026-03-28"), datetime.fromisoformat("2026-04-06"), timezones=st.just(UTC)),
    st.datetimes(datetime.fromisoformat("2026-10-24"), datetime.fromisoformat("2026-11-02"), timezones=st.just(UTC)),
    st.datetimes(datetime.fromisoformat("2011-12-28"), datetime.fromisoformat("2012-01-01"), timezones=st.just(UTC)),
)


def shown(at: datetime, window: WorkingHours) -> bool:
    """The rule, word for word: what the clock on the wall shows lies inside."""
    local = at.astimezone(ZoneInfo(window.zone))
    day, clock = local.weekday(), local.time()
    if window.start < window.end:
        return day in window.days and window.start <= clock < window.end
    return (day in window.days and clock >= window.start) or ((day - 1) % 7 in window.days and clock < window.end)


@settings(max_examples=examples(50))
@given(hours, moments)
def test_it_is_open_when_the_clock_shows_a_time_inside(window: WorkingHours, at: datetime) -> None:
    assert window.is_open(at) == shown(at, window)


@settings(max_examples=examples(50))
@given(hours, moments, st.lists(st.floats(0, 1), min_size=20, max_size=20))
def test_next_open_is_the_first_moment_inside(window: WorkingHours, at: datetime, shares: list[float]) -> None:
    found = window.next_open(at)
    assert found >= at
    assert shown(found, window)
    assert found == at or not shown(found - timedelta(microseconds=1), window)
    assert not any(shown(at + share * (found - at), window) for share in shares if at + share * (found - at) < found)


@settings(max_examples=examples(50))
@given(hours, moments, st.lists(st.floats(0, 1), min_size=20, max_size=20))
def test_next_close_is_the_first_moment_outside(window: WorkingHours, at: datetime, shares: list[float]) -> None:
    found = window.next_close(at)
    if found is None:
        assert window.days == tuple(range(7))
        assert window.start == window.end
        return
    assert found >= at
    assert not shown(found, window)
    assert all(shown(at + share * (found - at), window) for share in shares if at + share * (found - at) < found)


@given(
    hours,
    moments,
    st.integers(0, 40),
    st.integers(1, 40),
    st.sampled_from([Pace(max_concurrent=1, batch_interval=seconds) for seconds in (0, 0.5, 60, 3600, 90_000)]),
)
def test_slots_lie_inside_one_interval_apart(
    window: WorkingHours, start: datetime, first: int, count: int, pace: Pace
) -> None:
    slots = Slots(pace=pace, start=start, hours=window)
    again = Slots(pace=pace, start=start, hours=window)
    every = [slots.slot(number) for number in range(first + count)]
    assert again.slot(first + count - 1) == every[-1]
    assert every[0] == window.next_open(start)
    assert all(window.is_open(slot) for slot in every)
    for before, after in pairwise(every):
        assert after == window.next_open(before + pace.interval)
    for moment in (start, every[-1] - timedelta(seconds=1), every[first], every[first] + timedelta(seconds=1)):
        wanted = max(every[0], moment)
        if pace.batch_interval == 0:
            assert again.at_or_after(moment) == window.next_open(wanted)
        elif moment <= every[-1]:
            assert again.at_or_after(moment) == min(slot for slot in every if slot >= moment)


def test_a_gap_moves_the_opening_to_the_first_moment_after_it() -> None:
    window = WorkingHours(days=["sun"], start="02:30", end="06:00", zone="Europe/Berlin")
    assert window.next_open(datetime(2026, 3, 29, tzinfo=UTC)) == datetime(2026, 3, 29, 1, tzinfo=UTC)


def test_an_hour_shown_twice_is_inside_twice() -> None:
    window = WorkingHours(days=["sun"], start="01:00", end="02:30", zone="Europe/Berlin")
    first = window.next_close(datetime(2026, 10, 24, 23, 30, tzinfo=UTC))
    assert first == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    again = window.next_open(first)
    assert again == datetime(2026, 10, 25, 1, tzinfo=UTC)
    assert window.next_close(again) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def test_a_window_over_midnight_ends_on_the_next_day() -> None:
    window = WorkingHours(days=["fri"], start="22:00", end="06:00", zone="UTC")
    assert window.is_open(datetime(2026, 1, 3, 5, 59, tzinfo=UTC))
    assert not window.is_open(datetime(2026, 1, 3, 22, tzinfo=UTC))
    assert window.next_open(datetime(2026, 1, 3, 6, tzinfo=UTC)) == datetime(2026, 1, 9, 22, tzinfo=UTC)


def test_24_00_ends_the_day() -> None:
    window = WorkingHours(days=["mon"], start=time(20), end="24:00", zone="UTC")
    assert window.next_close(datetime(2026, 1, 5, 21, tzinfo=UTC)) == datetime(2026, 1, 6, tzinfo=UTC)


def test_everything_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        WorkingHours(days=["someday"], start="8 o'clock", end="25:00", zone="Europe/Nowhere")
    for part in ("'someday'", "8 o'clock", "25:00", "Europe/Nowhere"):
        assert part in str(caught.value)


@pytest.mark.parametrize("days", ["mon-fri", "sat,sun", "monkey", "m", 1, [1], None, [], ["mon", "daily"]])
def test_what_is_no_day_is_refused_and_the_days_are_named(days: object) -> None:
    with pytest.raises(
        ConfigError, match=r"days must be of mon, tue, wed, thu, fri, sat, sun.* \['mon', 'tue'\], not "
    ):
        WorkingHours(days=days, zone="UTC")  # type: ignore[arg-type]


def test_a_moment_without_a_zone_is_refused() -> None:
    window = WorkingHours(zone="UTC")
    for ask in (window.is_open, window.next_open):
        with pytest.raises(ConfigError, match="has no time zone"):
            ask(datetime(2026, 1, 5, 9, tzinfo=UTC).replace(tzinfo=None))


def test_days_may_be_written_out() -> None:
    assert WorkingHours(days=["Monday", "tues", " SUN "], zone="UTC").days == (0, 1, 6)
    assert WorkingHours(days="friday", zone="UTC").days == (4,)


def test_slots_beyond_the_calendar_are_refused() -> None:
    window = WorkingHours(days=["mon"], start="08:00", end="08:01", zone="UTC")
    pace = Pace(max_concurrent=1, batch_interval=60)
    slots = Slots(pace=pace, start=datetime(8990, 1, 1, tzinfo=UTC), hours=window)
    with pytest.raises(ConfigError, match="9000"):
        slots.slot(1_000)


@given(hours)
def test_hours_are_kept_and_read_back(window: WorkingHours) -> None:
    assert WorkingHours.from_dict(window.to_dict()) == window
