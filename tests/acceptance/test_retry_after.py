"""429 with Retry-After: no request is begun before it is over, whoever runs the batch by then."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from accounts import settled_account
from batches import create_batch, eventually
from fault_proxy import FaultProxy
from processes import Processes
from sending import Plan, Planner, run
from watching import Watched

import batchkit as bk
from batchkit.core.outcome import Wait
from batchkit.core.request import ATTEMPT_KEY, ITEM_KEY

SECONDS = 1.2
paces = pytest.mark.parametrize(
    "pace",
    [{"max_concurrent": 8, "batch_interval": 0}, {"max_concurrent": 8, "batch_interval": 0.1}],
    ids=["interval 0", "interval"],
)


class Dates:
    """Turns a Retry-After of seconds into a date on the way back."""

    def __init__(self) -> None:
        #: what was said
        self.said: list[datetime] = []

    def __call__(self, answer: bytes) -> bytes:
        if not answer.startswith(b"HTTP/1.1 429"):
            return answer
        date = (datetime.now(UTC) + timedelta(seconds=SECONDS + 1)).replace(microsecond=0)
        self.said.append(date)
        header = b"retry-after: " + format_datetime(date, usegmt=True).encode()
        changed, count = re.subn(rb"(?i)retry-after: [0-9.]+", header, answer)
        assert count == 1
        return changed


@pytest.fixture
def dates() -> Dates:
    return Dates()


@pytest.fixture
def proxy(demo: bk.DemoPlatform, dates: Dates) -> Iterator[FaultProxy]:
    through = FaultProxy(demo.port, change=dates)
    yield through
    through.close()


def run_into_limits(demo: bk.DemoPlatform, target: Watched, store: Path, pace: dict[str, Any], times: int = 2) -> None:
    """So many limits in one run, each met by several requests at once."""
    demo.faults.latency = 0.01
    for share in range(1, times + 1):
        target.before[60 * share] = lambda: demo.faults.rate_limit(3, retry_after=SECONDS)
    with bk.Workspace(target, store=store) as ws:
        batch = create_batch(ws, 180, **pace)
        batch.join()
        settled_account(demo, batch)
    assert len(target.ended_as(Wait)) == 3 * times


@paces
def test_seconds_are_waited(demo: bk.DemoPlatform, tmp_path: Path, pace: dict[str, Any]) -> None:
    target = Watched(demo)
    run_into_limits(demo, target, tmp_path / "runs.sqlite", pace)
    for told in target.ended_as(Wait):
        begun_before = {(call.item, call.attempt) for call in target.calls if call.began <= told.ended}
        assert target.begun_between(told.ended, told.ended + SECONDS) == []
        for request in demo.requests:
            if told.ended < request.monotonic < told.ended + SECONDS:
                key = int(request.metadata[ITEM_KEY]), int(request.metadata[ATTEMPT_KEY])
                assert key in begun_before


@paces
def test_a_date_is_waited_for(
    demo: bk.DemoPlatform, proxy: FaultProxy, dates: Dates, tmp_path: Path, pace: dict[str, Any]
) -> None:
    target = Watched(demo, proxy.url)
    run_into_limits(demo, target, tmp_path / "runs.sqlite", pace, times=1)
    waits = target.ended_as(Wait)
    assert len(dates.said) == len(waits) == 3
    offset = datetime.now(UTC).timestamp() - time.monotonic()
    for told in waits:
        # They differ by the second in which they were said; the earliest one binds them all.
        date = min(date.timestamp() for date in dates.said)
        assert date - offset > told.ended
        assert target.begun_between(told.ended, date - offset) == []


def test_the_wait_outlives_the_process_that_was_told(
    demo: bk.DemoPlatform, plan: Plan, planner: Planner, processes: Processes
) -> None:
    batch = create_batch(planner, 100, max_concurrent=5, batch_interval=0)
    plan = replace(plan, batch_id=batch.id)
    demo.faults.latency = 0.02
    told = processes.start(run, plan)
    eventually(lambda: demo.requests.count >= 20)
    # So slow from now on that it is not over before it is killed.
    demo.faults.latency = 0.5
    demo.faults.rate_limit(1, retry_after=3)
    eventually(lambda: batch.record.gate_at is not None)
    processes.kill(told)
    demo.faults.latency = 0.0
    [limited] = [request for request in demo.requests if request.status == 429]
    last = demo.requests.count
    processes.ends(processes.start(run, plan))
    later = [request for request in demo.requests if request.number > last]
    assert min(request.at for request in later) >= limited.at + timedelta(seconds=3)
    settled_account(demo, batch)
