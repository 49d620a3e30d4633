"""What limits batches holds over all workers of a cluster together, by the platform's count."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from accounts import settled_account
from batches import create_batch, eventually, most_at_once
from crew import Place, PlacedWorkspace, pid_of_runner, work
from postgres_server import PostgresServer, at_work
from processes import Processes

import batchkit as bk

CLERKS = ["Clerk A", "Clerk B"]


@pytest.fixture
def demo() -> Iterator[bk.DemoPlatform]:
    agent = bk.Agent(name="Filer", inputs=[bk.InputVariable("value", schema={"type": "string"}, required=True)])
    with bk.DemoPlatform(agents=[agent], profiles=CLERKS, duration=(0.05, 0.3), failure_share=0) as platform:
        yield platform


@pytest.fixture
def ws(demo: bk.DemoPlatform, postgres: PostgresServer, processes: Processes) -> Iterator[PlacedWorkspace]:
    """With two workers, each for one batch at a time."""
    with postgres.database() as name:
        place = Place(url=demo.url, api_key=demo.api_key, store=postgres.url(name), concurrency=1)
        for _ in range(2):
            processes.start(work, place)
        at_work(postgres, name, 2)
        with PlacedWorkspace(place) as ws:
            yield ws
        processes.end_all()


def test_a_profile_serves_one_execution_at_a_time_over_two_workers(demo: bk.DemoPlatform, ws: PlacedWorkspace) -> None:
    pool = bk.ProfilePool("Clerks", members=CLERKS)
    # So slow that neither is over before both run.
    demo.faults.latency = 0.5
    batches = [
        create_batch(ws, 12, max_concurrent=5, batch_interval=0, default_profile=pool, max_in_flight=most)
        for most in (None, 1)
    ]
    eventually(lambda: len({pid_of_runner(batch) for batch in batches} - {0}) == 2)
    demo.faults.latency = 0
    for batch in batches:
        batch.join("finished")
        settled_account(demo, batch)
    assert set(most_at_once(demo, "agentProfileName").values()) == {1}
    assert most_at_once(demo, "batch")[batches[1].id] == 1


def test_what_the_platform_asked_to_wait_for_holds_for_the_next_worker_too(
    demo: bk.DemoPlatform, ws: PlacedWorkspace
) -> None:
    demo.faults.rate_limit(1, retry_after=5)
    # So far apart that the second row is not on its way when the first one's answer comes.
    batch = create_batch(ws, 2, max_concurrent=1, batch_interval=4)
    eventually(lambda: any(request.status == 429 for request in demo.requests))
    [asked] = [request for request in demo.requests if request.status == 429]
    eventually(lambda: (gate := batch.record.gate_at) and gate > asked.at + timedelta(seconds=4))
    # Its worker leaves it, and whoever is free goes on.
    batch.pause()
    eventually(lambda: pid_of_runner(batch) == 0)
    batch.resume()
    batch.join("finished")
    settled_account(demo, batch)
    first, *later = [request.monotonic for request in demo.requests]
    assert first == asked.monotonic
    assert len(later) == 2
    assert min(later) >= first + 4.9
    assert batch.record.epoch in (2, 3)


def test_what_the_platform_asked_of_one_worker_holds_for_the_others(demo: bk.DemoPlatform, ws: PlacedWorkspace) -> None:
    batches = [create_batch(ws, 24, max_concurrent=2, batch_interval=0.5) for _ in range(2)]
    eventually(lambda: len({pid_of_runner(batch) for batch in batches} - {0}) == 2)
    eventually(lambda: all(batch.progress.triggered for batch in batches))
    demo.faults.rate_limit(1, retry_after=4)
    eventually(lambda: any(request.status == 429 for request in demo.requests))
    [asked] = [request for request in demo.requests if request.status == 429]
    eventually(lambda: any("asked another batch" in batch.record.reason for batch in batches))
    for batch in batches:
        batch.join("finished")
        settled_account(demo, batch)
    later = [request.monotonic - asked.monotonic for request in demo.requests if request.monotonic > asked.monotonic]
    # What was on its way by then arrives.
    assert [seconds for seconds in later if 1 < seconds < 3.9] == []
    assert len(later) > 8
