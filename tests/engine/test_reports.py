"""Functions tell by themselves when they end; what a process that is gone ran is lost, and said to be."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest
from batches import create_batch, eventually

import batchkit as bk
from batchkit.core.execution import LOST
from batchkit.engine import kernel


def answer(value: str) -> str:
    if value == "3":
        raise ValueError("three is refused")
    return value * 2


class Unasked(bk.FunctionTarget):
    """May not be polled."""

    async def executions(self, *_args: object, **_more: object):
        raise AssertionError("it was asked")
        yield []


def test_outcomes_come_without_asking(tmp_path: Path) -> None:
    with bk.Workspace(Unasked(answer), store=tmp_path / "s.sqlite") as ws:
        batch = create_batch(ws, 500, max_concurrent=50, batch_interval=0).join("finished")
        counts = batch.progress.executions
        assert (counts.succeeded, counts.failed, counts.open) == (499, 1, 0)
        errors = batch.results().query("execution_status == 'failed'")["error"].tolist()
        assert len(errors) == 1
        assert "three is refused" in errors[0]


def test_no_more_calls_run_at_a_time_than_may(tmp_path: Path) -> None:
    running, most, lock = 0, 0, threading.Lock()

    def work(value: str) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.005)
        with lock:
            running -= 1
        return value

    with bk.Workspace(bk.FunctionTarget(work), store=tmp_path / "s.sqlite") as ws:
        batch = create_batch(ws, 60, max_concurrent=20, max_in_flight=3, batch_interval=0).join("finished")
        assert batch.progress.executions.succeeded == 60
    assert most <= 3


def test_calls_under_way_when_it_is_closed_are_waited_for_and_recorded(tmp_path: Path) -> None:
    def slow(value: str) -> str:
        time.sleep(0.6)
        return value

    store = tmp_path / "s.sqlite"
    with bk.Workspace(bk.FunctionTarget(slow, max_workers=2), store=store) as ws:
        batch = create_batch(ws, 40, max_concurrent=4, batch_interval=0.2)
        eventually(lambda: batch.progress.executions.open >= 3)
    with bk.Workspace(bk.FunctionTarget(slow), store=store, engine="worker") as ws:
        progress = ws.batch(batch.id).progress
        counts = progress.executions
        assert (counts.succeeded, counts.failed, counts.open) == (2, 0, 0)
        assert counts.cancelled == progress.triggered - 2 > 0
        assert progress.pending == 40 - progress.triggered


def test_a_coroutine_under_way_when_it_is_closed_is_waited_for(tmp_path: Path) -> None:
    async def slow(value: str) -> str:
        await asyncio.sleep(0.6)
        return value

    with bk.Workspace(bk.FunctionTarget(slow), store=tmp_path / "s.sqlite") as ws:
        batch = create_batch(ws, 1, batch_interval=0)
        eventually(lambda: batch.progress.executions.open)
    with bk.Workspace(bk.FunctionTarget(slow), store=tmp_path / "s.sqlite", engine="worker") as ws:
        assert ws.batch(batch.id).progress.executions.succeeded == 1


def test_calls_that_had_not_begun_when_it_was_closed_are_cancelled_and_those_that_do_not_end_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "_CLOSE_SECONDS", 0.3)
    go_on = threading.Event()

    def stuck(value: str) -> str:
        go_on.wait(60)
        return value

    store = tmp_path / "s.sqlite"
    with bk.Workspace(bk.FunctionTarget(stuck, max_workers=1), store=store) as ws:
        batch = create_batch(ws, 3, max_concurrent=3, batch_interval=0).join()
    go_on.set()
    with bk.Workspace(bk.FunctionTarget(stuck), store=store) as ws:
        again = ws.batch(batch.id)
        again.join("finished")
        counts = again.progress.executions
        assert (counts.cancelled, counts.failed, counts.open) == (2, 1, 0)
        assert again.results()["error"].tolist().count(LOST) == 1
