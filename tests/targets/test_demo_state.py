"""What of the demo platform outlives its process."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from batchkit.core.agent import Agent
from batchkit.core.execution import ExecutionOutcome, ExecutionStatus
from batchkit.errors import StoreError
from batchkit.targets.demo import DemoPlatform
from batchkit.targets.demo.executions import Plan
from batchkit.targets.demo.listing import ListQuery
from batchkit.targets.demo.state import NewExecution, State

AGENT = Agent(name="Filer", id="filer")


def execute(url: str, key: str, item: int = 0) -> str:
    answer = httpx.post(
        f"{url}/agents/v2/agents/filer/execute",
        headers={"X-Api-Key": key},
        json={"metadata": {"item": str(item)}},
        trust_env=False,
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["executionId"])


def test_executions_and_key_are_kept_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "demo.sqlite"
    with DemoPlatform(agents=[AGENT], state=path) as demo:
        key = demo.api_key
        execution_id = execute(demo.url, key)
    with DemoPlatform(agents=[AGENT], state=str(path)) as again:
        assert again.api_key == key
        assert [execution["id"] for execution in again.executions()] == [execution_id]
        execute(again.url, key)
        assert len(again.executions()) == 2


def test_executions_move_on_while_nobody_serves(tmp_path: Path) -> None:
    path = tmp_path / "demo.sqlite"
    with DemoPlatform(agents=[AGENT], state=path, duration=0.05, failure_share=0) as demo:
        execute(demo.url, demo.api_key)
    ended = False
    while not ended:
        with DemoPlatform(agents=[AGENT], state=path) as again:
            ended = again.executions()[0]["status"] == "completed"


def test_the_past_does_not_change_with_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "demo.sqlite"
    with DemoPlatform(agents=[AGENT], state=path, duration=0, failure_share=0) as demo:
        execute(demo.url, demo.api_key)
        before = demo.executions()
    with DemoPlatform(state=path, failure_share=1, duration=60, seed=9) as other:
        assert other.executions() == before


def test_a_given_key_is_used_and_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "demo.sqlite"
    with DemoPlatform(agents=[AGENT], state=path, api_key="given") as demo:
        assert demo.api_key == "given"
        execute(demo.url, "given")
    with DemoPlatform(agents=[AGENT], state=path) as again:
        assert again.api_key != "given"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_the_files_are_for_their_owner_only(tmp_path: Path) -> None:
    with DemoPlatform(agents=[AGENT], state=tmp_path / "demo.sqlite") as demo:
        execute(demo.url, demo.api_key)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(modes, 0o600)
    assert "demo.sqlite-wal" in modes


def test_a_second_platform_on_one_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "demo.sqlite"
    with DemoPlatform(state=path), pytest.raises(StoreError, match="another demo platform"):
        DemoPlatform(state=path)


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be looked at" * 20, None])
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "demo.sqlite"
    if content is None:
        path = tmp_path / "no such folder" / "demo.sqlite"
    else:
        path.write_bytes(content)
    with pytest.raises(StoreError, match=r"demo\.sqlite"):
        DemoPlatform(state=path)


def test_a_file_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "demo.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="version 99"):
        DemoPlatform(state=path)


KILLED = """
import sys
from batchkit.core.agent import Agent
from batchkit.targets.demo import serve_forever

def tell(platform):
    print(platform.url, platform.api_key, flush=True)

serve_forever(ready=tell, state=sys.argv[1], agents=[Agent(name="Filer", id="filer")])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill -9")
def test_what_was_answered_with_202_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "demo.sqlite"
    accepted: list[str] = []
    for round_number in range(3):
        with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            url, key = process.stdout.readline().split()
            accepted += [execute(url, key, number) for number in range(20)]
            os.kill(process.pid, signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        with DemoPlatform(agents=[AGENT], state=path) as again:
            assert again.api_key == key
            assert [execution["id"] for execution in again.executions()] == accepted, round_number


def test_a_list_by_metadata_is_looked_up_by_its_rarest_pair() -> None:
    state = State(None)
    plan = Plan(
        starting_at=0,
        running_at=1,
        attention_at=None,
        attention_until=None,
        terminal_at=2,
        attention=None,
        final=ExecutionStatus.COMPLETED,
        outcome=ExecutionOutcome.SUCCESS,
    )
    with state.transaction():
        for number in range(3000):
            state.add(
                NewExecution(
                    id=str(number),
                    agent_id="filer",
                    agent_name="Filer",
                    version_id="v",
                    version=1,
                    pool_id=None,
                    profile_id=None,
                    profile_name=None,
                    inputs="{}",
                    metadata={"batch": "b", "attempt": "1", "item": str(number)},
                    metadata_text="{}",
                    options="{}",
                    draw=number,
                    created_at=number,
                    plan=plan,
                )
            )
    steps = 0

    def count_step() -> int:
        nonlocal steps
        steps += 1
        return 0

    state._connection.set_progress_handler(count_step, 100)
    rows, total = state.executions(ListQuery(metadata=[("batch", "b"), ("attempt", "1"), ("item", "2718")]), 10)
    assert ([row["id"] for row in rows], total) == (["2718"], 1)
    # some 50,000 instructions would be spent on looking at the whole batch
    assert steps < 300
    state.close()
