"""The workspace and its batches as a user meets them: in scripts, cells, functions, DataFrames, two processes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

import batchkit as bk
from batchkit.core.outcome import Held, Unclear
from batchkit.testing import ScriptedTarget

NOW = bk.BatchConfig(name="Now", batch_interval=0)


@pytest.fixture
def ws(tmp_path: Path) -> Iterator[bk.Workspace]:
    with bk.Workspace(ScriptedTarget(), store=tmp_path / "runs.sqlite") as workspace:
        yield workspace


def checked(ws: bk.Workspace, rows: int = 3) -> bk.Validation:
    table = bk.read_csv("\n".join(["value", *map(str, range(rows))]).encode())
    agent = ws.agent()
    return ws.validate(table, ws.suggest_mapping(table, agent), agent)


def test_waiting_in_a_running_loop_needs_no_patches(ws: bk.Workspace) -> None:
    async def cell() -> pd.DataFrame:
        batch = ws.create_batch(checked(ws), NOW)
        assert await batch.wait("finished") is batch
        return batch.results()

    results = asyncio.run(cell())
    assert results["outcome"].tolist() == ["success"] * 3
    assert results["result"].tolist() == [{"value": "0"}, {"value": "1"}, {"value": "2"}]


def test_interrupting_the_wait_does_not_stop_the_batch(ws: bk.Workspace) -> None:
    config = bk.BatchConfig(name="slow", max_concurrent=1, batch_interval=0.3)

    async def cell() -> bk.Batch:
        batch = ws.create_batch(checked(ws), config)
        waiting = asyncio.create_task(batch.wait())
        await asyncio.sleep(0.1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return batch

    batch = asyncio.run(cell())
    batch.join()
    assert batch.progress.triggered == 3


def test_a_cell_that_blocks_the_kernel_does_not_stop_the_schedule(ws: bk.Workspace) -> None:
    batch = ws.create_batch(checked(ws, 6), bk.BatchConfig(name="b", max_concurrent=2, batch_interval=0.3))
    end = time.monotonic() + 60
    while len(ws.target.triggered) < 6:
        assert time.monotonic() < end
    batch.join()
    assert batch.progress.triggered == 6


def test_a_blocking_call_from_the_engines_own_thread_is_refused(ws: bk.Workspace) -> None:
    async def inside() -> None:
        with pytest.raises(bk.EngineError, match="own thread"):
            ws.agents()

    ws.engine.call(inside())


def test_a_closed_workspace_says_so(ws: bk.Workspace) -> None:
    ws.close()
    with pytest.raises(bk.EngineError, match="closed"):
        ws.batches()
    ws.close()


def test_leaving_the_workspace_gives_the_batch_up_and_another_continues_it(tmp_path: Path) -> None:
    target = ScriptedTarget()
    with bk.Workspace(target, store=tmp_path / "s.sqlite") as ws:
        batch = ws.create_batch(checked(ws, 4), bk.BatchConfig(name="b", max_concurrent=2, batch_interval=600))
        while batch.progress.triggered < 2:
            time.sleep(0.01)
    with bk.Workspace(target, store=tmp_path / "s.sqlite") as again:
        [batch] = again.batches()
        assert batch.interrupted
        assert "take_over" in repr(batch)
        with pytest.raises(bk.BatchInterrupted, match="take_over"):
            batch.join()
        batch.take_over()
        batch.update(batch_interval=0)
        batch.join()
        assert not batch.interrupted
    assert sorted(item for _, item in target.triggered) == [0, 1, 2, 3]


def test_a_batch_of_another_target_is_not_run_here_and_the_target_is_named(tmp_path: Path) -> None:
    with bk.Workspace(ScriptedTarget(), store=tmp_path / "s.sqlite") as ws:
        batch = ws.create_batch(checked(ws), bk.BatchConfig(name="b", start_at="2999-01-01T00:00Z"))
    with bk.Workspace(bk.FunctionTarget(price), store=tmp_path / "s.sqlite") as other:
        with pytest.raises(bk.ConfigError, match="a scripted target"):
            other.batch(batch.id).take_over()
        with pytest.raises(bk.ConfigError, match="a scripted target"):
            other.batch(batch.id).join("finished")
        other.batch(batch.id).cancel()


def test_wait_raises_where_it_would_be_in_vain(tmp_path: Path) -> None:
    target = ScriptedTarget(answer=lambda *_: Held(code="402", message="payment required"))
    with bk.Workspace(target, store=tmp_path / "s.sqlite") as ws:
        batch = ws.create_batch(checked(ws), NOW)
        with pytest.raises(bk.BatchPaused, match="payment required"):
            batch.join()
        assert "payment required" in batch.reason
        target.answer = None
        batch.resume()
        batch.join()
        assert batch.progress.triggered == 3


def test_rows_in_doubt_that_cannot_be_looked_up_are_the_users_decision(tmp_path: Path) -> None:
    target = ScriptedTarget(answer=lambda _, n: Unclear(message="broke") if n == 0 else None, can_look_up=False)
    with bk.Workspace(target, store=tmp_path / "s.sqlite") as ws:
        batch = ws.create_batch(checked(ws), NOW)
        with pytest.raises(bk.BatchInDoubt, match="settle"):
            batch.join()
        in_doubt = batch.items(status="in_doubt")
        assert in_doubt["error"].tolist() == ["broke"]
        batch.settle(in_doubt["item"], "skip")
        batch.join()
        assert (batch.progress.triggered, batch.progress.cancelled) == (2, 1)


def price(article: str, amount: int, discount: float = 0.0) -> dict[str, object]:
    """The price of an order."""
    if amount > 90:
        raise ValueError(f"{amount} are too many")
    return {"article": article, "price": amount * 2.5 * (1 - discount)}


def test_a_python_function_runs_once_per_row(tmp_path: Path) -> None:
    with bk.Workspace(bk.FunctionTarget(price), store=tmp_path / "s.sqlite") as ws:
        agent = ws.agent()
        assert [(v.name, v.type_name, v.required) for v in agent.inputs] == [
            ("article", "string", True),
            ("amount", "integer", True),
            ("discount", "number", False),
        ]
        table = bk.read_csv(b"Article,Amount,Discount\n007,4,\nhat,2,0.5\ncoat,99,\n")
        batch = ws.create_batch(ws.validate(table, ws.suggest_mapping(table, agent), agent), NOW)
        batch.join("finished")
        results = batch.results()
        assert results["execution_status"].tolist() == ["completed", "completed", "failed"]
        assert results["result"].tolist()[:2] == [{"article": "007", "price": 10.0}, {"article": "hat", "price": 2.5}]
        assert "99 are too many" in results["error"][2]
        assert (batch.progress.executions.succeeded, batch.progress.executions.failed) == (2, 1)


@pytest.mark.parametrize(
    "index",
    [
        pd.Index(["x", "y", "z"], name="code"),
        pd.Index([30, 10, 20]),
        pd.date_range("2026-01-01", periods=3, tz="Europe/Berlin", name="day"),
        pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["group", "number"]),
    ],
    ids=["text", "numbers", "days", "levels"],
)
def test_a_dataframe_works_like_a_file_and_its_index_comes_back(ws: bk.Workspace, index: pd.Index) -> None:
    frame = pd.DataFrame({"value": ["1", None, "3"]}, index=index)
    before = frame.copy()
    agent = ws.agent()
    batch = ws.create_batch(ws.validate(frame, ws.suggest_mapping(frame, agent), agent), NOW)
    batch.join("finished")
    results = ws.batch(batch.id).results()
    pd.testing.assert_index_equal(results.index, index, exact="equiv", check_freq=False)
    assert results["value"].tolist() == ["1", "", "3"]
    pd.testing.assert_frame_equal(frame, before)


def test_dropped_rows_get_no_item_and_can_be_seen_in_their_place(tmp_path: Path) -> None:
    agent = bk.Agent(name="a", id="a", inputs=[bk.InputVariable("n", schema={"type": "integer"}, required=True)])
    with bk.Workspace(ScriptedTarget([agent]), store=tmp_path / "s.sqlite") as ws:
        table = bk.read_csv(b"n\n1\ntwo\n3\n")
        found = ws.validate(table, ws.suggest_mapping(table, ws.agent()), ws.agent(), invalid="drop")
        batch = ws.create_batch(found, NOW)
        batch.join("finished")
        assert (batch.progress.total, batch.progress.left_out) == (2, 1)
        assert batch.results()["n"].tolist() == ["1", "3"]
        everything = batch.results(dropped=True)
        assert everything["n"].tolist() == ["1", "two", "3"]
        assert everything["status"].tolist() == ["triggered", "left_out", "triggered"]
        assert "'two'" in everything["error"][1]


def test_result_columns_make_way_for_columns_of_the_file(ws: bk.Workspace) -> None:
    table = bk.read_csv(b"value,status,url\n1,mine,too\n")
    agent = ws.agent()
    batch = ws.create_batch(ws.validate(table, ws.suggest_mapping(table, agent), agent), NOW)
    batch.join("finished")
    [row] = batch.results().to_dict("records")
    assert (row["status"], row["url"], row["batchkit_status"]) == ("mine", "too", "triggered")


def test_the_version_to_run_must_have_the_inputs_the_rows_were_checked_against(tmp_path: Path) -> None:
    one, two = (bk.InputVariable("value"),), (bk.InputVariable("value"), bk.InputVariable("other", required=True))
    agent = bk.Agent(
        name="A",
        versions=[
            bk.WorkflowVersion(version=2, inputs=two),
            bk.WorkflowVersion(version=1, published=True, inputs=one),
        ],
    )
    with (
        bk.DemoPlatform(agents=[agent]) as demo,
        bk.Workspace(bk.AsteroidTarget(demo.url, demo.api_key), store=tmp_path / "s.sqlite") as ws,
    ):
        with pytest.raises(bk.ConfigError, match="other inputs"):
            ws.create_batch(checked(ws), bk.BatchConfig(name="b", version=2))
        with pytest.raises(bk.NotFoundError, match="version"):
            ws.create_batch(checked(ws), bk.BatchConfig(name="b", version=7))
        with pytest.raises(bk.NotFoundError, match="Clerk"):
            ws.create_batch(checked(ws), bk.BatchConfig(name="b", default_profile="Clerk"))
        assert ws.batches() == []


def test_only_half_a_configuration_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHKIT_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("BATCHKIT_API_KEY", raising=False)
    with pytest.raises(bk.ConfigError, match="BATCHKIT_API_KEY"):
        bk.Workspace()


def test_a_pause_from_another_process_holds(tmp_path: Path) -> None:
    target = ScriptedTarget()
    store = tmp_path / "s.sqlite"
    with bk.Workspace(target, store=store) as ws:
        batch = ws.create_batch(checked(ws, 1000), bk.BatchConfig(name="b", max_concurrent=1, batch_interval=0.1))
        code = f"""
            import batchkit as bk
            from batchkit.testing import ScriptedTarget
            with bk.Workspace(ScriptedTarget(), store={str(store)!r}) as ws:
                ws.batches()[0].pause()
        """
        subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
        # It looks around every second; a busy machine may take longer for it.
        began, sent = time.monotonic(), -1
        while sent != len(target.received):
            assert time.monotonic() - began < 10
            sent = len(target.received)
            time.sleep(0.7)
        assert sent < 1000
        assert batch.status == "paused"
        batch.resume()
        while len(target.received) == sent:
            time.sleep(0.01)
        batch.cancel()


def test_the_log_says_who_did_what_when(ws: bk.Workspace) -> None:
    batch = ws.create_batch(checked(ws), bk.BatchConfig(name="b", start_at=datetime.now(UTC) + timedelta(hours=1)))
    batch.cancel_items(1)
    batch.cancel()
    # The runner says soon after that all has finished.
    events = batch.events().query("kind != 'finished'")
    assert events["kind"].tolist() == ["created", "item_cancelled", "cancelled"]
    assert set(events["actor"]) == {ws.actor}
    assert batch.history(1)["message"].tolist() == ["Will not be triggered."]


def test_a_script_that_does_not_wait_is_told_what_it_left(tmp_path: Path) -> None:
    code = f"""
        import batchkit as bk
        from batchkit.testing import ScriptedTarget
        ws = bk.Workspace(ScriptedTarget(), store={str(tmp_path / "s.sqlite")!r})
        table = bk.read_csv(b"value\\n1\\n2\\n")
        agent = ws.agent()
        checked = ws.validate(table, ws.suggest_mapping(table, agent), agent)
        ws.create_batch(checked, bk.BatchConfig(name="Forgotten", max_concurrent=1, batch_interval=60))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert "'Forgotten'" in done.stderr
    assert "batch.join()" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_workspaces_on_one_store_in_one_process_and_a_third_outside(tmp_path: Path) -> None:
    """Closing a descriptor of the file by ourselves would drop the locks of the other workspace's connection."""
    store = tmp_path / "s.sqlite"
    outside = f"""
        import batchkit as bk
        from batchkit.testing import ScriptedTarget
        with bk.Workspace(ScriptedTarget(), store={str(store)!r}) as ws:
            for batch in ws.batches(status="running"):
                batch.cancel()
    """
    command = [sys.executable, "-c", textwrap.dedent(outside)]
    with bk.Workspace(ScriptedTarget(), store=store) as one, bk.Workspace(ScriptedTarget(), store=store) as two:
        one.batches()
        two.batches()
        subprocess.run(command, check=True)
        assert (tmp_path / "s.sqlite-wal").exists()
        batch = one.create_batch(checked(one, 2000), bk.BatchConfig(name="b", max_concurrent=1, batch_interval=0.05))
        subprocess.run(command, check=True)
        assert batch.status == "cancelled"
        assert two.batch(batch.id).status == "cancelled"
        while batch.progress.triggering:
            time.sleep(0.01)
        sent = batch.progress.triggered
        time.sleep(0.5)
        assert batch.progress.triggered == sent < 2000


def test_a_pending_batch_is_not_resumed_into_starting_early(ws: bk.Workspace) -> None:
    batch = ws.create_batch(checked(ws), bk.BatchConfig(name="b", start_at="2999-01-01T00:00Z"))
    with pytest.raises(bk.StateError, match="starts by itself at 2999-01-01"):
        batch.resume()
    with pytest.raises(bk.StateError, match="It can be cancelled or resumed"):
        batch.pause()
    batch.cancel()


@pytest.mark.parametrize(
    "call",
    [
        lambda ws, batch: batch.join("done"),
        lambda ws, batch: batch.settle(0, "perhaps"),
        lambda ws, batch: batch.cancel_items("12"),
        lambda ws, batch: batch.cancel_items([7.9]),
        lambda ws, batch: batch.cancel_items(True),
        lambda ws, batch: batch.cancel_items(None),
        lambda ws, batch: batch.items(status="foo"),
        lambda ws, batch: ws.batches(status="foo"),
        lambda ws, batch: batch.reschedule_items(0, datetime.max.replace(tzinfo=UTC)),
        lambda ws, batch: ws.validate(pd.DataFrame({"value": ["1"]}), bk.Mapping(("value",)), "Agent"),
        lambda ws, batch: ws.suggest_mapping(pd.DataFrame({"value": ["1"]}), "Agent"),
        lambda ws, batch: ws.create_batch(checked(ws), {"name": "x"}),
        lambda ws, batch: ws.create_batch(NOW, checked(ws)),
        lambda ws, batch: ws.agent(5),
        lambda ws, batch: ws.agent("Agent", "3"),
        lambda ws, batch: bk.Mapping({"value": bk.Input("value")}),
        lambda ws, batch: ws.create_batch(
            checked(ws),
            bk.BatchConfig(name="b", start_at="8990-01-01T00:00Z", batch_interval=31_536_000 * 9, max_concurrent=1),
        ),
    ],
)
def test_a_wrong_argument_is_told_in_a_sentence_and_changes_nothing(ws: bk.Workspace, call) -> None:
    batch = ws.create_batch(checked(ws), bk.BatchConfig(name="b", start_at="2999-01-01T00:00Z"))
    with pytest.raises((bk.ConfigError, bk.MappingError)) as caught:
        call(ws, batch)
    assert str(caught.value).endswith(".")
    assert [one.id for one in ws.batches()] == [batch.id]
    assert batch.progress.pending == 3


def test_items_are_chosen_by_number_by_series_and_by_frame(ws: bk.Workspace) -> None:
    batch = ws.create_batch(checked(ws, 6), bk.BatchConfig(name="b", start_at="2999-01-01T00:00Z"))
    items = batch.items()
    assert batch.cancel_items(items["item"].iloc[5]).done == (5,)
    assert batch.cancel_items(items["item"].iloc[:2]).done == (0, 1)
    assert batch.cancel_items(items.iloc[2:4]).done == (2, 3)


def test_objects_are_written_as_json(ws: bk.Workspace, tmp_path: Path) -> None:
    batch = ws.create_batch(checked(ws), NOW)
    batch.join("finished")
    bk.write_csv(batch.results(), tmp_path / "results.csv")
    written = pd.read_csv(tmp_path / "results.csv")
    assert [json.loads(text) for text in written["result"]] == batch.results()["result"].tolist()


def test_a_cluster_needs_a_postgresql_store(tmp_path: Path) -> None:
    with pytest.raises(bk.ConfigError, match=r"needs a store in PostgreSQL.*runs\.sqlite is a file"):
        bk.Workspace(ScriptedTarget(), store=tmp_path / "runs.sqlite", engine="cluster")


def test_a_cluster_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("batchkit.engine.") or name == "procrastinate"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "procrastinate", None)
    with pytest.raises(bk.ConfigError, match=r"needs Procrastinate.*pip install 'batchkit\[cluster\]'"):
        bk.Workspace(ScriptedTarget(), store="postgresql+psycopg://nobody@127.0.0.1:1/none", engine="cluster")
