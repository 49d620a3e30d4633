"""Executions that are not waited for any longer: past the batch's item deadline, or lost with their process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select, update

from batchkit.core.execution import LOST, Execution, ExecutionStatus
from batchkit.core.lifecycle import ItemStatus
from batchkit.io.ledger import log, shift
from batchkit.io.outcomes import note_executions
from batchkit.io.reading import find_batch
from batchkit.io.schema import items
from batchkit.io.staggering import flow_of

__all__ = ["lose", "time_out"]

_ENDED = [status for status in ExecutionStatus if status.terminal]
#: items a statement may name
_MOST_NAMED = 10_000


def time_out(connection: Connection, batch_id: str, now: datetime) -> datetime | None:
    """Count open executions past the deadline as timed out; returns when the next one will be, None: none will."""
    deadline = flow_of(find_batch(connection, batch_id).flow).item_deadline
    if deadline is None:
        return None
    waited_for = (
        items.c.batch_id == batch_id,
        items.c.status == ItemStatus.TRIGGERED,
        items.c.x_status.not_in(_ENDED),
        items.c.x_timed_out.is_(False),
    )
    past = items.c.triggered_at <= now - timedelta(seconds=deadline)
    changed = connection.execute(update(items).where(*waited_for, past).values(x_timed_out=True)).rowcount
    if changed:
        shift(connection, batch_id, Counter({"x_timed_out": changed}))
        said = f"{changed:,} executions had not finished {deadline:,.0f} s after they were triggered; they may still."
        log(connection, batch_id, now, "batchkit", "timed_out", said)
    first: datetime | None = connection.scalar(select(func.min(items.c.triggered_at)).where(*waited_for))
    return None if first is None else first + timedelta(seconds=deadline)


def lose(connection: Connection, batch_id: str, ids: Sequence[int], now: datetime) -> int:
    """Write down that these items' executions, where they are open, were lost with their process; returns how many."""
    changed = 0
    for first in range(0, len(ids), _MOST_NAMED):
        query = select(items.c.position, items.c.execution_id).where(
            items.c.batch_id == batch_id,
            items.c.position.in_(ids[first : first + _MOST_NAMED]),
            items.c.status == ItemStatus.TRIGGERED,
            items.c.x_status.not_in(_ENDED),
        )
        lost = [
            (row.position, Execution(id=row.execution_id, status=ExecutionStatus.FAILED, error=LOST, finished_at=now))
            for row in connection.execute(query)
        ]
        changed += note_executions(connection, batch_id, lost) if lost else 0
    if changed:
        log(connection, batch_id, now, "batchkit", "lost", f"{changed:,} executions: {LOST}")
    return changed
