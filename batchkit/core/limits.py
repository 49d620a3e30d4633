"""Changing a batch's limits while it runs: what is to be changed, and when the next group may start then."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from batchkit.core.config import checked_pace
from batchkit.core.flow import Flow
from batchkit.core.schedule import Pace
from batchkit.errors import ConfigError

__all__ = ["Limits", "Unchanged", "moved_gate"]

Unchanged = Literal["unchanged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits that can be changed while a batch runs; None leaves the first two as they are. Raises ConfigError."""

    max_concurrent: int | None = None
    #: seconds
    batch_interval: float | None = None
    #: None: any number
    max_in_flight: int | Unchanged | None = "unchanged"

    def __post_init__(self) -> None:
        if self._is_empty:
            raise ConfigError("Nothing to change: give max_concurrent, batch_interval or max_in_flight.")
        self.pace(Pace(max_concurrent=1, batch_interval=0))
        self.flow(Flow())

    @property
    def _is_empty(self) -> bool:
        return self.max_concurrent is None and self.batch_interval is None and self.max_in_flight == "unchanged"

    def pace(self, now: Pace) -> Pace:
        """The pace that `now` becomes. Only what is changed is checked: an older version may have allowed the rest."""
        given = checked_pace(
            1 if self.max_concurrent is None else self.max_concurrent,
            0 if self.batch_interval is None else self.batch_interval,
        )
        return Pace(
            max_concurrent=now.max_concurrent if self.max_concurrent is None else given.max_concurrent,
            batch_interval=now.batch_interval if self.batch_interval is None else given.batch_interval,
        )

    def flow(self, now: Flow) -> Flow:
        """The flow that `now` becomes."""
        return now if self.max_in_flight == "unchanged" else replace(now, max_in_flight=self.max_in_flight)

    def told(self, pace: Pace, flow: Flow) -> str:
        """What is changed, in words. pace, flow: as they were."""
        after, within = self.pace(pace), self.flow(flow)
        values = [
            ("max_concurrent", pace.max_concurrent, after.max_concurrent),
            ("batch_interval", f"{pace.batch_interval:g} s", f"{after.batch_interval:g} s"),
            ("max_in_flight", flow.max_in_flight or "any number", within.max_in_flight or "any number"),
        ]
        changed = [f"{name} from {old} to {new}" for name, old, new in values if old != new]
        return ", ".join(changed) or "nothing"


def moved_gate(gate: datetime | None, before: Pace, after: Pace) -> datetime | None:
    """Return when the next group may start with another pace; None: at any time.

    gate: one interval after the last group. It stays one interval after it, so that a change lets nothing out twice.
    """
    if gate is None or before.batch_interval == 0:
        return gate
    return gate - before.interval + after.interval
