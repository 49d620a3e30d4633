"""Moments at which two things happen at once, each of which once cost a promise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from batchkit.core.lifecycle import BatchStatus
from batchkit.core.outcome import Outcome, Triggered, Unclear, Wait
from batchkit.core.record import Lease, Tick
from batchkit.core.request import TriggerRequest
from batchkit.engine.kernel import KernelEngine
from batchkit.errors import StateError, StoreError
from batchkit.io.clock import SystemClock
from batchkit.io.store import SqlStore
from batchkit.testing import ScriptedTarget

#: seconds, however busy the machine is; it only guards against a hang
PATIENCE = 60.0


class Gated(SqlStore):
    """A store whose claiming visits can be held back once their work is done."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.open = asyncio.Event()
        self.open.set()
        self.claimed = asyncio.Event()

    async def tick(self, lease: Lease, *, claim: int = 0, **more: Any) -> Tick:
        tick = await super().tick(lease, claim=claim, **more)
        if tick.claimed:
            self.claimed.set()
            await self.open.wait()
        return tick


class Slow(SqlStore):
    """A store that takes its time to say what it has claimed."""

    seconds = 0.0

    async def tick(self, lease: Lease, **more: Any) -> Tick:
        tick = await super().tick(lease, **more)
        if tick.claimed:
            self._clock.sleep(self.seconds)
        return tick


class LosesAcknowledgements(SqlStore):
    """A store that says it failed although it had committed, as after an error of fsync."""

    failures = 0

    async def tick(self, lease: Lease, **more: Any) -> Tick:
        tick = await super().tick(lease, **more)
        if tick.claimed and self.failures:
            self.failures -= 1
            raise StoreError("The store failed: disk I/O error.")
        return tick


class Answers(ScriptedTarget):
    """A target whose answers the test gives, in the order of the requests."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[asyncio.Future[Outcome | None]] = []

    async def trigger(self, request: TriggerRequest) -> Outcome:
        answer: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        self.waiting.append(answer)
        said = await answer
        return said if said is not None else Triggered(execution=self.accept(request))

    def give_up(self) -> None:
        for answer in self.waiting:
            answer.cancel()


async def eventually(met: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not met():
            await asyncio.sleep(0.002)


def test_what_was_claimed_during_a_wait_is_not_sent_when_another_answer_comes(bench, tmp_path) -> None:
    async def scenario() -> None:
        target = Answers()
        async with bench(target) as b:
            b.store = b.engine._store = store = Gated(tmp_path / "gated.sqlite", b.clock)
            batch_id = await b.batch(30, max_concurrent=4, batch_interval=0)
            await b.reaches(batch_id, lambda r: len(target.waiting) == 4)
            store.claimed.clear()
            store.open.clear()
            for answer in target.waiting[:2]:
                answer.set_result(None)
            await asyncio.wait_for(store.claimed.wait(), PATIENCE)
            # Rows are claimed, and the store's answer is still on its way: now the target asks to wait.
            target.waiting[2].set_result(Wait(retry_after=60.0, message="later"))
            await eventually(lambda: len(b.engine._runners[batch_id][0]._sender._sending) == 1)
            store.open.set()
            await b.clock.advance(0.1)
            record = await b.reaches(batch_id, lambda r: r.progress.triggering == 1)
            assert record.gate_at is not None, "another process would send too early"
            target.waiting[3].set_result(None)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 3)
            await b.clock.advance(59)
            assert len(target.waiting) == 4
            await b.clock.advance(2)
            await b.reaches(batch_id, lambda r: len(target.waiting) > 4)
            target.give_up()

    asyncio.run(scenario())


def test_a_group_that_left_late_keeps_the_next_one_back_in_another_process_too(bench, tmp_path) -> None:
    async def scenario() -> None:
        async with bench() as b:
            store = b.store = b.engine._store = Slow(tmp_path / "slow.sqlite", b.clock)
            batch_id = await b.batch(30, max_concurrent=4, batch_interval=60)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 4)
            store.seconds = 0.8
            await b.clock.advance(60.1)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 8)
            store.seconds = 0.0
            left = b.clock.boot()[1]
            await b.engine._close()
            other = KernelEngine(store=store, target=b.target, clock=b.clock, poll_seconds=5)
            assert await other.attend(batch_id)
            await b.clock.advance(59.5)
            assert len(b.target.received) == 8, "more than four within a minute"
            await b.clock.advance(1)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 12)
            assert b.clock.boot()[1] - left >= 59.75
            await other._close()

    asyncio.run(scenario())


def test_a_batch_attended_to_twice_at_once_has_one_runner(bench) -> None:
    async def scenario() -> None:
        async with bench() as b:
            batch_id = await b.batch(10, attend=False)
            assert await asyncio.gather(b.engine.attend(batch_id), b.engine.attend(batch_id)) == [True, True]
            record = await b.reaches(batch_id, lambda r: r.progress.triggered == 5)
            assert record.epoch == 1

    asyncio.run(scenario())


def test_a_second_pause_that_is_refused_does_not_undo_the_first(bench, tmp_path) -> None:
    async def scenario() -> None:
        async with bench() as b:
            b.store = b.engine._store = store = Gated(tmp_path / "gated.sqlite", b.clock)
            store.open.clear()
            batch_id = await b.batch(10, attend=False)
            await b.engine.attend(batch_id)
            await asyncio.wait_for(store.claimed.wait(), PATIENCE)
            await b.engine.pause(batch_id, "user")
            with pytest.raises(StateError):
                await b.engine.pause(batch_id, "user")
            store.open.set()
            await b.reaches(batch_id, lambda r: r.progress.triggering == 0)
            assert b.target.received == []
            assert (await b.record(batch_id)).progress.pending == 10

    asyncio.run(scenario())


def test_a_claim_whose_acknowledgement_was_lost_is_made_again(bench, tmp_path) -> None:
    async def scenario() -> None:
        async with bench() as b:
            b.store = b.engine._store = store = LosesAcknowledgements(tmp_path / "lossy.sqlite", b.clock)
            store.failures = 1
            batch_id = await b.batch(10, max_concurrent=5, batch_interval=60)
            await b.reaches(batch_id, lambda r: r.progress.triggering == 5)
            await b.clock.advance(2)
            record = await b.reaches(batch_id, lambda r: r.progress.triggering == 0)
            assert (record.progress.pending, record.progress.in_doubt) == (10, 0)
            await b.clock.advance(60)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 5)
            assert [r.request.attempt for r in b.target.received] == [2] * 5
            await b.clock.advance(60)
            await b.reaches(batch_id, lambda r: r.status is BatchStatus.COMPLETED)

    asyncio.run(scenario())


def test_what_is_on_its_way_is_not_taken_for_a_lost_claim(bench, tmp_path) -> None:
    async def scenario() -> None:
        target = Answers()
        async with bench(target) as b:
            b.store = b.engine._store = store = LosesAcknowledgements(tmp_path / "lossy.sqlite", b.clock)
            batch_id = await b.batch(20, max_concurrent=4, batch_interval=0)
            await b.reaches(batch_id, lambda r: len(target.waiting) == 4)
            store.failures = 1
            for answer in target.waiting[:2]:
                answer.set_result(None)
            await eventually(lambda: not store.failures)
            await b.clock.advance(10)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 2 and len(target.waiting) >= 6)
            async with asyncio.timeout(PATIENCE):
                while (await b.record(batch_id)).status is BatchStatus.RUNNING:
                    for answer in target.waiting:
                        answer.done() or answer.set_result(None)
            assert sorted(item for _, item in target.triggered) == list(range(20))
            attempts = {item.item: item.attempt for item in await b.store.items(batch_id)}
            assert [attempts[item] for item in range(4)] == [1] * 4

    asyncio.run(scenario())


def test_waiting_survives_a_sleep_that_outlasts_the_lease(bench) -> None:
    async def scenario() -> None:
        async with bench() as b:
            batch_id = await b.batch(10, max_concurrent=5, batch_interval=60)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 5)
            b.clock.sleep(3600)
            waiting = asyncio.create_task(b.engine.wait(batch_id, "triggered"))
            await asyncio.sleep(0.05)
            await b.clock.advance(70)
            record = await asyncio.wait_for(waiting, PATIENCE)
            assert record.status is BatchStatus.COMPLETED

    asyncio.run(scenario())


def test_a_batch_lost_to_another_runner_can_be_taken_back_while_the_last_answers_come(bench) -> None:
    async def scenario() -> None:
        target = Answers()
        async with bench(target) as b:
            batch_id = await b.batch(2, max_concurrent=1, batch_interval=0)
            await b.reaches(batch_id, lambda r: len(target.waiting) == 1)
            b.clock.sleep(60)
            other = KernelEngine(store=b.store, target=b.target, clock=b.clock, poll_seconds=5)
            assert await other.attend(batch_id)
            runner, _ = b.engine._runners[batch_id]
            runner.wake()
            await eventually(lambda: runner.lost)
            other._runners[batch_id][1].cancel()
            await b.reaches(batch_id, lambda r: not r.runner_alive)
            taking = asyncio.create_task(b.engine.attend(batch_id))
            await asyncio.sleep(0.05)
            target.waiting[0].set_result(None)
            assert await asyncio.wait_for(taking, PATIENCE)
            record = await b.reaches(batch_id, lambda r: r.runner_alive)
            assert (record.epoch, record.runner) == (3, b.engine.owner)
            target.give_up()

    asyncio.run(scenario())


def test_closing_records_what_the_target_gives_up_and_leaves_the_batch_to_others(bench, monkeypatch) -> None:
    class Hanging(Answers):
        async def aclose(self) -> None:
            for answer in self.waiting:
                answer.set_result(Unclear(message="The target was closed."))

    monkeypatch.setattr("batchkit.engine.kernel._CLOSE_SECONDS", 0.2)

    async def scenario() -> None:
        async with bench(Hanging(), clock=SystemClock()) as b:
            batch_id = await b.batch(3, attend=False)
            await b.engine.attend(batch_id)
            await eventually(lambda: len(b.target.waiting) == 3)
            await b.engine._close()
            record = await b.record(batch_id)
            assert (record.progress.in_doubt, record.progress.triggering) == (3, 0)
            assert not record.runner_alive
            b.target.waiting.clear()

    asyncio.run(scenario())
