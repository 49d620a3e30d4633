"""One PostgreSQL database, and stores, outboxes and databases on several machines that use it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime

from new_batches import new_batch, new_items
from postgres_server import PostgresServer

from batchkit.core.execution import Execution, ExecutionStatus
from batchkit.core.lifecycle import ItemStatus
from batchkit.core.outcome import Triggered
from batchkit.core.record import ItemOutcome
from batchkit.core.schedule import Pace
from batchkit.io.address import address_of
from batchkit.io.clock import SystemClock
from batchkit.io.database import Database
from batchkit.io.outbox import Outbox
from batchkit.io.postgres import PostgresDatabase
from batchkit.io.store import SqlStore


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
    pace = Pace(max_concurrent=max(1, rows), batch_interval=0)
    batch_id = await store.begin(new_batch(start or SystemClock().now(), **{"pace": pace, **more}))
    await store.add(batch_id, new_items(rows))
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
