"""Leaving a batch to whoever is woken for it, and finding those that nobody attends to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from new_batches import new_batch, new_items

from batchkit.core.execution import Execution, ExecutionStatus
from batchkit.core.outcome import Triggered
from batchkit.core.record import ItemOutcome
from batchkit.core.schedule import Pace
from batchkit.core.wake import RESTING
from batchkit.io.leases import LEASE_SECONDS, REST_GRACE_SECONDS
from batchkit.io.store import SqlStore
from batchkit.testing import FakeClock

HOUR = timedelta(hours=1)


class Shop:
    def __init__(self, address: Path | str) -> None:
        self.clock = FakeClock()
        self.store = SqlStore(address, self.clock)

    async def batch(self, rows: int = 4, *, start_in: float = 0.0, interval: float = 3600.0) -> str:
        start = self.clock.now() + timedelta(seconds=start_in)
        pace = Pace(max_concurrent=1, batch_interval=interval)
        batch_id = await self.store.begin(new_batch(start, pace=pace))
        await self.store.add(batch_id, new_items(rows))
        await self.store.publish(batch_id, "user")
        return batch_id

    async def unattended(self) -> list[str]:
        return [batch.id for batch in await self.store.unattended()]


@pytest.fixture
def shop(address: Path | str) -> Iterator[Shop]:
    them = Shop(address)
    yield them
    them.store.shutdown()


Run = Callable[[Callable[[Shop], Awaitable[None]]], None]


@pytest.fixture
def run(shop: Shop) -> Run:
    async def whole(scenario: Callable[[Shop], Awaitable[None]]) -> None:
        await scenario(shop)

    return lambda scenario: asyncio.run(whole(scenario))


def test_a_batch_that_was_entrusted_is_nobodys_and_not_interrupted(run: Run) -> None:
    async def scenario(shop: Shop) -> None:
        batch_id = await shop.batch()
        lease = await shop.store.acquire(batch_id, "one", settle_after=None)
        assert lease is not None
        assert await shop.store.entrust(batch_id, shop.clock.now() + HOUR, revision=0, lease=lease)
        shop.clock.sleep(3600 + REST_GRACE_SECONDS - 1)
        batch = await shop.store.batch(batch_id)
        assert (batch.runner, batch.interrupted) == (RESTING, False)
        shop.clock.sleep(2)
        assert (await shop.store.batch(batch_id)).interrupted
        # Its former runner has it no longer, and anybody may have it.
        assert (await shop.store.tick(lease)).lease is None
        assert await shop.store.acquire(batch_id, "another", settle_after=None) is not None

    run(scenario)


def test_anybody_may_have_a_batch_before_it_is_woken(run: Run) -> None:
    async def scenario(shop: Shop) -> None:
        batch_id = await shop.batch()
        assert await shop.store.entrust(batch_id, shop.clock.now() + HOUR, revision=0)
        lease = await shop.store.acquire(batch_id, "one", settle_after=None)
        assert lease is not None
        assert lease.epoch == 1
        assert (await shop.store.tick(lease)).lease is not None

    run(scenario)


def test_a_batch_is_not_entrusted_over_a_living_runner_or_another_revision(run: Run) -> None:
    async def scenario(shop: Shop) -> None:
        batch_id = await shop.batch()
        lease = await shop.store.acquire(batch_id, "one", settle_after=None)
        assert lease is not None
        now = shop.clock.now()
        assert not await shop.store.entrust(batch_id, now, revision=0)
        await shop.store.pause(batch_id, "user")
        assert not await shop.store.entrust(batch_id, None, revision=0, lease=lease)
        assert (await shop.store.batch(batch_id)).runner == "one"
        assert await shop.store.entrust(batch_id, None, revision=1, lease=lease)
        assert (await shop.store.batch(batch_id)).runner == ""

    run(scenario)


def test_what_is_overdue_and_nobodys_is_found(run: Run) -> None:
    async def scenario(shop: Shop) -> None:
        begun, later = await shop.batch(), await shop.batch(start_in=3600)
        assert await shop.unattended() == []
        shop.clock.sleep(3)
        assert await shop.unattended() == [begun]
        lease = await shop.store.acquire(begun, "one", settle_after=None)
        assert lease is not None
        assert await shop.unattended() == []
        tick = await shop.store.tick(lease, claim=1)
        shop.clock.sleep(LEASE_SECONDS + 1)
        assert await shop.unattended() == [begun]
        execution = Execution(id="e", status=ExecutionStatus.COMPLETED)
        [claim] = tick.claimed
        outcome = ItemOutcome(
            item=0, attempt=claim.attempt, outcome=Triggered(execution=execution), at=shop.clock.now()
        )
        await shop.store.tick(lease, outcomes=[outcome])
        # Its next row is due in an hour, and that it rests until then is as it should be.
        await shop.store.release(lease)
        assert await shop.unattended() == []
        assert await shop.store.entrust(begun, shop.clock.now() + HOUR, revision=0)
        assert await shop.unattended() == []
        # Somebody has moved a row and died before waking anybody.
        await shop.store.reschedule_items(begun, [3], shop.clock.now(), "user")
        shop.clock.sleep(3600)
        assert set(await shop.unattended()) == {begun, later}
        await shop.store.pause(begun, "user")
        await shop.store.cancel(later, "user")
        assert await shop.unattended() == []

    run(scenario)


def test_executions_that_nobody_follows_are_found_whatever_became_of_the_batch(run: Run) -> None:
    async def scenario(shop: Shop) -> None:
        batch_id = await shop.batch(2)
        lease = await shop.store.acquire(batch_id, "one", settle_after=None)
        assert lease is not None
        [claim] = (await shop.store.tick(lease, claim=1)).claimed
        execution = Execution(id="e", status=ExecutionStatus.RUNNING)
        outcome = ItemOutcome(
            item=0, attempt=claim.attempt, outcome=Triggered(execution=execution), at=shop.clock.now()
        )
        await shop.store.tick(lease, outcomes=[outcome])
        await shop.store.cancel(batch_id, "user")
        assert await shop.unattended() == []
        await shop.store.release(lease)
        assert await shop.unattended() == [batch_id]

    run(scenario)
