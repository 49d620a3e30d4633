"""Writing new limits of a batch."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from batchkit.core.lifecycle import BatchStatus
from batchkit.core.limits import Limits, moved_gate
from batchkit.core.schedule import Pace, plan
from batchkit.errors import StateError
from batchkit.io.ledger import log, shift
from batchkit.io.staggering import flow_of, stagger

__all__ = ["change_limits"]


def change_limits(connection: Connection, batch: Row[Any], limits: Limits, now: datetime, actor: str) -> None:
    """Give the batch in `batch` other limits; with another pace, what is pending is staggered from now.

    Raises StateError for a batch that has ended, ConfigError for a last group too far away.
    """
    if BatchStatus(batch.status).final:
        raise StateError(f"The limits of a {batch.status} batch cannot be changed. It has ended.")
    before = Pace(max_concurrent=batch.max_concurrent, batch_interval=batch.batch_interval)
    flow = flow_of(batch.flow)
    after = limits.pace(before)
    kept = limits.flow(flow).to_dict()
    values: dict[str, Any] = {"flow": json.dumps(kept) if kept else None, "revision": batch.revision + 1}
    message = f"Changed: {limits.told(before, flow)}."
    if after != before:
        plan(batch.n_pending, after, now)
        gate = _gate(batch, before, after)
        start = max(now, gate or now, batch.start_at if batch.status == BatchStatus.PENDING else now)
        moved = stagger(connection, batch, after, start)
        values |= {"max_concurrent": after.max_concurrent, "batch_interval": after.batch_interval, "gate_at": gate}
        message += f" {moved:,} pending rows have new times, from now on."
    shift(connection, batch.id, Counter(), **values)
    log(connection, batch.id, now, actor, "limits", message)


def _gate(batch: Row[Any], before: Pace, after: Pace) -> datetime | None:
    """When the next group may start. What the target asked for, and the start after a trial, stay."""
    gate: datetime | None = batch.gate_at
    waits = batch.status == BatchStatus.RUNNING and batch.reason
    if gate is None or waits or gate == batch.start_at:
        return gate
    return moved_gate(gate, before, after)
