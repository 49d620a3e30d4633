"""Pools of batchkit's own, over HTTP: no profile serves more executions at once than it may, by the server's count."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from batches import eventually, most_at_once

import batchkit as bk
from batchkit.core.execution import Execution, ExecutionStatus
from batchkit.core.outcome import Triggered
from batchkit.core.profile import AgentProfile
from batchkit.testing import ScriptedTarget

FILER = bk.Agent(name="Filer", inputs=[bk.InputVariable("client", schema={"type": "string"}, required=True)])
CLERKS = ["Clerk A", "Clerk B", "Clerk C"]


@pytest.fixture
def demo() -> Iterator[bk.DemoPlatform]:
    with bk.DemoPlatform(
        agents=[FILER], profiles=[*CLERKS, "Chief"], duration=(0.05, 0.2), failure_share=0.2
    ) as platform:
        yield platform


def opened(demo: bk.DemoPlatform, store: Path) -> bk.Workspace:
    target = bk.AsteroidTarget(url=demo.url, api_key=demo.api_key)
    target.poll_interval = 0.05
    return bk.Workspace(target, store=store)


def made(ws: bk.Workspace, rows: list[str], **config: object) -> bk.Batch:
    table = bk.read_csv("\n".join(["client,clerk", *rows]).encode())
    agent = ws.agent()
    mapping = ws.suggest_mapping(table, agent).set("clerk", bk.ProfileName())
    chosen = {"name": "b", "max_concurrent": 20, "batch_interval": 0} | config
    return ws.create_batch(ws.validate(table, mapping, agent), bk.BatchConfig(**chosen))  # type: ignore[arg-type]


def order(demo: bk.DemoPlatform) -> list[str]:
    return [each["agentProfileName"] for each in sorted(demo.executions(), key=lambda each: each["createdAt"])]


def test_a_profile_never_serves_two_executions_over_all_batches_of_the_store(
    demo: bk.DemoPlatform, tmp_path: Path
) -> None:
    pool = bk.ProfilePool("Clerks", members=CLERKS)
    store = tmp_path / "s.sqlite"
    with opened(demo, store) as one, opened(demo, store) as other:
        # Runs all the time, so that its pool has a say all the time.
        keeper = made(one, ["0,", "1,"], default_profile=pool, max_concurrent=1, batch_interval=3600)
        batches = [
            made(one, [f"{n}," for n in range(12)], default_profile=pool),
            made(other, [f"{n},{'Clerk A' if n % 3 == 0 else ''}" for n in range(12)], default_profile=pool),
            made(one, [f"{n},Clerk B" for n in range(6)]),
            made(other, [f"{n}," for n in range(4)], default_profile="Chief"),
        ]
        for batch in batches:
            batch.join("finished")
        assert all(batch.progress.triggered == batch.progress.total for batch in batches)
        named = batches[1].results()
        assert (named.query("clerk == 'Clerk A'")["profile"] == "Clerk A").all()
        assert set(batches[2].results()["profile"]) == {"Clerk B"}
        keeper.cancel()
    assert len(demo.executions()) == 35
    most = most_at_once(demo, "agentProfileName")
    assert {name: most[name] for name in CLERKS} == dict.fromkeys(CLERKS, 1)


def test_the_pool_is_used_to_the_full(demo: bk.DemoPlatform, tmp_path: Path) -> None:
    pool = bk.ProfilePool("Clerks", members=CLERKS, concurrent_use=True, limit_per_profile=2)
    with opened(demo, tmp_path / "s.sqlite") as ws:
        made(ws, [f"{n}," for n in range(30)], default_profile=pool).join("finished")
    assert most_at_once(demo, "agentProfileName") == dict.fromkeys(CLERKS, 2)


@pytest.mark.parametrize("strategy", ["round_robin", "least_recently_used"])
def test_the_members_take_turns_in_their_order(demo: bk.DemoPlatform, tmp_path: Path, strategy: str) -> None:
    pool = bk.ProfilePool("Clerks", members=CLERKS, strategy=bk.SelectionStrategy(strategy), concurrent_use=True)
    with opened(demo, tmp_path / "s.sqlite") as ws:
        batch = made(ws, [f"{n}," for n in range(7)], default_profile=pool, max_concurrent=1).join("finished")
        assert batch.results()["profile"].tolist() == (CLERKS * 3)[:7]


def test_a_row_without_a_free_profile_says_so_and_stays_pending(tmp_path: Path) -> None:
    running = Triggered(execution=Execution(id="e", status=ExecutionStatus.RUNNING))
    target = ScriptedTarget(answer=lambda *_: running, profiles=[AgentProfile(name=name, id=name) for name in CLERKS])
    pool = bk.ProfilePool("Clerks", members=CLERKS[:2])
    store = tmp_path / "s.sqlite"
    with bk.Workspace(target, store=store) as ws:
        table = bk.read_csv(b"value,clerk\n0,\n1,\n2,\n3,Clerk C\n")
        mapping = ws.suggest_mapping(table, ws.agent()).set("clerk", bk.ProfileName())
        config = bk.BatchConfig(name="b", batch_interval=0, default_profile=pool)
        batch = ws.create_batch(ws.validate(table, mapping, ws.agent()), config)
        eventually(lambda: batch.reason)
        why = "It waits until a profile of pool 'Clerks' is free."
        assert batch.reason == why
        items = batch.items()
        assert items["status"].tolist() == ["triggered", "triggered", "pending", "triggered"]
        assert items["error"].tolist()[2] == why
        said = batch.explain(2)
        assert (said.hold, said.sentence) == ("profile", f"It is due. {why}")
        time.sleep(0.3)
    # Which profiles are taken is in the store: another process does not give them out again.
    with bk.Workspace(target, store=store) as again:
        batch = again.batch(batch.id)
        batch.take_over()
        time.sleep(0.7)
        assert batch.progress.pending == 1
        batch.cancel()


def test_rows_run_again_use_the_pool_again(demo: bk.DemoPlatform, tmp_path: Path) -> None:
    pool = bk.ProfilePool("Clerks", members=CLERKS, strategy=bk.SelectionStrategy.ROUND_ROBIN)
    with opened(demo, tmp_path / "s.sqlite") as ws:
        batch = made(ws, [f"{n}," for n in range(20)], default_profile=pool).join("finished")
        again = batch.rerun(executions="failed").join("finished")
        assert again.record.pool == batch.record.pool
        assert set(again.results()["profile"]) <= set(CLERKS)
    assert max(most_at_once(demo, "agentProfileName").values()) == 1


def test_a_pool_that_cannot_be_used_is_refused_with_why(demo: bk.DemoPlatform, tmp_path: Path) -> None:
    with opened(demo, tmp_path / "s.sqlite") as ws:
        with pytest.raises(bk.NotFoundError, match=r"'Clark A'.*Did you mean 'Clerk A'"):
            made(ws, ["0,"], default_profile=bk.ProfilePool("Clerks", members=["Clark A"]))
        with pytest.raises(bk.ConfigError, match="has a profile or pool 'Chief' already"):
            made(ws, ["0,"], default_profile=bk.ProfilePool("Chief", members=CLERKS))
        assert ws.batches() == []
