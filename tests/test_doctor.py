"""`batchkit doctor` and what it looks at."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

import batchkit as bk
from batchkit.cli import main
from batchkit.doctor import Finding, examine
from batchkit.io.clock import SystemClock


def of(ws: bk.Workspace) -> dict[str, Finding]:
    return {finding.subject: finding for finding in examine(ws)}


def greet(client: str) -> str:
    return client


@pytest.fixture
def platform():
    with bk.DemoPlatform(duration=0.05) as demo:
        yield demo


def workspace(demo: bk.DemoPlatform, tmp_path: Path, **settings) -> bk.Workspace:
    target = bk.AsteroidTarget(demo.url, demo.api_key, retry_delays=())
    return bk.Workspace(target, store=tmp_path / "runs.sqlite", **settings)


def test_all_is_good_on_a_new_store_and_the_store_is_left_as_it_was(platform, tmp_path) -> None:
    with workspace(platform, tmp_path) as ws:
        found = of(ws)
        assert list(found) == ["store", "batches", "engine", "platform", "clock"]
        assert [finding for finding in found.values() if not finding.good] == []
        assert str(tmp_path / "runs.sqlite") in found["store"].text
        assert "0 batches" in found["store"].text
        assert platform.url in found["platform"].text
        assert "as the platform's" in found["clock"].text
        assert ws.engine.call(ws.store.mapping("batchkit doctor", "batchkit doctor")) is None
    assert not [request for request in platform.requests if request.metadata], "a row was sent"


def test_a_platform_that_is_gone_and_a_key_that_is_not_taken_are_told(platform, tmp_path) -> None:
    target = bk.AsteroidTarget(platform.url, "another-key", retry_delays=())
    with bk.Workspace(target, store=tmp_path / "runs.sqlite") as ws:
        finding = of(ws)["platform"]
        assert not finding.good
        assert "key" in finding.advice
        assert "another-key" not in finding.advice
    with workspace(platform, tmp_path) as ws:
        platform.close()
        found = of(ws)
        assert not found["platform"].good
        assert f"{platform.url}/agents/v2/agents could not be read" in found["platform"].advice
        assert found["store"].good


def test_a_store_that_cannot_be_written_is_told_and_the_rest_is_looked_at(platform, tmp_path) -> None:
    (tmp_path / "runs.sqlite").write_bytes(b"this is no store, and longer than a header of one" * 20)
    with workspace(platform, tmp_path) as ws:
        found = of(ws)
    assert "not a batchkit store" in found["store"].advice
    assert found["platform"].good


def test_a_batch_that_nobody_runs_is_named_with_what_to_do(tmp_path) -> None:
    store = tmp_path / "runs.sqlite"
    table = bk.read_csv(pd.DataFrame({"client": ["a", "b", "c"]}))
    with (
        bk.Workspace(bk.FunctionTarget(greet), store=store) as ws,
        bk.Workspace(bk.FunctionTarget(greet), store=store, engine="worker") as watching,
    ):
        checked = ws.validate(table, ws.suggest_mapping(table, ws.agent()), ws.agent())
        batch = ws.create_batch(checked, bk.BatchConfig(name="left", max_concurrent=1, batch_interval=3600))
        assert "1 process runs 1 batch" in of(watching)["engine"].text
        ws.close()
        found = of(watching)
    assert batch.id in found["batches"].advice
    assert "batchkit worker" in found["batches"].advice
    assert "start `batchkit worker`" in found["engine"].advice


class _Ahead(SystemClock):
    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(hours=1)


def test_a_clock_that_is_off_is_told(platform, tmp_path) -> None:
    with workspace(platform, tmp_path, clock=_Ahead()) as ws:
        finding = of(ws)["clock"]
    assert "ahead of the platform's" in finding.text
    assert "start times follow it" in finding.advice


def test_a_clock_that_is_not_the_databases_is_told(platform, postgres) -> None:
    with postgres.database() as name:
        target = bk.AsteroidTarget(platform.url, platform.api_key, retry_delays=())
        with bk.Workspace(target, store=postgres.url(name)) as ws:
            assert of(ws)["clock"].text.endswith("as the platform's, as the database's")
        with bk.Workspace(target, store=postgres.url(name), clock=_Ahead()) as ws:
            finding = of(ws)["clock"]
    assert "ahead of the database's" in finding.text
    assert "set its clock by the network" in finding.advice


def test_the_command_says_it_in_lines_and_by_its_exit_code(platform, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("BATCHKIT_URL", platform.url)
    monkeypatch.setenv("BATCHKIT_API_KEY", platform.api_key)
    monkeypatch.delenv("COLUMNS", raising=False)
    store = ["--store", str(tmp_path / "runs.sqlite")]
    assert main(["doctor", *store]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["good", name] for name in ("versions", "store", "batches", "engine", "platform", "clock")
    ]
    monkeypatch.setenv("BATCHKIT_API_KEY", "no-key-of-this-platform")
    assert main(["doctor", "--json", *store]) == 3
    told = {one["subject"]: one for one in json.loads(capsys.readouterr().out)}
    assert told["store"]["good"]
    assert not told["platform"]["good"]
    monkeypatch.delenv("BATCHKIT_API_KEY")
    assert main(["doctor", *store]) == 3
    assert "set BATCHKIT_API_KEY too" in capsys.readouterr().out
