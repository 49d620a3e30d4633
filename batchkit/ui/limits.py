"""The limits of a batch as its user types them anew: texts, what is wrong with each, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batchkit.core.lifecycle import BatchStatus
from batchkit.core.limits import Limits, moved_gate
from batchkit.core.record import BatchRecord
from batchkit.core.schedule import Pace, plan
from batchkit.errors import ConfigError
from batchkit.ui.draft import Draft
from batchkit.ui.options import plain_number

__all__ = ["LimitsDraft"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsDraft:
    """What stands in the fields of "Change limits"."""

    max_concurrent: str
    batch_interval: str
    #: empty: any number
    max_in_flight: str

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> LimitsDraft:
        """What the browser sent."""
        names = ("max_concurrent", "batch_interval", "max_in_flight")
        return cls(**{name: str(details.get(name, "")).strip() for name in names})

    @classmethod
    def now(cls, record: BatchRecord) -> LimitsDraft:
        """The limits the batch has."""
        limit = record.flow.max_in_flight
        return cls(
            max_concurrent=str(record.pace.max_concurrent),
            batch_interval=str(plain_number(record.pace.batch_interval)),
            max_in_flight="" if limit is None else str(limit),
        )

    def problems(self) -> dict[str, str]:
        """What is wrong, by field; empty: nothing."""
        found = Draft(max_concurrent=self.max_concurrent, batch_interval=self.batch_interval).problems()
        problems = {name: text for name, text in found.items() if name in ("max_concurrent", "batch_interval")}
        if self.max_in_flight and _whole(self.max_in_flight) < 1:
            problems["max_in_flight"] = "This must be a whole number of executions, 1 or more, or empty."
        return problems

    def limits(self) -> Limits:
        """All three. Raises ConfigError where something is wrong."""
        problems = self.problems()
        if problems:
            raise ConfigError(" ".join(problems.values()))
        return Limits(
            max_concurrent=_whole(self.max_concurrent),
            batch_interval=float(self.batch_interval),
            max_in_flight=_whole(self.max_in_flight) if self.max_in_flight else None,
        )

    def outlook(self, record: BatchRecord, now: datetime) -> dict[str, Any]:
        """What is wrong, and what follows where nothing is, as JSON values.

        changed: whether anything is different. moves: whether pending rows would have new times. left: those rows.
        groups, seconds: what they make; seconds None: it depends on the target. at: when the last group would be due;
        empty: once the batch goes on, or not known. in_flight: executions not finished now.
        """
        problems = self.problems()
        if problems:
            return {"problems": problems}
        limits, pending = self.limits(), record.progress.pending
        pace, flow = limits.pace(record.pace), limits.flow(record.flow)
        try:
            planned = plan(pending, pace, _begin(record, pace, now))
        except ConfigError as error:
            return {"problems": {"batch_interval": str(error)}}
        staggered = bool(pace.batch_interval)
        runs = record.status is not BatchStatus.PAUSED
        return {
            "problems": {},
            "changed": (pace, flow) != (record.pace, record.flow),
            "moves": bool(pending) and pace != record.pace,
            "left": pending,
            "groups": planned.groups if staggered else 0,
            "seconds": planned.duration.total_seconds() if staggered else None,
            "at": planned.last_group.isoformat() if staggered and runs and pending else "",
            "runs": runs,
            "in_flight": record.progress.in_flight,
            "most_in_flight": flow.max_in_flight,
        }


def _begin(record: BatchRecord, pace: Pace, now: datetime) -> datetime:
    """When the first of the pending rows would be due."""
    if record.status is BatchStatus.PENDING:
        return max(now, record.start_at)
    return max(now, moved_gate(record.gate_at, record.pace, pace) or now)


def _whole(text: str) -> int:
    """The whole number in `text`; 0 where there is none."""
    try:
        value = float(text)
    except ValueError:
        return 0
    return int(value) if value.is_integer() else 0
