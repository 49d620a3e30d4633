"""Notices that nobody took: given up once, with the reason in the log of their batch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from new_batches import new_batch, new_items
from sqlalchemy import Connection

from batchkit.core.viewer import EVERYBODY
from batchkit.io import notices
from batchkit.io.address import address_of
from batchkit.io.opening import database_at
from batchkit.io.outbox import Outbox
from batchkit.io.store import SqlStore
from batchkit.testing import FakeClock

DAY = 24 * 3600.0
HOST = "hooks.example.org"


class Post:
    """A store with one batch, and two processes that deliver its notices."""

    def __init__(self, address: Path | str) -> None:
        self.clock = FakeClock()
        self.store = SqlStore(address, self.clock)
        self.outboxes = [Outbox(address_of(address), self.clock) for _ in range(2)]
        self.batch_id = ""

    async def open(self) -> None:
        self.batch_id = await self.store.begin(new_batch(self.clock.now()))
        await self.store.add(self.batch_id, new_items(1))
        await self.store.publish(self.batch_id, "Ada")
        lease = await self.store.acquire(self.batch_id, "me", settle_after=None)
        assert lease is not None
        await self.store.tick(lease)
        await self.outboxes[0].open_sink("s")

    async def news(self) -> None:
        """Something of which is told: batchkit pauses the batch by itself."""
        lease = await self.store.acquire(self.batch_id, "me", settle_after=None)
        assert lease is not None
        await self.store.tick(lease, pause="Too many rows failed.")
        await self.store.resume(self.batch_id, "Ada")

    async def said(self) -> list[str]:
        return [each.message for each in await self.store.events(self.batch_id) if each.kind == "notice_dropped"]


@pytest.fixture
def run(address: Path | str) -> Iterator[Callable[[Callable[[Post], Awaitable[None]]], None]]:
    with ExitStack() as stack:

        def runner(scenario: Callable[[Post], Awaitable[None]]) -> None:
            async def whole() -> None:
                post = Post(address)
                for each in (post.store, *post.outboxes):
                    stack.callback(each.shutdown)
                await post.open()
                await scenario(post)

            asyncio.run(whole())

        yield runner


def test_a_notice_is_given_up_once_by_however_many(run, address) -> None:
    database = database_at(address_of(address), EVERYBODY)
    done, go_on = asyncio.Event(), threading.Event()

    async def scenario(post: Post) -> None:
        loop = asyncio.get_running_loop()

        def slowly(connection: Connection) -> int:
            told = notices.give_up(connection, "s", HOST, post.clock.now())
            loop.call_soon_threadsafe(done.set)
            go_on.wait(20)
            return len(told)

        await post.news()
        await post.news()
        await post.clock.advance(3 * DAY + 1)
        slow = asyncio.create_task(database.write(slowly))
        await done.wait()
        other = asyncio.create_task(post.outboxes[0].give_up("s", HOST))
        await asyncio.wait([other], timeout=0.3)
        go_on.set()
        assert (await slow, await other) == (2, [])
        assert len(await post.said()) == 2

    try:
        run(scenario)
    finally:
        database.shutdown()


def test_a_notice_that_is_given_up_says_how_often_it_was_tried(run) -> None:
    async def scenario(post: Post) -> None:
        [outbox, _] = post.outboxes
        for _ in range(2):
            await post.news()
        claimed = await outbox.claim_notice("s")
        assert claimed is not None
        await outbox.defer_notice(claimed[0], 5)
        await post.clock.advance(3 * DAY + 1)
        told = [said for _, said in await outbox.give_up("s", HOST)]
        assert await post.said() == told
        tried, untried = sorted(told, key=lambda said: "nobody" in said)
        assert "its only try" in tried
        assert HOST in tried
        assert "nobody tried" in untried
        assert "0" not in untried.partition("given up")[2]

    run(scenario)


def test_a_notice_on_its_way_is_not_given_up(run) -> None:
    async def scenario(post: Post) -> None:
        [outbox, other] = post.outboxes
        await post.news()
        await post.clock.advance(3 * DAY + 1)
        claimed = await outbox.claim_notice("s")
        assert claimed is not None
        assert await other.give_up("s", HOST) == []
        await outbox.defer_notice(claimed[0], 5)
        await post.clock.advance(6)
        assert len(await other.give_up("s", HOST)) == 1

    run(scenario)
