"""A wizard that was left is offered again: nothing of it is lost, and nothing of it stays longer than it should."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from wizard_user import FILER, PERMITS, User, at_the_office, until

import batchkit as bk
from batchkit.testing import ScriptedTarget
from batchkit.ui.drafts import MOST, Drafts, drafts_folder

WRONG = PERMITS.replace(b"2026-03-09", b"9 March")


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[bk.Workspace]:
    with at_the_office(tmp_path, monkeypatch) as workspace:
        yield workspace


def left_at_configure(ws: bk.Workspace, content: bytes = PERMITS) -> User:
    """A user who has come far, and whose page is gone."""
    user = User(ws)
    user.choose(FILER)
    user.do("choose_version", version=2)
    user.upload(content, "März.csv")
    user.do("set_field", column="Reference", kind="metadata", name="ref")
    user.settled()
    user.do("set_policy", policy="drop")
    user.do("go_to", step="configure")
    user.do("configure", name="Mine", max_concurrent="7", options={"max_in_flight": "9"})
    return user


def go_on(user: User) -> dict[str, Any]:
    [left] = user.settled()["left"]
    user.do("go_on", id=left["id"])
    return user.settled()


def test_a_page_loaded_anew_goes_on_where_the_old_one_was(ws: bk.Workspace) -> None:
    left_at_configure(ws, WRONG)
    user = User(ws)
    [left] = user.settled()["left"]
    assert {name: left[name] for name in ("name", "rows", "agent", "step")} == {
        "name": "März.csv", "rows": 5, "agent": FILER, "step": "configure",
    }  # fmt: skip
    shown = go_on(user)
    assert (shown["step"], shown["agent"]["version"], shown["source"]["name"]) == ("configure", 2, "März.csv")
    assert [step["key"] for step in shown["steps"] if step["done"]] == ["upload", "map", "preview", "configure"]
    assert (user.column("Reference")["kind"], user.column("Reference")["mark"]) == ("metadata", "Set by you")
    assert (shown["preview"]["policy"], shown["preview"]["counts"]["invalid"]) == ("drop", 1)
    configure = shown["configure"]
    assert (configure["name"], configure["max_concurrent"], configure["options"]["max_in_flight"]) == ("Mine", "7", "9")
    assert shown["upload"] == {"id": "", "name": "März.csv", "state": "done"}
    user.do("read_again", delimiter=",")
    assert user.settled()["table"]["rows"] == 5
    user.do("configure", batch_interval="0")
    user.confirm()
    user.batch().join("finished")
    user.do("show_python")
    assert "März.csv" in user.sees["python"]
    assert User(ws).settled()["left"] == []
    user.do("again")
    assert [path for path in drafts_of(ws).iterdir() if any(path.iterdir())] == []


def test_what_was_started_is_not_offered_and_its_file_is_gone(ws: bk.Workspace) -> None:
    user = left_at_configure(ws)
    user.do("configure", batch_interval="0")
    user.confirm()
    user.batch().join("finished")
    until(lambda: not list(drafts_of(ws).rglob("*.*")))
    assert User(ws).settled()["left"] == []


def test_only_its_user_can_read_what_is_kept(ws: bk.Workspace) -> None:
    left_at_configure(ws)
    [folder] = drafts_of(ws).iterdir()
    kept = sorted(folder.iterdir())
    assert [path.suffix for path in kept] == [".upload", ".json"]
    assert [path.stat().st_mode & 0o777 for path in (folder, *kept)] == [0o700, 0o600, 0o600]
    assert kept[0].read_bytes() == PERMITS


def test_every_user_of_the_machine_has_a_folder_of_his_own(ws: bk.Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    left_at_configure(ws)
    mine = drafts_of(ws)
    monkeypatch.setattr(os, "getuid", lambda: 4711, raising=False)
    other = User(ws)
    assert other.settled()["left"] == []
    other.upload(PERMITS)
    assert drafts_of(ws) != mine
    assert [len(list(folder.iterdir())) for folder in (mine, drafts_of(ws))] == [1, 1]


def test_another_upload_takes_the_place_of_the_one_before(ws: bk.Workspace) -> None:
    user = left_at_configure(ws)
    user.upload(WRONG, "other.csv")
    [folder] = drafts_of(ws).iterdir()
    assert [path.read_bytes() for path in folder.glob("*.upload")] == [WRONG]
    user.do("remove_file")
    assert list(drafts_of(ws).iterdir()) == []


def test_no_more_are_kept_than_are_offered(ws: bk.Workspace) -> None:
    for _ in range(MOST + 2):
        User(ws).upload(PERMITS)
    user = User(ws)
    user.upload(WRONG)
    assert len(list(drafts_of(ws).iterdir())) == MOST + 1
    other = User(ws)
    assert len(other.settled()["left"]) == MOST
    assert len(list(drafts_of(ws).iterdir())) == MOST
    user.do("configure", name="Still there")
    assert user.settled()["not_kept"] == ""


def test_who_cannot_go_on_with_another_keeps_his_own(ws: bk.Workspace) -> None:
    left_at_configure(ws)
    user = User(ws)
    [left] = user.settled()["left"]
    user.upload(WRONG)
    drafts = user.wizard._resuming.drafts
    one = drafts.left(left["id"])
    drafts.discard(left["id"])
    with pytest.raises(bk.StateError, match="gone on with in another page"):
        drafts.adopt(one)
    assert [path.read_bytes() for path in drafts_of(ws).rglob("*.upload")] == [WRONG]


def test_the_copy_of_a_wizard_gone_on_with_goes_with_the_page_after_its_batch(ws: bk.Workspace) -> None:
    left_at_configure(ws)
    user = User(ws)
    go_on(user)
    drafts = user.wizard._resuming.drafts
    assert drafts.clear() is None
    assert list(drafts_of(ws).rglob("*.upload"))
    user.do("configure", batch_interval="0")
    user.confirm()
    user.batch().join("finished")
    user.settled()
    assert list(drafts_of(ws).rglob("*.upload"))
    # As the interpreter does at its end.
    drafts.clear()
    assert not list(drafts_of(ws).rglob("*.upload"))


def test_a_file_that_cannot_be_read_is_called_by_its_own_name(ws: bk.Workspace) -> None:
    left_at_configure(ws)
    [kept] = drafts_of(ws).rglob("*.upload")
    kept.unlink()
    user = User(ws)
    go_on(user)
    text = user.view.notices[0]["text"]
    assert "'März.csv'" in text
    assert str(drafts_of(ws)) not in text
    assert kept.name not in text


def test_discarding_removes_it_for_every_page(ws: bk.Workspace) -> None:
    left_at_configure(ws)
    one, other = User(ws), User(ws)
    [left] = one.settled()["left"]
    one.do("discard_draft", id=left["id"])
    assert one.sees["left"] == []
    assert list(drafts_of(ws).iterdir()) == []
    with pytest.raises(bk.StateError, match="not there any more"):
        other.do("go_on", id=left["id"])
    assert other.sees["left"] == []


def test_two_pages_cannot_go_on_with_the_same_one(ws: bk.Workspace) -> None:
    left_at_configure(ws)
    one, other = User(ws), User(ws)
    [left] = other.settled()["left"]
    assert go_on(one)["step"] == "configure"
    with pytest.raises(bk.StateError, match="gone on with in another page"):
        other.do("go_on", id=left["id"])
    assert one.settled()["table"]["rows"] == 5


def test_a_page_that_is_still_open_goes_on_after_another_took_its_wizard(ws: bk.Workspace) -> None:
    left_at_configure(ws)
    first = User(ws)
    go_on(first)
    go_on(User(ws))
    first.do("configure", name="First goes on")
    assert first.settled()["not_kept"] == ""
    first.do("read_again", delimiter=",")
    assert first.settled()["table"]["rows"] == 5
    third = User(ws)
    offered = third.settled()["left"]
    assert len(offered) == 2
    third.do("go_on", id=offered[0]["id"])
    shown = third.settled()
    assert (shown["configure"]["name"], shown["table"]["rows"]) == ("First goes on", 5)


def test_a_page_whose_file_another_discarded_says_that_it_is_not_kept(ws: bk.Workspace) -> None:
    left_at_configure(ws)
    first = User(ws)
    go_on(first)
    second = User(ws)
    [left] = second.settled()["left"]
    second.do("discard_draft", id=left["id"])
    first.do("configure", name="First goes on")
    assert "upload it again" in first.settled()["not_kept"]
    assert User(ws).settled()["left"] == []


def test_a_file_on_the_server_is_read_where_it_is_and_a_frame_is_not_kept(ws: bk.Workspace, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_bytes(PERMITS)
    user = User(ws)
    user.do("read_path", path=str(tmp_path / "mine.csv"))
    user.settled()
    other = User(ws, pd.DataFrame({"client": ["a"]}))
    assert other.settled()["left"] == []
    [folder] = drafts_of(ws).iterdir()
    assert [path.name for path in folder.iterdir()] == ["wizard.json"]
    shown = go_on(User(ws))
    assert (shown["source"]["path"], shown["agent"], shown["step"]) == (str(tmp_path / "mine.csv"), None, "upload")


def test_one_that_was_left_without_an_agent_is_for_the_one_that_is_chosen_now(ws: bk.Workspace) -> None:
    user = User(ws)
    user.upload(PERMITS)
    other = User(ws)
    other.choose(FILER)
    shown = go_on(other)
    assert (shown["agent"]["name"], shown["preview"]["counts"]["valid"]) == (FILER, 5)


class Held(ScriptedTarget):
    """A target that lists its agents when it may, and refuses if it is to."""

    def __init__(self) -> None:
        super().__init__([bk.Agent(id="a1", name=FILER, inputs=[])])
        self.may, self.refuses = threading.Event(), False

    async def agents(self) -> list[bk.Agent]:
        await asyncio.to_thread(self.may.wait, 20)
        if self.refuses:
            raise bk.TargetError("The platform does not answer.")
        return await super().agents()


def left_without_agent(ws: bk.Workspace, path: Path) -> None:
    path.write_bytes(PERMITS)
    user = User(ws)
    user.do("read_path", path=str(path))
    until(lambda: list(drafts_of(ws).rglob("wizard.json")))


def test_agents_that_could_not_be_listed_meanwhile_are_told_of_and_asked_for_again(tmp_path: Path) -> None:
    target = Held()
    with bk.Workspace(target, store=tmp_path / "runs.sqlite") as ws:
        left_without_agent(ws, tmp_path / "mine.csv")
        user = User(ws)
        user.do("go_on", id=user.sees["left"][0]["id"])
        until(lambda: user.sees["table"])
        target.refuses = True
        target.may.set()
        shown = user.settled()
        assert (shown["agents"], shown["failure"]) == (None, "The platform does not answer.")
        target.refuses = False
        user.do("try_again")
        shown = user.settled()
        assert (shown["agent"]["name"], shown["failure"], shown["table"]["rows"]) == (FILER, "", 5)


def test_what_cannot_be_gone_on_with_now_is_offered_again(ws: bk.Workspace, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(PERMITS)
    User(ws).do("read_path", path=str(path))
    until(lambda: list(drafts_of(ws).rglob("wizard.json")))
    path.unlink()
    user = User(ws)
    go_on(user)
    assert "There is no file" in user.view.notices[0]["text"]
    assert len(user.sees["left"]) == 1
    path.write_bytes(PERMITS)
    assert go_on(user)["table"]["rows"] == 5


def test_an_agent_that_is_gone_is_told_and_another_can_be_chosen(ws: bk.Workspace) -> None:
    left_at_configure(ws)
    [kept] = drafts_of(ws).rglob("wizard.json")
    data = json.loads(kept.read_text("utf-8"))
    kept.write_text(json.dumps({**data, "agent": {"id": "gone", "name": "Old filer", "version": 1}}), "utf-8")
    user = User(ws)
    shown = go_on(user)
    assert (shown["agent"], shown["step"]) == (None, "upload")
    assert "Old filer is not there any more" in user.view.notices[0]["text"]
    user.choose(FILER)
    assert user.view.notices == []
    assert user.column("Reference")["name"] == "ref"


def test_what_nobody_came_back_for_goes_after_a_week(ws: bk.Workspace) -> None:
    left_at_configure(ws)
    [folder] = drafts_of(ws).iterdir()
    now = datetime.now(UTC)
    for days, offered in ((6, 1), (8, 0)):
        drafts = Drafts(drafts_of(ws), platform_of(folder), lambda days=days: now + timedelta(days=days))
        assert len(drafts.offered) == offered, days
    assert not folder.exists()


def test_those_of_another_platform_or_of_no_sense_are_not_offered(ws: bk.Workspace) -> None:
    left_at_configure(ws)
    [folder] = drafts_of(ws).iterdir()
    assert Drafts(folder.parent, "asteroid https://other.example", lambda: datetime.now(UTC)).offered == ()
    kept = folder / "wizard.json"
    whole = json.loads(kept.read_text("utf-8"))
    for broken in ("{", "[]", json.dumps({**whole, "source": {"kind": "upload"}}), json.dumps({**whole, "step": "x"})):
        kept.write_text(broken, "utf-8")
        assert Drafts(folder.parent, platform_of(folder, whole), lambda: datetime.now(UTC)).offered == ()


def test_a_kept_wizard_names_no_file_outside_its_folder(ws: bk.Workspace) -> None:
    left_at_configure(ws)
    [folder] = drafts_of(ws).iterdir()
    kept = folder / "wizard.json"
    whole = json.loads(kept.read_text("utf-8"))
    kept.write_text(json.dumps({**whole, "source": {**whole["source"], "path": "../../secret.csv"}}), "utf-8")
    [one] = Drafts(folder.parent, whole["platform"], lambda: datetime.now(UTC)).offered
    assert one.source.path == str(folder / "secret.csv")


def test_a_folder_that_cannot_be_written_is_told_and_costs_nothing(ws: bk.Workspace) -> None:
    drafts_of(ws).write_text("in the way")
    user = User(ws)
    shown = user.upload(PERMITS)
    assert shown["table"]["rows"] == 5
    assert shown["not_kept"].startswith("What you do here is not kept for later: ")


def drafts_of(ws: bk.Workspace) -> Path:
    return drafts_folder(ws.store_address)


def platform_of(folder: Path, whole: dict[str, Any] | None = None) -> str:
    """The platform that what is kept in `folder` is for."""
    return str((whole or json.loads((folder / "wizard.json").read_text("utf-8")))["platform"])
