"""Working hours: when in the week rows may be sent, by the clock of one place.

It is open whenever a clock on the wall there shows a time inside. What the clocks skip when they are set forward is
never shown, so a window begins with the first moment after the gap; what they show twice when they are set back is
inside both times.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Mapping as MappingLike
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

from batchkit.errors import ConfigError

__all__ = ["WorkingHours"]

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEK = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)
#: later than any time that is asked for, and not so late that an offset cannot be added
_NEVER = datetime.combine(date.max - 2 * _DAY, time())
#: a week of days, and those that clocks may take away
_MOST_PIECES = 40
#: what `ZoneInfo` raises, the last for the name of a folder
_UNKNOWN_ZONE = (KeyError, ValueError, OSError)


@dataclass(frozen=True, slots=True, init=False)
class WorkingHours:
    """A weekly window: on `days`, from `start` up to, not including, `end`, in `zone`.

    An `end` at or before `start` lies on the next day: "22:00" to "06:00" on "fri" ends on Saturday morning, and the
    same time twice is a whole day. "24:00" ends a day.
    Times that the clocks skip are never inside, times that they show twice are inside twice.
    Raises one ConfigError that names everything that is wrong.
    """

    #: 0: Monday; ascending, at least one
    days: tuple[int, ...]
    start: time
    end: time
    #: IANA name
    zone: str

    def __init__(
        self,
        *,
        days: str | Iterable[str] = ("mon", "tue", "wed", "thu", "fri"),
        start: str | time = "08:00",
        end: str | time = "18:00",
        zone: str,
    ) -> None:
        problems: list[str] = []
        object.__setattr__(self, "days", _read_days(days, problems))
        object.__setattr__(self, "start", _read_time("start", start, problems))
        object.__setattr__(self, "end", _read_time("end", end, problems))
        object.__setattr__(self, "zone", _read_zone(zone, problems))
        if problems:
            raise ConfigError("\n".join(problems))

    def __str__(self) -> str:
        days = ", ".join(_DAYS[day].capitalize() for day in self.days)
        return f"{days} {self.start:%H:%M} to {self.end:%H:%M} ({self.zone})"

    def is_open(self, at: datetime) -> bool:
        """Whether the window is open at that moment. at: aware. Raises ConfigError for a naive one."""
        _refuse_naive(at)
        return self._is_inside(at.astimezone(self._zone).replace(tzinfo=None))

    def next_open(self, at: datetime) -> datetime:
        """The first moment at or after `at` when the window is open; aware, UTC. A naive `at` raises ConfigError."""
        _refuse_naive(at)
        for begin, end, offset in self._pieces(at):
            inside = self._next_inside(begin + offset)
            if inside - offset < end:
                return (inside - offset).replace(tzinfo=UTC)
        raise ConfigError(f"The working hours {self} never come after {at}.")

    def next_close(self, at: datetime) -> datetime | None:
        """The first moment at or after `at` when the window is closed; None: it never closes."""
        for begin, end, offset in self._pieces(at):
            outside = self._next_outside(begin + offset)
            if outside - offset < end:
                return (outside - offset).replace(tzinfo=UTC)
        return None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "days": [_DAYS[day] for day in self.days],
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "zone": self.zone,
        }

    @classmethod
    def from_dict(cls, data: MappingLike[str, Any]) -> WorkingHours:
        """What `to_dict` gave, also with a zone this machine does not know: only asking for times there fails then."""
        hours = cls(**{**data, "zone": "UTC"})
        object.__setattr__(hours, "zone", data["zone"])
        return hours

    @property
    def _zone(self) -> ZoneInfo:
        try:
            return ZoneInfo(self.zone)
        except _UNKNOWN_ZONE:
            raise ConfigError(
                f"The time zone of the working hours {self} is not known on this machine. Install the Python package "
                "tzdata on it."
            ) from None

    @property
    def length(self) -> timedelta:
        """Of a window, by the clock on the wall."""
        length = datetime.combine(date.min, self.end) - datetime.combine(date.min, self.start)
        return length if length > timedelta() else length + _DAY

    def _is_inside(self, local: datetime) -> bool:
        return any(begin <= local < begin + self.length for begin in self._beginnings(local))

    def _beginnings(self, local: datetime) -> Iterator[datetime]:
        """The windows that begin on the day of `local`, or on the day before."""
        for day in (local.date() - _DAY, local.date()):
            if day.weekday() in self.days:
                yield datetime.combine(day, self.start)

    def _next_inside(self, local: datetime) -> datetime:
        if self._is_inside(local):
            return local
        ahead = (datetime.combine(local.date() + day * _DAY, self.start) for day in range(9))
        return min(begin for begin in ahead if begin >= local and begin.weekday() in self.days)

    def _next_outside(self, local: datetime) -> datetime:
        while self._is_inside(local):
            end = max(begin for begin in self._beginnings(local) if begin <= local) + self.length
            if end - local > 8 * _DAY or (len(self.days) == 7 and self.length == _DAY):
                return _NEVER
            local = end
        return local

    def _pieces(self, at: datetime) -> Iterator[tuple[datetime, datetime, timedelta]]:
        """The time from `at` on in pieces in which the zone's clocks are not set: begin, end, offset; naive UTC."""
        zone = self._zone
        begin = at.astimezone(UTC)
        for _ in range(_MOST_PIECES):
            offset = _offset(begin, zone)
            end = begin + _DAY
            if _offset(end, zone) != offset:
                end = _change(begin, end, zone)
            yield begin.replace(tzinfo=None), end.replace(tzinfo=None), offset
            begin = end


def _offset(at: datetime, zone: ZoneInfo) -> timedelta:
    return cast("timedelta", at.astimezone(zone).utcoffset())


def _change(begin: datetime, end: datetime, zone: ZoneInfo) -> datetime:
    """The first moment after `begin` with another offset; `end` has one."""
    offset = _offset(begin, zone)
    while end - begin > _MICROSECOND:
        middle = begin + (end - begin) // 2
        begin, end = (middle, end) if _offset(middle, zone) == offset else (begin, middle)
    return end


def _refuse_naive(at: datetime) -> None:
    if at.tzinfo is None:
        raise ConfigError(
            f"The moment {at} has no time zone; give it one: datetime(..., tzinfo=ZoneInfo('Europe/Berlin'))."
        )


def _read_days(days: object, problems: list[str]) -> tuple[int, ...]:
    named = list(days) if isinstance(days, Iterable) and not isinstance(days, str) else [days]
    read = [_day(each) for each in named]
    if None in read or not named:
        wrong = ", ".join(repr(each) for each, day in zip(named, read, strict=True) if day is None)
        problems.append(f"days must be of {', '.join(_DAYS)}, several as in ['mon', 'tue'], not {wrong or 'none'}.")
        return ()
    return tuple(sorted({day for day in read if day is not None}))


def _day(name: object) -> int | None:
    """The number of the day, whose name may be shortened to three letters; None: it is no day."""
    text = str(name).strip().lower()
    found = [number for number, day in enumerate(_WEEK) if len(text) >= 3 and day.startswith(text)]
    return found[0] if found else None


def _read_time(what: str, value: object, problems: list[str]) -> time:
    if isinstance(value, time) and value.tzinfo is None:
        return value
    if isinstance(value, str) and value.strip() == "24:00":
        return time()
    try:
        read = time.fromisoformat(str(value).strip())
    except ValueError:
        read = None
    if not isinstance(value, str) or read is None or read.tzinfo is not None:
        problems.append(f"{what} must be a time of day like '08:00', not {value!r}.")
        return time()
    return read


def _read_zone(zone: object, problems: list[str]) -> str:
    try:
        return ZoneInfo(str(zone)).key
    except _UNKNOWN_ZONE:
        problems.append(f"zone {zone!r} is not known; use an IANA name like 'Europe/Berlin'.")
        return ""
