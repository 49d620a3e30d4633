"""kill -9 at any moment: nothing is lost and nothing is sent twice."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from dataclasses import replace
from multiprocessing.process import BaseProcess
from typing import Any

import pytest
from accounts import adds_up, entries, ran, settled_account
from batches import create_batch
from long_form import FULL
from processes import Processes, requests_later
from sending import STEPS, Plan, Planner, ShortWorkspace, create_and_run, run

import batchkit as bk
from batchkit.core.request import ITEM_KEY

KILLED = -signal.SIGKILL
KILLS = 200 if FULL else 10
#: of variations
FEWER_KILLS = 100 if FULL else 3
#: a kill, and the first and the last process; enough that some rows are left for the last
ROWS_A_KILL, ROWS_BESIDE = 60, 300
PACES = {
    "interval 0": {"max_concurrent": 10, "batch_interval": 0.0},
    "interval": {"max_concurrent": 20, "batch_interval": 0.1},
}
paces = pytest.mark.parametrize("pace", PACES.values(), ids=PACES)
seeds = pytest.mark.parametrize("seed", range(3) if FULL else range(1))


@pytest.fixture
def unhurried(demo: bk.DemoPlatform) -> bk.DemoPlatform:
    """The platform, slow enough that the rows last until the last kill."""
    demo.faults.latency = 0.04
    return demo


def kill_at_random(processes: Processes, process: BaseProcess, demo: bk.DemoPlatform, dice: random.Random) -> None:
    """Kill it some requests from now, or at some time while it starts, waits for the lease, or looks up."""
    if dice.random() < 0.7:
        requests_later(demo, dice.randint(1, 40))
        time.sleep(dice.random() * 0.01)
    else:
        time.sleep(dice.random() * 1.2)
    assert process.is_alive(), "it ended before it could be killed"
    processes.kill(process)


@paces
def test_killed_at_each_step_of_a_row(
    demo: bk.DemoPlatform, plan: Plan, planner: Planner, processes: Processes, pace: dict[str, Any]
) -> None:
    batch = create_batch(planner, 220, **pace)
    plan = replace(plan, batch_id=batch.id)
    # While the platform has accepted a row and not answered yet, there is time to look whether it has.
    demo.faults.answer_delay = 0.2
    for step in STEPS:
        process = processes.start(run, replace(plan, step=step, occurrence=1 if step == "after taking over" else 2))
        processes.ends(process, KILLED)
        adds_up(batch)
    processes.ends(processes.start(run, plan))
    settled_account(demo, batch)
    assert batch.record.epoch == len(STEPS) + 1


@seeds
@paces
def test_killed_at_random_moments(
    unhurried: bk.DemoPlatform, plan: Plan, planner: Planner, processes: Processes, pace: dict[str, Any], seed: int
) -> None:
    dice = random.Random(seed)
    kills = FEWER_KILLS if pace["batch_interval"] else KILLS
    rows = ROWS_A_KILL * kills + ROWS_BESIDE
    batch = create_batch(planner, rows, **pace)
    plan = replace(plan, batch_id=batch.id)
    for _ in range(kills):
        kill_at_random(processes, processes.start(run, plan), unhurried, dice)
        adds_up(batch)
    processes.ends(processes.start(run, plan))
    settled_account(unhurried, batch)
    found = Counter(each["found"] for each in entries(plan.journal, "lookup"))
    print(
        f"\n{kills} kills, {rows} rows, {batch.record.epoch} epochs; lookups: {found[True]} ran, {found[False]} did not"
    )


@seeds
def test_killed_while_the_platform_is_late_to_accept_and_to_list(
    unhurried: bk.DemoPlatform, plan: Plan, planner: Planner, processes: Processes, seed: int
) -> None:
    """Whoever looks as soon as the lease has lapsed finds nothing: only the quarantine helps."""
    unhurried.faults.latency = 0.5
    unhurried.faults.listing_delay = 0.6
    dice = random.Random(seed)
    batch = create_batch(planner, ROWS_A_KILL * FEWER_KILLS + ROWS_BESIDE, max_concurrent=40, batch_interval=0)
    plan = replace(plan, batch_id=batch.id, listing_delay=2.5)
    for _ in range(FEWER_KILLS):
        kill_at_random(processes, processes.start(run, plan), unhurried, dice)
    processes.ends(processes.start(run, plan))
    settled_account(unhurried, batch)


@seeds
def test_killed_while_the_batch_is_made(
    unhurried: bk.DemoPlatform, plan: Plan, processes: Processes, seed: int
) -> None:
    dice = random.Random(seed)
    for _ in range(FEWER_KILLS):
        process = processes.start(create_and_run, plan, 400)
        time.sleep(dice.random() * 0.3)
        processes.kill(process)
    processes.ends(processes.start(create_and_run, plan, 400))
    with ShortWorkspace(plan) as ws:
        [batch] = ws.batches()
        settled_account(unhurried, batch)
    assert len(unhurried.executions()) == 400


@seeds
def test_killed_with_a_target_that_cannot_look_up(
    unhurried: bk.DemoPlatform, plan: Plan, planner: Planner, processes: Processes, seed: int
) -> None:
    dice = random.Random(seed)
    batch = create_batch(planner, ROWS_A_KILL * FEWER_KILLS + ROWS_BESIDE, max_concurrent=10, batch_interval=0)
    # Nothing is in doubt here because an answer was slow to come.
    plan = replace(plan, batch_id=batch.id, can_look_up=False, total_timeout=60.0)
    for _ in range(FEWER_KILLS):
        kill_at_random(processes, processes.start(run, plan), unhurried, dice)
        adds_up(batch)
    processes.ends(processes.start(run, plan))
    assert [each["event"] for each in entries(plan.journal)][-1] == "in doubt"

    arrived = Counter(int(request.metadata[ITEM_KEY]) for request in unhurried.requests)
    assert set(arrived.values()) == {1}, "something was sent again without being asked"
    doubtful = batch.items(status="in_doubt")
    assert not doubtful.empty
    assert doubtful["intent_at"].notna().all()
    assert (doubtful["attempt"] >= 1).all()
    assert doubtful["error"].str.contains("before the answer was recorded").all()

    known = ran(unhurried, batch.id)
    skipped = frozenset(int(item) for item in doubtful["item"] if item in known)
    again = [int(item) for item in doubtful["item"] if item not in known]
    with ShortWorkspace(plan) as ws:
        mine = ws.batch(batch.id)
        assert len(mine.settle(skipped, "skip").done) == len(skipped)
        assert len(mine.settle(again, "retry").done) == len(again)
        mine.take_over()
        mine.join()
        settled_account(unhurried, mine, skipped=skipped)
    print(f"\n{FEWER_KILLS} kills, in doubt: {len(skipped)} had run, {len(again)} had not")
