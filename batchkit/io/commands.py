"""What users' commands write: pause, resume, cancel, and the same on single items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, and_, func, select, update

from batchkit.core.lifecycle import WHY_NOT, BatchStatus, ItemStatus, check_batch_move
from batchkit.core.record import ItemChange
from batchkit.core.schedule import Pace, free_slots
from batchkit.errors import NotFoundError, StateError
from batchkit.io.item_updates import update_items
from batchkit.io.ledger import log, log_items, shift
from batchkit.io.reading import find_batch, next_tried
from batchkit.io.schema import IS_PENDING, items
from batchkit.io.staggering import flow_of, stagger_from
from batchkit.io.transaction import among

__all__ = [
    "cancel_batch",
    "cancel_items",
    "find_slots",
    "move_items",
    "pause_batch",
    "resume_batch",
    "settle_items",
]


#: items a statement may name; the database has a limit
_MOST_NAMED = 10_000


def pause_batch(connection: Connection, batch_id: str, now: datetime, actor: str, reason: str = "") -> None:
    """running → paused. Raises StateError."""
    batch = find_batch(connection, batch_id)
    check_batch_move(BatchStatus(batch.status), BatchStatus.PAUSED)
    shift(connection, batch_id, Counter(), status=BatchStatus.PAUSED, reason=reason, revision=batch.revision + 1)
    log(connection, batch_id, now, actor, "paused", reason or f"{batch.n_pending:,} rows wait.")


def resume_batch(connection: Connection, batch_id: str, now: datetime, actor: str) -> None:
    """paused → running, the pending items staggered from now. Raises StateError.

    Where all of a trial was sent, the rest is held no longer. Failures are counted anew.
    """
    batch = find_batch(connection, batch_id)
    if batch.status == BatchStatus.PENDING:
        raise StateError(
            f"A pending batch cannot be resumed: it starts by itself at {batch.start_at:%Y-%m-%d %H:%M:%S} UTC."
        )
    check_batch_move(BatchStatus(batch.status), BatchStatus.RUNNING)
    moved = stagger_from(connection, batch, now)
    trial = batch.trial if batch.trial and next_tried(connection, batch) is not None else 0
    values: dict[str, Any] = {
        "status": BatchStatus.RUNNING,
        "reason": "",
        "revision": batch.revision + 1,
        "trial": trial,
        "failed_before": batch.x_failed,
        "ended_before": batch.x_failed + batch.x_succeeded,
    }
    shift(connection, batch_id, Counter(), **values)
    log(connection, batch_id, now, actor, "resumed", f"{moved:,} pending rows have new times, from now on.")


def cancel_batch(connection: Connection, batch_id: str, now: datetime, actor: str) -> None:
    """To cancelled; pending items are cancelled, what was triggered goes on. Raises StateError."""
    batch = find_batch(connection, batch_id)
    check_batch_move(BatchStatus(batch.status), BatchStatus.CANCELLED)
    changed = connection.execute(
        update(items).where(items.c.batch_id == batch_id, IS_PENDING).values(status=ItemStatus.CANCELLED)
    ).rowcount
    shift(
        connection,
        batch_id,
        Counter({"n_pending": -changed, "n_cancelled": changed}),
        status=BatchStatus.CANCELLED,
        finished_at=now,
        reason="",
        revision=batch.revision + 1,
    )
    log(connection, batch_id, now, actor, "cancelled", f"{changed:,} pending rows will not be triggered.")


def cancel_items(connection: Connection, batch_id: str, ids: Sequence[int], now: datetime, actor: str) -> ItemChange:
    """Cancel those of `ids` that are pending; the others are answered with a reason. Raises NotFoundError."""
    batch, change = _pending_of(connection, batch_id, ids)
    if change.done:
        connection.execute(
            update(items)
            .where(items.c.batch_id == batch_id, among(connection, items.c.position, change.done))
            .values(status=ItemStatus.CANCELLED)
        )
        moves = Counter({"n_pending": -len(change.done), "n_cancelled": len(change.done)})
        shift(connection, batch_id, moves, revision=batch.revision + 1)
    log_items(
        connection, batch_id, now, actor, "item_cancelled", [(item, "Will not be triggered.") for item in change.done]
    )
    return change


def find_slots(
    connection: Connection, batch_id: str, ids: Sequence[int], at: datetime, now: datetime
) -> tuple[list[tuple[int, datetime]], ItemChange]:
    """The first free slots at or after `at` for those of `ids` that are pending; a time past means now. Only reads.

    Returns (item, time) in the order given, and a change with the items that cannot be moved and why.
    """
    batch, change = _pending_of(connection, batch_id, ids)
    pace = Pace(max_concurrent=batch.max_concurrent, batch_interval=batch.batch_interval)
    earliest = max(at, now, batch.gate_at or now)
    pending = and_(
        items.c.batch_id == batch_id,
        IS_PENDING,
        items.c.execute_at > earliest - pace.interval,
    )
    query = select(items.c.execute_at, func.count()).where(pending).group_by(items.c.execute_at)
    taken = Counter({row[0]: row[1] for row in connection.execute(query)})
    for some in _named(change.done):
        taken.subtract(
            connection.scalars(select(items.c.execute_at).where(pending, among(connection, items.c.position, some)))
        )
    others = sorted((time, count) for time, count in taken.items() if count > 0)
    times = free_slots(len(change.done), earliest, others, pace)
    hours = flow_of(batch.flow).working_hours
    if hours is not None:
        times = [hours.next_open(time) for time in times]
    return list(zip(change.done, times, strict=True)), ItemChange(not_done=change.not_done)


def move_items(
    connection: Connection, batch_id: str, moves: Sequence[tuple[int, datetime]], now: datetime, actor: str
) -> ItemChange:
    """Give those items their new times that are pending; the others are answered with a reason."""
    batch, change = _pending_of(connection, batch_id, [item for item, _ in moves])
    times = dict(moves)
    if change.done:
        moved = [{"position": item, "execute_at": times[item]} for item in change.done]
        update_items(connection, batch_id, moved, by_hand=True)
        shift(connection, batch_id, Counter(), revision=batch.revision + 1)
    said = [(item, f"Due at {times[item]:%Y-%m-%d %H:%M:%S} UTC.") for item in change.done]
    log_items(connection, batch_id, now, actor, "item_rescheduled", said)
    return change


def settle_items(
    connection: Connection,
    batch_id: str,
    ids: Sequence[int],
    choice: Literal["retry", "skip"],
    now: datetime,
    actor: str,
) -> ItemChange:
    """Decide items in doubt: "retry" makes them pending again, "skip" cancels them."""
    batch = find_batch(connection, batch_id)
    done, not_done = _split(connection, batch_id, ids, ItemStatus.IN_DOUBT)
    retry = choice == "retry" and batch.status != BatchStatus.CANCELLED
    to = ItemStatus.PENDING if retry else ItemStatus.CANCELLED
    if done:
        connection.execute(
            update(items)
            .where(items.c.batch_id == batch_id, among(connection, items.c.position, done))
            .values(status=to, settle_at=None, execute_at=now)
        )
        moves = Counter({"n_in_doubt": -len(done), f"n_{to}": len(done)})
        shift(connection, batch_id, moves, revision=batch.revision + 1)
    said = "It will be sent again." if retry else "It will not be sent again."
    log_items(connection, batch_id, now, actor, "settled", [(item, said) for item in done])
    return ItemChange(done=tuple(done), not_done=not_done)


def _pending_of(connection: Connection, batch_id: str, ids: Sequence[int]) -> tuple[Row[Any], ItemChange]:
    batch = find_batch(connection, batch_id)
    done, not_done = _split(connection, batch_id, ids, ItemStatus.PENDING)
    return batch, ItemChange(done=tuple(done), not_done=not_done)


def _split(
    connection: Connection, batch_id: str, ids: Sequence[int], wanted: ItemStatus
) -> tuple[list[int], dict[int, str]]:
    """Those of `ids` that are in the wanted state, in order, and for the others why not. Raises NotFoundError."""
    chosen = dict.fromkeys(ids)
    query = select(items.c.position, items.c.status).where(items.c.batch_id == batch_id)
    states = {
        row.position: ItemStatus(row.status)
        for some in _named(list(chosen))
        for row in connection.execute(query.where(among(connection, items.c.position, some)))
    }
    unknown = [item for item in chosen if item not in states]
    if unknown:
        total = find_batch(connection, batch_id).total
        raise NotFoundError(f"Batch {batch_id} has no item {unknown[0]}; its items are 0 to {total - 1}.")
    done = [item for item in chosen if states[item] is wanted]
    return done, {item: WHY_NOT[states[item]] for item in chosen if states[item] is not wanted}


def _named(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[first : first + _MOST_NAMED] for first in range(0, len(ids), _MOST_NAMED))
