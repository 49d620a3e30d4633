"""The demo platform that processes share: one serves, the others take over, nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from batchkit.errors import StoreError, UnreachableError
from batchkit.targets.demo import SharedDemo, shared
from batchkit.targets.demo.lock import FileLock

# a process that shares the platform, says where it is and whether it serves, and stays until its input closes
SHARER = """
import sys
from pathlib import Path
from batchkit.targets.demo import SharedDemo

with SharedDemo(Path(sys.argv[1])) as demo:
    print(demo.url, demo.api_key, demo.serving, flush=True)
    sys.stdin.read()
"""

Sharer = subprocess.Popen[str]


@contextmanager
def sharers(folder: Path, count: int = 1) -> Iterator[list[Sharer]]:
    """Processes started at once, none of which has said anything yet."""
    with ExitStack() as stack:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", SHARER, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(count)
        ]
        for process in processes:
            stack.callback(process.communicate)
        yield processes


def told(process: Sharer) -> tuple[str, str, bool]:
    """(url, key, whether it serves)."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.stderr.read() if process.stderr is not None else ""
    url, key, serving = line.split()
    return url, key, serving == "True"


def execute(url: str, key: str) -> str:
    with httpx.Client(base_url=f"{url}/agents/v2", headers={"X-Api-Key": key}, trust_env=False) as client:
        agent = client.get("/agents", params={"searchName": "Address"}).json()["items"][0]["id"]
        inputs = {"street": "A 1", "postcode": "12345", "city": "B"}
        answer = client.post(f"/agents/{agent}/execute", json={"inputs": inputs})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["executionId"])


def exists(url: str, key: str, execution_id: str) -> bool:
    answer = httpx.get(f"{url}/agents/v2/executions/{execution_id}", headers={"X-Api-Key": key}, trust_env=False)
    return answer.status_code == 200


def wait_until_served(demo: SharedDemo) -> None:
    deadline = time.monotonic() + 60
    while not demo.serving:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_first_serves_and_the_second_uses_it(tmp_path: Path) -> None:
    with SharedDemo(tmp_path / "data") as first, SharedDemo(tmp_path / "data") as second:
        assert (first.serving, second.serving) == (True, False)
        assert (first.url, first.api_key) == (second.url, second.api_key)
        assert first.api_key not in repr(first) + repr(second)
        assert exists(second.url, second.api_key, execute(first.url, first.api_key))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_the_files_are_for_their_owner_only(tmp_path: Path) -> None:
    with SharedDemo(tmp_path / "data"):
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
        assert {"demo-platform.json", "demo-platform.lock", "demo-platform.sqlite"} <= modes.keys()
        assert modes == dict.fromkeys(modes, 0o600)
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_who_stands_by_takes_over_at_the_same_address_with_key_and_executions(tmp_path: Path) -> None:
    first = SharedDemo(tmp_path)
    with SharedDemo(tmp_path) as second:
        execution_id = execute(first.url, first.api_key)
        before = (first.url, first.api_key)
        first.close()
        wait_until_served(second)
        assert (second.url, second.api_key) == before
        assert exists(*before, execution_id)


def test_after_all_have_closed_the_next_one_goes_on(tmp_path: Path) -> None:
    with SharedDemo(tmp_path) as demo:
        before = (demo.url, demo.api_key)
        execution_id = execute(*before)
    with SharedDemo(tmp_path) as demo:
        assert (demo.url, demo.api_key) == before
        assert exists(*before, execution_id)


def test_a_taken_port_is_replaced(tmp_path: Path) -> None:
    with SharedDemo(tmp_path) as demo:
        url, key = demo.url, demo.api_key
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", int(url.rsplit(":", 1)[1])))
        squatter.listen()
        with SharedDemo(tmp_path) as demo:
            assert demo.serving
            assert demo.url != url
            assert demo.api_key == key


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"port": "80", "api_key": "x"}',
        b'{"port": 0, "api_key": "x"}',
        b'{"port": 99999, "api_key": "x"}',
        b'{"port": 1, "api_key": null}',
        b"\xff\xfe",
    ],
)
def test_a_spoiled_address_file_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "demo-platform.json").write_bytes(content)
    with SharedDemo(tmp_path) as demo:
        assert demo.serving
        written = json.loads((tmp_path / "demo-platform.json").read_text())
        assert demo.url.endswith(f":{written['port']}")
        assert written["api_key"] == demo.api_key


def test_an_address_where_something_else_answers_is_not_believed_and_not_told_the_key(tmp_path: Path) -> None:
    with SharedDemo(tmp_path) as other:
        # another demo platform, with another key
        folder = tmp_path / "mine"
        folder.mkdir()
        port = int(other.url.rsplit(":", 1)[1])
        (folder / "demo-platform.json").write_text(json.dumps({"port": port, "api_key": "mine"}))
        with SharedDemo(folder) as demo:
            assert demo.serving
            assert demo.url != other.url


def test_an_address_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "_ANSWER_TIMEOUT", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = {"port": silent.getsockname()[1], "api_key": "x"}
        (tmp_path / "demo-platform.json").write_text(json.dumps(address))
        with SharedDemo(tmp_path) as demo:
            assert demo.serving


def test_a_holder_that_does_not_answer_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "_PATIENCE", 0.2)
    lock = FileLock(tmp_path / "demo-platform.lock")
    assert lock.acquire()
    with pytest.raises(UnreachableError, match="does not answer"):
        SharedDemo(tmp_path)
    lock.release()
    with SharedDemo(tmp_path) as demo:
        assert demo.serving


def test_an_unusable_state_is_reported_and_the_lock_let_go(tmp_path: Path) -> None:
    state = tmp_path / "demo-platform.sqlite"
    state.write_bytes(b"not a database, although it is long enough to be looked at" * 20)
    with pytest.raises(StoreError, match=r"demo-platform\.sqlite"):
        SharedDemo(tmp_path)
    state.unlink()
    with SharedDemo(tmp_path) as demo:
        assert demo.serving


@pytest.mark.parametrize("obstacle", ["data", "data/demo-platform.lock"])
def test_a_folder_that_cannot_be_used_is_reported(tmp_path: Path, obstacle: str) -> None:
    if obstacle == "data":
        (tmp_path / obstacle).write_text("a file where the folder should be")
    else:
        (tmp_path / obstacle).mkdir(parents=True)
    with pytest.raises(StoreError, match="data folder"):
        SharedDemo(tmp_path / "data")


def test_processes_started_at_once_agree_on_one_server(tmp_path: Path) -> None:
    with sharers(tmp_path, 4) as processes:
        answers = [told(process) for process in processes]
        assert len({(url, key) for url, key, _ in answers}) == 1
        assert [serving for _, _, serving in answers].count(True) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill -9")
def test_after_a_kill_another_process_serves_and_nothing_is_lost(tmp_path: Path) -> None:
    with sharers(tmp_path) as (server,):
        url, key, serving = told(server)
        assert serving
        with SharedDemo(tmp_path) as demo:
            assert not demo.serving
            execution_id = execute(url, key)
            os.kill(server.pid, signal.SIGKILL)
            server.wait()
            wait_until_served(demo)
            assert (demo.url, demo.api_key) == (url, key)
            assert exists(url, key, execution_id)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill -9")
def test_ensure_serves_at_once_what_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "_BETWEEN_WATCHES", 3600.0)
    with sharers(tmp_path) as (server,):
        url, key, _ = told(server)
        with SharedDemo(tmp_path) as demo:
            os.kill(server.pid, signal.SIGKILL)
            server.wait()
            demo.ensure()
            assert demo.serving
            assert (demo.url, demo.api_key) == (url, key)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_holds_neither_lock_nor_port(tmp_path: Path) -> None:
    # forked in a process of its own, not in the one that runs the tests
    parent = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from batchkit.targets.demo import SharedDemo\n"
        "demo = SharedDemo(Path(sys.argv[1]))\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    time.sleep(60)\n"
        "    os._exit(0)\n"
        "print(demo.url, demo.api_key, child, flush=True)\n"
        "os._exit(0)\n"
    )
    done = subprocess.Popen([sys.executable, "-W", "ignore", "-c", parent, str(tmp_path)], stdout=subprocess.PIPE)
    with done:
        assert done.stdout is not None
        url, key, child = done.stdout.readline().decode().split()
        done.wait()
        try:
            with SharedDemo(tmp_path) as demo:
                assert demo.serving
                assert (demo.url, demo.api_key) == (url, key)
        finally:
            os.kill(int(child), signal.SIGKILL)
