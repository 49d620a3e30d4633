"""Several people on one store, as they meet it: workspaces, batches, the command line, and who one is."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import batchkit as bk
from batchkit.cli import main
from batchkit.cli_parser import parser
from batchkit.core.viewer import Viewer
from batchkit.defaults import store_address, user_name, viewer_of
from batchkit.io.address import address_of
from batchkit.terminal import Exit
from batchkit.testing import ScriptedTarget
from batchkit.ui.dashboard import Dashboard
from batchkit.ui.wizard import Wizard
from batchkit.worker import Worker

#: looks like an id, and is none
UNKNOWN = "bzzzzzzzzz"
SECRET = "confidential"
LATER = bk.BatchConfig(name=SECRET, start_at="2099-01-01T00:00:00+00:00")


@pytest.fixture(autouse=True)
def nobody_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("BATCHKIT_OWNER", "BATCHKIT_ADMIN", "JUPYTERHUB_USER", "BATCHKIT_URL", "BATCHKIT_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "runs.sqlite")


def opened(store: str, owner: str | None = None, **more: Any) -> bk.Workspace:
    return bk.Workspace(ScriptedTarget(), store=store, owner=owner, **more)


def same_rows() -> bk.Table:
    return bk.read_csv(f"value\n{SECRET} 1\n{SECRET} 2\n".encode())


def made(ws: bk.Workspace, config: bk.BatchConfig = LATER) -> bk.Batch:
    table, agent = same_rows(), ws.agent()
    return ws.create_batch(ws.validate(table, ws.suggest_mapping(table, agent), agent), config)


@pytest.fixture
def hers(store: str) -> Iterator[bk.Batch]:
    with opened(store, "Ada") as ws:
        yield made(ws)


@pytest.fixture
def bob(store: str, hers: bk.Batch) -> Iterator[bk.Workspace]:
    with opened(store, "Bob") as ws:
        yield ws


# Who one is


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A file that others can open, too."""
    path = tmp_path / "shared.sqlite"
    path.touch()
    path.chmod(0o660)
    return path


def test_who_one_is_is_given_or_named_or_jupyterhubs_or_the_machines(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert viewer_of(shared) == Viewer(name=user_name())
    monkeypatch.setenv("JUPYTERHUB_USER", "hub")
    assert viewer_of(shared) == Viewer(name="hub")
    monkeypatch.setenv("BATCHKIT_OWNER", "named")
    assert viewer_of(shared) == Viewer(name="named")
    assert viewer_of(shared, "given") == Viewer(name="given")
    assert viewer_of(shared, "given", admin=True) == Viewer(name="given", sees_all=True)
    monkeypatch.setenv("BATCHKIT_ADMIN", "1")
    assert viewer_of(shared) == Viewer(name="named", sees_all=True)
    assert viewer_of(shared, admin=False) == Viewer(name="named")


def test_only_a_file_of_ones_own_is_all_ones_own_and_only_where_nobody_is_named(tmp_path: Path, shared: Path) -> None:
    private = tmp_path / "private.sqlite"
    assert viewer_of(private).sees_all
    private.touch(0o600)
    assert viewer_of(private).sees_all
    assert not viewer_of(private, "Ada").sees_all
    assert not viewer_of(shared).sees_all
    assert not viewer_of(address_of("postgresql://host/database")).sees_all


def test_a_user_of_jupyterhub_still_sees_all_of_the_file_in_the_data_folder_and_of_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(str(store_address())) as ws:
        before = made(ws)
    monkeypatch.setenv("JUPYTERHUB_USER", "hub")
    with opened(str(store_address())) as ws:
        assert [batch.id for batch in ws.batches()] == [before.id]
        made(ws)
    with closing(sqlite3.connect(store_address())) as database:
        assert {owner for (owner,) in database.execute("SELECT owner FROM batch")} == {user_name(), "hub"}
    # On a volume of several, each of whom is the operating system's same user.
    of_several = tmp_path / "of several.sqlite"
    of_several.touch(0o600)
    assert viewer_of(of_several) == Viewer(name="hub")
    assert not viewer_of(store_address(), "Ada").sees_all
    monkeypatch.setenv("BATCHKIT_OWNER", "named")
    assert viewer_of(store_address()) == Viewer(name="named")


@pytest.mark.parametrize("owner", ["", "  ", 5])
def test_an_owner_is_a_name(store: str, owner: Any) -> None:
    with pytest.raises(bk.ConfigError, match="owner must be a name"):
        opened(store, owner)


def test_an_owner_in_the_environment_is_a_name_too(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHKIT_OWNER", "  ")
    with pytest.raises(bk.ConfigError, match="BATCHKIT_OWNER must be a name"):
        opened(store)
    with opened(store, "Ada") as ws:
        assert ws.actor == "Ada"


def test_batches_made_under_another_name_are_still_there_in_a_file_of_ones_own(store: str) -> None:
    with opened(store, "a former name") as before:
        batch = made(before)
    with opened(store) as ws:
        assert [each.id for each in ws.batches()] == [batch.id]
        ws.batch(batch.id).cancel()
        assert batch.id == ws.batches()[0].id


# Every method of a batch

BATCH_CALLS: dict[str, Callable[[bk.Batch], object]] = {
    "record": lambda batch: batch.record,
    "name": lambda batch: batch.name,
    "status": lambda batch: batch.status,
    "reason": lambda batch: batch.reason,
    "progress": lambda batch: batch.progress,
    "interrupted": lambda batch: batch.interrupted,
    "pause": lambda batch: batch.pause(),
    "resume": lambda batch: batch.resume(),
    "cancel": lambda batch: batch.cancel(),
    "update": lambda batch: batch.update(max_concurrent=1),
    "take_over": lambda batch: batch.take_over(),
    "archive": lambda batch: batch.archive(),
    "unarchive": lambda batch: batch.unarchive(),
    "delete": lambda batch: batch.delete(),
    "cancel_items": lambda batch: batch.cancel_items(0),
    "reschedule_items": lambda batch: batch.reschedule_items(0, "2098-01-01T00:00:00+00:00"),
    "settle": lambda batch: batch.settle(0, "skip"),
    "rerun": lambda batch: batch.rerun([0], force=True),
    "wait": lambda batch: asyncio.run(batch.wait()),
    "join": lambda batch: batch.join("finished"),
    "items": lambda batch: batch.items(),
    "results": lambda batch: batch.results(merged=True),
    "save_results": lambda batch: batch.save_results("/nowhere/results.csv"),
    "explain": lambda batch: batch.explain(0),
    "events": lambda batch: batch.events(),
    "history": lambda batch: batch.history(0),
}


def on_the_wizard(ws: bk.Workspace) -> object:
    """What it shows of the same file for the same agent, once it has looked for earlier batches of it."""
    wizard = Wizard(ws, same_rows(), agent=ws.agent().name)
    try:
        end = time.monotonic() + 60
        while wizard._held.state.agent is None or wizard._held.state.table is None or wizard._background.running:
            assert time.monotonic() < end, "the wizard is still at work"
            time.sleep(0.01)
        return wizard.view.drawn()
    finally:
        wizard.close()


def on_the_dashboard(ws: bk.Workspace) -> object:
    with closing(Dashboard(ws)) as dashboard:
        return dashboard.view.drawn()


WORKSPACE_CALLS: dict[str, Callable[[bk.Workspace], object]] = {
    "batches": lambda ws: ws.batches(),
    "same_file": lambda ws: ws.same_file(same_rows(), ws.agent()),
    "wizard": on_the_wizard,
    "dashboard": on_the_dashboard,
}
#: these say and change nothing of batches that exist, or are looked at by themselves
OTHER_METHODS = {
    *("close", "agents", "agent", "profiles", "pools", "validate", "create_batch", "is_demo", "check_runs_here"),
    *("batch", "suggest_mapping", "save_mapping", "forget_mapping", "on_event", "notify", "begin_notices", "backup"),
}


def test_every_public_method_is_looked_at() -> None:
    public = {name for name in vars(bk.Batch) if not name.startswith("_")}
    assert public == set(BATCH_CALLS)
    public = {name for name in vars(bk.Workspace) if not name.startswith("_")}
    assert public == set(WORKSPACE_CALLS) | OTHER_METHODS


@pytest.mark.parametrize("engine", ["kernel", "worker"])
def test_nothing_can_be_done_with_a_guessed_id(store: str, hers: bk.Batch, engine: Any) -> None:
    before = hers.record, hers.items().to_dict(), hers.events().to_dict()
    with opened(store, "Bob", engine=engine) as bob:
        for name, call in BATCH_CALLS.items():
            said = []
            for batch_id in (hers.id, UNKNOWN):
                with pytest.raises(bk.NotFoundError) as caught:
                    call(bk.Batch(bob, batch_id))
                said.append(str(caught.value).replace(batch_id, "ID"))
            assert said[0] == said[1], name
        assert repr(bk.Batch(bob, hers.id)) == repr(bk.Batch(bob, UNKNOWN)).replace(UNKNOWN, hers.id)
        assert bob.engine.active == ()
    assert (hers.record, hers.items().to_dict(), hers.events().to_dict()) == before


def test_a_guessed_id_is_unknown_to_the_workspace_and_its_engine(bob: bk.Workspace, hers: bk.Batch) -> None:
    for batch_id in (hers.id, UNKNOWN):
        with pytest.raises(bk.NotFoundError, match=f"There is no batch '{batch_id}' in this store"):
            bob.batch(batch_id)
        with pytest.raises(bk.NotFoundError, match=f"There is no batch '{batch_id}' in this store"):
            bob.engine.call(bob.engine.attend(batch_id))


@pytest.mark.parametrize("name", WORKSPACE_CALLS)
def test_no_view_has_anything_of_somebody_elses(bob: bk.Workspace, hers: bk.Batch, name: str) -> None:
    said = repr(WORKSPACE_CALLS[name](bob))
    assert hers.id not in said
    assert "Ada" not in said
    # It is there to be seen.
    assert hers.id in repr(WORKSPACE_CALLS[name](hers._workspace))


def test_mappings_are_each_owners(bob: bk.Workspace, hers: bk.Batch) -> None:
    table, agent = bk.read_csv(b"value\n1\n"), bob.agent()
    assert not bob.forget_mapping(table, agent)
    bob.save_mapping(bob.suggest_mapping(table, agent), agent)
    assert bob.forget_mapping(table, agent)
    assert hers._workspace.forget_mapping(table, agent)


def test_callbacks_hear_of_ones_own_batches(store: str, hers: bk.Batch) -> None:
    told: list[tuple[str, str]] = []
    with opened(store, "Bob") as bob, opened(store, admin=True) as admin:
        bob.on_event(lambda notice: told.append(("Bob", notice.batch_id)))
        admin.on_event(lambda notice: told.append(("admin", notice.batch_id)))
        done = made(hers._workspace, bk.BatchConfig(name="now", batch_interval=0)).join("finished")
        his = made(bob, bk.BatchConfig(name="now", batch_interval=0)).join("finished")
    assert {batch_id for who, batch_id in told if who == "Bob"} == {his.id}
    assert {batch_id for who, batch_id in told if who == "admin"} == {his.id, done.id}


def test_only_an_admin_copies_the_store(bob: bk.Workspace, tmp_path: Path) -> None:
    with pytest.raises(bk.ConfigError, match="only an admin"):
        bob.backup(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_an_admin_steers_batches_of_others_and_the_log_names_him(store: str, hers: bk.Batch) -> None:
    with opened(store, "root", admin=True) as admin:
        batch = admin.batch(hers.id)
        assert batch.record.owner == "Ada"
        batch.cancel_items(0)
        batch.cancel()
        again = batch.rerun(items="cancelled", config=LATER)
        assert again.record.owner == "Ada"
    # The engine itself may have told by then that all is known.
    assert set(hers.events()["actor"]) - {"batchkit"} == {"Ada", "root"}
    assert [each.id for each in hers._workspace.batches()] == [again.id, hers.id]


def test_an_admin_is_told_whose_each_batch_is(cli: Callable[..., tuple[int, str]], store: str, hers: bk.Batch) -> None:
    with opened(store, "root", admin=True) as admin, opened(store, "Ada") as ada:
        made(admin)
        with closing(Dashboard(admin)) as shown:
            assert [card["owner"] for card in shown.view.snapshot["cards"]] == ["", "Ada"]
        with closing(Dashboard(ada)) as shown:
            assert [card["owner"] for card in shown.view.snapshot["cards"]] == [""]
    as_root = {"BATCHKIT_OWNER": "root", "BATCHKIT_ADMIN": "1"}
    head, _, first, second = cli("list", **as_root)[1].splitlines()
    assert ("owner" in head, "root" in first, "Ada" in second) == (True, True, True)
    assert "Owner     Ada\n" in cli("show", hers.id, **as_root)[1]
    for command in (("list",), ("show", hers.id)):
        said = cli(*command, BATCHKIT_OWNER="Ada", BATCHKIT_ADMIN="")[1]
        # The log names who did something, also oneself.
        assert (hers.id in said, "Ada" in said.partition("Log,")[0]) == (True, False)


def test_a_worker_for_one_person_leaves_batches_of_others_alone_and_one_for_all_runs_them(store: str) -> None:
    with opened(store, "Ada", engine="worker") as ada:
        # The second row is an hour away: it is still to be run when that is looked at.
        hers = made(ada, bk.BatchConfig(name="now", max_concurrent=1, batch_interval=3600))
        for admin in (False, True):
            with opened(store, "Bob", admin=admin) as bob:
                said: list[str] = []
                Worker(bob, said.append)._look()
                assert (bob.engine.active == (hers.id,)) is admin
                assert (hers.id in repr(said)) is admin
                if admin:
                    hers.update(batch_interval=0)
                    hers.join("finished")


def test_the_dashboard_says_how_many_are_not_shown(bob: bk.Workspace, hers: bk.Batch) -> None:
    with closing(Dashboard(bob)) as shown:
        assert (shown.view.snapshot["stored"], shown.view.snapshot["others"]) == (0, 1)


# The command line

COMMANDS: dict[str, tuple[str, ...]] = {
    "show": ("show", "ID"),
    "pause": ("pause", "ID"),
    "resume": ("resume", "ID"),
    "cancel": ("cancel", "ID", "--yes"),
    "delete": ("delete", "ID", "--yes"),
    "results": ("results", "ID"),
    "rerun": ("rerun", "ID"),
}
#: they take no id; list, doctor and backup are looked at by themselves, and a worker and webhooks are for everybody
WITHOUT_ID = {"demo", "serve", "run", "list", "worker", "webhook", "backup", "doctor", "demo-platform"}


def commands() -> set[str]:
    [chosen] = [action for action in parser()._actions if action.choices and action.metavar == "COMMAND"]
    return set(chosen.choices or ())


def test_every_command_is_looked_at() -> None:
    assert commands() == set(COMMANDS) | WITHOUT_ID


@pytest.fixture
def cli(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, store: str
) -> Callable[..., tuple[int, str]]:
    """What a command of Bob's says, and how it ends."""

    def run(*argv: str, **environment: str) -> tuple[int, str]:
        for name, value in {"BATCHKIT_OWNER": "Bob", "BATCHKIT_STORE": store, **environment}.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        code = main(argv)
        return code, "".join(capsys.readouterr())

    return run


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_knows_no_guessed_id(cli: Callable[..., tuple[int, str]], hers: bk.Batch, name: str) -> None:
    before = hers.record, hers.events().to_dict()
    there, gone = (
        cli(*(batch_id if word == "ID" else word for word in COMMANDS[name])) for batch_id in (hers.id, UNKNOWN)
    )
    assert there == (Exit.WRONG, gone[1].replace(UNKNOWN, hers.id))
    assert cli(*(hers.id[:4] if word == "ID" else word for word in COMMANDS[name]))[0] == Exit.WRONG
    assert (hers.record, hers.events().to_dict()) == before


def test_list_tells_how_many_are_not_shown_and_an_admin_sees_them(
    cli: Callable[..., tuple[int, str]], hers: bk.Batch
) -> None:
    code, said = cli("list")
    assert code == Exit.OK
    assert "1 more batch belongs to other owners." in said
    assert not [word for word in (hers.id, "Ada", SECRET) if word in said]
    assert cli("list", "--json")[1].strip() == "[]"
    code, said = cli("list", BATCHKIT_ADMIN="1")
    assert hers.id in said
    assert "other owners" not in said


def test_doctor_and_backup_tell_nothing_of_others(
    cli: Callable[..., tuple[int, str]], hers: bk.Batch, tmp_path: Path
) -> None:
    _, said = cli("doctor", "--json")
    assert not [word for word in (hers.id, "Ada", SECRET) if word in said]
    assert [each["text"] for each in json.loads(said) if each["subject"] == "batches"] == ["none is under way"]
    code, said = cli("backup", str(tmp_path / "copy"))
    assert (code, (tmp_path / "copy").exists()) == (Exit.WRONG, False)
