"""Who runs a batch: taking, renewing and giving up its lease."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, update

from batchkit.core.lifecycle import ItemStatus
from batchkit.core.record import Lease
from batchkit.core.wake import RESTING
from batchkit.io.clock_changes import note_of_clock, taken_over
from batchkit.io.ledger import log, shift
from batchkit.io.ownership import owned
from batchkit.io.reading import find_batch, is_alive
from batchkit.io.schema import batches, items
from batchkit.io.transaction import look_at_clock_again, server_seconds

__all__ = [
    "CLUSTER_LEASE_SECONDS",
    "LEASE_SECONDS",
    "REST_GRACE_SECONDS",
    "acquire_lease",
    "disclaim_unknown",
    "doubt_unfinished",
    "entrust_batch",
    "is_held",
    "keep_lease",
    "lease_time",
    "needs_renewal",
    "release_lease",
]

#: how long a lease holds without being renewed, unless a store is told otherwise
LEASE_SECONDS = 15.0
#: the same where workers of a cluster are to go on soon after one of them is gone
CLUSTER_LEASE_SECONDS = 6.0
#: a batch that rests may be without a runner for so long after it was to be woken
REST_GRACE_SECONDS = 15.0
#: a lease with less than this share of it left is renewed
_RENEW_BELOW = 2 / 3


def is_held(batch: Row[Any], lease: Lease) -> bool:
    """Whether `lease` is still the batch's; one that lapsed and that nobody took is."""
    return bool(batch.runner == lease.owner and batch.epoch == lease.epoch)


def needs_renewal(connection: Connection, batch: Row[Any], lease: Lease, boot: tuple[str, float]) -> bool:
    """Whether `lease`, which is the batch's, is to be made longer."""
    left = batch.lease_expires - lease_time(connection, boot)
    return bool(batch.lease_boot != boot[0] or left <= _RENEW_BELOW * lease.seconds)


def lease_time(connection: Connection, boot: tuple[str, float]) -> float:
    """Seconds on the clock by which the store's leases lapse: the server's, or else this machine's since its boot."""
    shared = server_seconds(connection)
    return boot[1] if shared is None else shared


def acquire_lease(
    connection: Connection, batch: Row[Any], owner: str, now: datetime, boot: tuple[str, float], seconds: float
) -> Lease | None:
    """Take the batch's lease with a new epoch, or None while somebody else's is alive."""
    boot_id, since_boot = boot
    if is_alive(connection, batch, boot) and batch.runner not in (owner, RESTING):
        return None
    lease = Lease(
        batch_id=batch.id,
        owner=owner,
        epoch=batch.epoch + 1,
        expires=since_boot + seconds,
        boot=boot_id,
        seconds=seconds,
    )
    connection.execute(
        update(batches)
        .where(batches.c.id == batch.id)
        .values(
            runner=owner,
            epoch=lease.epoch,
            lease_expires=lease_time(connection, boot) + seconds,
            **note_of_clock(connection, now, boot),
        )
    )
    return lease


def keep_lease(connection: Connection, lease: Lease, boot: tuple[str, float]) -> None:
    """Keep the batch's lease until its holder's next visit, which renews it, after what may have taken long.

    boot: as the clock is now, not when the transaction began.
    """
    look_at_clock_again(connection)
    expires = lease_time(connection, boot) + _RENEW_BELOW * lease.seconds
    connection.execute(update(batches).where(batches.c.id == lease.batch_id).values(lease_expires=expires))


def release_lease(connection: Connection, lease: Lease) -> None:
    """Give the lease up, if it is still ours."""
    connection.execute(
        update(batches)
        .where(
            batches.c.id == lease.batch_id,
            batches.c.runner == lease.owner,
            batches.c.epoch == lease.epoch,
            owned(connection),
        )
        .values(runner="", lease_expires=0.0)
    )


def entrust_batch(
    connection: Connection,
    batch_id: str,
    until: datetime | None,
    revision: int,
    lease: Lease | None,
    now: datetime,
    boot: tuple[str, float],
    waited: float,
) -> bool:
    """Give the batch to `RESTING` until some seconds after `until`, or to nobody; whether that was done.

    waited: seconds since `now` was read, at the most.
    """
    batch = find_batch(connection, batch_id)
    mine = lease is not None and is_held(batch, lease)
    others = not mine and batch.runner != RESTING and is_alive(connection, batch, boot)
    if others or batch.revision != revision:
        return False
    taken_over(connection, batch, now, boot, waited)
    values: dict[str, Any] = {"runner": "", "lease_expires": 0.0}
    if until is not None:
        ahead = max(0.0, (until - now).total_seconds()) + REST_GRACE_SECONDS
        expires = lease_time(connection, boot) + ahead
        values = {"runner": RESTING, "lease_expires": expires, **note_of_clock(connection, now, boot)}
    connection.execute(update(batches).where(batches.c.id == batch_id).values(**values))
    return True


def disclaim_unknown(connection: Connection, batch: Row[Any], known: Collection[int]) -> int:
    """Make pending what is claimed and not among the items `known` to the holder of the lease; returns how many."""
    changed = connection.execute(
        update(items)
        .where(
            items.c.batch_id == batch.id,
            items.c.status == ItemStatus.TRIGGERING,
            items.c.position.not_in(known),
        )
        .values(status=ItemStatus.PENDING)
    ).rowcount
    shift(connection, batch.id, Counter({"n_triggering": -changed, "n_pending": changed}))
    return changed


def doubt_unfinished(
    connection: Connection, batch: Row[Any], settle_at: datetime | None, gate: datetime, now: datetime
) -> int:
    """Put what a former runner left unfinished in doubt; returns how many. No group starts before `gate` then.

    settle_at: when it may be looked up, and with it what was in doubt for want of a runner that can look up.
    """
    if settle_at is not None:
        connection.execute(
            update(items)
            .where(items.c.batch_id == batch.id, items.c.status == ItemStatus.IN_DOUBT, items.c.settle_at.is_(None))
            .values(settle_at=settle_at)
        )
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
