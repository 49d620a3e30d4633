"""The dashboard, driven as the page drives it, on a store of its own and a demo platform behind HTTP."""

from __future__ import annotations

import base64
import csv
import io
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from desk import Desk, chosen, eventually, everything
from page_comms import Messages

import batchkit as bk
from batchkit.core.outcome import Unclear
from batchkit.errors import ConfigError, NotFoundError, StateError
from batchkit.testing import ScriptedTarget
from batchkit.ui.dashboard import Dashboard


def test_without_batches_nothing_is_listed(desk: Desk) -> None:
    snapshot = desk.snapshot
    assert (snapshot["cards"], snapshot["stored"], snapshot["failure"]) == ([], 0, "")


def test_pause_stops_sending_and_resume_goes_on(desk: Desk) -> None:
    batch = desk.make(40, max_concurrent=1, batch_interval=0.1)
    eventually(lambda: desk.demo.requests.count >= 3)
    desk.do("pause", batch)
    sent = desk.demo.requests.count
    card = desk.card(batch)
    assert (card["state"], card["commands"]) == ("Paused", ("resume", "cancel", "limit"))
    time.sleep(0.5)
    assert desk.demo.requests.count == sent
    desk.do("resume", batch)
    eventually(lambda: desk.demo.requests.count > sent)
    assert desk.card(batch)["state"] == "Running"


def test_a_command_that_came_too_late_says_so_on_the_card(desk: Desk) -> None:
    batch = desk.make()
    desk.do("pause", batch)
    desk.do("pause", batch)
    assert desk.note(batch) == {
        "kind": "error",
        "text": "A paused batch cannot be paused. It can be cancelled or resumed.",
        "leads_to": "",
    }
    desk.do("forget", batch)
    assert desk.snapshot["notes"] == {}


def test_single_items_are_cancelled_and_rescheduled(desk: Desk) -> None:
    batch = desk.make()
    eventually(lambda: batch.progress.triggered == 2)
    desk.do("cancel_items", batch, selection=chosen(5))
    assert desk.note(batch) == {"kind": "success", "text": "1 scheduled execution cancelled.", "leads_to": ""}
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    desk.do("reschedule_items", batch, selection=chosen(3), at=later.isoformat())
    assert desk.note(batch)["text"] == "1 scheduled execution rescheduled."
    row = desk.rows(batch)[3]
    assert (datetime.fromisoformat(row["time"]), row["by_hand"]) == (later, True)
    assert [row["status"] for row in desk.rows(batch)] == [
        "triggered", "triggered", "pending", "pending", "pending", "cancelled",
    ]  # fmt: skip
    assert [row["key"] for row in desk.rows(batch, sort="time", descending=True, limit=1)] == [3]


def test_what_could_not_be_done_is_told_with_its_reason(desk: Desk) -> None:
    batch = desk.make()
    eventually(lambda: batch.progress.triggered == 2)
    desk.do("cancel_items", batch, selection=chosen(0, 1, 2))
    assert desk.note(batch) == {
        "kind": "warning",
        "text": "1 scheduled execution cancelled. 2 scheduled executions left as they were: "
        "2 because it was already triggered.",
        "leads_to": "",
    }


def test_a_command_on_all_that_match_spares_those_that_were_taken_out(desk: Desk) -> None:
    batch = desk.make(10)
    eventually(lambda: batch.progress.triggered == 2)
    desk.do("cancel_items", batch, selection=everything(4, 0, status="pending"))
    assert desk.note(batch)["text"] == "7 scheduled executions cancelled."
    assert [row["key"] for row in desk.rows(batch, filter={"batch": batch.id, "status": "pending"})] == [4]
    desk.do("cancel_items", batch, selection=everything(0))
    assert desk.note(batch)["text"] == (
        "1 scheduled execution cancelled. 8 scheduled executions left as they were: "
        "7 because it is cancelled; 1 because it was already triggered."
    )


def test_a_command_on_all_that_a_search_or_an_execution_leaves_touches_nothing_else(desk: Desk) -> None:
    batch = desk.make(12)
    eventually(lambda: batch.progress.executions.succeeded == 2)
    desk.do("cancel_items", batch, selection=everything(text="CLIENT 1"))
    assert desk.note(batch)["text"] == (
        "2 scheduled executions cancelled. 1 scheduled execution left as it was: 1 because it was already triggered."
    )
    assert [row["key"] for row in desk.rows(batch, filter={"batch": batch.id, "status": "cancelled"})] == [10, 11]
    desk.do("cancel_items", batch, selection=everything(execution="succeeded"))
    assert desk.note(batch)["text"].startswith("No scheduled execution was cancelled. 2 scheduled executions left")
    assert batch.progress.pending == 8


def test_rows_are_found_by_what_became_of_them_and_by_a_text(desk: Desk) -> None:
    batch = desk.make(12)
    eventually(lambda: batch.progress.executions.succeeded == 2)

    def found(**filters: str) -> list[int]:
        return [row["key"] for row in desk.rows(batch, filter={"batch": batch.id} | filters)]

    assert (found(execution="succeeded"), found(execution="failed")) == ([0, 1], [])
    assert found(execution="succeeded", status="pending") == []
    assert found(text="client 1", status="pending") == [10, 11]
    # The number of a row, and the id of an execution.
    assert found(text="5") == [3, 5]
    assert found(text=desk.demo.executions()[0]["id"]) in ([0], [1])
    with pytest.raises(ConfigError, match="not told by 'lost'"):
        found(execution="lost")


def test_rescheduling_all_keeps_the_pace(desk: Desk) -> None:
    batch = desk.make(8, max_concurrent=2, batch_interval=600)
    eventually(lambda: batch.progress.triggered == 2)
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=15)
    desk.do("reschedule_items", batch, selection=everything(), at=at.isoformat())
    assert desk.note(batch)["text"].startswith("6 scheduled executions rescheduled. 2 scheduled executions left")
    times = [datetime.fromisoformat(row["time"]) for row in desk.rows(batch)[2:]]
    assert times == [at + timedelta(minutes=10 * (n // 2)) for n in range(6)]


def test_a_time_without_a_zone_is_refused(desk: Desk) -> None:
    batch = desk.make()
    with pytest.raises(ConfigError):
        desk.do("reschedule_items", batch, selection=chosen(3), at="2026-03-01T09:00")


def test_items_in_doubt_are_skipped_or_sent_again(desk: Desk, tmp_path: Path) -> None:
    blind = ScriptedTarget(answer=lambda _request, _number: Unclear(message="No answer."))
    blind.can_look_up = False
    with bk.Workspace(blind, store=tmp_path / "doubt.sqlite") as ws:
        dashboard = Dashboard(ws)
        table = bk.read_csv(b"client\na\nb\nc\n")
        agent = ws.agent()
        mapping = bk.Mapping(table.columns).set("client", bk.Metadata("client"))
        batch = ws.create_batch(ws.validate(table, mapping, agent), bk.BatchConfig(name="Doubt", batch_interval=0))
        eventually(lambda: batch.progress.in_doubt == 3)
        settle = {"batch": batch.id, "choice": "skip", "selection": chosen(0)}
        dashboard.view.intend("settle_items", settle).result(30)
        eventually(lambda: batch.progress.cancelled == 1)
        eventually(lambda: not dashboard.view.drawn()["jobs"])
        batch.pause()
        settle = {"batch": batch.id, "choice": "retry", "selection": everything(status="in_doubt")}
        dashboard.view.intend("settle_items", settle).result(30)
        eventually(lambda: batch.progress.pending == 2)
        dashboard.close()


def test_cancelling_the_batch_ends_it_and_leaves_what_runs_alone(desk: Desk) -> None:
    batch = desk.make()
    eventually(lambda: batch.progress.triggered == 2)
    desk.do("cancel", batch)
    card = desk.card(batch)
    assert (card["state"], card["commands"]) == ("Cancelled", ("archive", "delete"))
    eventually(lambda: batch.progress.executions.succeeded == 2)


def test_an_ended_batch_is_archived_brought_back_and_deleted(desk: Desk) -> None:
    batch = desk.make()
    with pytest.raises(StateError):
        batch.archive()
    desk.do("cancel", batch)
    desk.do("archive", batch)
    assert (desk.snapshot["cards"], desk.snapshot["archived"], desk.ws.batches()) == ([], 1, [])
    assert desk.ws.batches(archived=True) == [batch]
    desk.do("list", archived=True)
    assert desk.card(batch)["commands"] == ("unarchive", "delete")
    desk.do("unarchive", batch)
    desk.do("list", archived=False)
    assert desk.card(batch)["archived"] is False
    desk.do("delete", batch)
    eventually(lambda: desk.snapshot["stored"] == 0)
    with pytest.raises(NotFoundError):
        desk.ws.batch(batch.id)


def test_a_batch_whose_executions_are_followed_here_can_be_deleted(desk: Desk) -> None:
    batch = desk.make()
    eventually(lambda: batch.progress.triggered == 2)
    desk.do("cancel", batch)
    desk.do("delete", batch)
    eventually(lambda: desk.snapshot["stored"] == 0)
    assert desk.ws.engine.active == ()


def test_a_running_batch_is_not_deleted(desk: Desk) -> None:
    batch = desk.make()
    desk.do("delete", batch)
    assert "running batch cannot be deleted" in desk.note(batch)["text"]


def test_an_interrupted_batch_is_continued_here(desk: Desk, demo: bk.DemoPlatform) -> None:
    other = Desk(demo, desk.store)
    batch = other.make(4, max_concurrent=2, batch_interval=1)
    eventually(lambda: batch.progress.triggered >= 2)
    assert desk.card(desk.ws.batch(batch.id))["runner"].startswith("Run by process ")
    other.close()
    mine = desk.ws.batch(batch.id)
    eventually(lambda: desk.card(mine)["state"] == "Interrupted")
    assert "take_over" in desk.card(mine)["commands"]
    desk.do("take_over", mine)
    mine.join()
    assert desk.card(mine)["state"] == "Completed"
    assert len(demo.executions()) == 4


def test_a_workspace_with_another_target_says_what_is_missing(desk: Desk, messages: Messages) -> None:
    batch = desk.make()
    desk.do("pause", batch)
    with bk.Workspace(ScriptedTarget(), store=desk.store) as ws:
        dashboard = Dashboard(ws)
        [card] = dashboard.view.drawn()["cards"]
        assert "resume" not in card["commands"]
        assert "Open a workspace on its own target" in card["warning"]
        dashboard.close()


def test_what_another_process_changes_shows_within_two_seconds(desk: Desk) -> None:
    batch = desk.make()
    desk.do("seen")
    with bk.Workspace(ScriptedTarget(), store=desk.store) as other:
        other.batch(batch.id).pause()
        # what is drawn by itself, not because it was asked for
        eventually(lambda: desk.view.snapshot["cards"][0]["state"] == "Paused", seconds=10)


def test_batches_are_filtered_and_come_page_by_page(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchkit.ui.dashboard._PAGE", 2)
    made = [desk.make(name=name) for name in ("March", "April", "May")]
    desk.do("list", text="", status="")
    names = [card["name"] for card in desk.snapshot["cards"]]
    assert (names, desk.snapshot["matching"]) == (["May", "April"], 3)
    desk.do("more")
    assert len(desk.snapshot["cards"]) == 3
    desk.do("list", text="mar")
    assert [card["name"] for card in desk.snapshot["cards"]] == ["March"]
    desk.do("cancel", made[1])
    desk.do("list", text="", status="cancelled")
    assert [card["name"] for card in desk.snapshot["cards"]] == ["April"]
    desk.do("list", status="", agent=desk.ws.agent().id)
    assert desk.snapshot["matching"] == 3
    assert desk.snapshot["agents"] == [[desk.ws.agent().id, "Permit filer"]]


def test_an_item_tells_its_inputs_and_its_history(desk: Desk) -> None:
    batch = desk.make()
    eventually(lambda: batch.progress.executions.succeeded == 2)
    desk.do("cancel_items", batch, selection=chosen(4))
    desk.note(batch)
    done, cancelled = desk.do("item", batch, item=0), desk.do("item", batch, item=4)
    assert (done["inputs"], done["line"]) == ([["client", "client 0"]], 2)
    assert "success" in dict(done["answer"])["Outcome"]
    assert [entry["what"] for entry in done["history"]][:2] == ["Sent, attempt 1.", "Triggered."]
    assert [entry["what"] for entry in cancelled["history"]] == ["Will not be triggered."]
    [row, *_] = desk.rows(batch)
    assert (row["execution_status"], row["standing"]) == ("completed", "succeeded")
    assert row["execution"] == desk.demo.executions()[0]["id"]


def test_results_come_down_in_pieces_and_are_safe_in_a_spreadsheet(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchkit.ui.downloads._PIECE", 50)
    batch = desk.make(3, name='=HYPERLINK("x")/../March')
    desk.do("download", batch, place="here")
    eventually(lambda: desk.snapshot["downloads"])
    [download] = desk.snapshot["downloads"]
    assert download["place"] == "here"
    assert download["name"] == "HYPERLINK(_x_)_.._March results.csv"
    content = b""
    while len(content) < download["size"]:
        content += base64.b64decode(desk.do("download_piece", id=download["id"], offset=len(content)))
    desk.do("download_end", id=download["id"])
    assert desk.snapshot["downloads"] == []
    with pytest.raises(NotFoundError):
        desk.do("download_piece", id=download["id"], offset=0)
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert [row["client"] for row in rows] == ["client 0", "client 1", "client 2"]


def test_one_thing_at_a_time_is_done_with_a_batch(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = desk.make()
    eventually(lambda: batch.progress.triggered == 2)
    desk.dashboard._commands.jobs.start(batch.id, "Something", lambda _report: time.sleep(1))
    with pytest.raises(StateError, match="Something is still under way"):
        desk.do("cancel_items", batch, selection=chosen(4))


def test_a_store_that_fails_is_said_and_the_cards_stay(desk: Desk) -> None:
    batch = desk.make()
    desk.card(batch)
    moved = desk.store.rename(desk.store.with_name("away.sqlite"))
    desk.dashboard._look()
    assert "was deleted or replaced" in desk.snapshot["failure"]
    assert len(desk.snapshot["cards"]) == 1
    moved.rename(desk.store)


def test_the_workspace_hands_out_the_view(desk: Desk) -> None:
    view = desk.ws.dashboard()
    assert view.snapshot["store"] == str(desk.store)
    view.close()


def test_what_is_archived_elsewhere_is_counted_here(desk: Desk) -> None:
    shown = desk.make(name="Shown")
    other = desk.make(name="Other")
    other.cancel()
    desk.do("list", text="shown")
    eventually(lambda: desk.view.snapshot["matching"] == 1)
    other.archive()
    desk.dashboard._look()
    # what is drawn by itself, not because it was asked for
    eventually(lambda: desk.view.snapshot["archived"] == 1)
    assert [card["id"] for card in desk.snapshot["cards"]] == [shown.id]


def test_a_batch_looked_for_among_all_leaves_the_archived_out_again(desk: Desk) -> None:
    batch = desk.make()
    batch.cancel()
    batch.archive()
    desk.do("list", text=batch.id, archived=None)
    assert [card["id"] for card in desk.snapshot["cards"]] == [batch.id]
    desk.do("list", text="march")
    assert (desk.snapshot["cards"], desk.snapshot["listed"]["archived"]) == ([], False)
