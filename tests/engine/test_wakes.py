"""The queue of wakes, on a real PostgreSQL server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from postgres_server import PostgresServer

from batchkit.core.wake import Wake
from batchkit.engine.wakes import Wakes, queue_of
from batchkit.errors import EngineError

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    with postgres.database() as name:
        yield name


def conninfo(postgres: PostgresServer, database: str, user: str = "tests") -> str:
    return f"postgresql://{user}@127.0.0.1:{postgres.port}/{database}"


def wake(revision: int = 0, due: datetime = NOON, *, at_once: bool = False) -> Wake:
    return Wake(batch_id="b1", revision=revision, due=due, target="asteroid key", at_once=at_once)


async def deferred(wakes: Wakes, *them: Wake) -> None:
    for one in them:
        await wakes.defer(one)
    await wakes.aclose()


def test_the_tables_are_made_once_however_many_begin_at_the_same_time(postgres, database) -> None:
    async def scenario() -> None:
        them = [Wakes(conninfo(postgres, database)) for _ in range(6)]
        await asyncio.gather(*(each.app() for each in them))
        for each in them:
            await each.aclose()

    asyncio.run(scenario())
    assert postgres.execute("SELECT count(*) FROM procrastinate_jobs", database) == [(0,)]


def test_a_wake_waits_in_its_targets_queue_for_its_time_and_carries_no_more_than_where_to_look(
    postgres, database
) -> None:
    asyncio.run(deferred(Wakes(conninfo(postgres, database)), wake()))
    query = "SELECT queue_name, scheduled_at, args, status::text FROM procrastinate_jobs"
    args = {"batch_id": "b1", "revision": 0, "due": NOON.isoformat()}
    [(queue, scheduled, found, status)] = postgres.execute(query, database)
    assert (queue, found, status) == (queue_of("asteroid key"), args, "todo")
    # a little early, so that the worker is ready
    assert NOON - timedelta(seconds=5) < scheduled < NOON
    assert queue_of("asteroid key") != queue_of("asteroid another")
    assert "key" not in queue_of("asteroid key")


def test_the_same_wake_is_in_the_queue_once(postgres, database) -> None:
    at_once = [wake(due=NOON + timedelta(seconds=n), at_once=True) for n in range(3)]
    later = [wake(), wake(), wake(due=NOON + timedelta(hours=1)), wake(revision=1)]
    asyncio.run(deferred(Wakes(conninfo(postgres, database)), *at_once, *later))
    assert postgres.execute("SELECT count(*) FROM procrastinate_jobs", database) == [(4,)]


def test_tables_of_another_version_are_left_alone_and_told_of(postgres, database) -> None:
    asyncio.run(deferred(Wakes(conninfo(postgres, database)), wake()))
    postgres.execute("DROP FUNCTION procrastinate_fetch_job_v2", database)
    with pytest.raises(EngineError, match=r"of another version .* procrastinate_fetch_job_v2 is missing"):
        asyncio.run(deferred(Wakes(conninfo(postgres, database)), wake()))


def test_who_may_not_create_tables_is_told_so(postgres, database) -> None:
    postgres.execute(f"CREATE ROLE guest_{database} LOGIN")
    with pytest.raises(EngineError, match=r"permission denied .* starts `batchkit worker --cluster` once"):
        asyncio.run(deferred(Wakes(conninfo(postgres, database, f"guest_{database}")), wake()))


def test_a_server_that_is_gone_is_waited_for_and_then_told_of(postgres) -> None:
    wakes = Wakes("postgresql://tests@127.0.0.1:1/nothing", patience=0.0)
    with pytest.raises(EngineError, match="See whether the store's PostgreSQL server runs"):
        asyncio.run(deferred(wakes, wake()))
