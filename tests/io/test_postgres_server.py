"""A PostgreSQL server that goes away or lets nobody in, and a database that is not only batchkit's."""

from __future__ import annotations

import asyncio
import socket
import traceback
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from types import FrameType

import psycopg
import pytest
from postgres_server import PostgresServer
from site_of_stores import Site, begin, make, play
from sqlalchemy import Connection, select, text, update

from batchkit.core.lifecycle import BatchStatus
from batchkit.core.outcome import Refused
from batchkit.core.record import ItemOutcome
from batchkit.core.schedule import Pace
from batchkit.errors import NotFoundError, StoreError
from batchkit.io.clock import SystemClock
from batchkit.io.reading import find_batch
from batchkit.io.schema import IS_PENDING, batches, items
from batchkit.io.store import SqlStore

PASSWORD = "hunter2-and-more"


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


def test_a_command_waits_for_who_is_long_at_work_on_the_batch(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        store = site.store()
        batch_id = await make(store)
        store._database.shutdown()
        store._database = site.database(lock_timeout=0.1)
        with psycopg.connect(site.url.replace("+psycopg", "")) as other:
            other.execute("SELECT * FROM batch FOR UPDATE")
            pausing = asyncio.create_task(store.pause(batch_id, "Ada"))
            while "the command waits for it" not in caplog.text:
                assert not pausing.done()
                await asyncio.sleep(0.01)
        assert (await pausing).status == "paused"

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
