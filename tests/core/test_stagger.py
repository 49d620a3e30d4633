"""The groups of a batch as they are drawn."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batchkit.core.schedule import Pace
from batchkit.core.stagger import Group, stagger


def test_groups_are_those_of_the_formula() -> None:
    drawn = stagger(12, Pace(max_concurrent=5, batch_interval=60))
    assert drawn.groups == (Group(after=0, rows=5), Group(after=60, rows=5), Group(after=120, rows=2))
    assert drawn.left_out == 0


def test_without_an_interval_there_is_one_group() -> None:
    assert stagger(12, Pace(max_concurrent=5, batch_interval=0)).groups == (Group(after=0, rows=12),)


def test_no_rows_are_no_groups() -> None:
    assert stagger(0, Pace(max_concurrent=5, batch_interval=60)).groups == ()


@given(st.integers(0, 10**9), st.integers(1, 1000), st.floats(0.1, 1000), st.integers(2, 50))
def test_few_groups_stand_for_all(count: int, concurrent: int, interval: float, most: int) -> None:
    drawn = stagger(count, Pace(max_concurrent=concurrent, batch_interval=interval), most)
    assert len(drawn.groups) <= most
    assert len(drawn.groups) + drawn.left_out == -(-count // concurrent)
    if drawn.groups:
        first_rows = sum(group.rows for group in drawn.groups[:-1])
        assert first_rows + drawn.left_out * concurrent + drawn.groups[-1].rows == count
        assert drawn.groups[0].after == 0
        assert drawn.groups[-1].after == (len(drawn.groups) + drawn.left_out - 1) * interval
