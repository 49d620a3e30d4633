"""What every store must do; each fixture parameter is one implementation."""

from __future__ import annotations

import asyncio
import stat
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from long_form import examples
from new_batches import new_batch, new_items
from sqlalchemy import create_engine, func, select, text

from batchkit.core.execution import Execution, ExecutionOutcome, ExecutionStatus
from batchkit.core.lifecycle import BatchStatus, ItemStatus
from batchkit.core.outcome import Held, NotSent, Refused, Triggered, Unclear, Wait
from batchkit.core.profile import ProfileRef
from batchkit.core.record import BatchRecord, ItemOutcome, Lease, NewBatch
from batchkit.core.request import NewItem
from batchkit.core.schedule import Pace, execute_times, restagger
from batchkit.core.target import TargetInfo
from batchkit.errors import NotFoundError, StateError, StoreError
from batchkit.io.migrations import SCHEMA_VERSION
from batchkit.io.schema import batches, inputs, items
from batchkit.io.store import SqlStore
from batchkit.testing import FakeClock

PACE = Pace(max_concurrent=3, batch_interval=60)


class Shop:
    """A store, its clock, and shortcuts."""

    def __init__(self, address: Path | str) -> None:
        self.address = address
        self.clock = FakeClock()
        self.store = SqlStore(address, self.clock)

    async def batch(self, rows: int = 5, *, pace: Pace = PACE, start_in: float = 0.0, agent_id: str = "agent") -> str:
        batch_id = await self.store.begin(
            NewBatch(
                name="March permits",
                agent_id=agent_id,
                agent_name="Permit filer",
                version=3,
                target=TargetInfo(kind="asteroid", url="http://127.0.0.1", account="a1", secret="env:KEY"),
                pace=pace,
                start_at=self.clock.now() + timedelta(seconds=start_in),
                default_profile=ProfileRef(id="p1", name="Clerk A"),
                columns=("Client", "Notes"),
                mapping={"fields": []},
                source="permits.csv",
                fingerprint="f" * 64,
            )
        )
        for first in range(0, rows, 2):
            await self.store.add(batch_id, [self.item(n) for n in range(first, min(first + 2, rows))])
        await self.store.publish(batch_id, "Ada")
        return batch_id

    @staticmethod
    def item(n: int) -> NewItem:
        return NewItem(
            row=n + 2,
            line=n + 2,
            cells=(f"client {n}", "ü\n"),
            inputs={"client": f"client {n}", "amount": 2**70},
            metadata={"region": "north"} if n else {},
            profile=ProfileRef(id="p2", name="Clerk B") if n == 1 else None,
        )

    async def lease(self, batch_id: str, owner: str = "me") -> Lease:
        lease = await self.store.acquire(batch_id, owner, settle_after=10.0)
        assert lease is not None
        return lease

    def outcome(self, item: int, outcome: Any, attempt: int = 1) -> ItemOutcome:
        now = self.clock.now()
        return ItemOutcome(item=item, attempt=attempt, outcome=outcome, at=now, settle_at=now + timedelta(seconds=10))


def triggered(n: int, **more: Any) -> Triggered:
    return Triggered(execution=Execution(id=f"e{n}", status=ExecutionStatus.QUEUED, **more))


Scenario = Callable[[Shop], Awaitable[None]]
Run = Callable[[Scenario], None]


@pytest.fixture
def run(address: Path | str) -> Run:
    return lambda scenario: play(scenario, address)


@pytest.fixture
def run_in_file(tmp_path: Path) -> Run:
    """For what only a file has."""
    return lambda scenario: play(scenario, tmp_path / "folder" / "runs.sqlite")


def play(scenario: Scenario, address: Path | str) -> None:
    async def whole() -> None:
        shop = Shop(address)
        try:
            await scenario(shop)
        finally:
            shop.store.shutdown()

    asyncio.run(whole())


async def counted(shop: Shop, batch_id: str) -> None:
    """The counters say what the items say."""
    progress = (await shop.store.batch(batch_id)).progress
    items = await shop.store.items(batch_id)
    by_status = Counter(item.status for item in items)
    for status in ItemStatus:
        assert getattr(progress, status) == by_status[status], status
    assert progress.total == len(items) == sum(getattr(progress, status) for status in ItemStatus)
    standing = Counter(item.execution.standing for item in items if item.execution is not None)
    for name in ("running", "waiting", "succeeded", "failed", "cancelled"):
        assert getattr(progress.executions, name) == standing[name]


def test_a_batch_comes_back_as_it_was_made(run) -> None:
    async def scenario(shop: Shop) -> None:
        batch_id = await shop.batch()
        record = await shop.store.batch(batch_id)
        assert (record.name, record.status, record.version) == ("March permits", BatchStatus.RUNNING, 3)
        assert record.columns == ("Client", "Notes")
        assert record.target.secret == "env:KEY"
        assert record.default_profile == ProfileRef(id="p1", name="Clerk A")
        assert (record.created_at, record.started_at) == (shop.clock.now(), shop.clock.now())
        items = await shop.store.items(batch_id)
        assert [item.execute_at for item in items] == execute_times(5, PACE, shop.clock.now())
        assert [item.row for item in items] == [2, 3, 4, 5, 6]
        assert await shop.store.cells(batch_id, 1, 3) == [(["client 1", "ü\n"], None), (["client 2", "ü\n"], None)]
        assert [event.kind for event in await shop.store.events(batch_id)] == ["created"]
        await counted(shop, batch_id)

    run(scenario)


def test_a_batch_is_seen_only_when_it_is_whole(run) -> None:
    async def scenario(shop: Shop) -> None:
        batch_id = await shop.store.begin(new_batch(shop.clock.now(), pace=PACE))
        await shop.store.add(batch_id, [shop.item(0)])
        assert await shop.store.batches() == []
        with pytest.raises(NotFoundError):
            await shop.store.batch(batch_id)
        await shop.store.abandon(batch_id)
        left = [select(func.count()).select_from(table) for table in (batches, items, inputs)]
        assert await shop.store._database.read(lambda connection: [connection.scalar(each) for each in left]) == [0] * 3

    run(scenario)


def test_everything_is_there_after_the_store_is_opened_again(run) -> None:
    async def scenario(shop: Shop) -> None:
        batch_id = await shop.batch()
        lease = await shop.lease(batch_id)
        await shop.store.tick(lease, claim=3)
        await shop.store.aclose()
        again = SqlStore(shop.address, shop.clock)
        assert (await again.batch(batch_id)).progress.triggering == 3
        again.shutdown()

    run(scenario)


def test_the_file_is_for_its_owner_only(run_in_file) -> None:
    async def scenario(shop: Shop) -> None:
        await shop.batch()
        for path in Path(shop.address).parent.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path

    run_in_file(scenario)


def test_a_claim_takes_what_is_due_in_order_and_only_once(run) -> None:
    async def scenario(shop: Shop) -> None:
        batch_id = await shop.batch()
        lease = await shop.lease(batch_id)
        tick = await shop.store.tick(lease, claim=10)
        assert [claim.item for claim in tick.claimed] == [0, 1, 2]
        first, second, _ = (claim.request for claim in tick.claimed)
        assert first.inputs == {"client": "client 0", "amount": 2**70}
        assert first.all_metadata == {"batchkit_batch": batch_id, "batchkit_item": "0", "batchkit_attempt": "1"}
        assert (first.profile, second.profile) == (
            ProfileRef(id="p1", name="Clerk A"),
            ProfileRef(id="p2", name="Clerk B"),
        )
        assert second.metadata == {"region": "north"}
        assert (await shop.store.tick(lease, claim=10)).claimed == ()
        assert tick.batch.next_due == shop.clock.now() + timedelta(seconds=60)
        await shop.clock.advance(60)
        assert [claim.item for claim in (await shop.store.tick(lease, claim=1)).claimed] == [3]
        await counted(shop, batch_id)

    run(scenario)


def test_only_the_holder_of_the_lease_may_claim_and_its_epoch_counts(run) -> None:
    async def scenario(shop: Shop) -> None:
        batch_id = await shop.batch()
        mine = await shop.lease(batch_id, "me")
        assert await shop.store.acquire(batch_id, "you", settle_after=None) is None
        shop.clock.sleep(60)
        assert not (await shop.store.batch(batch_id)).runner_alive
        yours = await shop.lease(batch_id, "you")
        assert yours.epoch == mine.epoch + 1
        tick = await shop.store.tick(mine, claim=3)
        assert (tick.lease, tick.claimed) == (None, ())
        assert len((await shop.store.tick(yours, claim=3)).claimed) == 3

    run(scenario)


def test_a_lease_is_renewed_while_its_holder_comes_by(run) -> None:
    async def scenario(shop: Shop) -> None:
        batch_id = await shop.batch()
        lease = await shop.lease(batch_id)
        for _ in range(20):
            await shop.clock.advance(4)
            tick = await shop.store.tick(lease)
            assert tick.lease is not None
            lease = tick.lease
            assert (await shop.store.batch(batch_id)).runner_alive
        await shop.store.release(lease)
        assert (await shop.store.batch(batch_id)).interrupted

    run(scenario)


def test_what_a_dead_runner_left_is_in_doubt_for_the_next_one(run) -> None:
    async def scenario(shop: Shop) -> None:
        batch_id = await shop.batch()
        await shop.store.tick(await shop.lease(batch_id, "dead"), claim=3)
        shop.clock.sleep(60)
        lease = await shop.lease(batch_id, "next")
        record = await shop.store.batch(batch_id)
        assert (record.progress.in_doubt, record.progress.triggering) == (3, 0)
        assert record.gate_at == shop.clock.now() + timedelta(seconds=60)
        assert await shop.store.doubtful(batch_id, 10) == []
        await shop.clock.advance(10)
        assert [item.item for item in await shop.store.doubtful(batch_id, 10)] == [0, 1, 2]
        found = [shop.outcome(0, triggered(0)), shop.outcome(1, NotSent(message="unknown"))]
        await shop.store.tick(lease, outcomes=found)
        states = [item.status for item in await shop.store.items(batch_id)]
        assert states == ["triggered", "pending", "in_doubt", "pending", "pending"]
        assert [event.kind for event in await shop.store.events(batch_id, item=0)] == ["settled"]
        assert (await shop.store.events(batch_id, item=1))[-1].message == "unknown"
        await counted(shop, batch_id)

    run(scenario)


def test_an_outcome_reported_twice_in_one_visit_counts_once(run) -> None:
    async def scenario(shop: Shop) -> None:
        batch_id = await shop.batch(3)
        lease = await shop.lease(batch_id)
        await shop.store.tick(lease, claim=3)
        unknown = NotSent(message="The target knows nothing of it.")
        outcomes = [
            shop.outcome(0, triggered(0)),
            shop.outcome(0, triggered(0)),
            shop.outcome(1, unknown),
            shop.outcome(1, triggered(1)),
            shop.outcome(2, triggered(2)),
            shop.outcome(2, unknown),
        ]
        await shop.store.tick(lease, outcomes=outcomes)
        assert [item.status for item in await shop.store.items(batch_id)] == ["triggered"] * 3
        await counted(shop, batch_id)

    run(scenario)


def test_rows_in_doubt_that_nobody_could_look_up_are_looked_up_by_whoever_can(run) -> None:
    async def scenario(shop: Shop) -> None:
        batch_id = await shop.batch(2)
        await shop.store.tick(await shop.lease(batch_id, "dead"), claim=1)
        shop.clock.sleep(60)
        assert await shop.store.acquire(batch_id, "one that cannot look up", settle_after=None) is not None
        shop.clock.sleep(60)
        assert await shop.store.acquire(batch_id, "one that can", settle_after=10.0) is not None
        assert await shop.store.doubtful(batch_id, 10) == []
        await shop.clock.advance(10)
        assert [item.item for item in await shop.store.doubtful(batch_id, 10)] == [0]

    run(scenario)


def test_the_length_of_a_lease_is_the_stores(address: Path | str) -> None:
    async def scenario() -> None:
        shop = Shop(address)
        shop.store = SqlStore(shop.address, shop.clock, lease_seconds=3.0)
        batch_id = await shop.batch(1)
        lease = await shop.lease(batch_id)
        assert (lease.expires - shop.clock.boot()[1], lease.seconds) == (3.0, 3.0)
        for seconds, renewed in ((0.9, False), (0.2, True)):
            await shop.clock.advance(seconds)
            tick = await shop.store.tick(lease)
            assert tick.lease is not None
            assert (tick.lease.expires > lease.expires) is renewed
        await shop.clock.advance(3.1)
        assert not (await shop.store.batch(batch_id)).runner_alive
        shop.store.shutdown()

    asyncio.run(scenario())


def test_outcomes_are_recorded_whoever_holds_the_lease_and_whatever_the_batch_became(run) -> None:
    async def scenario(shop: Shop) -> None:
        batch_id = await shop.batch()
        lease = await shop.lease(batch_id)
        await shop.store.tick(lease, claim=3)
        await shop.store.cancel(batch_id, "Ada")
        shop.clock.sleep(60)
        await shop.lease(batch_id, "you")
        outcomes = [shop.outcome(0, triggered(0)), shop.outcome(1, NotSent(message="never left"))]
        tick = await shop.store.tick(lease, outcomes=outcomes)
        assert tick.lease is None
        states = [item.status for item in await shop.store.items(batch_id)]
        assert states == ["triggered", "cancelled", "in_doubt", "cancelled", "cancelled"]
        await counted(shop, batch_id)

    run(scenario)


def test_the_outcome_of_an_older_attempt_changes_nothing(run) -> None:
    async def scenario(shop: Shop) -> None:
        batch_id = await shop.batch(1)
        lease = await shop.lease(batch_id)
        await shop.store.tick(lease, claim=1)
        await shop.store.tick(lease, outcomes=[shop.outcome(0, NotSent(message="x"))])
        tick = await shop.store.tick(lease, claim=1)
        assert tick.claimed[0].attempt == 2
        await shop.store.tick(lease, outcomes=[shop.outcome(0, Refused(code="400", message="late"), attempt=1)])
        [item] = await shop.store.items(batch_id)
        assert item.status == "triggering"

    run(scenario)


def test_a_late_triggered_counts_though_a_lookup_had_found_nothing(run) -> None:
    async def scenario(shop: Shop) -> None:
        batch_id = await shop.batch(1)
        lease = await shop.lease(batch_id)
        await shop.store.tick(lease, claim=1)
        await shop.store.tick(lease, outcomes=[shop.outcome(0, NotSent(message="unknown"))])
        await shop.store.tick(lease, outcomes=[shop.outcome(0, triggered(7))])
        [item] = await shop.store.items(batch_id)
        assert (item.status, item.execution and item.execution.id) == ("triggered", "e7")
        await counted(shop, batch_id)

    run(scenario)


def test_a_batch_starts_at_its_time_and_completes_when_nothing_is_left(run) -> None:
    async def scenario(shop: Shop) -> None:
        batch_id = await shop.batch(2, start_in=100)
        lease = await shop.lease(batch_id)
        assert (await shop.store.tick(lease)).batch.status == "pending"
        await shop.clock.advance(100)
        tick = await shop.store.tick(lease)
        assert (tick.batch.status, tick.batch.started_at) == ("running", shop.clock.now())
        await shop.store.tick(lease, claim=3)
        outcomes = [shop.outcome(0, triggered(0)), shop.outcome(1, Refused(code="400", message="no"))]
        tick = await shop.store.tick(lease, outcomes=outcomes)
        assert (tick.batch.status, tick.batch.finished_at) == ("completed", shop.clock.now())
        kinds = [event.kind for event in await shop.store.events(batch_id)]
        assert kinds == ["created", "started", "refused", "completed"]
        await counted(shop, batch_id)

    run(scenario)


def test_a_batch_in_doubt_is_not_completed(run) -> None:
    async def scenario(shop: Shop) -> None:
        batch_id = await shop.batch(1)
        lease = await shop.lease(batch_id)
        await shop.store.tick(lease, claim=1)
        tick = await shop.store.tick(lease, outcomes=[shop.outcome(0, Unclear(message="broke"))])
        assert (tick.batch.status, tick.batch.progress.in_doubt) == ("running", 1)
        change = await shop.store.settle_items(batch_id, [0], "skip", "Ada")
        assert change.done == (0,)
        assert (await shop.store.tick(lease)).batch.status == "completed"
        await counted(shop, batch_id)

    run(scenario)


def test_open_executions_come_with_their_ids_in_pages(run) -> None:
    async def scenario(shop: Shop) -> None:
        batch_id = await shop.batch(6, pace=Pace(max_concurrent=6, batch_interval=60))
        lease = await shop.lease(batch_id)
        await shop.store.tick(lease, claim=6)
        outcomes = [shop.outcome(n, triggered(n)) for n in range(5)]
        await shop.store.tick(lease, outcomes=[*outcomes, shop.outcome(5, Refused(code="400", message="no"))])
        done = Execution(id="e1", status=ExecutionStatus.COMPLETED)
        running = Execution(id="e3", status=ExecutionStatus.RUNNING)
        await shop.store.note(batch_id, [(1, done), (3, running)])
        assert await shop.store.open_executions(batch_id, limit=2) == [(0, "e0"), (2, "e2")]
        assert await shop.store.open_executions(batch_id, after=2, limit=9) == [(3, "e3"), (4, "e4")]
        assert await shop.store.open_executions(batch_id, after=4, limit=9) == []
        other = await shop.batch(1)
        assert await shop.store.open_executions(other, limit=9) == []

    run(scenario)


def test_executions_go_forward_only_and_are_counted(run) -> None:
    async def scenario(shop: Shop) -> None:
        batch_id = await shop.batch(3)
        lease = await shop.lease(batch_id)
        await shop.store.tick(lease, claim=3)
        await shop.store.tick(lease, outcomes=[shop.outcome(n, triggered(n)) for n in range(3)])
        assert await shop.store.earliest_open(batch_id) == shop.clock.now()
        done = Execution(
            id="e0", status=ExecutionStatus.COMPLETED, outcome=ExecutionOutcome.SUCCESS, result={"a": [1, None]}
        )
        waiting = Execution(id="e1", status=ExecutionStatus.AWAITING_CONFIRMATION, url="http://127.0.0.1/e1")
        foreign = Execution(id="other", status=ExecutionStatus.FAILED)
        assert await shop.store.note(batch_id, [(0, done), (1, waiting), (2, foreign)]) == 2
        assert await shop.store.note(batch_id, [(0, Execution(id="e0", status=ExecutionStatus.RUNNING))]) == 0
        record = await shop.store.batch(batch_id)
        counts = record.progress.executions
        assert (counts.succeeded, counts.waiting, counts.running, counts.open) == (1, 1, 1, 2)
        first = (await shop.store.items(batch_id))[0].execution
        assert first is not None
        assert first.result == {"a": [1, None]}
        await counted(shop, batch_id)

    run(scenario)


def test_pages_by_row_and_by_time_show_every_item_once(run) -> None:
    async def scenario(shop: Shop) -> None:
        batch_id = await shop.batch(20)
        await shop.store.reschedule_items(batch_id, [3, 11], shop.clock.now() + timedelta(hours=1), "Ada")
        seen: list[int] = []
        page = await shop.store.items(batch_id, limit=7)
        while page:
            seen += [item.item for item in page]
            page = await shop.store.items(batch_id, limit=7, after=(page[-1].item,))
        assert seen == list(range(20))
        timed = []
        page = await shop.store.items(batch_id, limit=3, order="time")
        while page:
            timed += page
            page = await shop.store.items(batch_id, limit=3, order="time", after=(page[-1].execute_at, page[-1].item))
        assert sorted(item.item for item in timed) == list(range(20))
        assert [item.execute_at for item in timed] == sorted(item.execute_at for item in timed)

    run(scenario)


def test_unknown_batches_and_items_are_named(run) -> None:
    async def scenario(shop: Shop) -> None:
        with pytest.raises(NotFoundError, match="'nothing'"):
            await shop.store.batch("nothing")
        batch_id = await shop.batch(3)
        with pytest.raises(NotFoundError, match="no item 3; its items are 0 to 2"):
            await shop.store.cancel_items(batch_id, [0, 3], "Ada")
        assert (await shop.store.batch(batch_id)).progress.pending == 3

    run(scenario)


def test_batches_are_listed_newest_first_and_filtered(run) -> None:
    async def scenario(shop: Shop) -> None:
        one = await shop.batch(1)
        await shop.clock.advance(1)
        two = await shop.batch(1, agent_id="another")
        await shop.store.cancel(one, "Ada")
        assert [record.id for record in await shop.store.batches()] == [two, one]
        assert [record.id for record in await shop.store.batches(agent_id="agent")] == [one]
        assert [record.id for record in await shop.store.batches(statuses=[BatchStatus.RUNNING])] == [two]
        assert [record.id for record in await shop.store.same_file("agent", "f" * 64)] == [one]

    run(scenario)


def test_saved_mappings_are_kept_per_agent_and_header_and_can_be_deleted(run) -> None:
    async def scenario(shop: Shop) -> None:
        await shop.store.save_mapping("agent", "h1", {"fields": [1]})
        await shop.store.save_mapping("agent", "h1", {"fields": [2]})
        assert await shop.store.mapping("agent", "h1") == {"fields": [2]}
        assert await shop.store.mapping("agent", "h2") is None
        assert await shop.store.mapping("other", "h1") is None
        assert await shop.store.delete_mapping("agent", "h1")
        assert not await shop.store.delete_mapping("agent", "h1")

    run(scenario)


def test_a_batch_is_published_once_and_takes_no_rows_then(run: Run) -> None:
    async def scenario(shop: Shop) -> None:
        batch_id = await shop.batch()
        await shop.store.cancel(batch_id, "Ada")
        for late in (
            shop.store.publish(batch_id, "Ada"),
            shop.store.add(batch_id, [shop.item(5)]),
            shop.store.leave_out(batch_id, [(9, None, ["x"], "wrong")]),
        ):
            with pytest.raises(NotFoundError):
                await late
        record = await shop.store.batch(batch_id)
        assert (record.status, record.progress.total) == (BatchStatus.CANCELLED, 5)

    run(scenario)


def test_a_store_of_a_newer_version_is_refused(run) -> None:
    async def scenario(shop: Shop) -> None:
        await shop.batch(1)
        await shop.store.aclose()
        engine = create_engine(f"sqlite:///{shop.address}" if isinstance(shop.address, Path) else shop.address)
        with engine.begin() as connection:
            connection.execute(text("UPDATE schema_version SET version = 999"))
        engine.dispose()
        with pytest.raises(StoreError, match="newer batchkit"):
            await shop.store.batches()
        with engine.begin() as connection:
            connection.execute(text("UPDATE schema_version SET version = :known"), {"known": SCHEMA_VERSION})
        engine.dispose()
        assert len(await shop.store.batches()) == 1

    run(scenario)


def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, not a database\n" * 100)

    async def scenario() -> None:
        store = SqlStore(path, FakeClock())
        with pytest.raises(StoreError, match="not a batchkit store"):
            await store.batches()
        store.shutdown()

    asyncio.run(scenario())
    assert path.read_text().startswith("these are my notes")


def test_a_store_deleted_while_open_is_noticed_before_the_next_write(run_in_file) -> None:
    async def scenario(shop: Shop) -> None:
        batch_id = await shop.batch(1)
        await asyncio.to_thread(Path(shop.address).unlink)
        with pytest.raises(StoreError, match="deleted or replaced"):
            await shop.store.pause(batch_id, "Ada")

    run_in_file(scenario)


commands = st.lists(
    st.tuples(
        st.sampled_from(
            ["claim", "pause", "resume", "cancel_items", "reschedule", "settle", "take over", "answer", "wait"]
        ),
        st.integers(0, 9),
        st.sampled_from(["triggered", "refused", "not sent", "unclear", "held", "wait"]),
    ),
    max_size=25,
)


@settings(max_examples=examples(20), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commands=commands)
def test_counts_add_up_and_no_item_is_triggered_twice_whatever_happens(tmp_path_factory, commands) -> None:
    async def scenario() -> None:
        shop = Shop(tmp_path_factory.mktemp("store") / "s.sqlite")
        batch_id = await shop.batch(10)
        lease = await shop.lease(batch_id)
        out: list[tuple[int, int]] = []
        ran: Counter[int] = Counter()
        for command, number, kind in commands:
            try:
                if command == "claim":
                    tick = await shop.store.tick(lease, claim=3)
                    out += [(claim.item, claim.attempt) for claim in tick.claimed]
                elif command == "answer" and out:
                    item, attempt = out.pop(number % len(out))
                    ran[item] += kind == "triggered"
                    said = {
                        "triggered": triggered(item),
                        "refused": Refused(code="400", message="no"),
                        "not sent": NotSent(message="no connection"),
                        "unclear": Unclear(message="broke"),
                        "held": Held(code="401", message="no"),
                        "wait": Wait(retry_after=1.0, message="later"),
                    }[kind]
                    if kind == "unclear":
                        continue  # the row stays in doubt for good: nobody knows
                    await shop.store.tick(lease, outcomes=[shop.outcome(item, said, attempt)])
                elif command == "pause":
                    await shop.store.pause(batch_id, "Ada")
                elif command == "resume":
                    await shop.store.resume(batch_id, "Ada")
                elif command == "cancel_items":
                    await shop.store.cancel_items(batch_id, [number], "Ada")
                elif command == "reschedule":
                    at = shop.clock.now() + timedelta(seconds=30 * number)
                    await shop.store.reschedule_items(batch_id, [number], at, "Ada")
                elif command == "settle":
                    await shop.store.settle_items(batch_id, [number], "skip", "Ada")
                elif command == "take over":
                    shop.clock.sleep(60)
                    lease = await shop.lease(batch_id, f"owner {number}")
                else:
                    await shop.clock.advance(30 * number)
            except StateError:
                pass
            await counted(shop, batch_id)
        assert all(count <= 1 for count in ran.values())
        shop.store.shutdown()

    asyncio.run(scenario())


@pytest.mark.parametrize(("rows", "interval", "waits"), [(20_001, 60, True), (20_001, 0, False), (20_000, 60, False)])
def test_the_first_of_very_many_rows_is_due_when_all_have_their_new_times(run, rows, interval, waits) -> None:
    async def scenario(shop: Shop) -> None:
        pace = Pace(max_concurrent=100, batch_interval=interval)
        batch_id = await shop.store.begin(new_batch(shop.clock.now(), pace=pace))
        await shop.store.add(batch_id, new_items(rows))
        await shop.store.publish(batch_id, "Ada")
        lease = await shop.lease(batch_id)
        await shop.store.tick(lease)
        await shop.store.pause(batch_id, "Ada")
        await shop.clock.advance(30)
        record = await shop.store.resume(batch_id, "Ada")
        assert record.next_due is not None
        ahead = (record.next_due - shop.clock.now()).total_seconds()
        assert 0 < ahead < 10 if waits else ahead == 0

    run(scenario)


def test_restaggering_in_the_store_agrees_with_the_pure_function(run) -> None:
    async def scenario(shop: Shop) -> None:
        batch_id = await shop.batch(17)
        await shop.store.cancel_items(batch_id, [1, 5], "Ada")
        await shop.store.reschedule_items(batch_id, [2], shop.clock.now() + timedelta(hours=2), "Ada")
        await shop.store.reschedule_items(batch_id, [9], shop.clock.now() + timedelta(seconds=400), "Ada")
        await shop.store.pause(batch_id, "Ada")
        await shop.clock.advance(500)
        before = [item for item in await shop.store.items(batch_id, order="time") if item.status is ItemStatus.PENDING]
        expected = restagger([(item.execute_at, item.by_hand) for item in before], PACE, shop.clock.now())
        record: BatchRecord = await shop.store.resume(batch_id, "Ada")
        assert record.status is BatchStatus.RUNNING
        after = {item.item: item.execute_at for item in await shop.store.items(batch_id)}
        assert [after[item.item] for item in before] == expected

    run(scenario)
