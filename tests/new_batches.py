"""A new batch and its rows, as a store is given them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from batchkit.core.record import NewBatch
from batchkit.core.request import NewItem
from batchkit.core.schedule import Pace
from batchkit.core.target import TargetInfo

__all__ = ["new_batch", "new_items"]


def new_batch(start: datetime, **changes: Any) -> NewBatch:
    """One for a scripted target, of a row a minute from `start` on, unless `changes` says otherwise."""
    fields: dict[str, Any] = {
        "name": "b",
        "agent_id": "agent-1",
        "agent_name": "Agent",
        "version": None,
        "target": TargetInfo(kind="scripted", url="memory"),
        "pace": Pace(max_concurrent=1, batch_interval=60),
        "start_at": start,
    }
    return NewBatch(**(fields | changes))


def new_items(rows: int) -> list[NewItem]:
    """So many rows, each with its number in its only cell."""
    return [NewItem(row=n + 2, line=n + 2, cells=(str(n),), inputs={}, metadata={}) for n in range(rows)]
