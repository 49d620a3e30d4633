"""What the store lets in: by the limits of a batch, and by the rows' own times."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from new_batches import new_batch
from sqlalchemy import create_engine

from batchkit.core.execution import Execution, ExecutionStatus
from batchkit.core.flow import Flow
from batchkit.core.hours import WorkingHours
from batchkit.core.lifecycle import BatchStatus
from batchkit.core.limits import Limits
from batchkit.core.outcome import Triggered, Unclear
from batchkit.core.record import ItemOutcome, Lease, Tick
from batchkit.core.request import NewItem
from batchkit.core.schedule import Pace
from batchkit.errors import ConfigError, StateError
from batchkit.io.schema import batches
from batchkit.io.store import SqlStore
from batchkit.testing import FakeClock

PACE = Pace(max_concurrent=2, batch_interval=60)
MINUTE = timedelta(minutes=1)


class Shop:
    """A store with one batch and its lease."""

    def __init__(self, address: Path | str) -> None:
        self.clock = FakeClock()
        self.start = self.clock.now()
        self.store = SqlStore(address, self.clock)

    async def batch(
        self, rows: int, flow: Flow, pace: Pace = PACE, not_before: dict[int, timedelta] | None = None
    ) -> Lease:
        earliest = {row: self.start + after for row, after in (not_before or {}).items()}
        batch_id = await self.store.begin(new_batch(self.start, pace=pace, flow=flow))
        await self.store.add(
            batch_id,
            [
                NewItem(row=n + 2, line=None, cells=(), inputs={}, metadata={}, not_before=earliest.get(n))
                for n in range(rows)
            ],
        )
        await self.store.publish(batch_id, "user")
        lease = await self.store.acquire(batch_id, "me", settle_after=1)
        assert lease is not None
        return lease

    def outcome(self, tick: Tick, number: int, outcome: Triggered | Unclear) -> ItemOutcome:
        claim = tick.claimed[number]
        return ItemOutcome(item=claim.item, attempt=claim.attempt, outcome=outcome, at=self.clock.now())

    async def minutes(self, batch_id: str) -> list[float]:
        return [(item.execute_at - self.start) / MINUTE for item in await self.store.items(batch_id)]


@pytest.fixture
def shop(address: Path | str) -> Iterator[Shop]:
    them = Shop(address)
    yield them
    them.store.shutdown()


def runs(status: ExecutionStatus = ExecutionStatus.RUNNING, number: int = 0) -> Triggered:
    return Triggered(execution=Execution(id=f"x{number}", status=status))


def test_what_is_sent_in_doubt_or_unfinished_counts_as_in_flight(shop: Shop) -> None:
    async def scenario() -> None:
        flow = Flow(max_in_flight=3, on_capacity_limit="queue")
        lease = await shop.batch(9, flow, Pace(max_concurrent=9, batch_interval=0))
        first = await shop.store.tick(lease, claim=9)
        assert [claim.item for claim in first.claimed] == [0, 1, 2]
        assert {claim.request.on_capacity_limit for claim in first.claimed} == {"queue"}
        assert first.batch.room == 0
        outcomes = [
            shop.outcome(first, 0, runs(ExecutionStatus.AWAITING_CONFIRMATION)),
            shop.outcome(first, 1, Unclear(message="lost")),
            shop.outcome(first, 2, runs(ExecutionStatus.COMPLETED, 2)),
        ]
        second = await shop.store.tick(lease, outcomes=outcomes, claim=9)
        assert [claim.item for claim in second.claimed] == [3]
        assert second.batch.progress.in_flight == 3

    asyncio.run(scenario())


def test_nothing_is_claimed_by_limits_that_have_changed_meanwhile(shop: Shop) -> None:
    async def scenario() -> None:
        lease = await shop.batch(4, Flow())
        known = (await shop.store.batch(lease.batch_id)).revision
        await shop.store.change_limits(lease.batch_id, Limits(max_concurrent=1), "user")
        assert not (await shop.store.tick(lease, claim=2, revision=known)).claimed
        assert len((await shop.store.tick(lease, claim=1, revision=known + 1)).claimed) == 1

    asyncio.run(scenario())


def test_nothing_is_claimed_outside_the_working_hours(shop: Shop) -> None:
    async def scenario() -> None:
        # The clock starts on a Thursday.
        lease = await shop.batch(
            4, Flow(working_hours=WorkingHours(days="fri", start="00:00", end="01:00", zone="UTC"))
        )
        assert await shop.minutes(lease.batch_id) == [1440, 1440, 1441, 1441]
        await shop.store.reschedule_items(lease.batch_id, [3], shop.start, "user")
        assert await shop.minutes(lease.batch_id) == [1440, 1440, 1441, 1440]
        shop.clock.jump(86_400)
        assert not (await shop.store.tick(lease, claim=2, until=shop.start)).claimed
        await shop.store.pause(lease.batch_id, "user")
        await shop.store.resume(lease.batch_id, "user")
        assert len((await shop.store.tick(lease, claim=3)).claimed) == 2

    asyncio.run(scenario())


def test_a_row_is_due_in_the_first_slot_at_or_after_its_own_time_also_when_staggered_anew(shop: Shop) -> None:
    async def scenario() -> None:
        own = {1: timedelta(seconds=90), 2: timedelta(seconds=-5), 3: timedelta(minutes=5)}
        lease = await shop.batch(5, Flow(), not_before=own)
        assert await shop.minutes(lease.batch_id) == [0, 2, 1, 5, 2]
        shop.clock.jump(30)
        await shop.store.pause(lease.batch_id, "user")
        await shop.store.resume(lease.batch_id, "user")
        assert await shop.minutes(lease.batch_id) == [0.5, 1.5, 0.5, 5.5, 1.5]

    asyncio.run(scenario())


def test_rows_own_times_also_hold_within_working_hours_and_without_an_interval(shop: Shop) -> None:
    async def scenario() -> None:
        hours = WorkingHours(days=["thu"], start="00:00", end="00:03", zone="UTC")
        own = {0: timedelta(seconds=90), 1: timedelta(hours=5)}
        lease = await shop.batch(2, Flow(working_hours=hours), not_before=own)
        assert await shop.minutes(lease.batch_id) == [2, 7 * 1440]
        lease = await shop.batch(2, Flow(), Pace(max_concurrent=1, batch_interval=0), own)
        await shop.store.pause(lease.batch_id, "user")
        await shop.store.resume(lease.batch_id, "user")
        assert await shop.minutes(lease.batch_id) == [1.5, 300]

    asyncio.run(scenario())


_KEPT = {
    "item_deadline": 1e9,
    "working_hours": {"days": ["mon"], "start": "08:00:00", "end": "18:00:00", "zone": "Mars/Olympus"},
}


@pytest.mark.parametrize("name", list(_KEPT))
def test_what_a_store_kept_before_more_was_checked_is_read_run_and_cancelled(
    shop: Shop, address: Path | str, name: str
) -> None:
    async def scenario() -> None:
        lease = await shop.batch(4, Flow())
        url = address if isinstance(address, str) else f"sqlite:///{address}"
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(batches.update().values(flow=json.dumps({name: _KEPT[name]}), batch_interval=1e-9))
        engine.dispose()
        assert len(await shop.store.batches()) == 1
        assert (await shop.store.overview(limit=5)).batches
        await shop.store.release(lease)
        lease = await shop.store.acquire(lease.batch_id, "me", settle_after=1)
        assert lease is not None
        assert (await shop.store.tick(lease)).batch.status is BatchStatus.RUNNING
        if name == "item_deadline":
            assert len((await shop.store.tick(lease, claim=1, until=shop.start)).claimed) == 1
            assert await shop.store.time_out(lease.batch_id) is None
            await shop.store.change_limits(lease.batch_id, Limits(max_concurrent=3), "user")
            await shop.store.pause(lease.batch_id, "user")
            await shop.store.resume(lease.batch_id, "user")
        assert (await shop.store.cancel(lease.batch_id, "user")).status is BatchStatus.CANCELLED

    asyncio.run(scenario())


def test_the_limits_of_a_batch_that_has_ended_cannot_be_changed(shop: Shop) -> None:
    async def scenario() -> None:
        lease = await shop.batch(1, Flow())
        await shop.store.cancel(lease.batch_id, "user")
        with pytest.raises(StateError, match="has ended"):
            await shop.store.change_limits(lease.batch_id, Limits(max_in_flight=1), "user")
        assert (await shop.store.batch(lease.batch_id)).status is BatchStatus.CANCELLED

    asyncio.run(scenario())


def test_rows_ahead_of_a_pending_one_are_counted(shop: Shop) -> None:
    async def scenario() -> None:
        lease = await shop.batch(5, Flow())
        await shop.store.reschedule_items(lease.batch_id, [0], shop.start + 10 * MINUTE, "user")
        assert [await shop.store.ahead_of(lease.batch_id, item) for item in range(5)] == [4, 0, 1, 2, 3]

    asyncio.run(scenario())


def test_the_largest_limits_are_kept_and_worked_with(shop: Shop) -> None:
    async def scenario() -> None:
        most = 2**31 - 1
        lease = await shop.batch(3, Flow(max_in_flight=most), Pace(max_concurrent=most, batch_interval=60))
        await shop.store.pause(lease.batch_id, "Ada")
        await shop.store.resume(lease.batch_id, "Ada")
        await shop.store.change_limits(lease.batch_id, Limits(max_concurrent=most - 1), "Ada")
        tick = await shop.store.tick(lease, claim=most, until=shop.clock.now())
        assert len(tick.claimed) == 3
        assert tick.batch.pace.max_concurrent == most - 1
        with pytest.raises(ConfigError, match="at most 2,147,483,647"):
            Limits(max_concurrent=most + 1)

    asyncio.run(scenario())
