"""One visit of a runner to the store: outcomes in, claims out, in one transaction with few statements."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping as MappingLike
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, func, select, update

from batchkit.core.lifecycle import BatchStatus, ItemStatus
from batchkit.core.profile import ProfileRef
from batchkit.core.record import Claim, ItemOutcome, Lease, Tick
from batchkit.core.request import TriggerRequest
from batchkit.io.admission import admitted, too_many_failed
from batchkit.io.clock_changes import change_of_clock, lead_over_noted, note_of_clock, realigned
from batchkit.io.finish import is_news, note_finish
from batchkit.io.leases import is_held, lease_time, needs_renewal
from batchkit.io.ledger import log
from batchkit.io.outcomes import record_outcomes
from batchkit.io.pool_claims import choose
from batchkit.io.reading import BATCH, batch_of, find_batch, next_tried, profile_of, read_row
from batchkit.io.schema import IS_PENDING, batches, inputs, items
from batchkit.io.staggering import flow_of
from batchkit.io.webhook_events import ANY_KEPT, apply_kept

__all__ = ["look", "visit"]

_JOINED = select(
    items.c.position,
    items.c.attempt,
    items.c.execute_at,
    inputs.c.row,
    inputs.c.inputs,
    inputs.c.metadata,
    inputs.c.profile,
).join(inputs, and_(inputs.c.batch_id == items.c.batch_id, inputs.c.position == items.c.position))
_DUE = (
    _JOINED.where(
        items.c.batch_id == bindparam("b_batch"),
        IS_PENDING,
        items.c.execute_at <= bindparam("b_until"),
    )
    .order_by(items.c.execute_at, items.c.position)
    .limit(bindparam("b_limit"))
    .with_for_update(skip_locked=True, of=items)
)
_DUE_TRIED = _DUE.where(items.c.position < bindparam("b_trial"))
_THESE = _JOINED.where(
    items.c.batch_id == bindparam("b_batch"), items.c.position.in_(bindparam("b_positions", expanding=True))
).order_by(items.c.execute_at, items.c.position)
_CLAIM = (
    update(items)
    .where(items.c.batch_id == bindparam("b_batch"), items.c.position.in_(bindparam("b_positions", expanding=True)))
    .values(
        status=ItemStatus.TRIGGERING,
        attempt=items.c.attempt + 1,
        intent_at=bindparam("b_now"),
        profile_id=bindparam("b_profile"),
    )
)
_NEXT_SETTLE = select(func.min(items.c.settle_at)).where(
    items.c.batch_id == bindparam("b_batch"), items.c.status == ItemStatus.IN_DOUBT
)

#: a runner claims a group no longer than this before it may start
_NEAR = timedelta(milliseconds=250)


def look(connection: Connection, lease: Lease, now: datetime, boot: tuple[str, float]) -> Tick | None:
    """What a visit without outcomes and claims would bring back; None if it would have to write."""
    batch = find_batch(connection, lease.batch_id)
    if is_held(batch, lease) and (
        needs_renewal(connection, batch, lease, boot)
        or change_of_clock(batch, now, boot) is not None
        or _moves_by_itself(connection, batch, now)
    ):
        return None
    return _tick(connection, batch, lease if is_held(batch, lease) else None, boot)


def visit(
    connection: Connection,
    lease: Lease,
    now: datetime,
    boot: tuple[str, float],
    *,
    outcomes: Sequence[ItemOutcome],
    claim: int,
    until: datetime | None,
    gate: datetime | None,
    pause: str,
    reason: str | None,
    revision: int | None,
) -> Tick:
    """Record, pause, start, claim and complete as `core.ports.Store.tick` says."""
    before = find_batch(connection, lease.batch_id)
    clock_was_set = is_held(before, lease) and change_of_clock(before, now, boot) is not None
    if clock_was_set:
        before = realigned(connection, before, now, boot)
        outcomes = [_settled_from(outcome, now) for outcome in outcomes]
    elif not is_held(before, lease) and (lead := lead_over_noted(connection, before, now, boot)) is not None:
        outcomes = [_by_noted_clock(outcome, lead) for outcome in outcomes]
    moves = record_outcomes(connection, before, outcomes) if outcomes else Counter()
    values: dict[str, Any] = {}
    claims: list[Claim] = []
    waiting = ""
    kept: Lease | None = None
    if is_held(before, lease):
        kept = lease
        if needs_renewal(connection, before, lease, boot):
            kept = replace(lease, expires=boot[1] + lease.seconds, boot=boot[0])
            values |= _renewed(connection, lease, now, boot)
        tried = _trial_is_over(connection, before, moves)
        if tried and not pause:
            pause = f"The first {before.trial:,} rows were tried. Resume the batch to go on with the rest."
        failed = "" if pause else too_many_failed(before, moves)
        values |= _waiting(before, reason)
        values |= _standing(connection, before, now, pause or failed, "failure_threshold" if failed else "paused")
        status = values.get("status", before.status)
        # What was due by the clock as it was, or by limits as they were, is weighed anew.
        current = not clock_was_set and revision in (None, before.revision)
        if claim and status == BatchStatus.RUNNING and current and not _is_held_back(before, now):
            claims, waiting = _claim(
                connection, before, admitted(before, moves, claim, until or now), until or now, now
            )
            moves.update({"n_pending": -len(claims), "n_triggering": len(claims)})
        if gate is not None and (claims or not claim):
            values["gate_at"] = max(gate, before.gate_at or gate)
        if tried:
            # The rest does not start before its time.
            values["gate_at"] = max(before.start_at, values.get("gate_at") or before.gate_at or before.start_at)
        values |= _completion(connection, before, moves, status, now)
    after, any_kept = _updated(connection, before, moves, values)
    if outcomes and any_kept and apply_kept(connection, before.id, outcomes):
        after = read_row(connection, before.id)
    if is_news(after):
        note_finish(connection, before.id, now)
    return replace(_tick(connection, after, kept, boot, claims), waiting=waiting)


def _settled_from(outcome: ItemOutcome, now: datetime) -> ItemOutcome:
    """The outcome with its wait counted from `now`: the clock was set, before it or after it."""
    wait = None if outcome.settle_at is None else outcome.settle_at - outcome.at
    return outcome if wait is None else replace(outcome, settle_at=now + wait)


def _by_noted_clock(outcome: ItemOutcome, lead: timedelta) -> ItemOutcome:
    """The outcome with its wait as another machine's clock has it, to which the batch has gone."""
    return outcome if outcome.settle_at is None else replace(outcome, settle_at=outcome.settle_at - lead)


def _moves_by_itself(connection: Connection, batch: Row[Any], now: datetime) -> bool:
    if batch.status == BatchStatus.PENDING:
        return bool(batch.start_at <= now)
    if _trial_is_over(connection, batch, Counter()) or is_news(batch) or too_many_failed(batch, Counter()):
        return True
    return batch.status == BatchStatus.RUNNING and not (batch.n_pending + batch.n_triggering + batch.n_in_doubt)


def _trial_is_over(connection: Connection, batch: Row[Any], moves: Counter[str]) -> bool:
    """Whether only what the trial holds back is left to send, and every answer of the trial is there."""
    if not batch.trial or batch.status != BatchStatus.RUNNING or batch.n_triggering + moves["n_triggering"]:
        return False
    return batch.n_pending + moves["n_pending"] > 0 and next_tried(connection, batch) is None


def _renewed(connection: Connection, lease: Lease, now: datetime, boot: tuple[str, float]) -> dict[str, Any]:
    expires = lease_time(connection, boot) + lease.seconds
    return {"lease_expires": expires, **note_of_clock(connection, now, boot)}


def _waiting(batch: Row[Any], reason: str | None) -> dict[str, Any]:
    return {"reason": reason} if reason is not None and batch.status == BatchStatus.RUNNING else {}


def _standing(connection: Connection, batch: Row[Any], now: datetime, pause: str, kind: str) -> dict[str, Any]:
    """What pausing itself, told in the log as `kind`, or coming to its start time changes."""
    if pause and batch.status == BatchStatus.RUNNING:
        log(connection, batch.id, now, "batchkit", kind, pause)
        return {"status": BatchStatus.PAUSED, "reason": pause, "revision": batch.revision + 1}
    if batch.status == BatchStatus.PENDING and batch.start_at <= now:
        log(connection, batch.id, now, "batchkit", "started", "The start time has come.")
        return {"status": BatchStatus.RUNNING, "started_at": now}
    return {}


def _is_held_back(batch: Row[Any], now: datetime) -> bool:
    """Whether somebody had the batch wait since its runner saw that a group was near."""
    return batch.gate_at is not None and batch.gate_at - now > _NEAR


def _completion(
    connection: Connection, batch: Row[Any], moves: Counter[str], status: str, now: datetime
) -> dict[str, Any]:
    """Nothing left to trigger and nothing in doubt: a running batch is completed."""
    left = sum(getattr(batch, name) + moves[name] for name in ("n_pending", "n_triggering", "n_in_doubt"))
    if status != BatchStatus.RUNNING or left:
        return {}
    triggered = batch.n_triggered + moves["n_triggered"]
    log(connection, batch.id, now, "batchkit", "completed", f"{triggered:,} of {batch.total:,} rows triggered.")
    return {"status": BatchStatus.COMPLETED, "finished_at": now, "reason": ""}


def _claim(
    connection: Connection, batch: Row[Any], limit: int, until: datetime, now: datetime
) -> tuple[list[Claim], str]:
    """Record the intent to send up to `limit` items due by `until`; with it, why others that are due have to wait."""
    if not limit:
        return [], ""
    due = {"b_batch": batch.id, "b_until": until, "b_limit": limit}
    query = _DUE_TRIED if batch.trial else _DUE
    rows = connection.execute(query, due | {"b_trial": batch.trial}).all() if batch.pool is None else []
    default = profile_of(batch.default_profile)
    choice = None
    if batch.pool is not None or default is not None or any(row.profile for row in rows):
        choice = choose(connection, batch, limit, until, now)
    if choice is not None:
        rows = connection.execute(_THESE, {"b_batch": batch.id, "b_positions": list(choice.profiles)}).all()
    chosen = {} if choice is None else choice.profiles
    used = {row.position: chosen.get(row.position) or profile_of(row.profile) or default for row in rows}
    for profile_id, positions in _by_profile(used).items():
        values = {"b_batch": batch.id, "b_positions": positions, "b_now": now, "b_profile": profile_id}
        connection.execute(_CLAIM, values)
    claims = [
        Claim(
            item=row.position,
            row=row.row,
            attempt=row.attempt + 1,
            due=row.execute_at,
            request=TriggerRequest(
                agent_id=batch.agent_id,
                version=batch.version,
                inputs=json.loads(row.inputs),
                metadata=json.loads(row.metadata) if row.metadata else {},
                profile=used[row.position],
                batch_id=batch.id,
                item=row.position,
                attempt=row.attempt + 1,
                on_capacity_limit=flow_of(batch.flow).on_capacity_limit,
            ),
        )
        for row in rows
    ]
    return claims, "" if choice is None else choice.waiting


def _by_profile(used: MappingLike[int, ProfileRef | None]) -> dict[str | None, list[int]]:
    """The items by the id of the profile they use; None: none, or one the target picks from its pool."""
    found: dict[str | None, list[int]] = defaultdict(list)
    for position, profile in used.items():
        found[None if profile is None or profile.is_pool else profile.id].append(position)
    return found


def _updated(
    connection: Connection, batch: Row[Any], moves: Counter[str], values: dict[str, Any]
) -> tuple[Row[Any], bool]:
    """The batch's row as `batch_of` takes it, with its changes, and whether anything is kept for new executions."""
    changes = {name: batches.c[name] + count for name, count in moves.items() if count} | values
    if not changes:
        return read_row(connection, batch.id), False
    statement = update(batches).where(batches.c.id == batch.id).values(**changes).returning(*BATCH, ANY_KEPT)
    row = connection.execute(statement).one()
    return row, row.any_kept


def _tick(
    connection: Connection,
    batch: Row[Any],
    lease: Lease | None,
    boot: tuple[str, float],
    claims: Sequence[Claim] = (),
) -> Tick:
    settle = connection.scalar(_NEXT_SETTLE, {"b_batch": batch.id}) if batch.n_in_doubt else None
    return Tick(
        batch=batch_of(connection, batch, boot),
        claimed=tuple(claims),
        lease=lease,
        next_settle=settle,
    )
