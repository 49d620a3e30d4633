"""What a runner logs for machines."""

from __future__ import annotations

import asyncio
import logging

import pytest

from batchkit.engine.journal import EVENTS


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture):
    """What was logged so far, as (event, item or number of rows, looked up)."""
    caplog.set_level(logging.INFO, EVENTS)

    def read() -> list[tuple[str, int | None, bool]]:
        found = [record.batchkit for record in caplog.records if record.name == EVENTS]
        return [(each["event"], each.get("item", each.get("rows")), each.get("looked_up", False)) for each in found]

    return read


def test_rows_a_killed_process_left_in_doubt_are_told_of_and_what_became_of_them(bench, told) -> None:
    async def scenario() -> None:
        async with bench() as b:
            batch_id = await b.batch(3, attend=False, max_concurrent=3)
            gone = await b.store.acquire(batch_id, "elsewhere:1:x", settle_after=None)
            tick = await b.store.tick(gone, claim=2, until=b.clock.now())
            # The first one had arrived.
            b.target.accept(tick.claimed[0].request)
            await b.clock.advance(16)
            assert await b.engine.attend(batch_id)
            for _ in range(40):
                await b.clock.advance(5)
                await asyncio.sleep(0.005)
            assert (await b.record(batch_id)).progress.triggered == 3

    asyncio.run(scenario())
    log = told()
    assert log[:2] == [("acquired", None, False), ("in_doubt", 2, False)]
    assert [each for each in log if each[2]] == [("triggered", 0, True), ("not_sent", 1, True)]
    assert sorted(each[1] for each in log if each[0] == "triggered") == [0, 1, 2]


def test_a_lease_that_was_lost_is_not_said_to_be_released(bench, told) -> None:
    async def scenario() -> None:
        async with bench() as b:
            batch_id = await b.batch(2, max_concurrent=1, batch_interval=3600)
            b.clock.sleep(16)
            assert await b.store.acquire(batch_id, "elsewhere:1:x", settle_after=None)
            await b.clock.advance(10)
            while b.engine.active:
                await asyncio.sleep(0.002)

    asyncio.run(scenario())
    assert [event for event, *_ in told() if event in ("acquired", "lost", "released")] == ["acquired", "lost"]
