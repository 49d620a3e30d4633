"""Pause and cancel: what they promise of the requests that come after them."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from accounts import adds_up, entries, settled_account
from batches import create_batch, eventually
from long_form import FULL
from processes import Processes, requests_later
from sending import Plan, pause
from watching import Call, Watched

import batchkit as bk
from batchkit.core.request import ATTEMPT_KEY, ITEM_KEY

MOMENTS = 20 if FULL else 7
#: seconds a busy machine may take beyond its time
BUSY = 10.0
paces = pytest.mark.parametrize(
    "pace",
    [{"max_concurrent": 10, "batch_interval": 0}, {"max_concurrent": 10, "batch_interval": 0.05}],
    ids=["interval 0", "interval"],
)


@pytest.fixture
def target(demo: bk.DemoPlatform) -> Watched:
    # Longer than a command takes: some requests are on their way when it returns.
    demo.faults.latency = 0.05
    return Watched(demo)


@pytest.fixture
def ws(target: Watched, tmp_path: Path) -> Iterator[bk.Workspace]:
    with bk.Workspace(target, store=tmp_path / "runs.sqlite") as workspace:
        yield workspace


def at_a_random_moment(demo: bk.DemoPlatform, dice: random.Random) -> None:
    requests_later(demo, dice.randint(1, 25))
    time.sleep(dice.random() * 0.02)


def on_its_way(target: Watched, since: float) -> set[tuple[int, int]]:
    """The requests begun by `since` and not answered by then."""
    return {_key(call) for call in list(target.calls) if call.began <= since <= call.ended}


def is_quiet_after(demo: bk.DemoPlatform, target: Watched, batch: bk.Batch, returned: float) -> int:
    """Once everything is answered and recorded: nothing was begun, and only what was on its way has arrived.

    Returns how many were on their way.
    """
    moving = on_its_way(target, returned)
    eventually(lambda: target.all_answered and batch.progress.triggering == 0)
    assert target.begun_between(returned, time.monotonic()) == []
    arrived = [request for request in demo.requests if request.monotonic > returned]
    assert {(int(r.metadata[ITEM_KEY]), int(r.metadata[ATTEMPT_KEY])) for r in arrived} <= moving
    return len(moving)


@paces
def test_no_request_is_begun_once_pause_has_returned(
    demo: bk.DemoPlatform, target: Watched, ws: bk.Workspace, pace: dict[str, Any]
) -> None:
    dice = random.Random(7)
    batch = create_batch(ws, 80 * MOMENTS, **pace)
    moving = []
    for _ in range(MOMENTS):
        at_a_random_moment(demo, dice)
        batch.pause()
        moving.append(is_quiet_after(demo, target, batch, time.monotonic()))
        adds_up(batch)
        batch.resume()
    demo.faults.latency = 0
    batch.update(batch_interval=0)
    batch.join()
    settled_account(demo, batch)
    assert any(moving)
    print(f"\non their way when pause returned: {moving}")


@paces
def test_no_request_is_begun_once_cancel_has_returned(
    demo: bk.DemoPlatform, target: Watched, ws: bk.Workspace, pace: dict[str, Any]
) -> None:
    dice = random.Random(8)
    for _ in range(MOMENTS):
        batch = create_batch(ws, 300, **pace)
        at_a_random_moment(demo, dice)
        batch.cancel()
        is_quiet_after(demo, target, batch, time.monotonic())
        adds_up(batch)
        progress = batch.progress
        assert progress.triggered + progress.cancelled == 300


@paces
def test_a_pause_from_another_process_holds(
    demo: bk.DemoPlatform, target: Watched, ws: bk.Workspace, plan: Plan, processes: Processes, pace: dict[str, Any]
) -> None:
    batch = create_batch(ws, 1600, **pace)
    batch.pause()
    together = processes.barrier(2)
    other = processes.start(pause, replace(plan, batch_id=batch.id), together)
    eventually(lambda: together.n_waiting == 1)
    batch.resume()
    requests_later(demo, 50)
    together.wait(60)
    processes.ends(other)
    [paused] = entries(plan.journal, "paused")
    # It looks around every second, and a busy machine takes its time; meanwhile hundreds of requests would be begun.
    eventually(lambda: target.calls[-1].began < time.monotonic() - 1.0)
    is_quiet_after(demo, target, batch, target.calls[-1].ended)
    late = target.begun_between(paused["at"], float("inf"))
    assert all(call.began < paused["at"] + BUSY for call in late)
    assert batch.status == "paused"
    assert 0 < batch.progress.pending < 1600
    print(f"\n{len(late)} requests were begun after the other process had paused")
    demo.faults.latency = 0
    batch.resume()
    batch.update(batch_interval=0)
    batch.join()
    settled_account(demo, batch)


def _key(call: Call) -> tuple[int, int]:
    return call.item, call.attempt
