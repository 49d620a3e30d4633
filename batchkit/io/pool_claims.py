"""Which profile a row that is about to be sent uses, where batchkit picks it or has to keep it for one row at a time.

A batch with a pool of batchkit's own limits how many executions its members serve. That holds for every batch of the
store on the same target while it runs or its executions do, whether their rows got a member from a pool or name it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, delete, func, insert, or_, select, update

from batchkit.core.lifecycle import BatchStatus
from batchkit.core.profile import PinnedPool, ProfileRef, picked, wait_for
from batchkit.core.target import TargetInfo
from batchkit.io.reading import profile_of
from batchkit.io.schema import IN_USE, IS_PENDING, batches, inputs, items, microseconds, profile_uses
from batchkit.io.transaction import hold

__all__ = ["Choice", "choose"]

#: so many rows that are due are looked at, to find some whose profile is free
_WINDOW = 500
_MICROSECOND = timedelta(microseconds=1)

_POOLS = select(batches.c.id, batches.c.target, batches.c.pool).where(
    batches.c.pool.is_not(None),
    batches.c.ready,
    or_(
        batches.c.status == BatchStatus.RUNNING,
        batches.c.n_triggering + batches.c.n_in_doubt + batches.c.x_running + batches.c.x_waiting > 0,
        batches.c.id == bindparam("b_batch"),
    ),
)
_DUE = (
    select(items.c.position, items.c.error, inputs.c.profile)
    .join(inputs, and_(inputs.c.batch_id == items.c.batch_id, inputs.c.position == items.c.position))
    .where(
        items.c.batch_id == bindparam("b_batch"),
        IS_PENDING,
        items.c.execute_at <= bindparam("b_until"),
        items.c.position < bindparam("b_before"),
    )
    .order_by(items.c.execute_at, items.c.position)
    .limit(_WINDOW)
)
_IN_USE = (
    select(items.c.batch_id, items.c.profile_id, func.count())
    .where(items.c.profile_id.in_(bindparam("b_profiles", expanding=True)), IN_USE)
    .group_by(items.c.batch_id, items.c.profile_id)
)
_SAY_WHY = update(items).where(
    items.c.batch_id == bindparam("b_batch"), items.c.position.in_(bindparam("b_positions", expanding=True))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which rows may be sent now."""

    #: by position, with the profile each uses
    profiles: dict[int, ProfileRef | None]
    #: why others that are due may not; empty: all may
    waiting: str


def choose(connection: Connection, batch: Row[Any], limit: int, until: datetime, now: datetime) -> Choice | None:
    """Return up to `limit` rows due by `until` whose profile is free; None where no pool has a say.

    Notes when a profile was given to a row, and why a row has to wait. The caller claims the rows in the same
    transaction.
    """
    target = _identity(batch.target)
    pools = [
        (row.id, PinnedPool.from_dict(json.loads(row.pool)))
        for row in connection.execute(_POOLS, {"b_batch": batch.id})
        if row.id == batch.id or _identity(row.target) == target
    ]
    if not pools:
        return None
    # Of the batches on this target, one at a time gives profiles out.
    hold(connection, f"profiles of {target}")
    own = next((pool for batch_id, pool in pools if batch_id == batch.id), None)
    desk = _Desk(connection, target, [pool for _, pool in pools], own, profile_of(batch.default_profile))
    taken: dict[int, ProfileRef | None] = {}
    blocked: dict[str, list[int]] = {}
    found = {"b_batch": batch.id, "b_until": until, "b_before": batch.trial or batch.total}
    for row in connection.execute(_DUE, found):
        if len(taken) == limit:
            break
        profile, why = desk.ask(profile_of(row.profile))
        if not why:
            taken[row.position] = profile
        elif len(blocked.setdefault(why, [])) < limit and row.error != why:
            blocked[why].append(row.position)
    for why, positions in blocked.items():
        if positions:
            connection.execute(_SAY_WHY.values(error=why), {"b_batch": batch.id, "b_positions": positions})
    desk.save(now)
    return Choice(profiles=taken, waiting=next(iter(blocked), ""))


class _Desk:
    """Gives profiles out, as far as they are free."""

    def __init__(
        self,
        connection: Connection,
        target: str,
        pools: Sequence[PinnedPool],
        own: PinnedPool | None,
        default: ProfileRef | None,
    ) -> None:
        self._connection = connection
        self._target = target
        self._own = own
        self._default = default
        #: by profile id, of pools that limit their members
        self._limits: dict[str, int] = {}
        for pool in pools:
            for member in pool.members:
                if pool.limit is not None:
                    self._limits[member.id] = min(pool.limit, self._limits.get(member.id, pool.limit))
        self._in_use = _in_use(connection, target, self._limits)
        #: by profile id, in which order they were given out last; larger is later
        self._used = _last_uses(connection, target, {member.id for pool in pools for member in pool.members})
        self._given: list[str] = []

    def ask(self, named: ProfileRef | None) -> tuple[ProfileRef | None, str]:
        """The profile for a row that names this one, and why there is none now; empty: it is given out."""
        if named is None and self._own is not None:
            free = {member.id for member in self._own.members if self._is_free(member.id)}
            chosen = picked(self._own, free, self._used)
            if chosen is None:
                return None, wait_for(self._own.ref)
        else:
            chosen = named or self._default
        if chosen is None or chosen.is_pool:
            return chosen, ""
        if not self._is_free(chosen.id):
            return None, wait_for(chosen)
        self._in_use[chosen.id] += 1
        self._used[chosen.id] = max(self._used.values(), default=0) + 1
        self._given.append(chosen.id)
        return chosen, ""

    def save(self, now: datetime) -> None:
        """Keep when the profiles were given out, the order within this moment included."""
        last = {profile_id: now + at * _MICROSECOND for at, profile_id in enumerate(self._given)}
        if not last:
            return
        before = profile_uses.c.target == self._target, profile_uses.c.profile_id.in_(last)
        self._connection.execute(delete(profile_uses).where(*before))
        self._connection.execute(
            insert(profile_uses),
            [{"target": self._target, "profile_id": profile_id, "used_at": at} for profile_id, at in last.items()],
        )

    def _is_free(self, profile_id: str) -> bool:
        limit = self._limits.get(profile_id)
        return limit is None or self._in_use[profile_id] < limit


def _in_use(connection: Connection, target: str, profiles: Collection[str]) -> Counter[str]:
    """How many rows hold each of the profiles: those being sent, those in doubt, and those whose execution goes on."""
    rows = connection.execute(_IN_USE, {"b_profiles": list(profiles)}).all() if profiles else []
    used: Counter[str] = Counter()
    batch_ids = {row.batch_id for row in rows}
    targets = select(batches.c.id, batches.c.target).where(batches.c.id.in_(batch_ids))
    identity = {row.id: _identity(row.target) for row in connection.execute(targets)} if rows else {}
    for batch_id, profile_id, count in rows:
        if identity.get(batch_id) == target:
            used[profile_id] += count
    return used


def _last_uses(connection: Connection, target: str, profiles: Collection[str]) -> dict[str, int]:
    query = select(profile_uses.c.profile_id, profile_uses.c.used_at).where(
        profile_uses.c.target == target, profile_uses.c.profile_id.in_(profiles)
    )
    return {row.profile_id: microseconds(row.used_at) for row in connection.execute(query)}


def _identity(target: str) -> str:
    return TargetInfo(**json.loads(target)).identity
