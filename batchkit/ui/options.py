"""What stands under "More options": texts, what is wrong with each, and the limits they mean. All of it is optional."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import time
from typing import Any, cast, get_args
from zoneinfo import ZoneInfo

from batchkit.core.flow import LONGEST_DEADLINE, CapacityLimit, FailureThreshold
from batchkit.core.hours import WorkingHours
from batchkit.errors import ConfigError

__all__ = ["DAYS", "Options", "known_zone", "plain_number", "whole_number"]

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MINUTE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The texts; an empty one means that there is no such limit."""

    max_in_flight: str = ""
    #: "reject", "queue"; empty: as the platform is set
    on_capacity_limit: str = ""
    #: rows are sent in working hours only
    hours: bool = False
    #: of DAYS
    hours_days: tuple[str, ...] = DAYS[:5]
    hours_start: str = "08:00"
    hours_end: str = "18:00"
    #: IANA name
    hours_zone: str = ""
    #: percent of the executions that ended
    failure_share: str = ""
    failure_count: str = ""
    failure_minimum: str = "20"
    #: minutes
    item_deadline: str = ""

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> Options:
        """What `to_json` gave, or a page. Raises ConfigError for what is no such thing."""
        try:
            values: dict[str, Any] = {
                each.name: str(details[each.name]) for each in fields(cls) if each.name in details
            }
            values["hours_days"] = tuple(day for day in DAYS if day in details["hours_days"])
            values["hours"] = bool(details["hours"])
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise ConfigError(f"These are no options of a batch: {error}.") from error

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {**asdict(self), "hours_days": list(self.hours_days)}

    def with_day(self, day: str, *, on: bool) -> Options:
        """With or without that one of DAYS."""
        chosen = {*self.hours_days, day} if on else {*self.hours_days} - {day}
        return replace(self, hours_days=tuple(each for each in DAYS if each in chosen))

    def problems(self) -> dict[str, str]:
        """What is wrong, by field; empty: nothing."""
        checks: dict[str, Callable[[], object]] = {
            "max_in_flight": lambda: self.in_flight,
            "on_capacity_limit": lambda: self.capacity,
            "hours_days": lambda: self._checked_days(),
            "hours_start": lambda: self._clock(self.hours_start),
            "hours_end": lambda: self._clock(self.hours_end),
            "hours_zone": lambda: self._zone(),
            "failure_share": lambda: self._share(),
            "failure_count": lambda: self._count(),
            "failure_minimum": lambda: self.failure_share.strip() and self._minimum(),
            "item_deadline": lambda: self.deadline,
        }
        found: dict[str, str] = {}
        for field, check in checks.items():
            if field.startswith("hours_") and not self.hours:
                continue
            try:
                check()
            except ConfigError as error:
                found[field] = str(error)
        return found

    @property
    def count(self) -> int:
        """How many of the limits are set."""
        texts = (
            self.max_in_flight,
            self.on_capacity_limit,
            self.failure_share or self.failure_count,
            self.item_deadline,
        )
        return sum(bool(text.strip()) for text in texts) + self.hours

    # What they mean; each raises ConfigError for a text that means nothing

    @property
    def in_flight(self) -> int | None:
        """Executions that may be unfinished at a time."""
        return whole_number(self.max_in_flight) if self.max_in_flight.strip() else None

    @property
    def capacity(self) -> CapacityLimit | None:
        """What the target does with a row it has no room for."""
        if self.on_capacity_limit not in ("", *get_args(CapacityLimit)):
            raise ConfigError("Choose one of the list.")
        return cast("CapacityLimit", self.on_capacity_limit) if self.on_capacity_limit else None

    @property
    def working_hours(self) -> WorkingHours | None:
        """When rows may be sent."""
        if not self.hours:
            return None
        self._checked_days()
        start, end = self._clock(self.hours_start), self._clock(self.hours_end)
        return WorkingHours(days=self.hours_days, start=start, end=end, zone=self._zone())

    @property
    def ends_next_day(self) -> bool:
        """Whether the working hours end on the day after they begin; what is no time of day ends on none."""
        try:
            start, end = self._clock(self.hours_start), self._clock(self.hours_end)
        except ConfigError:
            return False
        return time.fromisoformat(end) <= time.fromisoformat(start)

    @property
    def failures(self) -> FailureThreshold | None:
        """How many failed executions pause the batch."""
        share, count = self._share(), self._count()
        if share is None and count is None:
            return None
        # Of the count alone it says nothing.
        return FailureThreshold(count=count) if share is None else self._of_share(share, count)

    @property
    def deadline(self) -> float | None:
        """Seconds after which an execution is not waited for any longer."""
        if not self.item_deadline.strip():
            return None
        seconds = _number(self.item_deadline) * _MINUTE
        if not 0 < seconds < math.inf:
            raise ConfigError("This must be a number of minutes above 0, or empty.")
        if seconds > LONGEST_DEADLINE:
            raise ConfigError("This is longer than a year; it is in minutes.")
        return seconds

    def _checked_days(self) -> None:
        if not self.hours_days:
            raise ConfigError("Choose at least one day.")

    def _clock(self, text: str) -> str:
        """A time of day; midnight for the "24:00" that ends a day."""
        try:
            read = time() if text.strip() == "24:00" else time.fromisoformat(text.strip())
        except ValueError:
            read = None
        if read is None or read.tzinfo is not None:
            raise ConfigError("This must be a time of day, like 08:00.")
        return read.isoformat("minutes" if not read.second and not read.microsecond else "auto")

    def _zone(self) -> str:
        if not known_zone(self.hours_zone):
            raise ConfigError("This must be a time zone by its IANA name, like Europe/Berlin.")
        return self.hours_zone.strip()

    def _share(self) -> float | None:
        if not self.failure_share.strip():
            return None
        percent = _number(self.failure_share)
        if not 0 < percent <= 100:
            raise ConfigError("This must be a percentage above 0, at most 100, or empty.")
        return percent / 100

    def _of_share(self, share: float, count: int | None) -> FailureThreshold:
        return FailureThreshold(share=share, count=count, minimum=self._minimum())

    def _count(self) -> int | None:
        return whole_number(self.failure_count) if self.failure_count.strip() else None

    def _minimum(self) -> int:
        return whole_number(self.failure_minimum, "1 or more")


def known_zone(name: str) -> bool:
    """Whether there is a time zone of that IANA name."""
    try:
        return bool(name.strip()) and bool(ZoneInfo(name.strip()).key)
    except (KeyError, ValueError, OSError):
        return False


def whole_number(text: str, allowed: str = "1 or more, or empty") -> int:
    """The number of executions, 1 or more, that a text says. Raises ConfigError, which says what is `allowed`."""
    value = _number(text)
    if not value >= 1 or not value.is_integer():
        raise ConfigError(f"This must be a whole number of executions, {allowed}.")
    return int(value)


def plain_number(value: float) -> float | int:
    """The number as one writes it: a whole one without a point, and every digit of any other."""
    return int(value) if value == int(value) else value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
