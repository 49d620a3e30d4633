"""Running rows again, over HTTP: only what is to be sent is sent, and one frame tells how it went."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import batchkit as bk
from batchkit.core.execution import Execution, ExecutionStatus
from batchkit.core.outcome import Refused, Triggered, Unclear
from batchkit.testing import ScriptedTarget

FILER = bk.Agent(
    name="Permit filer",
    inputs=[
        bk.InputVariable("client", schema={"type": "string", "minLength": 2}, required=True),
        bk.InputVariable("storeys", schema={"type": "integer"}),
    ],
)
NOW = {"max_concurrent": 50, "batch_interval": 0}


@pytest.fixture
def demo() -> Iterator[bk.DemoPlatform]:
    with bk.DemoPlatform(agents=[FILER], duration=0.02, failure_share=0.4, profiles=["Clerk A"]) as platform:
        yield platform


@pytest.fixture
def ws(demo: bk.DemoPlatform, tmp_path: Path) -> Iterator[bk.Workspace]:
    target = bk.AsteroidTarget(url=demo.url, api_key=demo.api_key)
    target.poll_interval = 0.05
    with bk.Workspace(target, store=tmp_path / "runs.sqlite") as workspace:
        yield workspace


def made(ws: bk.Workspace, source: bytes | pd.DataFrame, *, invalid: str = "block", **config: object) -> bk.Batch:
    table = bk.read_csv(source)
    agent = ws.agent()
    checked = ws.validate(table, ws.suggest_mapping(table, agent), agent, invalid=invalid)  # type: ignore[arg-type]
    return ws.create_batch(checked, bk.BatchConfig(**({"name": "March permits"} | NOW | config)))  # type: ignore[arg-type]


def permits(count: int) -> bytes:
    return "\n".join(["client,storeys", *(f"Client {n},{n}" for n in range(count))]).encode()


def clients(demo: bk.DemoPlatform) -> Counter[str]:
    return Counter(each["inputs"]["client"] for each in demo.executions())


def test_failed_rows_with_corrected_inputs_give_one_frame_and_no_success_is_sent_again(
    demo: bk.DemoPlatform, ws: bk.Workspace
) -> None:
    batch = made(ws, permits(60)).join("finished")
    first = batch.results()
    failed = first[first["execution_status"] == "failed"]
    assert 5 < len(failed) < 55
    corrected = failed.assign(client=failed["client"] + " Ltd")
    again = batch.rerun(executions="failed", inputs=corrected).join("finished")
    assert again.progress.total == len(failed)
    assert (again.record.parent, again.record.origin, again.name) == (batch.id, batch.id, "March permits, again")
    assert again.record.version == batch.record.version
    assert again.record.pace == batch.record.pace
    assert again.results()["row"].tolist() == failed["row"].tolist()

    sent = clients(demo)
    assert sent == Counter([*first["client"], *corrected["client"]])

    merged = batch.results(merged=True)
    assert merged["row"].tolist() == list(range(2, 62))
    assert merged.equals(again.results(merged=True))
    by_row = merged.set_index("row")
    assert (by_row.loc[failed["row"], "client"].tolist()) == corrected["client"].tolist()
    assert (by_row.loc[failed["row"], "batches"] == f"{batch.id}, {again.id}").all()
    assert (by_row.loc[failed["row"], "attempts"] == 2).all()
    fine = by_row.drop(index=failed["row"])
    assert (fine["outcome"] == "success").all()
    assert (fine["batch"] == batch.id).all()
    assert fine["execution_id"].tolist() == first[first["outcome"] == "success"]["execution_id"].tolist()


def test_generations_and_branches_end_in_one_frame(demo: bk.DemoPlatform, ws: bk.Workspace) -> None:
    batch = made(ws, permits(40)).join("finished")
    newest, names = batch, [batch.name]
    for generation in range(20):
        merged = batch.results(merged=True)
        failed = merged[merged["execution_status"] == "failed"]
        if failed.empty:
            break
        # In turns from the first batch and from the last, each with half of what failed.
        parent = batch if generation % 2 else newest
        half = failed.head((len(failed) + 1) // 2)
        known = set(parent.results()["row"])
        half = half[half["row"].isin(known)] if generation else half
        if half.empty:
            parent, half = batch, failed.head(1)
        newest = parent.rerun(half, inputs=half.assign(client=half["client"] + f" v{generation}")).join("finished")
        names.append(newest.name)
    assert failed.empty
    merged = batch.results(merged=True)
    assert (merged["outcome"] == "success").all()
    assert len(merged) == 40
    assert names[:4] == [
        "March permits",
        "March permits, again",
        "March permits, again (2)",
        "March permits, again (3)",
    ]
    sent = clients(demo)
    assert max(sent.values()) == 1
    assert sum(sent.values()) == merged["attempts"].sum()
    assert set(merged["client"]) <= set(sent)


def test_rows_that_succeeded_are_refused_unless_forced(demo: bk.DemoPlatform, ws: bk.Workspace) -> None:
    batch = made(ws, permits(20)).join("finished")
    before = len(demo.executions())
    good = batch.results()["outcome"] == "success"
    with pytest.raises(bk.StateError, match=r"succeeded already.* force=True"):
        batch.rerun(good)
    with pytest.raises(bk.StateError, match="succeeded already"):
        batch.rerun(range(20))
    with pytest.raises(bk.StateError, match="succeeded already"):
        batch.rerun(inputs=batch.results())
    assert len(demo.executions()) == before
    assert len(ws.batches()) == 1
    forced = batch.rerun(good, force=True).join("finished")
    assert len(demo.executions()) == before + int(good.sum()) == before + forced.progress.total


def test_what_another_rerun_mended_is_not_sent_a_third_time(demo: bk.DemoPlatform, ws: bk.Workspace) -> None:
    batch = made(ws, permits(30)).join("finished")
    failed = batch.results().query("execution_status == 'failed'")
    batch.rerun(executions="failed", inputs=failed.assign(client=failed["client"] + " & Sons")).join("finished")
    left = batch.results(merged=True).query("execution_status == 'failed'")
    assert len(left) < len(failed)
    third = batch.rerun(executions="failed", inputs=left.assign(client=left["client"] + "!"))
    assert third.results()["row"].tolist() == left["row"].tolist()
    third.join("finished")


def test_dropped_rows_run_once_they_are_corrected(demo: bk.DemoPlatform, ws: bk.Workspace) -> None:
    batch = made(ws, b"client,storeys\nAda,1\nB,2\nCleo,x\nDan,4\n", invalid="drop").join("finished")
    left_out = batch.results(dropped=True).query("status == 'left_out'")
    assert left_out["row"].tolist() == [3, 4]
    with pytest.raises(bk.ValidationError, match="2 of 2 rows are invalid"):
        batch.rerun(dropped=True)
    assert len(ws.batches()) == 1
    again = batch.rerun(dropped=True, inputs=left_out.assign(client=["Bob", "Cleo"], storeys=["2", "3"]))
    again.join("finished")
    merged = batch.results(merged=True)
    assert merged["row"].tolist() == [2, 3, 4, 5]
    assert merged["client"].tolist() == ["Ada", "Bob", "Cleo", "Dan"]
    assert merged["attempts"].tolist() == [1, 1, 1, 1]
    assert merged["batch"].tolist() == [batch.id, again.id, again.id, batch.id]
    with pytest.raises(bk.StateError, match="is left out by now"):
        batch.rerun(dropped=True)


def test_a_corrected_file_is_joined_row_by_row(demo: bk.DemoPlatform, ws: bk.Workspace) -> None:
    batch = made(ws, permits(20)).join("finished")
    failed = set(batch.results().query("execution_status == 'failed'")["row"])
    file = bk.read_csv(permits(20).replace(b"Client", b"Customer"))
    again = batch.rerun(executions="failed", inputs=file)
    assert set(again.results()["row"]) == failed
    assert set(again.results()["client"].str[:8]) == {"Customer"}
    again.join("finished")


def test_a_saved_and_corrected_file_of_results_is_joined_by_its_rows(ws: bk.Workspace, tmp_path: Path) -> None:
    batch = made(ws, permits(20)).join("finished")
    batch.save_results(tmp_path / "results.csv")
    frame = pd.read_csv(tmp_path / "results.csv", dtype=str, keep_default_na=False)
    frame = frame[frame["execution_status"] == "failed"][::-1]
    frame["client"] = frame["client"] + " again"
    frame.to_csv(tmp_path / "corrected.csv", index=False)
    again = batch.rerun(inputs=bk.read_csv(tmp_path / "corrected.csv"))
    expected = dict(zip(frame["row"].astype(int), frame["client"], strict=True))
    assert dict(zip(again.results()["row"], again.results()["client"], strict=True)) == expected
    again.join("finished")


@pytest.mark.parametrize("names", [[None], ["number"], [None, "part"]])
def test_saved_results_of_a_dataframe_with_its_index_are_joined_by_their_rows(
    ws: bk.Workspace, tmp_path: Path, names: list[str | None]
) -> None:
    arrays = [range(100, 112), ["x"] * 12][: len(names)]
    index = pd.MultiIndex.from_arrays(arrays, names=names) if len(names) > 1 else pd.Index(arrays[0], name=names[0])
    frame = pd.DataFrame({"client": [f"Client {n}" for n in range(12)]}, index=index)
    batch = made(ws, frame).join("finished")
    batch.save_results(tmp_path / "saved.csv")
    saved = bk.read_csv(tmp_path / "saved.csv")
    again = batch.rerun(executions="failed", inputs=saved)
    failed = batch.results().query("execution_status == 'failed'")
    assert again.results()["row"].tolist() == failed["row"].tolist()


def test_a_dataframes_index_says_the_rows(ws: bk.Workspace) -> None:
    frame = pd.DataFrame({"client": [f"Client {n}" for n in range(20)]}, index=[f"P{n:02}" for n in range(20)])
    batch = made(ws, frame).join("finished")
    failed = batch.results().query("execution_status == 'failed'")
    again = batch.rerun(executions="failed", inputs=failed[["client"]] + " Inc")
    assert again.results().index.tolist() == failed.index.tolist()
    again.join("finished")
    merged = batch.results(merged=True)
    assert merged.index.tolist() == frame.index.tolist()
    assert merged.loc[failed.index, "client"].tolist() == (failed["client"] + " Inc").tolist()
    with pytest.raises(bk.ConfigError, match="'X', which is no row"):
        batch.rerun(inputs=pd.DataFrame({"client": ["Ada"]}, index=["X"]))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (pd.DataFrame({"row": [2], "clinet": ["Ada"]}), "column 'clinet'.* Did you mean 'client'"),
        (pd.DataFrame({"row": [99], "client": ["Ada"]}), "row 99, which the batch does not have"),
        (pd.DataFrame({"row": [2, 2], "client": ["Ada", "Bob"]}), "row 2 more than once"),
        (pd.DataFrame({"row": ["two"], "client": ["Ada"]}), "'two' in its column 'row'"),
        (pd.DataFrame({"client": ["Ada"]}), "no column 'row'"),
        ("x.csv", "inputs must be a DataFrame"),
    ],
)
def test_corrections_that_fit_no_row_are_refused_with_what_to_do(
    ws: bk.Workspace, inputs: pd.DataFrame, message: str
) -> None:
    batch = made(ws, permits(3)).join("finished")
    with pytest.raises(bk.ConfigError, match=message):
        batch.rerun(inputs=inputs)


def test_invalid_corrections_are_named_by_their_row_and_nothing_is_made(ws: bk.Workspace) -> None:
    batch = made(ws, permits(20)).join("finished")
    failed = batch.results().query("execution_status == 'failed'")
    with pytest.raises(bk.ValidationError, match=f"Row {failed['row'].iloc[0]}"):
        batch.rerun(executions="failed", inputs=failed.assign(storeys="many"))
    assert len(ws.batches()) == 1


def test_the_configuration_is_the_batchs_own_unless_told_otherwise(ws: bk.Workspace) -> None:
    batch = made(ws, permits(20), default_profile="Clerk A", max_in_flight=7).join("finished")
    again = batch.rerun(executions="failed", config={"max_concurrent": 3, "start_at": "2999-01-01T00:00Z"})
    record = again.record
    assert (record.pace.max_concurrent, record.pace.batch_interval) == (3, 0)
    assert record.default_profile == batch.record.default_profile
    assert record.flow == batch.record.flow
    assert record.status == "pending"
    with pytest.raises(bk.StateError, match=f"still to be sent by batch {again.id}"):
        batch.rerun(again.results())
    again.cancel()
    other = batch.rerun(executions="failed", config=bk.BatchConfig(name="By hand", batch_interval=0))
    assert (other.name, other.record.default_profile) == ("By hand", record.default_profile)
    other.join("finished")
    with pytest.raises(bk.ConfigError, match="not configured by"):
        batch.rerun(range(20), config={"pace": 3}, force=True)


def test_times_without_an_offset_are_read_in_the_zone_of_the_first_batch(tmp_path: Path) -> None:
    target = ScriptedTarget(answer=lambda request, _: Refused(code="400", message="no"))
    with bk.Workspace(target, store=tmp_path / "s.sqlite") as ws:
        table, agent = (
            bk.read_csv(b"value,when\na,2024-01-05T09:00\nb,2024-01-05T09:00\nc,2024-01-05T09:00Z\n"),
            ws.agent(),
        )
        mapping = ws.suggest_mapping(table, agent).set("when", bk.NotBefore())
        checked = ws.validate(table, mapping, agent)
        with pytest.raises(bk.ConfigError, match=r"Row 2 .* has no time zone\. Say which: .*timezone='Europe/Berlin'"):
            ws.create_batch(checked, bk.BatchConfig(name="Timed", batch_interval=0))
        assert not ws.batches()
        config = bk.BatchConfig(name="Timed", batch_interval=0, timezone="Europe/Berlin")
        batch = ws.create_batch(checked, config).join("finished")
        rows = batch.results()
        corrected = rows.assign(when=["2024-07-01T09:00", *rows["when"][1:]])
        again = batch.rerun(items="refused", inputs=corrected).join("finished")
        hours = [moment.strftime("%m-%d %H:%M") for moment in again.results()["not_before"]]
        assert hours == ["07-01 07:00", "01-05 08:00", "01-05 09:00"]
        third = again.rerun(items="refused", config=bk.BatchConfig(name="Whole", batch_interval=0)).join("finished")
        assert third.results()["not_before"].tolist() == again.results()["not_before"].tolist()
        moved = third.rerun(items="refused", config={"timezone": "Asia/Tokyo"}).join("finished")
        assert [moment.hour for moment in moved.results()["not_before"]] == [0, 0, 9]


def test_refused_and_cancelled_rows_run_again_and_doubtful_ones_are_settled_first(tmp_path: Path) -> None:
    answers = {0: Refused(code="400", message="no"), 1: Unclear(message="broke")}
    target = ScriptedTarget(answer=lambda request, _: answers.get(request.item), can_look_up=False)
    with bk.Workspace(target, store=tmp_path / "s.sqlite") as ws:
        batch = made(ws, b"value\n0\n1\n2\n")
        with pytest.raises(bk.BatchInDoubt):
            batch.join()
        with pytest.raises(bk.StateError, match="row 3 is in doubt"):
            batch.rerun([0, 1], force=True)
        answers.clear()
        again = batch.rerun(items="refused").join("finished")
        assert again.results()["row"].tolist() == [2]
        with pytest.raises(bk.StateError, match="is refused by now"):
            batch.rerun(items="refused")
        batch.settle(1, "skip")
        once_more = batch.rerun(items="cancelled").join("finished")
        assert once_more.results()["row"].tolist() == [3]
        merged = batch.join("finished").results(merged=True)
        assert merged["status"].tolist() == ["triggered"] * 3
        assert merged["attempts"].tolist() == [2, 1, 1]


def test_what_still_runs_is_not_sent_again(tmp_path: Path) -> None:
    running = Triggered(execution=Execution(id="e0", status=ExecutionStatus.RUNNING))
    target = ScriptedTarget(answer=lambda *_: running)
    with bk.Workspace(target, store=tmp_path / "s.sqlite") as ws:
        batch = made(ws, b"value\n0\n").join()
        with pytest.raises(bk.StateError, match="row 2 still runs"):
            batch.rerun(0)


def test_a_rerun_that_was_cancelled_leaves_the_rows_as_they_were(ws: bk.Workspace) -> None:
    batch = made(ws, permits(20)).join("finished")
    before = batch.results(merged=True)
    batch.rerun(executions="failed", config={"start_at": "2999-01-01T00:00Z"}).cancel()
    after = batch.results(merged=True)
    assert after.drop(columns="batches").equals(before.drop(columns="batches"))
    batch.rerun(executions="failed").join("finished")


def test_two_who_run_the_same_rows_again_at_once_send_them_once(demo: bk.DemoPlatform, ws: bk.Workspace) -> None:
    batch = made(ws, permits(40)).join("finished")
    failed = len(batch.results().query("execution_status == 'failed'"))
    before = len(demo.executions())
    ended: list[object] = []

    def run() -> None:
        try:
            ended.append(batch.rerun(executions="failed"))
        except bk.StateError as error:
            ended.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [one] = [each for each in ended if isinstance(each, bk.Batch)]
    one.join("finished")
    assert len(demo.executions()) == before + failed
    assert len(ws.batches()) == 2


def test_both_logs_name_the_other_batch(ws: bk.Workspace) -> None:
    batch = made(ws, permits(20)).join("finished")
    again = batch.rerun(executions="failed")
    assert f"again from batch {batch.id}" in again.events()["message"].iloc[0]
    assert again.id in batch.events()["message"].iloc[-1]
    again.join("finished")


def test_a_batch_whose_first_was_deleted_has_its_own_results_still(ws: bk.Workspace) -> None:
    batch = made(ws, permits(20)).join("finished")
    again = batch.rerun(executions="failed").join("finished")
    batch.delete()
    with pytest.raises(bk.StateError, match=f"Batch {batch.id}.* was deleted"):
        again.results(merged=True)
    assert len(again.results()) == again.progress.total


def test_nothing_chosen_and_unknown_words_are_told(ws: bk.Workspace) -> None:
    batch = made(ws, permits(3)).join("finished")
    for call, message in [
        (lambda: batch.rerun(), "Which rows"),
        (lambda: batch.rerun(executions="failure"), "executions must be of 'failed'"),
        (lambda: batch.rerun(items="failed"), "items must be of 'pending'"),
        (lambda: batch.rerun([True, False]), "The mask has 2 values and the batch 3 rows"),
        (lambda: batch.rerun(["a"]), "not 'a'"),
    ]:
        with pytest.raises(bk.ConfigError, match=message):
            call()
    with pytest.raises(bk.NotFoundError, match="no item 7"):
        batch.rerun(7)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"executions": 3}, "executions must be of 'failed', .* not 3"),
        ({"rows": 2.5}, "Rows are chosen by a mask, or by numbers .* not 2.5"),
        ({"rows": "failed"}, "Rows are chosen by a mask, or by numbers .* not 'failed'"),
        ({"rows": [True, None]}, r"The mask says neither True nor False for 1 of its rows, .*fillna\(False\)"),
        ({"rows": pd.DataFrame({"row": [2.0, float("nan")]})}, "column 'row' has nan, which is no row"),
        ({"rows": pd.DataFrame({"row": ["a"]})}, "column 'row' has 'a', which is no row"),
        ({"rows": [True]}, "The mask has 1 value and the batch 20 rows"),
        ({"executions": "failed", "config": [3]}, r"config must be a bk.BatchConfig, or a dict .* not \[3\]"),
    ],
)
def test_a_choice_of_a_kind_that_chooses_nothing_says_what_does(
    ws: bk.Workspace, choice: dict[str, Any], said: str
) -> None:
    batch = made(ws, permits(20)).join("finished")
    with pytest.raises(bk.ConfigError, match=said):
        batch.rerun(**choice)


def test_no_corrections_at_all_change_nothing(ws: bk.Workspace) -> None:
    batch = made(ws, permits(20)).join("finished")
    nothing = batch.results().head(0)
    with pytest.raises(bk.StateError, match="nothing to run again"):
        batch.rerun(inputs=nothing)
    again = batch.rerun(executions="failed", inputs=nothing)
    assert again.results()["client"].isin(batch.results()["client"]).all()
    again.join("finished")
