"""What is PostgreSQL's own: several machines at one store, a server that goes away, and a password nobody is shown."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import psycopg
import pytest
from postgres_server import PostgresServer
from sqlalchemy import Connection, select, text, update

from batchkit.core.execution import Execution, ExecutionOutcome, ExecutionStatus
from batchkit.core.heard import Heard
from batchkit.core.lifecycle import BatchStatus, ItemStatus
from batchkit.core.outcome import Refused, Triggered
from batchkit.core.profile import PinnedPool, ProfileRef, SelectionStrategy
from batchkit.core.record import ItemOutcome, NewBatch
from batchkit.core.request import NewItem
from batchkit.core.schedule import Pace
from batchkit.core.target import TargetInfo
from batchkit.errors import ConfigError, NotFoundError, StoreError
from batchkit.io import visit
from batchkit.io.address import address_of, label_of, spelled
from batchkit.io.backup import copy_store
from batchkit.io.clock import SystemClock
from batchkit.io.database import Database
from batchkit.io.ledger import log
from batchkit.io.opening import database_at
from batchkit.io.outbox import Outbox
from batchkit.io.postgres import PostgresDatabase
from batchkit.io.reading import find_batch
from batchkit.io.schema import IS_PENDING, batches, items
from batchkit.io.store import SqlStore

PASSWORD = "hunter2-and-more"
CLERKS = tuple(ProfileRef(id=f"p{number}", name=f"Clerk {number}") for number in range(3))


class Machine(SystemClock):
    """The clock of a computer that was booted at another time."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def boot(self) -> tuple[str, float]:
        return f"boot of machine {self._number}", super().boot()[1] + 5_000 * self._number


class Site:
    """One database, and stores on several machines that use it."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self.server, self.name, self.url = server, name, server.url(name)
        self._opened: list[SqlStore | Database | Outbox] = []

    def store(self, machine: int = 1, *, lease_seconds: float = 15.0) -> SqlStore:
        made = SqlStore(self.url, Machine(machine), lease_seconds=lease_seconds)
        self._opened.append(made)
        return made

    def outbox(self) -> Outbox:
        made = Outbox(address_of(self.url), SystemClock())
        self._opened.append(made)
        return made

    def database(self, *, lock_timeout: float = 5.0) -> Database:
        made = Database(PostgresDatabase(address_of(self.url), lock_timeout=lock_timeout))  # type: ignore[arg-type]
        self._opened.append(made)
        return made

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        return self.server.execute(statement, self.name)

    def break_connections(self) -> None:
        """End all that are open, as a restart does."""
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    def close(self) -> None:
        for each in self._opened:
            each.shutdown()


@pytest.fixture
def site(postgres: PostgresServer) -> Iterator[Site]:
    with postgres.database() as name:
        made = Site(postgres, name)
        yield made
        made.close()


def play(scenario: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(whole())


async def make(store: SqlStore, rows: int = 5, *, start: datetime | None = None, **more: object) -> str:
    batch_id = await begin(store, rows, start=start, **more)
    await store.publish(batch_id, "Ada")
    return batch_id


async def begin(store: SqlStore, rows: int, *, start: datetime | None = None, **more: object) -> str:
    values: dict[str, object] = {
        "name": "March permits",
        "agent_id": "agent",
        "agent_name": "Permit filer",
        "version": None,
        "target": TargetInfo(kind="asteroid", url="http://127.0.0.1"),
        "pace": Pace(max_concurrent=max(1, rows), batch_interval=0),
        "start_at": start or SystemClock().now(),
    }
    batch_id = await store.begin(NewBatch(**(values | more)))  # type: ignore[arg-type]
    items = [NewItem(row=n + 2, line=n + 2, cells=(str(n),), inputs={"n": n}, metadata={}) for n in range(rows)]
    await store.add(batch_id, items)
    return batch_id


async def trigger_all(store: SqlStore, batch_id: str, rows: int) -> None:
    lease = await store.acquire(batch_id, "me", settle_after=1.0)
    assert lease is not None
    tick = await store.tick(lease, claim=rows)
    now = SystemClock().now()
    running = [Triggered(execution=Execution(id=f"e{n}", status=ExecutionStatus.RUNNING)) for n in range(rows)]
    outcomes = [ItemOutcome(item=each.item, attempt=1, outcome=running[each.item], at=now) for each in tick.claimed]
    await store.tick(lease, outcomes=outcomes)


async def add_up(store: SqlStore, batch_id: str) -> None:
    progress, items = (await store.batch(batch_id)).progress, await store.items(batch_id)
    states = Counter(item.status for item in items)
    assert {status: getattr(progress, status) for status in ItemStatus} == {s: states[s] for s in ItemStatus}
    standings = Counter(item.execution.standing for item in items if item.execution is not None)
    for name in ("running", "waiting", "succeeded", "failed", "cancelled"):
        assert getattr(progress.executions, name) == standings[name], name


def frames(error: BaseException | None) -> Iterator[FrameType]:
    """All that a traceback with variables would show."""
    while error is not None:
        yield from (frame for frame, _ in traceback.walk_tb(error.__traceback__))
        error = error.__cause__ or error.__context__


def way_to_what_is_due(connection: Connection, batch_id: str) -> str:
    """How the database finds the rows to be sent next."""
    due = select(items.c.position).where(items.c.batch_id == batch_id, IS_PENDING)
    due = due.order_by(items.c.execute_at, items.c.position).limit(100)
    statement = due.compile(connection, compile_kwargs={"literal_binds": True})
    return "\n".join(connection.scalars(text(f"EXPLAIN {statement}")))


# Several machines


def test_a_lease_lapses_by_the_servers_clock_whatever_the_machines_say(site: Site) -> None:
    async def scenario() -> None:
        one, other = site.store(1, lease_seconds=1.0), site.store(2, lease_seconds=1.0)
        batch_id = await make(one)
        lease = await one.acquire(batch_id, "one", settle_after=None)
        assert lease is not None
        assert lease.boot == "boot of machine 1"
        assert await other.acquire(batch_id, "other", settle_after=None) is None
        assert (await other.batch(batch_id)).runner_alive
        await asyncio.sleep(0.6)
        renewed = (await one.tick(lease, claim=1)).lease
        assert renewed is not None
        assert renewed.expires > lease.expires
        await asyncio.sleep(0.6)
        assert await other.acquire(batch_id, "other", settle_after=None) is None
        await asyncio.sleep(0.6)
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
        assert [event.kind for event in await stores[0].events(batch_id)].count("finished") <= 1

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


# The server goes away


def test_a_connection_that_broke_meanwhile_is_made_anew_and_nobody_notices(site: Site) -> None:
    async def scenario() -> None:
        store = site.store()
        batch_id = await make(store)
        site.break_connections()
        assert (await store.batch(batch_id)).status == "running"
        site.break_connections()
        assert (await store.pause(batch_id, "Ada")).status == "paused"

    play(scenario)


@pytest.mark.parametrize("broken_at", ["a statement", "the commit"])
def test_a_write_is_done_again_unless_it_may_have_been_committed(site: Site, broken_at: str) -> None:
    async def scenario() -> None:
        store, database = site.store(), site.database()
        batch_id = await make(store)
        await database.read(find_batch, batch_id)
        runs = 0

        def work(connection: Connection) -> None:
            nonlocal runs
            runs += 1
            connection.execute(update(batches).values(revision=batches.c.revision + 1))
            if runs == 1:
                site.break_connections()
            if broken_at == "a statement":
                connection.execute(select(1))

        if broken_at == "the commit":
            with pytest.raises(StoreError, match="batchkit tries again"):
                await database.write(work)
        else:
            await database.write(work)
        assert (runs, (await store.batch(batch_id)).revision) == ((1, 0) if broken_at == "the commit" else (2, 1))

    play(scenario)


def test_a_server_that_is_not_there_is_named_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"postgresql://ada:{PASSWORD}@127.0.0.1:{free.getsockname()[1]}/runs"
        store = SqlStore(url, SystemClock())
        with pytest.raises(StoreError, match=r"refused.*see whether the server runs") as told:
            asyncio.run(store.batches())
        store.shutdown()
    shown = "".join(traceback.format_exception(told.value)) + caplog.text + repr(store) + store.label
    shown += repr([frame.f_locals for frame in frames(told.value) if frame.f_code.co_filename != __file__])
    assert told.value.passing
    assert "postgresql://ada@127.0.0.1" in shown
    assert PASSWORD not in shown


def test_a_server_that_does_not_let_us_in_is_not_waited_for(postgres: PostgresServer) -> None:
    store = SqlStore(postgres.url("nothing_of_this_name"), SystemClock())
    with pytest.raises(StoreError, match=r"does not exist.*Check the user and the database") as told:
        asyncio.run(store.batches())
    assert not told.value.passing
    store.shutdown()


def test_whoever_waits_too_long_for_another_process_is_told(site: Site) -> None:
    async def scenario() -> None:
        store = site.store()
        batch_id = await make(store)
        hasty = site.database(lock_timeout=0.1)
        with psycopg.connect(site.url.replace("+psycopg", "")) as other:
            other.execute("SELECT * FROM batch FOR UPDATE")
            with pytest.raises(StoreError, match="Another process holds the batch"):
                await hasty.write(find_batch, batch_id)
            assert (await store.batch(batch_id)).status == "running"
        await hasty.write(find_batch, batch_id)

    play(scenario)


# The database


def test_what_was_committed_is_on_the_disk_and_who_stands_still_holds_nobody_up(site: Site) -> None:
    site.execute(f"ALTER DATABASE {site.name} SET synchronous_commit = off")

    async def scenario() -> None:
        def settings(connection: Connection) -> list[str | None]:
            names = ("synchronous_commit", "idle_in_transaction_session_timeout", "lock_timeout", "application_name")
            return [connection.scalar(text(f"SELECT current_setting('{name}')")) for name in names]

        assert await site.database().read(settings) == ["on", "15s", "5s", "batchkit"]

    play(scenario)


def test_text_that_no_database_can_hold_is_kept_without_what_is_wrong_with_it(site: Site) -> None:
    async def scenario() -> None:
        store = site.store()
        batch_id = await begin(store, 2, name="half \ud83d nul \0")
        await store.leave_out(batch_id, [(9, None, ["a\0b"], "nul \0")])
        record = await store.publish(batch_id, "Ada")
        assert record.name == "half \ufffd nul \ufffd"
        assert await store.left_out(batch_id) == [(9, None, ["a\0b"], "nul \ufffd")]
        lease = await store.acquire(batch_id, "me", settle_after=None)
        assert lease is not None
        await store.tick(lease, claim=1)
        refused = ItemOutcome(
            item=0, attempt=1, outcome=Refused(code="400", message="\0 \ud83d"), at=SystemClock().now()
        )
        await store.tick(lease, outcomes=[refused])
        assert (await store.items(batch_id))[0].error == "\ufffd \ufffd"

    play(scenario)


def test_intervals_of_days_and_files_of_many_rows_fit(site: Site) -> None:
    async def scenario() -> None:
        store = site.store()
        day = timedelta(days=1)
        batch_id = await make(store, 3, pace=Pace(max_concurrent=1, batch_interval=day.total_seconds()))
        await store.pause(batch_id, "Ada")
        await store.resume(batch_id, "Ada")
        times = [item.execute_at for item in await store.items(batch_id)]
        assert [later - earlier for earlier, later in pairwise(times)] == [day, day]
        many = await make(store, 5_000)
        # Known at once, and not only after the server has had a look by itself: until then it reads all rows for a few.
        [(known,)] = site.execute("SELECT min(reltuples) FROM pg_class WHERE relname IN ('item', 'item_input')")
        assert known == 5_003
        plan = await site.database().read(way_to_what_is_due, many)
        assert "using item_due" in plan
        assert "Sort" not in plan
        assert (await store.cancel(many, "Ada")).progress.cancelled == 5_000
        await store.delete(many, "me")
        with pytest.raises(NotFoundError):
            await store.batch(many)

    play(scenario)


def test_a_database_with_tables_of_somebody_else_is_refused_and_left_alone(site: Site) -> None:
    site.execute("CREATE TABLE item (mine int)")

    async def scenario() -> None:
        with pytest.raises(StoreError, match="table named 'item'"):
            await site.store().batches()

    play(scenario)
    tables = site.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    assert tables == [("item",)]


def test_a_store_that_another_version_changed_while_it_was_in_use_is_not_written(site: Site) -> None:
    async def scenario() -> None:
        store = site.store()
        batch_id = await make(store)
        site.execute("UPDATE schema_version SET version = version + 1")
        with pytest.raises(StoreError, match="another version of batchkit"):
            await store.pause(batch_id, "Ada")
        site.execute("UPDATE schema_version SET version = version - 1")
        assert (await store.batch(batch_id)).status is BatchStatus.RUNNING
        assert (await store.pause(batch_id, "Ada")).status is BatchStatus.PAUSED

    play(scenario)


# Addresses


def test_the_password_is_shown_nowhere() -> None:
    address = address_of(f"postgresql+psycopg://ada:{PASSWORD}@db.example.org:5433/runs?sslmode=require")
    database = database_at(address)
    shown = [repr(address), str(address), label_of(address), repr(database), repr(SqlStore(address, SystemClock()))]
    assert PASSWORD not in "".join(shown)
    assert label_of(address) == "postgresql://ada@db.example.org:5433/runs"
    assert address_of(spelled(address)) == address
    assert PASSWORD in spelled(address)
    with pytest.raises(StoreError, match="pg_dump") as told:
        copy_store(address, Path("copy"))
    assert PASSWORD not in str(told.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (f"mysql://ada:{PASSWORD}@db/runs", "SQLite file or a PostgreSQL database, not 'mysql'"),
        (f"postgresql://ada:{PASSWORD}@db", "names no database"),
        (f"postgresql://ada:{PASSWORD}@db:port/runs", "cannot be read"),
        (f"://{PASSWORD}", "cannot be read"),
    ],
)
def test_an_address_that_is_none_is_refused_without_being_shown(given: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as told:
        address_of(given)
    assert PASSWORD not in "".join(traceback.format_exception(told.value)).replace(repr(given), "")


def test_without_its_driver_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "import batchkit as bk\n"
        "from batchkit.testing import ScriptedTarget\n"
        "try: bk.Workspace(ScriptedTarget(), store='postgresql://127.0.0.1/runs')\n"
        "except bk.ConfigError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'batchkit[cluster]'" in done.stdout
