"""The configuration of a batch as its user types it: texts, what is wrong with each, and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batchkit.core.config import BatchConfig, aware
from batchkit.core.profile import AgentProfile, ProfilePool
from batchkit.core.schedule import Pace, plan
from batchkit.core.stagger import stagger
from batchkit.errors import ConfigError

__all__ = ["Draft", "Outlook"]

#: seconds; a longer interval is a mistake in the unit
_LONGEST_INTERVAL = 366 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What follows from a draft for a number of rows."""

    groups: int
    #: from the first group to the last, seconds
    seconds: float
    #: of the last group
    last_at: datetime
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

    def problems(self) -> dict[str, str]:
        """What is wrong, by field; empty: nothing."""
        checks = (
            ("name", lambda: self._named()),
            ("start_at", lambda: self._start()),
            ("max_concurrent", lambda: self._max_concurrent()),
            ("batch_interval", lambda: self._batch_interval()),
        )
        found = {}
        for field, check in checks:
            try:
                check()
            except ConfigError as error:
                found[field] = str(error)
        return found

    def outlook(self, rows: int, now: datetime) -> Outlook | None:
        """What follows for so many rows; None while something is wrong. Raises ConfigError if it takes too long."""
        if self.problems():
            return None
        pace = Pace(max_concurrent=self._max_concurrent(), batch_interval=self._batch_interval())
        start = max(self._start() or now, now)
        planned, drawn = plan(rows, pace, start), stagger(rows, pace)
        return Outlook(
            groups=planned.groups,
            seconds=planned.duration.total_seconds(),
            last_at=planned.last_group,
            bars=tuple((group.after, group.rows) for group in drawn.groups),
            left_out=drawn.left_out,
        )

    def config(
        self,
        version: int | None,
        profiles: Sequence[AgentProfile],
        pools: Sequence[ProfilePool],
        *,
        trial: int = 0,
    ) -> BatchConfig:
        """The configuration. Raises ConfigError."""
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
            trial=trial,
        )

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        names = ("name", "profile", "later", "start_at", "max_concurrent", "batch_interval")
        return {name: getattr(self, name) for name in names}

    def _named(self) -> str:
        if not self.name.strip():
            raise ConfigError("Give the batch a name, so that you find it again.")
        return self.name.strip()

    def _start(self) -> datetime | None:
        if not self.later:
            return None
        if not self.start_at:
            raise ConfigError("Choose a date and a time, or start now.")
        return aware(self.start_at, what="The start time")

    def _max_concurrent(self) -> int:
        try:
            value = float(self.max_concurrent)
        except ValueError:
            value = 0.0
        if value < 1 or not value.is_integer():
            raise ConfigError("This must be a whole number of executions, 1 or more.")
        return int(value)

    def _batch_interval(self) -> float:
        try:
            value = float(self.batch_interval)
        except ValueError:
            value = math.nan
        if not 0 <= value < math.inf:
            raise ConfigError("This must be a number of seconds, 0 or more.")
        if value > _LONGEST_INTERVAL:
            raise ConfigError("This is longer than a year; it is in seconds.")
        return value
