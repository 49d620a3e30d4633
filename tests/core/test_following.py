from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from batchkit.core.following import (
    FOR_LOOKS,
    FOR_READING,
    PAGE,
    Ear,
    Purse,
    last_waste,
    next_look,
    pays,
    reading,
    tail_pause,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
shares = st.sampled_from([FOR_LOOKS, FOR_READING, 1.0])


@given(
    st.integers(1, 20_000),
    st.lists(st.tuples(st.integers(1, 120), st.integers(0, 12_000), st.floats(0, 40), shares), max_size=60),
    st.floats(1, 60),
)
def test_no_more_is_spent_than_a_request_for_fifty_executions_and_what_time_earns(
    triggered: int, tries: list[tuple[int, int, float, float]], longest: float
) -> None:
    purse, now, unread, requests = Purse(longest=longest, opened_at=0.0), 0.0, triggered, 0
    for cost, ends, seconds, share in tries:
        now += seconds
        found = min(ends, unread, cost * PAGE)
        if purse.holds(cost - found / PAGE, triggered=triggered, now=now, share=share):
            purse.spent += cost - found / PAGE
            unread -= found
            requests += cost
    pauses = now / longest
    slow = 12 + triggered / PAGE + 3 * max(0.0, pauses - triggered / 1000)
    assert requests <= max(triggered / 50 + pauses, slow) + 1e-6


def test_ten_thousand_executions_take_no_more_than_two_hundred_requests_for_ten_minutes() -> None:
    purse = Purse(longest=30.0, opened_at=0.0)
    assert not purse.holds(100 + 1e-6, triggered=10_000, now=600.0)
    assert purse.holds(80, triggered=10_000, now=0.0)


@given(st.integers(1, 20_000), st.integers(1, 500), shares, st.integers(0, 400))
def test_what_cannot_be_paid_for_can_be_after_that_time(triggered: int, cost: int, share: float, spent: int) -> None:
    purse = Purse(longest=30.0, opened_at=0.0, spent=spent)
    wait = purse.seconds_to(cost, triggered=triggered, now=5.0, share=share)
    assert purse.holds(cost, triggered=triggered, now=5.0 + wait + 1e-6, share=share)
    assert wait == 0 or not purse.holds(cost, triggered=triggered, now=5.0 + wait - 1e-3, share=share)


@given(st.integers(0, 20_000), st.integers(1, 20_000))
def test_the_last_reading_wastes_no_more_than_reading_everything_again(unread: int, listed: int) -> None:
    waste = last_waste(unread, listed)
    assert 0 <= waste <= -(-listed // PAGE)
    assert waste <= unread


def test_few_ends_that_are_asked_for_by_id_are_no_great_waste() -> None:
    assert last_waste(3, 10_000) == 3 - 0.03
    assert last_waste(10_000, 10_000) == 0
    assert last_waste(5_000, 10_000) == 50


def test_the_last_ends_are_looked_for_the_more_often_the_shorter_it_took_so_far() -> None:
    limits = {"shortest": 2.0, "longest": 30.0}
    assert tail_pause(130, 60, **limits) == 130 / 60
    assert tail_pause(10, 60, **limits) == 2
    assert tail_pause(600, 20, **limits) == 30
    assert tail_pause(10, 0, **limits) == tail_pause(10, -3, **limits) == 30


def heard(*seconds: float) -> Ear:
    """That came since the first look."""
    ear = Ear(shortest=2.0, longest=30.0)
    ear.note(None, 0.0)
    for at in seconds:
        ear.note(START + timedelta(seconds=at), at)
    return ear


def test_webhooks_are_heard_until_they_are_silent_for_longer_than_usual() -> None:
    ear = heard(1, 2, 4, 6)
    assert ear.hears(15.9)
    assert not ear.hears(16.1)
    slow = heard(10, 30)
    assert slow.hears(30 + 59)
    assert not slow.hears(30 + 61)


def test_no_silence_is_trusted_for_longer_than_four_of_the_longest_pauses() -> None:
    ear = heard(10, 500)
    assert ear.hears(500 + 119)
    assert not ear.hears(500 + 121)


def test_what_came_before_the_first_look_is_not_heard() -> None:
    ear = Ear(shortest=2.0, longest=30.0)
    assert not ear.hears(0.0)
    ear.note(START, 0.0)
    ear.note(START, 2.0)
    assert not ear.hears(2.0)
    ear.note(START + timedelta(seconds=3), 4.0)
    assert ear.hears(4.0)


def test_hearing_does_not_depend_on_the_wall_clock() -> None:
    ear = heard(1, 2)
    ear.note(START - timedelta(days=1), 3.0)
    assert ear.hears(4.0)


@given(st.integers(1, 1_000), st.integers(1, 20_000), st.booleans())
def test_the_cheapest_way_is_taken(unread: int, listed: int, named: bool) -> None:
    way = reading(unread, listed, named=named)
    pages = -(-listed // PAGE)
    assert way.cost == (min(unread, pages) if named else pages)
    assert named or not way.one_by_one


def test_reading_pays_where_pages_bring_much_or_it_was_long_ago() -> None:
    way = reading(500, 800, named=False)
    assert not pays(way, 500, waited=1, longest=30)
    assert pays(way, 700, waited=1, longest=30)
    assert pays(way, 1, waited=30, longest=30)
    assert not pays(way, 0, waited=30, longest=30)


def test_the_next_look_comes_when_something_is_to_be_expected() -> None:
    limits = {"shortest": 2.0, "longest": 30.0}
    assert next_look(2, **limits, unread=0, still_open=900, cost=1, rate=0) == 3
    assert next_look(25, **limits, unread=0, still_open=900, cost=1, rate=0) == 30
    assert next_look(2, **limits, unread=0, still_open=900, cost=2, rate=10) == 4
    assert next_look(20, **limits, unread=0, still_open=900, cost=2, rate=10) == 13.4
    assert next_look(20, **limits, unread=0, still_open=50, cost=2, rate=10) == 5
    assert next_look(2, **limits, unread=0, still_open=5, cost=2, rate=10) == 2
