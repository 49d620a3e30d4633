"""From the store's rows to values: batches, items, events. Statements that only read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, bindparam, case, func, or_, select

from batchkit.core.execution import Execution, ExecutionOutcome, ExecutionStatus
from batchkit.core.lifecycle import BatchStatus, ItemStatus
from batchkit.core.profile import PinnedPool, ProfileRef
from batchkit.core.progress import ExecutionCounts, Progress
from batchkit.core.record import BatchRecord, Event, ItemRecord
from batchkit.core.schedule import Pace
from batchkit.core.target import TargetInfo
from batchkit.errors import NotFoundError
from batchkit.io.ownership import owned, seen, viewer_of
from batchkit.io.schema import IS_PENDING, batches, events, inputs, items, left_out
from batchkit.io.staggering import flow_of
from batchkit.io.transaction import is_read, server_seconds

__all__ = [
    "BATCH",
    "batch_of",
    "check_seen",
    "execution_of",
    "find_batch",
    "find_begun",
    "hold_batch",
    "is_alive",
    "next_tried",
    "read_batch",
    "read_batches",
    "read_cells",
    "read_doubtful",
    "read_events",
    "read_items",
    "read_left_out",
    "read_row",
    "read_same_file",
]

_ITEM_COLUMNS = (items, inputs.c.row, inputs.c.line)

_NEXT_DUE = (
    select(items.c.execute_at)
    .where(items.c.batch_id == batches.c.id, IS_PENDING)
    .order_by(items.c.execute_at)
    .limit(1)
    .correlate(batches)
    .scalar_subquery()
)
# Not by the index of times: that could mean to look at all that is held.
_NEXT_TRIED = (
    select(func.min(items.c.execute_at))
    .where(items.c.batch_id == batches.c.id, items.c.status == ItemStatus.PENDING, items.c.position < batches.c.trial)
    .correlate(batches)
    .scalar_subquery()
)
#: a batch's columns and when its next item is due, as `batch_of` takes them
BATCH = (*batches.c, case((batches.c.trial > 0, _NEXT_TRIED), else_=_NEXT_DUE).label("next_due"))

# Built once: a runner asks them with every visit.
_READ = select(*BATCH).where(batches.c.id == bindparam("b_id"), batches.c.ready)
_READ_OWN = _READ.where(batches.c.owner == bindparam("b_owner"))
_HOLD = select(batches).where(batches.c.id == bindparam("b_id"), batches.c.ready).with_for_update()
_HOLD_OWN = _HOLD.where(batches.c.owner == bindparam("b_owner"))
_TRIED_DUE = select(_NEXT_TRIED).select_from(batches).where(batches.c.id == bindparam("b_id"))


def next_tried(connection: Connection, row: Row[Any]) -> datetime | None:
    """When the next pending item of the trial of the batch in `row` is due; None: none of them is pending."""
    due: datetime | None = connection.scalar(_TRIED_DUE, {"b_id": row.id})
    return due


def profile_of(text: str | None) -> ProfileRef | None:
    """The profile kept as JSON."""
    return None if text is None else ProfileRef(**json.loads(text))


def batch_of(connection: Connection, row: Row[Any], boot: tuple[str, float]) -> BatchRecord:
    """The batch in `row`, which was asked for by `BATCH`."""
    states = {status.value: getattr(row, f"n_{status}") for status in ItemStatus}
    executions = ExecutionCounts(
        running=row.x_running,
        waiting=row.x_waiting,
        succeeded=row.x_succeeded,
        failed=row.x_failed,
        cancelled=row.x_cancelled,
        timed_out=row.x_timed_out,
    )
    lease_left = _lease_left(connection, row, boot)
    return BatchRecord(
        id=row.id,
        name=row.name,
        status=BatchStatus(row.status),
        agent_id=row.agent_id,
        agent_name=row.agent_name,
        version=row.version,
        target=TargetInfo(**json.loads(row.target)),
        pace=Pace(max_concurrent=row.max_concurrent, batch_interval=row.batch_interval),
        default_profile=profile_of(row.default_profile),
        columns=tuple(json.loads(row.columns)),
        mapping=json.loads(row.mapping),
        source=row.source,
        fingerprint=row.fingerprint,
        index_kind=None if row.index_kind is None else json.loads(row.index_kind),
        owner=row.owner,
        progress=Progress(total=row.total, left_out=row.left_out, executions=executions, **states),
        created_at=row.created_at,
        start_at=row.start_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        reason=row.reason,
        gate_at=row.gate_at,
        next_due=row.next_due,
        revision=row.revision,
        epoch=row.epoch,
        runner=row.runner,
        trial=row.trial,
        flow=flow_of(row.flow),
        archived=row.archived,
        pool=None if row.pool is None else PinnedPool.from_dict(json.loads(row.pool)),
        parent=row.parent,
        origin=row.origin,
        partial=row.x_partial,
        heard_at=row.heard_at,
        runner_alive=lease_left > 0,
        lease_left=lease_left,
    )


def find_batch(connection: Connection, batch_id: str) -> Row[Any]:
    """The batch's row, and where the transaction writes, no other one writes to the batch. Raises NotFoundError."""
    return read_row(connection, batch_id) if is_read(connection) else _found(connection, batch_id, _HOLD, _HOLD_OWN)


def read_row(connection: Connection, batch_id: str) -> Row[Any]:
    """The batch's row as `batch_of` takes it. Raises NotFoundError."""
    return _found(connection, batch_id, _READ, _READ_OWN)


def _found(connection: Connection, batch_id: str, anybodys: Select[Any], own: Select[Any]) -> Row[Any]:
    viewer = viewer_of(connection)
    if viewer.sees_all:
        row = connection.execute(anybodys, {"b_id": batch_id}).first()
    else:
        row = connection.execute(own, {"b_id": batch_id, "b_owner": viewer.name}).first()
    if row is None:
        raise _unknown(batch_id)
    return row


def find_begun(connection: Connection, batch_id: str) -> Row[Any]:
    """The row of a batch that is being made, which nobody else sees. Raises NotFoundError, also for a published one."""
    query = select(batches).where(batches.c.id == batch_id, batches.c.ready.is_(False), owned(connection))
    row = connection.execute(query).first()
    if row is None:
        raise _unknown(batch_id)
    return row


def check_seen(connection: Connection, batch_id: str) -> None:
    """Raise NotFoundError unless there is such a batch: before reading what belongs to it."""
    if connection.scalar(select(batches.c.id).where(batches.c.id == batch_id, seen(connection))) is None:
        raise _unknown(batch_id)


def hold_batch(connection: Connection, batch_id: str) -> None:
    """Keep other transactions from writing to the batch until this one ends, if there is such a batch."""
    query = select(batches.c.id).where(batches.c.id == batch_id, seen(connection))
    connection.execute(query.with_for_update())


def _unknown(batch_id: str) -> NotFoundError:
    return NotFoundError(f"There is no batch {batch_id!r} in this store. ws.batches() lists those there are.")


def is_alive(connection: Connection, batch: Row[Any], boot: tuple[str, float]) -> bool:
    """Whether the batch has a runner whose lease has not lapsed."""
    return _lease_left(connection, batch, boot) > 0


def _lease_left(connection: Connection, batch: Row[Any], boot: tuple[str, float]) -> float:
    """Seconds until the lease of the batch's runner lapses; 0: it has, or nobody runs it."""
    boot_id, seconds = boot
    shared = server_seconds(connection)
    if not batch.runner or (shared is None and batch.lease_boot != boot_id):
        return 0.0
    return max(0.0, float(batch.lease_expires) - (seconds if shared is None else shared))


def read_batch(connection: Connection, batch_id: str, boot: tuple[str, float]) -> BatchRecord:
    """The batch of that id. Raises NotFoundError."""
    return batch_of(connection, read_row(connection, batch_id), boot)


def read_batches(
    connection: Connection,
    boot: tuple[str, float],
    *,
    agent_id: str | None = None,
    statuses: Iterable[BatchStatus] = (),
    limit: int | None = None,
) -> list[BatchRecord]:
    """Batches, newest first."""
    query = select(*BATCH).where(seen(connection)).order_by(batches.c.created_at.desc(), batches.c.id)
    if agent_id is not None:
        query = query.where(batches.c.agent_id == agent_id)
    if chosen := list(statuses):
        query = query.where(batches.c.status.in_(chosen))
    return [batch_of(connection, row, boot) for row in connection.execute(query.limit(limit))]


def read_same_file(
    connection: Connection, boot: tuple[str, float], agent_id: str, fingerprint: str
) -> list[BatchRecord]:
    """Batches in which the same file already ran for this agent, newest first."""
    query = (
        select(*BATCH)
        .where(seen(connection), batches.c.agent_id == agent_id, batches.c.fingerprint == fingerprint)
        .order_by(batches.c.created_at.desc())
    )
    return [batch_of(connection, row, boot) for row in connection.execute(query)]


def read_items(
    connection: Connection,
    batch_id: str,
    *,
    after: tuple[Any, ...] | None = None,
    limit: int | None = None,
    order: str = "row",
    statuses: Sequence[ItemStatus] = (),
    positions: Sequence[int] | None = None,
) -> list[ItemRecord]:
    """A page of items.

    order: "row" (position) or "time" (due time, then position). after: the key of the last item of the page
    before: (position,) or (execute_at, position). A page costs the same wherever it lies.
    """
    check_seen(connection, batch_id)
    query = _joined(batch_id)
    if statuses:
        query = query.where(items.c.status.in_(statuses))
    if positions is not None:
        query = query.where(items.c.position.in_(positions))
    keys = [items.c.execute_at, items.c.position] if order == "time" else [items.c.position]
    if after is not None:
        query = query.where(_beyond(keys, after))
    return [item_of(row) for row in connection.execute(query.order_by(*keys).limit(limit))]


def _joined(batch_id: str) -> Select[Any]:
    return (
        select(*_ITEM_COLUMNS)
        .join(inputs, and_(inputs.c.batch_id == items.c.batch_id, inputs.c.position == items.c.position))
        .where(items.c.batch_id == batch_id)
    )


def _beyond(keys: list[Any], after: tuple[Any, ...]) -> Any:
    if len(keys) == 1:
        return keys[0] > after[0]
    return or_(keys[0] > after[0], and_(keys[0] == after[0], keys[1] > after[1]))


def item_of(row: Row[Any]) -> ItemRecord:
    """The item in `row`."""
    return ItemRecord(
        item=row.position,
        row=row.row,
        line=row.line,
        status=ItemStatus(row.status),
        execute_at=row.execute_at,
        by_hand=row.by_hand,
        attempt=row.attempt,
        intent_at=row.intent_at,
        triggered_at=row.triggered_at,
        settle_at=row.settle_at,
        error=row.error,
        execution=execution_of(row),
        not_before=row.not_before,
        timed_out=row.x_timed_out,
    )


def execution_of(row: Row[Any]) -> Execution | None:
    """The execution of the item in `row`, None before it is known."""
    if row.execution_id is None:
        return None
    return Execution(
        id=row.execution_id,
        status=ExecutionStatus(row.x_status),
        outcome=None if row.x_outcome is None else ExecutionOutcome(row.x_outcome),
        reasoning=row.x_reasoning or "",
        result=None if row.x_result is None else json.loads(row.x_result),
        error=row.x_error or "",
        created_at=row.x_created,
        started_at=row.x_started,
        finished_at=row.x_finished,
        url=row.x_url or "",
        profile_name=row.x_profile or "",
    )


def read_cells(connection: Connection, batch_id: str, first: int, last: int) -> list[tuple[list[str], Any]]:
    """The rows as they were in the file, each with its index label, for positions first <= position < last."""
    check_seen(connection, batch_id)
    query = (
        select(inputs.c.cells, inputs.c.label)
        .where(inputs.c.batch_id == batch_id, inputs.c.position >= first, inputs.c.position < last)
        .order_by(inputs.c.position)
    )
    return [
        (json.loads(row.cells), None if row.label is None else json.loads(row.label))
        for row in connection.execute(query)
    ]


def read_left_out(connection: Connection, batch_id: str) -> list[tuple[int, int | None, list[str], str]]:
    """The rows the policy left out: (row, line, cells, errors), in the file's order."""
    check_seen(connection, batch_id)
    query = select(left_out).where(left_out.c.batch_id == batch_id).order_by(left_out.c.row)
    return [(row.row, row.line, json.loads(row.cells), row.errors) for row in connection.execute(query)]


def read_events(
    connection: Connection, batch_id: str, *, item: int | None = None, limit: int | None = None
) -> list[Event]:
    """The batch's log, oldest first; with `limit`, the newest so many of it."""
    check_seen(connection, batch_id)
    query = select(events).where(events.c.batch_id == batch_id)
    if item is not None:
        query = query.where(events.c.position == item)
    rows = connection.execute(query.order_by(events.c.id.desc()).limit(limit)).all()
    return [
        Event(at=row.at, actor=row.actor, kind=row.kind, message=row.message, item=row.position)
        for row in reversed(rows)
    ]


def read_doubtful(connection: Connection, batch_id: str, now: datetime, limit: int) -> list[ItemRecord]:
    """Items in doubt whose quarantine is over, in order."""
    check_seen(connection, batch_id)
    query = _joined(batch_id).where(items.c.status == ItemStatus.IN_DOUBT, items.c.settle_at <= now)
    return [item_of(row) for row in connection.execute(query.order_by(items.c.position).limit(limit))]
