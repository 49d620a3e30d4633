from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from batchkit.core.lifecycle import BatchStatus
from batchkit.testing import ScriptedTarget


@pytest.fixture
def where(address: Path | str) -> Path | str:
    return address


def test_one_row_goes_from_the_store_to_the_target_and_back(bench) -> None:
    async def scenario() -> None:
        async with bench() as b:
            batch_id = await b.batch(1)
            record = await b.reaches(batch_id, lambda r: r.status is BatchStatus.COMPLETED)
            assert record.progress.triggered == record.progress.total == 1
            [item] = await b.store.items(batch_id)
            assert item.execution is not None
            assert item.execution.result == {"value": "0"}

    asyncio.run(scenario())


def test_groups_follow_the_formula(bench) -> None:
    async def scenario() -> None:
        async with bench() as b:
            batch_id = await b.batch(12, max_concurrent=5, batch_interval=60)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 5)
            await b.clock.advance(59.9)
            assert len(b.target.received) == 5
            await b.clock.advance(0.2)
            await b.reaches(batch_id, lambda r: r.progress.triggered == 10)
            await b.clock.advance(60)
            record = await b.reaches(batch_id, lambda r: r.status is BatchStatus.COMPLETED)
            assert record.progress.triggered == 12
            assert [r.request.item for r in b.target.received] == list(range(12))

    asyncio.run(scenario())


def test_interval_zero_keeps_at_most_max_concurrent_unanswered(bench) -> None:
    unanswered, most = 0, 0

    class Counting(ScriptedTarget):
        async def trigger(self, request):
            nonlocal unanswered, most
            unanswered += 1
            most = max(most, unanswered)
            await asyncio.sleep(0.001)
            unanswered -= 1
            return await super().trigger(request)

    async def scenario() -> None:
        async with bench(Counting()) as b:
            batch_id = await b.batch(200, max_concurrent=8, batch_interval=0)
            record = await b.reaches(batch_id, lambda r: r.status is BatchStatus.COMPLETED)
            assert record.progress.triggered == 200
            assert sorted(item for _, item in b.target.triggered) == list(range(200))
            assert most == 8

    asyncio.run(scenario())
