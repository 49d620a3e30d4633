"""What a runner does, for the logs of machines: one record an event, its facts as fields.

The logger is "batchkit.events", the level INFO; a record's `batchkit` is a dict of

    event      due (rows of a group were claimed), triggered, refused, in_doubt, not_sent, held, wait (what became of a
               request), acquired, lost, released (the lease), rests (the batch is left to a later wake)
    batch      its id
    ...        rows, due, until, late (seconds after the time it was due), item, row, attempt, owner, epoch, message,
               looked_up (true: what became of a request is what the target was asked for later)

A batch that comes with rows in doubt, as from a process that was killed, says so in one in_doubt with their number.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from batchkit.core.outcome import Held, NotSent, Outcome, Refused, Triggered, Unclear, Wait
from batchkit.core.record import BatchRecord, Claim, ItemRecord, Lease

__all__ = ["EVENTS", "tell", "tell_acquired", "tell_due", "tell_outcome"]

#: the name of the logger
EVENTS = "batchkit.events"

_logger = logging.getLogger(EVENTS)
_OUTCOMES = {
    Triggered: "triggered",
    Refused: "refused",
    Unclear: "in_doubt",
    NotSent: "not_sent",
    Held: "held",
    Wait: "wait",
}


def tell(batch_id: str, event: str, **facts: str | int | float) -> None:
    """Log one event."""
    if not _logger.isEnabledFor(logging.INFO):
        return
    fields = {"event": event, "batch": batch_id, **facts}
    said = " ".join(f"{name}={value!r}" for name, value in facts.items())
    _logger.info("%s %s %s", batch_id, event, said, extra={"batchkit": fields})


def tell_due(batch_id: str, claims: Sequence[Claim], now: datetime) -> None:
    """Log that these rows, one or more, were claimed."""
    due = min(claim.due for claim in claims)
    tell(batch_id, "due", rows=len(claims), due=due.isoformat(), late=round((now - due).total_seconds(), 3))


def tell_acquired(lease: Lease, batch: BatchRecord) -> None:
    """Log that the batch is run here from now on."""
    tell(lease.batch_id, "acquired", owner=lease.owner, epoch=lease.epoch)
    if rows := batch.progress.in_doubt:
        tell(lease.batch_id, "in_doubt", rows=rows, message="They were in doubt when the batch was taken up.")


def tell_outcome(batch_id: str, of: Claim | ItemRecord, outcome: Outcome, **facts: str | int | float) -> None:
    """Log what became of an attempt."""
    if not isinstance(outcome, Triggered):
        facts["message"] = outcome.message
    tell(batch_id, _OUTCOMES[type(outcome)], item=of.item, row=of.row, attempt=of.attempt, **facts)
