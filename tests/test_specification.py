"""The specification ("Batch Executions"), sentence by sentence, as far as it does not speak of the interface.

Each test quotes what it shows, and shows it over HTTP against the demo platform, with the real store and engine.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from batches import eventually

import batchkit as bk

FILER = bk.Agent(
    name="Permit filer",
    inputs=[
        bk.InputVariable("client_name", schema={"type": "string"}, required=True),
        bk.InputVariable("amount", schema={"type": "number", "minimum": 0}, required=True),
        bk.InputVariable("notes", schema={"type": "string"}),
    ],
    versions=[
        bk.WorkflowVersion(
            version=1,
            published=True,
            inputs=(
                bk.InputVariable("client_name", schema={"type": "string"}, required=True),
                bk.InputVariable("amount", schema={"type": "number", "minimum": 0}, required=True),
                bk.InputVariable("notes", schema={"type": "string"}),
            ),
        ),
        bk.WorkflowVersion(
            version=2,
            inputs=(
                bk.InputVariable("client_name", schema={"type": "string"}, required=True),
                bk.InputVariable("amount", schema={"type": "number", "minimum": 0}, required=True),
                bk.InputVariable("notes", schema={"type": "string"}),
            ),
        ),
    ],
)
HOUR = timedelta(hours=1)


@pytest.fixture
def demo() -> Iterator[bk.DemoPlatform]:
    with bk.DemoPlatform(
        agents=[FILER],
        profiles=["Clerk A", "Clerk B", "Clerk C"],
        pools={"Clerks": ["Clerk A", "Clerk B", "Clerk C"]},
        duration=0.05,
        failure_share=0,
    ) as platform:
        yield platform


@pytest.fixture
def ws(demo: bk.DemoPlatform, tmp_path: Path) -> Iterator[bk.Workspace]:
    target = bk.AsteroidTarget(demo.url, demo.api_key, listing_delay=0.5, total_timeout=5, connect_timeout=2)
    with bk.Workspace(target, store=tmp_path / "runs.sqlite") as workspace:
        yield workspace


def csv(rows: int, header: str = "Client Name,Amount,Notes") -> bytes:
    return "\n".join([header, *(f"Client {n},{n}.5,note {n}" for n in range(rows))]).encode()


@pytest.fixture
def make(ws: bk.Workspace) -> Callable[..., bk.Batch]:
    def maker(rows: int = 6, **config: Any) -> bk.Batch:
        table = bk.read_csv(csv(rows))
        agent = ws.agent("Permit filer")
        checked = ws.validate(table, ws.suggest_mapping(table, agent), agent)
        return ws.create_batch(checked, bk.BatchConfig(**{"name": "A batch", "batch_interval": 0} | config))

    return maker


#: seconds a busy machine may take beyond its time for what happens at once on a quiet one
BUSY = 10.0


# How It Works


def test_one_scheduled_execution_per_row_staggered_and_triggered_at_its_time(make, demo) -> None:
    """ "The platform creates one scheduled execution per CSV row and staggers them over time according to your
    configuration. Each scheduled execution is triggered automatically when its scheduled time arrives, creating an
    actual agent execution." """
    batch = make(6, max_concurrent=2, batch_interval=0.6)
    batch.join()
    items = batch.items()
    assert items["row"].tolist() == [2, 3, 4, 5, 6, 7]
    assert len(demo.executions()) == 6
    arrived = {request.metadata["batchkit_item"]: request.at for request in demo.requests}
    for item, due in zip(items["item"], items["execute_at"], strict=True):
        late = (arrived[str(item)] - due).total_seconds()
        assert -0.001 <= late < BUSY


# Upload CSV


def test_each_row_is_one_execution_and_each_column_goes_where_it_is_mapped(ws, demo) -> None:
    """ "Each row represents one execution, and each column contains data that will be mapped to agent inputs,
    profiles, or metadata." """
    table = bk.read_csv(b"client_name,amount,clerk,region,internal\nAda,1,Clerk B,north,x\nBob,2,,,y\n")
    agent = ws.agent("Permit filer")
    mapping = ws.suggest_mapping(table, agent).set("clerk", bk.ProfileName()).set("region", bk.Metadata("region"))
    batch = ws.create_batch(
        ws.validate(table, mapping, agent),
        bk.BatchConfig(name="b", default_profile="Clerk A", batch_interval=0),
    )
    batch.join()
    first, second = sorted(demo.executions(), key=lambda execution: execution["metadata"]["batchkit_item"])
    assert first["inputs"] == {"client_name": "Ada", "amount": 1}
    assert (first["agentProfileName"], second["agentProfileName"]) == ("Clerk B", "Clerk A")
    assert first["metadata"]["region"] == "north"
    assert "region" not in second["metadata"]
    assert not any("internal" in str(execution["inputs"]) for execution in demo.executions())


def test_the_header_row_is_required() -> None:
    """ "The CSV must include a header row." """
    for content in (b"", b"\n\n", b",,\n1,2,3\n"):
        assert not bk.read_csv(content).ok


def test_column_counts_must_be_consistent(ws) -> None:
    """ "... validates that the file has consistent column counts." """
    table = bk.read_csv(b"client_name,amount\nAda,1\nBob\nCy,3,x\n")
    assert [(problem.line, problem.kind) for problem in table.errors] == [(3, "row_too_short"), (4, "row_too_long")]
    agent = ws.agent("Permit filer")
    with pytest.raises(bk.TableError, match="3"):
        ws.validate(table, ws.suggest_mapping(table, agent), agent)


def test_standard_comma_separated_files_are_accepted() -> None:
    """ "The platform accepts standard comma-separated CSV files." """
    table = bk.read_csv(b'a,b\r\n"x, y","say ""hi""\r\nthere"\r\n')
    assert table.ok
    assert table.frame.iloc[0].tolist() == ["x, y", 'say "hi"\r\nthere']


# Map Columns


def test_the_four_mapping_types(ws, demo) -> None:
    """ "Input Variable: maps to one of the agent workflow's defined input variables. Agent Profile Name: overrides the
    default agent profile for that row. Metadata: attaches arbitrary key-value metadata to the execution. Skip: ignores
    the column entirely." """
    fields = [bk.Input("client_name"), bk.ProfileName(), bk.Metadata("any key: ü"), bk.Skip()]
    table = bk.read_csv(b"c,a,p,m,s\nAda,1,Clerk C,value,secret\n")
    agent = ws.agent("Permit filer")
    mapping = ws.suggest_mapping(table, agent).set("a", bk.Input("amount"))
    for column, field in zip("cpms", fields, strict=True):
        mapping = mapping.set(column, field)
    ws.create_batch(ws.validate(table, mapping, agent), bk.BatchConfig(name="b", default_profile="Clerk A")).join()
    [execution] = demo.executions()
    assert execution["inputs"] == {"client_name": "Ada", "amount": 1}
    assert execution["agentProfileName"] == "Clerk C"
    assert execution["metadata"]["any key: ü"] == "value"
    assert "secret" not in str(execution)


@pytest.mark.parametrize("header", ["client_name", "CLIENT_NAME", "Client Name", " client  name ", "Client\tName"])
def test_columns_are_mapped_by_name(ws, header: str) -> None:
    """ "The platform auto-maps columns where the CSV header matches an input variable name (case-insensitive, with
    whitespace normalized to underscores)." """
    table = bk.read_csv(f"{header},amount\nAda,1\n".encode())
    mapping = ws.suggest_mapping(table, ws.agent("Permit filer"))
    assert list(mapping.fields.values()) == [bk.Input("client_name"), bk.Input("amount")]


def test_mappings_can_be_adjusted_by_hand(ws) -> None:
    """ "You can adjust mappings manually." """
    table = bk.read_csv(csv(1))
    mapping = ws.suggest_mapping(table, ws.agent("Permit filer"))
    assert mapping.set("Notes", bk.Skip()).fields["Notes"] == bk.Skip()
    assert mapping.fields["Notes"] == bk.Input("notes")


def test_mappings_are_saved_per_agent_and_restored_for_the_same_structure(ws, make) -> None:
    """ "Column mappings are saved to your browser per agent. When you upload a new CSV with the same structure, your
    previous mappings are automatically restored." """
    agent = ws.agent("Permit filer")
    table = bk.read_csv(csv(1))
    mapping = ws.suggest_mapping(table, agent).set("Notes", bk.Metadata("remarks"))
    ws.create_batch(ws.validate(table, mapping, agent), bk.BatchConfig(name="b")).join()
    again = bk.read_csv(csv(7))
    assert ws.suggest_mapping(again, agent).fields["Notes"] == bk.Metadata("remarks")
    other = bk.read_csv(csv(1, "Client Name,Amount,Remarks"))
    assert ws.suggest_mapping(other, agent).fields["Remarks"] == bk.Skip()
    assert ws.forget_mapping(again, agent)
    assert ws.suggest_mapping(again, agent).fields["Notes"] == bk.Input("notes")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Amount": bk.Skip()}, "amount"),
        ({"Notes": bk.Input("amount")}, "amount"),
        ({"Notes": bk.Metadata("  ")}, "Notes"),
        ({"Client Name": bk.Skip(), "Amount": bk.Skip(), "Notes": bk.Skip()}, "column"),
    ],
    ids=["required", "duplicate", "unnamed metadata", "nothing mapped"],
)
def test_the_validation_rules_of_a_mapping(ws, changes: dict[str, Any], said: str) -> None:
    """ "All required workflow input variables must be mapped. No duplicate mappings to the same field. At least one
    column must be mapped (not skipped). Metadata fields must have names specified." """
    table, agent = bk.read_csv(csv(2)), ws.agent("Permit filer")
    mapping = ws.suggest_mapping(table, agent)
    for column, field in changes.items():
        mapping = mapping.set(column, field)
    with pytest.raises(bk.MappingError, match=said):
        ws.validate(table, mapping, agent)


# Preview & Validate


def test_the_preview_shows_the_first_ten_rows_as_they_will_be_sent_with_their_status(ws) -> None:
    """ "Review a preview of the first 10 rows showing how your data maps to each field. Each row is validated and shows
    a status indicator: Valid rows are ready for execution. Invalid rows display error tooltips explaining the
    issue." """
    content = csv(12).replace(b"Client 3,3.5", b"Client 3,three")
    table, agent = bk.read_csv(content), ws.agent("Permit filer")
    checked = ws.validate(table, ws.suggest_mapping(table, agent), agent)
    preview = checked.preview()
    assert len(preview) == 10
    assert preview["amount"].tolist()[:3] == [0.5, 1.5, 2.5]
    assert preview["status"].tolist() == ["valid"] * 3 + ["invalid"] + ["valid"] * 6
    assert "'three'" in preview["errors"][3]
    assert not checked.ok


def test_invalid_rows_are_fixed_and_the_file_read_again(ws, tmp_path) -> None:
    """ "Fix any issues in your CSV and re-upload if needed before proceeding." """
    table, agent = bk.read_csv(csv(5).replace(b"2.5", b"two")), ws.agent("Permit filer")
    checked = ws.validate(table, ws.suggest_mapping(table, agent), agent)
    with pytest.raises(bk.ValidationError, match="two"):
        ws.create_batch(checked, bk.BatchConfig(name="b"))
    assert ws.batches() == []
    path = tmp_path / "to-fix.csv"
    bk.write_csv(checked.invalid_rows(), path)
    path.write_text(path.read_text("utf-8-sig").replace("two", "2.5", 1), "utf-8")
    fixed = bk.read_csv(path)
    assert ws.validate(fixed, ws.suggest_mapping(fixed, agent), agent).ok


# Configure Batch


def test_every_parameter_is_used(make, demo, ws) -> None:
    """ "Batch Name: a descriptive name to identify this batch. Workflow Version: which version of the agent workflow to
    execute. Default Agent Profile: the profile to use for rows that don't specify one." """
    batch = make(2, name="March permits", version=2, default_profile="Clerk B", max_concurrent=2)
    batch.join()
    assert batch.name == "March permits"
    assert {execution["workflowVersion"] for execution in demo.executions()} == {2}
    assert {execution["agentProfileName"] for execution in demo.executions()} == {"Clerk B"}


def test_a_start_time_now_or_past_runs_at_once(make) -> None:
    """ "If the start time is in the past or now, the batch begins immediately with a running status." """
    batch = make(3, start_at=datetime.now(UTC) - HOUR, max_concurrent=1, batch_interval=3600)
    assert batch.status == "running"
    eventually(lambda: batch.progress.triggered == 1)
    batch.cancel()


def test_a_future_start_time_is_pending_and_starts_by_itself(make, demo) -> None:
    """ "If the start time is in the future, the batch is created with a pending status and will start automatically at
    the specified time." """
    start = datetime.now(UTC) + timedelta(seconds=1.5)
    batch = make(2, start_at=start)
    assert batch.status == "pending" or datetime.now(UTC) >= start
    batch.join()
    assert min(request.at for request in demo.requests) >= start
    assert batch.status == "completed"


# Time-Based Batching


def test_max_concurrent_executions_are_triggered_every_batch_interval(make, demo) -> None:
    """ "Number of executions to trigger per batch interval. Seconds to wait between each group of concurrent
    executions. ... 5 executions are triggered every 60 seconds until all rows have been processed." """
    interval = 1
    batch = make(12, max_concurrent=5, batch_interval=interval)
    start = batch.record.start_at
    times = [pd.Timestamp(start + timedelta(seconds=n // 5 * interval)) for n in range(12)]
    assert batch.items()["execute_at"].tolist() == times
    batch.join()
    arrived = sorted(request.at for request in demo.requests)
    late = [(at - due).total_seconds() for at, due in zip(arrived, times, strict=True)]
    assert all(-0.001 <= seconds < BUSY for seconds in late), late


# Batch Lifecycle


def test_the_life_of_a_batch(make) -> None:
    """ "Running: actively triggering scheduled executions according to the batch interval. Paused: user paused the
    batch. No new executions are triggered until resumed. Completed: all scheduled executions in the batch have been
    triggered." """
    batch = make(4, max_concurrent=2, batch_interval=3600)
    assert batch.status == "running"
    batch.pause()
    assert batch.status == "paused"
    with pytest.raises(bk.StateError, match="paused"):
        batch.pause()
    batch.resume()
    assert batch.status == "running"
    batch.update(batch_interval=0)
    batch.join()
    assert batch.status == "completed"
    assert batch.items()["status"].tolist() == ["triggered"] * 4
    for move in (batch.pause, batch.resume, batch.cancel):
        with pytest.raises(bk.StateError, match="completed"):
            move()


def test_a_pending_batch_can_be_cancelled_and_cannot_be_paused(make) -> None:
    """The arrows pending → running and pending → cancelled, and no other."""
    batch = make(2, start_at=datetime.now(UTC) + HOUR)
    with pytest.raises(bk.StateError, match="pending"):
        batch.pause()
    batch.cancel()
    assert batch.status == "cancelled"
    assert batch.items()["status"].tolist() == ["cancelled"] * 2


# Managing Batches


def test_the_list_of_batches(make, ws) -> None:
    """ "The batch list shows all batches for the agent with: name and current status, progress triggered vs. total,
    created and started timestamps." """
    one = make(2, name="one")
    one.join()
    two = make(2, name="two", start_at=datetime.now(UTC) + HOUR)
    listed = ws.batches(agent=ws.agent("Permit filer"))
    assert [batch.id for batch in listed] == [two.id, one.id]
    records = [batch.record for batch in listed]
    assert [(record.name, record.status) for record in records] == [("two", "pending"), ("one", "completed")]
    assert [(r.progress.triggered, r.progress.total, r.progress.percent) for r in records] == [(0, 2, 0), (2, 2, 100)]
    assert records[0].started_at is None
    assert records[1].started_at is not None
    assert records[1].created_at <= records[1].started_at


def test_pause_stops_new_executions_and_leaves_the_triggered_ones(make, demo) -> None:
    """ "Pausing a batch stops new executions from being triggered. Executions that have already been triggered continue
    running." """
    batch = make(600, max_concurrent=1, batch_interval=0.1)
    eventually(lambda: batch.progress.triggered >= 3)
    batch.pause()
    eventually(lambda: batch.progress.triggering == 0)
    sent = demo.requests.count
    time.sleep(0.8)
    assert demo.requests.count == sent < 600
    eventually(lambda: {execution["status"] for execution in demo.executions()} == {"completed"})


def test_resume_recalculates_the_schedule_from_now(make) -> None:
    """ "Resuming a paused batch recalculates the execution schedule from the current time and continues triggering
    remaining pending executions." """
    interval = 0.4
    batch = make(100, max_concurrent=1, batch_interval=interval)
    eventually(lambda: batch.progress.triggered >= 2)
    batch.pause()
    eventually(lambda: batch.progress.triggering == 0)
    done = batch.progress.triggered
    # By the former schedule another one would be due.
    time.sleep(2 * interval)
    before = datetime.now(UTC)
    batch.resume()
    times = batch.items()["execute_at"].iloc[done:]
    first, took = (times.min() - before).total_seconds(), (times.max() - times.min()).total_seconds()
    assert -0.01 <= first < BUSY
    assert -0.01 <= took - (99 - done) * interval < BUSY
    batch.update(batch_interval=0)
    batch.join()
    assert batch.progress.triggered == 100


def test_cancel_is_for_good(make, demo) -> None:
    """ "Cancelling a batch permanently stops it. Pending scheduled executions are cancelled and will not be triggered.
    Executions already in progress are not affected. Cancelling a batch is irreversible." """
    batch = make(600, max_concurrent=1, batch_interval=0.1)
    eventually(lambda: batch.progress.triggered >= 2)
    batch.cancel()
    eventually(lambda: batch.progress.triggering == 0)
    sent = demo.requests.count
    time.sleep(0.8)
    assert demo.requests.count == sent < 600
    assert Counter(batch.items()["status"]) == {"triggered": sent, "cancelled": 600 - sent}
    eventually(lambda: {execution["status"] for execution in demo.executions()} == {"completed"})
    with pytest.raises(bk.StateError, match="cancelled"):
        batch.resume()
    with pytest.raises(bk.BatchCancelled):
        batch.join()


def test_single_scheduled_executions_are_seen_cancelled_and_rescheduled(make) -> None:
    """ "See the status of each scheduled execution. View when each execution is scheduled to run. Cancel or reschedule
    individual executions." """
    batch = make(6, max_concurrent=2, batch_interval=600)
    eventually(lambda: batch.progress.triggered == 2)
    later = datetime.now(UTC) + 2 * HOUR
    assert batch.cancel_items(2).done == (2,)
    assert batch.reschedule_items([3], later).done == (3,)
    items = batch.items().set_index("item")
    assert items["status"].tolist() == ["triggered"] * 2 + ["cancelled"] + ["pending"] * 3
    assert items.loc[3, "execute_at"] == pd.Timestamp(later)
    assert batch.cancel_items(0).not_done == {0: "it was already triggered"}
    batch.cancel()


# Progress Tracking


def test_the_metrics_of_a_batch(make) -> None:
    """ "Total, Pending, Triggered, Cancelled. The progress bar on each batch card shows triggered / total as a
    percentage." """
    batch = make(8, max_concurrent=2, batch_interval=600)
    eventually(lambda: batch.progress.triggered == 2)
    batch.cancel_items([5, 6])
    progress = batch.progress
    assert (progress.total, progress.pending, progress.triggered, progress.cancelled) == (8, 4, 2, 2)
    assert progress.percent == 25
    batch.cancel()


# Best Practices


def test_a_profile_pool_rotates_profiles(make, demo) -> None:
    """ "For large batches, use Profile Pools to automatically rotate agent profiles across executions." """
    batch = make(9, default_profile="Clerks", max_concurrent=3)
    batch.join()
    used = Counter(execution["agentProfileName"] for execution in demo.executions())
    assert used == {"Clerk A": 3, "Clerk B": 3, "Clerk C": 3}
