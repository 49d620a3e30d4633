"""The wall clock is set while a batch waits: forward, back, by little, and across a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from new_batches import new_batch, new_items

from batchkit.core.outcome import Unclear
from batchkit.core.record import ItemOutcome, Lease
from batchkit.core.schedule import Pace
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
        pace = Pace(max_concurrent=1, batch_interval=INTERVAL.total_seconds())
        self.batch_id = await self.store.begin(new_batch(self.clock.now() - timedelta(seconds=1), pace=pace))
        await self.store.add(self.batch_id, new_items(4))
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
    """The clock of another machine.

    later: seconds by which it was booted later than that of the shop. lead: by which it is set ahead.
    """

    def __init__(self, later: float = HOUR, *, lead: float = 0.0, name: str = "other") -> None:
        super().__init__(boot_id=f"of the {name} machine")
        self.jump(lead)
        self._later = later
        #: done once, right after the clock was read
        self.meanwhile: Callable[[], object] = lambda: None

    def boot(self) -> tuple[str, float]:
        boot_id, seconds = super().boot()
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
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


def test_what_is_known_of_the_clock_across_a_boot_is_what_a_server_says(run, address) -> None:
    async def scenario(shop: Shop, _lease: Lease) -> None:
        shop.clock.boots = 2
        shop.clock.jump(14)
        shop.clock.sleep(LEASE_SECONDS + 1)
        await shop.acquire("another")
        alone = isinstance(address, Path)
        assert (await shop.waits())[0] == INTERVAL - timedelta(seconds=30 if alone else LEASE_SECONDS + 1)
        assert len(await shop.told()) == (0 if alone else 1)

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


# A store that several machines share: each wait is as long as it was, whosoever clock says so.

on_a_server = pytest.mark.parametrize("address", ["PostgreSQL"], indirect=True)
askew = pytest.mark.parametrize("lead", [30.0, -30.0, HOUR])


class Cluster:
    """The shop, and other machines whose clocks go with it."""

    def __init__(self, shop: Shop, address: Path | str) -> None:
        self.shop = shop
        self._address = address
        self.machines: list[tuple[FakeClock, SqlStore]] = [(shop.clock, shop.store)]

    def machine(self, *, lead: float, name: str) -> tuple[Machine, SqlStore]:
        clock = Machine(lead=lead, name=name)
        clock.sleep(self.shop.clock.boot()[1] - FakeClock.boot(clock)[1])
        store = SqlStore(self._address, clock)
        self.machines.append((clock, store))
        return clock, store

    def pass_by(self, seconds: float) -> None:
        for clock, _ in self.machines:
            clock.sleep(seconds)

    async def waits(self, clock: FakeClock) -> tuple[float, float]:
        """As `Shop.waits`, in seconds by that machine's clock."""
        behind = clock.now() - self.shop.clock.now()
        gate, settle = await self.shop.waits()
        return (gate - behind).total_seconds(), (settle - behind).total_seconds()


@pytest.fixture
def cluster(run, address) -> Callable[[Callable[[Cluster, Lease], Awaitable[None]]], None]:
    def runner(scenario: Callable[[Cluster, Lease], Awaitable[None]]) -> None:
        async def whole(shop: Shop, lease: Lease) -> None:
            machines = Cluster(shop, address)
            try:
                await scenario(machines, lease)
            finally:
                for _, store in machines.machines[1:]:
                    store.shutdown()

        run(whole)

    return runner


async def taken(store: SqlStore, batch_id: str, owner: str = "there") -> Lease:
    lease = await store.acquire(batch_id, owner, settle_after=QUARANTINE.total_seconds())
    assert lease is not None
    return lease


@on_a_server
@askew
def test_a_machine_with_another_clock_keeps_to_the_waits_it_takes_over(cluster, lead) -> None:
    async def scenario(cluster: Cluster, lease: Lease) -> None:
        clock, store = cluster.machine(lead=lead, name="other")
        shop = cluster.shop
        cluster.pass_by(4)
        await shop.store.release(lease)
        other = await taken(store, shop.batch_id)
        assert await cluster.waits(clock) == pytest.approx((56, 6), abs=0.001)
        [said] = await shop.told()
        assert f"{abs(lead):,.1f} s {'ahead of' if lead > 0 else 'behind'}" in said
        # It is its clock from now on, for itself and for the next one.
        cluster.pass_by(1)
        await store.tick(other)
        await store.release(other)
        await taken(shop.store, shop.batch_id, "me")
        assert await cluster.waits(shop.clock) == pytest.approx((55, 5), abs=0.001)
        assert len(await shop.told()) == 2

    cluster(scenario)


@on_a_server
@askew
@pytest.mark.parametrize("rests", [True, False])
def test_a_machine_with_another_clock_leaves_the_waits_to_a_third(cluster, lead, rests) -> None:
    async def scenario(cluster: Cluster, _lease: Lease) -> None:
        shop = cluster.shop
        finder, found = cluster.machine(lead=lead, name="other")
        third, store = cluster.machine(lead=-2 * lead, name="third")
        cluster.pass_by(LEASE_SECONDS + 1)
        revision = (await found.batch(shop.batch_id)).revision
        until = finder.now() + INTERVAL if rests else None
        assert await found.entrust(shop.batch_id, until, revision=revision)
        cluster.pass_by(4)
        await taken(store, shop.batch_id)
        gone = LEASE_SECONDS + 5
        assert await cluster.waits(third) == pytest.approx((60 - gone, 10 - gone), abs=0.001)

    cluster(scenario)


@on_a_server
@askew
@pytest.mark.parametrize("rests", [True, False])
def test_what_a_former_runner_says_late_is_in_quarantine_by_the_clock_that_counts(cluster, lead, rests) -> None:
    async def scenario(cluster: Cluster, lease: Lease) -> None:
        shop = cluster.shop
        clock, store = cluster.machine(lead=lead, name="other")
        await shop.store.settle_items(shop.batch_id, [0], "retry", "Ada")
        cluster.pass_by(60)
        tick = await shop.store.tick(lease, claim=1, until=shop.clock.now())
        [claim] = tick.claimed
        assert tick.lease is not None
        cluster.pass_by(LEASE_SECONDS + 1)
        if rests:
            revision = (await store.batch(shop.batch_id)).revision
            assert await store.entrust(shop.batch_id, clock.now(), revision=revision)
        else:
            await taken(store, shop.batch_id)
        cluster.pass_by(3)
        now = shop.clock.now()
        late = ItemOutcome(
            item=claim.item, attempt=claim.attempt, outcome=Unclear(message="lost"), at=now, settle_at=now + QUARANTINE
        )
        assert (await shop.store.tick(tick.lease, outcomes=[late])).lease is None
        item = (await store.items(shop.batch_id))[claim.item]
        assert item.settle_at is not None
        assert (item.settle_at - clock.now()).total_seconds() == pytest.approx(10, abs=0.001)

    cluster(scenario)


@on_a_server
@pytest.mark.parametrize("lead", [30.0, -30.0, 0.0])
def test_no_wait_gets_shorter_while_the_database_keeps_others_waiting(cluster, lead) -> None:
    async def scenario(cluster: Cluster, lease: Lease) -> None:
        shop = cluster.shop
        clock, store = cluster.machine(lead=lead, name="other")
        third, others = cluster.machine(lead=-lead, name="third")
        await shop.store.release(lease)
        clock.meanwhile = lambda: cluster.pass_by(3)
        other = await taken(store, shop.batch_id)
        assert 57 <= (await cluster.waits(clock))[0] <= 60
        await store.release(other)
        third.meanwhile = lambda: cluster.pass_by(3)
        await taken(others, shop.batch_id, "third")
        assert 54 <= (await cluster.waits(third))[0] <= 60

    cluster(scenario)
