"""What `batch.results()` looks like: columns, order and types, whole, in part and empty, and as files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import batchkit as bk
from batchkit.core.execution import Execution, ExecutionOutcome, ExecutionStatus
from batchkit.core.outcome import Outcome, Triggered
from batchkit.core.request import TriggerRequest
from batchkit.core.results import RESULT_COLUMNS
from batchkit.testing import ScriptedTarget

NOW = bk.BatchConfig(name="Now", batch_interval=0)
LATER = bk.BatchConfig(name="Later", start_at="2999-01-01T00:00Z")
VALUES: list[object] = [
    {"fee": 95, "office": {"city": "Köln"}, "tags": [1]},
    {"fee": 110, "filed": True},
    None,
    "plain",
]


def answer(request: TriggerRequest, _attempt: int) -> Outcome:
    value = VALUES[request.item % len(VALUES)]
    status = ExecutionStatus.FAILED if value is None else ExecutionStatus.COMPLETED
    return Triggered(
        execution=Execution(
            id=f"e{request.item}",
            status=status,
            outcome=None if value is None else ExecutionOutcome.SUCCESS,
            result=value,
            error="broke" if value is None else "",
            url="https://example.com/e",
        )
    )


@pytest.fixture
def ws(tmp_path: Path) -> Iterator[bk.Workspace]:
    with bk.Workspace(ScriptedTarget(answer=answer), store=tmp_path / "runs.sqlite") as workspace:
        yield workspace


def made(ws: bk.Workspace, csv: bytes | pd.DataFrame, config: bk.BatchConfig = NOW, invalid: str = "block") -> bk.Batch:
    table, agent = bk.read_csv(csv), ws.agent()
    mapping = ws.suggest_mapping(table, agent)
    checked = ws.validate(table, mapping, agent, invalid=invalid)  # type: ignore[arg-type]
    return ws.create_batch(checked, config)


def test_fields_of_results_stand_behind_the_fixed_columns_and_the_raw_result_stays(ws: bk.Workspace) -> None:
    frame = made(ws, b"value\na\nb\nc\nd\n").join("finished").results()
    fields = ["result.fee", "result.filed", "result.office.city", "result.tags"]
    assert list(frame.columns) == ["value", *RESULT_COLUMNS, *fields]
    assert frame["result"].tolist() == VALUES
    assert [str(frame[name].dtype) for name in fields] == ["Int64", "boolean", "str", "str"]
    assert frame["result.fee"].tolist() == [95, 110, pd.NA, pd.NA]
    assert json.loads(frame["result.tags"][0]) == [1]
    assert frame["error"].tolist()[2] == "broke"


def test_types_are_the_same_before_anything_ran_and_after(ws: bk.Workspace) -> None:
    before = made(ws, b"value\na\nb\n", LATER).results()
    after = made(ws, b"value\na\nb\n").join("finished").results()
    fixed = ["value", *RESULT_COLUMNS]
    assert before.dtypes.to_dict() == after[fixed].dtypes.to_dict()
    assert list(before.columns) == fixed
    kinds = {name: str(after[name].dtype) for name in RESULT_COLUMNS}
    times = ("not_before", "execute_at", "triggered_at", "started_at", "finished_at")
    assert {kinds.pop(name) for name in times} == {"datetime64[us, UTC]"}
    assert (kinds.pop("row"), kinds.pop("result"), kinds.pop("timed_out")) == ("int64", "object", "bool")
    assert set(kinds.values()) == {"str"}


def test_results_say_which_executions_are_past_the_deadline(tmp_path: Path) -> None:
    runs = Triggered(execution=Execution(id="e", status=ExecutionStatus.RUNNING))
    target = ScriptedTarget(answer=lambda request, _: runs if request.item == 1 else None)
    with bk.Workspace(target, store=tmp_path / "late.sqlite") as ws:
        config = bk.BatchConfig(name="Late", batch_interval=0, item_deadline=0.2)
        batch = made(ws, b"value\na\nb\n", config).join("finished")
        assert batch.results()["timed_out"].tolist() == batch.items()["timed_out"].tolist() == [False, True]


def test_results_say_what_a_row_itself_said_of_its_time(ws: bk.Workspace) -> None:
    table, agent = bk.read_csv(b"value,when\na,2026-03-29T02:30\nb,\n"), ws.agent()
    checked = ws.validate(table, ws.suggest_mapping(table, agent).set("when", bk.NotBefore()), agent)
    config = bk.BatchConfig(name="Timed", batch_interval=0, timezone="Europe/Berlin", start_at="2999-01-01T00:00Z")
    batch = ws.create_batch(checked, config)
    # The clocks skip 2:30 in that night; the first moment after is meant.
    assert batch.results()["not_before"].tolist() == [pd.Timestamp("2026-03-29T01:00Z"), pd.NaT]
    assert batch.items()["not_before"].isna().tolist() == [False, True]


def test_numbers_that_are_none_are_refused_by_name(ws: bk.Workspace) -> None:
    batch = made(ws, b"value\na\nb\n", LATER)
    for call, name in (
        (lambda: batch.results(fields=-1), "fields"),
        (lambda: batch.results(fields="x"), "fields"),  # type: ignore[arg-type]
        (lambda: batch.items(limit=-1), "limit"),
        (lambda: batch.events(limit="x"), "limit"),  # type: ignore[arg-type]
        (lambda: batch.events(limit=True), "limit"),
    ):
        with pytest.raises(bk.ConfigError, match=f"{name} must be a whole number, 0 or more, not"):
            call()
    with pytest.raises(bk.ConfigError, match="An item is a whole number"):
        batch.items(after="x")  # type: ignore[arg-type]
    with pytest.raises(bk.ConfigError, match="One item is explained at a time, not 2"):
        batch.explain([0, 1])  # type: ignore[arg-type]
    assert batch.results(fields=0).shape == (2, 1 + len(RESULT_COLUMNS))


def test_a_deleted_batch_can_still_be_shown(ws: bk.Workspace) -> None:
    batch = made(ws, b"value\na\n", LATER)
    batch.cancel()
    batch.delete()
    assert repr(batch) == f"<Batch {batch.id}, which is not in the store any more>"


def test_dropped_rows_do_not_change_the_types(tmp_path: Path) -> None:
    agent = bk.Agent(name="Filer", id="a", inputs=[bk.InputVariable("n", schema={"type": "integer"}, required=True)])
    with bk.Workspace(ScriptedTarget(agents=[agent], answer=answer), store=tmp_path / "dropped.sqlite") as ws:
        batch = made(ws, b"n\n1\nx\n3\n", invalid="drop").join("finished")
        with_dropped, without = batch.results(dropped=True), batch.results()
    assert with_dropped["status"].tolist() == ["triggered", "left_out", "triggered"]
    assert with_dropped["error"].notna().tolist() == [False, True, False]
    assert with_dropped.dtypes.to_dict() == without.dtypes.to_dict()


def test_names_that_the_file_has_too_are_kept_for_the_file(ws: bk.Workspace) -> None:
    csv = b"value,status,batchkit_status,result.fee,batch\na,s1,s2,s3,s4\n"
    batch = made(ws, csv).join("finished")
    frame = batch.results(merged=True)
    assert frame[["status", "batchkit_status", "result.fee", "batch"]].iloc[0].tolist() == ["s1", "s2", "s3", "s4"]
    assert frame["batchkit_status_2"].tolist() == ["triggered"]
    assert frame["batchkit_result.fee"].tolist() == [95]
    assert frame["batchkit_batch"].tolist() == [batch.id]


def test_more_fields_than_are_shown_are_told_of(ws: bk.Workspace) -> None:
    batch = made(ws, b"value\na\nb\n").join("finished")
    with pytest.warns(UserWarning, match=r"3 more fields than the 1 .*results\(fields=4\)"):
        frame = batch.results(fields=1)
    assert [name for name in frame.columns if name.startswith("result.")] == ["result.fee"]
    assert "result.fee" not in batch.results(fields=0)


def test_results_are_saved_as_the_name_says(ws: bk.Workspace, tmp_path: Path) -> None:
    batch = made(ws, pd.DataFrame({"value": ["a", "b"]}, index=pd.Index([7, 8], name="id"))).join("finished")
    for suffix in ("csv", "xlsx", "parquet", "jsonl"):
        frame = batch.save_results(tmp_path / f"r.{suffix}")
        assert frame.equals(batch.results(dropped=True))
    back = pd.read_parquet(tmp_path / "r.parquet")
    assert back.columns[0] == "id"
    assert back["id"].tolist() == [7, 8]
    assert json.loads((tmp_path / "r.jsonl").read_text("utf-8").splitlines()[0])["result"] == VALUES[0]
    with pytest.raises(bk.ExportError, match=r"'\.xls'"):
        batch.save_results(tmp_path / "r.xls")


def test_a_merged_frame_of_a_batch_never_run_again_is_its_own(ws: bk.Workspace) -> None:
    batch = made(ws, b"value\na\nb\nc\n").join("finished")
    merged = batch.results(merged=True)
    assert merged.drop(columns=["batch", "batches", "attempts"]).equals(batch.results())
    assert merged["attempts"].tolist() == [1, 1, 1]
