"""Waits that were counted in seconds and are kept as times: what becomes of them with another clock.

Rows are due by the wall clock, whatever it says. But how long after a group, a Retry-After or a lost answer the next
request may leave is a number of seconds, so these times move with the clock: when it is set, and when the batch goes to
a machine that has another one. Whose clock they go by is noted beside the lease.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, literal, type_coerce, update

from batchkit.core.lifecycle import ItemStatus
from batchkit.core.schedule import TOLERANCE
from batchkit.io.ledger import log
from batchkit.io.schema import batches, items
from batchkit.io.transaction import server_seconds

__all__ = ["change_of_clock", "lead_over_noted", "note_of_clock", "realigned", "taken_over"]


def note_of_clock(connection: Connection, now: datetime, boot: tuple[str, float]) -> dict[str, Any]:
    """What the batch's row says of the clock by which its waits are kept, once that is this machine's."""
    shared = server_seconds(connection)
    return {
        "lease_boot": boot[0],
        "clock_offset": _offset_of(now, boot),
        "server_offset": None if shared is None else now.timestamp() - shared,
    }


def change_of_clock(batch: Row[Any], now: datetime, boot: tuple[str, float]) -> timedelta | None:
    """How far the wall clock was set since a runner noted it; None: it was not, or the machine was booted since."""
    if batch.clock_offset is None or batch.lease_boot != boot[0]:
        return None
    change = timedelta(seconds=_offset_of(now, boot) - batch.clock_offset)
    return change if abs(change) > TOLERANCE else None


def lead_over_noted(
    connection: Connection, batch: Row[Any], now: datetime, boot: tuple[str, float], waited: float = 0.0
) -> timedelta | None:
    """How far this machine's clock is ahead of the one that was noted, where that is another one's; None: it is not.

    waited: seconds since `now` was read, at the most. Both are compared with the server's clock, which is read later
    than they are; the lead is never too small by more than the rate rule's tolerance, so that no wait gets shorter.
    """
    shared = server_seconds(connection)
    if shared is None or batch.server_offset is None or batch.lease_boot == boot[0]:
        return None
    lead = timedelta(seconds=now.timestamp() + waited - shared - batch.server_offset)
    return lead if abs(lead) > TOLERANCE else None


def realigned(connection: Connection, batch: Row[Any], now: datetime, boot: tuple[str, float]) -> Row[Any]:
    """The batch's row after its waits were moved with this machine's wall clock, where that was set."""
    change = change_of_clock(batch, now, boot)
    if change is None:
        return batch
    way = "forward" if change > timedelta() else "back"
    said = f"The computer's clock was set {way} by {abs(change).total_seconds():,.1f} s."
    return _moved(connection, batch, change, said, now, boot)


def taken_over(
    connection: Connection, batch: Row[Any], now: datetime, boot: tuple[str, float], waited: float
) -> Row[Any]:
    """The batch's row after its waits were moved to this machine's clock, whose they are from now on.

    waited: seconds since `now` was read, at the most.
    """
    lead = lead_over_noted(connection, batch, now, boot, waited)
    if lead is None:
        return realigned(connection, batch, now, boot)
    way = "ahead of" if lead > timedelta() else "behind"
    said = (
        f"The clock of the computer that has the batch now is {abs(lead).total_seconds():,.1f} s {way} that of the one "
        "that had it before."
    )
    return _moved(connection, batch, lead, said, now, boot)


def _offset_of(now: datetime, boot: tuple[str, float]) -> float:
    """Seconds from the boot to the wall clock's 1970: the same as long as nobody sets the clock, asleep or not."""
    return now.timestamp() - boot[1]


def _moved(
    connection: Connection, batch: Row[Any], change: timedelta, said: str, now: datetime, boot: tuple[str, float]
) -> Row[Any]:
    by = literal(change // timedelta(microseconds=1), BigInteger)
    connection.execute(
        update(items)
        .where(items.c.batch_id == batch.id, items.c.status == ItemStatus.IN_DOUBT, items.c.settle_at.is_not(None))
        .values(settle_at=type_coerce(items.c.settle_at, BigInteger) + by)
    )
    gate = batch.gate_at
    if gate is not None and gate != batch.start_at:
        gate += change
    log(connection, batch.id, now, "batchkit", "clock", f"{said} No wait gets shorter or longer by that.")
    note = note_of_clock(connection, now, boot)
    statement = update(batches).where(batches.c.id == batch.id).values(gate_at=gate, **note)
    return connection.execute(statement.returning(*batches.c)).one()
