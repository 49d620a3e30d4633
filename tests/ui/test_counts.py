"""What a card counts, in words, and to which rows each count leads."""

from __future__ import annotations

from batchkit.core.progress import ExecutionCounts, Progress
from batchkit.ui.counts import executions_of, rows_of


def test_rows_are_counted_by_state_and_what_is_not_there_is_left_out() -> None:
    counts = rows_of(Progress(total=10, pending=1, triggered=5, refused=2, in_doubt=2, left_out=3))
    assert [(each.words, each.count, each.look, each.status) for each in counts] == [
        ("pending", 1, False, "pending"),
        ("triggered", 5, False, "triggered"),
        ("cancelled", 0, False, "cancelled"),
        ("refused", 2, True, "refused"),
        ("in doubt", 2, True, "in_doubt"),
        ("left out as invalid", 3, False, ""),
    ]


def test_executions_are_counted_by_what_became_of_them_in_words() -> None:
    counts = ExecutionCounts(running=5, waiting=2, succeeded=3, failed=1, cancelled=4, timed_out=6)
    shown = executions_of(Progress(total=15, triggered=15, executions=counts))
    assert [(each.words, each.count, each.look, each.execution) for each in shown] == [
        ("running", 5, False, "running"),
        ("need a person", 2, True, "waiting"),
        ("of these timed out", 6, True, "timed_out"),
        ("succeeded", 3, False, "succeeded"),
        ("failed", 1, True, "failed"),
        ("cancelled", 4, False, "cancelled"),
    ]
    one = executions_of(Progress(total=1, triggered=1, executions=ExecutionCounts(waiting=1)))
    assert [each.words for each in one] == ["needs a person"]
    assert executions_of(Progress(total=3, pending=3)) == ()
