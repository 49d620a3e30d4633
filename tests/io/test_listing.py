"""What a list of batches is read by: any page in any order, an overview, and batches that are put away or deleted."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from batchkit.core.execution import Execution, ExecutionOutcome, ExecutionStatus
from batchkit.core.lifecycle import BatchStatus, ItemStatus
from batchkit.core.listing import ExecutionFilter, ItemQuery
from batchkit.core.outcome import Refused, Triggered, Unclear
from batchkit.core.profile import ProfileRef
from batchkit.core.record import ItemOutcome, NewBatch
from batchkit.core.request import NewItem
from batchkit.core.schedule import Pace
from batchkit.core.target import TargetInfo
from batchkit.errors import NotFoundError, StateError
from batchkit.io import listing, store
from batchkit.io.store import SqlStore
from batchkit.testing import FakeClock

Scenario = Callable[[SqlStore, FakeClock], Awaitable[None]]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def sql_store(address: Path | str, clock: FakeClock) -> Iterator[SqlStore]:
    made = SqlStore(address, clock)
    yield made
    made.shutdown()


@pytest.fixture
def run(sql_store: SqlStore, clock: FakeClock) -> Callable[[Scenario], None]:
    return lambda scenario: asyncio.run(_awaited(scenario(sql_store, clock)))


def engine_of(address: Path | str) -> Engine:
    return create_engine(f"sqlite:///{address}" if isinstance(address, Path) else address)


async def _awaited(work: Awaitable[None]) -> None:
    await work


async def begin(
    sql_store: SqlStore, clock: FakeClock, *, name: str = "March permits", agent: str = "Permit filer"
) -> str:
    return await sql_store.begin(
        NewBatch(
            name=name,
            agent_id=agent.lower(),
            agent_name=agent,
            version=1,
            target=TargetInfo(kind="asteroid", url="http://127.0.0.1"),
            pace=Pace(max_concurrent=2, batch_interval=60),
            start_at=clock.now(),
            source="permits.csv",
        )
    )


async def make(
    sql_store: SqlStore, clock: FakeClock, rows: int = 6, *, name: str = "March permits", agent: str = "Permit filer"
) -> str:
    batch_id = await begin(sql_store, clock, name=name, agent=agent)
    new = [
        NewItem(
            row=n + 2,
            line=n + 2,
            cells=(f"client {n}",),
            inputs={"client": f"client {n}"},
            metadata={"region": "north"} if n else {},
            profile=ProfileRef(id="p1", name="Clerk A") if n == 1 else None,
        )
        for n in range(rows)
    ]
    await sql_store.add(batch_id, new)
    await sql_store.publish(batch_id, "Ada")
    return batch_id


async def answer(sql_store: SqlStore, clock: FakeClock, batch_id: str, *outcomes: Any) -> None:
    """Let the next items be sent, with these outcomes."""
    lease = await sql_store.acquire(batch_id, "me", settle_after=1.0)
    assert lease is not None
    tick = await sql_store.tick(lease, claim=len(outcomes), until=clock.now() + timedelta(days=1))
    done = [
        ItemOutcome(item=claim.item, attempt=1, outcome=outcome, at=clock.now())
        for claim, outcome in zip(tick.claimed, outcomes, strict=True)
    ]
    await sql_store.tick(lease, outcomes=done)
    await sql_store.release(lease)


def triggered(n: int) -> Triggered:
    return Triggered(execution=Execution(id=f"e{n}", status=ExecutionStatus.QUEUED))


@pytest.mark.parametrize("few", [0, 20_000], ids=["by the index", "by sorting"])
def test_every_page_in_every_order_is_a_piece_of_the_whole_list(run, monkeypatch, few: int) -> None:
    monkeypatch.setattr(listing, "_FEW", few)

    async def scenario(sql_store: SqlStore, clock: FakeClock) -> None:
        batch_id = await make(sql_store, clock, 9)
        await answer(
            sql_store, clock, batch_id, triggered(0), Refused(code="invalid", message="no"), Unclear(message="?")
        )
        await sql_store.cancel_items(batch_id, [8], "Ada")
        await sql_store.reschedule_items(batch_id, [4], clock.now() + timedelta(hours=3), "Ada")
        everything = await sql_store.items(batch_id)
        keys: dict[str, Callable[[Any], Any]] = {
            "row": lambda item: item.item,
            "time": lambda item: (item.execute_at, item.item),
            "status": lambda item: (item.status, item.item),
        }
        choices = [(), (ItemStatus.PENDING,), (ItemStatus.REFUSED, ItemStatus.IN_DOUBT), (ItemStatus.TRIGGERED,)]
        for order, descending, statuses in itertools.product(keys, (False, True), choices):
            wanted = sorted(
                (item for item in everything if not statuses or item.status in statuses),
                key=keys[order],
                reverse=descending,
            )
            for offset in range(len(wanted) + 2):
                query = ItemQuery(order=order, descending=descending, statuses=statuses, offset=offset, limit=3)
                found, matching = await sql_store.page(batch_id, query)
                assert (found, matching) == (wanted[offset : offset + 3], len(wanted)), query

    run(scenario)


def test_a_batch_tells_how_long_its_lease_still_holds(run) -> None:
    async def scenario(sql_store: SqlStore, clock: FakeClock) -> None:
        batch_id = await make(sql_store, clock, 1)
        assert (await sql_store.batch(batch_id)).lease_left == 0
        assert await sql_store.acquire(batch_id, "me", settle_after=1.0)
        assert (await sql_store.batch(batch_id)).lease_left == pytest.approx(15)
        clock.sleep(12)
        assert (await sql_store.batch(batch_id)).lease_left == pytest.approx(3)
        clock.sleep(12)
        late = await sql_store.batch(batch_id)
        assert (late.lease_left, late.runner_alive) == (0, False)

    run(scenario)


def test_positions_go_on_after_the_last_one(run) -> None:
    async def scenario(sql_store: SqlStore, clock: FakeClock) -> None:
        batch_id = await make(sql_store, clock, 5)
        await sql_store.cancel_items(batch_id, [1], "Ada")
        pending = ItemQuery(statuses=(ItemStatus.PENDING,), limit=3)
        assert await sql_store.positions(batch_id, pending) == [0, 2, 3]
        assert await sql_store.positions(batch_id, pending, after=3) == [4]
        assert await sql_store.positions(batch_id, ItemQuery(limit=3), after=3) == [4]

    run(scenario)


@pytest.mark.parametrize("few", [0, 20_000], ids=["by the index", "by sorting"])
def test_items_are_found_by_what_became_of_their_execution(run, monkeypatch, few: int) -> None:
    monkeypatch.setattr(listing, "_FEW", few)

    async def scenario(sql_store: SqlStore, clock: FakeClock) -> None:
        batch_id = await make(sql_store, clock, 8)
        await answer(sql_store, clock, batch_id, *map(triggered, range(6)), Refused(code="invalid", message="no"))
        states = [
            (ExecutionStatus.COMPLETED, ExecutionOutcome.SUCCESS),
            (ExecutionStatus.COMPLETED, None),
            (ExecutionStatus.COMPLETED, ExecutionOutcome.FAILURE),
            (ExecutionStatus.FAILED, None),
            (ExecutionStatus.CANCELLED, None),
            (ExecutionStatus.AWAITING_CONFIRMATION, None),
        ]
        seen = [(n, Execution(id=f"e{n}", status=status, outcome=out)) for n, (status, out) in enumerate(states)]
        await sql_store.note(batch_id, seen)
        wanted: dict[ExecutionFilter, list[int]] = {
            "succeeded": [0, 1], "failed": [2, 3], "cancelled": [4], "waiting": [5], "running": [], "timed_out": [],
        }  # fmt: skip
        for order in ("row", "time", "status"):
            for execution, keys in wanted.items():
                items, matching = await sql_store.page(batch_id, ItemQuery(order=order, execution=execution))
                assert ([item.item for item in items], matching) == (keys, len(keys)), (order, execution)
        back = await sql_store.page(batch_id, ItemQuery(execution="failed", offset=1, limit=1))
        assert ([item.item for item in back[0]], back[1]) == ([3], 2)
        refused = ItemQuery(execution="failed", statuses=(ItemStatus.REFUSED,))
        assert await sql_store.page(batch_id, refused) == ([], 0)
        assert await sql_store.positions(batch_id, ItemQuery(execution="failed"), after=2) == [3]

    run(scenario)


def test_items_are_found_by_a_text(run) -> None:
    async def scenario(sql_store: SqlStore, clock: FakeClock) -> None:
        batch_id = await make(sql_store, clock, 15)
        await answer(
            sql_store, clock, batch_id, triggered(7777), Refused(code="invalid", message='100 % of "Ä" is wrong')
        )

        async def found(text: str, **more: Any) -> list[int]:
            query = ItemQuery(text=text, **more)
            items, matching = await sql_store.page(batch_id, query)
            assert matching == len(items)
            assert await sql_store.positions(batch_id, query) == [item.item for item in items]
            return [item.item for item in items]

        assert await found("CLIENT 1") == [1, 10, 11, 12, 13, 14]
        assert await found("client 1", statuses=(ItemStatus.PENDING,)) == [10, 11, 12, 13, 14]
        assert await found("E777") == [0]
        assert await found("777") == []
        assert await found('% of "Ä"') == [1]
        # No pattern of the database: it is just a text.
        assert await found("c_ient") == []
        # Row 15 is item 13.
        assert await found("15") == [13]
        assert await found("9" * 30) == []
        page, matching = await sql_store.page(batch_id, ItemQuery(text="client 1", offset=2, limit=2))
        assert ([item.item for item in page], matching) == ([11, 12], 6)

    run(scenario)


def _spelled(texts: list[str]) -> list[str]:
    """Parts of the texts, and each in other capitals."""
    parts = {text[first:last] for text in texts for first in range(len(text)) for last in range(first + 1, first + 5)}
    return sorted(parts | {part.upper() for part in parts} | {part.lower() for part in parts})


def test_a_text_is_looked_for_in_the_cells_and_not_in_how_they_are_kept(run) -> None:
    rows = [
        ("ab", "c"),
        ("one\nnext", 'a "b", c'),
        (r"C:\new\u00", "nn"),
        ("\x1f tab\t", "[1, 2]"),
        ("ÄRGER über Façades", "%_/"),
        ("\\", "", "漢字"),
    ]

    async def scenario(sql_store: SqlStore, clock: FakeClock) -> None:
        batch_id = await begin(sql_store, clock)
        made = [
            NewItem(row=n + 1_000_000, line=n + 2, cells=cells, inputs={}, metadata={}) for n, cells in enumerate(rows)
        ]
        await sql_store.add(batch_id, made)
        await sql_store.publish(batch_id, "Ada")
        looks_like_json = ['","', "b, c", '["', '"]', "x1f", "u001f", "\\n"]
        for part in [*_spelled([cell for cells in rows for cell in cells]), *looks_like_json]:
            query = ItemQuery(text=part)
            items, _ = await sql_store.page(batch_id, query)
            expected = [n for n, cells in enumerate(rows) if any(part.lower() in cell.lower() for cell in cells)]
            assert [item.item for item in items] == expected, part

    run(scenario)


def test_errors_and_names_are_found_in_other_capitals(run) -> None:
    async def scenario(sql_store: SqlStore, clock: FakeClock) -> None:
        batch_id = await make(sql_store, clock, 2, name="Ärger im März")
        await answer(sql_store, clock, batch_id, Refused(code="invalid", message="Ümlaut 100 %"))
        assert (await sql_store.page(batch_id, ItemQuery(text="üMLAUT 100 %")))[1] == 1
        assert (await sql_store.page(batch_id, ItemQuery(text="üMLAUT 1%")))[1] == 0
        assert (await sql_store.overview(limit=9, text="ÄRGER IM MÄ")).matching == 1
        assert (await sql_store.overview(limit=9, text="ÄRGER_IM")).matching == 0

    run(scenario)


def test_an_overview_knows_which_batches_run_the_same_rows(run) -> None:
    async def scenario(sql_store: SqlStore, clock: FakeClock) -> None:
        first = await make(sql_store, clock, 1)
        other = await make(sql_store, clock, 1, name="April permits")
        overview = await sql_store.overview(limit=1)
        assert [(each.id, each.name, each.parent, each.origin) for each in overview.relatives] == [
            (overview.batches[0].id, overview.batches[0].name, None, overview.batches[0].id)
        ]
        everything = await sql_store.overview(limit=9)
        assert {each.id for each in everything.relatives} == {first, other}

    run(scenario)


def test_the_input_of_an_item_is_what_was_read_from_the_file(run) -> None:
    async def scenario(sql_store: SqlStore, clock: FakeClock) -> None:
        batch_id = await make(sql_store, clock)
        read = await sql_store.item_input(batch_id, 1)
        assert (read.row, read.cells, read.inputs) == (3, ("client 1",), {"client": "client 1"})
        assert (read.metadata, read.profile) == ({"region": "north"}, ProfileRef(id="p1", name="Clerk A"))
        with pytest.raises(NotFoundError):
            await sql_store.item_input(batch_id, 6)

    run(scenario)


def test_the_overview_holds_the_newest_that_match_and_counts_the_rest(run) -> None:
    async def scenario(sql_store: SqlStore, clock: FakeClock) -> None:
        one = await make(sql_store, clock, name="March 100%")
        await clock.advance(1)
        two = await make(sql_store, clock, name="ÄRGER", agent="Checker")
        await clock.advance(1)
        three = await make(sql_store, clock, name="May")
        await sql_store.cancel(one, "Ada")

        async def found(**wanted: Any) -> list[str]:
            return [record.id for record in (await sql_store.overview(limit=10, **wanted)).batches]

        assert await found() == [three, two, one]
        assert await found(agent_id="checker") == [two]
        assert await found(statuses=[BatchStatus.CANCELLED]) == [one]
        assert await found(text="0%") == [one]
        assert await found(text="PERMITS.csv") == [three, two, one]
        assert await found(text=two.upper()) == [two]
        overview = await sql_store.overview(limit=1)
        assert ([record.id for record in overview.batches], overview.matching, overview.stored) == ([three], 3, 3)
        assert overview.agents == {"checker": "Checker", "permit filer": "Permit filer"}
        assert overview.last_due == {three: clock.now() + timedelta(seconds=120)}

    run(scenario)


def test_an_archived_batch_is_listed_only_where_it_is_asked_for(run) -> None:
    async def scenario(sql_store: SqlStore, clock: FakeClock) -> None:
        kept, put_away = await make(sql_store, clock), await make(sql_store, clock)
        with pytest.raises(StateError, match="running batch cannot be archived"):
            await sql_store.archive(put_away, "Ada", archived=True)
        await sql_store.cancel(put_away, "Ada")
        assert (await sql_store.archive(put_away, "Ada", archived=True)).archived
        shown = await sql_store.overview(limit=10)
        assert ([record.id for record in shown.batches], shown.stored, shown.archived) == ([kept], 2, 1)
        assert type(shown.archived) is int
        shown = await sql_store.overview(limit=10, archived=True)
        assert [record.id for record in shown.batches] == [put_away]
        assert not (await sql_store.archive(put_away, "Ada", archived=False)).archived
        log = [event.kind for event in await sql_store.events(put_away)]
        assert log == ["created", "cancelled", "archived", "unarchived"]

    run(scenario)


def test_a_deleted_batch_leaves_nothing_behind_and_the_others_alone(run, address: Path | str) -> None:
    async def scenario(sql_store: SqlStore, clock: FakeClock) -> None:
        other, batch_id = await make(sql_store, clock), await make(sql_store, clock)
        with pytest.raises(StateError, match="running batch cannot be deleted"):
            await sql_store.delete(batch_id, "me")
        await sql_store.cancel(batch_id, "Ada")
        await sql_store.delete(batch_id, "me")
        with pytest.raises(NotFoundError):
            await sql_store.batch(batch_id)
        assert len(await sql_store.items(other)) == 6
        await sql_store.aclose()
        engine = engine_of(address)
        with engine.connect() as connection:
            for table in ("item", "item_input", "event", "left_out"):
                query = text(f"SELECT count(*) FROM {table} WHERE batch_id = :id")
                assert connection.scalar(query, {"id": batch_id}) == 0, table
        engine.dispose()

    run(scenario)


def test_a_batch_whose_executions_another_process_follows_is_not_deleted(run) -> None:
    async def scenario(sql_store: SqlStore, clock: FakeClock) -> None:
        batch_id = await make(sql_store, clock)
        await sql_store.cancel(batch_id, "Ada")
        await sql_store.acquire(batch_id, "host:1:x", settle_after=None)
        with pytest.raises(StateError, match="host:1:x"):
            await sql_store.delete(batch_id, "host:2:y")
        clock.sleep(60)
        await sql_store.delete(batch_id, "host:2:y")

    run(scenario)


def test_a_batch_that_was_cancelled_while_it_rested_is_deleted_at_once(run) -> None:
    async def scenario(sql_store: SqlStore, clock: FakeClock) -> None:
        batch_id = await make(sql_store, clock)
        assert await sql_store.entrust(batch_id, clock.now() + timedelta(days=3), revision=0)
        await sql_store.cancel(batch_id, "Ada")
        await sql_store.delete(batch_id, "host:2:y")
        with pytest.raises(NotFoundError):
            await sql_store.batch(batch_id)

    run(scenario)


def test_many_items_are_changed_in_several_transactions_with_one_answer(run, monkeypatch) -> None:
    monkeypatch.setattr(store, "_PIECE", 4)

    async def scenario(sql_store: SqlStore, clock: FakeClock) -> None:
        batch_id = await make(sql_store, clock, 12)
        await answer(sql_store, clock, batch_id, triggered(0))
        at = clock.now() + timedelta(minutes=30)
        change = await sql_store.reschedule_items(batch_id, range(10), at, "Ada")
        assert (change.done, list(change.not_done)) == (tuple(range(1, 10)), [0])
        times = [item.execute_at for item in await sql_store.items(batch_id)]
        assert times[1:10] == [at + timedelta(minutes=n // 2) for n in range(9)]
        change = await sql_store.cancel_items(batch_id, range(12), "Ada")
        assert (len(change.done), list(change.not_done)) == (11, [0])
        assert (await sql_store.batch(batch_id)).progress.cancelled == 11
        assert [event.kind for event in await sql_store.events(batch_id, item=5)] == [
            "item_rescheduled",
            "item_cancelled",
        ]

    run(scenario)


def test_more_items_than_a_statement_may_name_are_looked_up(run) -> None:
    async def scenario(sql_store: SqlStore, clock: FakeClock) -> None:
        batch_id = await make(sql_store, clock, 3)
        with pytest.raises(NotFoundError, match="has no item 3"):
            await sql_store.reschedule_items(batch_id, range(300_000), clock.now(), "Ada")

    run(scenario)


#: what was added to the store's first form since
_ADDED = ("archived", "clock_offset", "trial")


def test_a_store_of_the_first_form_is_brought_up_to_date_and_keeps_its_rows(
    address: Path | str, clock: FakeClock
) -> None:
    async def before() -> str:
        made = SqlStore(address, clock)
        batch_id = await make(made, clock, 4)
        made.shutdown()
        return batch_id

    async def after(batch_id: str) -> None:
        opened = SqlStore(address, clock)
        record = await opened.batch(batch_id)
        assert (record.name, record.archived, record.progress.total) == ("March permits", False, 4)
        page, matching = await opened.page(batch_id, ItemQuery(order="time", descending=True))
        assert ([item.item for item in page], matching) == ([3, 2, 1, 0], 4)
        await opened.cancel(batch_id, "Ada")
        assert (await opened.archive(batch_id, "Ada", archived=True)).archived
        opened.shutdown()

    batch_id = asyncio.run(before())
    engine = engine_of(address)
    with engine.begin() as connection:
        connection.execute(text("DROP INDEX item_by_time"))
        for column in _ADDED:
            connection.execute(text(f"ALTER TABLE batch DROP COLUMN {column}"))
        connection.execute(text("UPDATE schema_version SET version = 1"))
    engine.dispose()
    asyncio.run(after(batch_id))
