"""The command line on batches that the workers of a cluster run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread

import pytest
from batches import create_batch, eventually
from postgres_server import PostgresServer, at_work

import batchkit as bk
from batchkit.cli import main
from batchkit.core.wake import RESTING
from batchkit.io.schema import metadata
from batchkit.terminal import Exit
from batchkit.worker import ClusterWorker

AGENT = bk.Agent(name="Filer", inputs=[bk.InputVariable("value", schema={"type": "string"}, required=True)])
Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ws(postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[bk.Workspace]:
    """A workspace on a cluster without a worker, and the environment of the commands."""
    with bk.DemoPlatform(agents=[AGENT], duration=0.02) as demo, postgres.database() as name:
        monkeypatch.setenv("BATCHKIT_URL", demo.url)
        monkeypatch.setenv("BATCHKIT_API_KEY", demo.api_key)
        monkeypatch.setenv("BATCHKIT_STORE", postgres.url(name))
        monkeypatch.setenv("BATCHKIT_ENGINE", "cluster")
        monkeypatch.chdir(tmp_path)
        with bk.Workspace() as workspace:
            yield workspace


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    def run(*argv: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(argv)
        printed = capsys.readouterr()
        return code, " ".join(printed.out.split()), " ".join(printed.err.split())

    return run


def resting(ws: bk.Workspace) -> bk.Batch:
    """A running batch that its worker has left until its next group is due, in an hour."""
    batch = create_batch(ws, 2, max_concurrent=1, batch_interval=3600)
    until = ws.clock.now() + timedelta(hours=1)
    assert ws.engine.call(ws.store.entrust(batch.id, until, revision=batch.record.revision))
    assert batch.record.runner == RESTING
    return batch


@pytest.mark.parametrize("engine", ["cluster", "kernel"])
def test_a_batch_that_rests_is_shown_paused_and_resumed(
    cli: Cli, ws: bk.Workspace, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setenv("BATCHKIT_ENGINE", engine)
    batch = resting(ws)
    code, said, _ = cli("show", batch.id)
    assert code == Exit.OK
    assert "Run by the workers of the cluster" in said
    code, said, _ = cli("resume", batch.id)
    assert code == Exit.OK
    assert "is running already, run by the workers of the cluster." in said
    code, said, _ = cli("pause", batch.id)
    assert code == Exit.OK
    assert "stops within" not in said
    assert batch.status == "paused"
    code, said, _ = cli("resume", batch.id)
    assert code == Exit.OK
    assert "the workers of the cluster go on with it" in said
    assert batch.status == "running"


def test_what_a_cluster_runs_is_not_said_to_run_in_the_terminal(
    cli: Cli, ws: bk.Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("rows.csv").write_text("value\n1\n", "utf-8")

    # Nobody runs it, and somebody who watches has seen enough.
    def enough(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("batchkit.cli_run.follow", enough)
    code, said, warned = cli("run", "rows.csv", "--agent", "Filer")
    assert code == Exit.INTERRUPTED
    assert "runs in the workers of the cluster; Ctrl-C only ends the watching." in said
    assert "goes on without this terminal" in warned
    assert [batch.status for batch in ws.batches()] == ["running"]


def test_a_worker_that_may_not_use_the_queue_ends_and_says_what_to_do(
    cli: Cli, ws: bk.Workspace, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_batch(ws, 1)
    _, _, name = ws.store.label.rpartition("/")
    guest = f"guest_{name}"
    postgres.execute(f"CREATE ROLE {guest} LOGIN", name)
    for table in metadata.tables:
        postgres.execute(f"GRANT ALL ON {table}, schema_version TO {guest}", name)
    monkeypatch.setenv("BATCHKIT_STORE", postgres.url(name).replace("tests@", f"{guest}@"))
    code, _, warned = cli("worker", "--cluster")
    assert code == Exit.WRONG
    assert "permission denied for" in warned
    assert "others need the right to use the tables named procrastinate_…" in warned
    code, said, _ = cli("doctor")
    assert code == Exit.UNAVAILABLE
    assert "LOOK engine It cannot be used. The cluster's queue cannot be used: permission denied" in said


def test_doctor_says_how_many_workers_are_at_work(cli: Cli, ws: bk.Workspace, postgres: PostgresServer) -> None:
    code, said, _ = cli("doctor")
    assert code == Exit.UNAVAILABLE
    assert "0 workers are at work No worker is at work: start `batchkit worker --cluster`" in said
    stop = Event()
    with bk.Workspace() as working:
        worker = Thread(target=ClusterWorker(working, lambda _: None, concurrency=1).run, args=(stop,), daemon=True)
        worker.start()
        at_work(postgres, ws.store.label.rpartition("/")[2], 1)
        code, said, _ = cli("doctor")
        stop.set()
        worker.join()
    assert code == Exit.OK, said
    assert "1 worker is at work" in said


def test_a_worker_ends_where_the_store_will_not_let_it_in(
    cli: Cli, ws: bk.Workspace, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHKIT_STORE", postgres.url("no_such_database"))
    code, _, warned = cli("worker", "--cluster")
    assert code == Exit.UNAVAILABLE
    assert "createdb makes a database that is not there yet" in warned


def test_a_worker_that_cannot_reach_the_store_says_so_and_waits(ws: bk.Workspace, postgres: PostgresServer) -> None:
    stop, said = Event(), []
    with bk.Workspace(store="postgresql://tests@127.0.0.1:1/runs") as waiting:
        worker = Thread(target=ClusterWorker(waiting, said.append, concurrency=1).run, args=(stop,), daemon=True)
        worker.start()
        eventually(lambda: said)
        assert "Nothing listens there." in said[0]
        assert worker.is_alive()
        stop.set()
        worker.join()


def test_where_no_worker_takes_a_batch_up_the_commands_say_how_to_start_one(
    cli: Cli, ws: bk.Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("rows.csv").write_text("value\n1\n", "utf-8")
    monkeypatch.setattr("batchkit.engine.cluster._PATIENCE_SECONDS", 0.0)
    # What a wake is on its way for is not said to have no worker before its time.
    monkeypatch.setattr("batchkit.io.leases.REST_GRACE_SECONDS", 0.1)
    code, _, warned = cli("run", "rows.csv", "--agent", "Filer")
    assert code == Exit.STOPPED
    assert "no worker has taken the batch up" in warned
    assert warned.endswith("To have it run: batchkit worker --cluster")
    [batch] = ws.batches()
    assert "nobody; to go on: batchkit worker --cluster" in cli("show", batch.id)[1]
    assert "start `batchkit worker --cluster` with their platform and key" in cli("doctor")[1]
