from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from batchkit.core.execution import Execution, ExecutionOutcome, ExecutionStatus
from batchkit.core.flow import FailureThreshold, Flow
from batchkit.core.hours import WorkingHours
from batchkit.core.lifecycle import BatchStatus
from batchkit.core.limits import Limits
from batchkit.core.outcome import Outcome, Triggered
from batchkit.core.record import BatchRecord
from batchkit.core.request import TriggerRequest
from batchkit.testing import FakeClock, ScriptedTarget


class Slow(ScriptedTarget):
    """Its executions run until they are told to end."""

    poll_interval = 0.5

    async def trigger(self, request: TriggerRequest) -> Outcome:
        answer = await super().trigger(request)
        assert isinstance(answer, Triggered)
        key = (request.batch_id, request.item, request.attempt)
        self._executions[key] = replace(answer.execution, status=ExecutionStatus.RUNNING, outcome=None)
        return Triggered(execution=Execution(id=answer.execution.id, status=ExecutionStatus.QUEUED))

    @property
    def running(self) -> int:
        return sum(not each.status.terminal for each in self._executions.values())

    def end(self, count: int, outcome: ExecutionOutcome = ExecutionOutcome.SUCCESS) -> None:
        open_ones = [key for key, each in self._executions.items() if not each.status.terminal]
        for key in open_ones[:count]:
            self._executions[key] = replace(
                self._executions[key], status=ExecutionStatus.COMPLETED, outcome=outcome, finished_at=datetime.now(UTC)
            )


async def becomes(b, batch_id: str, met: Callable[[BatchRecord], object]) -> BatchRecord:
    """The batch once it is so; time passes until then."""
    for _ in range(400):
        record = await b.record(batch_id)
        if met(record):
            return record
        await b.clock.advance(0.5)
        await asyncio.sleep(0.005)
    raise AssertionError(record)


async def settled(b, batch_id: str, triggered: int) -> None:
    """So many rows were triggered, and after some more time no other is."""
    await becomes(b, batch_id, lambda r: r.progress.triggered >= triggered)
    for _ in range(4):
        await b.clock.advance(0.5)
        await asyncio.sleep(0.005)
    assert (await b.record(batch_id)).progress.triggered == triggered


def test_no_more_rows_are_sent_than_may_be_in_flight(bench) -> None:
    async def scenario() -> None:
        target = Slow()
        async with bench(target) as b:
            batch_id = await b.batch(9, max_concurrent=9, batch_interval=0, flow=Flow(max_in_flight=4))
            await settled(b, batch_id, 4)
            target.end(3)
            await settled(b, batch_id, 7)
            assert target.running == 4
            await b.engine.change_limits(batch_id, Limits(max_in_flight=1), "user")
            target.end(3)
            await settled(b, batch_id, 7)
            await b.engine.change_limits(batch_id, Limits(max_in_flight=None), "user")
            await settled(b, batch_id, 9)

    asyncio.run(scenario())


def test_a_group_is_as_large_as_there_is_room_and_waiting_for_room_is_not_told_as_being_behind(bench) -> None:
    async def scenario() -> None:
        target = Slow()
        async with bench(target) as b:
            batch_id = await b.batch(6, max_concurrent=3, batch_interval=10, flow=Flow(max_in_flight=4))
            await settled(b, batch_id, 3)
            await b.clock.advance(10)
            await settled(b, batch_id, 4)
            await b.clock.advance(300)
            target.end(4)
            await b.clock.advance(15)
            await settled(b, batch_id, 6)
            kinds = [event.kind for event in await b.store.events(batch_id)]
            assert "restaggered" not in kinds

    asyncio.run(scenario())


def test_new_limits_take_effect_at_once_and_let_no_group_out_twice(bench) -> None:
    async def scenario() -> None:
        async with bench() as b:
            batch_id = await b.batch(12, max_concurrent=2, batch_interval=3600)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 2)
            record = await b.engine.change_limits(batch_id, Limits(max_concurrent=5, batch_interval=10), "Ada")
            assert record.revision == 1
            assert (record.pace.max_concurrent, record.pace.batch_interval) == (5, 10)
            await b.clock.advance(9)
            assert len(b.target.received) == 2
            await b.clock.advance(1.5)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 7)
            await b.clock.advance(10)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 12)
            [event] = [event for event in await b.store.events(batch_id) if event.kind == "limits"]
            assert event.actor == "Ada"
            assert "max_concurrent from 2 to 5, batch_interval from 3600 s to 10 s" in event.message

    asyncio.run(scenario())


def test_rows_wait_for_the_working_hours_and_none_is_dropped(bench) -> None:
    hours = WorkingHours(days=["mon"], start="08:00", end="08:01", zone="UTC")

    async def scenario() -> None:
        # A Thursday.
        clock = FakeClock(datetime(2026, 1, 1, tzinfo=UTC))
        async with bench(clock=clock) as b:
            batch_id = await b.batch(7, max_concurrent=2, batch_interval=30, flow=Flow(working_hours=hours))
            monday = datetime(2026, 1, 5, 8, tzinfo=UTC)
            due = [item.execute_at for item in await b.store.items(batch_id)]
            week = timedelta(days=7)
            half = timedelta(seconds=30)
            assert due == [
                monday,
                monday,
                monday + half,
                monday + half,
                monday + week,
                monday + week,
                monday + week + half,
            ]
            await b.clock.advance(60)
            assert not b.target.received
            clock.jump((monday - clock.now()).total_seconds() - 5)
            await b.clock.advance(10)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 2)
            await b.clock.advance(30)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 4)
            await b.clock.advance(120)
            assert len(b.target.received) == 4
            clock.jump((monday + week - clock.now()).total_seconds())
            await b.clock.advance(60)
            await b.reaches(batch_id, lambda r: r.status is BatchStatus.COMPLETED)

    asyncio.run(scenario())


def test_too_many_failures_pause_the_batch_and_are_counted_anew_after_it_was_resumed(bench) -> None:
    async def scenario() -> None:
        target = Slow()
        async with bench(target) as b:
            flow = Flow(max_in_flight=2, failure_threshold=FailureThreshold(count=2))
            batch_id = await b.batch(6, max_concurrent=6, batch_interval=0, flow=flow)
            await settled(b, batch_id, 2)
            target.end(2, ExecutionOutcome.FAILURE)
            record = await becomes(b, batch_id, lambda r: r.status is BatchStatus.PAUSED)
            assert record.reason == "2 executions failed; the limit is 2."
            await b.engine.resume(batch_id, "user")
            await becomes(b, batch_id, lambda r: r.progress.executions.open == 2)
            target.end(1, ExecutionOutcome.FAILURE)
            record = await becomes(b, batch_id, lambda r: r.progress.executions.failed == 3)
            assert record.status is BatchStatus.RUNNING
            target.end(1, ExecutionOutcome.FAILURE)
            await becomes(b, batch_id, lambda r: r.status is BatchStatus.PAUSED)
            kinds = [event.kind for event in await b.store.events(batch_id)]
            assert kinds.count("failure_threshold") == 2

    asyncio.run(scenario())


def test_waiting_ends_at_the_deadline_and_a_later_end_is_recorded(bench) -> None:
    async def scenario() -> None:
        target = Slow()
        async with bench(target) as b:
            batch_id = await b.batch(2, max_concurrent=2, batch_interval=0, flow=Flow(item_deadline=30))
            await settled(b, batch_id, 2)
            waiting = asyncio.create_task(b.engine.wait(batch_id, "finished"))
            target.end(1)
            await b.clock.advance(20)
            assert not waiting.done()
            await b.clock.advance(20)
            record = await asyncio.wait_for(waiting, 10)
            assert (record.progress.executions.timed_out, record.progress.executions.open) == (1, 1)
            assert [item.timed_out for item in await b.store.items(batch_id)] == [False, True]
            target.end(1)
            await b.clock.advance(20)
            record = await b.record(batch_id)
            assert (record.progress.executions.timed_out, record.progress.executions.succeeded) == (0, 2)
            assert [item.timed_out for item in await b.store.items(batch_id)] == [False, False]

    asyncio.run(scenario())
