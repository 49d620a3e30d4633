"""What the demo platform does, without HTTP: it takes executions in, tells how they stand, and acts on them."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import RLock

from batchkit.core.execution import ExecutionStatus
from batchkit.targets.demo.catalog import Catalog
from batchkit.targets.demo.execute import ExecuteCall
from batchkit.targets.demo.executions import Behaviour, Plan, draw_number
from batchkit.targets.demo.listing import ListQuery
from batchkit.targets.demo.problem import HttpProblem
from batchkit.targets.demo.rooms import Admission, Rooms
from batchkit.targets.demo.state import NewExecution, State

__all__ = ["Accepted", "Organization", "wall_clock"]

_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An execution that was created just now."""

    id: str
    status: ExecutionStatus


def wall_clock() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


class Organization:
    """The platform's one organization: its catalog, its executions and its limits. Usable from any thread."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        state: State,
        behaviour: Behaviour,
        capacity: int | None = None,
        seed: int = 0,
        clock: Callable[[], int] = wall_clock,
        on_change: Callable[[str], None] = lambda _: None,
    ) -> None:
        """clock: microseconds since 1970. on_change: called with the id of what was created or acted upon."""
        self.catalog = catalog
        self._state = state
        self._behaviour = behaviour
        self._rooms = Rooms(state, catalog, behaviour, capacity)
        self._seed = seed
        self._clock = clock
        self._on_change = on_change
        self._lock = RLock()
        #: how often each draw without repetition was made
        self._draws: Counter[int] = Counter()

    def execute(self, call: ExecuteCall) -> Accepted:
        """Create the execution; when this returns it is committed. Raises HttpProblem (429) where there is no room."""
        with self._lock:
            now = self._now()
            admission = self._rooms.admit(call.pool, call.profile, now)
            if isinstance(admission, HttpProblem) and not call.queue:
                raise admission
            new = self._new_execution(call, admission, now)
            with self._state.transaction():
                self._state.add(new)
            self._on_change(new.id)
            if new.plan is None:
                self._rooms.queue_up(now)
                return Accepted(id=new.id, status=ExecutionStatus.QUEUED)
            return Accepted(id=new.id, status=ExecutionStatus.STARTING)

    def execution(self, execution_id: str) -> sqlite3.Row:
        """The execution as it stands now. Raises HttpProblem (404)."""
        with self._lock:
            return self._find(execution_id, self._now())

    def executions(self, query: ListQuery, listing_delay: float) -> tuple[list[sqlite3.Row], int]:
        """A page of executions as they stand now, and how many there are on all pages.

        listing_delay: seconds after its creation until an execution is listed.
        """
        with self._lock:
            now = self._now()
            if listing_delay > 0:
                query = replace(query, listed_until=now - round(listing_delay * 1_000_000))
            return self._state.executions(query, now)

    def every_execution(self) -> list[sqlite3.Row]:
        """All executions as they stand now, oldest first."""
        with self._lock:
            return self._state.every_execution(self._now())

    def was_executed(self, version_id: str) -> bool:
        """Whether any execution ran that version."""
        with self._lock:
            return self._state.was_executed(version_id)

    def cancel(self, execution_id: str) -> None:
        """End an execution that has not ended. Raises HttpProblem: 404, or 400 if it has."""
        with self._lock:
            now = self._now()
            row = self._find(execution_id, now)
            status = ExecutionStatus(row["status"])
            if status.terminal:
                raise _wrong_status(row, "cancelled", "any that has not ended")
            with self._state.transaction():
                self._state.cancel(row["seq"], now)
            self._on_change(execution_id)
            if status is ExecutionStatus.QUEUED:
                self._rooms.leave()

    def pause(self, execution_id: str) -> None:
        """Hold a started execution. Raises HttpProblem: 404, or 400 if it does not move."""
        with self._lock:
            now = self._now()
            row = self._find(execution_id, now)
            status = ExecutionStatus(row["status"])
            if status.terminal or status in (ExecutionStatus.QUEUED, ExecutionStatus.PAUSED):
                raise _wrong_status(row, "paused", "a started one that has not ended")
            with self._state.transaction():
                self._state.pause(row["seq"], now)
            self._on_change(execution_id)

    def resume(self, execution_id: str) -> None:
        """Let an execution go on that is paused or waits for a person. Raises HttpProblem: 404, or 400 if neither."""
        with self._lock:
            now = self._now()
            row = self._find(execution_id, now)
            status = ExecutionStatus(row["status"])
            if status is not ExecutionStatus.PAUSED and not status.needs_person:
                raise _wrong_status(row, "resumed", "a paused one or one that waits for a person")
            with self._state.transaction():
                self._state.resume(row, now)
            self._on_change(execution_id)

    def kept(self, name: str, make: Callable[[], str]) -> str:
        """A text the state keeps under that name, made when it is first asked for."""
        with self._lock:
            text = self._state.setting(name, "")
        if not text:
            text = make()
            with self._lock:
                self._state.set_setting(name, text)
        return text

    def close(self) -> None:
        """Close the state."""
        with self._lock:
            self._state.close()

    def _now(self) -> int:
        """The time, with the queue caught up with it."""
        now = self._clock()
        self._rooms.catch_up(now)
        return now

    def _find(self, execution_id: str, now: int) -> sqlite3.Row:
        row = self._state.execution(execution_id, now)
        if row is None:
            raise HttpProblem(404, f"There is no execution {execution_id!r}.")
        return row

    def _new_execution(self, call: ExecuteCall, admission: Admission | HttpProblem, now: int) -> NewExecution:
        inputs = _encode(_with_defaults(call))
        draw = self._draw(call, inputs)
        admitted = isinstance(admission, Admission)
        profile = admission.profile if isinstance(admission, Admission) else call.profile
        return NewExecution(
            id=str(uuid.uuid4()),
            agent_id=call.agent.id,
            agent_name=call.agent.name,
            version_id=call.version.id,
            version=call.version.version,
            pool_id=call.pool.id if call.pool is not None else None,
            profile_id=profile.id if profile is not None else None,
            profile_name=profile.name if profile is not None else None,
            inputs=inputs,
            metadata=call.metadata,
            metadata_text=_encode(call.metadata),
            options=_encode(call.options) if call.options else "{}",
            draw=draw,
            created_at=now,
            plan=Plan.of(self._behaviour, draw, now) if admitted else None,
        )

    def _draw(self, call: ExecuteCall, inputs: str) -> int:
        """The same for the same seed, agent, version, inputs and repetition, whatever else was sent in between."""
        first = draw_number(self._seed, call.agent.name, call.version.version, inputs, 0)
        repetition = self._draws[first]
        self._draws[first] += 1
        if not repetition:
            return first
        return draw_number(self._seed, call.agent.name, call.version.version, inputs, repetition)


def _with_defaults(call: ExecuteCall) -> dict[str, object]:
    """The inputs the agent works with: those sent, and the defaults of those not sent."""
    defaults = {
        variable.name: variable.default for variable in call.version.inputs or () if variable.default is not None
    }
    return {**defaults, **call.inputs}


def _wrong_status(row: sqlite3.Row, move: str, allowed: str) -> HttpProblem:
    return HttpProblem(400, f"Execution {row['id']} is {row['status']} and cannot be {move}: only {allowed} can.")
