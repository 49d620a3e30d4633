"""When somebody has to attend to a batch next, and the message that says so to the workers of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from batchkit.core.lifecycle import BatchStatus
from batchkit.core.record import BatchRecord

__all__ = ["RESTING", "Wake", "group_due", "next_wake"]

#: whom the store names as the runner of a batch that a wake is on its way for
RESTING = "the cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wake:
    """Attend to this batch then. It may come late, twice, or when there is nothing to do any more."""

    batch_id: str
    #: the batch's when this was made: it means nothing once that has changed
    revision: int
    due: datetime
    #: `TargetInfo.identity` of the batch: only workers that have this target can do anything
    target: str
    #: whether it was due when it was made
    at_once: bool


def next_wake(batch: BatchRecord, now: datetime, *, can_look_up: bool = True) -> datetime | None:
    """When there is something to do for the batch, `now` at the soonest; None: not before a person commands it.

    can_look_up: whether rows in doubt can be settled without a person.
    """
    progress = batch.progress
    doubtful = bool(progress.in_doubt)
    if progress.triggering or batch.untold or (doubtful and can_look_up):
        return now
    if batch.status is BatchStatus.PENDING:
        return max(now, batch.start_at)
    if batch.status is not BatchStatus.RUNNING:
        return None
    if batch.next_due is None:
        return None if doubtful else now
    return max(now, group_due(batch, now))


def group_due(batch: BatchRecord, now: datetime) -> datetime:
    """When the next group of a batch with something due is to start, by what the store says of it."""
    assert batch.next_due is not None
    due = max(batch.next_due, batch.gate_at or batch.next_due)
    hours = batch.flow.working_hours
    if hours is None or batch.trial:
        return due
    soonest = max(due, now)
    return due if hours.is_open(soonest) else hours.next_open(soonest)
