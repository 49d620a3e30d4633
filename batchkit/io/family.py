"""Batches that run rows of one another again: which they are, and where each row stands in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, select

from batchkit.core.execution import ExecutionOutcome, ExecutionStatus
from batchkit.core.lifecycle import ItemStatus
from batchkit.core.record import BatchRecord
from batchkit.core.rerun import Standing, newest, refuse_obstacles
from batchkit.io.ownership import seen
from batchkit.io.reading import BATCH, batch_of, find_batch
from batchkit.io.schema import batches, inputs, items

__all__ = ["check_again", "read_family", "read_standings"]


def read_family(connection: Connection, batch_id: str, boot: tuple[str, float]) -> list[BatchRecord]:
    """The batches that run rows of one file, oldest first, that of `batch_id` among them."""
    batch = find_batch(connection, batch_id)
    return [batch_of(connection, row, boot) for row in _family(connection, batch.origin or batch.id, seen(connection))]


def read_standings(connection: Connection, batch_id: str) -> dict[int, list[Standing]]:
    """Where each row of the batch's family stands, by row and then oldest batch first."""
    batch = find_batch(connection, batch_id)
    return _standings(connection, [row.id for row in _family(connection, batch.origin or batch.id, seen(connection))])


def check_again(connection: Connection, batch: Row[Any], *, forced: bool) -> None:
    """Raise StateError if a row of the batch, which nobody sees yet, may not be sent again.

    In the transaction that makes the batch visible, so that two who run the same rows again do not both send them.
    """
    # Whoever's they are: nothing is sent twice.
    ids = [row.id for row in _family(connection, batch.origin, batches.c.ready)]
    mine = select(inputs.c.row).where(inputs.c.batch_id == batch.id)
    standings = _standings(connection, ids, only=mine)
    refuse_obstacles(((row, newest(each)) for row, each in standings.items()), forced=forced)


def _family(connection: Connection, origin: str, counted: ColumnElement[bool]) -> Sequence[Row[Any]]:
    query = select(*BATCH).where(counted, (batches.c.id == origin) | (batches.c.origin == origin))
    return connection.execute(query.order_by(batches.c.created_at, batches.c.id)).all()


def _standings(connection: Connection, ids: Sequence[str], only: Any = None) -> dict[int, list[Standing]]:
    """The standings in those batches, in their order; `only`: a query of rows."""
    found: dict[int, list[Standing]] = defaultdict(list)
    query = select(
        inputs.c.row,
        items.c.position,
        items.c.status,
        items.c.x_status,
        items.c.x_outcome,
        items.c.x_timed_out,
    ).join(inputs, and_(inputs.c.batch_id == items.c.batch_id, inputs.c.position == items.c.position))
    if only is not None:
        query = query.where(inputs.c.row.in_(only))
    for batch_id in ids:
        for row in connection.execute(query.where(items.c.batch_id == batch_id).order_by(items.c.position)):
            found[row.row].append(
                Standing(
                    batch_id=batch_id,
                    item=row.position,
                    status=ItemStatus(row.status),
                    execution=None if row.x_status is None else ExecutionStatus(row.x_status),
                    outcome=None if row.x_outcome is None else ExecutionOutcome(row.x_outcome),
                    timed_out=row.x_timed_out,
                )
            )
    return found
