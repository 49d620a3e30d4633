from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from new_batches import new_batch

from batchkit.core.flow import Flow
from batchkit.core.ports import Clock
from batchkit.core.record import BatchRecord
from batchkit.core.request import NewItem
from batchkit.core.retry import RetryPolicy
from batchkit.core.schedule import Pace
from batchkit.engine.kernel import KernelEngine
from batchkit.io.store import SqlStore
from batchkit.testing import FakeClock, ScriptedTarget


async def eventually(met: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait in real time until `met` is true; fail after `seconds`."""
    async with asyncio.timeout(seconds):
        while not met():
            await asyncio.sleep(0.002)


@dataclass
class Bench:
    """An engine on the test's own loop, with its store, target and clock."""

    store: SqlStore
    target: ScriptedTarget
    clock: FakeClock
    engine: KernelEngine

    async def batch(
        self, rows: int, *, attend: bool = True, start_in: float = 0.0, flow: Flow | None = None, **pace: float
    ) -> str:
        limits = Pace(
            max_concurrent=int(pace.get("max_concurrent", 5)), batch_interval=pace.get("batch_interval", 60.0)
        )
        start = self.clock.now() + timedelta(seconds=start_in)
        batch_id = await self.store.begin(new_batch(start, pace=limits, flow=flow or Flow()))
        items = [
            NewItem(row=n + 2, line=n + 2, cells=(str(n),), inputs={"value": str(n)}, metadata={}) for n in range(rows)
        ]
        await self.store.add(batch_id, items)
        await self.store.publish(batch_id, "user")
        if attend:
            assert await self.engine.attend(batch_id)
            await eventually(lambda: self.clock._known or not self.engine.active)
        return batch_id

    async def record(self, batch_id: str) -> BatchRecord:
        return await self.store.batch(batch_id)

    async def reaches(self, batch_id: str, met: Callable[[BatchRecord], object], seconds: float = 60.0) -> BatchRecord:
        async with asyncio.timeout(seconds):
            while True:
                record = await self.store.batch(batch_id)
                if met(record):
                    return record
                await asyncio.sleep(0.002)


@pytest.fixture
def where(tmp_path: Path) -> Path | str:
    """Of the bench's store; a module that is run on every kind of store has `address` for this."""
    return tmp_path / "store.sqlite"


@pytest.fixture
def bench(where: Path | str) -> Callable[..., object]:
    @asynccontextmanager
    async def make(
        target: ScriptedTarget | None = None, clock: Clock | None = None, policy: RetryPolicy | None = None
    ) -> AsyncIterator[Bench]:
        used = clock or FakeClock()
        store = SqlStore(where, used)
        scripted = target or ScriptedTarget()
        engine = KernelEngine(store=store, target=scripted, clock=used, policy=policy, poll_seconds=5)
        try:
            yield Bench(store=store, target=scripted, clock=used, engine=engine)  # type: ignore[arg-type]
        finally:
            await engine._close()
            store.shutdown()

    return make
