"""The store fails under a running batch: nothing more is sent, nothing recorded is lost, the user is told, and it goes
on once the store works again, here or in another process.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from batches import eventually
from sqlalchemy import Connection, text

import batchkit as bk
from batchkit.core.outcome import Outcome, Refused, Triggered
from batchkit.core.request import TriggerRequest
from batchkit.io.database import Database
from batchkit.io.sqlite import SqliteFile
from batchkit.testing import ScriptedTarget

Fault = Callable[[Path], AbstractContextManager[None]]
Capture = pytest.CaptureFixture[str]

ROWS = 400
PACE = bk.BatchConfig(name="Faults", max_concurrent=2, batch_interval=0.05)
#: of so many rows only few fit into SQLite's memory, and the others are read from the file
MANY = 2000
WIDE = "x" * 1000
#: seconds: the runner tries a failing store again in this time, and dozens of rows would leave if it did not care
WINDOW = 0.6
LEASE = 0.6


def opened(target: ScriptedTarget, path: Path) -> bk.Workspace:
    """A workspace that soon gives up waiting for a lock and for a failing store, and whose leases are short."""
    ws = bk.Workspace(target, store=path)
    ws._sql_store._database = Database(SqliteFile(path, busy_timeout=0.2))
    ws._sql_store._lease_seconds = LEASE
    ws.engine._store_patience = 0.6
    return ws


def started(ws: bk.Workspace) -> bk.Batch:
    return batch_of(ws, [str(row) for row in range(ROWS)], PACE)


def started_large(ws: bk.Workspace) -> bk.Batch:
    config = bk.BatchConfig(name="Large", max_concurrent=20, batch_interval=0.05)
    return batch_of(ws, [f"{row}{WIDE}" for row in range(MANY)], config)


def batch_of(ws: bk.Workspace, values: list[str], config: bk.BatchConfig) -> bk.Batch:
    table = bk.read_csv("\n".join(["value", *values]).encode())
    agent = ws.agent()
    return ws.create_batch(ws.validate(table, ws.suggest_mapping(table, agent), agent), config)


def joined(batch: bk.Batch, seconds: float = 60.0) -> None:
    """Wait as a cell does, but not for ever."""
    asyncio.run(asyncio.wait_for(batch.wait(), seconds))


def assert_the_rest_runs_and_all_ran_once(batch: bk.Batch, target: ScriptedTarget) -> None:
    batch.update(max_concurrent=20)
    joined(batch)
    assert sorted(item for _, item in target.triggered) == list(range(ROWS))
    assert (batch.progress.triggered, batch.progress.in_doubt) == (ROWS, 0)
    assert batch.items()["execution_id"].is_unique


# The faults: each strikes while inside the block, and is mended after it.


@contextmanager
def full(path: Path) -> Iterator[None]:
    """No byte is left on the store's disk."""
    filler = path.with_name("filler")
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process holds the store for longer than anybody waits."""
    code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN EXCLUSIVE'); print(); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdout.readline()
    try:
        yield
    finally:
        holder.communicate("\n")


@contextmanager
def deleted(path: Path) -> Iterator[None]:
    """The database is gone, and comes back."""
    kept = path.with_name("kept")
    path.rename(kept)
    try:
        yield
    finally:
        kept.rename(path)


@contextmanager
def replaced(path: Path) -> Iterator[None]:
    """Another store lies where the database was."""
    with bk.Workspace(ScriptedTarget(), store=path.with_name("other.sqlite")) as other:
        batch_of(other, ["a", "b", "c"], PACE).join()
    with deleted(path):
        path.with_name("other.sqlite").rename(path)
        yield


@contextmanager
def newer(path: Path) -> Iterator[None]:
    """A newer version of batchkit has brought the store to its form."""
    with sqlite3.connect(path, timeout=5) as connection:
        connection.execute("CREATE TABLE of_the_future (x)")
        connection.execute("UPDATE schema_version SET version = version + 1")
    connection.close()
    try:
        yield
    finally:
        with sqlite3.connect(path, timeout=5) as connection:
            connection.execute("DROP TABLE of_the_future")
            connection.execute("UPDATE schema_version SET version = version - 1")
        connection.close()


@contextmanager
def broken(path: Path) -> Iterator[None]:
    """Pages in the middle of the file hold anything."""
    chance = random.Random(7)
    with path.open("r+b") as file:
        pages = path.stat().st_size // 4096
        for page in range(pages // 10, pages):
            file.seek(page * 4096 + chance.randrange(3000))
            file.write(chance.randbytes(1000))
    yield


#: what a wait that cannot go on says is to be done
NEXT_STEP = {
    full: "Free some space",
    locked: "find who has the file open",
    newer: "Install that version here",
    broken: "Restore it from a backup",
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        assert not os.environ.get("CI"), f"a disk cannot be mounted: {mounted.stderr}"
        pytest.skip(f"a small disk is mounted for this, which takes root: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def path(request: pytest.FixtureRequest, fault: Fault, tmp_path: Path) -> Path:
    folder = request.getfixturevalue("disk") if fault is full else tmp_path
    return Path(folder) / "runs.sqlite"


@pytest.mark.parametrize("fault", [full, locked, deleted, replaced, newer])
def test_nothing_is_sent_and_it_goes_on_once_the_store_works_again(path: Path, fault: Fault, capfd: Capture) -> None:
    target = ScriptedTarget()
    with opened(target, path) as ws:
        batch = started(ws)
        eventually(lambda: batch.progress.triggered >= 4)
        with fault(path):
            struck = len(target.received)
            with pytest.raises(bk.StoreError) as told:
                batch.pause()
            assert str(path) in str(told.value)
            sent = len(target.received)
            # what was claimed before may have left
            assert sent - struck <= 2 * PACE.max_concurrent
            time.sleep(WINDOW)
            assert len(target.received) == sent < ROWS
            if fault in (full, locked, newer):
                assert batch.progress.triggered >= 4
        assert_the_rest_runs_and_all_ran_once(batch, target)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("fault", [full, deleted])
def test_what_could_not_be_recorded_before_the_end_is_found_by_whoever_takes_over(
    path: Path, fault: Fault, capfd: Capture
) -> None:
    target = ScriptedTarget(total_timeout=0.3, latency=0.3)
    with ExitStack() as until_mended:
        with opened(target, path) as ws:
            batch = started(ws)
            eventually(lambda: len(target.received) >= 6)
            recorded = batch.progress.triggered
            until_mended.enter_context(fault(path))
        assert len(target.triggered) > recorded
    with opened(target, path) as ws:
        [batch] = ws.batches()
        assert recorded <= batch.progress.triggered < ROWS
        time.sleep(LEASE)
        batch.take_over()
        assert_the_rest_runs_and_all_ran_once(batch, target)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("fault", [deleted, replaced])
def test_a_wait_ends_at_once_where_the_store_cannot_be_read(path: Path, fault: Fault) -> None:
    with opened(ScriptedTarget(), path) as ws:
        batch = started(ws)
        with fault(path), pytest.raises(bk.StoreError, match="Put the file back"):
            joined(batch)


@pytest.mark.parametrize("fault", [full, locked, newer, broken])
def test_a_wait_ends_where_the_store_cannot_be_written(path: Path, fault: Fault) -> None:
    with opened(ScriptedTarget(), path) as ws:
        batch = started_large(ws) if fault is broken else started(ws)
        eventually(lambda: batch.progress.triggered >= 4)
        with fault(path), pytest.raises(bk.StoreError, match=NEXT_STEP[fault]):
            joined(batch)


def test_damaged_pages_are_never_sent_and_the_message_shows_none_of_them(tmp_path: Path, capfd: Capture) -> None:
    path = tmp_path / "runs.sqlite"
    target = ScriptedTarget()
    with opened(target, path) as ws:
        batch = started_large(ws)
        eventually(lambda: batch.progress.triggered >= 4)
        with broken(path):
            time.sleep(WINDOW)
            sent = len(target.received)
            assert sent < MANY
            assert all(one.request.inputs["value"] == f"{one.request.item}{WIDE}" for one in target.received)
            with pytest.raises(bk.StoreError, match="damaged") as told:
                batch.results()
            assert len(str(told.value)) < 300
            time.sleep(WINDOW)
            assert len(target.received) == sent
    items = [item for _, item in target.triggered]
    assert len(items) == len(set(items))
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("endings", [["-wal"], ["-shm"], ["-wal", "-shm"]], ids=" ".join)
def test_a_log_deleted_under_a_batch_costs_nothing(
    endings: list[str], tmp_path: Path, capfd: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    path, copy = tmp_path / "runs.sqlite", tmp_path / "copy.sqlite"
    target = ScriptedTarget()
    with opened(target, path) as ws:
        batch = started(ws)
        eventually(lambda: batch.progress.triggered >= 4)
        batch.pause()
        recorded = batch.progress.triggered
        for ending in endings:
            path.with_name(path.name + ending).unlink()
        told = ""
        try:
            batch.results()
        except bk.StoreError as error:
            # unless the runner was faster
            told = str(error)
        assert "What was recorded is safe" in f"{told}{caplog.text}"
        # from now on even a killed process would leave everything behind
        shutil.copy(path, copy)
        with opened(target, copy) as other:
            assert other.batches()[0].progress.triggered == recorded
        batch.resume()
        assert_the_rest_runs_and_all_ran_once(batch, target)
    assert capfd.readouterr() == ("", "")


def test_what_lies_in_the_place_of_a_store_is_not_mixed_with_it(tmp_path: Path) -> None:
    path, other = tmp_path / "runs.sqlite", tmp_path / "other.sqlite"
    with opened(ScriptedTarget(), other) as ws:
        batch_of(ws, ["a", "b", "c"], PACE).join()
    with opened(ScriptedTarget(), path) as ws:
        batch = started(ws)
        eventually(lambda: batch.progress.triggered >= 4)
        other.replace(path)
        with pytest.raises(bk.StoreError, match="replaced"):
            joined(batch)
        with opened(ScriptedTarget(), path) as later:
            assert [one.progress.total for one in later.batches()] == [3]
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_what_was_written_into_a_file_deleted_meanwhile_is_not_said_to_be_recorded(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"

    def work(connection: Connection) -> None:
        connection.execute(text("INSERT INTO owned_mapping VALUES ('', 'a', 'b', '{}', 0)"))
        path.rename(tmp_path / "kept")

    async def write() -> None:
        database = Database(SqliteFile(path))
        try:
            await database.write(work)
        finally:
            database.shutdown()

    with pytest.raises(bk.StoreError, match="deleted or replaced"):
        asyncio.run(write())


class Disk(sqlite3.Connection):
    """A connection whose commits reach the disk, and then report that they did not, while told so."""

    lying = False
    opened = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._changes = 0
        Disk.opened += 1

    def commit(self) -> None:
        wrote, self._changes = self.total_changes > self._changes, self.total_changes
        super().commit()
        if Disk.lying and wrote:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error


def test_a_commit_that_failed_and_yet_happened_is_seen_after_opening_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.dbapi2.connect
    monkeypatch.setattr(sqlite3.dbapi2, "connect", lambda *a, **k: connect(*a, **k, factory=Disk))
    target = ScriptedTarget()
    with opened(target, tmp_path / "runs.sqlite") as ws:
        batch = started(ws)
        eventually(lambda: batch.progress.triggered >= 4)
        before = Disk.opened
        monkeypatch.setattr(Disk, "lying", True)
        with pytest.raises(bk.StoreError, match="Check the disk"):
            batch.pause()
        assert batch.status == "paused"
        assert Disk.opened > before
        time.sleep(WINDOW)
        sent = len(target.received)
        time.sleep(WINDOW)
        assert len(target.received) == sent < ROWS
        monkeypatch.setattr(Disk, "lying", False)
        batch.resume()
        assert_the_rest_runs_and_all_ran_once(batch, target)


def test_half_a_character_from_a_server_is_recorded_as_one_that_is_missing(tmp_path: Path) -> None:
    half = "broken \ud83d"
    target = ScriptedTarget()

    def answer(request: TriggerRequest, number: int) -> Outcome:
        if number == 0:
            return Refused(code="400", message=half)
        execution = target.accept(request)
        return Triggered(execution=replace(execution, result={"said": half}, error=half, profile_name=half))

    target.answer = answer
    with opened(target, tmp_path / "runs.sqlite") as ws:
        batch = batch_of(ws, ["a", "b"], PACE)
        joined(batch)
        results = batch.results()
        assert results["error"].tolist() == ["broken \ufffd"] * 2
        assert results["result"][1] == {"said": "broken \ufffd"}
