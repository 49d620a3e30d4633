"""Following executions of a target that lists them by status."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from batchkit.core.execution import Execution, ExecutionOutcome, ExecutionStatus
from batchkit.core.flow import Flow
from batchkit.core.heard import Heard
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


@asynccontextmanager
async def running(bench, rows: int, **flow: int) -> AsyncIterator[tuple[Any, FakeClock, Platform, str]]:
    """An engine with a batch whose rows, or as many as may be in flight, have been triggered; and its id."""
    clock = FakeClock()
    target = Platform(clock)
    async with bench(target, clock) as b:
        batch_id = await b.batch(rows, max_concurrent=rows, batch_interval=0, flow=Flow(**flow))
        begun = flow.get("max_in_flight", rows)
        await b.reaches(batch_id, lambda record: record.progress.triggered == begun, 60)
        yield b, clock, target, batch_id


def test_a_person_who_is_needed_is_seen_within_a_poll(bench) -> None:
    async def scenario() -> None:
        async with running(bench, 150) as (b, clock, target, batch_id):
            needed = target.open[-2:]
            target.set(needed[:1], ExecutionStatus.AWAITING_CONFIRMATION)
            target.set(needed[1:], ExecutionStatus.PAUSED_BY_AGENT)
            await clock.advance(2.5)
            assert (await b.record(batch_id)).progress.executions.waiting == 2
            assert len(target.asked) == 2

    asyncio.run(scenario())


def test_single_ends_are_asked_for_by_id_and_nothing_is_asked_once_all_have_ended(bench) -> None:
    async def scenario() -> None:
        async with running(bench, 300) as (b, clock, target, batch_id):
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
        rows = 3_000
        async with running(bench, rows) as (b, clock, target, batch_id):
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
        async with running(bench, 60, max_in_flight=5) as (b, clock, target, batch_id):
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


async def lets_know(b, target: Platform, identities: Sequence[str], status: ExecutionStatus) -> None:
    """They come to that status, and webhooks tell it."""
    target.set(identities, status)
    by_id = {execution.id: key for key, execution in target._executions.items()}
    news = []
    for identity in identities:
        batch_id, item, attempt = by_id[identity]
        execution = Execution(id=identity, status=status)
        event = f"{identity} {status}"
        news.append(
            Heard(event_id=event, at=b.clock.now(), execution=execution, batch_id=batch_id, item=item, attempt=attempt)
        )
    await b.store.hear(news)


def test_while_webhooks_tell_the_platform_is_asked_rarely_and_for_the_details_at_the_end(bench) -> None:
    async def scenario() -> None:
        async with running(bench, 300) as (b, clock, target, batch_id):
            for _ in range(50):
                await lets_know(b, target, target.open[:6], ExecutionStatus.COMPLETED)
                await clock.advance(4)
            counts = (await b.record(batch_id)).progress.executions
            assert (counts.succeeded, counts.open) == (300, 0)
            await clock.advance(4)
            record = await b.record(batch_id)
            assert record.partial == 0
            assert target.asked.count("ended") <= 6
            # Before the first webhook was seen, at the end, and once every two minutes.
            assert target.asked.count("standing") <= 2 * 4
            assert not b.engine.active

    asyncio.run(scenario())


def test_what_lost_webhooks_would_have_told_is_found_soon_after_the_last_one(bench) -> None:
    async def scenario() -> None:
        async with running(bench, 300) as (b, clock, target, batch_id):
            for number in range(30):
                ends = target.open[:10]
                target.set(ends[:1], ExecutionStatus.FAILED)
                await lets_know(b, target, ends[1:], ExecutionStatus.COMPLETED)
                await clock.advance(2)
                counts = (await b.record(batch_id)).progress.executions
                assert counts.succeeded == 9 * (number + 1)
            await clock.advance(16)
            counts = (await b.record(batch_id)).progress.executions
            assert (counts.succeeded, counts.failed, counts.open) == (270, 30, 0)

    asyncio.run(scenario())


def test_lost_webhooks_do_not_hold_up_rows_that_wait_for_room(bench) -> None:
    async def scenario() -> None:
        async with running(bench, 60, max_in_flight=5) as (b, clock, target, batch_id):
            while (await b.record(batch_id)).progress.executions.succeeded < 60:
                assert clock.monotonic() - 1_000 < 420
                if ends := target.open[:5]:
                    target.set(ends[:1], ExecutionStatus.COMPLETED)
                    await lets_know(b, target, ends[1:], ExecutionStatus.COMPLETED)
                await clock.advance(2)

    asyncio.run(scenario())


def test_ends_are_known_within_a_minute_while_others_run_on_for_long(bench) -> None:
    async def scenario() -> None:
        async with running(bench, 50) as (b, clock, target, batch_id):
            for number in range(60):
                target.set(target.open[:1] if number < 49 else [], ExecutionStatus.COMPLETED)
                await clock.advance(12)
                known = (await b.record(batch_id)).progress.executions.succeeded
                assert known >= min(49, number) - 5, f"after {number * 12} s"
            assert len(target.asked) <= 12 + 3 * 720 / 30 + 1

    asyncio.run(scenario())
