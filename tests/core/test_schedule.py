"""When rows are due: the specification's formula, re-staggering, free slots, the rate rule."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.core.schedule import (
    TOLERANCE,
    Pace,
    after_group,
    execute_times,
    free_slots,
    has_missed_slots,
    plan,
    restagger,
)
from batchkit.errors import ConfigError

START = datetime(2026, 3, 1, 9, tzinfo=UTC)
paces = st.builds(Pace, max_concurrent=st.integers(1, 50), batch_interval=st.sampled_from([0, 0.5, 1, 7.25, 60, 3600]))


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


def test_the_example_of_the_specification() -> None:
    """ "With maxConcurrent = 5 and batchInterval = 60 seconds: rows 0-4 at startAt, 5-9 at startAt + 60s, ..." """
    times = execute_times(20, Pace(max_concurrent=5, batch_interval=60), START)
    expected = [START] * 5 + [START + seconds(60)] * 5 + [START + seconds(120)] * 5 + [START + seconds(180)] * 5
    assert times == expected


@given(count=st.integers(0, 500), pace=paces)
def test_each_time_is_the_formula(count: int, pace: Pace) -> None:
    """executeAt = startAt + floor(i / maxConcurrent) * batchInterval seconds."""
    times = execute_times(count, pace, START)
    assert times == [START + (i // pace.max_concurrent) * seconds(pace.batch_interval) for i in range(count)]
    assert times == sorted(times)


@given(count=st.integers(0, 500), pace=paces)
def test_the_plan_agrees_with_the_times(count: int, pace: Pace) -> None:
    times = execute_times(count, pace, START)
    planned = plan(count, pace, START)
    assert planned.last_group == (times[-1] if times else START)
    assert planned.groups == -(-count // pace.max_concurrent)
    assert planned.duration == planned.last_group - START


def test_a_naive_start_is_refused() -> None:
    with pytest.raises(ConfigError, match="no time zone"):
        execute_times(1, Pace(max_concurrent=1, batch_interval=1), datetime(2026, 3, 1))  # noqa: DTZ001


@pytest.mark.parametrize(("limit", "interval"), [(0, 1), (-1, 1), (1, -1), (1, float("inf")), (1, float("nan"))])
def test_a_pace_that_means_nothing_is_refused(limit: int, interval: float) -> None:
    with pytest.raises(ConfigError):
        Pace(max_concurrent=limit, batch_interval=interval)


@given(
    pending=st.lists(st.tuples(st.integers(-500, 500), st.booleans()), max_size=60).map(sorted),
    pace=paces,
)
def test_restaggering_keeps_order_and_what_was_set_by_hand_and_lies_ahead(
    pending: list[tuple[int, bool]], pace: Pace
) -> None:
    times = restagger([(START + seconds(at), by_hand) for at, by_hand in pending], pace, START)
    moved = []
    for (at, by_hand), time in zip(pending, times, strict=True):
        if by_hand and at > 0:
            assert time == START + seconds(at)
        else:
            moved.append(time)
    assert moved == execute_times(len(moved), pace, START)


@given(due_in=st.floats(0, 100), late=st.floats(0, 100), pace=paces)
def test_a_late_group_moves_the_next_one_by_its_lateness(due_in: float, late: float, pace: Pace) -> None:
    due = START + seconds(due_in)
    sent = due + seconds(late)
    following = after_group(due, sent, pace)
    assert following - sent >= pace.interval - TOLERANCE
    assert following >= due + pace.interval
    if late <= 0.25:
        assert following == due + pace.interval


def test_only_lateness_of_more_than_an_interval_is_a_missed_slot() -> None:
    pace = Pace(max_concurrent=5, batch_interval=60)
    assert not has_missed_slots(START, START + seconds(60), pace)
    assert has_missed_slots(START, START + seconds(61), pace)
    assert not has_missed_slots(START, START + seconds(1e6), Pace(max_concurrent=5, batch_interval=0))


@given(
    slots=st.dictionaries(st.integers(0, 40), st.integers(1, 5), max_size=12),
    count=st.integers(1, 20),
    at=st.integers(-300, 3000),
)
def test_free_slots_never_break_the_rate(slots: dict[int, int], count: int, at: int) -> None:
    pace = Pace(max_concurrent=5, batch_interval=60)
    taken = [(START + seconds(60 * slot), items) for slot, items in sorted(slots.items())]
    wanted = START + seconds(at)
    places = free_slots(count, wanted, taken, pace)
    assert len(places) == count
    assert places == sorted(places)
    assert all(place >= wanted for place in places)
    filled = Counter(dict(taken))
    filled.update(places)
    assert all(items <= 5 for items in filled.values())
    times = sorted(filled)
    assert all(after - before >= seconds(60) for before, after in pairwise(times))


def test_the_first_free_slot_is_the_wished_time_where_nothing_is_near() -> None:
    pace = Pace(max_concurrent=2, batch_interval=60)
    assert free_slots(1, START + seconds(500), [(START, 2)], pace) == [START + seconds(500)]


def test_a_wish_between_two_full_slots_takes_the_first_gap_after_them() -> None:
    pace = Pace(max_concurrent=2, batch_interval=60)
    taken = [(START, 2), (START + seconds(60), 2), (START + seconds(120), 1)]
    assert free_slots(1, START + seconds(10), taken, pace) == [START + seconds(120)]
    assert free_slots(2, START + seconds(10), taken, pace) == [START + seconds(120), START + seconds(180)]


def test_interval_zero_takes_any_time() -> None:
    pace = Pace(max_concurrent=1, batch_interval=0)
    assert free_slots(3, START, [(START, 9)], pace) == [START] * 3
