"""A function that the workers of a cluster call: what a killed worker leaves in doubt is settled from elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import noting
import pytest
from accounts import adds_up
from batches import create_batch, eventually
from long_form import FULL
from postgres_server import PostgresServer
from processes import commands

import batchkit as bk
from batchkit.core.execution import LOST

#: values that end the worker that is to call the function with them
DEADLY = [str(value) for value in range(10, 110, 5 if FULL else 100)]
ROWS = 130 if FULL else 30

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def store(postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv(noting.CALLS, str(tmp_path / "calls"))
    monkeypatch.setenv(noting.DEADLY, "")
    with postgres.database() as name:
        yield postgres.url(name)


@pytest.fixture
def start(store: str, tmp_path: Path) -> Iterator[Start]:
    """Start `batchkit worker --cluster` for a function, or for what is named."""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    with commands(tmp_path, BATCHKIT_STORE=store, PYTHONPATH=path) as starter:
        yield lambda *which: starter("worker", "--cluster", *(which or ("--function", "noting:note")))


@pytest.fixture
def ws(store: str) -> Iterator[bk.Workspace]:
    with bk.Workspace(bk.FunctionTarget.load("noting:note"), store=store, engine="cluster") as ws:
        yield ws


def test_rows_in_doubt_of_killed_workers_are_sent_again_when_that_is_asked_and_not_before(
    ws: bk.Workspace, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(noting.DEADLY, " ".join(DEADLY))
    batch = create_batch(ws, ROWS, max_concurrent=1, batch_interval=0)
    for _ in DEADLY:
        assert start().wait(timeout=120) == -9
    last = start()
    eventually(lambda: not (batch.progress.pending or batch.progress.triggering), 120)
    adds_up(batch)
    # None was called twice, and none that was called is taken for one that was not.
    assert Counter(noting.calls()) == Counter(str(value) for value in range(ROWS))
    items = batch.items().set_index("item")
    doubtful = items.index[items["status"] == "in_doubt"].tolist()
    assert doubtful, "a call begins before its beginning is recorded"
    assert {str(item) for item in doubtful} <= set(DEADLY)
    assert set(items["status"]) == {"in_doubt", "triggered"}
    # Half of them again, the others not.
    retried, skipped = doubtful[::2], doubtful[1::2]
    batch.settle(retried, "retry")
    if skipped:
        batch.settle(skipped, "skip")
    batch.join("finished")
    assert batch.status == "completed"
    assert Counter(noting.calls()) == Counter([*map(str, range(ROWS)), *map(str, retried)])
    results = batch.results().set_index("row")
    ended = results["execution_status"].value_counts().to_dict()
    lost = results.index[results["error"] == LOST]
    assert ended == {"completed": ROWS - len(skipped) - len(lost)} | ({"failed": len(lost)} if len(lost) else {})
    last.terminate()
    assert last.wait(timeout=60) == 0


def test_a_worker_that_is_told_to_stop_records_what_it_calls_and_another_calls_the_rest(
    ws: bk.Workspace, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(noting.SECONDS, "1.5")
    first = start()
    batch = create_batch(ws, 12, max_concurrent=2, batch_interval=0.5)
    eventually(lambda: batch.progress.executions.open >= 4)
    start()
    first.terminate()
    assert first.wait(timeout=60) == 0
    batch.join("finished")
    assert Counter(noting.calls()) == Counter(str(value) for value in range(12))
    assert batch.progress.executions.succeeded == 12


def test_a_worker_calls_a_function_in_the_executor_of_the_target_it_is_told(store: str, start: Start) -> None:
    worker = start("--target", "noting:pooled")
    with bk.Workspace(bk.FunctionTarget.load("noting:where"), store=store, engine="cluster") as ws:
        batch = create_batch(ws, 6, max_concurrent=3, batch_interval=0.2).join("finished")
        assert batch.progress.executions.succeeded == 6
        assert Counter(noting.calls()) == Counter(str(value) for value in range(6))
        callers = {int(pid) for pid in batch.results()["result"]}
    assert callers
    assert not callers & {worker.pid, os.getpid()}
    worker.terminate()
    assert worker.wait(timeout=60) == 0
