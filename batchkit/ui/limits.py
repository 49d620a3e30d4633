"""The limits of a batch as its user types them anew: texts, what is wrong with each, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from batchkit.core.lifecycle import BatchStatus
from batchkit.core.limits import Limits, moved_gate
from batchkit.core.record import BatchRecord
from batchkit.core.schedule import Pace, plan
from batchkit.core.slots import Slots
from batchkit.errors import ConfigError
from batchkit.ui.draft import Draft, refuse_too_many_windows
from batchkit.ui.options import Options, plain_number

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
        found = self._draft.problems()
        return {each.name: found[each.name] for each in fields(self) if each.name in found}

    def limits(self) -> Limits:
        """All three. Raises ConfigError where something is wrong."""
        problems = self.problems()
        if problems:
            raise ConfigError(" ".join(problems.values()))
        draft = self._draft
        pace = draft.pace
        return Limits(
            max_concurrent=pace.max_concurrent,
            batch_interval=pace.batch_interval,
            max_in_flight=draft.options.in_flight,
        )

    @property
    def _draft(self) -> Draft:
        """The same among the fields of a new batch."""
        return Draft(
            max_concurrent=self.max_concurrent,
            batch_interval=self.batch_interval,
            options=Options(max_in_flight=self.max_in_flight),
        )

    def outlook(self, record: BatchRecord, now: datetime) -> dict[str, Any]:
        """What is wrong, and what follows where nothing is, as JSON values.

        changed: whether anything is different. moves: whether pending rows would have new times. left: those rows.
        groups, seconds: what they make; seconds None: it depends on the target. at: when the last group would be due;
        empty: once the batch goes on, or not known. at_once: whether that is now. hours: it has working hours; then
        `at` is told of a paused batch, too, as if it were resumed now. in_flight: executions not finished now.
        """
        problems = self.problems()
        if problems:
            return {"problems": problems}
        limits, pending = self.limits(), record.progress.pending
        pace, flow = limits.pace(record.pace), limits.flow(record.flow)
        begin, hours = _begin(record, pace, now), flow.working_hours
        try:
            refuse_too_many_windows(pending, pace, hours)
            groups = plan(pending, pace, begin).groups
            last = Slots(pace=pace, start=begin, hours=hours).slot(max(0, groups - 1))
        except ConfigError as error:
            return {"problems": {"batch_interval": str(error)}}
        staggered = bool(pace.batch_interval)
        runs = record.status is not BatchStatus.PAUSED
        return {
            "problems": {},
            "changed": (pace, flow) != (record.pace, record.flow),
            "moves": bool(pending) and pace != record.pace,
            "left": pending,
            "groups": groups if staggered else 0,
            "seconds": (last - begin).total_seconds() if staggered else None,
            "at": last.isoformat() if staggered and pending and (runs or hours) else "",
            "at_once": last <= now,
            "runs": runs,
            "hours": hours is not None,
            "most_at_once": pace.max_concurrent,
            "in_flight": record.progress.in_flight,
            "most_in_flight": flow.max_in_flight,
        }


def _begin(record: BatchRecord, pace: Pace, now: datetime) -> datetime:
    """When the first of the pending rows would be due."""
    if record.status is BatchStatus.PENDING:
        return max(now, record.start_at)
    return max(now, moved_gate(record.gate_at, record.pace, pace) or now)
