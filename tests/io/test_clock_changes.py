"""The wall clock is set while a batch waits: forward, back, by little, and across a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from batchkit.core.outcome import Unclear
from batchkit.core.record import ItemOutcome, Lease, NewBatch
from batchkit.core.request import NewItem
from batchkit.core.schedule import Pace
from batchkit.core.target import TargetInfo
from batchkit.io.leases import LEASE_SECONDS
from batchkit.io.store import SqlStore
from batchkit.testing import FakeClock

INTERVAL, QUARANTINE = timedelta(seconds=60), timedelta(seconds=10)
HOUR = 3600.0
either_way = pytest.mark.parametrize("change", [HOUR, -HOUR, 0.5, -0.5])


class RebootingClock(FakeClock):
    """A FakeClock of a machine that can be booted."""

    boots = 1

    def boot(self) -> tuple[str, float]:
        return f"boot {self.boots}", super().boot()[1]


class Shop:
    """A batch of four rows, of which one was sent and its answer lost."""

    def __init__(self, address: Path | str) -> None:
        self.clock = RebootingClock()
        self.store = SqlStore(address, self.clock)
        self.batch_id = ""

    async def open(self) -> Lease:
        new = NewBatch(
            name="b",
            agent_id="agent-1",
            agent_name="Agent",
            version=None,
            target=TargetInfo(kind="scripted", url="memory"),
            pace=Pace(max_concurrent=1, batch_interval=INTERVAL.total_seconds()),
            start_at=self.clock.now() - timedelta(seconds=1),
        )
        self.batch_id = await self.store.begin(new)
        rows = [NewItem(row=n + 2, line=n + 2, cells=(str(n),), inputs={}, metadata={}) for n in range(4)]
        await self.store.add(self.batch_id, rows)
        await self.store.publish(self.batch_id, "Ada")
        lease = await self.acquire()
        now = self.clock.now()
        await self.store.tick(lease, claim=1, until=now, gate=now + INTERVAL)
        await self.store.tick(lease, outcomes=[self.lost()])
        return lease

    async def acquire(self, owner: str = "me") -> Lease:
        lease = await self.store.acquire(self.batch_id, owner, settle_after=QUARANTINE.total_seconds())
        assert lease is not None
        return lease

    def lost(self) -> ItemOutcome:
        now = self.clock.now()
        return ItemOutcome(item=0, attempt=1, outcome=Unclear(message="lost"), at=now, settle_at=now + QUARANTINE)

    async def waits(self) -> tuple[timedelta, timedelta]:
        """How long from now on no group starts, and the row in doubt is not looked up."""
        gate_at = (await self.store.batch(self.batch_id)).gate_at
        settle_at = (await self.store.items(self.batch_id))[0].settle_at
        assert gate_at is not None
        assert settle_at is not None
        return gate_at - self.clock.now(), settle_at - self.clock.now()

    async def told(self) -> list[str]:
        return [event.message for event in await self.store.events(self.batch_id) if event.kind == "clock"]


@pytest.fixture
def run(address: Path | str) -> Callable[[Callable[[Shop, Lease], Awaitable[None]]], None]:
    def runner(scenario: Callable[[Shop, Lease], Awaitable[None]]) -> None:
        async def whole() -> None:
            shop = Shop(address)
            try:
                await scenario(shop, await shop.open())
            finally:
                shop.store.shutdown()

        asyncio.run(whole())

    return runner


@either_way
def test_waits_are_as_long_as_before_once_the_runner_came_by(run, change) -> None:
    async def scenario(shop: Shop, lease: Lease) -> None:
        await shop.clock.advance(4)
        shop.clock.jump(change)
        tick = await shop.store.tick(lease)
        assert await shop.waits() == (INTERVAL - timedelta(seconds=4), QUARANTINE - timedelta(seconds=4))
        assert tick.next_settle is not None
        [message] = await shop.told()
        assert f"set {'forward' if change > 0 else 'back'} by {abs(change):,.1f} s" in message
        await shop.store.tick(lease)
        assert len(await shop.told()) == 1

    run(scenario)


@either_way
def test_waits_are_as_long_as_before_for_whoever_takes_over(run, change) -> None:
    async def scenario(shop: Shop, _lease: Lease) -> None:
        shop.clock.jump(change)
        await shop.clock.advance(20)
        await shop.acquire("another")
        assert await shop.waits() == (INTERVAL - timedelta(seconds=20), QUARANTINE - timedelta(seconds=20))

    run(scenario)


def test_nothing_is_claimed_on_a_visit_that_finds_the_clock_set(run) -> None:
    async def scenario(shop: Shop, lease: Lease) -> None:
        shop.clock.jump(HOUR)
        now = shop.clock.now()
        tick = await shop.store.tick(lease, claim=1, until=now, gate=now + INTERVAL)
        assert tick.claimed == ()
        assert (await shop.waits())[0] == INTERVAL

    run(scenario)


@either_way
def test_an_answer_lost_before_the_clock_was_set_is_in_quarantine_from_the_visit_on(run, change) -> None:
    async def scenario(shop: Shop, lease: Lease) -> None:
        await shop.clock.advance(60)
        [doubtful] = await shop.store.doubtful(shop.batch_id, 5)
        assert doubtful.item == 0
        await shop.store.settle_items(shop.batch_id, [0], "retry", "Ada")
        due = (await shop.store.batch(shop.batch_id)).next_due
        assert due is not None
        [claim] = (await shop.store.tick(lease, claim=1, until=max(due, shop.clock.now()))).claimed
        now = shop.clock.now()
        outcome = ItemOutcome(
            item=claim.item,
            attempt=claim.attempt,
            outcome=Unclear(message="lost"),
            at=now,
            settle_at=now + QUARANTINE,
        )
        shop.clock.jump(change)
        await shop.store.tick(lease, outcomes=[outcome])
        item = (await shop.store.items(shop.batch_id))[claim.item]
        assert item.settle_at == shop.clock.now() + QUARANTINE

    run(scenario)


def test_a_clock_that_is_kept_right_little_by_little_is_not_set(run) -> None:
    async def scenario(shop: Shop, lease: Lease) -> None:
        before: datetime | None = (await shop.store.batch(shop.batch_id)).gate_at
        for _ in range(30):
            shop.clock.jump(0.1)
            await shop.clock.advance(6)
            await shop.store.tick(lease)
        assert (await shop.store.batch(shop.batch_id)).gate_at == before
        assert await shop.told() == []

    run(scenario)


@pytest.mark.parametrize("sleeps", [8.0, HOUR])
def test_sleeping_is_not_setting_the_clock(run, sleeps) -> None:
    async def scenario(shop: Shop, lease: Lease) -> None:
        shop.clock.sleep(sleeps)
        await shop.store.tick(lease)
        assert (await shop.waits())[0] == INTERVAL - timedelta(seconds=sleeps)
        assert await shop.told() == []

    run(scenario)


class Machine(FakeClock):
    """The clock of another machine, which was booted so many seconds later than that of the shop."""

    def __init__(self, later: float) -> None:
        super().__init__(boot_id="of the other machine")
        self._later = later

    def boot(self) -> tuple[str, float]:
        boot_id, seconds = super().boot()
        return boot_id, seconds - self._later


@pytest.mark.parametrize("later", [48 * HOUR, -48 * HOUR])
def test_machines_booted_at_other_times_are_no_clock_that_was_set(run, address, later) -> None:
    async def scenario(shop: Shop, _lease: Lease) -> None:
        clock = Machine(later)
        store = SqlStore(address, clock)

        async def sleep(seconds: float) -> None:
            shop.clock.sleep(seconds)
            clock.sleep(seconds)

        try:
            # Its worker is gone; on another machine it is found and left to whoever is woken, who is there too.
            await sleep(LEASE_SECONDS + 1)
            batch = await store.batch(shop.batch_id)
            assert await store.entrust(shop.batch_id, clock.now() + QUARANTINE, revision=batch.revision)
            await sleep(4)
            assert await store.acquire(shop.batch_id, "there", settle_after=None) is not None
            gone = timedelta(seconds=LEASE_SECONDS + 5)
            assert await shop.waits() == (INTERVAL - gone, QUARANTINE - gone)
            # And back again.
            await sleep(LEASE_SECONDS + 1)
            assert await shop.store.entrust(shop.batch_id, clock.now() + QUARANTINE, revision=batch.revision)
            await shop.store.pause(shop.batch_id, "Ada")
            await shop.store.resume(shop.batch_id, "Ada")
            gone += timedelta(seconds=LEASE_SECONDS + 1)
            assert await shop.waits() == (INTERVAL - gone, QUARANTINE - gone)
            assert await shop.told() == []
        finally:
            store.shutdown()

    run(scenario)


@either_way
def test_a_clock_set_before_a_batch_is_entrusted_leaves_the_waits(run, change) -> None:
    async def scenario(shop: Shop, lease: Lease) -> None:
        shop.clock.jump(change)
        assert await shop.store.entrust(shop.batch_id, shop.clock.now() + INTERVAL, revision=0, lease=lease)
        assert await shop.waits() == (INTERVAL, QUARANTINE)
        await shop.clock.advance(4)
        await shop.acquire("another")
        assert await shop.waits() == (INTERVAL - timedelta(seconds=4), QUARANTINE - timedelta(seconds=4))
        assert len(await shop.told()) == 1

    run(scenario)


def test_nothing_is_known_of_the_clock_across_a_boot(run) -> None:
    async def scenario(shop: Shop, _lease: Lease) -> None:
        shop.clock.boots = 2
        shop.clock.jump(14)
        shop.clock.sleep(LEASE_SECONDS + 1)
        await shop.acquire("another")
        assert (await shop.waits())[0] == INTERVAL - timedelta(seconds=30)
        assert await shop.told() == []

    run(scenario)


@either_way
def test_resuming_where_nobody_runs_it_keeps_to_the_wait(run, change) -> None:
    async def scenario(shop: Shop, _lease: Lease) -> None:
        await shop.store.pause(shop.batch_id, "Ada")
        shop.clock.jump(change)
        await shop.clock.advance(20)
        record = await shop.store.resume(shop.batch_id, "Ada")
        assert record.next_due == shop.clock.now() + INTERVAL - timedelta(seconds=20)

    run(scenario)
