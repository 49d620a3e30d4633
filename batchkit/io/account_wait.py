"""What a target asks of one batch is asked of all batches on the same account: none of them sends before that time."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, or_, select, update

from batchkit.core.lifecycle import BatchStatus
from batchkit.core.target import TargetInfo
from batchkit.io.reading import read_row
from batchkit.io.schema import batches

__all__ = ["hold_others"]

_OPEN = (BatchStatus.PENDING, BatchStatus.RUNNING, BatchStatus.PAUSED)


def hold_others(connection: Connection, batch_id: str, until: datetime, reason: str) -> int:
    """Start no group of the other batches on this one's account before `until`; how many wait longer by that.

    until: by the clock this batch's waits are kept by. reason: what those of them that run are to say. Raises
    NotFoundError. The account is everybody's: it does not matter whose the other batches are.
    """
    mine = read_row(connection, batch_id)
    open_ones = select(batches).where(batches.c.id != batch_id, batches.c.ready, batches.c.status.in_(_OPEN))
    account = _account(mine)
    held = 0
    # Locked one after the other by the order of their ids, and this batch not at all: two that do so wait for nobody.
    for other in connection.execute(open_ones.order_by(batches.c.id)).all():
        gate = until + _ahead(other, mine)
        waits = other.gate_at is not None and other.gate_at >= gate
        if waits or other.start_at >= gate or _account(other) != account:
            continue
        values: dict[str, Any] = {"gate_at": gate}
        if other.status == BatchStatus.RUNNING:
            values["reason"] = reason
        # As it stands when its lock was got: it may have been paused, or held longer, in the meantime.
        changed = update(batches).where(
            batches.c.id == other.id,
            batches.c.status == other.status,
            or_(batches.c.gate_at.is_(None), batches.c.gate_at < gate),
        )
        held += connection.execute(changed.values(**values)).rowcount
    return held


def _account(batch: Row[Any]) -> str:
    return TargetInfo(**json.loads(batch.target)).identity


def _ahead(other: Row[Any], mine: Row[Any]) -> timedelta:
    """How far the clock by which the other batch's waits are kept is ahead of the one for mine."""
    for name in ("clock_offset", "server_offset"):
        theirs, ours = getattr(other, name), getattr(mine, name)
        comparable = name == "server_offset" or other.lease_boot == mine.lease_boot
        if comparable and theirs is not None and ours is not None:
            return timedelta(seconds=theirs - ours)
    return timedelta()
