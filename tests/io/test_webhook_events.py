"""Webhooks in the store: each once, in any order, before our own commit or after, and the counts add up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from long_form import examples
from new_batches import new_batch, new_items

from batchkit.core.execution import LOST, Execution, ExecutionOutcome, ExecutionStatus
from batchkit.core.heard import Heard, Hearing
from batchkit.core.lifecycle import ItemStatus
from batchkit.core.outcome import NotSent, Triggered, Unclear
from batchkit.core.record import ItemOutcome, Lease
from batchkit.core.schedule import Pace
from batchkit.io.store import SqlStore
from batchkit.testing import FakeClock

COMPLETED, FAILED = ExecutionStatus.COMPLETED, ExecutionStatus.FAILED
RUNNING, AWAITING = ExecutionStatus.RUNNING, ExecutionStatus.AWAITING_CONFIRMATION
ROWS = 3
START = datetime(2026, 1, 1, tzinfo=UTC)


class Shop:
    """A store with one running batch, all of whose rows are being sent."""

    def __init__(self, address: Path | str) -> None:
        self.clock = FakeClock(START)
        self.store = SqlStore(address, self.clock)
        self.batch_id = ""
        self.lease: Lease | None = None
        self._events = 0

    async def open(self) -> None:
        pace = Pace(max_concurrent=ROWS, batch_interval=0)
        self.batch_id = await self.store.begin(new_batch(self.clock.now(), pace=pace))
        await self.store.add(self.batch_id, new_items(ROWS))
        await self.store.publish(self.batch_id, "Ada")
        self.lease = await self.store.acquire(self.batch_id, "me", settle_after=10.0)
        await self.tick()
        await self.tick(claim=ROWS)

    async def tick(self, **what: Any) -> None:
        assert self.lease is not None
        await self.store.tick(self.lease, **what)

    async def answer(self, item: int, outcome: Any = None, attempt: int = 1) -> None:
        """The runner records what its request was answered."""
        said = outcome or Triggered(execution=Execution(id=f"x{item}", status=ExecutionStatus.QUEUED))
        now = self.clock.now()
        await self.tick(outcomes=[ItemOutcome(item=item, attempt=attempt, outcome=said, at=now, settle_at=now)])

    def heard(self, status: ExecutionStatus, item: int = 0, *, at: float = 0.0, **changes: Any) -> Heard:
        self._events += 1
        what: dict[str, Any] = {
            "event_id": f"e{self._events}",
            "at": START + timedelta(seconds=at),
            "execution": Execution(id=f"x{item}", status=status, outcome=changes.pop("outcome", None)),
            "batch_id": self.batch_id,
            "item": item,
            "attempt": 1,
        }
        return Heard(**(what | changes))

    async def hear(self, *news: Heard) -> list[Hearing]:
        return await self.store.hear(news)

    async def note(self, item: int, status: ExecutionStatus, **changes: Any) -> int:
        execution = Execution(id=f"x{item}", status=status, profile_name="Clerk", **changes)
        return await self.store.note(self.batch_id, [(item, execution)])

    async def status(self, item: int = 0) -> ExecutionStatus | None:
        found = (await self.store.items(self.batch_id))[item].execution
        return None if found is None else found.status

    async def check(self) -> None:
        """The counters of the batch are what its items say."""
        record, rows = await self.store.batch(self.batch_id), await self.store.items(self.batch_id)
        executions = [row.execution for row in rows if row.execution is not None]
        for name in ("running", "waiting", "succeeded", "failed", "cancelled"):
            assert getattr(record.progress.executions, name) == sum(each.standing == name for each in executions), name
        for status in ItemStatus:
            assert getattr(record.progress, status) == sum(row.status is status for row in rows), status
        untold = await self.store.open_executions(self.batch_id, limit=100)
        assert len(untold) == record.untold


Scene = Callable[[Shop], Awaitable[None]]


def play(scene: Scene, address: Path | str) -> None:
    async def run() -> None:
        shop = Shop(address)
        await shop.open()
        try:
            await scene(shop)
            await shop.check()
        finally:
            await shop.store.aclose()
            shop.store.shutdown()

    asyncio.run(run())


def test_an_end_is_written_down_and_its_details_are_asked_for_once(address: Path | str) -> None:
    async def scene(shop: Shop) -> None:
        await shop.answer(0)
        assert await shop.hear(shop.heard(COMPLETED, outcome=ExecutionOutcome.SUCCESS, at=5)) == [Hearing.APPLIED]
        record = await shop.store.batch(shop.batch_id)
        assert (record.progress.executions.succeeded, record.partial) == (1, 1)
        assert record.heard_at == shop.clock.now()
        assert await shop.store.open_executions(shop.batch_id, limit=9) == [(0, "x0")]
        assert await shop.store.earliest_open(shop.batch_id) is not None
        await shop.check()
        assert await shop.note(0, RUNNING) == 0
        assert await shop.note(0, COMPLETED) == 1
        execution = (await shop.store.items(shop.batch_id))[0].execution
        assert execution is not None
        assert (execution.outcome, execution.profile_name) == (ExecutionOutcome.SUCCESS, "Clerk")
        assert await shop.store.earliest_open(shop.batch_id) is None
        assert await shop.note(0, FAILED) == 0

    play(scene, address)


def test_what_the_target_says_of_an_outcome_the_webhook_left_out_is_counted(address: Path | str) -> None:
    async def scene(shop: Shop) -> None:
        await shop.answer(0)
        await shop.hear(shop.heard(COMPLETED))
        assert (await shop.store.batch(shop.batch_id)).progress.executions.succeeded == 1
        await shop.note(0, COMPLETED, outcome=ExecutionOutcome.FAILURE)
        executions = (await shop.store.batch(shop.batch_id)).progress.executions
        assert (executions.succeeded, executions.failed) == (0, 1)

    play(scene, address)


def test_an_end_that_the_target_knows_nothing_of_stays_what_the_webhook_said(address: Path | str) -> None:
    async def scene(shop: Shop) -> None:
        await shop.answer(0)
        await shop.hear(shop.heard(COMPLETED, outcome=ExecutionOutcome.SUCCESS))
        assert await shop.note(0, FAILED, error=LOST) == 1
        record = await shop.store.batch(shop.batch_id)
        assert (record.progress.executions.succeeded, record.partial) == (1, 0)

    play(scene, address)


def test_an_event_is_applied_once_for_ever(address: Path | str) -> None:
    async def scene(shop: Shop) -> None:
        await shop.answer(0)
        paused = shop.heard(ExecutionStatus.PAUSED, at=1)
        assert await shop.hear(paused, paused) == [Hearing.APPLIED, Hearing.DUPLICATE]
        await shop.hear(shop.heard(RUNNING, at=2))
        shop.clock.jump(400 * 86_400)
        assert await shop.hear(paused) == [Hearing.DUPLICATE]
        assert await shop.status() is RUNNING

    play(scene, address)


def test_states_only_move_forward_whatever_the_order(address: Path | str) -> None:
    async def scene(shop: Shop) -> None:
        await shop.answer(0)
        await shop.hear(shop.heard(AWAITING, at=3))
        late = [shop.heard(RUNNING, at=4, began=True), shop.heard(RUNNING, at=2)]
        assert await shop.hear(*late) == [Hearing.OUTDATED] * 2
        assert await shop.status() is AWAITING
        assert await shop.hear(shop.heard(RUNNING, at=5)) == [Hearing.APPLIED]
        assert await shop.hear(shop.heard(FAILED, at=1)) == [Hearing.APPLIED]
        assert await shop.hear(shop.heard(COMPLETED, at=9), shop.heard(RUNNING, at=9)) == [Hearing.OUTDATED] * 2
        assert await shop.status() is FAILED

    play(scene, address)


@pytest.mark.parametrize("late", [None, NotSent(message="no"), Unclear(message="?")])
def test_a_webhook_before_our_own_commit_counts_and_the_late_answer_changes_nothing(
    address: Path | str, late: Any
) -> None:
    async def scene(shop: Shop) -> None:
        assert await shop.hear(shop.heard(COMPLETED)) == [Hearing.APPLIED]
        await shop.answer(0, late)
        row = (await shop.store.items(shop.batch_id))[0]
        assert (row.status, await shop.status()) == (ItemStatus.TRIGGERED, COMPLETED)

    play(scene, address)


def test_a_webhook_settles_a_row_in_doubt(address: Path | str) -> None:
    async def scene(shop: Shop) -> None:
        await shop.answer(0, Unclear(message="?"))
        assert await shop.hear(shop.heard(RUNNING, began=True)) == [Hearing.APPLIED]
        assert (await shop.store.batch(shop.batch_id)).progress.in_doubt == 0

    play(scene, address)


def test_a_webhook_of_another_attempt_batch_item_or_execution_changes_nothing(address: Path | str) -> None:
    async def scene(shop: Shop) -> None:
        await shop.answer(0)
        before = await shop.store.items(shop.batch_id)
        news = [
            shop.heard(FAILED, batch_id="b-other"),
            shop.heard(FAILED, item=99),
            shop.heard(FAILED, item=1, attempt=2),
            shop.heard(FAILED, execution=Execution(id="other", status=FAILED)),
        ]
        assert await shop.hear(*news) == [Hearing.IGNORED] * 4
        assert await shop.store.items(shop.batch_id) == before
        assert (await shop.store.batch(shop.batch_id)).heard_at is None

    play(scene, address)


def test_a_webhook_without_our_metadata_is_kept_until_its_execution_is_known(address: Path | str) -> None:
    async def scene(shop: Shop) -> None:
        nowhere = {"batch_id": "", "attempt": -1}
        kept = shop.heard(FAILED, item=0, **nowhere)
        assert await shop.hear(kept, shop.heard(FAILED, item=7, **nowhere)) == [Hearing.KEPT] * 2
        await shop.answer(0)
        assert await shop.status() is FAILED
        assert await shop.hear(kept) == [Hearing.DUPLICATE]

    play(scene, address)


def test_the_end_of_the_last_execution_is_logged_as_finished_once(address: Path | str) -> None:
    async def scene(shop: Shop) -> None:
        for item in range(ROWS):
            await shop.answer(item)
        await shop.hear(*(shop.heard(COMPLETED, item) for item in range(ROWS)))
        for item in range(ROWS):
            await shop.note(item, COMPLETED)
        await shop.tick()
        kinds = [event.kind for event in await shop.store.events(shop.batch_id)]
        assert kinds.count("finished") == kinds.count("completed") == 1

    play(scene, address)


MOMENTS = [
    (RUNNING, 1, True),
    (AWAITING, 2, False),
    (RUNNING, 3, False),
    (ExecutionStatus.PAUSED, 4, False),
    (RUNNING, 5, False),
    (COMPLETED, 6, False),
]


@settings(max_examples=examples(20), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    order=st.permutations(range(len(MOMENTS) + 1)),
    lost=st.sets(st.integers(0, len(MOMENTS) - 1)),
    together=st.booleans(),
)
def test_in_any_order_the_newest_of_what_came_is_what_is_known(
    order: list[int], lost: set[int], together: bool
) -> None:
    async def scene(shop: Shop) -> None:
        news = [shop.heard(status, at=at, began=began) for status, at, began in MOMENTS]
        came = [number for number in order if number not in lost]
        cut = came.index(len(MOMENTS))
        before, after = came[:cut], came[cut + 1 :]
        for group, last in ((before, False), (after, True)):
            for some in [group] if together and group else [[number] for number in group]:
                await shop.hear(*(news[number] for number in some))
            if not last:
                await shop.answer(0)
        known = {number for number in came if number < len(MOMENTS)}
        if not known:
            return
        assert await shop.status() is MOMENTS[max(known)][0]

    with TemporaryDirectory() as folder:
        play(scene, Path(folder) / "s.sqlite")
