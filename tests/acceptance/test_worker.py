"""`batchkit worker` and `batchkit backup`, as processes."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from batches import eventually
from processes import commands

import batchkit as bk
from batchkit.core.suggestion import suggest_mapping
from batchkit.core.validation import validate
from batchkit.defaults import EngineKind

AGENT = bk.Agent(name="Filer", inputs=[bk.InputVariable("client", schema={"type": "string"}, required=True)])


@pytest.fixture
def demo() -> Iterator[bk.DemoPlatform]:
    with bk.DemoPlatform(agents=[AGENT], duration=0.05, failure_share=0) as platform:
        yield platform


@pytest.fixture
def start(demo: bk.DemoPlatform, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `batchkit ARGS` on the demo platform and a store of the test's own."""
    environment = {
        "BATCHKIT_URL": demo.url,
        "BATCHKIT_API_KEY": demo.api_key,
        "BATCHKIT_STORE": str(tmp_path / "runs.sqlite"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
    }
    with commands(tmp_path, **environment) as starter:
        yield starter


def csv(path: Path, rows: int) -> Path:
    path.write_text("\n".join(["client", *(f"client {n}" for n in range(rows))]))
    return path


def workspace(demo: bk.DemoPlatform, tmp_path: Path, engine: EngineKind = "kernel") -> bk.Workspace:
    return bk.Workspace(bk.AsteroidTarget(demo.url, demo.api_key), store=tmp_path / "runs.sqlite", engine=engine)


def let_its_lease_lapse(store: Path) -> None:
    """As if thirteen of the fifteen seconds had passed for which a killed process has the batch."""
    with sqlite3.connect(store, timeout=60) as connection:
        connection.execute("UPDATE batch SET lease_expires = lease_expires - 13")
    connection.close()


def test_a_worker_takes_over_from_a_killed_process_and_drains_on_sigterm(start, demo, tmp_path) -> None:
    rows = csv(tmp_path / "rows.csv", 100)
    killed = start("run", str(rows), "--agent", "Filer", "--max-concurrent", "2", "--batch-interval", "600")
    with workspace(demo, tmp_path, "worker") as ws:
        eventually(ws.batches)
        [batch] = ws.batches()
        eventually(lambda: batch.progress.triggered == 2)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        let_its_lease_lapse(tmp_path / "runs.sqlite")
        batch.update(batch_interval=0.4)
        worker = start("worker")
        before = batch.progress.triggered
        eventually(lambda: batch.progress.triggered > before + 4)
        assert batch.record.runner_alive
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=60) == 0
        assert batch.interrupted
        assert batch.progress.triggering == 0
        said = (tmp_path / "out-1.txt").read_text()
        assert f"{batch.id}  taken over: 'rows" in said
        assert f"{batch.id}  left: another worker" in said
        batch.update(batch_interval=0)
        start("worker")
        eventually(lambda: batch.status == "completed", 120)
        by_server = Counter(execution["metadata"]["batchkit_item"] for execution in demo.executions())
        assert by_server == Counter(str(item) for item in range(100))


def test_a_worker_starts_a_batch_whose_notebook_is_gone_and_leaves_others_alone(start, demo, tmp_path) -> None:
    rows = bk.read_csv(csv(tmp_path / "rows.csv", 3))
    with workspace(demo, tmp_path) as ws:
        agent = ws.agent()
        checked = ws.validate(rows, ws.suggest_mapping(rows, agent), agent)
        mine = ws.create_batch(checked, bk.BatchConfig(name="mine", start_at=ws.clock.now().replace(year=2999)))
        start("worker")
        eventually(lambda: (tmp_path / "out-0.txt").read_text())
        # It looks around every second.
        time.sleep(1.5)
        assert mine.record.runner == ws.engine.owner
    with workspace(demo, tmp_path) as ws:
        eventually(lambda: ws.batch(mine.id).record.runner_alive)
        assert ws.batch(mine.id).status == "pending"


def test_a_worker_says_once_what_it_cannot_run(start, demo, tmp_path) -> None:
    rows = bk.read_csv(csv(tmp_path / "rows.csv", 3))
    with bk.Workspace(bk.AsteroidTarget(demo.url, "another-key"), store=tmp_path / "runs.sqlite") as ws:
        checked = validate(rows, suggest_mapping(rows.columns, AGENT), AGENT)
        ws.target.profiles = ws.target.pools = _none  # the platform would refuse that key
        ws.create_batch(checked, bk.BatchConfig(name="theirs", start_at="2999-01-01T00:00Z"))
    start("worker")
    said = tmp_path / "out-0.txt"
    eventually(lambda: "not taken over" in said.read_text())
    time.sleep(2.5)
    assert said.read_text().count("not taken over") == 1


def test_a_worker_logs_for_programs_what_becomes_of_each_row(start, demo, tmp_path) -> None:
    rows = bk.read_csv(csv(tmp_path / "rows.csv", 6))
    with workspace(demo, tmp_path, "worker") as ws:
        agent = ws.agent()
        checked = ws.validate(rows, ws.suggest_mapping(rows, agent), agent)
        batch = ws.create_batch(checked, bk.BatchConfig(name="b", max_concurrent=3, batch_interval=0.5))
        worker = start("worker", "--log", "json")
        eventually(lambda: batch.status == "completed")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=60) == 0
    told = [json.loads(line) for line in (tmp_path / "out-0.txt").read_text().splitlines()]
    assert all(datetime.fromisoformat(each["at"]) and each["level"] == "info" for each in told)
    of_batch = [each for each in told if each.get("batch") == batch.id]
    assert [each["event"] for each in of_batch if each["event"] in ("acquired", "due", "released")] == [
        "acquired",
        "due",
        "due",
        "released",
    ]
    triggered = [each for each in of_batch if each["event"] == "triggered"]
    assert sorted(each["item"] for each in triggered) == list(range(6))
    assert all(0 <= each["late"] < 60 for each in triggered)
    assert any("taken over" in each["message"] for each in told if each["event"] == "worker")


async def _none() -> list[object]:
    return []


def test_a_backup_is_whole_while_a_batch_runs_and_overwrites_nothing(start, demo, tmp_path) -> None:
    rows = bk.read_csv(csv(tmp_path / "rows.csv", 400))
    with workspace(demo, tmp_path) as ws:
        agent = ws.agent()
        checked = ws.validate(rows, ws.suggest_mapping(rows, agent), agent)
        batch = ws.create_batch(checked, bk.BatchConfig(name="b", max_concurrent=4, batch_interval=0))
        assert start("backup", str(tmp_path / "copy.sqlite")).wait(timeout=60) == 0
        again = start("backup", str(tmp_path / "copy.sqlite"))
        assert again.wait(timeout=60) == 3
        assert "overwrites nothing" in (tmp_path / "out-1.txt").read_text()
        batch.join()
    assert (tmp_path / "copy.sqlite").stat().st_mode & 0o777 == 0o600
    with bk.Workspace(bk.AsteroidTarget(demo.url, demo.api_key), store=tmp_path / "copy.sqlite") as copy:
        progress = copy.batch(batch.id).progress
        items = copy.batch(batch.id).items()
        assert progress.total == len(items) == 400
        assert progress.triggered == (items["status"] == "triggered").sum()
    with sqlite3.connect(tmp_path / "copy.sqlite") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
