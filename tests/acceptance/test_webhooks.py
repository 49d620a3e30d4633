"""A batch whose outcomes come by webhooks: shuffled, lost, sent twice, forged, and before their time."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from batches import eventually
from counting import Counting
from long_form import FULL

import batchkit as bk

ROWS = 10_000 if FULL else 600
SECONDS = 900.0 if FULL else 240.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def receiver(store: Path, key: str, port: int) -> Iterator[None]:
    """`batchkit webhook` in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "batchkit", "webhook", "--port", str(port), "--store", str(store)],
        env={**os.environ, "BATCHKIT_WEBHOOK_KEY": key},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert "Webhooks are taken at" in process.stdout.readline()
        yield
    finally:
        process.terminate()
        assert process.wait(60) == 0
        process.stdout.close()


@pytest.fixture
def platform() -> Iterator[bk.DemoPlatform]:
    agent = bk.Agent(name="Filer", inputs=[bk.InputVariable("value", schema={"type": "string"}, required=True)])
    with bk.DemoPlatform(
        agents=[agent], profiles=["Clerk"], duration=(0.05, 3.0), failure_share=0.2, unsuccessful_share=0.2
    ) as platform:
        yield platform


def run(ws: bk.Workspace, rows: int) -> bk.Batch:
    agent = ws.agent("Filer")
    table = pd.DataFrame({"value": [f"row {n}" for n in range(rows)]})
    checked = ws.validate(table, ws.suggest_mapping(table, agent), agent)
    config = bk.BatchConfig(name="By webhook", default_profile="Clerk", max_concurrent=50, batch_interval=0)
    return ws.create_batch(checked, config)


def check_all_right(batch: bk.Batch, platform: bk.DemoPlatform) -> None:
    """Every row is as the platform knows it, and the counts add up to what the rows say."""
    truth = {each["metadata"]["batchkit_item"]: each for each in platform.executions()}
    results = batch.results()
    assert len(truth) == len(results)
    for item, row in enumerate(results.itertuples()):
        known = truth[str(item)]
        assert row.execution_id == known["id"]
        assert row.execution_status == known["status"]
        assert row.outcome == known["executionResult"]["outcome"]
        assert row.reasoning == known["executionResult"]["reasoning"]
        assert row.profile == "Clerk"
    counts = batch.progress.executions
    said = Counter(each["executionResult"]["outcome"] for each in truth.values())
    assert (counts.succeeded, counts.failed) == (said["success"], said["failure"])
    assert batch.progress.triggered == len(truth)
    assert counts.open == counts.cancelled == batch.record.partial == 0


def test_every_outcome_is_right_whatever_webhooks_do(platform: bk.DemoPlatform, tmp_path: Path) -> None:
    port, store = free_port(), tmp_path / "runs.sqlite"
    platform.faults.webhooks(duplicate=0.2, lost=0.1, forged=0.05, early=0.2, shuffle=1.5)
    with receiver(store, platform.webhook_public_key, port):
        platform.send_webhooks(f"http://127.0.0.1:{port}/hooks")
        target = Counting(platform, poll_interval=1.0)
        with bk.Workspace(target, store=store) as ws:
            batch = run(ws, ROWS)
            target.asked.clear()
            began = time.monotonic()
            batch.join("finished")
            took = time.monotonic() - began
            print(f"{len(target.asked)} requests for {ROWS} executions in {took:.1f} s")
            assert len(target.asked) <= max(ROWS / 50, 30) + took / 30
            assert batch.record.heard_at is not None
            check_all_right(batch, platform)
            kinds = batch.events()["kind"].tolist()
            assert kinds.count("finished") == kinds.count("completed") == 1


def test_outcomes_are_known_without_a_single_look_at_the_platform(platform: bk.DemoPlatform, tmp_path: Path) -> None:
    port, store = free_port(), tmp_path / "runs.sqlite"
    target = bk.AsteroidTarget(platform.url, platform.api_key)
    target.poll_interval = 600.0
    with receiver(store, platform.webhook_public_key, port), bk.Workspace(target, store=store) as ws:
        platform.send_webhooks(f"http://127.0.0.1:{port}/")
        batch = run(ws, 40)
        seen = [batch.record]

        def over() -> bool:
            seen.append(batch.record)
            return seen[-1].progress.executions.open == 0 and seen[-1].status == "completed"

        eventually(over, SECONDS)
        # A later look at the platform would add the details.
        assert seen[-1].partial == 40
        outcomes = batch.results()["outcome"]
        truth = {each["metadata"]["batchkit_item"]: each for each in platform.executions()}
        completed = {int(item): each for item, each in truth.items() if each["status"] == "completed"}
        assert {item: outcomes[item] for item in completed} == {
            item: each["executionResult"]["outcome"] for item, each in completed.items()
        }
