"""Writing a new batch: its row, then its items chunk by chunk, then the moment it becomes visible."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from batchkit.core.lifecycle import BatchStatus, ItemStatus
from batchkit.core.profile import ProfileRef
from batchkit.core.record import NewBatch
from batchkit.core.request import NewItem
from batchkit.errors import NotFoundError
from batchkit.io.family import check_again
from batchkit.io.ledger import log
from batchkit.io.ownership import owned, viewer_of
from batchkit.io.reading import find_batch, find_begun
from batchkit.io.schema import batches, events, inputs, items, left_out
from batchkit.io.staggering import due_times
from batchkit.io.transaction import count_anew, hold, insert_many

__all__ = ["add_items", "add_left_out", "begin_batch", "delete_unfinished", "publish_batch"]

#: a batch not published after this was left behind by a process that ended
_ABANDONED = timedelta(hours=12)
#: so many new rows change what is the best way to find them
_MANY = 5_000


_THE_OTHERS = (
    select(batches.c.id)
    .where(batches.c.ready, batches.c.status.not_in([status for status in BatchStatus if status.final]))
    .order_by(batches.c.id)
    .with_for_update()
)


def begin_batch(connection: Connection, batch_id: str, new: NewBatch, now: datetime) -> None:
    """Write the batch's row, not yet visible.

    It belongs to whoever makes it, and one that runs rows again to the owner of these, whoever makes it: so he sees
    what was run again, and nothing is sent twice. Raises NotFoundError for rows of a batch that is not there.
    """
    owner, origin = _owner_and_origin(connection, new)
    zero = {column.name: 0 for column in batches.c if column.name.startswith(("n_", "x_"))}
    connection.execute(
        insert(batches).values(
            id=batch_id,
            name=new.name,
            status=BatchStatus.PENDING,
            ready=False,
            owner=owner,
            agent_id=new.agent_id,
            agent_name=new.agent_name,
            version=new.version,
            target=_json(asdict(new.target)),
            max_concurrent=new.pace.max_concurrent,
            batch_interval=new.pace.batch_interval,
            trial=new.trial,
            flow=_json(new.flow.to_dict()) if new.flow.to_dict() else None,
            default_profile=_profile(new.default_profile),
            pool=None if new.pool is None else _json(asdict(new.pool)),
            parent=new.parent,
            origin=origin,
            columns=_json(new.columns),
            mapping=_json(dict(new.mapping)),
            source=new.source,
            fingerprint=new.fingerprint,
            index_kind=None if new.index_kind is None else _json(dict(new.index_kind)),
            created_at=now,
            start_at=new.start_at,
            reason="",
            revision=0,
            epoch=0,
            runner="",
            lease_boot="",
            lease_expires=0.0,
            total=0,
            left_out=0,
            **zero,
        )
    )


def add_items(
    connection: Connection, batch_id: str, new: Sequence[NewItem], labels: Sequence[Any] | None = None
) -> None:
    """Append a chunk of items after those the batch has, due as `staggering.due_times` says.

    labels: of the rows in a DataFrame's index, one an item.
    """
    batch = find_begun(connection, batch_id)
    first: int = batch.total
    earliest = [item.not_before for item in new]
    insert_many(
        connection,
        items,
        [
            {
                "batch_id": batch_id,
                "position": position,
                "status": ItemStatus.PENDING,
                "execute_at": due,
                "not_before": earliest[position - first],
                "by_hand": False,
                "attempt": 0,
                "error": "",
            }
            for position, due in enumerate(due_times(batch, first, earliest), first)
        ],
    )
    insert_many(
        connection,
        inputs,
        [
            {
                "batch_id": batch_id,
                "position": position,
                "row": item.row,
                "line": item.line,
                "cells": _json(item.cells),
                "label": None if labels is None else _json(labels[position - first]),
                "inputs": _json(item.inputs),
                "metadata": _json(item.metadata) if item.metadata else None,
                "profile": _profile(item.profile),
            }
            for position, item in enumerate(new, first)
        ],
    )
    _count(connection, batch_id, total=len(new), n_pending=len(new))


def add_left_out(
    connection: Connection, batch_id: str, rows: Sequence[tuple[int, int | None, Sequence[str], str]]
) -> None:
    """Append rows the policy "drop" left out: (row, line, cells, errors)."""
    find_begun(connection, batch_id)
    insert_many(
        connection,
        left_out,
        [
            {"batch_id": batch_id, "row": row, "line": line, "cells": _json(cells), "errors": errors}
            for row, line, cells, errors in rows
        ],
    )
    _count(connection, batch_id, left_out=len(rows))


def publish_batch(connection: Connection, batch_id: str, actor: str, now: datetime, forced: bool = False) -> None:
    """Make the batch visible: running if its start time has come, else pending.

    forced: of a batch that runs rows again, those that succeeded or still run may be among them. Raises StateError
    for a row that may not be run again.
    """
    # One after the other: two that run the same rows again are not to pass each other unseen.
    hold(connection, "publish")
    row = find_begun(connection, batch_id)
    if row.pool is not None:
        # Whoever claims a row of another batch meanwhile does not know yet that this one limits its profile.
        connection.execute(_THE_OTHERS)
    if row.origin is not None:
        check_again(connection, row, forced=forced)
    if row.total >= _MANY:
        count_anew(connection, items, inputs)
    running = row.start_at <= now or row.trial > 0
    status = BatchStatus.RUNNING if running else BatchStatus.PENDING
    connection.execute(
        update(batches)
        .where(batches.c.id == batch_id)
        .values(ready=True, status=status, started_at=now if running else None)
    )
    rows = f"{row.total:,} rows of {row.source}" if row.source else f"{row.total:,} rows"
    dropped = f", {row.left_out:,} invalid ones left out" if row.left_out else ""
    when = "running at once" if running else f"to start at {row.start_at:%Y-%m-%d %H:%M:%S} UTC"
    tried = f"; the first {row.trial:,} are tried before the rest" if row.trial else ""
    again = f", again from batch {row.parent}" if row.parent else ""
    connection.execute(
        insert(events).values(
            batch_id=batch_id,
            at=now,
            actor=actor,
            kind="created",
            message=f"Created for {row.agent_name} with {rows}{again}{dropped}, {when}{tried}.",
        )
    )
    if row.parent is not None and connection.scalar(select(batches.c.id).where(batches.c.id == row.parent)):
        said = f"{row.total:,} rows are run again as batch {batch_id} ({row.name})."
        log(connection, row.parent, now, actor, "rerun", said)


def delete_unfinished(connection: Connection, now: datetime, batch_id: str | None = None) -> None:
    """Remove a batch that was never published; without `batch_id`, all that were left behind."""
    doomed = select(batches.c.id).where(batches.c.ready.is_(False))
    if batch_id:
        doomed = doomed.where(batches.c.id == batch_id, owned(connection))
    else:
        doomed = doomed.where(batches.c.created_at < now - _ABANDONED)
    ids = list(connection.execute(doomed).scalars())
    for table in (items, inputs, left_out):
        connection.execute(delete(table).where(table.c.batch_id.in_(ids)))
    connection.execute(delete(batches).where(batches.c.id.in_(ids)))


def _owner_and_origin(connection: Connection, new: NewBatch) -> tuple[str, str | None]:
    viewer = viewer_of(connection)
    if new.parent is None:
        return (new.owner if viewer.sees_all else viewer.name), new.origin if viewer.sees_all else None
    try:
        parent = find_batch(connection, new.parent)
    except NotFoundError:
        # Deleted meanwhile, for one who would see it.
        if not viewer.sees_all:
            raise
        return new.owner, new.origin
    return str(parent.owner), str(parent.origin or parent.id)


def _count(connection: Connection, batch_id: str, **more: int) -> None:
    changes: dict[str, Any] = {name: batches.c[name] + count for name, count in more.items()}
    connection.execute(update(batches).where(batches.c.id == batch_id).values(**changes))


def _profile(profile: ProfileRef | None) -> str | None:
    return None if profile is None else _json(asdict(profile))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
