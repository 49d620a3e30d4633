"""What the runner of a batch writes: leases, claims, outcomes, and what became of the executions.

Each function runs in its caller's transaction and keeps the batch's counters in step with its items.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, func, insert, select, update

from batchkit.core.execution import Execution, ExecutionStatus
from batchkit.core.lifecycle import BatchStatus, ItemStatus
from batchkit.core.outcome import Refused, Triggered, Unclear
from batchkit.core.record import Claim, ItemOutcome, Lease
from batchkit.core.request import TriggerRequest
from batchkit.core.schedule import Pace
from batchkit.io.reading import profile_of
from batchkit.io.schema import batches, events, inputs, items, microseconds

__all__ = [
    "acquire_lease",
    "claim_due",
    "doubt_unfinished",
    "finish_if_done",
    "log",
    "note_executions",
    "record_outcomes",
    "release_lease",
    "renew_lease",
    "restagger_pending",
    "shift",
    "start_if_due",
]

_TERMINAL = [status for status in ExecutionStatus if status.terminal]

# Built once: the same statements run for every group of every batch.
_of_attempt = and_(items.c.batch_id == bindparam("b_batch"), items.c.position == bindparam("b_position"))
_EXECUTION: dict[str, Any] = {
    "x_status": bindparam("b_status"),
    "x_outcome": bindparam("b_outcome"),
    "x_reasoning": bindparam("b_reasoning"),
    "x_result": bindparam("b_result"),
    "x_error": bindparam("b_error"),
    "x_url": bindparam("b_url"),
    "x_profile": bindparam("b_profile"),
    "x_created": bindparam("b_created"),
    "x_started": bindparam("b_started"),
    "x_finished": bindparam("b_finished"),
}
_NOTE = update(items).where(_of_attempt).values(**_EXECUTION)
_TRIGGER = (
    update(items)
    .where(_of_attempt)
    .values(
        status=ItemStatus.TRIGGERED,
        triggered_at=bindparam("b_at"),
        settle_at=None,
        error="",
        execution_id=bindparam("b_id"),
        **_EXECUTION,
    )
)
_SETTLE = (
    update(items)
    .where(_of_attempt)
    .values(
        status=bindparam("b_to"),
        error=bindparam("b_error"),
        settle_at=bindparam("b_settle"),
        execute_at=bindparam("b_due"),
    )
)


def log(
    connection: Connection, batch_id: str, at: datetime, actor: str, kind: str, message: str, item: int | None = None
) -> None:
    """Append one line to the batch's log."""
    connection.execute(
        insert(events).values(batch_id=batch_id, at=at, actor=actor, kind=kind, message=message, position=item)
    )


def shift(connection: Connection, batch_id: str, moves: Counter[str], **values: Any) -> None:
    """Add `moves` (column name: difference) to the batch's counters, and set `values` beside them."""
    changes: dict[str, Any] = {name: batches.c[name] + count for name, count in moves.items() if count}
    if changes or values:
        connection.execute(update(batches).where(batches.c.id == batch_id).values(**changes, **values))


def acquire_lease(
    connection: Connection, batch_id: str, owner: str, boot: tuple[str, float], seconds: float
) -> Lease | None:
    """Take the batch's lease with a new epoch, or None while somebody else's is alive."""
    boot_id, now = boot
    row = connection.execute(select(batches).where(batches.c.id == batch_id)).one()
    alive = row.runner and row.lease_boot == boot_id and row.lease_expires > now
    if alive and row.runner != owner:
        return None
    lease = Lease(batch_id=batch_id, owner=owner, epoch=row.epoch + 1, expires=now + seconds, boot=boot_id)
    connection.execute(
        update(batches)
        .where(batches.c.id == batch_id)
        .values(runner=owner, epoch=lease.epoch, lease_boot=boot_id, lease_expires=lease.expires)
    )
    return lease


def renew_lease(connection: Connection, lease: Lease, boot: tuple[str, float], seconds: float) -> Lease:
    """The same lease, valid from now on; the caller has checked in this transaction that it is still the batch's."""
    boot_id, now = boot
    connection.execute(
        update(batches).where(batches.c.id == lease.batch_id).values(lease_boot=boot_id, lease_expires=now + seconds)
    )
    return Lease(batch_id=lease.batch_id, owner=lease.owner, epoch=lease.epoch, expires=now + seconds, boot=boot_id)


def release_lease(connection: Connection, lease: Lease) -> None:
    """Give the lease up, if it is still ours."""
    connection.execute(
        update(batches)
        .where(batches.c.id == lease.batch_id, batches.c.runner == lease.owner, batches.c.epoch == lease.epoch)
        .values(runner="", lease_expires=0.0)
    )


def doubt_unfinished(
    connection: Connection, batch_id: str, settle_at: datetime | None, gate: datetime, now: datetime
) -> int:
    """Put what a former runner left unfinished in doubt; returns how many. No group starts before `gate` then."""
    changed = connection.execute(
        update(items)
        .where(items.c.batch_id == batch_id, items.c.status == ItemStatus.TRIGGERING)
        .values(
            status=ItemStatus.IN_DOUBT,
            settle_at=settle_at,
            error="Whoever sent it was gone before the answer was recorded.",
        )
    ).rowcount
    if changed:
        row = connection.execute(select(batches.c.gate_at).where(batches.c.id == batch_id)).one()
        moves = Counter({"n_triggering": -changed, "n_in_doubt": changed})
        shift(connection, batch_id, moves, gate_at=max(gate, row.gate_at or gate))
        log(connection, batch_id, now, "batchkit", "in_doubt", f"{changed:,} rows were on their way when it stopped.")
    return changed


def start_if_due(connection: Connection, batch: Row[Any], now: datetime) -> bool:
    """Let a pending batch run whose start time has come."""
    if batch.status != BatchStatus.PENDING or batch.start_at > now:
        return False
    shift(connection, batch.id, Counter(), status=BatchStatus.RUNNING, started_at=now)
    log(connection, batch.id, now, "batchkit", "started", "The start time has come.")
    return True


def finish_if_done(connection: Connection, batch: Row[Any], now: datetime) -> bool:
    """Complete a running batch of which nothing is left to trigger and nothing is in doubt."""
    if batch.status != BatchStatus.RUNNING or batch.n_pending + batch.n_triggering + batch.n_in_doubt:
        return False
    shift(connection, batch.id, Counter(), status=BatchStatus.COMPLETED, finished_at=now, reason="")
    log(connection, batch.id, now, "batchkit", "completed", f"{batch.n_triggered:,} of {batch.total:,} rows triggered.")
    return True


def claim_due(connection: Connection, batch: Row[Any], limit: int, now: datetime, gate: datetime) -> list[Claim]:
    """Record the intent to send up to `limit` items that are due; no later group starts before `gate`."""
    query = (
        select(items.c.position, items.c.attempt, inputs.c.row, inputs.c.inputs, inputs.c.metadata, inputs.c.profile)
        .join(inputs, and_(inputs.c.batch_id == items.c.batch_id, inputs.c.position == items.c.position))
        .where(items.c.batch_id == batch.id, items.c.status == ItemStatus.PENDING, items.c.execute_at <= now)
        .order_by(items.c.execute_at, items.c.position)
        .limit(limit)
        .with_for_update(skip_locked=True, of=items)
    )
    rows = connection.execute(query).all()
    if not rows:
        return []
    connection.execute(
        update(items)
        .where(items.c.batch_id == batch.id, items.c.position.in_([row.position for row in rows]))
        .values(status=ItemStatus.TRIGGERING, attempt=items.c.attempt + 1, intent_at=now)
    )
    moves = Counter({"n_pending": -len(rows), "n_triggering": len(rows)})
    shift(connection, batch.id, moves, gate_at=max(gate, batch.gate_at or gate))
    default = profile_of(batch.default_profile)
    return [
        Claim(
            item=row.position,
            row=row.row,
            attempt=row.attempt + 1,
            request=TriggerRequest(
                agent_id=batch.agent_id,
                version=batch.version,
                inputs=json.loads(row.inputs),
                metadata=json.loads(row.metadata) if row.metadata else {},
                profile=profile_of(row.profile) if row.profile else default,
                batch_id=batch.id,
                item=row.position,
                attempt=row.attempt + 1,
            ),
        )
        for row in rows
    ]


def record_outcomes(connection: Connection, batch: Row[Any], outcomes: Sequence[ItemOutcome]) -> None:
    """Record what became of attempts, whatever the batch's state; an outcome of an older attempt changes nothing."""
    current = _states(connection, batch.id, [outcome.item for outcome in outcomes])
    triggered: list[dict[str, Any]] = []
    settled: list[dict[str, Any]] = []
    moves: Counter[str] = Counter()
    for outcome in outcomes:
        status, attempt, due = current[outcome.item]
        if attempt != outcome.attempt or not _still_open(status, outcome):
            continue
        key = {"b_batch": batch.id, "b_position": outcome.item}
        if isinstance(outcome.outcome, Triggered):
            to = ItemStatus.TRIGGERED
            execution = outcome.outcome.execution
            triggered.append(key | {"b_at": outcome.at, "b_id": execution.id} | _execution_values(execution))
            moves[f"x_{execution.standing}"] += 1
        else:
            to = _settled_status(batch, outcome)
            error = outcome.outcome.message
            # A row made ready again is due from now on, not since its first slot.
            due = max(due, outcome.at) if to is ItemStatus.PENDING else due
            settled.append(key | {"b_to": to, "b_error": error, "b_settle": outcome.settle_at, "b_due": due})
            if to in (ItemStatus.REFUSED, ItemStatus.IN_DOUBT):
                log(connection, batch.id, outcome.at, "batchkit", to, error, outcome.item)
        moves[f"n_{status}"] -= 1
        moves[f"n_{to}"] += 1
    if triggered:
        connection.execute(_TRIGGER, triggered)
    if settled:
        connection.execute(_SETTLE, settled)
    shift(connection, batch.id, moves)


def _still_open(status: ItemStatus, outcome: ItemOutcome) -> bool:
    # A late "it runs" counts even where a lookup had found nothing and the row was made ready again.
    late = status is ItemStatus.PENDING and isinstance(outcome.outcome, Triggered)
    return status in (ItemStatus.TRIGGERING, ItemStatus.IN_DOUBT) or late


def _settled_status(batch: Row[Any], outcome: ItemOutcome) -> ItemStatus:
    if isinstance(outcome.outcome, Refused):
        return ItemStatus.REFUSED
    if isinstance(outcome.outcome, Unclear):
        return ItemStatus.IN_DOUBT
    return ItemStatus.CANCELLED if batch.status == BatchStatus.CANCELLED else ItemStatus.PENDING


def _states(
    connection: Connection, batch_id: str, positions: Iterable[int]
) -> dict[int, tuple[ItemStatus, int, datetime]]:
    """Of each item its status, attempt and due time."""
    rows = connection.execute(
        select(items.c.position, items.c.status, items.c.attempt, items.c.execute_at).where(
            items.c.batch_id == batch_id, items.c.position.in_(list(positions))
        )
    )
    return {row.position: (ItemStatus(row.status), row.attempt, row.execute_at) for row in rows}


def note_executions(connection: Connection, batch_id: str, seen: Sequence[tuple[int, Execution]]) -> int:
    """Write down what the target says of triggered items' executions; returns how many changed. Never backwards."""
    query = select(items).where(items.c.batch_id == batch_id, items.c.position.in_([item for item, _ in seen]))
    current = {row.position: row for row in connection.execute(query)}
    changes: list[dict[str, Any]] = []
    moves: Counter[str] = Counter()
    for item, execution in seen:
        row = current.get(item)
        if row is None or row.execution_id != execution.id or row.x_status in _TERMINAL:
            continue
        if row.x_status == execution.status and (row.x_url or "") == execution.url:
            continue
        changes.append({"b_batch": batch_id, "b_position": item} | _execution_values(execution))
        moves[f"x_{Execution(id='', status=ExecutionStatus(row.x_status)).standing}"] -= 1
        moves[f"x_{execution.standing}"] += 1
    if changes:
        connection.execute(_NOTE, changes)
    shift(connection, batch_id, moves)
    return len(changes)


def _execution_values(execution: Execution) -> dict[str, Any]:
    result = execution.result
    return {
        "b_status": execution.status,
        "b_outcome": execution.outcome,
        "b_reasoning": execution.reasoning or None,
        "b_result": None if result is None else json.dumps(result, ensure_ascii=False, separators=(",", ":")),
        "b_error": execution.error or None,
        "b_url": execution.url or None,
        "b_profile": execution.profile_name or None,
        "b_created": execution.created_at,
        "b_started": execution.started_at,
        "b_finished": execution.finished_at,
    }


def restagger_pending(connection: Connection, batch_id: str, pace: Pace, now: datetime) -> int:
    """Give pending items new times from `now`, as `core.schedule.restagger` says; returns how many moved.

    What the user set by hand and lies ahead stays.
    """
    moving = and_(
        items.c.batch_id == batch_id,
        items.c.status == ItemStatus.PENDING,
        (items.c.by_hand.is_(False)) | (items.c.execute_at <= now),
    )
    ranked = (
        select(
            items.c.position,
            (func.row_number().over(order_by=(items.c.execute_at, items.c.position)) - 1).label("rank"),
        )
        .where(moving)
        .subquery()
    )
    interval = pace.interval // timedelta(microseconds=1)
    return connection.execute(
        update(items)
        .where(items.c.batch_id == batch_id, items.c.position == ranked.c.position)
        .values(execute_at=microseconds(now) + ranked.c.rank // pace.max_concurrent * interval, by_hand=False)
    ).rowcount
