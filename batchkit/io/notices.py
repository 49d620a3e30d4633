"""The outbox of notices: what is still to be sent to the addresses users named, kept until it was delivered."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update

from batchkit.core.notice import NOTICED, Notice, NoticeKind, notice_kind
from batchkit.io.ownership import seen, viewer_of
from batchkit.io.schema import batches, events, notices, sinks
from batchkit.io.transaction import among, hold

__all__ = [
    "NEWS_LOCK",
    "claim_notice",
    "defer_notice",
    "drop_notice",
    "give_up",
    "has_due",
    "last_event",
    "message_id",
    "open_sink",
    "post",
    "read_news",
]

#: a notice that could not be delivered for so long is given up
_KEPT = timedelta(days=3)
#: whoever takes a notice has so long to deliver it before another may
_TAKEN = timedelta(seconds=60)
_MOST = 100
#: held by whoever logs what is told, so that the numbers of the entries appear in their order
NEWS_LOCK = "news"


def open_sink(connection: Connection, sink: str, now: datetime) -> None:
    """Keep notices of what the viewer sees for that sink from now on, if that is not done already."""
    if connection.scalar(select(sinks.c.id).where(sinks.c.id == sink)) is None:
        viewer = viewer_of(connection)
        owner = None if viewer.sees_all else viewer.name
        connection.execute(insert(sinks).values(id=sink, since=now, owner=owner))


def post(connection: Connection, batch_id: str, at: datetime, actor: str, kind: str, message: str) -> None:
    """Put a log entry into the outbox of every sink that is told of the batch, if it is one that is told.

    Sinks of several owners may stand for one address, which then hears of it more than once: see `message_id`.
    """
    if notice_kind(kind, actor) is None:
        return
    common = {"batch_id": batch_id, "kind": kind, "message": message, "at": at, "due_at": at, "tries": 0}
    owner = select(batches.c.owner).where(batches.c.id == batch_id).scalar_subquery()
    told = select(sinks.c.id).where(or_(sinks.c.owner.is_(None), sinks.c.owner == owner))
    entry = f"msg_{secrets.token_hex(16)}"
    rows = [common | {"id": f"{entry}.{n}", "sink": sink} for n, sink in enumerate(connection.scalars(told))]
    if rows:
        connection.execute(insert(notices), rows)


def claim_notice(connection: Connection, sink: str, now: datetime) -> tuple[str, str, int] | None:
    """The next notice of the sink that is due: its id, its body and how often it was tried; None: there is none.

    Nobody else is given it for a minute.
    """
    due = select(notices).where(notices.c.sink == sink, notices.c.due_at <= now)
    due = due.order_by(notices.c.due_at, notices.c.id).limit(1)
    row = connection.execute(due.with_for_update(skip_locked=True)).first()
    if row is None:
        return None
    body = row.body or _body(connection, row)
    changed = {"due_at": now + _TAKEN, "tries": row.tries + 1, "body": body}
    connection.execute(update(notices).where(notices.c.id == row.id).values(**changed))
    return str(row.id), str(body), int(row.tries)


def message_id(notice_id: str) -> str:
    """By what the receiver knows a notice that comes again, be it from another try or for another sink."""
    return notice_id.partition(".")[0]


def give_up(connection: Connection, sink: str, host: str, now: datetime) -> list[tuple[str, str]]:
    """Drop the sink's notices that are too old, and say so in their batches' logs; returns batch and what was said.

    Not those that somebody is delivering.
    """
    old = (notices.c.sink == sink, notices.c.at < now - _KEPT, notices.c.due_at <= now)
    # One statement: what another worker gives up at the same time is not among what comes back.
    gone = connection.execute(delete(notices).where(*old).returning(*notices.c)).all()
    rows = sorted(gone, key=lambda row: (row.at, row.id))
    kept = among(connection, batches.c.id, list({row.batch_id for row in rows}))
    known = set(connection.scalars(select(batches.c.id).where(kept))) if rows else set()
    told = [(row, _given_up(row, host)) for row in rows]
    lines = [
        {"batch_id": row.batch_id, "at": now, "actor": "batchkit", "kind": "notice_dropped", "message": said}
        for row, said in told
        if row.batch_id in known
    ]
    if lines:
        connection.execute(insert(events), lines)
    return [(str(row.batch_id), said) for row, said in told]


def has_due(connection: Connection, sink: str, now: datetime) -> bool:
    """Whether a notice of the sink is due."""
    due = select(notices.c.id).where(notices.c.sink == sink, notices.c.due_at <= now)
    return connection.scalar(due.limit(1)) is not None


def drop_notice(connection: Connection, notice_id: str) -> None:
    """It was delivered, or never will be."""
    connection.execute(delete(notices).where(notices.c.id == notice_id))


def defer_notice(connection: Connection, notice_id: str, until: datetime) -> None:
    """It was not delivered, and is tried again then."""
    connection.execute(update(notices).where(notices.c.id == notice_id).values(due_at=until))


def last_event(connection: Connection) -> int:
    """The number of the newest log entry, 0 for none."""
    return connection.scalar(select(func.max(events.c.id))) or 0


def read_news(connection: Connection, after: int) -> tuple[list[Notice], int]:
    """What is told of the log entries after number `after`, and up to which number this is."""
    hold(connection, NEWS_LOCK)
    last = last_event(connection)
    if last <= after:
        return [], after
    query = (
        select(events, batches.c.name)
        .join(batches, batches.c.id == events.c.batch_id)
        .where(seen(connection), events.c.id > after, events.c.position.is_(None), events.c.kind.in_(NOTICED))
        .order_by(events.c.id)
        .limit(_MOST)
    )
    rows = connection.execute(query).all()
    told = [
        Notice(kind=kind, batch_id=row.batch_id, name=row.name, at=row.at, message=row.message)
        for row in rows
        if (kind := notice_kind(row.kind, row.actor)) is not None
    ]
    return told, rows[-1].id if len(rows) == _MOST else last


def _given_up(row: Row[Any], host: str) -> str:
    start = f"The notice {str(row.kind).replace('_', ' ')!r} of {row.at:%Y-%m-%d %H:%M} UTC is given up: "
    if not row.tries:
        return (
            f"{start}in {_KEPT.days} days nobody tried to send it to {host}. That is done while a workspace or worker "
            "runs that has this address for notices."
        )
    tries = "its only try" if row.tries == 1 else f"any of {row.tries:,} tries"
    return (
        f"{start}{host} did not take it in {tries}, over {_KEPT.days} days. See that the address for notices is right "
        "and answers."
    )


def _body(connection: Connection, row: Row[Any]) -> str:
    """What is sent: the event, with the batch's counts where it is still there."""
    data: dict[str, Any] = {"batch_id": row.batch_id, "message": row.message}
    batch = connection.execute(select(batches).where(batches.c.id == row.batch_id)).first()
    if batch is not None:
        items = ("pending", "triggering", "triggered", "cancelled", "refused", "in_doubt")
        executions = ("running", "waiting", "succeeded", "failed", "cancelled")
        data |= {
            "name": batch.name,
            "status": batch.status,
            "agent": batch.agent_name,
            "progress": {"total": batch.total} | {name: getattr(batch, f"n_{name}") for name in items},
            "executions": {name: getattr(batch, f"x_{name}") for name in executions},
        }
    document = {
        "type": f"batch.{NoticeKind(row.kind)}",
        "timestamp": row.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "data": data,
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
