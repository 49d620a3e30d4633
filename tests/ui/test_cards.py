"""What a card says of a batch, and what it lets its user do."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from records import NOW, record

import batchkit as bk
from batchkit.core.flow import Flow
from batchkit.core.hours import WorkingHours
from batchkit.core.lifecycle import BatchStatus
from batchkit.core.listing import Relative
from batchkit.core.progress import ExecutionCounts, Progress
from batchkit.core.record import BatchRecord
from batchkit.core.schedule import Pace
from batchkit.io.leases import CLUSTER_LEASE_SECONDS
from batchkit.testing import ScriptedTarget
from batchkit.ui.around import Around
from batchkit.ui.cards import Expected, Lineage, Surroundings, Time, card_of, place_of


def around(**more: Any) -> Surroundings:
    return Surroundings(**({"now": NOW} | more))


def alone(**more: Any) -> BatchRecord:
    return record(runner_alive=False, **more)


@pytest.mark.parametrize(
    ("status", "commands"),
    [
        (BatchStatus.PENDING, {"cancel", "limit"}),
        (BatchStatus.RUNNING, {"pause", "cancel", "limit"}),
        (BatchStatus.PAUSED, {"resume", "cancel", "limit"}),
        (BatchStatus.COMPLETED, {"archive", "delete"}),
        (BatchStatus.CANCELLED, {"archive", "delete"}),
    ],
)
def test_each_state_has_its_word_and_its_commands(status: BatchStatus, commands: set[str]) -> None:
    card = card_of(record(status), around())
    assert (card.state, set(card.commands)) == (status.capitalize(), commands)


def test_an_archived_batch_can_be_brought_back() -> None:
    card = card_of(record(BatchStatus.COMPLETED, archived=True), around())
    assert set(card.commands) == {"unarchive", "delete"}


def test_rows_that_went_wrong_can_be_run_again_where_the_target_is_at_hand() -> None:
    wrong = record(progress=Progress(total=3, triggered=2, refused=1))
    assert "rerun" in card_of(wrong, around()).commands
    assert "rerun" not in card_of(wrong, around(missing="Open a workspace on its own target.")).commands
    assert "rerun" not in card_of(record(), around()).commands


def test_a_rerun_says_of_what_and_the_first_one_as_what() -> None:
    first = Relative(id="b23456789", name="March permits", parent=None, origin="b23456789")
    second = Relative(id="b2", name="March permits, again", parent="b23456789", origin="b23456789")
    shown = card_of(record(), around(relatives=(first, second))).lineage
    assert shown == Lineage(reruns=(("b2", "March permits, again"),), batches=2)
    again = record(id="b2", name="March permits, again", parent="b23456789", origin="b23456789")
    shown = card_of(again, around(relatives=(first, second))).lineage
    assert shown == Lineage(parent=("b23456789", "March permits"), batches=2)
    # The first one was deleted: nothing to lead to, and nothing to merge with.
    assert card_of(again, around(relatives=(second,))).lineage == Lineage(parent=("", "b23456789, deleted"))
    assert card_of(record(), around(relatives=(first,))).lineage == Lineage()


def test_only_a_batch_that_is_not_too_large_can_be_searched() -> None:
    sizes = {total: card_of(record(progress=Progress(total=total, pending=total)), around()) for total in (1, 100_001)}
    assert [card.searchable for card in sizes.values()] == [True, False]


@pytest.mark.parametrize(
    ("triggered", "total", "percent"), [(0, 0, 0), (0, 9, 0), (1, 1_000_000, 1), (999_999, 1_000_000, 99), (7, 7, 100)]
)
def test_the_percentage_is_0_only_for_nothing_and_100_only_for_all(triggered: int, total: int, percent: int) -> None:
    card = card_of(record(progress=Progress(total=total, triggered=triggered, pending=total - triggered)), around())
    assert (card.percent, card.progress) == (percent, f"{triggered:,} of {total:,} triggered, {percent} %")


def test_the_end_is_expected_when_the_last_group_is_due() -> None:
    card = card_of(record(), around())
    assert card.expected == Expected(at=NOW + timedelta(seconds=20 + 6 * 60))
    late = card_of(record(next_due=NOW - timedelta(hours=1)), around())
    assert late.expected == Expected(at=NOW + timedelta(minutes=6))
    by_hand = card_of(record(), around(last_due=NOW + timedelta(days=2)))
    assert by_hand.expected == Expected(at=NOW + timedelta(days=2))


def test_without_an_interval_the_end_follows_from_the_pace_so_far() -> None:
    quick = Pace(max_concurrent=10, batch_interval=0)
    assert card_of(record(pace=quick), around()).expected == Expected(at=NOW + timedelta(minutes=7, seconds=20))
    nothing_yet = Progress(total=100, pending=100)
    assert card_of(record(pace=quick, progress=nothing_yet), around()).expected == Expected()


def test_what_stands_still_ends_so_long_after_it_goes_on() -> None:
    assert card_of(record(BatchStatus.PAUSED), around()).expected == Expected(seconds=360)
    assert card_of(alone(), around(unattended=60)).expected == Expected(seconds=360)
    assert card_of(record(BatchStatus.CANCELLED), around()).expected is None


def test_working_hours_are_said_and_never_left_out_of_the_end_that_is_expected() -> None:
    flow = Flow(working_hours=WorkingHours(days="mon", start="09:00", end="10:00", zone="UTC"))
    due = around(last_due=NOW + timedelta(days=8))
    card = card_of(record(flow=flow), due)
    assert (card.hours, card.expected) == ("Mon 09:00 to 10:00 (UTC)", Expected(at=NOW + timedelta(days=8)))
    for unknown in (record(BatchStatus.PAUSED, flow=flow), replace(alone(), flow=flow)):
        assert card_of(unknown, replace(due, unattended=60)).expected == Expected()
    assert card_of(record(flow=flow), around(last_due=NOW - timedelta(days=1))).expected == Expected()
    assert card_of(record(), due).hours == ""


def test_an_end_beyond_the_calendar_is_not_shown() -> None:
    slow = record(pace=Pace(max_concurrent=1, batch_interval=9e9))
    assert card_of(slow, around()).expected is None


def test_times_say_what_is_over_and_what_is_to_come() -> None:
    pending = card_of(record(BatchStatus.PENDING, started_at=None, start_at=NOW + timedelta(hours=1)), around())
    assert [(time.label, time.at) for time in pending.times] == [
        ("Created", NOW - timedelta(hours=1)),
        ("Starts", NOW + timedelta(hours=1)),
    ]
    ended = card_of(record(BatchStatus.COMPLETED, finished_at=NOW), around())
    assert [time.label for time in ended.times] == ["Created", "Started", "Completed"]


def test_the_next_group_is_told_while_it_lies_ahead() -> None:
    card = card_of(record(), around())
    assert card.next_group == Time(label="Next group", at=NOW + timedelta(seconds=20))
    assert card_of(record(next_due=NOW - timedelta(seconds=1)), around()).next_group is None
    assert card_of(record(BatchStatus.PAUSED), around()).next_group is None
    assert card_of(alone(), around(unattended=60)).next_group is None


def test_a_trial_says_that_the_rest_waits() -> None:
    card = card_of(record(trial=3), around())
    assert (card.reason, card.expected) == ("The first 3 rows are tried; the rest waits until then.", Expected())


def test_an_interrupted_batch_says_so_and_can_be_continued_here() -> None:
    card = card_of(alone(runner=""), around(unattended=3))
    assert (card.state, card.tone) == ("Interrupted", "danger")
    # Its lease lapsed, which is waited for already.
    assert card_of(alone(), around()).state == "Interrupted"
    assert card.warning.startswith("Whoever ran it is gone")
    assert "take_over" in card.commands


def test_a_change_of_hands_is_no_interruption() -> None:
    card = card_of(alone(runner=""), around(unattended=1))
    assert (card.state, card.warning) == ("Running", "")
    assert "take_over" not in card.commands
    mine = card_of(alone(), around(unattended=60, is_here=True))
    assert (mine.state, mine.runner) == ("Running", "Runs in this notebook")


def test_a_runner_that_is_silent_is_said_to_be_before_it_counts_as_gone() -> None:
    card = card_of(record(lease_left=12), around())
    assert card.warning == ""
    card = card_of(record(lease_left=5), around())
    assert card.state == "Running"
    assert card.runner == "Run by process 4711 on desk"
    assert card.warning.startswith("Whoever runs it has not been heard of for some seconds.")
    assert "take_over" not in card.commands
    mine = card_of(record(lease_left=5), around(is_here=True))
    assert (mine.runner, mine.warning) == ("Runs in this notebook", "")
    ended = card_of(record(BatchStatus.COMPLETED, lease_left=5), around())
    assert ended.warning == ""


def test_a_worker_of_a_cluster_that_renews_its_short_lease_in_time_is_not_said_to_be_silent() -> None:
    with bk.Workspace(ScriptedTarget(), store="postgresql://nobody@127.0.0.1:1/none") as ws:
        surroundings = Around(ws)
        # As much as it has, and as little as it has between two looks.
        for left in (CLUSTER_LEASE_SECONDS, 3.0):
            held = record(lease_left=left)
            assert card_of(held, surroundings.of(held)).warning == ""
        held = record(lease_left=1.5)
        warning = card_of(held, surroundings.of(held)).warning
    assert warning.startswith("Whoever runs it has not been heard of for some seconds.")
    assert "within 3 seconds" in warning


def test_where_a_worker_runs_batches_one_that_has_none_yet_waits_for_it() -> None:
    card = card_of(alone(), around(unattended=5, has_worker=True))
    assert (card.state, card.runner) == ("Waiting for a worker", "Runs in a batchkit worker")
    assert "take_over" not in card.commands
    card = card_of(alone(), around(unattended=11, has_worker=True))
    assert card.state == "Interrupted"
    assert "none runs, or none is for the demo platform with the same key" in card.warning
    assert card.warning.startswith("No batchkit worker has picked it up")


def test_what_another_target_would_have_to_send_is_not_continued_here() -> None:
    missing = "Open a workspace on its own target."
    card = card_of(alone(), around(unattended=60, missing=missing))
    assert missing in card.warning
    assert "take_over" not in card.commands
    paused = card_of(record(BatchStatus.PAUSED), around(missing=missing))
    assert (missing in paused.warning, "resume" in paused.commands) == (True, False)


def test_a_batch_that_runs_elsewhere_says_where() -> None:
    assert card_of(record(), around()).runner == "Run by process 4711 on desk"
    follows = Progress(total=1, triggered=1, executions=ExecutionCounts(running=1))
    followed = card_of(record(BatchStatus.COMPLETED, progress=follows), around())
    assert followed.runner == "Its executions are followed by process 4711 on desk"
    assert place_of("somebody") == "somebody"


def test_what_the_store_fails_with_is_said() -> None:
    card = card_of(record(), around(is_here=True, trouble="The disk is full."))
    assert card.warning.endswith("The disk is full.")


def test_the_version_changes_with_every_change_of_an_item() -> None:
    first = record()
    others = [
        replace(first, revision=2),
        replace(first, next_due=NOW),
        replace(first, progress=replace(first.progress, pending=69, triggering=1)),
        replace(first, progress=replace(first.progress, executions=ExecutionCounts(failed=30))),
    ]
    versions = {card_of(each, around()).version for each in [first, *others]}
    assert len(versions) == 5


def test_a_card_is_json() -> None:
    shown = card_of(record(), around()).to_json()
    assert shown["times"][0] == {"label": "Created", "at": "2026-03-01T11:00:00+00:00"}
    assert shown["counts"][0] == {
        "words": "pending", "count": 70, "look": False, "status": "pending", "execution": "",
    }  # fmt: skip
    assert shown["limits"] == {"max_concurrent": "10", "batch_interval": "60", "max_in_flight": ""}
    assert shown["expected"] == {"at": "2026-03-01T12:06:20+00:00", "seconds": None}
