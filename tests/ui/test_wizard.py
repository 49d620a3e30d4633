"""The whole wizard without a browser: driven as the page drives it, on a demo platform behind HTTP."""

from __future__ import annotations

import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from wizard_user import FILER, PERMITS, User, until

import batchkit as bk
from batchkit.testing import ScriptedTarget

WRONG = PERMITS.replace(b"2026-03-09", b"9 March")


@pytest.fixture
def demo() -> Iterator[bk.DemoPlatform]:
    with bk.DemoPlatform(duration=0.05, failure_share=0.0) as platform:
        yield platform


@pytest.fixture
def ws(demo: bk.DemoPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[bk.Workspace]:
    monkeypatch.setenv("BATCHKIT_URL", demo.url)
    monkeypatch.setenv("BATCHKIT_API_KEY", demo.api_key)
    with bk.Workspace(store=tmp_path / "runs.sqlite") as workspace:
        yield workspace


@pytest.fixture
def user(ws: bk.Workspace) -> Iterator[User]:
    someone = User(ws)
    yield someone
    someone.wizard.close()


def steps(shown: dict[str, Any]) -> list[str]:
    return [step["key"] for step in shown["steps"] if step["done"]]


def test_from_bytes_to_results(user: User, demo: bk.DemoPlatform) -> None:
    shown = user.choose(FILER)
    assert (shown["step"], shown["demo"]) == ("upload", False)
    assert shown["agent"]["version"] == 3
    shown = user.upload(PERMITS)
    assert (shown["source"]["name"], shown["table"]["rows"], shown["table"]["columns"]) == ("permits.csv", 5, 5)
    assert (shown["table"]["encoding"], shown["table"]["delimiter"]) == ("utf-8", ",")
    assert shown["table"]["first"][0] == ["Altmann", "Lindenstrasse 4", "signage", "2026-03-02", "A-1"]
    user.do("go_to", step="map")
    assert user.column("Permit type") | {"samples": []} == {
        "column": "Permit type", "samples": [], "kind": "input", "name": "permit_type", "mark": "Auto-mapped",
        "problems": [], "near": None,
    }  # fmt: skip
    assert user.column("Client")["samples"] == ["Altmann", "Brenner", "Cordes"]
    user.do("set_field", column="Reference", kind="metadata", name="reference")
    shown = user.settled()
    assert shown["preview"]["counts"] == {"total": 5, "valid": 5, "invalid": 0, "warnings": 0}
    assert shown["preview"]["labels"][-1] == "metadata.reference"
    user.do("go_to", step="preview")
    user.do("go_to", step="configure")
    shown = user.sees
    assert steps(shown) == ["upload", "map", "preview", "configure"]
    assert shown["configure"]["name"].startswith("permits 20")
    user.do("configure", name="March permits", max_concurrent="2", batch_interval="0.2")
    shown = user.sees
    assert shown["configure"]["outlook"]["groups"] == 3
    assert shown["configure"]["outlook"]["bars"] == [[0.0, 2], [0.2, 2], [0.4, 1]]
    user.confirm()
    user.confirm()
    batch = user.batch()
    batch.join("finished")
    assert [one.id for one in user.ws.batches()] == [batch.id]
    assert batch.results()["outcome"].tolist() == ["success"] * 5
    assert len(demo.executions()) == 5
    until(lambda: user.sees["batch"]["card"]["state"] == "Completed")
    assert user.sees["batch"]["card"]["progress"] == "5 of 5 triggered, 100 %"


def test_an_invalid_row_blocks_until_it_is_corrected_or_left_out(user: User) -> None:
    user.choose(FILER)
    shown = user.upload(WRONG)
    assert shown["preview"]["counts"] == {"total": 5, "valid": 4, "invalid": 1, "warnings": 0}
    [bad] = [row for row in shown["preview"]["rows"] if row["status"] == "invalid"]
    assert bad["row"] == 3
    assert "is not a date" in bad["issues"][0]
    assert [cell["text"] for cell in bad["cells"] if cell["wrong"]] == ["9 March"]
    with pytest.raises(bk.StateError, match="1 row is invalid"):
        user.do("go_to", step="configure")
    page = user.do("table_page", table="invalid", offset=0, limit=20)
    assert [row["row"] for row in page["rows"]] == [3]
    user.do("set_policy", policy="drop")
    user.do("go_to", step="configure")
    assert (user.sees["configure"]["rows"], user.sees["configure"]["dropped"]) == (4, 1)
    user.do("set_policy", policy="block")
    assert user.sees["step"] == "preview"
    shown = user.upload(PERMITS)
    assert shown["preview"]["counts"]["invalid"] == 0
    user.do("go_to", step="configure")


def test_the_invalid_rows_are_downloaded_with_their_errors(user: User) -> None:
    user.choose(FILER)
    user.upload(WRONG)
    user.do("download_invalid", place="here")
    [ready] = user.settled()["downloads"]
    content = b64decode(user.do("download_piece", id=ready["id"], offset=0))
    assert ready["name"] == "permits invalid rows.csv"
    assert b"Brenner" in content
    assert b"batchkit_errors" in content
    corrected = content.replace(b"9 March", b"2026-03-09")
    shown = user.upload(corrected)
    assert shown["preview"]["counts"] == {"total": 1, "valid": 1, "invalid": 0, "warnings": 0}


def test_changing_the_agent_keeps_the_upload_and_what_was_chosen(user: User) -> None:
    user.choose(FILER)
    user.upload(PERMITS)
    user.do("set_field", column="Reference", kind="metadata", name="ref")
    user.do("go_to", step="map")
    shown = user.choose("Address checker")
    assert (shown["step"], shown["table"]["rows"]) == ("map", 5)
    assert user.column("Client")["kind"] == "skip"
    assert user.column("Reference")["name"] == "ref"
    assert shown["map"]["general"][0] == "The required input variable street is not mapped yet."
    user.choose(FILER)
    assert user.column("Client")["name"] == "client"


def test_a_near_match_is_taken_with_one_click_and_undone(user: User) -> None:
    user.choose(FILER)
    user.upload(PERMITS.replace(b"Permit type", b"Permit-Type"))
    near = user.column("Permit-Type")["near"]
    assert near["field"] == "permit_type"
    user.do("accept_suggestion", column="Permit-Type")
    assert user.column("Permit-Type")["mark"] == "Set by you"
    assert user.settled()["preview"]["counts"]["valid"] == 5
    assert user.sees["map"]["undo"] == "Permit-Type: Skip → permit_type"
    user.do("undo")
    assert user.column("Permit-Type")["near"] == near
    assert user.sees["preview"]["counts"] is None


def test_two_columns_on_one_field_are_told_at_both(user: User) -> None:
    user.choose(FILER)
    user.upload(PERMITS)
    user.do("set_field", column="Reference", kind="input", name="client")
    assert user.column("Client")["problems"] == ["client is mapped by column 'Reference', too. Change one of the two."]
    assert user.column("Reference")["problems"] == ["client is mapped by column 'Client', too. Change one of the two."]
    user.do("set_field", column="Reference", kind="metadata", name=" ")
    assert user.column("Reference")["problems"] == ["Give the metadata a name."]


def test_encoding_and_delimiter_are_changed_and_the_file_is_read_again(user: User) -> None:
    user.choose(FILER)
    shown = user.upload("Client;Address\nKöln;x\n".encode("cp1252"))
    assert (shown["table"]["delimiter"], shown["table"]["columns"]) == (";", 2)
    user.do("read_again", encoding="cp1251")
    shown = user.settled()
    assert shown["table"]["first"][0][0] == "Kцln"
    user.do("read_again", delimiter=",", encoding="")
    shown = user.settled()
    assert shown["table"]["columns"] == 1
    assert shown["source"] | {"name": ""} == {
        "kind": "upload", "name": "", "path": "", "encoding": None, "delimiter": ",",
    }  # fmt: skip


def test_what_is_no_table_is_told_and_replaced(user: User) -> None:
    shown = user.upload(b"\x89PNG\r\n\x1a\n" + bytes(100), "picture.csv")
    assert "picture.csv is" in shown["unreadable"]
    assert shown["table"] is None
    shown = user.upload(PERMITS)
    assert (shown["unreadable"], shown["table"]["rows"]) == ("", 5)


def test_problems_of_the_file_come_with_their_lines_and_block(user: User) -> None:
    user.choose(FILER)
    shown = user.upload(PERMITS + b"only,two\n")
    assert [(one["severity"], one["line"]) for one in shown["table"]["problems"]] == [("error", 7)]
    with pytest.raises(bk.StateError, match="The file has problems"):
        user.do("go_to", step="map")


def test_a_path_on_the_server_and_the_sample(user: User, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_bytes(PERMITS)
    user.do("read_path", path=str(tmp_path / "mine.csv"))
    assert user.settled()["source"]["name"] == "mine.csv"
    user.do("read_path", path=str(tmp_path / "nothing.csv"))
    shown = user.settled()
    assert "There is no file" in shown["unreadable"]
    assert (shown["source"]["name"], shown["table"]["rows"]) == ("mine.csv", 5)
    user.do("sample")
    shown = user.settled()
    assert (shown["unreadable"], shown["table"]["rows"]) == ("", 10)


def test_what_failed_is_not_told_any_longer_once_another_file_is_there(user: User, tmp_path: Path) -> None:
    upload = user.do("upload_begin", name="broken.csv", size=5)["upload"]
    user.do("upload_cancel", upload=upload, error="It was changed meanwhile.")
    assert user.sees["upload"]["error"]
    user.view._receive(user.view, {"intent": "read_path", "details": {"path": " "}}, [])
    until(lambda: user.view.notices)
    assert "Type the path" in user.view.notices[0]["text"]
    (tmp_path / "mine.csv").write_bytes(PERMITS)
    user.do("read_path", path=str(tmp_path / "mine.csv"))
    assert (user.settled()["upload"], user.view.notices) == ({}, [])


def test_a_frame_given_by_the_notebook(ws: bk.Workspace) -> None:
    frame = pd.DataFrame({"client": ["a", "b"], "address": ["x", "y"]}, index=["p", "q"])
    user = User(ws, frame, agent=FILER)
    shown = user.settled()
    assert (shown["source"]["kind"], shown["table"]["encoding"], shown["agent"]["name"]) == ("frame", None, FILER)
    user.wizard.close()


def test_a_mapping_is_restored_and_forgotten(user: User) -> None:
    user.choose(FILER)
    user.upload(PERMITS)
    user.do("set_field", column="Reference", kind="metadata", name="ref")
    user.settled()
    user.do("configure", batch_interval="0")
    user.confirm()
    user.batch().join("finished")
    user.do("again")
    assert (user.sees["step"], user.sees["table"], user.sees["agent"]["name"]) == ("upload", None, FILER)
    shown = user.upload(PERMITS)
    assert shown["map"]["restored"]
    assert user.column("Reference") | {"samples": []} == {
        "column": "Reference", "samples": [], "kind": "metadata", "name": "ref", "mark": "Restored", "problems": [],
        "near": None,
    }  # fmt: skip
    [earlier] = shown["configure"]["earlier"]
    assert (earlier["status"], earlier["name"]) == ("Completed", user.ws.batches()[0].name)
    user.do("forget_mapping")
    assert user.column("Reference")["kind"] == "skip"
    assert not user.settled()["map"]["restored"]
    user.do("remove_file")
    assert not user.upload(PERMITS)["map"]["restored"]


def test_an_earlier_batch_of_the_file_is_shown_where_it_is_named(user: User) -> None:
    user.choose(FILER)
    user.upload(PERMITS)
    user.do("configure", batch_interval="3600", max_concurrent="2", name="First")
    user.confirm()
    batch = user.batch()
    user.do("again")
    shown = user.upload(PERMITS)
    [earlier] = shown["configure"]["earlier"]
    assert shown["looked_at"] is None
    user.do("look_at", batch=earlier["id"])
    assert user.sees["looked_at"]["card"]["name"] == "First"
    user.do("pause", batch=batch.id)
    assert user.sees["looked_at"]["card"]["state"] == "Paused"
    user.do("look_at", batch="")
    assert user.sees["looked_at"] is None
    user.do("look_at", batch=earlier["id"])
    user.upload(PERMITS.replace(b"Altmann", b"Adler"))
    assert user.sees["looked_at"] is None
    with pytest.raises(bk.NotFoundError):
        user.do("look_at", batch="nothing")


def test_the_first_rows_are_tried_before_the_rest(user: User, demo: bk.DemoPlatform) -> None:
    user.choose(FILER)
    user.upload(PERMITS)
    user.do("configure", batch_interval="0")
    assert user.sees["configure"]["trial"] == 3
    user.confirm(trial=3)
    batch = user.batch()
    until(lambda: user.sees["batch"]["standing"].startswith("They have ended"))
    shown = user.sees["batch"]
    assert shown["asks"]
    assert [(row["row"], row["status"], row["outcome"]) for row in shown["tried"]] == [
        (2, "Triggered", "success"), (3, "Triggered", "success"), (4, "Triggered", "success"),
    ]  # fmt: skip
    assert (len(demo.executions()), shown["rest"]) == (3, 2)
    user.do("resume", batch=batch.id)
    until(lambda: user.sees["batch"]["standing"] == "Nothing is held back any more.")
    batch.join("finished")
    assert len(demo.executions()) == 5
    assert len({execution["inputs"]["client"] for execution in demo.executions()}) == 5
    assert len(user.ws.batches()) == 1


def test_pausing_after_a_trial_is_not_told_as_the_trial(user: User) -> None:
    user.choose(FILER)
    user.upload(PERMITS)
    user.do("configure", batch_interval="3600", max_concurrent="3")
    user.confirm(trial=3)
    batch = user.batch()
    until(lambda: user.sees["batch"]["asks"])
    user.do("resume", batch=batch.id)
    until(lambda: user.sees["batch"]["standing"] == "The rest is on its way.")
    user.do("pause", batch=batch.id)
    shown = user.sees["batch"]
    assert (shown["standing"], shown["asks"], shown["rest"]) == (
        "The rest is held, because the batch is paused.", False, 2,
    )  # fmt: skip


def test_the_scheduled_executions_of_the_new_batch_are_at_hand(user: User) -> None:
    user.choose(FILER)
    user.upload(PERMITS)
    user.do("configure", batch_interval="3600", max_concurrent="2")
    user.confirm()
    batch = user.batch()
    until(lambda: batch.progress.triggered == 2)
    asked = {"table": "executions", "offset": 0, "limit": 10, "filter": {"batch": batch.id}}
    page = user.do("table_page", **asked)
    assert [(row["row"], row["status"]) for row in page["rows"]][2:] == [
        (4, "pending"), (5, "pending"), (6, "pending"),
    ]  # fmt: skip
    user.do("cancel_items", batch=batch.id, selection={"keys": [page["rows"][4]["key"]]})
    until(lambda: not user.sees["jobs"])
    assert user.sees["notes"][batch.id]["text"] == "1 scheduled execution cancelled."
    assert batch.progress.cancelled == 1
    assert user.do("item", batch=batch.id, item=page["rows"][4]["key"])["inputs"][0] == ["client", "Ehlers"]


def test_another_version_has_its_own_inputs(user: User) -> None:
    user.choose(FILER)
    user.upload(PERMITS)
    user.do("choose_version", version=1)
    shown = user.settled()
    assert shown["agent"]["version"] == 1
    assert user.column("Permit type")["kind"] == "skip"
    user.do("configure", batch_interval="0")
    user.confirm()
    assert user.batch().record.version == 1


def test_what_was_changed_after_the_question_is_not_started(user: User) -> None:
    user.choose(FILER)
    user.upload(PERMITS)
    asked = user.settled()
    user.do("set_field", column="Reference", kind="metadata", name="ref")
    user.settled()
    with pytest.raises(bk.ConfigError, match="changed after you were asked"):
        user.do("start", rows=5, round=asked["preview"]["round"])
    assert user.ws.batches() == []


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"name": "  "}, "name"),
        ({"max_concurrent": "0"}, "max_concurrent"),
        ({"max_concurrent": "2.5"}, "max_concurrent"),
        ({"batch_interval": "-1"}, "batch_interval"),
        ({"batch_interval": ""}, "batch_interval"),
        ({"later": True}, "start_at"),
        ({"later": True, "start_at": "+020260-03-01T09:00:00.000Z"}, "start_at"),
    ],
)
def test_a_wrong_configuration_is_told_at_its_field(user: User, typed: dict[str, Any], field: str) -> None:
    user.choose(FILER)
    user.upload(PERMITS)
    user.do("configure", **typed)
    shown = user.settled()["configure"]
    assert list(shown["problems"]) == [field]
    assert shown["obstacle"] == "Correct what is marked in the configuration."
    with pytest.raises(bk.StateError):
        user.confirm()


def test_a_batch_is_planned_for_later(user: User) -> None:
    user.choose(FILER)
    user.upload(PERMITS)
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
    user.do("configure", later=True, start_at=start.isoformat(), max_concurrent="1", batch_interval="3600")
    outlook = user.settled()["configure"]["outlook"]
    assert (outlook["groups"], outlook["seconds"]) == (5, 4 * 3600)
    assert datetime.fromisoformat(outlook["last_at"]) == start + timedelta(hours=4)
    user.confirm()
    batch = user.batch()
    assert (batch.status, batch.record.start_at) == ("pending", start)
    batch.cancel()


def test_a_key_that_is_refused_is_told_and_tried_again(ws: bk.Workspace, demo: bk.DemoPlatform) -> None:
    demo.revoke_key()
    user = User(ws)
    shown = user.settled()
    assert shown["agents"] is None
    assert "refused" in shown["failure"] or "401" in shown["failure"]
    demo.restore_key()
    user.do("try_again")
    shown = user.settled()
    assert (len(shown["agents"]), shown["failure"]) == (3, "")
    user.wizard.close()


def test_a_batch_that_could_not_be_made_can_be_started_again(user: User, demo: bk.DemoPlatform) -> None:
    user.choose(FILER)
    user.upload(PERMITS)
    user.do("configure", batch_interval="0")
    demo.revoke_key()
    user.confirm()
    user.settled()
    assert "revoked" in user.sees["configure"]["not_made"]
    assert user.sees["batch"] is None
    demo.restore_key()
    user.confirm()
    user.batch().join("finished")
    assert len(user.ws.batches()) == 1


def test_the_only_agent_is_chosen_and_a_profile_needs_profiles(tmp_path: Path) -> None:
    with bk.Workspace(ScriptedTarget(), store=tmp_path / "runs.sqlite") as ws:
        user = User(ws)
        assert user.settled()["agent"]["name"] == "Agent"
        user.upload(b"value,profile\n1,x\n")
        assert user.column("profile")["problems"] == ["This platform has no agent profiles. Choose another type."]
        user.wizard.close()


@pytest.mark.parametrize("how", ["upload", "path", "frame"])
def test_the_cell_makes_the_same_batch(ws: bk.Workspace, tmp_path: Path, how: str, demo: bk.DemoPlatform) -> None:
    rows = b'"Cl\'i""ent\\n";Address\n=1+1;"x, ""y"""\nb;\xe4\n'
    frame = pd.DataFrame({"Cl'i\"ent\\n": ["=1+1", "b"], "Address": ['x, "y"', "ä"]})
    user = User(ws, *([frame] if how == "frame" else []))
    user.choose(FILER)
    user.do("choose_version", version=1)
    if how == "upload":
        user.upload(rows, "../we ird';import os.csv")
    elif how == "path":
        (tmp_path / "rows.csv").write_bytes(rows)
        user.do("read_path", path=str(tmp_path / "rows.csv"))
    user.settled()
    user.do("set_field", column="Cl'i\"ent\\n", kind="input", name="client")
    user.settled()
    pool = next(one for one in user.sees["configure"]["profiles"] if one["name"] == "Clerks")
    user.do("configure", name='It\'s "March"\n# x', batch_interval="0.5", profile=pool["id"])
    user.confirm()
    first = user.batch()
    first.join("finished")
    user.do("show_python")
    cell = user.sees["python"]
    assert demo.api_key not in cell
    user.wizard.close()
    ws.close()
    done = subprocess.run(
        [sys.executable, "-c", f"{cell}\nbatch.join('finished')"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{cell}\n{done.stderr}"
    with bk.Workspace(store=tmp_path / "runs.sqlite") as again:
        second, one = again.batches()
        assert one.id == first.id
        for name in ("name", "agent_id", "version", "pace", "default_profile", "columns", "fingerprint", "mapping"):
            assert getattr(second.record, name) == getattr(one.record, name), name
        columns = list(one.record.columns)
        assert second.results()[columns].to_numpy().tolist() == one.results()[columns].to_numpy().tolist()


def test_what_was_kept_for_the_cell_goes_with_the_batch(user: User, tmp_path: Path) -> None:
    user.choose(FILER)
    user.upload(PERMITS)
    user.do("configure", batch_interval="0")
    user.confirm()
    batch = user.batch()
    user.do("show_python")
    kept = tmp_path / "uploads" / batch.id / "permits.csv"
    assert kept.read_bytes() == PERMITS
    batch.join("finished")
    batch.delete()
    assert not kept.parent.exists()


def test_a_cell_names_what_the_environment_of_the_page_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHKIT_STORE", str(tmp_path / "other.sqlite"))
    monkeypatch.delenv("BATCHKIT_URL", raising=False)
    monkeypatch.delenv("BATCHKIT_API_KEY", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with bk.Workspace() as ws:
        someone = User(ws)
        someone.choose(FILER)
        someone.upload(PERMITS, f"{'x' * 200}.csv")
        assert len(someone.sees["configure"]["name"]) < 100
        someone.do("configure", batch_interval="0", max_concurrent="1e3")
        someone.confirm()
        assert someone.batch().record.pace.max_concurrent == 1000
        someone.do("show_python")
        cell = someone.sees["python"]
        someone.wizard.close()
    assert f"ws = bk.Workspace(store={str(tmp_path / 'other.sqlite')!r})" in cell
    assert "# On the demo platform, as long as BATCHKIT_URL and BATCHKIT_API_KEY are not set." in cell


def test_a_cell_never_asks_for_what_is_nowhere(tmp_path: Path, demo: bk.DemoPlatform) -> None:
    target = bk.AsteroidTarget(demo.url, demo.api_key)
    with bk.Workspace(target, store=tmp_path / "runs.sqlite") as ws:
        user = User(ws)
        user.choose(FILER)
        user.do("choose_version", version=1)
        user.upload(PERMITS)
        user.do("configure", batch_interval="0")
        user.confirm()
        user.batch()
        user.do("show_python")
        assert "put it in the environment variable BATCHKIT_API_KEY" in user.sees["python"]
        assert demo.api_key not in user.sees["python"]
        user.wizard.close()
