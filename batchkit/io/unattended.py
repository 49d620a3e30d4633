"""Which batches somebody should attend to, and nobody does."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select

from batchkit.core.lifecycle import BatchStatus, ItemStatus
from batchkit.core.record import BatchRecord
from batchkit.core.wake import RESTING, next_wake
from batchkit.io.ownership import seen
from batchkit.io.reading import BATCH, batch_of
from batchkit.io.schema import IS_PENDING, batches, items
from batchkit.io.transaction import server_seconds

__all__ = ["read_unattended"]

#: seconds that whoever is to attend to a batch has to begin
_PATIENCE = timedelta(seconds=2)

_IS_OPEN = or_(batches.c.x_running + batches.c.x_waiting + batches.c.x_partial > 0, batches.c.n_triggering > 0)


def read_unattended(connection: Connection, now: datetime, boot: tuple[str, float]) -> list[BatchRecord]:
    """Batches without a runner for which something has been due for some seconds, the oldest first."""
    query = select(*BATCH).where(seen(connection), _nobody_has_it(connection, boot), _needs_somebody(now - _PATIENCE))
    found = [batch_of(connection, row, boot) for row in connection.execute(query.order_by(batches.c.created_at))]
    return [batch for batch in found if (due := next_wake(batch, now)) is not None and due <= now]


def _nobody_has_it(connection: Connection, boot: tuple[str, float]) -> ColumnElement[bool]:
    shared = server_seconds(connection)
    here = boot[1] if shared is None else shared
    lapsed = batches.c.lease_expires <= here
    if shared is None:
        lapsed = or_(lapsed, batches.c.lease_boot != boot[0])
    return or_(batches.c.runner.in_(["", RESTING]), lapsed)


def _needs_somebody(late: datetime) -> ColumnElement[bool]:
    waiting = and_(batches.c.status == BatchStatus.PENDING, batches.c.start_at <= late)
    due = exists().where(items.c.batch_id == batches.c.id, IS_PENDING, items.c.execute_at <= late)
    done = batches.c.n_pending + batches.c.n_in_doubt == 0
    running = and_(
        batches.c.status == BatchStatus.RUNNING,
        or_(batches.c.gate_at.is_(None), batches.c.gate_at <= late),
        or_(done, due),
    )
    doubtful = and_(
        batches.c.n_in_doubt > 0,
        exists().where(
            items.c.batch_id == batches.c.id, items.c.status == ItemStatus.IN_DOUBT, items.c.settle_at <= late
        ),
    )
    return or_(waiting, running, doubtful, _IS_OPEN)
