"""The command line, against a real demo platform: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import json
import logging
import os
import pty
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path

import pandas as pd
import pytest
from batches import eventually

import batchkit as bk
from batchkit.cli import main
from batchkit.terminal import Exit

PERMITS = """\
Client,Address,Permit type,Start date,Clerk,Notes
Altmann,Lindenstrasse 4,signage,2026-03-02,Clerk A,first
Brenner,Hafenweg 18,building,2026-03-09,Clerk B,
Cordes,Am Markt 7,electrical,2026-03-04,,
Dahl,Ringstrasse 22,plumbing,2026-03-11,,
Ehlers,Kellergasse 3,building,2026-04-01,Clerk C,last
"""
#: what makes the file above run
RUN = ("run", "permits.csv", "--agent", "Permit filer")
CLERK = ("--map", "Clerk=profile")


@pytest.fixture
def demo() -> Iterator[bk.DemoPlatform]:
    with bk.DemoPlatform(duration=0.05, failure_share=0.0) as platform:
        yield platform


@pytest.fixture(autouse=True)
def home(tmp_path: Path, demo: bk.DemoPlatform, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own to work in, with a CSV and a store, and the demo platform as the platform."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "permits.csv").write_text(PERMITS, "utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("BATCHKIT_STORE", str(tmp_path / "store.sqlite"))
    monkeypatch.setenv("BATCHKIT_URL", demo.url)
    monkeypatch.setenv("BATCHKIT_API_KEY", demo.api_key)
    with bk.Workspace() as ws:
        assert ws.batches() == []
    return folder


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs a command within this process."""

    def run(*argv: str) -> Done:
        capsys.readouterr()
        try:
            code = main(argv)
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return Done(code, out, err)

    return run


class Spawned:
    """A command in a process of its own, its two outputs as one."""

    def __init__(self, *argv: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "batchkit", *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said = ""
        self._watch = threading.Timer(90, self.process.kill)
        self._watch.start()

    def __enter__(self) -> Spawned:
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.cancel()
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def until(self, text: str) -> str:
        """Read on until a line has `text`, and return that line."""
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            self.said += line
            if text in line:
                return line
        raise AssertionError(f"{text!r} was never said: {self.said}")

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Read the rest and return the exit code."""
        assert self.process.stdout is not None
        self.said += self.process.stdout.read()
        assert "Traceback" not in self.said
        return self.process.wait()


def batches(cli: Callable[..., Done]) -> list[dict]:
    listed = cli("list", "--json")
    assert listed.code == Exit.OK
    return json.loads(listed.out)


def the_batch(cli: Callable[..., Done]) -> dict:
    [batch] = batches(cli)
    return batch


def clients(demo: bk.DemoPlatform) -> list[str]:
    return sorted(execution["inputs"]["client"] for execution in demo.executions())


def hurry(batch_id: str) -> None:
    """Have what is left of a batch sent at once: its groups were so far apart that it could not be over before."""
    with bk.Workspace() as ws:
        ws.batch(batch_id).update(batch_interval=0)


# Running


def test_run_sends_every_row_and_writes_the_results(cli, home: Path, demo: bk.DemoPlatform) -> None:
    done = cli(*RUN, *CLERK, "--map", "Notes=metadata:note", "--batch-interval", "0", "--output", "results.csv")
    assert done.code == Exit.OK, done
    assert clients(demo) == ["Altmann", "Brenner", "Cordes", "Dahl", "Ehlers"]
    assert demo.executions()[0]["metadata"]["note"] == "first"
    results = pd.read_csv(home / "results.csv", dtype=str, keep_default_na=False)
    assert results["Client"].tolist() == ["Altmann", "Brenner", "Cordes", "Dahl", "Ehlers"]
    assert results["profile"].tolist() == ["Clerk A", "Clerk B", "", "", "Clerk C"]
    assert set(results["execution_status"]) == {"completed"}
    assert "5 of 5 triggered (100 %). Executions: 5 succeeded." in done.out
    assert "the agent profile" in done.out
    assert "5 of 5 finished" in done.err


def test_run_leaves_when_all_is_triggered_and_results_wait_for_the_rest(cli, demo: bk.DemoPlatform) -> None:
    assert cli(*RUN, "--batch-interval", "0").code == Exit.OK
    batch = the_batch(cli)
    assert batch["status"] == "completed"
    done = cli("results", batch["id"], "--wait")
    assert done.code == Exit.OK
    assert done.out.count("completed") == 5
    assert "Altmann" in done.out
    assert "had not ended" not in done.err


def test_the_mapping_is_shown_changed_by_map_and_used_again(cli, demo: bk.DemoPlatform) -> None:
    shown = cli(
        *RUN, "--dry-run", "--map", "Notes=input:address", "--map", "Address=metadata:where", "--invalid", "drop"
    )
    assert shown.code == Exit.OK, shown
    lines = [line.split() for line in shown.out.splitlines()]
    assert ["Notes", "→", "address", "set", "by", "hand"] in lines
    assert ["Address", "→", "metadata", "where", "set", "by", "hand"] in lines
    assert cli(*RUN, "--batch-interval", "0", "--map", "Notes=metadata:note").code == Exit.OK
    again = cli(*RUN, "--dry-run")
    assert ["Notes", "→", "metadata", "note", "as", "the", "last", "time"] in [
        line.split() for line in again.out.splitlines()
    ]
    assert f"The same rows ran for this agent before, in batch {the_batch(cli)['id']}" in again.err


def test_a_field_given_by_hand_is_taken_from_the_column_that_had_it(cli) -> None:
    shown = cli(*RUN, "--dry-run", "--map", "Notes=client", "--invalid", "drop")
    assert ["Client", "skipped", "set", "by", "hand"] in [line.split() for line in shown.out.splitlines()]


def test_a_column_named_with_an_equals_sign_can_be_mapped(cli, home: Path) -> None:
    (home / "permits.csv").write_text(PERMITS.replace("Client", "Client=Name"), "utf-8")
    shown = cli(*RUN, "--dry-run", "--map", "Client=Name=client")
    assert shown.code == Exit.OK, shown


def test_a_dry_run_shows_the_rows_and_the_plan_and_sends_nothing(cli, demo: bk.DemoPlatform) -> None:
    done = cli(*RUN, *CLERK, "--dry-run", "--max-concurrent", "2", "--batch-interval", "30", "--output", "results.csv")
    assert done.code == Exit.OK
    assert "As they will be sent (all; – is not sent):" in done.out
    assert "Hafenweg 18" in done.out
    assert "5 rows in 3 groups of 2, one every 30 s: from now to " in done.out
    assert "nothing was sent and no batch was made" in done.out
    assert (batches(cli), demo.executions(), os.listdir()) == ([], [], ["permits.csv"])


def test_invalid_rows_are_left_out_where_asked_and_written_to_be_corrected(
    cli, home: Path, demo: bk.DemoPlatform
) -> None:
    (home / "permits.csv").write_text(PERMITS.replace("2026-03-04", "4 March").replace("Dahl", ""), "utf-8")
    done = cli(
        *RUN, "--invalid", "drop", "--save-invalid", "bad.csv", "--batch-interval", "0", "--output", "results.csv"
    )
    assert done.code == Exit.OK, done
    assert clients(demo) == ["Altmann", "Brenner", "Ehlers"]
    assert "2 of 5 rows are invalid:" in done.err
    assert "Row 4, column 'Start date': '4 March' is not a date" in done.err
    bad = pd.read_csv(home / "bad.csv", dtype=str, keep_default_na=False)
    assert bad["Client"].tolist() == ["Cordes", ""]
    assert bad["batchkit_errors"].str.contains("column").all()
    results = pd.read_csv(home / "results.csv", dtype=str, keep_default_na=False)
    assert results["status"].tolist() == ["triggered", "triggered", "left_out", "left_out", "triggered"]


@pytest.mark.parametrize("strict", [False, True])
def test_a_row_the_platform_refuses_shows_and_fails_a_strict_run(cli, demo: bk.DemoPlatform, strict: bool) -> None:
    demo.faults.server_error(status=422, count=1)
    done = cli(*RUN, "--batch-interval", "0", "--wait", "finished", *(["--strict"] if strict else []))
    assert done.code == (Exit.INCOMPLETE if strict else Exit.OK), done
    assert "1 refused" in done.out
    shown = cli("show", the_batch(cli)["id"])
    assert "Refused or in doubt:" in shown.out


def test_a_quiet_run_prints_the_id_alone(cli) -> None:
    done = cli(*RUN, "--batch-interval", "0", "--output", "results.csv", "--quiet")
    assert (done.code, done.err) == (Exit.OK, "")
    assert done.out == f"{the_batch(cli)['id']}\n"


def test_control_characters_of_a_file_do_not_reach_the_terminal(cli, home: Path) -> None:
    evil = "\x1b[31mred\x07‮"
    (home / "permits.csv").write_text(PERMITS.replace("Altmann", evil).replace("Notes", f"N{evil}"), "utf-8")
    for done in (
        cli(*RUN, "--dry-run"),
        cli(*RUN, "--dry-run", "--map", f"N{evil}=profile"),
        cli(*RUN, "--batch-interval", "0", "--name", evil, "--output", "results.csv"),
        cli("list"),
        cli("results", the_batch(cli)["id"]),
        cli("show", the_batch(cli)["id"]),
    ):
        assert not {"\x1b", "\x07", "\u202e"} & set(done.out + done.err)
    assert "\\x1b[31mred\\x07\\u202e" in cli("list").out


# What is wrong is said, and nothing is written


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("run", "permits.csv"), "the following arguments are required: --agent"),
        (("run", "none.csv", "--agent", "Permit filer"), "There is no file 'none.csv'"),
        (("run", ".", "--agent", "Permit filer"), "'.' is a folder"),
        (("run", "permits.csv", "--agent", "Permit filler"), "Did you mean 'Permit filer'?"),
        (("run", "permits.csv", "--agent", "xyzzy"), "The target has: 'Address checker'"),
        ((*RUN, "--map", "Client"), "--map 'Client' has no '='"),
        ((*RUN, "--map", "Klient=client"), "There is no column 'Klient'. Did you mean 'Client'?"),
        ((*RUN, "--map", "Client=clint"), "agent 'Permit filer' does not have. Did you mean 'client'?"),
        ((*RUN, "--map", "Client=meta:x"), "'meta:x' is not a field"),
        ((*RUN, "--map", "Client=metadata:"), "'metadata:' is not a field"),
        ((*RUN, "--map", "Client="), "'' is not a field"),
        ((*RUN, "--map", "Client=skip"), "requires input 'client', but no column is mapped to it"),
        ((*RUN, "--map", "Notes=profile", "--map", "Clerk=profile"), "both mapped to the agent profile"),
        ((*RUN, "--map", "Notes=metadata:batchkit_x"), "are batchkit's own"),
        ((*RUN, "--max-concurrent", "0"), "max_concurrent must be a whole number of rows, 1 or more, not 0"),
        ((*RUN, "--max-concurrent", "many"), "argument --max-concurrent: invalid int value"),
        ((*RUN, "--batch-interval", "-1"), "batch_interval must be a number of seconds"),
        ((*RUN, "--batch-interval", "nan"), "batch_interval must be a number of seconds"),
        ((*RUN, "--start-at", "tomorrow"), "start_at 'tomorrow' is not a date and time"),
        ((*RUN, "--start-at", "2026-03-01 09:00", "--timezone", "Berlin"), "timezone 'Berlin' is not known"),
        ((*RUN, "--profile", "Clerk Q"), "no agent profile or pool 'Clerk Q'"),
        ((*RUN, "--version", "77"), "77"),
        ((*RUN, "--name", " "), "name must be a text"),
        ((*RUN, "--encoding", "klingon"), "klingon"),
        ((*RUN, "--delimiter", "::"), "'::' cannot be a delimiter"),
        ((*RUN, "--delimiter", ";"), "requires input 'client'"),
        ((*RUN, "--output", "nowhere/results.csv"), "there is no folder"),
        ((*RUN, "--output", "."), "is a folder"),
        ((*RUN, "--output", "permits.csv"), "is the file the rows come from"),
        ((*RUN, "--save-invalid", "./permits.csv"), "is the file the rows come from"),
        (("show", "bxx"), "There is no batch 'bxx'"),
        (("pause", ""), "There is no batch ''"),
        (("list", "--limit", "0"), "must be 1 or more"),
        (("list", "--status", "gone"), "invalid choice: 'gone'"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_wrong_input_is_explained_and_nothing_is_written(cli, demo: bk.DemoPlatform, argv, message: str) -> None:
    done = cli(*argv)
    assert done.code == Exit.WRONG, done
    assert message in done.err, done
    assert (batches(cli), demo.executions(), os.listdir()) == ([], [], ["permits.csv"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "There is nothing in it"),
        (b"Client,Address\n", "There is no row below the header"),
        (b"Client,Client\na,b\n", "is in the header more than once"),
        (b"Client,Address\na\n", "Row 2 is too short"),
        (b"PK\x03\x04xxxx", "an Excel workbook"),
        (PERMITS.replace("signage", "circus").encode(), "'circus' is not allowed here"),
    ],
    ids=["empty", "no rows", "duplicate", "ragged", "excel", "invalid row"],
)
def test_a_file_that_cannot_be_run_is_explained_and_nothing_is_sent(
    cli, home: Path, demo: bk.DemoPlatform, content: bytes, message: str
) -> None:
    (home / "permits.csv").write_bytes(content)
    done = cli(*RUN)
    assert (done.code, batches(cli), demo.executions()) == (Exit.WRONG, [], []), done
    assert message in done.err


def test_without_a_valid_row_there_is_no_batch(cli, home: Path, demo: bk.DemoPlatform) -> None:
    (home / "permits.csv").write_text(PERMITS.replace("2026", "in 2026"), "utf-8")
    done = cli(*RUN, "--invalid", "drop")
    assert (done.code, batches(cli), demo.executions()) == (Exit.WRONG, [], [])
    assert "no row is valid" in done.err


def test_a_platform_that_is_half_configured_is_refused(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BATCHKIT_API_KEY")
    done = cli(*RUN)
    assert done.code == Exit.WRONG
    assert "set BATCHKIT_API_KEY too" in done.err


def test_a_platform_that_cannot_be_reached_is_told_apart(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHKIT_URL", "http://127.0.0.1:9")
    done = cli(*RUN)
    assert (done.code, batches(cli)) == (Exit.UNAVAILABLE, [])
    assert "127.0.0.1:9" in done.err


def test_a_wrong_key_is_told_apart_and_not_shown(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHKIT_API_KEY", "secret-4711")
    done = cli(*RUN)
    assert (done.code, batches(cli)) == (Exit.UNAVAILABLE, [])
    assert "secret-4711" not in done.out + done.err


def test_a_store_that_is_none_is_told_apart(cli, home: Path) -> None:
    (home / "store").write_text("this is no database, and it is long enough to see that\n" * 10)
    done = cli("list", "--store", "store")
    assert done.code == Exit.UNAVAILABLE
    assert "not a batchkit store" in done.err


def test_a_batch_that_pauses_itself_says_why_and_how_to_go_on(cli, demo: bk.DemoPlatform) -> None:
    demo.faults.server_error(status=401)
    done = cli(*RUN, "--batch-interval", "0")
    assert done.code == Exit.STOPPED
    batch = the_batch(cli)
    assert "the batch paused itself. The target refused the credentials" in done.err
    assert f"batchkit resume {batch['id']}" in done.err
    demo.faults.clear()
    assert cli("resume", batch["id"]).code == Exit.OK
    assert clients(demo) == ["Altmann", "Brenner", "Cordes", "Dahl", "Ehlers"]


# Batches that exist


def test_a_store_without_batches_says_how_to_begin(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BATCHKIT_STORE")
    done = cli("list")
    assert done.code == Exit.OK
    assert "There are no batches yet" in done.out
    assert "batchkit demo" in done.out


@pytest.mark.parametrize(
    "argv",
    [
        ("list",),
        ("show", "b"),
        ("pause", "b"),
        ("resume", "b"),
        ("cancel", "b", "--yes"),
        ("results", "b"),
        ("backup", "copy.sqlite"),
    ],
    ids=lambda argv: argv[0],
)
def test_a_named_store_that_does_not_exist_is_told_and_not_made(
    cli, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...]
) -> None:
    path = tmp_path / "none" / "store.sqlite"
    named = cli(*argv, "--store", str(path))
    assert (named.code, named.out) == (Exit.WRONG, "")
    assert f"There is no store '{path}' (--store)" in named.err
    monkeypatch.setenv("BATCHKIT_STORE", str(path))
    configured = cli(*argv)
    assert configured.code == Exit.WRONG
    assert "(BATCHKIT_STORE)" in configured.err
    assert not path.parent.exists()
    assert [each.name for each in home.iterdir()] == ["permits.csv"]


def test_list_and_show_tell_of_batches_for_people_and_for_scripts(cli) -> None:
    for name in ("First", "Second"):
        assert cli(*RUN, "--batch-interval", "0", "--name", name).code == Exit.OK
    listed = cli("list").out
    assert listed.index("Second") < listed.index("First")
    assert "older ones" in cli("list", "--limit", "1").out
    assert cli("list", "--status", "paused").out.startswith("There are no paused batches")
    second = batches(cli)[0]
    assert (second["progress"]["triggered"], second["agent"]["name"]) == (5, "Permit filer")
    shown = cli("show", second["id"])
    assert "Permit filer, version 3" in shown.out
    assert "completed: 5 of 5 rows triggered." in shown.out
    as_json = json.loads(cli("show", second["id"], "--json").out)
    assert [event["kind"] for event in as_json["events"]] == ["created", "completed"]


def test_the_beginning_of_an_id_will_do_if_it_is_of_one_batch(cli) -> None:
    for name in ("First", "Second"):
        assert cli(*RUN, "--batch-interval", "0", "--name", name).code == Exit.OK
    first, second = (batch["id"] for batch in batches(cli))
    length = next(at for at in range(10) if first[:at] != second[:at])
    assert cli("show", first[:length]).code == Exit.OK
    done = cli("show", "b")
    assert done.code == Exit.WRONG
    assert first in done.err
    assert second in done.err


@pytest.mark.parametrize("command", ["pause", "resume", "cancel"])
def test_a_batch_that_has_ended_takes_no_commands(cli, command: str) -> None:
    assert cli(*RUN, "--batch-interval", "0").code == Exit.OK
    done = cli(command, the_batch(cli)["id"])
    assert done.code == Exit.STOPPED
    assert "A completed batch cannot be" in done.err


def test_cancelling_without_a_terminal_needs_yes(cli, demo: bk.DemoPlatform) -> None:
    with Spawned(*RUN, "--max-concurrent", "2", "--batch-interval", "600") as running:
        running.until("runs in this terminal")
        eventually(lambda: len(demo.executions()) == 2)
        batch = the_batch(cli)
        refused = subprocess.run(
            [sys.executable, "-m", "batchkit", "cancel", batch["id"]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert refused.returncode == Exit.WRONG
        assert "--yes" in refused.stderr
        assert the_batch(cli)["status"] == "running"
        assert cli("cancel", batch["id"], "--yes").code == Exit.OK
        assert running.end() == Exit.STOPPED
        assert "the batch was cancelled" in running.said
    assert the_batch(cli)["progress"]["cancelled"] == 3


def test_results_of_a_cancelled_batch_are_waited_for_and_of_a_paused_one_not(cli, demo: bk.DemoPlatform) -> None:
    with bk.Workspace() as ws:
        agent, table = ws.agent("Permit filer"), bk.read_csv("permits.csv")
        checked = ws.validate(table, ws.suggest_mapping(table, agent), agent)
        batch = ws.create_batch(checked, bk.BatchConfig(name="Here", max_concurrent=2, batch_interval=600))
        eventually(lambda: batch.progress.triggered == 2)
        batch.pause()
    paused = cli("results", batch.id, "--wait")
    assert paused.code == Exit.STOPPED
    assert f"batchkit resume {batch.id}" in paused.err
    assert cli("cancel", batch.id, "--yes").code == Exit.OK
    waited = cli("results", batch.id, "--wait")
    assert waited.code == Exit.OK
    assert "2 of 2 finished" in waited.err
    assert "Executions: 2 succeeded." in waited.out


def test_results_are_not_waited_for_on_another_platform(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli(*RUN, "--batch-interval", "0").code == Exit.OK
    with bk.DemoPlatform() as other:
        monkeypatch.setenv("BATCHKIT_URL", other.url)
        monkeypatch.setenv("BATCHKIT_API_KEY", other.api_key)
        done = cli("results", the_batch(cli)["id"], "--wait")
        assert done.code == Exit.WRONG
        assert "Open a workspace on its own target" in done.err


# Interrupting, and going on


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_pauses_the_batch_and_resume_sends_the_rest(cli, demo: bk.DemoPlatform, number) -> None:
    with Spawned(*RUN, "--max-concurrent", "2", "--batch-interval", "600", "--start-at", "2020-01-01") as running:
        running.until("runs in this terminal")
        eventually(lambda: len(demo.executions()) == 2)
        running.send(number)
        assert running.end() == Exit.INTERRUPTED
    batch = the_batch(cli)
    assert batch["status"] == "paused"
    assert f"Paused: {batch['progress']['triggered']} of 5 triggered" in running.said
    assert f"batchkit resume {batch['id']}" in running.said
    assert batch["progress"]["triggered"] == len(demo.executions()) == 2
    hurry(batch["id"])
    resumed = cli("resume", batch["id"])
    assert resumed.code == Exit.OK
    assert "5 of 5 triggered" in resumed.out
    assert clients(demo) == ["Altmann", "Brenner", "Cordes", "Dahl", "Ehlers"]


@pytest.mark.parametrize(
    ("second", "gap", "quiet"),
    [
        (signal.SIGINT, 0.0, False),
        (signal.SIGTERM, 0.1, False),
        (signal.SIGINT, 0.1, True),
        (signal.SIGTERM, 0.0, True),
    ],
)
def test_a_doubled_signal_is_one(cli, demo: bk.DemoPlatform, second: signal.Signals, gap: float, quiet: bool) -> None:
    argv = [*RUN, "--max-concurrent", "2", "--batch-interval", "600", *(["--quiet"] if quiet else [])]
    with Spawned(*argv) as running:
        eventually(lambda: len(demo.executions()) == 2)
        running.until("" if quiet else "runs in this terminal")
        running.send(signal.SIGINT)
        time.sleep(gap)
        running.send(second)
        assert running.end() == Exit.INTERRUPTED, running.said
    assert "To go on:  batchkit resume" in running.said
    assert the_batch(cli)["status"] == "paused"


def test_ctrl_c_waits_for_answers_and_a_second_one_does_not(cli, demo: bk.DemoPlatform) -> None:
    demo.faults.answer_delay = 60.0
    with Spawned(*RUN, "--max-concurrent", "2", "--batch-interval", "600") as running:
        running.until("runs in this terminal")
        eventually(lambda: len(demo.executions()) == 2)
        running.send(signal.SIGINT)
        running.until("2 requests are on their way and waited for")
        began = time.monotonic()
        running.send(signal.SIGINT)
        assert running.end() == Exit.INTERRUPTED
        assert time.monotonic() - began < 30
    batch = the_batch(cli)
    assert (batch["status"], batch["progress"]["triggering"], batch["progress"]["pending"]) == ("paused", 2, 3)


def test_ctrl_c_before_the_start_time_leaves_the_batch_pending(cli, demo: bk.DemoPlatform) -> None:
    with Spawned(*RUN, "--start-at", "2999-01-01 09:00") as running:
        running.until("starts at 2999-01-01 09:00:00")
        running.send(signal.SIGINT)
        assert running.end() == Exit.INTERRUPTED
    assert "Stopped before its start time; nothing was sent." in running.said
    batch = the_batch(cli)
    assert (batch["status"], batch["interrupted"], demo.executions()) == ("pending", True, [])
    assert "interrupted" in cli("list").out
    with Spawned("resume", batch["id"]) as resumed:
        resumed.until("starts at 2999-01-01 09:00:00")
        resumed.send(signal.SIGINT)
        assert resumed.end() == Exit.INTERRUPTED
    again = the_batch(cli)
    assert (again["status"], again["start_at"], demo.executions()) == ("pending", batch["start_at"], [])


def test_other_processes_pause_and_resume_a_batch_that_runs(cli, demo: bk.DemoPlatform) -> None:
    with Spawned(*RUN, "--max-concurrent", "2", "--batch-interval", "600") as running:
        running.until("runs in this terminal")
        eventually(lambda: len(demo.executions()) == 2)
        batch_id = the_batch(cli)["id"]
        paused = cli("pause", batch_id)
        assert paused.code == Exit.OK
        assert "3 pending" in paused.out
        running.until("triggered, paused")
        assert len(demo.executions()) == 2
        resumed = cli("resume", batch_id)
        assert resumed.code == Exit.OK
        assert f"process {running.process.pid}" in resumed.out
        assert "is running already" in cli("resume", batch_id).out
        hurry(batch_id)
        assert running.end() == Exit.OK
    assert clients(demo) == ["Altmann", "Brenner", "Cordes", "Dahl", "Ehlers"]


def test_a_batch_paused_where_it_runs_goes_on_when_resumed_from_elsewhere(cli, demo: bk.DemoPlatform) -> None:
    with bk.Workspace() as ws:
        agent, table = ws.agent("Permit filer"), bk.read_csv("permits.csv")
        checked = ws.validate(table, ws.suggest_mapping(table, agent), agent)
        batch = ws.create_batch(checked, bk.BatchConfig(name="Here", max_concurrent=2, batch_interval=600))
        eventually(lambda: batch.progress.triggered == 2)
        batch.pause()
        batch.update(batch_interval=0)
        assert cli("resume", batch.id).code == Exit.OK
        batch.join()
    assert clients(demo) == ["Altmann", "Brenner", "Cordes", "Dahl", "Ehlers"]


def test_a_batch_whose_process_was_killed_goes_on(cli, demo: bk.DemoPlatform) -> None:
    with Spawned(*RUN, "--max-concurrent", "2", "--batch-interval", "600") as running:
        running.until("runs in this terminal")
        eventually(lambda: len(demo.executions()) == 2 and the_batch(cli)["progress"]["triggered"] == 2)
        running.process.kill()
        running.end()
    batch = the_batch(cli)
    # as if thirteen of the fifteen seconds had passed for which the killed process has the batch
    with sqlite3.connect(os.environ["BATCHKIT_STORE"]) as store:
        store.execute("UPDATE batch SET lease_expires = lease_expires - 13")
    store.close()
    hurry(batch["id"])
    done = cli("resume", batch["id"])
    assert done.code == Exit.OK, done
    assert clients(demo) == ["Altmann", "Brenner", "Cordes", "Dahl", "Ehlers"]


def test_what_a_killed_process_left_in_doubt_is_shown_with_the_time_it_is_looked_up(cli, demo: bk.DemoPlatform) -> None:
    demo.faults.answer_delay = 60.0
    with Spawned(*RUN, "--batch-interval", "600") as running:
        running.until("runs in this terminal")
        eventually(lambda: len(demo.executions()) == 5)
        running.process.kill()
        running.end()
    batch = the_batch(cli)
    with sqlite3.connect(os.environ["BATCHKIT_STORE"]) as store:
        store.execute("UPDATE batch SET lease_expires = lease_expires - 13")
    store.close()
    with Spawned("resume", batch["id"]) as resumed:
        resumed.until("5 in doubt until ")
        shown = cli("show", batch["id"]).out
        resumed.send(signal.SIGINT)
        assert resumed.end() == Exit.INTERRUPTED
    assert "(5 in doubt until " in shown


# Terminals


class Terminal:
    """A command on a terminal of 80 columns."""

    def __init__(self, *argv: str) -> None:
        self._ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "batchkit", *argv], stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True
        )
        os.close(theirs)
        self._watch = threading.Timer(90, self.process.kill)
        self._watch.start()
        self.screen = ""

    def until(self, text: str) -> None:
        """Read on until `text` was printed; an empty text: to the end."""
        while not text or text not in self.screen:
            try:
                data = os.read(self._ours, 4096)
            except OSError:
                data = b""
            if not data:
                assert not text, self.screen
                return
            self.screen += data.decode("utf-8", "replace")

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def end(self) -> int:
        self.until("")
        self._watch.cancel()
        os.close(self._ours)
        return self.process.wait()


def test_a_terminal_shows_a_bar_and_nothing_wider_than_itself(cli) -> None:
    shown = Terminal(*RUN, "--max-concurrent", "3", "--batch-interval", "600", "--wait", "finished")
    shown.until("next group at ")
    hurry(the_batch(cli)["id"])
    assert shown.end() == Exit.OK
    assert "100% |██████████████████| 5 of 5 finished" in shown.screen
    lines = [line for row in shown.screen.split("\n") for line in row.split("\r")]
    # a path without a space cannot be wrapped
    assert max(len(line) for line in lines if " " in line.strip()) <= 80


def test_cancel_asks_on_a_terminal(cli, demo: bk.DemoPlatform) -> None:
    with Spawned(*RUN, "--max-concurrent", "2", "--batch-interval", "600") as running:
        running.until("runs in this terminal")
        eventually(lambda: len(demo.executions()) == 2)
        batch_id = the_batch(cli)["id"]
        for answer, code, status in (("n\n", Exit.STOPPED, "running"), ("yes\n", Exit.OK, "cancelled")):
            asked = Terminal("cancel", batch_id)
            asked.until("Cancel it? [y/N] ")
            asked.type(answer)
            assert asked.end() == code
            assert the_batch(cli)["status"] == status


def test_help_tells_exit_codes_and_fits_a_terminal(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    commands = ("demo", "serve", "run", "list", "show", "pause", "resume", "cancel", "results", "rerun")
    commands += ("demo-platform",)
    for argv in ((), *((command,) for command in commands)):
        done = cli(*argv, "--help")
        assert done.code == Exit.OK
        assert max(map(len, done.out.splitlines())) <= 80
    for argv in ((), ("run",)):
        assert "130  interrupted by Ctrl-C" in cli(*argv, "--help").out
    assert cli("--version").out == f"batchkit {bk.__version__}\n"


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from batchkit.cli import main\n"
        "try: main(['run', '--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('pandas', 'pyarrow', 'sqlalchemy', 'httpx', 'uvicorn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_leaves_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BATCHKIT_STORE")
    command = (
        f"{sys.executable} -m batchkit run --help; {sys.executable} -m batchkit list | true; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout.splitlines()[-1], done.stderr) == ("0", "")


# The demo platform


def test_demo_runs_on_the_demo_platform_whatever_is_configured(cli, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("BATCHKIT_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("BATCHKIT_STORE")
    monkeypatch.setattr("batchkit.cli_run._DEMO_INTERVAL", 0.5)
    done = cli("demo", "--headless")
    assert done.code == Exit.OK, done
    batch = the_batch(cli)
    assert (batch["status"], batch["progress"]["triggered"], batch["progress"]["executions"]["running"]) == (
        "completed",
        10,
        0,
    )
    assert "Altmann Bakery" in done.out
    assert f"batchkit show {batch['id']}" in done.out
    assert (tmp_path / "data" / "batchkit" / "batchkit.sqlite").exists()


def test_the_demo_platform_serves_until_told_to_end_and_keeps_its_state(cli, tmp_path: Path, monkeypatch) -> None:
    state = str(tmp_path / "platform.sqlite")
    keys = set()
    for _ in range(2):
        with Spawned("demo-platform", "--port", "0", "--state", state) as serving:
            url = serving.until("export BATCHKIT_URL=").strip().partition("=")[2]
            key = serving.until("export BATCHKIT_API_KEY=").strip().partition("=")[2]
            keys.add(key)
            monkeypatch.setenv("BATCHKIT_URL", url)
            monkeypatch.setenv("BATCHKIT_API_KEY", key)
            assert cli(*RUN, "--dry-run").code == Exit.OK
            serving.send(signal.SIGTERM)
            assert serving.end() == 0
    assert len(keys) == 1


def test_a_batch_that_has_ended_is_put_away_and_deleted(cli) -> None:
    assert cli(*RUN, "--batch-interval", "0").code == Exit.OK
    batch_id = the_batch(cli)["id"]
    assert cli("list", "--archived").out == "None of these batches is archived.\n"
    with bk.Workspace() as ws:
        ws.batch(batch_id).archive()
    assert cli("list").out == "All of them are archived: --archived.\n"
    assert batch_id in cli("list", "--archived").out
    refused = cli("delete", batch_id)
    assert (refused.code, "add --yes" in refused.err) == (Exit.WRONG, True)
    assert cli("delete", batch_id, "--yes").out.startswith(f"Deleted {batch_id}")
    assert cli("list").out.startswith("There are no batches yet")


def test_what_a_worker_logs_for_programs_is_not_said_a_second_time_for_people(
    cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchkit.worker.Worker.run", lambda *_: logging.getLogger("batchkit").warning("Look here."))
    handlers = list(logging.getLogger("batchkit").handlers)
    try:
        done = cli("worker", "--log", "json")
    finally:
        logging.getLogger("batchkit").handlers = handlers
    assert [json.loads(line)["message"] for line in done.out.splitlines()].count("Look here.") == 1
    assert done.err == ""
