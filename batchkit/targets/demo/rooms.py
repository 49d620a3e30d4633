"""Who may start when: the organization's capacity, exclusive pools, and the queue in front of them.

Nothing runs in the background. Whoever looks at the platform first lets the queue catch up with the clock: at each
moment an execution ended, the oldest ones that fit start, as of that moment.
"""

from __future__ import annotations

from dataclasses import dataclass

from batchkit.core.profile import AgentProfile, SelectionStrategy
from batchkit.targets.demo.catalog import Catalog, Pool
from batchkit.targets.demo.executions import Behaviour, Plan
from batchkit.targets.demo.problem import HttpProblem
from batchkit.targets.demo.state import State

__all__ = ["Admission", "Rooms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """That an execution may start, and with which profile."""

    profile: AgentProfile | None


class Rooms:
    """The platform's limits, applied to its state."""

    def __init__(self, state: State, catalog: Catalog, behaviour: Behaviour, capacity: int | None) -> None:
        """capacity: executions that may be active at a time; None: any number."""
        self._state = state
        self._catalog = catalog
        self._behaviour = behaviour
        self._capacity = capacity
        self._waiting = state.waiting_count()
        #: up to here the queue has caught up
        self._cursor = state.first_waiting_since() or 0

    def admit(self, pool: Pool | None, profile: AgentProfile | None, now: int) -> Admission | HttpProblem:
        """Whether a new execution may start at `now`, or the answer that turns it away."""
        if self._capacity is not None:
            active = self._state.active_count(now)
            if active >= self._capacity:
                return HttpProblem.limit_reached("concurrent_executions", active, self._capacity)
        if pool is None:
            return Admission(profile=profile)
        free = self._free_members(pool, now)
        if not free:
            return HttpProblem.limit_reached("agent_profile_pool", len(pool.members), len(pool.members))
        return Admission(profile=self._select(pool, free))

    def queue_up(self, now: int) -> None:
        """Take note of an execution that was stored without a plan at `now`."""
        if not self._waiting:
            self._cursor = now
        self._waiting += 1

    def leave(self) -> None:
        """Take note that a waiting execution was cancelled."""
        self._waiting -= 1

    def catch_up(self, now: int) -> None:
        """Start what could start since the last time, each as of the moment room became free."""
        if not self._waiting:
            return
        with self._state.transaction():
            # what ended at the cursor itself may have done so after the last look
            moment = self._state.next_end(self._cursor - 1, now)
            while moment is not None and self._waiting:
                while self._start_first(moment):
                    pass
                moment = self._state.next_end(moment, now)
        self._cursor = now

    def _start_first(self, now: int) -> bool:
        """Start the oldest waiting execution that fits, and say whether there was one."""
        candidates = [self._state.first_waiting(pool_id, now) for pool_id in (None, *self._catalog.pools)]
        for row in sorted((row for row in candidates if row is not None), key=lambda row: int(row["seq"])):
            pool = self._catalog.pools.get(row["pool_id"])
            profile = self._catalog.profiles.get(row["profile_id"])
            admission = self.admit(pool, profile, now)
            if isinstance(admission, Admission):
                chosen = admission.profile
                self._state.start(
                    row["seq"],
                    Plan.of(self._behaviour, row["draw"], now),
                    chosen.id if chosen is not None else None,
                    chosen.name if chosen is not None else None,
                )
                self._waiting -= 1
                return True
        return False

    def _free_members(self, pool: Pool, now: int) -> list[AgentProfile]:
        if not pool.exclusive:
            return list(pool.members)
        return [member for member in pool.members if not self._state.is_profile_used(member.id, now)]

    def _select(self, pool: Pool, free: list[AgentProfile]) -> AgentProfile:
        if pool.strategy is SelectionStrategy.LEAST_RECENTLY_USED:
            return min(free, key=lambda member: self._state.last_use(member.id))
        return max(free, key=lambda member: self._state.last_use(member.id))
