"""Reading what a list shows: an overview of the batches, and any page of a batch's items at the same cost."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, bindparam, func, or_, select

from batchkit.core.execution import ExecutionOutcome, ExecutionStatus
from batchkit.core.lifecycle import BatchStatus, ItemStatus
from batchkit.core.listing import ExecutionFilter, ItemQuery, Overview, Relative
from batchkit.core.record import ItemRecord
from batchkit.core.request import NewItem
from batchkit.errors import NotFoundError
from batchkit.io.ownership import count_others, seen
from batchkit.io.reading import BATCH, batch_of, check_seen, find_batch, profile_of, read_items
from batchkit.io.schema import IS_PENDING, batches, inputs, items
from batchkit.io.text_search import any_cell_holds, holds

__all__ = ["read_ahead", "read_input", "read_overview", "read_page", "read_positions"]

#: so few are sorted faster than they are found in the index by time
_FEW = 20_000
#: a row's number has fewer
_ROW_DIGITS = 10
#: so many of an execution's id tell it from others
_ID_CHARACTERS = 4
_LAST_DUE = (
    select(items.c.execute_at)
    .where(items.c.batch_id == bindparam("b_id"), IS_PENDING)
    .order_by(items.c.execute_at.desc())
    .limit(1)
)
_FAILURE = (items.c.x_status == ExecutionStatus.COMPLETED) & (items.c.x_outcome == ExecutionOutcome.FAILURE)
_EXECUTIONS: dict[ExecutionFilter, ColumnElement[bool]] = {
    "running": items.c.x_status.in_([each for each in ExecutionStatus if not each.terminal and not each.needs_person]),
    "waiting": items.c.x_status.in_([each for each in ExecutionStatus if each.needs_person]),
    "succeeded": (items.c.x_status == ExecutionStatus.COMPLETED)
    & (items.c.x_outcome.is_(None) | (items.c.x_outcome != ExecutionOutcome.FAILURE)),
    "failed": (items.c.x_status == ExecutionStatus.FAILED) | _FAILURE,
    "cancelled": items.c.x_status == ExecutionStatus.CANCELLED,
    "timed_out": items.c.x_timed_out.is_(True),
}


def read_overview(
    connection: Connection,
    boot: tuple[str, float],
    *,
    agent_id: str | None = None,
    statuses: Iterable[BatchStatus] = (),
    text: str = "",
    archived: bool | None = False,
    limit: int,
) -> Overview:
    """The newest `limit` batches that match. text: a part of the name, the file's name, the agent's name or the id."""
    conditions: list[Any] = [seen(connection)]
    if agent_id is not None:
        conditions.append(batches.c.agent_id == agent_id)
    if chosen := list(statuses):
        conditions.append(batches.c.status.in_(chosen))
    if archived is not None:
        conditions.append(batches.c.archived.is_(archived))
    if text:
        searched = batches.c.name + "\n" + batches.c.source + "\n" + batches.c.agent_name + "\n" + batches.c.id
        conditions.append(holds(connection, searched, text))
    query = select(*BATCH).where(*conditions).order_by(batches.c.created_at.desc(), batches.c.id).limit(limit)
    rows = connection.execute(query).all()
    by_archived = connection.execute(
        select(batches.c.archived, func.count()).where(seen(connection)).group_by(batches.c.archived)
    )
    counts = {bool(row[0]): int(row[1]) for row in by_archived}
    agents = connection.execute(select(batches.c.agent_id, batches.c.agent_name).where(seen(connection)).distinct())
    last_due = {row.id: connection.scalar(_LAST_DUE, {"b_id": row.id}) for row in rows if row.n_pending}
    return Overview(
        batches=tuple(batch_of(connection, row, boot) for row in rows),
        matching=connection.scalar(select(func.count()).select_from(batches).where(*conditions)) or 0,
        stored=sum(counts.values()),
        archived=counts.get(True, 0),
        agents=dict(sorted((row.agent_id, row.agent_name) for row in agents)),
        last_due={batch_id: due for batch_id, due in last_due.items() if due is not None},
        relatives=_relatives(connection, rows),
        others=count_others(connection),
    )


def _relatives(connection: Connection, rows: Sequence[Row[Any]]) -> tuple[Relative, ...]:
    origins = {row.origin or row.id for row in rows}
    query = select(batches.c.id, batches.c.name, batches.c.parent, batches.c.origin).where(
        seen(connection), batches.c.id.in_(origins) | batches.c.origin.in_(origins)
    )
    return tuple(
        Relative(id=row.id, name=row.name, parent=row.parent, origin=row.origin or row.id)
        for row in connection.execute(query.order_by(batches.c.created_at, batches.c.id))
    )


def read_page(connection: Connection, batch_id: str, query: ItemQuery) -> tuple[list[ItemRecord], int]:
    """The items `query` asks for, and how many match. Raises NotFoundError."""
    matching = _matching(connection, find_batch(connection, batch_id), query)
    if query.offset >= matching:
        return [], matching
    count = min(query.limit, matching - query.offset)
    if query.order == "row" and not (query.statuses or query.execution or query.text):
        # Positions have no gaps.
        first = matching - query.offset - count if query.descending else query.offset
        found = read_items(connection, batch_id, after=(first - 1,), limit=count)
        return (found[::-1] if query.descending else found), matching
    # The nearer end is begun from: what is passed over is read, too.
    from_end = matching - query.offset - count
    backward = from_end < query.offset
    chosen = _positions(connection, batch_id, query, matching, downward=query.descending != backward)
    keys = list(connection.scalars(chosen.limit(count).offset(from_end if backward else query.offset)))
    if backward:
        keys.reverse()
    records = {record.item: record for record in read_items(connection, batch_id, positions=keys)}
    return [records[key] for key in keys], matching


def _matching(connection: Connection, batch: Row[Any], query: ItemQuery) -> int:
    """How many items match: from what the batch counts, unless for a text."""
    if query.text:
        return connection.scalar(_filtered(connection, select(func.count()).select_from(items), batch.id, query)) or 0
    if query.execution is None:
        return sum(getattr(batch, f"n_{status}") for status in query.statuses) if query.statuses else int(batch.total)
    if query.statuses and ItemStatus.TRIGGERED not in query.statuses:
        return 0
    return int(getattr(batch, f"x_{query.execution}"))


def _positions(
    connection: Connection, batch_id: str, query: ItemQuery, matching: int, *, downward: bool
) -> Select[Any]:
    chosen = _filtered(connection, select(items.c.position), batch_id, query)
    if query.order == "time" and matching > _FEW and query.statuses != (ItemStatus.PENDING,):
        chosen = chosen.with_hint(items, "INDEXED BY item_by_time", "sqlite")
    columns: dict[str, list[Any]] = {
        "row": [items.c.position],
        "time": [items.c.execute_at, items.c.position],
        "status": [items.c.status, items.c.position],
    }
    keys = columns[query.order]
    return chosen.order_by(*(key.desc() for key in keys)) if downward else chosen.order_by(*keys)


def _filtered(connection: Connection, chosen: Select[Any], batch_id: str, query: ItemQuery) -> Select[Any]:
    chosen = chosen.where(items.c.batch_id == batch_id)
    if len(query.statuses) == 1:
        chosen = chosen.where(items.c.status == query.statuses[0])
    elif query.statuses:
        chosen = chosen.where(items.c.status.in_(query.statuses))
    if query.execution is not None:
        # Only what was triggered has an execution.
        chosen = chosen.where(items.c.status == ItemStatus.TRIGGERED, _EXECUTIONS[query.execution])
    return chosen.where(_holding(connection, batch_id, query.text)) if query.text else chosen


def _holding(connection: Connection, batch_id: str, text: str) -> ColumnElement[bool]:
    """Whether an item has that text where its user would look for it."""
    written = any_cell_holds(connection, inputs.c.cells, text)
    if text.isdecimal() and len(text) < _ROW_DIGITS:
        written |= inputs.c.row == int(text)
    rows = select(inputs.c.position).where(inputs.c.batch_id == batch_id, written)
    said = [holds(connection, column, text) for column in (items.c.error, items.c.x_error)]
    if len(text) >= _ID_CHARACTERS:
        said.append(items.c.execution_id.istartswith(text, autoescape=True))
    return or_(items.c.position.in_(rows), *said)


def read_positions(connection: Connection, batch_id: str, query: ItemQuery, after: int) -> list[int]:
    """The positions of the next items after `after` that match, in row order; `query` says how many."""
    check_seen(connection, batch_id)
    chosen = _filtered(connection, select(items.c.position), batch_id, query).where(items.c.position > after)
    return list(connection.scalars(chosen.order_by(items.c.position).limit(query.limit)))


def read_ahead(connection: Connection, batch_id: str, item: int) -> int:
    """How many pending items are sent before `item`."""
    check_seen(connection, batch_id)
    mine = select(items.c.execute_at).where(items.c.batch_id == batch_id, items.c.position == item).scalar_subquery()
    query = select(func.count()).where(
        items.c.batch_id == batch_id,
        IS_PENDING,
        or_(items.c.execute_at < mine, and_(items.c.execute_at == mine, items.c.position < item)),
    )
    return connection.scalar(query) or 0


def read_input(connection: Connection, batch_id: str, item: int) -> NewItem:
    """What was read from the file for one item. Raises NotFoundError."""
    find_batch(connection, batch_id)
    row = connection.execute(
        select(inputs).where(inputs.c.batch_id == batch_id, inputs.c.position == item)
    ).one_or_none()
    if row is None:
        raise NotFoundError(f"Batch {batch_id} has no item {item}.")
    return NewItem(
        row=row.row,
        line=row.line,
        cells=tuple(json.loads(row.cells)),
        inputs=json.loads(row.inputs),
        metadata=json.loads(row.metadata) if row.metadata else {},
        profile=profile_of(row.profile),
    )
