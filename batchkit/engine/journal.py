"""What a runner does, for the logs of machines: one record an event, its facts as fields.

The logger is "batchkit.events", the level INFO; a record's `batchkit` is a dict of

    event      due (rows of a group were claimed), triggered, refused, in_doubt, not_sent, held, wait (what became of a
               request), acquired, lost, released (the lease), rests (the batch is left to a later wake)
    batch      its id
    ...        rows, due, until, late (seconds after the time it was due), item, row, attempt, owner, epoch, message
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from batchkit.core.outcome import Held, NotSent, Outcome, Refused, Triggered, Unclear, Wait
from batchkit.core.record import Claim

__all__ = ["EVENTS", "outcome_event", "tell", "tell_due"]

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


def outcome_event(outcome: Outcome) -> str:
    """What an outcome is called there."""
    return _OUTCOMES[type(outcome)]
