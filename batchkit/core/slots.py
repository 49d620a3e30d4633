"""The slots of a batch: when its groups are due, one interval apart and only in its working hours."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import datetime

from batchkit.core.hours import WorkingHours
from batchkit.core.schedule import LAST_YEAR, Pace, plan
from batchkit.errors import ConfigError

__all__ = ["Slots", "check_last_slot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """Slots between an opening and the next closing."""

    #: the number of its first slot
    first: int
    begin: datetime
    #: how many slots; None: any number
    room: int | None


@dataclass(slots=True, kw_only=True)
class Slots:
    """The slots from `start` on, numbered from 0; a slot that would fall outside `hours` waits for the next opening.

    The later ones follow it. With an interval of 0 all slots lie at the same time. Everything raises ConfigError for a
    slot beyond the calendar.
    """

    pace: Pace
    #: aware
    start: datetime
    #: None: always open
    hours: WorkingHours | None = None
    #: as far as they were needed
    _windows: list[_Window] = field(default_factory=list, init=False)

    def slot(self, number: int) -> datetime:
        """When the slot of that number, >= 0, is due."""
        while self._last_is_before(number):
            self._windows.append(self._next_window())
        at = bisect_right(self._windows, number, key=lambda window: window.first) - 1
        window = self._windows[at]
        return self._checked(window.begin, number - window.first)

    def at_or_after(self, moment: datetime) -> datetime:
        """The first slot at or after that moment."""
        if self.pace.batch_interval == 0:
            later = max(self.start, moment)
            return later if self.hours is None else self.hours.next_open(later)
        while not self._windows or self._windows[-1].begin <= moment:
            if self._windows and self._windows[-1].room is None:
                break
            self._windows.append(self._next_window())
        at = bisect_right(self._windows, moment, key=lambda window: window.begin) - 1
        if at < 0:
            return self._windows[0].begin
        window = self._windows[at]
        passed = -((window.begin - moment) // self.pace.interval)
        if window.room is not None and passed >= window.room:
            return self._windows[at + 1].begin
        return self._checked(window.begin, passed)

    def _last_is_before(self, number: int) -> bool:
        if not self._windows:
            return True
        last = self._windows[-1]
        return last.room is not None and last.first + last.room <= number

    def _next_window(self) -> _Window:
        if self.hours is None:
            return _Window(first=0, begin=self.start, room=None)
        first, begin = 0, self.start
        try:
            if self._windows:
                last = self._windows[-1]
                assert last.room is not None
                first, begin = last.first + last.room, last.begin + last.room * self.pace.interval
            opens = self.hours.next_open(begin)
            closes = self.hours.next_close(opens)
        except OverflowError:
            raise self._too_far() from None
        if opens.year > LAST_YEAR:
            raise self._too_far()
        if closes is None or self.pace.batch_interval == 0:
            return _Window(first=first, begin=opens, room=None)
        return _Window(first=first, begin=opens, room=-((opens - closes) // self.pace.interval))

    def _checked(self, begin: datetime, intervals: int) -> datetime:
        try:
            slot = begin + intervals * self.pace.interval
        except OverflowError:
            raise self._too_far() from None
        if slot.year > LAST_YEAR:
            raise self._too_far()
        return slot

    def _too_far(self) -> ConfigError:
        inside = "" if self.hours is None else f" in the working hours {self.hours}"
        return ConfigError(
            f"The last of the groups{inside} would be due after the year {LAST_YEAR}. Start earlier, or use a shorter "
            "batch_interval, a higher max_concurrent or longer working hours."
        )


def check_last_slot(count: int, pace: Pace, start: datetime, hours: WorkingHours | None) -> None:
    """Raise ConfigError if the last of `count` rows would be due beyond the calendar."""
    plan(count, pace, start)
    Slots(pace=pace, start=start, hours=hours).slot(max(0, -(-count // pace.max_concurrent) - 1))
