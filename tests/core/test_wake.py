from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from batch_records import batch_record

from batchkit.core.flow import Flow
from batchkit.core.hours import WorkingHours
from batchkit.core.lifecycle import BatchStatus
from batchkit.core.progress import ExecutionCounts, Progress
from batchkit.core.record import BatchRecord
from batchkit.core.schedule import Pace
from batchkit.core.wake import next_wake

NOW = datetime(2030, 1, 7, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def batch(status: BatchStatus, *, next_due: datetime | None = None, **counts: int) -> BatchRecord:
    return batch_record(
        NOW,
        status=status,
        pace=Pace(max_concurrent=1, batch_interval=60),
        progress=Progress(total=9, **counts),
        start_at=NOW + HOUR,
        started_at=None,
        next_due=next_due,
        epoch=0,
        runner="",
        runner_alive=False,
    )


def test_a_pending_batch_is_for_its_start() -> None:
    waiting = batch(BatchStatus.PENDING, next_due=NOW + HOUR, pending=9)
    assert next_wake(waiting, NOW) == NOW + HOUR
    assert next_wake(waiting, NOW + 2 * HOUR) == NOW + 2 * HOUR


def test_a_running_batch_is_for_its_next_group_and_not_before_its_gate() -> None:
    running = batch(BatchStatus.RUNNING, next_due=NOW + HOUR, pending=1)
    assert next_wake(running, NOW) == NOW + HOUR
    assert next_wake(replace(running, gate_at=NOW + 3 * HOUR), NOW) == NOW + 3 * HOUR
    assert next_wake(replace(running, next_due=NOW - HOUR), NOW) == NOW


def test_what_is_under_way_or_to_be_followed_cannot_wait() -> None:
    for status in BatchStatus:
        assert next_wake(batch(status, next_due=NOW + HOUR, pending=1, triggering=1), NOW) == NOW
        followed = batch(status, next_due=NOW + HOUR, pending=1)
        followed = replace(followed, progress=replace(followed.progress, executions=ExecutionCounts(running=1)))
        assert next_wake(followed, NOW) == NOW
        assert next_wake(replace(batch(status, triggered=9), partial=1), NOW) == NOW


@pytest.mark.parametrize("status", [BatchStatus.PAUSED, BatchStatus.COMPLETED, BatchStatus.CANCELLED])
def test_nobody_is_needed_where_only_a_person_can_go_on(status: BatchStatus) -> None:
    assert next_wake(batch(status, next_due=NOW, pending=3), NOW) is None


def test_rows_in_doubt_need_somebody_who_can_look_them_up() -> None:
    doubtful = batch(BatchStatus.RUNNING, in_doubt=2, triggered=7)
    assert next_wake(doubtful, NOW) == NOW
    assert next_wake(doubtful, NOW, can_look_up=False) is None
    later = batch(BatchStatus.RUNNING, next_due=NOW + HOUR, in_doubt=2, pending=7)
    assert next_wake(later, NOW, can_look_up=False) == NOW + HOUR


def test_a_running_batch_with_nothing_left_is_to_be_completed() -> None:
    assert next_wake(batch(BatchStatus.RUNNING, triggered=9), NOW) == NOW


def test_working_hours_are_waited_for() -> None:
    mornings = WorkingHours(days=("mon", "tue"), start="09:00", end="10:00", zone="UTC")
    running = replace(batch(BatchStatus.RUNNING, next_due=NOW, pending=1), flow=Flow(working_hours=mornings))
    assert next_wake(running, NOW) == NOW + 21 * HOUR
