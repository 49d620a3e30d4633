"""The configuration of a batch as its user types it: texts, what is wrong with each, and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from batchkit.core.config import BatchConfig, aware
from batchkit.core.hours import WorkingHours
from batchkit.core.profile import AgentProfile, ProfilePool
from batchkit.core.schedule import LAST_YEAR, Pace, plan
from batchkit.core.slots import Slots
from batchkit.core.stagger import stagger
from batchkit.errors import ConfigError
from batchkit.ui.options import Options, whole_number

__all__ = ["Draft", "Outlook", "refuse_too_many_windows"]

#: seconds; a longer interval is a mistake in the unit
_LONGEST_INTERVAL = 366 * 86_400
#: seconds; times are kept to the microsecond
_SHORTEST_INTERVAL = 1e-6
#: working days; a batch that takes more is a mistake, and takes long to work out
_MOST_WINDOWS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What follows from a draft for a number of rows."""

    groups: int
    #: from the first group to the last, seconds
    seconds: float
    first_at: datetime
    #: of the last group
    last_at: datetime
    #: the first group waits for the working hours to begin
    waits: bool
    #: (seconds after the first, rows) of the groups that are drawn; `left_out` lie between the last two
    bars: tuple[tuple[float, int], ...]
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What stands in the fields of "Configure Batch"."""

    name: str = ""
    #: the name was typed, not suggested
    is_named: bool = False
    #: id of the default profile or pool; empty: none
    profile: str = ""
    #: start at `start_at`, not at once
    later: bool = False
    #: ISO text with an offset; empty: not chosen yet
    start_at: str = ""
    max_concurrent: str = "5"
    batch_interval: str = "60"
    #: IANA name of the zone in which the rows' own times are read; empty: not known
    timezone: str = ""
    options: Options = field(default_factory=Options)

    def problems(self, rows: int = 0) -> dict[str, str]:
        """What is wrong, by field, for a batch of so many rows; empty: nothing."""
        checks = (
            ("name", lambda: self._named()),
            ("start_at", lambda: self._start()),
            ("max_concurrent", lambda: self._max_concurrent()),
            ("batch_interval", lambda: self._batch_interval()),
        )
        found = {}
        for name, check in checks:
            try:
                check()
            except ConfigError as error:
                found[name] = str(error)
        found |= self.options.problems()
        if not found:
            try:
                refuse_too_many_windows(rows, self.pace, self.options.working_hours)
            except ConfigError as error:
                found["batch_interval"] = str(error)
        return found

    def outlook(self, rows: int, now: datetime) -> Outlook | None:
        """What follows for so many rows; None while something is wrong. Raises ConfigError beyond the calendar.

        Working hours are taken into account, and times of the rows' own are not.
        """
        if self.problems(rows):
            return None
        pace = self.pace
        start = max(self._start() or now, now)
        planned, drawn = plan(rows, pace, start), stagger(rows, pace)
        slots = Slots(pace=pace, start=start, hours=self.options.working_hours)
        first, last = slots.slot(0), slots.slot(max(0, planned.groups - 1))
        shown = [*range(len(drawn.groups) - 1), planned.groups - 1] if drawn.groups else []
        return Outlook(
            groups=planned.groups,
            seconds=(last - first).total_seconds(),
            first_at=first,
            last_at=last,
            waits=first > start,
            bars=tuple(
                ((slots.slot(number) - first).total_seconds() if pace.batch_interval else 0.0, group.rows)
                for number, group in zip(shown, drawn.groups, strict=True)
            ),
            left_out=drawn.left_out,
        )

    @property
    def pace(self) -> Pace:
        """How fast rows are sent. Raises ConfigError."""
        return Pace(max_concurrent=self._max_concurrent(), batch_interval=self._batch_interval())

    def config(
        self,
        version: int | None,
        profiles: Sequence[AgentProfile],
        pools: Sequence[ProfilePool],
        *,
        trial: int = 0,
        has_times: bool = False,
    ) -> BatchConfig:
        """The configuration. has_times: rows may have times of their own. Raises ConfigError."""
        known: list[AgentProfile | ProfilePool] = [*profiles, *pools]
        chosen = next((one for one in known if one.id == self.profile), None)
        if self.profile and chosen is None:
            raise ConfigError("The default agent profile is not there any more. Choose another one.")
        return BatchConfig(
            name=self._named(),
            version=version,
            default_profile=chosen,
            start_at=self._start(),
            max_concurrent=self._max_concurrent(),
            batch_interval=self._batch_interval(),
            timezone=(self.timezone.strip() or None) if has_times else None,
            trial=trial,
            max_in_flight=self.options.in_flight,
            on_capacity_limit=self.options.capacity,
            working_hours=self.options.working_hours,
            failure_threshold=self.options.failures,
            item_deadline=self.options.deadline,
        )

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {**asdict(self), "options": self.options.to_json()}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Draft:
        """What `to_json` gave. Raises KeyError for a field that is missing, ConfigError for no such options."""
        own = {each.name: values[each.name] for each in fields(cls)}
        return cls(**{**own, "options": Options.of(own["options"])})

    def _named(self) -> str:
        if not self.name.strip():
            raise ConfigError("Give the batch a name, so that you find it again.")
        return self.name.strip()

    def _start(self) -> datetime | None:
        if not self.later:
            return None
        if not self.start_at:
            raise ConfigError("Choose a date and a time, or start now.")
        try:
            return aware(self.start_at)
        except ConfigError:
            # A page sends no other times that are none.
            raise ConfigError(f"This is no time between the years 2 and {LAST_YEAR}.") from None

    def _max_concurrent(self) -> int:
        return whole_number(self.max_concurrent, "1 or more")

    def _batch_interval(self) -> float:
        try:
            value = float(self.batch_interval)
        except ValueError:
            value = math.nan
        if not 0 <= value < math.inf:
            raise ConfigError("This must be a number of seconds, 0 or more.")
        if value > _LONGEST_INTERVAL:
            raise ConfigError("This is longer than a year; it is in seconds.")
        if 0 < value < _SHORTEST_INTERVAL:
            raise ConfigError("This is shorter than a microsecond; 0 means no interval.")
        return value


def refuse_too_many_windows(rows: int, pace: Pace, hours: WorkingHours | None) -> None:
    """Raise ConfigError where so many rows take more working days than are worth working out."""
    if hours is None or not pace.batch_interval:
        return
    groups = -(-rows // pace.max_concurrent)
    windows = groups * min(1.0, pace.interval / hours.length)
    if windows > _MOST_WINDOWS:
        raise ConfigError(
            f"In these working hours this takes about {windows:,.0f} working days. Use a shorter batch interval, a "
            "higher max concurrent, or longer hours."
        )
