"""Putting batches away: archiving them, and deleting them in pieces, so that nobody else waits long to write."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from sqlalchemy import Connection, delete, update

from batchkit.core.lifecycle import BatchStatus
from batchkit.core.wake import RESTING
from batchkit.errors import StateError
from batchkit.io.ledger import log, shift
from batchkit.io.reading import find_batch, is_alive
from batchkit.io.schema import batches, events, inputs, items, left_out

__all__ = ["archive_batch", "delete_piece", "delete_rest", "hide_batch"]

#: items of one piece
_PIECE = 20_000


def archive_batch(connection: Connection, batch_id: str, now: datetime, actor: str, archived: bool) -> None:
    """Put a batch that has ended into the archive, or bring it back. Raises StateError."""
    batch = find_batch(connection, batch_id)
    if archived and not BatchStatus(batch.status).final:
        raise StateError(f"A {batch.status} batch cannot be archived. Cancel it, or wait until it has ended.")
    if batch.archived != archived:
        shift(connection, batch_id, Counter(), archived=archived, revision=batch.revision + 1)
        said = ("archived", "Put into the archive.") if archived else ("unarchived", "Brought back from the archive.")
        log(connection, batch_id, now, actor, *said)


def hide_batch(connection: Connection, batch_id: str, boot: tuple[str, float], owner: str) -> int:
    """Make a batch that has ended invisible, as one that is being written; returns how many items it has.

    owner: the runner that may still have it. Raises StateError for a batch that has not ended or that another
    process follows.
    """
    batch = find_batch(connection, batch_id)
    if not BatchStatus(batch.status).final:
        raise StateError(f"A {batch.status} batch cannot be deleted. Cancel it, or wait until it has ended.")
    if batch.runner not in (owner, RESTING) and is_alive(connection, batch, boot):
        raise StateError(
            f"Batch {batch_id} cannot be deleted yet: {batch.runner} still follows its executions. "
            "Delete it there, or once that has ended."
        )
    connection.execute(update(batches).where(batches.c.id == batch_id).values(ready=False, runner=""))
    return int(batch.total)


def delete_piece(connection: Connection, batch_id: str, first: int) -> int:
    """Delete some items from position `first` on; returns where the next piece begins."""
    last = first + _PIECE
    for table in (items, inputs):
        connection.execute(
            delete(table).where(table.c.batch_id == batch_id, table.c.position >= first, table.c.position < last)
        )
    return last


def delete_rest(connection: Connection, batch_id: str) -> None:
    """Delete the batch itself, once its items are gone."""
    for table in (items, inputs, left_out, events):
        connection.execute(delete(table).where(table.c.batch_id == batch_id))
    connection.execute(delete(batches).where(batches.c.id == batch_id))
