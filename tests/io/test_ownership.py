"""Two owners on one store: to each of them the other's batches do not exist, whatever is asked, and nothing changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, select, text, update

from batchkit.core.execution import Execution, ExecutionStatus
from batchkit.core.heard import Heard, Hearing
from batchkit.core.limits import Limits
from batchkit.core.listing import ItemQuery
from batchkit.core.outcome import Triggered, Unclear
from batchkit.core.ports import Store
from batchkit.core.record import ItemOutcome, Lease, NewBatch
from batchkit.core.request import NewItem
from batchkit.core.schedule import Pace
from batchkit.core.target import TargetInfo
from batchkit.core.viewer import EVERYBODY, Viewer
from batchkit.errors import BatchkitError, NotFoundError
from batchkit.io.address import address_of
from batchkit.io.outbox import Outbox
from batchkit.io.schema import batches, events, inputs, items, left_out, mappings
from batchkit.io.store import SqlStore
from batchkit.io.store_views import StoreViews
from batchkit.testing import FakeClock

ADA, BOB = Viewer(name="Ada"), Viewer(name="Bob")
#: looks like an id, and is none
UNKNOWN = "bzzzzzzzzz"
#: what every batch of Ada's has in its name, cells, source, mapping and log
SECRET = "confidential"
FINGERPRINT = "f" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What somebody guessed about a batch."""

    id: str
    #: one that is being made
    begun: str
    lease: Lease
    clock: FakeClock

    def as_unknown(self) -> Known:
        """The same about a batch that there is not."""
        return replace(self, id=UNKNOWN, begun=UNKNOWN, lease=replace(self.lease, batch_id=UNKNOWN))


def new_batch(clock: FakeClock, owner: str, **more: Any) -> NewBatch:
    return NewBatch(
        name=f"{SECRET} {owner}",
        agent_id="agent",
        agent_name=f"Agent of {owner}",
        version=3,
        target=TargetInfo(kind="asteroid", url="http://127.0.0.1"),
        pace=Pace(max_concurrent=3, batch_interval=60),
        start_at=clock.now(),
        source=f"{SECRET}.csv",
        fingerprint=FINGERPRINT,
        owner=owner,
        **more,
    )


def item(row: int) -> NewItem:
    return NewItem(row=row, line=row, cells=(SECRET,), inputs={"value": SECRET}, metadata={}, profile=None)


async def filled(store: SqlStore, clock: FakeClock) -> Known:
    """A running batch of Ada's: an execution, a row in doubt and one on its way, the others pending; one being made."""
    batch_id = await store.begin(new_batch(clock, "Ada"))
    await store.add(batch_id, [item(row) for row in range(2, 8)])
    await store.leave_out(batch_id, [(9, 9, [SECRET], "invalid")])
    await store.publish(batch_id, "Ada")
    lease = await store.acquire(batch_id, f"{SECRET}:1:2", settle_after=0.0)
    assert lease is not None
    await store.tick(lease, claim=3)
    execution = Execution(id="execution", status=ExecutionStatus.RUNNING)
    outcomes = (Triggered(execution=execution), Unclear(message=SECRET))
    await store.tick(
        lease,
        outcomes=[
            ItemOutcome(item=number, attempt=1, outcome=outcome, at=clock.now(), settle_at=clock.now())
            for number, outcome in enumerate(outcomes)
        ],
    )
    begun = await store.begin(new_batch(clock, "Ada"))
    await store.add(begun, [item(2)])
    await store.save_mapping("agent", FINGERPRINT, {"saved": SECRET})
    return Known(id=batch_id, begun=begun, lease=lease, clock=clock)


Call = Callable[[SqlStore, Known], Awaitable[Any]]
ENDED = Execution(id="execution", status=ExecutionStatus.COMPLETED)
#: a call of every method that names a batch, made with what was guessed
NAMED: dict[str, Call] = {
    "add": lambda store, known: store.add(known.begun, [item(3)]),
    "leave_out": lambda store, known: store.leave_out(known.begun, [(9, 9, [""], "")]),
    "publish": lambda store, known: store.publish(known.begun, "Bob"),
    "abandon": lambda store, known: store.abandon(known.begun),
    "batch": lambda store, known: store.batch(known.id),
    "items": lambda store, known: store.items(known.id),
    "cells": lambda store, known: store.cells(known.id, 0, 9),
    "page": lambda store, known: store.page(known.id, ItemQuery()),
    "positions": lambda store, known: store.positions(known.id, ItemQuery()),
    "ahead_of": lambda store, known: store.ahead_of(known.id, 5),
    "item_input": lambda store, known: store.item_input(known.id, 0),
    "family": lambda store, known: store.family(known.id),
    "standings": lambda store, known: store.standings(known.id),
    "left_out": lambda store, known: store.left_out(known.id),
    "events": lambda store, known: store.events(known.id),
    "pause": lambda store, known: store.pause(known.id, "Bob"),
    "resume": lambda store, known: store.resume(known.id, "Bob"),
    "cancel": lambda store, known: store.cancel(known.id, "Bob"),
    "change_limits": lambda store, known: store.change_limits(known.id, Limits(max_concurrent=1), "Bob"),
    "archive": lambda store, known: store.archive(known.id, "Bob", archived=True),
    "delete": lambda store, known: store.delete(known.id, known.lease.owner),
    "cancel_items": lambda store, known: store.cancel_items(known.id, [4], "Bob"),
    "reschedule_items": lambda store, known: store.reschedule_items(known.id, [4], known.clock.now(), "Bob"),
    "settle_items": lambda store, known: store.settle_items(known.id, [1], "skip", "Bob"),
    "acquire": lambda store, known: store.acquire(known.id, known.lease.owner, settle_after=1.0),
    "release": lambda store, known: store.release(known.lease),
    "entrust": lambda store, known: store.entrust(known.id, None, revision=0, lease=known.lease),
    "tick": lambda store, known: store.tick(known.lease, claim=3, pause="Bob"),
    "disclaim": lambda store, known: store.disclaim(known.lease, []),
    "hold_others": lambda store, known: store.hold_others(known.id, known.clock.now() + timedelta(days=1), "slow down"),
    "note": lambda store, known: store.note(known.id, [(0, ENDED)]),
    "hear": lambda store, known: store.hear([heard(known.id, known.clock)]),
    "earliest_open": lambda store, known: store.earliest_open(known.id),
    "unread_executions": lambda store, known: store.unread_executions(known.id),
    "triggered_since": lambda store, known: store.triggered_since(known.id, known.clock.now()),
    "time_out": lambda store, known: store.time_out(known.id),
    "lose": lambda store, known: store.lose(known.id, [0]),
    "open_executions": lambda store, known: store.open_executions(known.id, limit=9),
    "doubtful": lambda store, known: store.doubtful(known.id, 9),
    "restagger": lambda store, known: store.restagger(known.lease, "Bob"),
    # A rerun names the batch its rows are from.
    "begin": lambda store, known: store.begin(new_batch(known.clock, "Ada", parent=known.id, origin=known.id)),
}
#: and of every other one
UNNAMED: dict[str, Call] = {
    "batches": lambda store, known: store.batches(),
    "same_file": lambda store, known: store.same_file("agent", FINGERPRINT),
    "overview": lambda store, known: store.overview(archived=None, limit=9),
    "unattended": lambda store, known: store.unattended(),
    "mapping": lambda store, known: store.mapping("agent", FINGERPRINT),
    "save_mapping": lambda store, known: store.save_mapping("agent", FINGERPRINT, {"saved": "by Bob"}),
    "delete_mapping": lambda store, known: store.delete_mapping("agent", FINGERPRINT),
}
#: how many rows of each table are Ada's; of the log without those of single rows
STOCK = {"batch": 2, "item": 7, "item_input": 7, "left_out": 1, "event": 2, "owned_mapping": 1}
#: these answer no question about batches, but how many there are
HARMLESS = {"others", "label", "server_time", "aclose", "shutdown"}
#: what they say of a batch that is not there is not an error
SILENT = {"abandon": None, "release": None, "hear": [Hearing.IGNORED]}


def heard(batch_id: str, clock: FakeClock) -> Heard:
    return Heard(event_id=f"e {batch_id}", at=clock.now(), execution=ENDED, batch_id=batch_id, item=0, attempt=1)


def stock_of_ada(connection: Connection) -> dict[str, list[Any]]:
    """Everything in the store that is Ada's."""
    hers = select(batches.c.id).where(batches.c.owner == "Ada")
    found = {batches.name: connection.execute(select(batches).where(batches.c.owner == "Ada").order_by("id")).all()}
    for table in (items, inputs, left_out, events):
        query = select(table).where(table.c.batch_id.in_(hers)).order_by("batch_id", *table.primary_key.columns)
        found[table.name] = list(connection.execute(query))
    found[mappings.name] = list(connection.execute(select(mappings).where(mappings.c.owner == "Ada")))
    return {name: list(rows) for name, rows in found.items()}


async def answered(call: Awaitable[Any], known: Known) -> tuple[str, str]:
    """How it ended, with the ids that were named taken out."""
    try:
        said = repr(await call)
    except BatchkitError as error:
        return type(error).__name__, str(error).replace(known.id, "ID").replace(known.begun, "ID")
    return "returned", said


Scene = Callable[[SqlStore, SqlStore, Known], Awaitable[None]]


def play(address: Path | str, scene: Scene) -> None:
    """With Bob's store, an admin's, and what Bob could have guessed."""
    clock = FakeClock()
    stores = [SqlStore(address, clock, viewer=viewer) for viewer in (ADA, BOB, EVERYBODY)]

    async def whole() -> None:
        known = await filled(stores[0], clock)
        clock.sleep(600)
        await scene(stores[1], stores[2], known)

    try:
        asyncio.run(whole())
    finally:
        for store in stores:
            store.shutdown()


def test_every_method_of_a_store_is_looked_at() -> None:
    for kind in (Store, StoreViews, SqlStore):
        public = {name for name in vars(kind) if not name.startswith("_")}
        assert public - HARMLESS - set(NAMED) - set(UNNAMED) == set(), "a new method needs a call above"


def test_a_batch_of_somebody_else_is_as_one_that_is_not_there(address: Path | str) -> None:
    async def scene(bob: SqlStore, admin: SqlStore, known: Known) -> None:
        before = await admin._database.read(stock_of_ada)
        assert {name: len(rows) for name, rows in before.items()} == STOCK
        for name, call in NAMED.items():
            there = await answered(call(bob, known), known)
            assert there == await answered(call(bob, known.as_unknown()), known.as_unknown()), name
            if name in SILENT:
                assert there == ("returned", repr(SILENT[name]))
            else:
                assert there[0] == NotFoundError.__name__, name
            assert await admin._database.read(stock_of_ada) == before, name

    play(address, scene)


def test_an_admin_is_answered_about_everybodys_batches(address: Path | str) -> None:
    async def scene(bob: SqlStore, admin: SqlStore, known: Known) -> None:
        at_last = ("release", "hear", "cancel", "delete", "abandon")
        for name in sorted(NAMED, key=lambda name: at_last.index(name) if name in at_last else -1):
            how, said = await answered(NAMED[name](admin, known), known)
            assert how != NotFoundError.__name__, name
            assert name != "hear" or said != repr([Hearing.IGNORED])

    play(address, scene)


def test_no_answer_names_anything_of_somebody_elses(address: Path | str) -> None:
    async def scene(bob: SqlStore, admin: SqlStore, known: Known) -> None:
        before = await admin._database.read(stock_of_ada)
        for name, call in UNNAMED.items():
            said = repr(await call(bob, known))
            assert not [word for word in ("Ada", SECRET, known.id, known.begun) if word in said], name
            assert await admin._database.read(stock_of_ada) == before, name
            if not name.startswith(("save", "delete")):
                assert SECRET in repr(await call(admin, known)), name

    play(address, scene)


def test_only_how_many_batches_others_have_in_a_file_is_told(address: Path | str) -> None:
    async def scene(bob: SqlStore, admin: SqlStore, known: Known) -> None:
        hidden = 1 if isinstance(address, Path) else 0
        assert await bob.others() == hidden
        assert await admin.others() == 0
        shown = await bob.overview(limit=9)
        assert (shown.batches, shown.stored, shown.matching, shown.others, dict(shown.agents)) == ((), 0, 0, hidden, {})

    play(address, scene)


def test_what_somebody_makes_is_his_whatever_owner_it_names(address: Path | str) -> None:
    async def scene(bob: SqlStore, admin: SqlStore, known: Known) -> None:
        made = await bob.begin(new_batch(known.clock, "Ada"))
        await bob.add(made, [item(2)])
        await bob.publish(made, "Bob")
        assert [each.id for each in await bob.batches()] == [made]
        assert (await bob.batch(made)).owner == "Bob"
        assert {each.owner for each in await admin.batches()} == {"Ada", "Bob"}

    play(address, scene)


def test_rows_that_an_admin_runs_again_stay_their_owners(address: Path | str) -> None:
    async def scene(bob: SqlStore, admin: SqlStore, known: Known) -> None:
        made = await bob.begin(new_batch(known.clock, "Bob"))
        await bob.add(made, [item(2)])
        await bob.publish(made, "Bob")
        await bob.cancel(made, "Bob")
        known.clock.sleep(1)
        again = await admin.begin(new_batch(known.clock, "root", parent=made, origin=made))
        await admin.add(again, [item(2)])
        await admin.publish(again, "root")
        assert [each.id for each in await bob.family(made)] == [made, again]
        assert (await bob.events(again))[0].actor == "root"
        assert len((await bob.standings(made))[2]) == 2

    play(address, scene)


def test_of_rows_that_two_owners_ran_each_sees_his_own_batch(address: Path | str) -> None:
    """As there may be in a store from before batches of others were hidden."""

    async def scene(bob: SqlStore, admin: SqlStore, known: Known) -> None:
        made = await bob.begin(new_batch(known.clock, "Bob"))
        await bob.add(made, [item(2)])
        await bob.publish(made, "Bob")
        related = update(batches).where(batches.c.id == made).values(parent=known.id, origin=known.id)
        await admin._database.write(lambda connection: connection.execute(related))
        assert [each.id for each in await bob.family(made)] == [made]
        assert {each.batch_id for each in (await bob.standings(made))[2]} == {made}
        assert [each.id for each in (await bob.overview(limit=9)).relatives] == [made]
        assert len(await admin.family(made)) == 2

    play(address, scene)


def test_mappings_are_kept_for_each_owner(address: Path | str) -> None:
    async def scene(bob: SqlStore, admin: SqlStore, known: Known) -> None:
        await bob.save_mapping("agent", FINGERPRINT, {"saved": "by Bob"})
        assert await bob.mapping("agent", FINGERPRINT) == {"saved": "by Bob"}
        assert await bob.delete_mapping("agent", FINGERPRINT)
        assert not await bob.delete_mapping("agent", FINGERPRINT)
        assert await admin.mapping("agent", FINGERPRINT) == {"saved": SECRET}

    play(address, scene)


def test_news_and_messages_are_of_batches_that_are_seen(address: Path | str) -> None:
    async def scene(bob: SqlStore, admin: SqlStore, known: Known) -> None:
        boxes = [Outbox(address_of(address), known.clock, viewer) for viewer in (ADA, BOB, EVERYBODY)]
        hers, his, everybodys = boxes
        for box in boxes:
            await box.open_sink("sink")
        before = await hers.last_event()
        await admin.tick(known.lease, pause="Too much went wrong.")
        assert await his.news(before) == ([], await his.last_event())
        assert await his.claim_notice("sink") is None
        for box in (hers, everybodys):
            assert [each.batch_id for each in (await box.news(before))[0]] == [known.id]
            assert await box.claim_notice("sink") is not None
            assert not await box.has_notices("sink")
        for box in boxes:
            box.shutdown()

    play(address, scene)


def test_a_webhook_of_unknown_rows_is_kept_only_for_everybody(address: Path | str) -> None:
    async def scene(bob: SqlStore, admin: SqlStore, known: Known) -> None:
        news = replace(heard("", known.clock), item=-1, attempt=-1)
        assert await bob.hear([news]) == [Hearing.IGNORED]
        assert await admin.hear([news]) == [Hearing.KEPT]

    play(address, scene)


# In a file one writes at a time.
@pytest.mark.parametrize("address", ["PostgreSQL"], indirect=True)
def test_somebody_else_who_asks_waits_for_no_transaction_of_the_owners(address: str) -> None:
    async def scene(bob: SqlStore, admin: SqlStore, known: Known) -> None:
        engine = create_engine(address)
        with engine.begin() as connection:
            connection.execute(select(batches).where(batches.c.id == known.id).with_for_update())
            with pytest.raises(NotFoundError):
                # A lock is waited for 5 s, and then that is another error.
                await asyncio.wait_for(bob.pause(known.id, "Bob"), 30)
        engine.dispose()

    play(address, scene)


def test_mappings_of_an_older_store_stay_with_those_who_run_the_agent(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    play(path, _nothing)
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE owned_mapping"))
        connection.execute(text("ALTER TABLE notice_sink DROP COLUMN owner"))
        connection.execute(
            text(
                "CREATE TABLE saved_mapping (agent_id TEXT, fingerprint TEXT, mapping TEXT, saved_at BIGINT, "
                "PRIMARY KEY (agent_id, fingerprint))"
            )
        )
        connection.execute(
            text("INSERT INTO saved_mapping VALUES ('agent', 'f', '{\"a\": 1}', 5), ('x', 'f', '{}', 6)")
        )
        connection.execute(text("UPDATE schema_version SET version = 8"))
    engine.dispose()

    async def found() -> list[object]:
        stores = [SqlStore(path, FakeClock(), viewer=viewer) for viewer in (ADA, BOB, EVERYBODY)]
        said = [await store.mapping(agent, "f") for store in stores for agent in ("agent", "x")]
        for store in stores:
            store.shutdown()
        return said

    assert asyncio.run(found()) == [{"a": 1}, None, None, None, {"a": 1}, {}]


async def _nothing(_bob: SqlStore, _admin: SqlStore, _known: Known) -> None:
    return None
