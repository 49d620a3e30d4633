"""When every outcome of a batch is known: found once, and told in its log."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from batchkit.core.lifecycle import BatchStatus
from batchkit.io.ledger import log, shift
from batchkit.io.schema import batches

__all__ = ["is_news", "note_finish"]

_FIND = select(batches).where(batches.c.id == bindparam("b_id"), batches.c.ready)


def is_news(batch: Row[Any]) -> bool:
    """Whether every outcome is known and the log does not say so yet."""
    if batch.known_at is not None or not BatchStatus(batch.status).final:
        return False
    return not (batch.n_pending + batch.n_triggering + batch.n_in_doubt + batch.x_running + batch.x_waiting)


def note_finish(connection: Connection, batch_id: str, now: datetime) -> None:
    """Log that the batch is finished, if it is and that is news. Its counters are to be right already."""
    batch = connection.execute(_FIND, {"b_id": batch_id}).first()
    if batch is None or not is_news(batch):
        return
    shift(connection, batch_id, Counter(), known_at=now)
    said = f"{batch.x_succeeded:,} succeeded, {batch.x_failed:,} failed, {batch.x_cancelled:,} cancelled"
    log(connection, batch_id, now, "batchkit", "finished", f"Every outcome is known: {said}.")
