"""Rows of a batch run again from its card: which kinds there are, what is asked for, and what becomes of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from desk import CLERK, Desk, eventually
from page_comms import Messages

import batchkit as bk
from batchkit.core.progress import ExecutionCounts, Progress
from batchkit.core.rerun import newest
from batchkit.errors import ConfigError
from batchkit.ui.again import can_run_again, chosen_kinds, kinds_as_json

AT_ONCE = {"max_concurrent": 50, "batch_interval": 0}


@pytest.fixture
def failing(tmp_path: Path, messages: Messages) -> Iterator[Desk]:
    """A desk whose platform fails every execution."""
    with bk.DemoPlatform(agents=[CLERK], duration=0.05, failure_share=1) as platform:
        one = Desk(platform, tmp_path / "runs.sqlite")
        yield one
        one.close()


def kinds(desk: Desk, batch: bk.Batch) -> list[dict[str, Any]]:
    """What the page is told that can be run again."""
    desk.do("count_again", batch, token="mine")
    eventually(lambda: "mine" in desk.snapshot["again"] and not desk.snapshot["jobs"])
    found = desk.snapshot["again"]["mine"]
    assert found["failure"] == ""
    desk.dashboard._commands._again.clear()
    return found["kinds"]


def test_only_what_went_wrong_is_offered_to_run_again() -> None:
    assert not can_run_again(Progress(total=5, triggered=4, cancelled=1, executions=ExecutionCounts(succeeded=4)))
    assert can_run_again(Progress(total=5, triggered=4, refused=1, executions=ExecutionCounts(succeeded=4)))
    for wrong in ("failed", "cancelled", "timed_out"):
        assert can_run_again(Progress(total=1, triggered=1, executions=ExecutionCounts(**{wrong: 1})))


def test_kinds_of_which_there_are_none_are_not_shown_and_one_must_be_chosen() -> None:
    counts = {"failed": 2, "refused": 0, "cancelled": 0, "timed_out": 1, "unsent": 0}
    shown = kinds_as_json(counts)
    assert [(kind["key"], kind["count"], kind["usual"]) for kind in shown] == [
        ("failed", 2, True),
        ("timed_out", 1, False),
    ]
    assert "may be done twice" in shown[1]["hint"]
    with pytest.raises(ConfigError, match="Choose which rows"):
        chosen_kinds([])


def test_failed_rows_run_again_as_a_linked_batch_whose_results_merge(failing: Desk) -> None:
    batch = failing.make(4, **AT_ONCE).join("finished")
    assert "rerun" in failing.card(batch)["commands"]
    [kind] = kinds(failing, batch)
    assert (kind["label"], kind["count"]) == ("Failed executions", 4)
    failing.do("run_again", batch, kinds=["failed"], rows=4)
    note = failing.note(batch)
    assert note["text"] == "4 rows are run again, as March permits, again."
    again = failing.ws.batch(note["leads_to"])
    again.join("finished")
    card = failing.card(again)
    assert card["lineage"] == {"parent": (batch.id, "March permits"), "reruns": (), "batches": 2}
    assert failing.card(batch)["lineage"]["reruns"] == ((again.id, "March permits, again"),)
    assert len(failing.demo.executions()) == 8
    failing.do("download", batch, place="here", format="jsonl", merged=True)
    eventually(lambda: failing.snapshot["downloads"])
    [download] = failing.snapshot["downloads"]
    assert (download["name"], download["of"]) == ("March permits merged results.jsonl", batch.id)


def test_rows_that_another_batch_ran_again_count_by_how_that_went(failing: Desk) -> None:
    batch = failing.make(3, **AT_ONCE).join("finished")
    again = batch.rerun([0], config={"start_at": "2099-01-01T09:00+01:00"})
    assert [(kind["key"], kind["count"]) for kind in kinds(failing, batch)] == [("failed", 2)]
    again.cancel()
    # Never sent: it is what it was before.
    assert [(kind["key"], kind["count"]) for kind in kinds(failing, batch)] == [("failed", 3)]
    assert [(kind["key"], kind["count"]) for kind in kinds(failing, again)] == [("failed", 1)]


def test_more_rows_than_were_agreed_to_are_not_sent(failing: Desk) -> None:
    batch = failing.make(3, **AT_ONCE).join("finished")
    failing.do("run_again", batch, kinds=["failed"], rows=2)
    assert failing.note(batch)["kind"] == "warning"
    assert "there are 3 such rows, not 2" in failing.note(batch)["text"]
    assert failing.ws.batches() == [batch]


def test_rows_cancelled_before_they_were_triggered_run_only_if_they_are_chosen(desk: Desk) -> None:
    batch = desk.make(5)
    eventually(lambda: batch.progress.triggered == 2)
    batch.cancel_items([3])
    shown = kinds(desk, batch)
    assert [(kind["key"], kind["count"], kind["usual"]) for kind in shown] == [("unsent", 1, False)]
    desk.do("run_again", batch, kinds=["unsent"], rows=1)
    again = desk.ws.batch(desk.note(batch)["leads_to"])
    assert again.items()["row"].tolist() == batch.items().loc[[3], "row"].tolist()


def test_a_batch_whose_first_one_was_deleted_says_so_and_has_nothing_to_merge(failing: Desk) -> None:
    batch = failing.make(2, **AT_ONCE).join("finished")
    again = batch.rerun(executions="failed", config={"name": "Second"}).join("finished")
    batch.delete()
    lineage = failing.card(again)["lineage"]
    assert lineage == {"parent": ("", f"{batch.id}, deleted"), "reruns": (), "batches": 0}


def test_timed_out_executions_run_again_although_they_may_still_run(tmp_path: Path, messages: Messages) -> None:
    with bk.DemoPlatform(agents=[CLERK], duration=600) as platform:
        desk = Desk(platform, tmp_path / "runs.sqlite")
        batch = desk.make(2, item_deadline=0.1, **AT_ONCE)
        eventually(lambda: batch.progress.executions.timed_out == 2)
        [kind] = kinds(desk, batch)
        assert (kind["key"], kind["count"], kind["usual"]) == ("timed_out", 2, False)
        desk.do("run_again", batch, kinds=["timed_out"], rows=2)
        again = desk.ws.batch(desk.note(batch)["leads_to"])
        eventually(lambda: again.progress.triggered == 2)
        desk.close()


def test_rows_are_counted_beside_the_batches_that_run(failing: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = failing.make(3, **AT_ONCE).join("finished")
    batch.rerun([0]).join("finished")
    threads = set()

    def noted(standings: Any) -> Any:
        threads.add(threading.current_thread().name)
        return newest(standings)

    monkeypatch.setattr("batchkit.ui.again.newest", noted)
    assert [kind["count"] for kind in kinds(failing, batch)] == [3]
    assert threads == {"batchkit job"}


def test_rows_that_cannot_be_counted_are_not_waited_for(failing: Desk) -> None:
    batch = failing.make(2, **AT_ONCE).join("finished")
    again = batch.rerun([0]).join("finished")
    commands = failing.dashboard._commands
    begun, gate = threading.Event(), threading.Event()

    def hold(batch: bk.Batch, words: str, work: Any) -> None:
        def later(report: Any) -> None:
            begun.set()
            gate.wait(20)
            work(report)

        start(batch, words, later)

    start, commands._start = commands._start, hold  # type: ignore[method-assign]
    failing.do("count_again", batch, token="mine")
    assert begun.wait(20)
    again.delete()
    batch.delete()
    gate.set()
    eventually(lambda: "mine" in failing.snapshot["again"])
    found = failing.snapshot["again"]["mine"]
    assert (found["kinds"], batch.id in found["failure"]) == ([], True)


def test_only_the_newest_counts_are_kept_for_the_page(failing: Desk) -> None:
    batch = failing.make(1, **AT_ONCE).join("finished")
    for number in range(20):
        failing.do("count_again", batch, token=f"question {number}")
    assert list(failing.snapshot["again"]) == [f"question {number}" for number in range(12, 20)]


def test_a_message_leads_to_the_batch_it_tells_of_as_long_as_there_is_one(failing: Desk) -> None:
    batch = failing.make(2, **AT_ONCE).join("finished")
    failing.do("run_again", batch, kinds=["failed"], rows=2, token="mine")
    again = failing.ws.batch(failing.note(batch)["leads_to"])
    assert failing.snapshot["notes"][batch.id]["token"] == "mine"
    again.join("finished")
    failing.do("delete", again)
    eventually(lambda: failing.snapshot["stored"] == 1)
    assert failing.note(batch)["leads_to"] == ""
