"""Pause, resume, cancel, and the same on single items, with a clock moved by hand."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from batchkit.core.lifecycle import BatchStatus, ItemStatus
from batchkit.core.outcome import Held, NotSent, Refused, Triggered, Unclear, Wait
from batchkit.core.record import BatchRecord
from batchkit.core.retry import RetryPolicy
from batchkit.engine.kernel import KernelEngine
from batchkit.errors import BatchInterrupted, NotFoundError, StateError, StoreError
from batchkit.testing import ScriptedTarget


@pytest.fixture
def where(address: Path | str) -> Path | str:
    return address


def test_pause_holds_items_already_due(bench) -> None:
    async def scenario() -> None:
        async with bench() as b:
            batch_id = await b.batch(10, max_concurrent=5, batch_interval=60)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 5)
            await b.engine.pause(batch_id, "user")
            await b.clock.advance(600)
            record = await b.record(batch_id)
            assert record.status is BatchStatus.PAUSED
            assert (record.progress.triggered, record.progress.pending) == (5, 5)
            assert len(b.target.received) == 5

    asyncio.run(scenario())


def test_resume_staggers_the_pending_items_from_now(bench) -> None:
    async def scenario() -> None:
        async with bench() as b:
            batch_id = await b.batch(15, max_concurrent=5, batch_interval=60)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 5)
            await b.engine.pause(batch_id, "user")
            await b.clock.advance(1000)
            resumed_at = b.clock.now()
            await b.engine.resume(batch_id, "user")
            items = await b.store.items(batch_id, after=(4,))
            assert [item.execute_at for item in items] == [resumed_at] * 5 + [resumed_at + timedelta(seconds=60)] * 5
            await b.reaches(batch_id, lambda r: r.progress.triggered == 10)
            await b.clock.advance(60)
            await b.reaches(batch_id, lambda r: r.status is BatchStatus.COMPLETED)

    asyncio.run(scenario())


def test_resume_right_after_pause_keeps_to_the_rate(bench) -> None:
    async def scenario() -> None:
        async with bench() as b:
            batch_id = await b.batch(10, max_concurrent=5, batch_interval=60)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 5)
            await b.clock.advance(10)
            await b.engine.pause(batch_id, "user")
            await b.engine.resume(batch_id, "user")
            await b.clock.advance(49)
            assert len(b.target.received) == 5
            await b.clock.advance(1.1)
            await b.reaches(batch_id, lambda r: r.status is BatchStatus.COMPLETED)

    asyncio.run(scenario())


def test_cancel_leaves_triggered_items_and_sends_no_more(bench) -> None:
    async def scenario() -> None:
        async with bench() as b:
            batch_id = await b.batch(10, max_concurrent=5, batch_interval=60)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 5)
            await b.engine.cancel(batch_id, "user")
            await b.clock.advance(600)
            record = await b.record(batch_id)
            assert record.status is BatchStatus.CANCELLED
            assert (record.progress.triggered, record.progress.cancelled, record.progress.pending) == (5, 5, 0)
            for illegal in (b.engine.pause, b.engine.resume, b.engine.cancel):
                with pytest.raises(StateError):
                    await illegal(batch_id, "user")

    asyncio.run(scenario())


def test_a_batch_with_a_future_start_waits_for_it(bench) -> None:
    async def scenario() -> None:
        async with bench() as b:
            batch_id = await b.batch(3, start_in=3600)
            record = await b.reaches(batch_id, lambda r: r.runner_alive)
            assert record.status is BatchStatus.PENDING
            assert not record.interrupted
            await b.clock.advance(3599)
            assert b.target.received == []
            await b.clock.advance(2)
            record = await b.reaches(batch_id, lambda r: r.status is BatchStatus.COMPLETED)
            assert record.started_at is not None
            assert (record.started_at - record.start_at).total_seconds() < 1

    asyncio.run(scenario())


def test_a_pending_batch_whose_items_were_all_cancelled_completes_at_its_start(bench) -> None:
    async def scenario() -> None:
        async with bench() as b:
            batch_id = await b.batch(2, start_in=60)
            await b.engine.cancel_items(batch_id, [0, 1], "user")
            await b.clock.advance(61)
            record = await b.reaches(batch_id, lambda r: r.status is BatchStatus.COMPLETED)
            assert record.progress.cancelled == 2
            assert b.target.received == []

    asyncio.run(scenario())


def test_single_items_are_cancelled_and_the_answer_says_which_were_not(bench) -> None:
    async def scenario() -> None:
        async with bench() as b:
            batch_id = await b.batch(10, max_concurrent=5, batch_interval=60)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 5)
            change = await b.engine.cancel_items(batch_id, [4, 5, 9], "user")
            assert change.done == (5, 9)
            assert change.not_done == {4: "it was already triggered"}
            with pytest.raises(NotFoundError, match="no item 10"):
                await b.engine.cancel_items(batch_id, [10], "user")
            await b.clock.advance(61)
            record = await b.reaches(batch_id, lambda r: r.status is BatchStatus.COMPLETED)
            assert (record.progress.triggered, record.progress.cancelled) == (8, 2)

    asyncio.run(scenario())


def test_a_rescheduled_item_takes_the_first_free_slot_and_keeps_it_over_a_resume(bench) -> None:
    async def scenario() -> None:
        async with bench() as b:
            start = b.clock.now()
            batch_id = await b.batch(10, max_concurrent=5, batch_interval=60)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 5)
            # One interval after the group just sent, and with room: the second group's own slot.
            assert (await b.engine.reschedule_items(batch_id, [9], start + timedelta(seconds=10), "user")).done == (9,)
            [item] = await b.store.items(batch_id, positions=[9])
            assert item.execute_at == start + timedelta(seconds=60)
            await b.engine.reschedule_items(batch_id, [8], start + timedelta(hours=1), "user")
            await b.engine.pause(batch_id, "user")
            await b.clock.advance(300)
            await b.engine.resume(batch_id, "user")
            [item] = await b.store.items(batch_id, positions=[8])
            assert item.execute_at == start + timedelta(hours=1)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 9)
            await b.clock.advance(3700)
            await b.reaches(batch_id, lambda r: r.status is BatchStatus.COMPLETED)

    asyncio.run(scenario())


def test_a_refused_row_is_recorded_and_the_others_go_on(bench) -> None:
    target = ScriptedTarget(
        answer=lambda request, _: Refused(code="400", message="no such client") if request.item == 1 else None
    )

    async def scenario() -> None:
        async with bench(target) as b:
            batch_id = await b.batch(3)
            record = await b.reaches(batch_id, lambda r: r.status is BatchStatus.COMPLETED)
            assert (record.progress.triggered, record.progress.refused) == (2, 1)
            [item] = await b.store.items(batch_id, statuses=[ItemStatus.REFUSED])
            assert (item.item, item.error) == (1, "no such client")

    asyncio.run(scenario())


def test_refused_credentials_pause_the_batch_and_cost_no_row(bench) -> None:
    broken = True
    target = ScriptedTarget(answer=lambda *_: Held(code="401", message="key revoked") if broken else None)

    async def scenario() -> None:
        nonlocal broken
        async with bench(target) as b:
            batch_id = await b.batch(100, max_concurrent=5, batch_interval=60)
            record = await b.reaches(batch_id, lambda r: r.status is BatchStatus.PAUSED)
            assert "key revoked" in record.reason
            assert record.progress.pending == 100
            assert len(target.received) <= 5
            broken = False
            await b.clock.advance(120)
            await b.engine.resume(batch_id, "user")
            await b.reaches(batch_id, lambda r: r.progress.triggered == 5)

    asyncio.run(scenario())


def test_nothing_is_sent_before_retry_after(bench) -> None:
    target = ScriptedTarget(answer=lambda _, n: Wait(retry_after=200.0, message="slow down") if n == 0 else None)

    async def scenario() -> None:
        async with bench(target) as b:
            batch_id = await b.batch(4, max_concurrent=2, batch_interval=60)
            await b.reaches(batch_id, lambda r: r.gate_at is not None and r.progress.pending == 4)
            await b.clock.advance(199)
            assert len(target.received) == 1
            await b.clock.advance(2)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 2)
            await b.clock.advance(61)
            await b.reaches(batch_id, lambda r: r.status is BatchStatus.COMPLETED)

    asyncio.run(scenario())


def test_why_a_batch_waits_is_said_also_when_another_row_of_the_group_was_taken(bench) -> None:
    def answer(_, number):
        return Wait(retry_after=200.0, message="slow down.") if number == 0 else None

    # Both are on their way when the first answer comes.
    target = ScriptedTarget(answer=answer, latency=0.05)

    async def scenario() -> None:
        async with bench(target) as b:
            batch_id = await b.batch(4, max_concurrent=2, batch_interval=60)
            await b.reaches(batch_id, lambda r: (r.progress.triggered, r.progress.pending) == (1, 3))
            await b.clock.advance(150)
            assert "slow down. Next try at" in (await b.record(batch_id)).reason
            await b.clock.advance(120)
            record = await b.reaches(batch_id, lambda r: r.status is BatchStatus.COMPLETED)
            assert record.reason == ""

    asyncio.run(scenario())


def test_what_the_target_asks_of_one_batch_holds_for_the_others_on_its_account(bench) -> None:
    asked: list[str] = []

    def answer(request, _):
        if request.item != 2 or asked:
            return None
        asked.append(request.batch_id)
        return Wait(retry_after=200.0, message="slow down.")

    target = ScriptedTarget(answer=answer)

    async def scenario() -> None:
        async with bench(target) as b:
            first = await b.batch(8, max_concurrent=2, batch_interval=60)
            second = await b.batch(8, max_concurrent=2, batch_interval=70)
            paused = await b.batch(8, max_concurrent=2, batch_interval=60)
            await b.reaches(paused, lambda r: r.progress.triggered == 2)
            await b.engine.pause(paused, "user")
            await b.clock.advance(60)
            await b.reaches(second, lambda r: r.gate_at is not None and "another batch" in r.reason)
            assert asked == [first]
            sent = len(target.received)
            await b.engine.resume(paused, "user")
            await b.clock.advance(199)
            assert len(target.received) == sent
            assert "slow down. Next try at" in (await b.record(second)).reason
            assert (await b.record(paused)).reason == ""
            await b.clock.advance(2)
            for batch_id in (first, second, paused):
                await b.reaches(batch_id, lambda r: r.progress.triggered == 4)
            assert (await b.record(second)).reason == ""
            await b.clock.advance(300)
            for batch_id in (first, second, paused):
                await b.reaches(batch_id, lambda r: r.status is BatchStatus.COMPLETED)

    asyncio.run(scenario())


def test_batches_without_an_interval_hold_back_what_they_had_claimed(bench) -> None:
    asked: list[int] = []

    async def scenario() -> None:
        def answer(request, number):
            if request.batch_id == second or asked:
                return None
            asked.append(number)
            return Wait(retry_after=50.0, message="slow down.")

        target = ScriptedTarget(latency=0.02)
        async with bench(target) as b:
            second = await b.batch(4_000, max_concurrent=10, batch_interval=0)
            await b.reaches(second, lambda r: r.progress.triggered > 20)
            target.answer = answer
            await b.batch(3, max_concurrent=1, batch_interval=0)
            await b.reaches(second, lambda r: "another batch" in r.reason)
            await asyncio.sleep(0.3)
            sent = len(target.received)
            await b.clock.advance(45)
            assert len(target.received) == sent
            record = await b.record(second)
            assert (record.progress.triggering, record.progress.in_doubt) == (0, 0)
            await b.clock.advance(6)
            await b.reaches(second, lambda r: r.progress.triggered > sent + 10)

    asyncio.run(scenario())


def test_an_unreachable_target_is_tried_again_later_and_later(bench) -> None:
    down = True
    target = ScriptedTarget(answer=lambda *_: NotSent(message="connection refused") if down else None)

    async def scenario() -> None:
        nonlocal down
        async with bench(target) as b:
            batch_id = await b.batch(20, max_concurrent=2, batch_interval=0)
            await b.clock.advance(60)
            assert 4 <= len(target.received) <= 12
            assert "connection refused" in (await b.record(batch_id)).reason
            down = False
            await b.clock.advance(120)
            record = await b.reaches(batch_id, lambda r: r.status is BatchStatus.COMPLETED)
            assert (record.progress.triggered, record.reason) == (20, "")
            assert len(target.triggered) == 20

    asyncio.run(scenario())


def test_a_lost_answer_is_looked_up_after_its_quarantine_and_never_sent_twice(bench) -> None:
    lost: list[int] = []

    def answer(request, _):
        if request.attempt == 1 and request.item in (1, 2):
            lost.append(request.item)
            if request.item == 1:
                target.accept(request)
            return Unclear(message="the connection broke")
        return None

    target = ScriptedTarget(answer=answer, total_timeout=60, listing_delay=2)

    async def scenario() -> None:
        async with bench(target) as b:
            batch_id = await b.batch(4, max_concurrent=4, batch_interval=10)
            await b.reaches(batch_id, lambda r: r.progress.in_doubt == 2)
            await b.clock.advance(61)
            assert (await b.record(batch_id)).progress.in_doubt == 2
            await b.clock.advance(10)
            await b.reaches(batch_id, lambda r: r.progress.triggered >= 3)
            await b.clock.advance(20)
            record = await b.reaches(batch_id, lambda r: r.status is BatchStatus.COMPLETED)
            assert record.progress.triggered == 4
            assert sorted(item for _, item in target.triggered) == [0, 1, 2, 3]

    asyncio.run(scenario())


def test_a_target_without_lookup_is_never_sent_to_again_unasked(bench) -> None:
    target = ScriptedTarget(
        answer=lambda request, n: Unclear(message="the connection broke") if n < 2 else None, can_look_up=False
    )

    async def scenario() -> None:
        async with bench(target) as b:
            batch_id = await b.batch(3, max_concurrent=3, batch_interval=10)
            await b.reaches(batch_id, lambda r: r.progress.in_doubt == 2)
            await b.clock.advance(3600)
            assert len(target.received) == 3
            assert (await b.record(batch_id)).status is BatchStatus.RUNNING
            assert (await b.engine.settle_items(batch_id, [0], "retry", "user")).done == (0,)
            assert (await b.engine.settle_items(batch_id, [1], "skip", "user")).done == (1,)
            await b.clock.advance(20)
            record = await b.reaches(batch_id, lambda r: r.status is BatchStatus.COMPLETED)
            assert (record.progress.triggered, record.progress.cancelled) == (2, 1)

    asyncio.run(scenario())


def test_a_target_that_answers_unclearly_again_and_again_pauses_the_batch(bench) -> None:
    target = ScriptedTarget(answer=lambda *_: Unclear(message="HTTP 500"), total_timeout=1e6)

    async def scenario() -> None:
        async with bench(target, policy=RetryPolicy(consecutive=4)) as b:
            batch_id = await b.batch(50, max_concurrent=2, batch_interval=10)
            await b.clock.advance(60)
            record = await b.reaches(batch_id, lambda r: r.status is BatchStatus.PAUSED)
            assert "HTTP 500" in record.reason
            assert record.progress.in_doubt == 4

    asyncio.run(scenario())


def test_a_target_that_raises_costs_no_row(bench) -> None:
    def answer(request, _):
        if request.item == 0:
            raise ValueError("a bug of the target")
        return

    async def scenario() -> None:
        async with bench(ScriptedTarget(answer=answer, total_timeout=1e6)) as b:
            batch_id = await b.batch(2)
            record = await b.reaches(batch_id, lambda r: r.progress.triggered == 1)
            assert record.progress.in_doubt == 1
            [item] = await b.store.items(batch_id, statuses=[ItemStatus.IN_DOUBT])
            assert item.error == "ValueError: a bug of the target"

    asyncio.run(scenario())


def test_slots_missed_in_sleep_are_staggered_from_now_and_the_log_says_so(bench) -> None:
    async def scenario() -> None:
        async with bench() as b:
            batch_id = await b.batch(20, max_concurrent=5, batch_interval=60)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 5)
            b.clock.sleep(3600)
            await b.clock.advance(5)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 10)
            await b.clock.advance(30)
            assert len(b.target.received) == 10
            kinds = [event.kind for event in await b.store.events(batch_id)]
            assert "restaggered" in kinds
            await b.clock.advance(200)
            await b.reaches(batch_id, lambda r: r.status is BatchStatus.COMPLETED)

    asyncio.run(scenario())


def test_a_batch_so_large_that_new_times_take_longer_than_its_interval_goes_on(bench) -> None:
    async def scenario() -> None:
        async with bench() as b:
            restagger, given = b.store.restagger, []

            async def slowly(*args: object) -> int:
                moved = await restagger(*args)
                given.append(moved)
                b.clock.sleep(90)
                return moved

            b.store.restagger = slowly
            batch_id = await b.batch(20, max_concurrent=5, batch_interval=10)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 5)
            b.clock.sleep(3600)
            await b.clock.advance(40)
            await b.reaches(batch_id, lambda r: r.status is BatchStatus.COMPLETED)
            assert given == [15]

    asyncio.run(scenario())


def test_a_clock_set_forward_does_not_break_the_rate(bench) -> None:
    async def scenario() -> None:
        async with bench() as b:
            batch_id = await b.batch(30, max_concurrent=5, batch_interval=60)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 5)
            b.clock.jump(3600)
            await b.clock.advance(59)
            assert len(b.target.received) == 5
            await b.clock.advance(2)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 10)

    asyncio.run(scenario())


def test_a_second_engine_cannot_run_the_batch_and_takes_over_when_the_lease_has_lapsed(bench) -> None:
    async def scenario() -> None:
        async with bench() as b:
            batch_id = await b.batch(10, max_concurrent=5, batch_interval=600)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 5)
            other = KernelEngine(store=b.store, target=b.target, clock=b.clock, poll_seconds=5)
            assert not await other.attend(batch_id)
            _, task = b.engine._runners[batch_id]
            task.cancel()
            await asyncio.wait([task])
            b.clock.sleep(3600)
            assert await other.attend(batch_id)
            await b.clock.advance(1)
            record = await b.reaches(batch_id, lambda r: r.status is BatchStatus.COMPLETED)
            assert record.progress.triggered == 10
            assert sorted(item for _, item in b.target.triggered) == list(range(10))

    asyncio.run(scenario())


def test_the_answer_to_a_request_already_sent_is_recorded_after_a_cancel(bench) -> None:
    asked, release = asyncio.Event(), asyncio.Event()

    class Slow(ScriptedTarget):
        async def trigger(self, request):
            asked.set()
            await release.wait()
            return Triggered(execution=self.accept(request))

    async def scenario() -> None:
        async with bench(Slow()) as b:
            batch_id = await b.batch(2, max_concurrent=1, batch_interval=60)
            await asked.wait()
            await b.engine.cancel(batch_id, "user")
            release.set()
            record = await b.reaches(batch_id, lambda r: r.progress.triggering == 0)
            assert (record.progress.triggered, record.progress.cancelled) == (1, 1)

    asyncio.run(scenario())


@pytest.mark.parametrize(("runs", "patience"), [(False, 60.0), (True, 10.0)])
def test_who_waits_through_an_outage_gives_the_runner_time_to_renew_its_lease(
    bench, monkeypatch, runs, patience
) -> None:
    async def scenario() -> None:
        async with bench() as b:
            batch_id = await b.batch(3, attend=False)
            other = "elsewhere:1:x"
            assert await b.store.acquire(batch_id, other, settle_after=None)
            watching = KernelEngine(
                store=b.store, target=b.target, clock=b.clock, poll_seconds=1, runs=runs, worker_patience=patience
            )
            waiting = asyncio.ensure_future(watching.wait(batch_id, "triggered"))
            while not b.clock._known:
                await asyncio.sleep(0.002)
            await b.clock.advance(2)
            with monkeypatch.context() as outage:
                outage.setattr(b.store, "batch", unreachable)
                await b.clock.advance(100)
            # The lease has lapsed by now.
            await b.clock.advance(patience - 2)
            assert not waiting.done()
            assert await b.store.acquire(batch_id, other, settle_after=None)
            await b.clock.advance(5)
            assert not waiting.done()
            await b.clock.advance(15 + patience)
            with pytest.raises(BatchInterrupted):
                await waiting

    asyncio.run(scenario())


async def unreachable(batch_id: str) -> BatchRecord:
    error = StoreError(f"Nobody knows of {batch_id}: there is no connection.")
    error.passing = True
    raise error
