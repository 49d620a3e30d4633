"""Trying the first rows: those go at once, the rest is held until the batch is resumed, and nothing goes twice."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import batchkit as bk
from batchkit.core.outcome import Outcome, Wait
from batchkit.core.request import TriggerRequest
from batchkit.testing import ScriptedTarget


@pytest.fixture
def target() -> ScriptedTarget:
    return ScriptedTarget()


@pytest.fixture
def ws(tmp_path: Path, target: ScriptedTarget) -> Iterator[bk.Workspace]:
    with bk.Workspace(target, store=tmp_path / "runs.sqlite") as workspace:
        yield workspace


def checked(ws: bk.Workspace, rows: int = 10) -> bk.Validation:
    table = bk.read_csv("\n".join(["value", *map(str, range(rows))]).encode())
    agent = ws.agent()
    return ws.validate(table, ws.suggest_mapping(table, agent), agent)


def tried(ws: bk.Workspace, **config: object) -> bk.Batch:
    """A batch whose trial has come to its end."""
    batch = ws.create_batch(checked(ws), bk.BatchConfig(name="b", trial=3, **config))
    with pytest.raises(bk.BatchPaused, match="The first 3 rows were tried"):
        batch.join()
    return batch


@pytest.mark.parametrize("pace", [{"batch_interval": 0}, {"batch_interval": 0.3, "max_concurrent": 2}])
def test_the_rest_is_held_until_the_batch_is_resumed(ws: bk.Workspace, target: ScriptedTarget, pace: dict) -> None:
    batch = tried(ws, **pace)
    assert (batch.status, batch.progress.triggered, batch.progress.pending) == ("paused", 3, 7)
    assert [item for _, item in target.triggered] == [0, 1, 2]
    batch.resume()
    batch.join("finished")
    assert sorted(target.triggered) == [(batch.id, item) for item in range(10)]
    assert batch.results()["outcome"].tolist() == ["success"] * 10


def test_the_rest_waits_for_the_start_time(ws: bk.Workspace) -> None:
    start = datetime(2999, 1, 1, tzinfo=UTC)
    batch = tried(ws, start_at=start, batch_interval=60)
    batch.resume()
    items = batch.items(status="pending")
    assert items["execute_at"].iloc[0] == start
    assert items["execute_at"].iloc[-1] == start + timedelta(seconds=60)
    assert batch.status == "running"
    batch.cancel()


def test_another_process_goes_on_with_the_rest(ws: bk.Workspace, target: ScriptedTarget, tmp_path: Path) -> None:
    batch_id = tried(ws, batch_interval=0).id
    ws.close()
    with bk.Workspace(target, store=tmp_path / "runs.sqlite") as other:
        batch = other.batch(batch_id)
        assert batch.record.trial == 3
        batch.resume()
        batch.join("finished")
    assert sorted(target.triggered) == [(batch_id, item) for item in range(10)]


def test_a_trial_of_all_rows_is_none(ws: bk.Workspace) -> None:
    batch = ws.create_batch(checked(ws, 3), bk.BatchConfig(name="b", trial=3, batch_interval=0))
    batch.join("finished")
    assert batch.status == "completed"


def test_pausing_within_a_trial_does_not_let_the_rest_go(tmp_path: Path) -> None:
    target = ScriptedTarget()
    with bk.Workspace(target, store=tmp_path / "runs.sqlite") as ws:
        batch = ws.create_batch(checked(ws), bk.BatchConfig(name="b", trial=3, batch_interval=600, max_concurrent=1))
        while batch.progress.triggered < 1:
            time.sleep(0.01)
        batch.pause()
        batch.resume()
        batch.update(batch_interval=0)
        with pytest.raises(bk.BatchPaused, match="were tried"):
            batch.join()
    assert sorted({item for _, item in target.triggered}) == [0, 1, 2]


def test_cancelling_what_is_tried_ends_the_trial(tmp_path: Path) -> None:
    target = ScriptedTarget(answer=_wait_at_first)
    with bk.Workspace(target, store=tmp_path / "runs.sqlite") as ws:
        batch = ws.create_batch(checked(ws), bk.BatchConfig(name="b", trial=2, batch_interval=0, max_concurrent=1))
        while not target.received or batch.progress.triggering:
            time.sleep(0.01)
        assert batch.cancel_items([0, 1]).done == (0, 1)
        with pytest.raises(bk.BatchPaused, match="were tried"):
            batch.join()
        assert batch.progress.pending == 8


def test_a_store_made_before_there_were_trials_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    with bk.Workspace(ScriptedTarget(), store=path) as ws:
        batch_id = ws.create_batch(checked(ws), bk.BatchConfig(name="b", batch_interval=0)).join("finished").id
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE batch DROP COLUMN trial")
        connection.execute("UPDATE schema_version SET version = 1")
    connection.close()
    with bk.Workspace(ScriptedTarget(), store=path) as ws:
        assert ws.batch(batch_id).record.trial == 0
        tried(ws, batch_interval=0)


@pytest.mark.parametrize("trial", [-1, 2.5, True, "3"])
def test_a_trial_is_a_number_of_rows(trial: object) -> None:
    with pytest.raises(bk.ConfigError, match="trial must be a whole number"):
        bk.BatchConfig(name="b", trial=trial)  # type: ignore[arg-type]


def _wait_at_first(request: TriggerRequest, number: int) -> Outcome | None:
    return None if number else Wait(retry_after=60, message="Too many.")
