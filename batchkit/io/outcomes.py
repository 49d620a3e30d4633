"""Writing down what became of attempts, and of the executions they started."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from batchkit.core.execution import LOST, Execution, ExecutionOutcome, ExecutionStatus
from batchkit.core.lifecycle import BatchStatus, ItemStatus
from batchkit.core.outcome import Refused, Triggered, Unclear
from batchkit.core.record import ItemOutcome
from batchkit.io.item_updates import update_items
from batchkit.io.ledger import log, shift
from batchkit.io.reading import execution_of
from batchkit.io.schema import items

__all__ = ["note_executions", "record_outcomes"]

_TERMINAL = [status for status in ExecutionStatus if status.terminal]

# Built once: it runs for every group of every batch.
_STATES = select(items.c.position, items.c.status, items.c.attempt, items.c.execute_at, items.c.settle_at).where(
    items.c.batch_id == bindparam("b_batch"), items.c.position.in_(bindparam("b_positions", expanding=True))
)


def record_outcomes(connection: Connection, batch: Row[Any], outcomes: Sequence[ItemOutcome]) -> Counter[str]:
    """Record what became of attempts, whatever the batch's state; returns by how much its counters move.

    An outcome of an older attempt changes nothing. Of two for the same attempt, one that names an execution counts.
    """
    positions = [outcome.item for outcome in outcomes]
    rows = connection.execute(_STATES, {"b_batch": batch.id, "b_positions": positions}).all()
    current = {row.position: row for row in rows}
    news: dict[int, ItemOutcome] = {}
    for outcome in outcomes:
        row = current[outcome.item]
        if row.attempt != outcome.attempt or not _still_open(row.status, outcome):
            continue
        if outcome.item not in news or isinstance(outcome.outcome, Triggered):
            news[outcome.item] = outcome
    begun: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    settled: list[dict[str, Any]] = []
    moves: Counter[str] = Counter()
    for outcome in news.values():
        row = current[outcome.item]
        key: dict[str, Any] = {"position": outcome.item}
        if isinstance(outcome.outcome, Triggered):
            to = ItemStatus.TRIGGERED
            execution = outcome.outcome.execution
            key |= {"triggered_at": outcome.at, "execution_id": execution.id}
            # Nearly all answers say no more.
            if execution == Execution(id=execution.id, status=execution.status):
                begun.append(key | {"x_status": execution.status})
            else:
                found.append(key | _execution_values(execution))
            moves[f"x_{execution.standing}"] += 1
        else:
            to = _settled_status(batch, outcome)
            settled.append(key | _settled_values(connection, batch, outcome, to, row.execute_at, row.settle_at))
        if row.status == ItemStatus.IN_DOUBT:
            _log_settled(connection, batch, outcome, to)
        moves[f"n_{row.status}"] -= 1
        moves[f"n_{to}"] += 1
    for triggered in (begun, found):
        update_items(connection, batch.id, triggered, status=ItemStatus.TRIGGERED, settle_at=None, error="")
    update_items(connection, batch.id, settled)
    return moves


def _log_settled(connection: Connection, batch: Row[Any], outcome: ItemOutcome, to: ItemStatus) -> None:
    """Tell how the doubt ended, for whoever asks later what became of the row."""
    if isinstance(outcome.outcome, Triggered):
        said = f"It was triggered: execution {outcome.outcome.execution.id}."
    else:
        said = outcome.outcome.message
    if to is not ItemStatus.IN_DOUBT:
        log(connection, batch.id, outcome.at, "batchkit", "settled", said, outcome.item)


def note_executions(
    connection: Connection,
    batch_id: str,
    seen: Sequence[tuple[int, Execution]],
    *,
    heard: Mapping[int, datetime] | None = None,
) -> int:
    """Write down what became of triggered items' executions; returns how many changed. Never backwards.

    heard: where webhooks told it, by item when they were sent. Of an end that only a webhook told, the target itself
    still tells the details.
    """
    query = select(items).where(items.c.batch_id == batch_id, items.c.position.in_([item for item, _ in seen]))
    current = {row.position: row for row in connection.execute(query)}
    changes: list[dict[str, Any]] = []
    moves: Counter[str] = Counter()
    for item, execution in seen:
        row = current.get(item)
        if row is None or row.execution_id != execution.id:
            continue
        ended = execution.status.terminal
        if row.x_status in _TERMINAL and row.x_error == LOST and ended and execution.error != LOST:
            pass
        elif row.x_status in _TERMINAL:
            if heard is not None or row.x_heard is None or not ended:
                continue
            # That the target has nothing to say of an end does not undo it.
            execution = (execution_of(row) if execution.error == LOST else None) or _completed(execution, row)
            moves["x_partial"] -= 1
        elif heard is None and row.x_status == execution.status and (row.x_url or "") == execution.url:
            continue
        elif heard is not None and ended:
            moves["x_partial"] += 1
        last = heard[item] if heard is not None else None if ended else row.x_heard
        late = row.x_timed_out and not ended
        key = {"position": item, "x_heard": last, "x_timed_out": late}
        changes.append(key | _execution_values(execution))
        moves["x_timed_out"] -= row.x_timed_out and ended
        moves[f"x_{_known(row).standing}"] -= 1
        moves[f"x_{execution.standing}"] += 1
    if changes:
        update_items(connection, batch_id, changes)
        shift(connection, batch_id, moves)
    return len(changes)


def _completed(execution: Execution, row: Row[Any]) -> Execution:
    """What the target says of an execution's end, with what only a webhook said of it."""
    return replace(
        execution,
        outcome=execution.outcome or _known(row).outcome,
        reasoning=execution.reasoning or row.x_reasoning or "",
        result=json.loads(row.x_result) if execution.result is None and row.x_result else execution.result,
        error=execution.error or row.x_error or "",
        url=execution.url or row.x_url or "",
    )


def _known(row: Row[Any]) -> Execution:
    """As much of the item's execution as says where it was counted."""
    outcome = None if row.x_outcome is None else ExecutionOutcome(row.x_outcome)
    return Execution(id="", status=ExecutionStatus(row.x_status), outcome=outcome)


def _still_open(status: str, outcome: ItemOutcome) -> bool:
    # A late "it runs" counts even where a lookup had found nothing and the row was made ready again.
    late = status == ItemStatus.PENDING and isinstance(outcome.outcome, Triggered)
    return status in (ItemStatus.TRIGGERING, ItemStatus.IN_DOUBT) or late


def _settled_status(batch: Row[Any], outcome: ItemOutcome) -> ItemStatus:
    if isinstance(outcome.outcome, Refused):
        return ItemStatus.REFUSED
    if isinstance(outcome.outcome, Unclear):
        return ItemStatus.IN_DOUBT
    return ItemStatus.CANCELLED if batch.status == BatchStatus.CANCELLED else ItemStatus.PENDING


def _settled_values(
    connection: Connection,
    batch: Row[Any],
    outcome: ItemOutcome,
    to: ItemStatus,
    due: datetime,
    settle_at: datetime | None,
) -> dict[str, Any]:
    assert not isinstance(outcome.outcome, Triggered)
    message = outcome.outcome.message
    if to in (ItemStatus.REFUSED, ItemStatus.IN_DOUBT):
        log(connection, batch.id, outcome.at, "batchkit", to, message, outcome.item)
    # A row made ready again is due from now on, not since its first slot.
    due = max(due, outcome.at) if to is ItemStatus.PENDING else due
    until = outcome.settle_at
    if until is not None and settle_at is not None:
        # What a former runner says late makes no wait shorter.
        until = max(until, settle_at)
    return {"status": to, "error": message, "settle_at": until, "execute_at": due}


def _execution_values(execution: Execution) -> dict[str, Any]:
    result = execution.result
    return {
        "x_status": execution.status,
        "x_outcome": execution.outcome,
        "x_reasoning": execution.reasoning or None,
        "x_result": None if result is None else json.dumps(result, ensure_ascii=False, separators=(",", ":")),
        "x_error": execution.error or None,
        "x_url": execution.url or None,
        "x_profile": execution.profile_name or None,
        "x_created": execution.created_at,
        "x_started": execution.started_at,
        "x_finished": execution.finished_at,
    }
