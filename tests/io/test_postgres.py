"""What is PostgreSQL's own: several machines at one store, and what is written at once is told and counted once."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from datetime import timedelta
from typing import Any

from site_of_stores import Machine, Site, add_up, begin, make, play, trigger_all
from sqlalchemy import Connection, update

from batchkit.core.execution import Execution, ExecutionOutcome, ExecutionStatus
from batchkit.core.heard import Heard
from batchkit.core.profile import PinnedPool, ProfileRef, SelectionStrategy
from batchkit.io import visit
from batchkit.io.clock import SystemClock
from batchkit.io.ledger import log
from batchkit.io.reading import find_batch
from batchkit.io.schema import batches

CLERKS = tuple(ProfileRef(id=f"p{number}", name=f"Clerk {number}") for number in range(3))


# Several machines


def test_a_lease_lapses_by_the_servers_clock_whatever_the_machines_say(site: Site) -> None:
    async def scenario() -> None:
        one, other = site.store(1, lease_seconds=4.0), site.store(2, lease_seconds=4.0)
        batch_id = await make(one)
        lease = await one.acquire(batch_id, "one", settle_after=None)
        assert lease is not None
        assert lease.boot == "boot of machine 1"
        assert await other.acquire(batch_id, "other", settle_after=None) is None
        assert (await other.batch(batch_id)).runner_alive
        await asyncio.sleep(2.4)
        renewed = (await one.tick(lease, claim=1)).lease
        assert renewed is not None
        assert renewed.expires > lease.expires
        await asyncio.sleep(2.4)
        assert await other.acquire(batch_id, "other", settle_after=None) is None
        await asyncio.sleep(2.4)
        assert not (await one.batch(batch_id)).runner_alive
        taken = await other.acquire(batch_id, "other", settle_after=None)
        assert taken is not None
        assert (taken.boot, taken.epoch) == ("boot of machine 2", 2)
        assert (await one.tick(renewed, claim=1)).lease is None

    play(scenario)


def test_of_many_who_want_a_batch_at_once_one_gets_it(site: Site) -> None:
    async def scenario() -> None:
        stores = [site.store(number) for number in range(5)]
        batch_id = await make(stores[0])
        leases = await asyncio.gather(*(s.acquire(batch_id, f"o{n}", settle_after=None) for n, s in enumerate(stores)))
        assert [lease.epoch for lease in leases if lease is not None] == [1]

    play(scenario)


def test_what_many_write_at_once_about_the_same_rows_is_counted_once(site: Site) -> None:
    rows = 60

    async def scenario() -> None:
        stores = [site.store(number) for number in range(4)]
        batch_id = await make(stores[0], rows)
        await trigger_all(stores[0], batch_id, rows)
        done = {"status": ExecutionStatus.COMPLETED, "outcome": ExecutionOutcome.SUCCESS}
        ended = [(n, Execution(id=f"e{n}", **done)) for n in range(rows)]  # type: ignore[arg-type]
        now = SystemClock().now()
        news = [
            Heard(event_id=f"w{n}", at=now, execution=ended[n][1], batch_id=batch_id, item=n, attempt=1)
            for n in range(rows)
        ]
        work = [
            [store.note(batch_id, ended[n : n + 5]), store.hear(news[n : n + 7]), store.hear(news[n : n + 3])]
            for n in range(0, rows, 5)
            for store in stores
        ]
        await asyncio.gather(*(each for group in work for each in group))
        await add_up(stores[0], batch_id)
        assert (await stores[0].batch(batch_id)).progress.executions.succeeded == rows
        assert [event.kind for event in await stores[0].events(batch_id)].count("finished") == 1

    play(scenario)


def test_commands_from_everywhere_leave_counters_that_add_up(site: Site) -> None:
    async def scenario() -> None:
        stores = [site.store(number) for number in range(3)]
        batch_id = await make(stores[0], 30, start=SystemClock().now() + timedelta(hours=1))
        at = SystemClock().now() + timedelta(hours=2)
        work = [
            [store.cancel_items(batch_id, [n, n + 1], "Ada"), store.reschedule_items(batch_id, [n, n + 2], at, "Bob")]
            for n in range(28)
            for store in stores
        ]
        await asyncio.gather(*(each for pair in work for each in pair))
        await add_up(stores[0], batch_id)

    play(scenario)


def test_of_two_who_run_the_same_rows_again_at_once_one_is_refused(site: Site) -> None:
    async def scenario() -> None:
        stores = [site.store(number) for number in range(2)]
        parent = await make(stores[0])
        await stores[0].cancel(parent, "Ada")
        again = [await begin(store, 5, parent=parent, origin=parent) for store in stores]
        done = await asyncio.gather(
            *(store.publish(each, "Ada") for store, each in zip(stores, again, strict=True)), return_exceptions=True
        )
        assert sorted(type(each).__name__ for each in done) == ["BatchRecord", "StateError"]

    play(scenario)


def test_a_profile_of_a_pool_serves_one_row_over_all_machines(site: Site) -> None:
    pool = PinnedPool(name="Clerks", members=CLERKS, strategy=SelectionStrategy.ROUND_ROBIN, limit=1)

    async def scenario() -> None:
        stores = [site.store(number) for number in range(3)]
        ids = [await make(store, 5, pool=pool, default_profile=pool.ref) for store in stores]
        mine, *others = [
            await store.acquire(each, "me", settle_after=None) for store, each in zip(stores, ids, strict=True)
        ]
        claimed, go_on = threading.Event(), threading.Event()

        def slowly(connection: Connection) -> None:
            assert mine is not None
            now, boot = SystemClock().now(), Machine(0).boot()
            none: dict[str, Any] = {"outcomes": (), "until": None, "gate": None, "pause": "", "reason": None}
            visit.visit(connection, mine, now, boot, claim=2, revision=None, **none)
            claimed.set()
            go_on.wait(10)

        first = asyncio.create_task(site.database().write(slowly))
        await asyncio.to_thread(claimed.wait, 10)
        rest = [
            asyncio.create_task(store.tick(lease, claim=2))
            for store, lease in zip(stores[1:], others, strict=True)
            if lease is not None
        ]
        await asyncio.wait(rest, timeout=0.3)
        go_on.set()
        await asyncio.gather(first, *rest)
        in_use = site.execute("SELECT profile_id FROM item WHERE status = 'triggering' ORDER BY 1")
        assert in_use == [("p0",), ("p1",), ("p2",)]

    play(scenario)


def test_a_transaction_undone_for_another_one_is_done_again(site: Site) -> None:
    async def scenario() -> None:
        one, other = site.database(), site.database()
        store = site.store()
        ids = sorted([await make(store, 1), await make(store, 1)])
        both_hold_one = threading.Barrier(2)
        runs: Counter[str] = Counter()

        def work(connection: Connection, first: str, second: str) -> None:
            runs[first] += 1
            find_batch(connection, first)
            if runs[first] == 1:
                both_hold_one.wait(30)
            find_batch(connection, second)
            connection.execute(update(batches).values(revision=batches.c.revision + 1))

        await asyncio.gather(one.write(work, *ids), other.write(work, *reversed(ids)))
        assert sum(runs.values()) >= 3
        assert [(await store.batch(each)).revision for each in ids] == [2, 2]

    play(scenario)


def test_all_who_open_an_empty_database_at_once_find_their_tables(site: Site) -> None:
    async def scenario() -> None:
        stores = [site.store(number) for number in range(8)]
        assert await asyncio.gather(*(store.batches() for store in stores)) == [[]] * 8

    play(scenario)


# What is told


def test_a_notice_is_given_to_one_of_those_who_deliver(site: Site) -> None:
    async def scenario() -> None:
        store, outboxes = site.store(), [site.outbox() for _ in range(4)]
        await asyncio.gather(*(outbox.open_sink("s") for outbox in outboxes))
        ids = [await make(store, 1) for _ in range(6)]
        now = SystemClock().now()
        database = site.database()
        for each in ids:
            await database.write(log, each, now, "batchkit", "paused", "Because.")
        given = [await asyncio.gather(*(outbox.claim_notice("s") for outbox in outboxes)) for _ in range(6)]
        told = [notice[0] for round_ in given for notice in round_ if notice is not None]
        assert len(told) == len(set(told)) == 6

    play(scenario)


def test_what_is_logged_by_a_slow_transaction_is_told_all_the_same(site: Site) -> None:
    async def scenario() -> None:
        store, outbox = site.store(), site.outbox()
        slow, quick = site.database(), site.database()
        ids = [await make(store, 1), await make(store, 1)]
        now, logged, go_on = SystemClock().now(), threading.Event(), threading.Event()
        before = await outbox.last_event()

        def slowly(connection: Connection) -> None:
            log(connection, ids[0], now, "batchkit", "paused", "slow")
            logged.set()
            go_on.wait(10)

        first = asyncio.create_task(slow.write(slowly))
        await asyncio.to_thread(logged.wait, 10)
        second = asyncio.create_task(quick.write(log, ids[1], now, "batchkit", "paused", "quick"))
        await asyncio.wait([second], timeout=0.3)
        looking = asyncio.create_task(outbox.news(before))
        await asyncio.wait([looking], timeout=0.3)
        go_on.set()
        news, after = await looking
        await asyncio.gather(first, second)
        more, _ = await outbox.news(after)
        assert [notice.message for notice in news + more] == ["slow", "quick"]

    play(scenario)
