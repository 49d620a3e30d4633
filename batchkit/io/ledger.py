"""Keeping a batch's counters in step with its items, and its log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, update

from batchkit.core.notice import notice_kind
from batchkit.io.notices import NEWS_LOCK, post
from batchkit.io.schema import batches, events
from batchkit.io.transaction import hold, insert_many

__all__ = ["log", "log_items", "shift"]


def log(
    connection: Connection, batch_id: str, at: datetime, actor: str, kind: str, message: str, item: int | None = None
) -> None:
    """Append one line to the batch's log, and tell those who want to be told of it."""
    if item is None and notice_kind(kind, actor) is not None:
        hold(connection, NEWS_LOCK)
    connection.execute(
        insert(events).values(batch_id=batch_id, at=at, actor=actor, kind=kind, message=message, position=item)
    )
    if item is None:
        post(connection, batch_id, at, actor, kind, message)


def log_items(
    connection: Connection, batch_id: str, at: datetime, actor: str, kind: str, messages: Iterable[tuple[int, str]]
) -> None:
    """Append one line for each item: (item, message)."""
    common = {"batch_id": batch_id, "at": at, "actor": actor, "kind": kind}
    rows = [common | {"position": item, "message": message} for item, message in messages]
    insert_many(connection, events, rows)


def shift(connection: Connection, batch_id: str, moves: Counter[str], **values: Any) -> None:
    """Add `moves` (column name: difference) to the batch's counters, and set `values` beside them."""
    changes: dict[str, Any] = {name: batches.c[name] + count for name, count in moves.items() if count}
    if changes or values:
        connection.execute(update(batches).where(batches.c.id == batch_id).values(**changes, **values))
