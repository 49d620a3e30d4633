"""How often a target is asked what became of executions, and when reading their ends is worth its requests.

At most one request for 50 executions, beside one for each `longest` seconds. To read every end once takes a request
for each 100; that is always allowed, and the other half is for looks and for what is read in vain. Where rows wait for
executions to finish, there is no such limit.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PAGE", "Purse", "Reading", "next_look", "pays", "reading"]

#: executions a page of a list holds
PAGE = 100
#: a reading that is not urgent brings this many ends a page at least
_WORTHWHILE = 67
#: executions that earn one request beside reading them
_EXECUTIONS_A_REQUEST = 125
#: requests that even a small batch may make
_LEAST = 12
#: the share that may be spent before the end, so that the last looks need not wait
_FREELY = 0.8
_GROWTH = 1.5
#: the first rates are not to be trusted
_MOST_GROWTH = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How to learn the ends of executions."""

    #: each by its id; else all of a list
    one_by_one: bool
    #: requests
    cost: int
    #: executions that a list of the ends holds
    listed: int

    def waste(self, unread: int) -> float:
        """What it costs more than reading so many ends once takes."""
        return self.cost - unread / PAGE

    @property
    def waste_ahead(self) -> float:
        """What the last reading costs more than that, where it lists these ends again."""
        return self.listed / PAGE


@dataclass(slots=True, kw_only=True)
class Purse:
    """The requests that may be made about a batch beside reading each end once, and those that were."""

    #: seconds that earn one request
    longest: float
    #: on the clock that measures durations
    opened_at: float
    spent: float = 0.0

    def holds(self, cost: float, *, triggered: int, now: float, last: bool = False) -> bool:
        """Whether so much may be spent now. last: nothing runs any more and nothing will be sent."""
        return self.spent + cost <= self._earned(triggered, now) * (1 if last else _FREELY)

    def is_half_full(self, cost: float, *, triggered: int, now: float) -> bool:
        """Whether that leaves half of what was earned."""
        return 2 * (self.spent + cost) <= self._earned(triggered, now)

    def seconds_to(self, cost: float, *, triggered: int, now: float, last: bool = False) -> float:
        """Seconds until so much may be spent, if no more executions are triggered."""
        wanted = (self.spent + cost) / (1 if last else _FREELY)
        return max(0.0, (wanted - self._earned(triggered, now)) * self.longest)

    def _earned(self, triggered: int, now: float) -> float:
        return max(_LEAST, triggered / _EXECUTIONS_A_REQUEST) + (now - self.opened_at) / self.longest


def reading(unread: int, listed: int, *, named: bool) -> Reading:
    """Return the cheapest way to learn `unread` ends.

    listed: how many executions a list with all of them holds. named: it is known which executions they are.
    """
    pages = -(-max(1, listed) // PAGE)
    if named and unread < pages:
        return Reading(one_by_one=True, cost=unread, listed=listed)
    return Reading(one_by_one=False, cost=pages, listed=listed)


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
