"""What users' commands write: pause, resume, cancel, and the same on single items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Row, and_, func, select, update

from batchkit.core.lifecycle import BatchStatus, ItemStatus, check_batch_move
from batchkit.core.record import ItemChange
from batchkit.core.schedule import Pace, free_slots
from batchkit.errors import NotFoundError, StateError
from batchkit.io.ledger import log, shift
from batchkit.io.reading import find_batch
from batchkit.io.schema import items, microseconds

__all__ = [
    "cancel_batch",
    "cancel_items",
    "pause_batch",
    "reschedule_items",
    "resume_batch",
    "settle_items",
    "stagger_from",
]


def pause_batch(connection: Connection, batch_id: str, now: datetime, actor: str, reason: str = "") -> None:
    """running → paused. Raises StateError."""
    batch = find_batch(connection, batch_id)
    check_batch_move(BatchStatus(batch.status), BatchStatus.PAUSED)
    shift(connection, batch_id, Counter(), status=BatchStatus.PAUSED, reason=reason, revision=batch.revision + 1)
    log(connection, batch_id, now, actor, "paused", reason or f"{batch.n_pending:,} rows wait.")


def resume_batch(connection: Connection, batch_id: str, now: datetime, actor: str) -> None:
    """paused → running, the pending items staggered from now. Raises StateError."""
    batch = find_batch(connection, batch_id)
    if batch.status == BatchStatus.PENDING:
        raise StateError(
            f"A pending batch cannot be resumed: it starts by itself at {batch.start_at:%Y-%m-%d %H:%M:%S} UTC."
        )
    check_batch_move(BatchStatus(batch.status), BatchStatus.RUNNING)
    moved = stagger_from(connection, batch, now)
    shift(connection, batch_id, Counter(), status=BatchStatus.RUNNING, reason="", revision=batch.revision + 1)
    log(connection, batch_id, now, actor, "resumed", f"{moved:,} pending rows have new times, from now on.")


def stagger_from(connection: Connection, batch: Row[Any], now: datetime) -> int:
    """Stagger the pending items anew, from now or the moment the rate rule allows; returns how many moved."""
    pace = Pace(max_concurrent=batch.max_concurrent, batch_interval=batch.batch_interval)
    return _restagger(connection, batch.id, pace, max(now, batch.gate_at or now))


def cancel_batch(connection: Connection, batch_id: str, now: datetime, actor: str) -> None:
    """To cancelled; pending items are cancelled, what was triggered goes on. Raises StateError."""
    batch = find_batch(connection, batch_id)
    check_batch_move(BatchStatus(batch.status), BatchStatus.CANCELLED)
    changed = connection.execute(
        update(items)
        .where(items.c.batch_id == batch_id, items.c.status == ItemStatus.PENDING)
        .values(status=ItemStatus.CANCELLED)
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
            .where(items.c.batch_id == batch_id, items.c.position.in_(change.done))
            .values(status=ItemStatus.CANCELLED)
        )
        moves = Counter({"n_pending": -len(change.done), "n_cancelled": len(change.done)})
        shift(connection, batch_id, moves, revision=batch.revision + 1)
    for item in change.done:
        log(connection, batch_id, now, actor, "item_cancelled", "Will not be triggered.", item)
    return change


def reschedule_items(
    connection: Connection, batch_id: str, ids: Sequence[int], at: datetime, now: datetime, actor: str
) -> ItemChange:
    """Move those of `ids` that are pending to the first free slots at or after `at`; a time past means now."""
    batch, change = _pending_of(connection, batch_id, ids)
    if not change.done:
        return change
    pace = Pace(max_concurrent=batch.max_concurrent, batch_interval=batch.batch_interval)
    earliest = max(at, now, batch.gate_at or now)
    moving = set(change.done)
    rows = connection.execute(
        select(items.c.execute_at, func.count())
        .where(
            items.c.batch_id == batch_id,
            items.c.status == ItemStatus.PENDING,
            items.c.execute_at > earliest - pace.interval,
            items.c.position.not_in(moving),
        )
        .group_by(items.c.execute_at)
        .order_by(items.c.execute_at)
    ).all()
    times = free_slots(len(change.done), earliest, [(row[0], row[1]) for row in rows], pace)
    for item, due in zip(change.done, times, strict=True):
        connection.execute(
            update(items)
            .where(items.c.batch_id == batch_id, items.c.position == item)
            .values(execute_at=due, by_hand=True)
        )
        log(connection, batch_id, now, actor, "item_rescheduled", f"Due at {due:%Y-%m-%d %H:%M:%S} UTC.", item)
    shift(connection, batch_id, Counter(), revision=batch.revision + 1)
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
            .where(items.c.batch_id == batch_id, items.c.position.in_(done))
            .values(status=to, settle_at=None, execute_at=now)
        )
        moves = Counter({"n_in_doubt": -len(done), f"n_{to}": len(done)})
        shift(connection, batch_id, moves, revision=batch.revision + 1)
    for item in done:
        said = "It will be sent again." if retry else "It will not be sent again."
        log(connection, batch_id, now, actor, "settled", said, item)
    return ItemChange(done=tuple(done), not_done=not_done)


def _pending_of(connection: Connection, batch_id: str, ids: Sequence[int]) -> tuple[Row[Any], ItemChange]:
    batch = find_batch(connection, batch_id)
    done, not_done = _split(connection, batch_id, ids, ItemStatus.PENDING)
    return batch, ItemChange(done=tuple(done), not_done=not_done)


def _split(
    connection: Connection, batch_id: str, ids: Sequence[int], wanted: ItemStatus
) -> tuple[list[int], dict[int, str]]:
    """Those of `ids` that are in the wanted state, in order, and for the others why not. Raises NotFoundError."""
    query = select(items.c.position, items.c.status).where(items.c.batch_id == batch_id, items.c.position.in_(ids))
    states = {row.position: ItemStatus(row.status) for row in connection.execute(query)}
    unknown = [item for item in ids if item not in states]
    if unknown:
        total = find_batch(connection, batch_id).total
        raise NotFoundError(f"Batch {batch_id} has no item {unknown[0]}; its items are 0 to {total - 1}.")
    chosen = dict.fromkeys(ids)
    done = [item for item in chosen if states[item] is wanted]
    return done, {item: _WHY_NOT[states[item]] for item in chosen if states[item] is not wanted}


_WHY_NOT = {
    ItemStatus.PENDING: "it is pending, not in doubt",
    ItemStatus.TRIGGERING: "it is being sent",
    ItemStatus.TRIGGERED: "it was already triggered",
    ItemStatus.CANCELLED: "it is cancelled",
    ItemStatus.REFUSED: "it was refused",
    ItemStatus.IN_DOUBT: "it is in doubt: settle it first",
}


def _restagger(connection: Connection, batch_id: str, pace: Pace, now: datetime) -> int:
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
