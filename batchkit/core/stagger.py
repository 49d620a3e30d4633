"""What a pace looks like: the groups of a batch, few enough to be drawn."""

from __future__ import annotations

from dataclasses import dataclass

from batchkit.core.schedule import Pace

__all__ = ["Group", "Stagger", "stagger"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rows that are due together."""

    #: seconds after the first group
    after: float
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stagger:
    """The first groups and the last one."""

    groups: tuple[Group, ...]
    #: groups between the last but one and the last that are not among `groups`
    left_out: int


def stagger(count: int, pace: Pace, most: int = 40) -> Stagger:
    """Return the groups `count` rows make at that pace, at most `most` (2 or more) of them.

    With an interval of 0 there are no groups: all rows stand in one.
    """
    if pace.batch_interval == 0:
        return Stagger(groups=(Group(after=0.0, rows=count),) if count else (), left_out=0)
    whole = -(-count // pace.max_concurrent)
    shown = [*range(whole)] if whole <= most else [*range(most - 1), whole - 1]
    groups = tuple(
        Group(after=index * pace.batch_interval, rows=min(pace.max_concurrent, count - index * pace.max_concurrent))
        for index in shown
    )
    return Stagger(groups=groups, left_out=whole - len(groups))
