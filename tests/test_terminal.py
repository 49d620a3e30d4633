"""What the command line shows: fitted text, tables, and what a batch is said to wait for."""

from __future__ import annotations

import io
import signal
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from batch_records import batch_record
from hypothesis import given
from hypothesis import strategies as st

from batchkit import terminal
from batchkit.core.lifecycle import BatchStatus
from batchkit.core.progress import ExecutionCounts, Progress
from batchkit.core.target import TargetInfo
from batchkit.terminal import (
    SIGNALS,
    Interruption,
    Meter,
    awaited,
    clock,
    fit,
    say,
    standing,
    table,
    visible,
    width_of,
)

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
BATCH = batch_record(
    NOW,
    id="b234567890",
    name="March",
    agent_name="Filer",
    version=1,
    target=TargetInfo(kind="asteroid", url="http://127.0.0.1:1"),
    source="permits.csv",
    owner="ada",
    progress=Progress(total=10, pending=6, triggered=4),
    next_due=NOW + timedelta(seconds=60),
)


@given(st.text())
def test_nothing_a_terminal_obeys_is_left_in_visible_text(text: str) -> None:
    shown = visible(text)
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 or char in "\u202e\u2066\u2028" for char in shown)
    assert visible(shown) == shown
    shown.encode("utf-8")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("two\nlines\t", "two\\nlines\\t"),
        ("\u202eabc", "\\u202eabc"),
        ("\x9b31m", "\\x9b31m"),
        ("half \ud800", "half \\ud800"),
        ("a\xa0b", "a b"),
        ("Köln 東京 👩\u200d🔧", "Köln 東京 👩\u200d🔧"),
    ],
)
def test_control_characters_get_a_visible_form_and_letters_keep_theirs(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(), st.integers(1, 30))
def test_fitted_text_is_never_wider_than_asked(text: str, width: int) -> None:
    assert width_of(fit(text, width)) <= width


def test_text_that_fits_is_left_whole_and_wide_letters_count_twice() -> None:
    assert fit("short", 5) == "short"
    assert fit("longer", 5) == "long…"
    assert fit("東京都", 5) == "東京…"
    assert fit("東京都", 6) == "東京都"
    assert width_of("e\u0301") == 1


@given(
    st.lists(st.lists(st.text(max_size=60), min_size=4, max_size=4), max_size=5),
    st.integers(20, 100),
    st.booleans(),
)
def test_a_table_fits_the_terminal(rows: list[list[str]], width: int, whole: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        shown = table(["row", "client", "status", "what came back"], rows, numbers=["row"])
        assert max(width_of(line) for line in shown.split("\n") if not line.startswith("(no room")) <= width


def test_columns_without_room_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "24")
    shown = table(["a", "long header", "another one", "fourth"], [["x" * 30] * 4])
    assert shown.endswith("(no room for: another one, fourth)")


def test_the_last_column_can_be_continued_on_further_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "24")
    shown = table(["row", "why"], [["2", "one two three four five six seven"]], numbers=["row"], whole=True)
    assert shown.split("\n")[2:] == ["  2  one two three four", "     five six seven"]


def test_nothing_is_cut_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert "x" * 500 in table(["row"], [["x" * 500]])


def test_long_lines_are_wrapped_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    say("  words that are too many for one line of thirty")
    assert capsys.readouterr().out == "  words that are too many for\n  one line of thirty\n"


def test_a_time_has_its_date_unless_it_is_today() -> None:
    assert len(clock(NOW, NOW)) == len("09:00:00")
    assert len(clock(NOW, NOW + timedelta(days=2))) == len("2026-03-01 09:00:00")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, f"next group at {clock(NOW + timedelta(seconds=60), NOW)}"),
        ({"gate_at": NOW + timedelta(seconds=90)}, f"next group at {clock(NOW + timedelta(seconds=90), NOW)}"),
        ({"next_due": NOW}, ""),
        ({"status": BatchStatus.PAUSED}, "paused"),
        ({"status": BatchStatus.PAUSED, "reason": "No money."}, "paused: No money."),
        ({"status": BatchStatus.PENDING}, f"starts at {clock(NOW, NOW)}"),
        ({"reason": "The target asked to wait."}, "The target asked to wait."),
        ({"next_due": None, "progress": Progress(total=3, triggering=2, triggered=1)}, "2 on their way"),
        ({"next_due": None, "progress": Progress(total=3, in_doubt=2, triggered=1)}, "2 in doubt, to be looked up"),
        (
            {
                "status": BatchStatus.COMPLETED,
                "next_due": None,
                "progress": Progress(total=3, triggered=3, executions=ExecutionCounts(running=1, waiting=2)),
            },
            "1 running, 2 waiting for a person",
        ),
    ],
)
def test_a_batch_says_what_it_waits_for(changes: dict, said: str) -> None:
    assert awaited(replace(BATCH, **changes), NOW) == said


def test_what_is_in_doubt_is_said_to_be_so_until_it_is_looked_up() -> None:
    batch = replace(BATCH, next_due=None, progress=Progress(total=4, in_doubt=4))
    at = NOW + timedelta(seconds=180)
    said = f"4 in doubt until {clock(at, NOW)}, then looked up (the platform may list late)"
    assert awaited(batch, NOW, at) == said
    assert standing(batch, "triggered", NOW, at) == (0, 4, f"triggered, {said}")
    assert awaited(batch, at, at) == "4 in doubt, to be looked up"


def test_the_first_signal_interrupts_and_its_double_does_not() -> None:
    interruption = Interruption()
    before = [signal.getsignal(number) for number in SIGNALS]
    with interruption.heard():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        interruption.check()
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_deferred_signal_interrupts_once_where_that_is_checked_or_at_the_end() -> None:
    interruption = Interruption()
    with interruption.heard():
        stack = ExitStack()
        stack.enter_context(interruption.deferred())
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            stack.close()
        interruption.check()
    with interruption.heard(), interruption.deferred():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interruption.check()


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption().heard():
            signal.raise_signal(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_after_the_last_trigger_the_ended_executions_are_counted_if_waited_for() -> None:
    executions = ExecutionCounts(running=3, succeeded=6, failed=1)
    batch = replace(
        BATCH,
        status=BatchStatus.COMPLETED,
        next_due=None,
        progress=Progress(total=12, triggered=10, refused=2, executions=executions),
    )
    assert standing(batch, "finished", NOW) == (7, 10, "finished, 3 running")
    assert standing(batch, "triggered", NOW) == (10, 12, "triggered, 3 running")


def test_without_a_terminal_progress_is_said_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = iter([100.0, 100.0, 101.0, 106.0, 106.0, 107.0, 107.0])
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(seconds))
    with Meter("triggered") as meter:
        for triggered, last in ((1, False), (2, False), (3, False), (4, True)):
            meter.show(replace(BATCH, next_due=None, progress=Progress(total=9, triggered=triggered)), NOW, last=last)
    lines = [line.split("  ")[1] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["1 of 9 triggered", "3 of 9 triggered", "4 of 9 triggered"]


def test_a_stream_nobody_reads_any_more_is_left_alone(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(tmp_path / "file", "w", encoding="utf-8") as file:
        full = io.TextIOWrapper(_Full(file), encoding="utf-8", write_through=True)
        monkeypatch.setattr(terminal.sys, "stdout", full)
        say("lost")
        say("lost too")
        full.detach()


class _Full(io.RawIOBase):
    """A stream on which every write fails, until its descriptor is pointed elsewhere."""

    def __init__(self, file: io.TextIOWrapper) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def write(self, data: object) -> int:
        raise BrokenPipeError
