"""Waits that were counted in seconds and are kept as times: what becomes of them when the wall clock is set.

Rows are due by the wall clock, whatever it says. But how long after a group, a Retry-After or a lost answer the next
request may leave is a number of seconds, so these times move with the clock.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, literal, type_coerce, update

from batchkit.core.lifecycle import ItemStatus
from batchkit.core.schedule import TOLERANCE
from batchkit.io.ledger import log
from batchkit.io.schema import batches, items

__all__ = ["change_of_clock", "offset_of", "realigned"]


def offset_of(now: datetime, boot: tuple[str, float]) -> float:
    """Seconds from the boot to the wall clock's 1970: the same as long as nobody sets the clock, asleep or not."""
    return now.timestamp() - boot[1]


def change_of_clock(batch: Row[Any], now: datetime, boot: tuple[str, float]) -> timedelta | None:
    """How far the wall clock was set since a runner noted it; None: it was not, or the machine was booted since."""
    if batch.clock_offset is None or batch.lease_boot != boot[0]:
        return None
    change = timedelta(seconds=offset_of(now, boot) - batch.clock_offset)
    return change if abs(change) > TOLERANCE else None


def realigned(connection: Connection, batch: Row[Any], now: datetime, boot: tuple[str, float]) -> Row[Any]:
    """The batch's row after its waits were moved with the wall clock, where that was set."""
    change = change_of_clock(batch, now, boot)
    if change is None:
        return batch
    by = literal(change // timedelta(microseconds=1), BigInteger)
    connection.execute(
        update(items)
        .where(items.c.batch_id == batch.id, items.c.status == ItemStatus.IN_DOUBT, items.c.settle_at.is_not(None))
        .values(settle_at=type_coerce(items.c.settle_at, BigInteger) + by)
    )
    gate = batch.gate_at
    if gate is not None and gate != batch.start_at:
        gate += change
    seconds = change.total_seconds()
    way = "forward" if seconds > 0 else "back"
    message = f"The computer's clock was set {way} by {abs(seconds):,.1f} s. No wait gets shorter or longer by that."
    log(connection, batch.id, now, "batchkit", "clock", message)
    statement = update(batches).where(batches.c.id == batch.id).values(clock_offset=offset_of(now, boot), gate_at=gate)
    return connection.execute(statement.returning(*batches.c)).one()
