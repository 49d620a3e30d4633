"""Executions of whose end the target has not told: what following them asks of the store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, exists, func, or_, select

from batchkit.core.execution import ExecutionStatus
from batchkit.core.lifecycle import ItemStatus
from batchkit.core.record import BatchRecord, Unread
from batchkit.io.ownership import seen
from batchkit.io.reading import check_seen, read_batch
from batchkit.io.schema import batches, items

__all__ = ["read_earliest_open", "read_open_executions", "read_triggered_since", "read_unread_executions"]

# Of an end that a webhook told, the details are still to be told.
_UNTOLD = or_(
    items.c.x_status.not_in([status for status in ExecutionStatus if status.terminal]), items.c.x_heard.is_not(None)
)


def read_earliest_open(connection: Connection, batch_id: str) -> datetime | None:
    """When the oldest execution was triggered of which the target has not told the end; None: it told all."""
    check_seen(connection, batch_id)
    query = select(func.min(items.c.triggered_at)).where(
        items.c.batch_id == batch_id, items.c.status == ItemStatus.TRIGGERED, _UNTOLD
    )
    earliest: datetime | None = connection.scalar(query)
    return earliest


def read_unread_executions(connection: Connection, batch_id: str) -> list[Unread]:
    """All executions of whose end the target has not told, in row order."""
    query = select(items.c.position, items.c.execution_id, items.c.triggered_at, items.c.x_created).where(
        items.c.batch_id == batch_id,
        items.c.status == ItemStatus.TRIGGERED,
        _UNTOLD,
        exists().where(batches.c.id == batch_id, seen(connection)),
    )
    rows = connection.execute(query.order_by(items.c.position)).all()
    if not rows:
        check_seen(connection, batch_id)
    return [
        Unread(
            item=row.position, execution_id=row.execution_id, triggered_at=row.triggered_at, created_at=row.x_created
        )
        for row in rows
    ]


def read_triggered_since(
    connection: Connection, batch_id: str, boot: tuple[str, float], since: Sequence[datetime]
) -> tuple[BatchRecord, list[int]]:
    """The batch, and how many of its items were triggered at or after each of those moments."""
    batch = read_batch(connection, batch_id, boot)
    counts = [func.count().filter(items.c.triggered_at >= moment) for moment in since]
    query = select(*counts).where(
        items.c.batch_id == batch_id, items.c.status == ItemStatus.TRIGGERED, items.c.triggered_at >= min(since)
    )
    return batch, list(connection.execute(query).one())


def read_open_executions(connection: Connection, batch_id: str, after: int, limit: int) -> list[tuple[int, str]]:
    """The next items after `after` of whose execution the target has not told the end, each with its id."""
    check_seen(connection, batch_id)
    query = select(items.c.position, items.c.execution_id).where(
        items.c.batch_id == batch_id,
        items.c.position > after,
        items.c.status == ItemStatus.TRIGGERED,
        _UNTOLD,
    )
    return [(row.position, row.execution_id) for row in connection.execute(query.order_by("position").limit(limit))]
