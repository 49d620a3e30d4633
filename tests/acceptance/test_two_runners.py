"""One runner a batch, however many processes want it: one owner at any time, nothing sent twice.

What cannot be closed is the moment between the last check (is the lease still ours?) and the first byte on the wire:
a process frozen exactly there sends that row when it goes on, however late. A request that waits for a connection or
for its turn is not in it: begun and not written within its total timeout, it is not written at all. What remains are
two stretches of code, from the runner's check to the target and from the target's own to the socket, of 20 to 50 µs
each (tests/bench/bench_window.py; some ms where the thread must wait for a core), of the 1 to 3 ms in which a request
gets ready.

And the process must stay frozen for the rest of its lease, the request's total timeout and the target's listing delay
(195 s, unless told otherwise), or else the next one finds the row and does not send it. Frozen in a transaction, it
keeps all the others out of the store, and nobody takes over before it goes on or is gone.
"""

from __future__ import annotations

import random
import signal
import statistics
import time
from dataclasses import replace
from pathlib import Path

import pytest
from accounts import entries, ran, settled_account
from batches import create_batch, eventually
from long_form import FULL
from processes import Processes, requests_later
from sending import STEPS, WINDOW, Plan, Planner, run

import batchkit as bk
from batchkit.core.request import ATTEMPT_KEY, ITEM_KEY

STOPS = 30 if FULL else 2
STOPPED_AT = STEPS if FULL else ("after the intent", "after the answer")


def one_owner_at_any_time(journal: Path) -> int:
    """Of each epoch, one process sends, and nobody of another epoch meanwhile; returns how many epochs sent."""
    sends = entries(journal, "send")
    spans = {}
    for epoch in sorted({each["epoch"] for each in sends}):
        mine = [each for each in sends if each["epoch"] == epoch]
        assert len({each["pid"] for each in mine}) == 1
        spans[epoch] = min(each["at"] for each in mine), max(each["at"] for each in mine)
    for (earlier, (_, last)), (later, (first, _)) in zip(spans.items(), list(spans.items())[1:], strict=False):
        assert last < first, f"epoch {earlier} still sent when epoch {later} had begun"
    leases = [each["epoch"] for each in entries(journal, "lease")]
    assert len(leases) == len(set(leases))
    return len(spans)


def owner(journal: Path) -> int:
    """The process that took the batch over last."""
    leases = entries(journal, "lease")
    return leases[-1]["pid"] if leases else 0


@pytest.mark.parametrize("count", [2, 10])
def test_processes_started_at_once(
    demo: bk.DemoPlatform, plan: Plan, planner: Planner, processes: Processes, count: int
) -> None:
    demo.faults.latency = 0.02
    dice = random.Random(count)
    batch = create_batch(planner, 80 * count + 200, max_concurrent=5, batch_interval=0)
    plan = replace(plan, batch_id=batch.id)
    together = processes.barrier(count)
    running = {each.pid: each for each in [processes.start(run, plan, together) for _ in range(count)]}
    while len(running) > 1:
        requests_later(demo, dice.randint(5, 40))
        processes.kill(running.pop(owner(plan.journal)))
        eventually(lambda: owner(plan.journal) in running)
    demo.faults.latency = 0
    for process in running.values():
        processes.ends(process)
    settled_account(demo, batch)
    assert one_owner_at_any_time(plan.journal) >= count


def test_stopped_at_each_step_for_longer_than_the_lease(
    demo: bk.DemoPlatform, plan: Plan, planner: Planner, processes: Processes
) -> None:
    batch = create_batch(planner, 70 * len(STOPPED_AT), max_concurrent=4, batch_interval=0)
    plan = replace(plan, batch_id=batch.id)
    demo.faults.answer_delay = 0.2
    for step in STOPPED_AT:
        occurrence = 1 if step == "after taking over" else 3
        stopped = processes.start(run, replace(plan, step=step, occurrence=occurrence, signal=signal.SIGSTOP))
        processes.stands_still(stopped)
        other = processes.start(run, plan)
        # Long enough for what is on its way to be looked up, and sent again where it did not run.
        time.sleep(plan.lease_seconds + plan.total_timeout + plan.listing_delay + 0.3)
        processes.go_on(stopped)
        time.sleep(0.3)
        for process in (stopped, other):
            processes.kill(process)
    processes.ends(processes.start(run, plan))
    settled_account(demo, batch)
    assert one_owner_at_any_time(plan.journal) > len(STOPPED_AT)


def test_stopped_at_random_moments_for_longer_than_the_lease(
    demo: bk.DemoPlatform, plan: Plan, planner: Planner, processes: Processes
) -> None:
    dice = random.Random(STOPS)
    batch = create_batch(planner, 100 * STOPS + 200, max_concurrent=2, batch_interval=0.1)
    plan = replace(plan, batch_id=batch.id)
    running = {each.pid: each for each in [processes.start(run, plan) for _ in range(2)]}
    taken_over = stops = in_window = 0
    while taken_over < STOPS:
        assert batch.progress.pending > 20, f"too few rows are left after {stops} stops"
        requests_later(demo, dice.randint(1, 15))
        time.sleep(dice.random() * 0.05)
        process = running[owner(plan.journal)]
        processes.stop(process)
        if has_arrived(demo, plan.journal, process.pid):
            stops += 1
            time.sleep(plan.lease_seconds * 1.2 + dice.random() * 2)
            # Not taken over: it was stopped in a transaction, and the other one waits for the store.
            taken_over += owner(plan.journal) != process.pid
        else:
            in_window += 1
        processes.go_on(process)
    batch.update(batch_interval=0)
    for process in running.values():
        processes.ends(process)
    settled_account(demo, batch)
    epochs = one_owner_at_any_time(plan.journal)
    print(
        f"\n{stops} stops, {taken_over} takeovers meanwhile, {epochs} epochs; "
        f"{in_window} stops near the window cut short"
    )


def has_arrived(demo: bk.DemoPlatform, journal: Path, pid: int | None) -> bool:
    """Whether all a stopped process was about to send has reached the platform, so that none is left in the window."""
    sent = {(each["item"], each["attempt"]) for each in entries(journal, "send") if each["pid"] == pid}
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        if sent <= arrivals(demo).keys():
            return True
        time.sleep(0.01)
    return False


def arrivals(demo: bk.DemoPlatform) -> dict[tuple[int, int], float]:
    """When each attempt reached the platform, on the machine's monotonic clock."""
    requests = [each for each in demo.requests if each.metadata]
    return {(int(each.metadata[ITEM_KEY]), int(each.metadata[ATTEMPT_KEY])): each.monotonic for each in requests}


def test_frozen_in_the_window_for_long_enough_sends_that_row_again(
    demo: bk.DemoPlatform, plan: Plan, planner: Planner, processes: Processes
) -> None:
    # In the first group: nothing else happens yet. Frozen in a transaction, it would keep the others out of the store.
    batch = create_batch(planner, 40, max_concurrent=5, batch_interval=0.1)
    plan = replace(plan, batch_id=batch.id)
    frozen = processes.start(run, replace(plan, step=WINDOW, occurrence=3, signal=signal.SIGSTOP))
    processes.stands_still(frozen)
    processes.ends(processes.start(run, plan))
    settled_account(demo, batch)
    processes.go_on(frozen)
    processes.ends(frozen)
    twice = {item: them for item, them in ran(demo, batch.id).items() if len(them) > 1}
    assert [[each["metadata"][ATTEMPT_KEY] for each in them] for them in twice.values()] == [["2", "1"]]
    assert twice.keys() <= {each["item"] for each in entries(plan.journal, "lookup") if not each["found"]}


@pytest.mark.parametrize("interval", [0.0, 0.05])
def test_the_window_between_check_and_write_is_short(
    demo: bk.DemoPlatform, plan: Plan, planner: Planner, processes: Processes, interval: float
) -> None:
    batch = create_batch(planner, 300, max_concurrent=5, batch_interval=interval)
    processes.ends(processes.start(run, replace(plan, batch_id=batch.id)))
    arrived = arrivals(demo)
    # From the note right after the check until the platform has the request: an upper bound.
    spans = [arrived[each["item"], each["attempt"]] - each["at"] for each in entries(plan.journal, "send")]
    # Of a busy machine no more can be asked; beyond its timeout a request is not written. bench_window.py measures.
    assert 0 < statistics.median(spans) < plan.total_timeout
    print(f"\nwindow at most {1e3 * statistics.median(spans):.2f} ms (median), {1e3 * max(spans):.2f} ms (longest)")
