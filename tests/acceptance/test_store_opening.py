"""A store that cannot be opened, or only just: what is said, that nothing is sent, and that nothing in it is lost."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import batchkit as bk
from batchkit.io.clock import SystemClock
from batchkit.io.database import Database
from batchkit.io.sqlite import SqliteFile
from batchkit.io.store import SqlStore
from batchkit.testing import ScriptedTarget

NOW = bk.BatchConfig(name="Now", batch_interval=0)

#: root may write what nobody may write, so a root process gives that up for good before it starts anew
_AS_ANYBODY = """
import ctypes, os, sys
if os.geteuid() == 0:
    PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2
    for right in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        if ctypes.CDLL(None, use_errno=True).prctl(PR_CAPBSET_DROP, right, 0, 0, 0):
            sys.exit(f"root cannot give up its rights over files: {os.strerror(ctypes.get_errno())}")
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""

_START = """
import json, os, resource, sys, time
from pathlib import Path
import batchkit as bk
from batchkit.testing import ScriptedTarget

path = Path(sys.argv[1])
target = ScriptedTarget(total_timeout=0.2)

def opened():
    return bk.Workspace(target, store=path)

# Either the second group comes long after the test, or groups go on for as long as it takes.
def started(ws, rows=12, interval=600):
    table = bk.read_csv("\\n".join(["value", *map(str, range(rows))]).encode())
    agent = ws.agent()
    config = bk.BatchConfig(name="b", max_concurrent=4, batch_interval=interval)
    batch = ws.create_batch(ws.validate(table, ws.suggest_mapping(table, agent), agent), config)
    eventually(lambda: batch.progress.triggered >= 4)
    return batch

def eventually(met):
    deadline = time.monotonic() + 60
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.005)

def refusal(call):
    try:
        call()
    except bk.StoreError as error:
        return str(error)
"""


def run(path: Path, code: str) -> dict[str, object]:
    """What a script prints as JSON, run without root's right to write everything. It must print nothing else."""
    done = subprocess.run(
        [sys.executable, "-c", _AS_ANYBODY, "-c", _START + code, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return dict(json.loads(done.stdout))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    return folder / "runs.sqlite"


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_store_made_read_only_is_used_to_the_end_and_then_refused_until_it_is_writable_again(
    path: Path, what: str
) -> None:
    code = f"""
locked = path if {what!r} == "file" else path.parent
with opened() as ws:
    running = started(ws)
    before = locked.stat().st_mode
    locked.chmod(0o500)
    running.update(batch_interval=0)
    running.join()
    locked.chmod(before)
    left = started(ws)
locked.chmod(0o500)
sent = len(target.received)
with opened() as ws:
    messages = [refusal(ws.batches), refusal(lambda: started(ws))]
sent_since = len(target.received) - sent
locked.chmod(before)
with opened() as ws:
    again = ws.batch(left.id)
    again.take_over()
    again.update(batch_interval=0)
    again.join()
    done = [again.progress.triggered, ws.batch(running.id).progress.triggered]
print(json.dumps(dict(messages=messages, sent_since=sent_since, done=done, twice=len(target.triggered) - 24)))
"""
    found = run(path, code)
    assert (found["sent_since"], found["done"], found["twice"]) == (0, [12, 12], 0)
    for message in found["messages"]:
        assert str(path) in message
        assert "Check its permissions and its folder's, or name another store." in message


def test_a_disk_that_reports_errors_stops_the_batch_and_loses_nothing(path: Path) -> None:
    code = """
with opened() as ws:
    batch = started(ws, 200, 0.1)
    # the system now answers writes with an error, as a broken disk or a spent quota does
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    message = refusal(batch.pause)
    sent = len(target.received)
    time.sleep(0.6)
    sent_since = len(target.received) - sent
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    batch.update(batch_interval=0)
    batch.join()
    items = sorted(item for _, item in target.triggered)
    print(json.dumps(dict(message=message, sent=sent, sent_since=sent_since, items=items)))
"""
    found = run(path, code)
    assert found["sent"] < 200  # type: ignore[operator]
    assert (found["sent_since"], found["items"]) == (0, list(range(200)))
    assert str(path) in str(found["message"])
    assert "Check the disk and your quota on it" in str(found["message"])


def test_a_store_of_a_newer_version_is_refused_and_left_as_it_is(path: Path) -> None:
    with bk.Workspace(ScriptedTarget(), store=path) as ws:
        table = bk.read_csv(b"value\n1\n")
        agent = ws.agent()
        ws.create_batch(ws.validate(table, ws.suggest_mapping(table, agent), agent), NOW).join("finished")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    connection.close()
    before = path.read_bytes()
    with bk.Workspace(ScriptedTarget(), store=path) as ws, pytest.raises(bk.StoreError) as told:
        ws.batches()
    assert str(told.value).startswith(str(path))
    assert "written by a newer batchkit" in str(told.value)
    assert "Upgrade batchkit, or name another store." in str(told.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"These are my notes.\n" * 500, b"SQLite format 3\0" + os.urandom(8000)])
def test_what_is_no_store_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with bk.Workspace(ScriptedTarget(), store=path) as ws, pytest.raises(bk.StoreError) as told:
        ws.batches()
    assert str(path) in str(told.value)
    assert "ame another" in str(told.value)
    assert path.read_bytes() == content


def refused(path: Path, mounts: str) -> str:
    """Why a store at `path` is refused where the kernel's list of mounts says so; empty if it is not."""
    table = path.parents[1] / "mounts"
    table.write_text(mounts)
    store = SqlStore(path, SystemClock())
    store._database = Database(SqliteFile(path, mounts=table))
    with bk.Workspace(ScriptedTarget(), store=path) as ws:
        ws.store = ws._sql_store = store
        try:
            ws.batches()
        except bk.StoreError as error:
            return str(error)
    return ""


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "lustre", "fuse.sshfs", "fuse.gcsfuse"])
def test_a_store_on_a_network_file_system_is_refused_and_not_even_made(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "new" / "runs.sqlite"
    message = refused(path, f"/dev/sda / ext4 rw 0 0\nserver:/home {tmp_path} {kind} rw 0 0\n")
    assert f"is on a network file system ({kind}), where SQLite can lose data." in message
    assert str(path.parent) in message
    assert "Name a store on a local disk, for example with BATCHKIT_STORE." in message
    assert not path.parent.exists()


def test_a_link_to_a_network_file_system_is_seen_through(tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    (tmp_path / "here").mkdir()
    path = tmp_path / "here" / "runs.sqlite"
    path.symlink_to(tmp_path / "away" / "runs.sqlite")
    assert "(nfs4)" in refused(path, f"/dev/sda / ext4 rw 0 0\nserver:/ {tmp_path}/away nfs4 rw 0 0\n")


@pytest.mark.parametrize(
    "mounts",
    [
        "/dev/sda / ext4 rw 0 0\nserver:/ {near} nfs4 rw 0 0\n",
        "server:/ / nfs4 rw 0 0\n/dev/sda {folder} ext4 rw 0 0\n",
        "server:/ {folder} nfs4 rw 0 0\n/dev/sda {folder} ext4 rw 0 0\n",
        "server:/ {folder}/deeper nfs4 rw 0 0\n",
        "",
    ],
    ids=["a name that begins alike", "a disk within it", "a disk upon it", "one below", "nothing known"],
)
def test_a_local_disk_is_not_taken_for_a_network_file_system(tmp_path: Path, mounts: str) -> None:
    folder = tmp_path / "a b"
    near = str(folder)[:-1]
    text = mounts.format(folder=str(folder).replace(" ", "\\040"), near=near.replace(" ", "\\040"))
    assert refused(folder / "runs.sqlite", text) == ""


def test_a_mount_point_with_a_space_is_recognized(tmp_path: Path) -> None:
    folder = str(tmp_path / "a b")
    path = Path(folder) / "runs.sqlite"
    assert "(cifs)" in refused(path, f"//server/share {folder.replace(' ', chr(92) + '040')} cifs rw 0 0\n")


@pytest.mark.parametrize("name", ["a?b=c.sqlite", "50%.sqlite", "a#b.sqlite", "über alles.sqlite", "file:a.sqlite"])
def test_any_file_name_is_the_stores_own(path: Path, name: str) -> None:
    store = path.with_name(name)
    with bk.Workspace(ScriptedTarget(), store=store) as ws:
        assert ws.batches() == []
        assert sorted(each.name for each in path.parent.iterdir()) == [name, f"{name}-shm", f"{name}-wal"]
    assert [each.name for each in path.parent.iterdir()] == [name]


def test_the_store_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "made" / "runs.sqlite"
    before = os.umask(0)
    try:
        with bk.Workspace(ScriptedTarget(), store=path) as ws:
            ws.batches()
            modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(["runs.sqlite", "runs.sqlite-wal", "runs.sqlite-shm"], 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
