"""Who runs a batch: taking, renewing and giving up its lease."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, update

from batchkit.core.lifecycle import ItemStatus
from batchkit.core.record import Lease
from batchkit.io.ledger import log, shift
from batchkit.io.schema import batches, items

__all__ = ["LEASE_SECONDS", "RENEW_BELOW", "acquire_lease", "doubt_unfinished", "is_held", "release_lease"]

#: how long a lease holds without being renewed
LEASE_SECONDS = 15.0
#: a lease with less than this left is renewed
RENEW_BELOW = 10.0


def is_held(batch: Row[Any], lease: Lease) -> bool:
    """Whether `lease` is still the batch's; one that lapsed and that nobody took is."""
    return bool(batch.runner == lease.owner and batch.epoch == lease.epoch)


def acquire_lease(connection: Connection, batch: Row[Any], owner: str, boot: tuple[str, float]) -> Lease | None:
    """Take the batch's lease with a new epoch, or None while somebody else's is alive."""
    boot_id, now = boot
    alive = batch.runner and batch.lease_boot == boot_id and batch.lease_expires > now
    if alive and batch.runner != owner:
        return None
    lease = Lease(batch_id=batch.id, owner=owner, epoch=batch.epoch + 1, expires=now + LEASE_SECONDS, boot=boot_id)
    connection.execute(
        update(batches)
        .where(batches.c.id == batch.id)
        .values(runner=owner, epoch=lease.epoch, lease_boot=boot_id, lease_expires=lease.expires)
    )
    return lease


def release_lease(connection: Connection, lease: Lease) -> None:
    """Give the lease up, if it is still ours."""
    connection.execute(
        update(batches)
        .where(batches.c.id == lease.batch_id, batches.c.runner == lease.owner, batches.c.epoch == lease.epoch)
        .values(runner="", lease_expires=0.0)
    )


def doubt_unfinished(
    connection: Connection, batch: Row[Any], settle_at: datetime | None, gate: datetime, now: datetime
) -> int:
    """Put what a former runner left unfinished in doubt; returns how many. No group starts before `gate` then."""
    changed = connection.execute(
        update(items)
        .where(items.c.batch_id == batch.id, items.c.status == ItemStatus.TRIGGERING)
        .values(
            status=ItemStatus.IN_DOUBT,
            settle_at=settle_at,
            error="Whoever sent it was gone before the answer was recorded.",
        )
    ).rowcount
    if changed:
        moves = Counter({"n_triggering": -changed, "n_in_doubt": changed})
        shift(connection, batch.id, moves, gate_at=max(gate, batch.gate_at or gate))
        log(connection, batch.id, now, "batchkit", "in_doubt", f"{changed:,} rows were on their way when it stopped.")
    return changed
