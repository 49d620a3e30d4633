"""When each scheduled execution is due. Times only; who sends, and whether it may, is decided elsewhere.

The formula is the specification's ("Time-Based Batching"):

    batchIndex = floor(i / maxConcurrent)
    executeAt  = startAt + batchIndex * batchInterval seconds
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from batchkit.errors import ConfigError

__all__ = [
    "LAST_YEAR",
    "TOLERANCE",
    "Pace",
    "Plan",
    "after_group",
    "execute_times",
    "free_slots",
    "has_missed_slots",
    "plan",
    "restagger",
]

#: a group may start this much late before later slots move; the slack of the rate rule
TOLERANCE = timedelta(milliseconds=250)

#: nothing is due later than in this year, so that times can be added up without leaving the calendar
LAST_YEAR = 9000

#: intervals shorter than this are not worth a new schedule when one is missed: the later slots simply move
_SHORTEST_MISS = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast rows may be sent: `max_concurrent` at a time, groups `batch_interval` seconds apart."""

    #: >= 1
    max_concurrent: int
    #: seconds, >= 0; 0: as fast as answers come, `max_concurrent` unanswered at a time
    batch_interval: float

    def __post_init__(self) -> None:
        if self.max_concurrent < 1:
            raise ConfigError(f"max_concurrent must be 1 or more, not {self.max_concurrent}.")
        if not 0 <= self.batch_interval < float("inf"):
            raise ConfigError(f"batch_interval must be 0 or more seconds, not {self.batch_interval}.")

    @property
    def interval(self) -> timedelta:
        """`batch_interval`, to the microsecond."""
        return timedelta(seconds=self.batch_interval)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a pace means for a number of rows."""

    groups: int
    start: datetime
    #: when the last group is due; `start` where there are no rows
    last_group: datetime

    @property
    def duration(self) -> timedelta:
        """From the first group to the last."""
        return self.last_group - self.start


def plan(count: int, pace: Pace, start: datetime) -> Plan:
    """Return how many groups `count` rows make and when the last one is due. Raises ConfigError if that is too far."""
    groups = -(-count // pace.max_concurrent)
    try:
        last = start + max(0, groups - 1) * pace.interval
    except OverflowError:
        last = datetime.max.replace(tzinfo=start.tzinfo)
    if last.year > LAST_YEAR:
        raise ConfigError(
            f"The last of {groups:,} groups would be due after the year {LAST_YEAR}. Start earlier, or use a shorter "
            "batch_interval or a higher max_concurrent."
        )
    return Plan(groups=groups, start=start, last_group=last)


def execute_times(count: int, pace: Pace, start: datetime) -> list[datetime]:
    """Return when each scheduled execution is due, in CSV order.

    count: rows, >= 0. start: aware; the first group is due exactly then.
    Groups of `max_concurrent` rows, `batch_interval` seconds apart (specification, "Time-Based Batching").
    Non-decreasing, O(count). Raises ConfigError if `start` is naive.
    """
    if start.tzinfo is None:
        raise ConfigError(f"The start time {start.isoformat()} has no time zone; give it one, for example UTC.")
    slots = [start + index * pace.interval for index in range(-(-count // pace.max_concurrent))]
    return [slots[index // pace.max_concurrent] for index in range(count)]


def restagger(pending: Sequence[tuple[datetime, bool]], pace: Pace, now: datetime) -> list[datetime]:
    """Return new times for pending items, staggered from `now` (specification, "Resume").

    pending: (time, whether the user set it by hand), in the order they are to be sent.
    An item set by hand keeps a time still ahead; the others follow the formula among themselves.
    """
    times: list[datetime] = []
    moved = 0
    for due, by_hand in pending:
        if by_hand and due > now:
            times.append(due)
            continue
        times.append(now + moved // pace.max_concurrent * pace.interval)
        moved += 1
    return times


def after_group(due: datetime, last_send: datetime, pace: Pace) -> datetime:
    """Return the earliest start of the next group, given when this one was due and sent its last request.

    On time, slots keep to the grid and lateness does not accumulate; a group more than TOLERANCE late moves
    what follows by its lateness. So no window of `batch_interval` - TOLERANCE ever holds more than one group.
    """
    late = last_send - due > TOLERANCE
    return (last_send if late else due) + pace.interval


def has_missed_slots(due: datetime, now: datetime, pace: Pace) -> bool:
    """Whether the next item is so late (sleep, outage, back-pressure) that the rest are staggered anew from now."""
    return pace.batch_interval > 0 and now - due > max(pace.interval, _SHORTEST_MISS)


def free_slots(count: int, at: datetime, taken: Sequence[tuple[datetime, int]], pace: Pace) -> list[datetime]:
    """Return the first free places at or after `at` for `count` items the user moves.

    taken: (time, items) of the other slots, ascending. A slot takes `max_concurrent` items; a new one is opened
    where it lies `batch_interval` or more from its neighbours, else an existing one with room is joined.
    """
    if pace.batch_interval == 0:
        return [at] * count
    slots = [time for time, _ in taken]
    room = [pace.max_concurrent - items for _, items in taken]
    places: list[datetime] = []
    candidate = at
    while len(places) < count:
        index = bisect_left(slots, candidate)
        if index < len(slots) and slots[index] == candidate:
            use = min(max(room[index], 0), count - len(places))
            places += [candidate] * use
            room[index] -= use
            candidate = _after(candidate, slots, pace)
            continue
        before = slots[index - 1] if index else None
        if before is not None and candidate - before < pace.interval:
            candidate = _no_later_than_slot(before + pace.interval, slots, index)
            continue
        if index < len(slots) and slots[index] - candidate < pace.interval:
            candidate = slots[index]
            continue
        slots.insert(index, candidate)
        room.insert(index, pace.max_concurrent)
    return places


def _after(slot: datetime, slots: Sequence[datetime], pace: Pace) -> datetime:
    """The next moment after a full slot that could be free: the next slot, or one interval on."""
    return _no_later_than_slot(slot + pace.interval, slots, bisect_left(slots, slot) + 1)


def _no_later_than_slot(candidate: datetime, slots: Sequence[datetime], index: int) -> datetime:
    return min(candidate, slots[index]) if index < len(slots) else candidate
