"""Webhooks written down: each once, in any order, before or after the answer to the request they are about."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, exists, insert, select, update

from batchkit.core.execution import Execution, ExecutionOutcome, ExecutionStatus
from batchkit.core.heard import Heard, Hearing, told
from batchkit.core.outcome import Triggered
from batchkit.core.record import ItemOutcome
from batchkit.io.finish import note_finish
from batchkit.io.ledger import shift
from batchkit.io.outcomes import note_executions, record_outcomes
from batchkit.io.ownership import seen, viewer_of
from batchkit.io.reading import execution_of, hold_batch
from batchkit.io.schema import batches, heard, items

__all__ = ["ANY_KEPT", "apply_kept", "hear"]

#: what belongs to no execution by then never will
_KEPT = timedelta(days=1)
#: whether anything is kept for executions that are not known yet
ANY_KEPT = exists().where(heard.c.kept.is_not(None)).label("any_kept")
_ITEMS = select(items).where(
    items.c.batch_id == bindparam("b_id"), items.c.position.in_(bindparam("b_positions", expanding=True))
)


def hear(connection: Connection, news: Sequence[Heard], now: datetime) -> list[Hearing]:
    """Write down what webhooks tell; returns what was done with each.

    What an event id said is never applied twice. An event is matched by its execution's metadata, which also shows
    that a request arrived whose answer is not recorded yet. One without them is kept until its execution is known.
    """
    query = select(heard.c.event_id).where(heard.c.event_id.in_([each.event_id for each in news]))
    known = set(connection.scalars(query))
    done: dict[int, Hearing] = {}
    groups: dict[str, list[int]] = defaultdict(list)
    for number, each in enumerate(news):
        if each.event_id in known:
            done[number] = Hearing.DUPLICATE
        else:
            known.add(each.event_id)
            groups[each.batch_id].append(number)
    # In order, so that two who hear of the same batches do not wait for each other.
    for batch_id in sorted(groups):
        hold_batch(connection, batch_id)
    for number in groups.pop("", ()):
        # It may be about anybody's execution.
        sees_all = viewer_of(connection).sees_all
        done[number] = _keep(connection, news[number], now) if sees_all else Hearing.IGNORED
    for batch_id, numbers in groups.items():
        found = _hear_of_batch(connection, batch_id, [news[number] for number in numbers], now)
        done |= dict(zip(numbers, found, strict=True))
    return [done[number] for number in range(len(news))]


def apply_kept(connection: Connection, batch_id: str, outcomes: Sequence[ItemOutcome]) -> bool:
    """Apply what was kept for executions that have just been recorded; whether there was any."""
    known = {each.outcome.execution.id: each for each in outcomes if isinstance(each.outcome, Triggered)}
    query = select(heard).where(heard.c.kept.is_not(None), heard.c.execution_id.in_(list(known)))
    rows = connection.execute(query).all()
    if not rows:
        return False
    news = [replace(_restored(row), batch_id=batch_id, item=known[row.execution_id].item) for row in rows]
    _apply(connection, batch_id, news)
    done = heard.c.event_id.in_([each.event_id for each in news])
    connection.execute(update(heard).where(done).values(kept=None, execution_id=None))
    return True


def _hear_of_batch(connection: Connection, batch_id: str, news: Sequence[Heard], now: datetime) -> list[Hearing]:
    batch = connection.execute(select(batches).where(batches.c.id == batch_id, seen(connection))).first()
    if batch is None:
        return [Hearing.IGNORED] * len(news)
    _record_early(connection, batch, news, now)
    found = _apply(connection, batch_id, news)
    fresh = [each for each, what in zip(news, found, strict=True) if what is not Hearing.IGNORED]
    if fresh:
        connection.execute(insert(heard), [{"event_id": each.event_id, "heard_at": now} for each in fresh])
        shift(connection, batch_id, Counter(), heard_at=now)
    note_finish(connection, batch_id, now)
    return found


def _record_early(connection: Connection, batch: Row[Any], news: Sequence[Heard], now: datetime) -> None:
    """An event about an attempt whose answer is not recorded yet shows what the answer is."""
    rows = _items_of(connection, batch.id, news)
    early: dict[int, ItemOutcome] = {}
    for each in news:
        row = rows.get(each.item)
        if row is not None and row.execution_id is None and row.attempt == each.attempt:
            execution = Execution(id=each.execution.id, status=ExecutionStatus.STARTING)
            early[each.item] = ItemOutcome(
                item=each.item, attempt=each.attempt, outcome=Triggered(execution=execution), at=now
            )
    if early:
        outcomes = list(early.values())
        shift(connection, batch.id, record_outcomes(connection, batch, outcomes))
        apply_kept(connection, batch.id, outcomes)


def _apply(connection: Connection, batch_id: str, news: Sequence[Heard]) -> list[Hearing]:
    """Move executions forward by what is told of them, in the order in which it happened."""
    rows = _items_of(connection, batch_id, news)
    changed: dict[int, Execution] = {}
    latest: dict[int, datetime] = {}
    found: dict[int, Hearing] = {}
    for number, each in sorted(enumerate(news), key=lambda pair: pair[1].at):
        row = rows.get(each.item)
        if row is None or row.execution_id != each.execution.id:
            found[number] = Hearing.IGNORED
            continue
        known = changed.get(each.item) or execution_of(row)
        assert known is not None
        last = latest.get(each.item, row.x_heard)
        after = told(known, each, last)
        found[number] = Hearing.OUTDATED if after is None else Hearing.APPLIED
        if after is not None:
            changed[each.item] = after
            latest[each.item] = max(each.at, last or each.at)
    if changed:
        note_executions(connection, batch_id, list(changed.items()), heard=latest)
    return [found[number] for number in range(len(news))]


def _items_of(connection: Connection, batch_id: str, news: Sequence[Heard]) -> dict[int, Row[Any]]:
    positions = list({each.item for each in news})
    found = connection.execute(_ITEMS, {"b_id": batch_id, "b_positions": positions})
    return {row.position: row for row in found}


def _keep(connection: Connection, each: Heard, now: datetime) -> Hearing:
    """Keep an event that names no item until its execution is known."""
    connection.execute(delete(heard).where(heard.c.kept.is_not(None), heard.c.heard_at < now - _KEPT))
    said = each.execution
    kept = {
        "at": each.at.isoformat(),
        "began": each.began,
        "status": said.status,
        "outcome": said.outcome,
        "reasoning": said.reasoning,
        "result": said.result,
        "error": said.error,
        "url": said.url,
    }
    values = {"event_id": each.event_id, "heard_at": now, "execution_id": said.id, "kept": json.dumps(kept)}
    connection.execute(insert(heard).values(**values))
    return Hearing.KEPT


def _restored(row: Row[Any]) -> Heard:
    kept = json.loads(row.kept)
    execution = Execution(
        id=row.execution_id,
        status=ExecutionStatus(kept["status"]),
        outcome=None if kept["outcome"] is None else ExecutionOutcome(kept["outcome"]),
        reasoning=kept["reasoning"],
        result=kept["result"],
        error=kept["error"],
        url=kept["url"],
    )
    at = datetime.fromisoformat(kept["at"])
    return Heard(event_id=row.event_id, at=at, execution=execution, began=kept["began"])
