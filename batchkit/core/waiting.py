"""Whether waiting for a batch is over, or can never be."""

from __future__ import annotations

from typing import Literal

from batchkit.core.lifecycle import BatchStatus
from batchkit.core.record import BatchRecord
from batchkit.errors import BatchCancelled, BatchInDoubt, BatchInterrupted, BatchPaused

__all__ = ["Until", "is_reached"]

#: "triggered": every row is triggered, cancelled or refused; "finished": all outcomes are known or past the deadline
Until = Literal["triggered", "finished"]


def is_reached(batch: BatchRecord, until: Until, *, can_look_up: bool) -> bool:
    """Return whether `batch` is where `until` says.

    Raises BatchCancelled, BatchPaused (it paused itself; one paused by a person is waited for), BatchInDoubt and
    BatchInterrupted where waiting alone cannot get it there.
    """
    progress = batch.progress
    name = f"Batch {batch.name!r} ({batch.id})"
    known = not (progress.executions.awaited or batch.partial)
    if batch.status is BatchStatus.COMPLETED and (until == "triggered" or known):
        return True
    if batch.status is BatchStatus.CANCELLED:
        raise BatchCancelled(f"{name} was cancelled: {progress}.", batch_id=batch.id)
    if batch.status is BatchStatus.PAUSED and batch.reason:
        advice = "batch.resume() does so." if batch.trial else "Mend the cause, then batch.resume() goes on."
        raise BatchPaused(
            f"{name} paused itself: {batch.reason} {advice} So far: {progress}.",
            batch_id=batch.id,
        )
    if progress.in_doubt and not (can_look_up or progress.pending or progress.triggering):
        raise BatchInDoubt(
            f"{name}: {progress.in_doubt:,} rows are in doubt and the target cannot look them up. "
            'Decide with batch.settle(ids, "retry") or batch.settle(ids, "skip"); batch.items() shows them.',
            batch_id=batch.id,
        )
    if batch.interrupted:
        raise BatchInterrupted(
            f"{name} is {batch.status}, but whoever ran it is gone. batch.take_over() continues it here. "
            f"So far: {progress}.",
            batch_id=batch.id,
        )
    return False
