"""Following executions of a target that lists them by status."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from batchkit.core.execution import Execution, ExecutionOutcome, ExecutionStatus
from batchkit.core.flow import Flow
from batchkit.core.outcome import Outcome, Triggered
from batchkit.core.request import TriggerRequest
from batchkit.testing import FakeClock, ScriptedTarget

PAGE = 100


class Platform(ScriptedTarget):
    """Lists executions by status and counts the requests; its executions end when they are told to."""

    poll_interval = 2.0

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock = clock
        self.known: dict[str, Execution] = {}
        self.asked: list[str] = []

    async def trigger(self, request: TriggerRequest) -> Outcome:
        answer = await super().trigger(request)
        assert isinstance(answer, Triggered)
        begun = replace(answer.execution, status=ExecutionStatus.RUNNING, outcome=None, created_at=self.clock.now())
        self.known[begun.id] = begun
        return Triggered(execution=Execution(id=begun.id, status=ExecutionStatus.STARTING))

    def set(self, identities: Sequence[str], status: ExecutionStatus, outcome: ExecutionOutcome | None = None) -> None:
        for identity in identities:
            self.known[identity] = replace(self.known[identity], status=status, outcome=outcome)

    @property
    def open(self) -> list[str]:
        return [identity for identity, each in self.known.items() if not each.status.terminal]

    async def executions(self, batch_id: str, since: datetime | None = None) -> AsyncIterator[list[Execution]]:
        raise AssertionError("it was asked for everything")
        yield []

    async def standing(self, batch_id: str, statuses: Sequence[ExecutionStatus]) -> tuple[list[Execution], int | None]:
        self.asked.append("standing")
        found = [each for each in self.known.values() if each.status in statuses]
        return found[:PAGE], len(found)

    async def ended(self, batch_id: str, since: datetime) -> AsyncIterator[list[Execution]]:
        found = [
            each
            for each in self.known.values()
            if each.status.terminal and (each.created_at or datetime.now(UTC)) >= since
        ]
        for first in range(0, max(1, len(found)), PAGE):
            self.asked.append("ended")
            yield found[first : first + PAGE]

    async def execution(self, execution_id: str) -> Execution:
        self.asked.append("execution")
        return self.known[execution_id]


async def sent(b, rows: int, **flow: int) -> str:
    return await b.batch(rows, max_concurrent=rows, batch_interval=0, flow=Flow(**flow))


def test_a_person_who_is_needed_is_seen_within_a_poll(bench) -> None:
    async def scenario() -> None:
        clock = FakeClock()
        target = Platform(clock)
        async with bench(target, clock) as b:
            batch_id = await sent(b, 150)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 150)
            needed = target.open[-2:]
            target.set(needed[:1], ExecutionStatus.AWAITING_CONFIRMATION)
            target.set(needed[1:], ExecutionStatus.PAUSED_BY_AGENT)
            await clock.advance(2.5)
            assert (await b.record(batch_id)).progress.executions.waiting == 2
            assert len(target.asked) == 2

    asyncio.run(scenario())


def test_single_ends_are_asked_for_by_id_and_nothing_is_asked_once_all_have_ended(bench) -> None:
    async def scenario() -> None:
        clock = FakeClock()
        target = Platform(clock)
        async with bench(target, clock) as b:
            batch_id = await sent(b, 300)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 300)
            target.set(target.open[:299], ExecutionStatus.COMPLETED, ExecutionOutcome.SUCCESS)
            for _ in range(20):
                await clock.advance(5)
            record = await b.record(batch_id)
            assert (record.progress.executions.succeeded, record.progress.executions.running) == (299, 1)
            target.asked.clear()
            target.set(target.open, ExecutionStatus.FAILED)
            for _ in range(20):
                await clock.advance(5)
            assert (await b.record(batch_id)).progress.executions.failed == 1
            assert target.asked.count("execution") == 1
            assert "ended" not in target.asked
            target.asked.clear()
            await clock.advance(300)
            assert not target.asked
            assert not b.engine.active

    asyncio.run(scenario())


def test_ends_in_any_order_take_at_most_one_request_for_fifty(bench) -> None:
    async def scenario(seed: int) -> None:
        clock = FakeClock()
        target = Platform(clock)
        rows = 3_000
        async with bench(target, clock) as b:
            batch_id = await b.batch(rows, max_concurrent=500, batch_interval=0)
            await b.reaches(batch_id, lambda r: r.progress.triggered == rows, 60)
            order = list(target.known)
            random.Random(seed).shuffle(order)
            for first in range(0, rows, 50):
                some = order[first : first + 50]
                target.set(some[:30], ExecutionStatus.COMPLETED, ExecutionOutcome.SUCCESS)
                target.set(some[30:40], ExecutionStatus.COMPLETED, ExecutionOutcome.FAILURE)
                target.set(some[40:45], ExecutionStatus.FAILED)
                target.set(some[45:], ExecutionStatus.CANCELLED)
                await clock.advance(1)
            await clock.advance(60)
            counts = (await b.record(batch_id)).progress.executions
            assert (counts.succeeded, counts.failed, counts.cancelled, counts.open) == (1800, 900, 300, 0)
            assert len(target.asked) <= rows / 50 + 120 / 30

    asyncio.run(scenario(1))


def test_where_rows_wait_for_room_it_looks_with_every_poll(bench) -> None:
    async def scenario() -> None:
        clock = FakeClock()
        target = Platform(clock)
        async with bench(target, clock) as b:
            batch_id = await b.batch(60, max_concurrent=10, batch_interval=0, flow=Flow(max_in_flight=5))
            for triggered in range(5, 61, 5):
                began = clock.monotonic()
                while (await b.record(batch_id)).progress.triggered < triggered:
                    await clock.advance(0.5)
                    await asyncio.sleep(0.005)
                assert clock.monotonic() - began < 15
                assert len(target.open) == 5
                target.set(target.open, ExecutionStatus.COMPLETED, ExecutionOutcome.SUCCESS)
            await clock.advance(60)
            assert (await b.record(batch_id)).progress.executions.succeeded == 60

    asyncio.run(scenario())
