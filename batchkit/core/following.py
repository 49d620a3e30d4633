"""How often a target is asked what became of executions, and when reading their ends is worth its requests.

At most one request for 50 executions, beside one for each `longest` seconds. To read every end once takes a request
for each 100; that is always allowed, and the other half is for looks and for what is read in vain. A batch that takes
long may be asked about more often, so that its ends are not learned only when all have ended. Where rows wait for
executions to finish, there is no such limit. While webhooks tell of the executions, the target is asked rarely.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

__all__ = [
    "FOR_LOOKS",
    "FOR_READING",
    "PAGE",
    "RARELY",
    "Ear",
    "Purse",
    "Reading",
    "last_waste",
    "next_look",
    "pays",
    "reading",
    "tail_pause",
]

#: executions a page of a list holds
PAGE = 100
#: a reading that is not urgent brings this many ends a page at least
_WORTHWHILE = 67
#: executions that earn one request beside reading them
_EXECUTIONS_A_REQUEST = 125
#: requests that even a small batch may make, ...
_LEAST = 12
#: ... and with each of the longest pauses, from one pause on for so many executions
_REQUESTS_A_PAUSE = 3
_EXECUTIONS_A_PAUSE = 1000
#: the shares that may be spent before the end, so that looks leave something to read with, and reading to look with
FOR_LOOKS = 0.85
FOR_READING = 0.95
_GROWTH = 1.5
#: the first rates are not to be trusted
_MOST_GROWTH = 2.0
#: webhooks have ceased after a silence so many times as long as any before, ...
_SILENCE = 3
#: ... of at least so many of the shortest pauses
_LEAST_SILENCE = 5
#: while webhooks come, the target is asked every so many of the longest pauses
RARELY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How to learn the ends of executions."""

    #: each by its id; else all of a list
    one_by_one: bool
    #: requests
    cost: int

    def waste(self, unread: int) -> float:
        """What it costs more than reading so many ends once takes."""
        return self.cost - unread / PAGE


@dataclass(slots=True, kw_only=True)
class Purse:
    """The requests that may be made about a batch beside reading each end once, and those that were."""

    #: seconds, the longest pause between looks
    longest: float
    #: on the clock that measures durations
    opened_at: float
    spent: float = 0.0

    def holds(self, cost: float, *, triggered: int, now: float, share: float = 1.0) -> bool:
        """Whether so much may be spent now, if only that share of everything may be."""
        return self.spent + cost <= self._earned(triggered, now) * share

    def is_half_full(self, cost: float, *, triggered: int, now: float) -> bool:
        """Whether that leaves half of what was earned."""
        return 2 * (self.spent + cost) <= self._earned(triggered, now)

    def left(self, cost: float, *, triggered: int, now: float) -> float:
        """Requests that are left for looks after that."""
        return FOR_LOOKS * self._earned(triggered, now) - self.spent - cost

    def seconds_to(self, cost: float, *, triggered: int, now: float, share: float = 1.0) -> float:
        """Seconds until so much may be spent, if no more executions are triggered."""
        wanted = (self.spent + cost) / share
        late = triggered / _EXECUTIONS_A_PAUSE + (wanted - _LEAST) / _REQUESTS_A_PAUSE
        pauses = min(wanted - triggered / _EXECUTIONS_A_REQUEST, late)
        return max(0.0, self.opened_at + pauses * self.longest - now)

    def _earned(self, triggered: int, now: float) -> float:
        pauses = (now - self.opened_at) / self.longest
        late = max(0.0, pauses - triggered / _EXECUTIONS_A_PAUSE)
        return max(triggered / _EXECUTIONS_A_REQUEST + pauses, _LEAST + _REQUESTS_A_PAUSE * late)


def reading(unread: int, listed: int, *, named: bool) -> Reading:
    """Return the cheapest way to learn `unread` ends.

    listed: how many executions a list with all of them holds. named: it is known which executions they are.
    """
    pages = -(-max(1, listed) // PAGE)
    if named and unread < pages:
        return Reading(one_by_one=True, cost=unread)
    return Reading(one_by_one=False, cost=pages)


def last_waste(unread: int, listed: int) -> float:
    """Return what the last reading costs more than reading so many ends once takes, if all of them are read then.

    listed: how many executions a list with all of them holds.
    """
    return max(0.0, min(unread, -(-listed // PAGE)) - unread / PAGE)


def tail_pause(elapsed: float, left: float, *, shortest: float, longest: float) -> float:
    """Return the seconds between looks at the last executions: what is left would do for as long as it took so far."""
    return min(max(elapsed / left, shortest), longest) if left > 0 else longest


def pays(way: Reading, unread: int, *, waited: float, longest: float) -> bool:
    """Whether reading brings enough ends, or the last reading was `longest` seconds ago."""
    return unread > 0 and (unread >= _WORTHWHILE * way.cost or waited >= longest)


def next_look(
    pause: float, *, shortest: float, longest: float, unread: int, still_open: int, cost: int, rate: float
) -> float:
    """Return the seconds until the next look: when reading will pay or nothing will run any more, at this rate of ends.

    pause: before the last look; grown where nothing ends. rate: executions that end a second, >= 0.
    """
    if rate <= 0:
        return min(pause * _GROWTH, longest)
    lacking = _WORTHWHILE * cost - unread
    # Where reading would pay and may not be, the purse waits for the end.
    ahead = min(lacking, still_open) if lacking > 0 else still_open
    return min(max(ahead / rate, shortest), longest, _MOST_GROWTH * pause)


@dataclass(slots=True, kw_only=True)
class Ear:
    """Whether webhooks tell of a batch's executions, by when the last one was seen to come."""

    shortest: float
    longest: float
    _last: datetime | None = None
    #: seconds on the clock that measures durations; minus infinity: none came since the first look
    _at: float = -math.inf
    _longest_gap: float = 0.0
    _began: bool = False

    def note(self, heard_at: datetime | None, now: float) -> None:
        """heard_at: when the last webhook came, None: none has."""
        if self._began and heard_at != self._last:
            if self._at > -math.inf:
                self._longest_gap = max(self._longest_gap, now - self._at)
            self._at = now
        self._last, self._began = heard_at, True

    def hears(self, now: float) -> bool:
        """Whether the silence since is no longer than is usual."""
        usual = max(_SILENCE * self._longest_gap, _LEAST_SILENCE * self.shortest)
        return now - self._at < min(usual, RARELY * self.longest)
