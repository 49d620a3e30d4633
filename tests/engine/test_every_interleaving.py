"""Pause, cancel, crash and everything else in every order, against what must always hold.

Two engines, as of two processes, share one store file and one target; time is moved by hand. Short here; the long form,
10,000 steps and more: BATCHKIT_ACCEPTANCE=full pytest tests/engine/test_every_interleaving.py
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from long_form import FULL
from new_batches import new_batch, new_items

from batchkit.core.execution import Execution
from batchkit.core.lifecycle import BatchStatus, ItemStatus
from batchkit.core.limits import Limits
from batchkit.core.outcome import Held, NotSent, Outcome, Refused, Unclear
from batchkit.core.request import TriggerRequest
from batchkit.core.retry import RetryPolicy
from batchkit.core.schedule import TOLERANCE, Pace
from batchkit.engine.kernel import KernelEngine
from batchkit.errors import StateError, StoreError
from batchkit.io.store import SqlStore
from batchkit.testing import FakeClock, ScriptedTarget

ROWS = 9
POLL = 1.0
ANSWERS = ["accept", "lost after", "lost before", "refuse", "no connection"]
#: seconds until the platform lists an execution; the quarantine is 6
LISTED_AFTER = 5.0


class Platform(ScriptedTarget):
    """One platform for both engines: counts when each request came, and answers badly as told."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(answer=self.reply, total_timeout=5.0, listing_delay=1.0)
        self.clock = clock
        self.revoked = False
        self.plan: list[str] = []
        self.sent_at: list[float] = []
        self._accepted: dict[tuple[int, int], float] = {}

    def accept(self, request: TriggerRequest) -> Execution:
        self._accepted[request.item, request.attempt] = self.clock.boot()[1]
        return super().accept(request)

    async def find(self, batch_id: str, item: int, attempt: int) -> Execution | None:
        since = self._accepted.get((item, attempt), self.clock.boot()[1])
        return await super().find(batch_id, item, attempt) if self.clock.boot()[1] - since >= LISTED_AFTER else None

    def reply(self, request: TriggerRequest, _number: int) -> Outcome | None:
        self.sent_at.append(self.clock.boot()[1])
        if self.revoked:
            return Held(code="401", message="the key was revoked")
        kind = self.plan.pop(0) if self.plan else "accept"
        if kind == "lost after":
            self.accept(request)
            return Unclear(message="the answer was lost")
        return {
            "accept": None,
            "lost before": Unclear(message="the request was lost"),
            "refuse": Refused(code="400", message="no such client"),
            "no connection": NotSent(message="connection refused"),
        }[kind]


class DeadStore(SqlStore):
    """The store of a process that can be killed: from then on it does nothing."""

    dead = False

    async def tick(self, *args: Any, **kwargs: Any) -> Any:
        if self.dead:
            raise StoreError("killed")
        return await super().tick(*args, **kwargs)

    async def release(self, *args: Any) -> None:
        if self.dead:
            raise StoreError("killed")
        await super().release(*args)


class Process:
    """An engine with a store object of its own on the shared file."""

    def __init__(self, path: Path, platform: Platform, clock: FakeClock) -> None:
        self.clock = clock
        self.store = DeadStore(path, clock)
        self.engine = KernelEngine(
            store=self.store,
            target=platform,
            clock=clock,
            policy=RetryPolicy(consecutive=1000, window=1000, minimum=1000),
            poll_seconds=POLL,
        )

    async def attend(self, batch_id: str) -> None:
        """Run the batch, if nobody does; returns once its runner has looked around and waits for time to pass."""
        await self.engine.attend(batch_id)
        while any(not task.done() and task not in self.clock._known for _, task in self.engine._runners.values()):
            await asyncio.sleep(0.001)

    async def kill(self) -> None:
        """End without another word, as kill -9 does."""
        self.store.dead = True
        tasks = [task for _, task in self.engine._runners.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=10)
        self.store.shutdown()


class Interleavings(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Process] = []
        self.paused_here: tuple[int, int] | None = None
        #: seconds since boot from which the rate rule is to hold by the limits as they are
        self.rated_from = 0.0

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(work, 60))

    @initialize(limit=st.integers(1, 4), interval=st.sampled_from([0.0, 10.0, 60.0]), later=st.booleans())
    def make(self, limit: int, interval: float, later: bool) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "s.sqlite"
        self.clock = FakeClock()
        self.platform = Platform(self.clock)
        self.pace = Pace(max_concurrent=limit, batch_interval=interval)
        self.processes = [Process(self.path, self.platform, self.clock) for _ in range(2)]

        async def create() -> str:
            store = self.processes[0].store
            start = self.clock.now() + timedelta(seconds=30 if later else 0)
            batch_id = await store.begin(new_batch(start, pace=self.pace))
            await store.add(batch_id, new_items(ROWS))
            await store.publish(batch_id, "user")
            await self.processes[0].attend(batch_id)
            return batch_id

        self.batch_id = self.run(create())

    @rule(seconds=st.sampled_from([0.0, 0.3, 1.0, 5.0, 20.0, 70.0]))
    def time_passes(self, seconds: float) -> None:
        self.run(self.clock.advance(seconds))

    @rule(seconds=st.sampled_from([-3600.0, -20.0, 15.0, 3600.0]))
    def the_clock_jumps(self, seconds: float) -> None:
        self.clock.jump(seconds)

    @rule(seconds=st.sampled_from([8.0, 3600.0]))
    def the_machine_sleeps(self, seconds: float) -> None:
        self.clock.sleep(seconds)

    @rule(
        plan=st.lists(st.sampled_from(["accept", "lost after", "lost before", "refuse", "no connection"]), max_size=4)
    )
    def answers_go_wrong(self, plan: list[str]) -> None:
        self.platform.plan = plan

    @rule()
    def the_key_is_revoked(self) -> None:
        self.platform.revoked = True

    @rule()
    def the_key_is_restored(self) -> None:
        self.platform.revoked = False

    @rule(who=st.integers(0, 1), command=st.sampled_from(["pause", "resume", "pause", "resume", "cancel"]))
    def a_command(self, who: int, command: str) -> None:
        engine = self.processes[who].engine
        try:
            self.run(getattr(engine, command)(self.batch_id, "user"))
        except StateError:
            return
        if command == "pause":
            self.paused_here = (who, len(self.platform.received))
        else:
            self.paused_here = None

    @rule(item=st.integers(0, ROWS - 1), who=st.integers(0, 1))
    def an_item_is_cancelled(self, item: int, who: int) -> None:
        self.run(self.processes[who].engine.cancel_items(self.batch_id, [item], "user"))

    @rule(item=st.integers(0, ROWS - 1), seconds=st.sampled_from([-10.0, 5.0, 45.0, 200.0]), who=st.integers(0, 1))
    def an_item_is_rescheduled(self, item: int, seconds: float, who: int) -> None:
        at = self.clock.now() + timedelta(seconds=seconds)
        self.run(self.processes[who].engine.reschedule_items(self.batch_id, [item], at, "user"))

    @rule(
        who=st.integers(0, 1),
        limit=st.none() | st.integers(1, 4),
        interval=st.sampled_from([None, 0.0, 10.0, 60.0]),
        in_flight=st.sampled_from(["unchanged", None, 2, 5]),
    )
    def the_limits_are_changed(self, who: int, limit: int | None, interval: float | None, in_flight: Any) -> None:
        if limit is None and interval is None and in_flight == "unchanged":
            return
        limits = Limits(max_concurrent=limit, batch_interval=interval, max_in_flight=in_flight)
        try:
            record = self.run(self.processes[who].engine.change_limits(self.batch_id, limits, "user"))
        except StateError:
            return
        self.pace = record.pace
        # The other process may run the batch: it follows within one poll, and rates hold from there on.
        self.rated_from = self.clock.boot()[1] + POLL

    @rule(who=st.integers(0, 1))
    def a_process_is_killed_and_started_again(self, who: int) -> None:
        self.run(self.processes[who].kill())
        self.processes[who] = Process(self.path, self.platform, self.clock)

    @rule(who=st.integers(0, 1))
    def a_process_takes_the_batch_over(self, who: int) -> None:
        self.run(self.processes[who].attend(self.batch_id))

    @invariant()
    @precondition(lambda self: self.processes)
    def no_row_runs_twice(self) -> None:
        assert max(Counter(self.platform.triggered).values(), default=0) <= 1

    @invariant()
    @precondition(lambda self: self.processes)
    def the_counts_add_up(self) -> None:
        async def look() -> None:
            store = self.processes[0].store
            record = await store.batch(self.batch_id)
            items = await store.items(self.batch_id)
            if (await store.batch(self.batch_id)) != record:
                return
            by_status = Counter(item.status for item in items)
            assert sum(by_status.values()) == record.progress.total == ROWS
            for status in ItemStatus:
                assert getattr(record.progress, status) == by_status[status]

        self.run(look())

    @invariant()
    @precondition(lambda self: self.processes and self.pace.batch_interval > 0)
    def the_rate_rule_holds(self) -> None:
        window = self.pace.batch_interval - TOLERANCE.total_seconds()
        times = [at for at in self.platform.sent_at if at > self.rated_from]
        for first, last in zip(times, times[self.pace.max_concurrent :], strict=False):
            assert last - first >= window - 1e-3, f"{self.pace}: {times}"

    @invariant()
    @precondition(lambda self: self.processes and self.paused_here is not None)
    def nothing_is_sent_after_a_pause(self) -> None:
        assert self.paused_here is not None
        who, sent = self.paused_here
        runs_here = self.batch_id in self.processes[who].engine._runners
        other = self.processes[1 - who].engine._runners
        if runs_here and self.batch_id not in other:
            assert len(self.platform.received) == sent

    def teardown(self) -> None:
        if not self.processes:
            return
        try:
            self.run(self.bring_to_its_end())
        finally:
            for process in self.processes:
                self.loop.run_until_complete(process.engine._close())
                process.store.shutdown()
            self.loop.close()
            self.folder.cleanup()

    async def bring_to_its_end(self) -> None:
        """Whatever happened, the batch can be finished, and then every row is accounted for."""
        self.platform.revoked, self.platform.plan = False, []
        engine, store = self.processes[0].engine, self.processes[0].store
        # Nine groups a minute apart, in steps of 20 s, are 27 rounds; the rest is for waits, leases and quarantines.
        for _ in range(60):
            record = await store.batch(self.batch_id)
            if record.status is BatchStatus.PAUSED:
                await engine.resume(self.batch_id, "user")
            if record.status.final and not record.progress.in_doubt and not record.progress.triggering:
                break
            await self.processes[0].attend(self.batch_id)
            await self.clock.advance(20)
            due = record.start_at if record.status is BatchStatus.PENDING else record.next_due
            if due is not None:
                self.clock.jump(max(0.0, (due - self.clock.now()).total_seconds()))
        record = await store.batch(self.batch_id)
        assert record.status.final, record
        items = await store.items(self.batch_id)
        ran = {item for _, item in self.platform.triggered}
        for item in items:
            assert item.status in (ItemStatus.TRIGGERED, ItemStatus.REFUSED, ItemStatus.CANCELLED), item
            assert (item.status is ItemStatus.TRIGGERED) == (item.item in ran), item
        self.no_row_runs_twice()


Interleavings.TestCase.settings = settings(
    max_examples=400 if FULL else 15,
    stateful_step_count=40 if FULL else 20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # a failure is told by its steps; making them fewer would take longer than reading them
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    print_blob=True,
)
TestInterleavings = Interleavings.TestCase
