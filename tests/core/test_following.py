from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batchkit.core.following import PAGE, Purse, next_look, pays, reading


@given(
    st.integers(1, 20_000),
    st.lists(st.tuples(st.integers(1, 120), st.integers(0, 12_000), st.floats(0, 40), st.booleans()), max_size=60),
    st.floats(1, 60),
)
def test_no_more_is_spent_than_a_request_for_fifty_executions_and_one_for_each_pause(
    triggered: int, tries: list[tuple[int, int, float, bool]], longest: float
) -> None:
    purse, now, unread, requests = Purse(longest=longest, opened_at=0.0), 0.0, triggered, 0
    for cost, ends, seconds, last in tries:
        now += seconds
        found = min(ends, unread, cost * PAGE)
        if purse.holds(cost - found / PAGE, triggered=triggered, now=now, last=last):
            purse.spent += cost - found / PAGE
            unread -= found
            requests += cost
    assert requests <= max(triggered / 50, 12 + triggered / 100) + now / longest + 1e-6


@given(st.integers(1, 20_000), st.integers(1, 500), st.booleans(), st.integers(0, 400))
def test_what_cannot_be_paid_for_can_be_after_that_time(triggered: int, cost: int, last: bool, spent: int) -> None:
    purse = Purse(longest=30.0, opened_at=0.0, spent=spent)
    wait = purse.seconds_to(cost, triggered=triggered, now=5.0, last=last)
    assert purse.holds(cost, triggered=triggered, now=5.0 + wait + 1e-6, last=last)


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
