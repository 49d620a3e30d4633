"""When the items of a batch are due: by the formula, by its working hours, and by a row's own earliest time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, and_, case, func, literal, select, type_coerce, update

from batchkit.core.flow import Flow
from batchkit.core.schedule import Pace
from batchkit.core.slots import Slots
from batchkit.io.item_updates import update_items
from batchkit.io.schema import IS_PENDING, items, microseconds

__all__ = ["due_times", "flow_of", "stagger", "stagger_from"]

#: from so many on it counts how long giving them new times takes; how many get theirs in a second on a modest machine
_MANY = 20_000
_MOVED_A_SECOND = {"sqlite": 60_000, "postgresql": 12_000}


@lru_cache(maxsize=256)
def flow_of(text: str | None) -> Flow:
    """The limits kept as JSON."""
    return Flow() if text is None else Flow.from_dict(json.loads(text))


def due_times(batch: Row[Any], first: int, earliest: Sequence[datetime | None]) -> Iterator[datetime]:
    """Yield when new items are due: the first has the position `first`, and each may have an earliest time of its own.

    Those of a trial are due at once, whatever the start time and the hours.
    """
    pace = Pace(max_concurrent=batch.max_concurrent, batch_interval=batch.batch_interval)
    slots = Slots(pace=pace, start=batch.start_at, hours=flow_of(batch.flow).working_hours)
    tried = Slots(pace=pace, start=min(batch.start_at, batch.created_at))
    for position, not_before in enumerate(earliest, first):
        mine = tried if position < batch.trial else slots
        due = mine.slot(position // pace.max_concurrent)
        yield due if not_before is None or not_before <= due else mine.at_or_after(not_before)


def stagger_from(connection: Connection, batch: Row[Any], now: datetime) -> int:
    """Stagger the pending items anew, from now or the moment the rate rule allows; returns how many moved."""
    pace = Pace(max_concurrent=batch.max_concurrent, batch_interval=batch.batch_interval)
    return stagger(connection, batch, pace, max(now, batch.gate_at or now))


def stagger(connection: Connection, batch: Row[Any], pace: Pace, start: datetime) -> int:
    """Give pending items new times from `start`, as `core.schedule.restagger` says; returns how many moved.

    What the user set by hand and lies ahead stays. Of very many, the first is due when they all have their times.
    """
    if pace.batch_interval and batch.n_pending > _MANY:
        start += timedelta(seconds=batch.n_pending / _MOVED_A_SECOND[connection.dialect.name])
    moving = and_(
        items.c.batch_id == batch.id,
        IS_PENDING,
        (items.c.by_hand.is_(False)) | (items.c.execute_at <= start),
    )
    hours = flow_of(batch.flow).working_hours
    if hours is not None:
        return _stagger_one_by_one(connection, batch.id, moving, Slots(pace=pace, start=start, hours=hours))
    ranked = (
        select(
            items.c.position,
            (func.row_number().over(order_by=(items.c.execute_at, items.c.position)) - 1).label("rank"),
        )
        .where(moving)
        .subquery()
    )
    begin = literal(microseconds(start), BigInteger)
    seconds = pace.interval // timedelta(microseconds=1)
    interval = literal(seconds, BigInteger)
    by_formula = begin + ranked.c.rank // pace.max_concurrent * interval
    own = type_coerce(items.c.not_before, BigInteger)
    own_slot = begin + (own - begin + interval - 1) // interval * interval if seconds else own
    return connection.execute(
        update(items)
        .where(items.c.batch_id == batch.id, items.c.position == ranked.c.position)
        .values(execute_at=case((own > by_formula, own_slot), else_=by_formula), by_hand=False)
    ).rowcount


def _stagger_one_by_one(connection: Connection, batch_id: str, moving: Any, slots: Slots) -> int:
    query = select(items.c.position, items.c.not_before).where(moving).order_by(items.c.execute_at, items.c.position)
    moves = []
    for rank, row in enumerate(connection.execute(query)):
        due = slots.slot(rank // slots.pace.max_concurrent)
        if row.not_before is not None and row.not_before > due:
            due = slots.at_or_after(row.not_before)
        moves.append({"position": row.position, "execute_at": due})
    update_items(connection, batch_id, moves, by_hand=False)
    return len(moves)
