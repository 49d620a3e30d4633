"""What the command line shows: lines fitted to the terminal, tables, the progress of a batch; and how a command ends.

Text from a file or a server reaches the terminal only with its control characters made visible.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import textwrap
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from enum import IntEnum
from types import FrameType, TracebackType
from typing import Never, Self, TextIO

from tqdm import tqdm

from batchkit.core.lifecycle import BatchStatus
from batchkit.core.record import BatchRecord
from batchkit.core.waiting import Until

__all__ = [
    "INTERRUPTION",
    "SIGNALS",
    "Exit",
    "Interruption",
    "Meter",
    "awaited",
    "clock",
    "fit",
    "line_width",
    "pairs",
    "say",
    "standing",
    "table",
    "visible",
    "warn",
    "width_of",
]

#: what ends a command as Ctrl-C does
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
#: seconds within which a further signal is taken for the same one: `timeout`, a supervisor and a terminal send two
_DOUBLED = 1.0
#: of lines that do not go to a terminal: nothing is cut
_UNLIMITED = 100_000
#: a column of a table is not made narrower than this, so that ids stay whole
_NARROWEST = 10
_GAP = 2
#: seconds between two lines of progress where there is no terminal
_BETWEEN_LINES = 5.0
#: what a progress bar takes beside its text: the percentage, the bar, the counts
_BAR = "{percentage:3.0f}% |{bar:18}| {n_fmt} of {total_fmt} {desc}"
_BAR_WIDTH = 26
#: unseen, or turning what follows around, or obeyed by the terminal; joiners are part of words
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"


class Exit(IntEnum):
    """Exit codes scripts can rely on."""

    OK = 0
    #: the batch could not be brought to its end, or the command is not possible as the batch stands
    STOPPED = 1
    #: the command, the file, the mapping or a parameter is wrong; nothing was sent
    WRONG = 2
    #: the target or the store is not available
    UNAVAILABLE = 3
    #: with --strict: the batch ended, but not every row went well
    INCOMPLETE = 4
    INTERRUPTED = 130


class Interruption:
    """Ctrl-C, SIGTERM or a closed terminal while a command runs: the first of them raises KeyboardInterrupt, once.

    Within `deferred` it is raised at `check`, where no lock is held. What comes within a second of the first is
    ignored, unless `again_leaves` was called; what comes later leaves the process at once.
    """

    def __init__(self) -> None:
        self._came: float | None = None
        self._deferred = self._pending = self._again_leaves = False

    @contextmanager
    def heard(self) -> Iterator[None]:
        """While inside, signals interrupt the command; what was ignored stays so (nohup)."""
        self._came, self._deferred, self._pending, self._again_leaves = None, False, False, False
        usual = (signal.SIG_DFL, signal.default_int_handler)
        heard = [number for number in SIGNALS if signal.getsignal(number) in usual]
        before = {number: signal.signal(number, self._hear) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """While inside, a signal interrupts only at `check`, or at the end."""
        outer, self._deferred = self._deferred, True
        try:
            yield
        finally:
            self._deferred = outer
        self.check()

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal came while that was deferred."""
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt

    def again_leaves(self) -> None:
        """From now on one more signal leaves the process at once, however soon it comes."""
        self._again_leaves = True

    def leave(self, code: int) -> None:
        """End the process if it was interrupted: on the usual way out, one more signal would change the exit code."""
        if self._came is not None:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
            os._exit(code)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._came is None:
            self._came = now
            if not self._deferred:
                raise KeyboardInterrupt
            self._pending = True
        elif self._again_leaves or now - self._came > _DOUBLED:
            os._exit(Exit.INTERRUPTED)


#: of this process, as signals are
INTERRUPTION = Interruption()


# Text


def visible(text: str) -> str:
    """`text` with control characters in a visible form, so that a terminal shows them and does not obey them."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in _JOINERS else _shown(char) for char in text)


def width_of(text: str) -> int:
    """How many cells of a terminal visible text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_cells, text))


def fit(text: str, width: int) -> str:
    """`text` made visible and cut to `width` cells; an ellipsis stands for what was cut."""
    shown = visible(text if len(text) <= 4 * width else text[: 4 * width] + "…")
    if width_of(shown) <= width:
        return shown
    used = 0
    for at, char in enumerate(shown):
        used += _cells(char)
        if used > width - 1:
            return shown[:at].rstrip() + "…"
    return shown


def table(
    headers: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[str] = (), whole: bool = False
) -> str:
    """A table that fits the terminal, or that nothing is cut from where the output is no terminal.

    numbers: the headers of columns that are set flush right. Columns for which there is no room are named below.
    whole: the last column is continued on further lines instead of being cut.
    """
    width = line_width(sys.stdout)
    content = [[visible(cell) if whole else fit(cell, width) for cell in row] for row in rows]
    natural = [max([width_of(header), *(width_of(row[at]) for row in content)]) for at, header in enumerate(headers)]
    shown = len(headers)
    while shown > 1 and sum(min(each, _NARROWEST) + _GAP for each in natural[:shown]) - _GAP > width:
        shown -= 1
    widths = _shrunk(natural[:shown], width)
    right = [header in set(numbers) for header in headers]
    lines = [_line(headers, widths, right), "  ".join("─" * each for each in widths).rstrip()]
    for row in content:
        *cells, last = row[:shown]
        first, *more = _wrapped(last, widths[-1]) if whole else [last]
        lines.append(_line([*cells, first], widths, right))
        lines += [_line([*[""] * len(cells), text], widths, right) for text in more]
    if shown < len(headers):
        lines.append(f"(no room for: {', '.join(headers[shown:])})")
    return "\n".join(lines)


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """Lines of a label and a text, the texts under one another."""
    entries = [(label, visible(text)) for label, text in rows]
    indent = max((len(label) for label, _ in entries), default=0) + _GAP
    width = max(line_width(sys.stdout) - indent, _NARROWEST)
    lines = [f"{label:<{indent}}" + f"\n{' ' * indent}".join(_wrapped(text, width)) for label, text in entries]
    return "\n".join(lines)


def line_width(stream: TextIO) -> int:
    """Cells in a line of what `stream` goes to."""
    if stream.isatty() or "COLUMNS" in os.environ:
        return max(20, shutil.get_terminal_size().columns)
    return _UNLIMITED


def clock(moment: datetime, now: datetime) -> str:
    """A moment in local time, with the date unless it is today."""
    local = moment.astimezone()
    return f"{local:%H:%M:%S}" if local.date() == now.astimezone().date() else f"{local:%Y-%m-%d %H:%M:%S}"


def say(text: str = "", *, wrap: bool = True) -> None:
    """Print to standard output, lines that are too long for the terminal wrapped unless told otherwise."""
    _print(sys.stdout, text, wrap)


def warn(text: str) -> None:
    """Print to standard error, lines that are too long for the terminal wrapped."""
    _print(sys.stderr, text, True)


# The progress of a batch


def awaited(batch: BatchRecord, now: datetime, settled: datetime | None = None) -> str:
    """What a batch waits for, in a few words; empty: for nothing.

    settled: when what is in doubt is looked up, if that is known.
    """
    progress = batch.progress
    if batch.status is BatchStatus.PAUSED:
        return f"paused: {batch.reason}" if batch.reason else "paused"
    if batch.status is BatchStatus.PENDING:
        return f"starts at {clock(batch.start_at, now)}"
    if batch.reason:
        return batch.reason
    if batch.status is BatchStatus.RUNNING and batch.next_due is not None:
        due = max(batch.next_due, batch.gate_at or batch.next_due)
        if due - now > timedelta(seconds=0.5):
            return f"next group at {clock(due, now)}"
    if progress.triggering:
        return f"{progress.triggering:,} on their way"
    if progress.in_doubt and not progress.pending:
        if settled is None or settled <= now:
            return f"{progress.in_doubt:,} in doubt, to be looked up"
        return (
            f"{progress.in_doubt:,} in doubt until {clock(settled, now)}, then looked up (the platform may list late)"
        )
    if progress.executions.open and not progress.pending:
        people = f", {progress.executions.waiting:,} waiting for a person" if progress.executions.waiting else ""
        return f"{progress.executions.running:,} running{people}"
    return ""


def standing(batch: BatchRecord, until: Until, now: datetime, settled: datetime | None = None) -> tuple[int, int, str]:
    """(how many, of how many, what is said of them): rows triggered, then, if waited for, executions finished."""
    progress = batch.progress
    done, total, word = progress.triggered, progress.total, "triggered"
    if until == "finished" and batch.status.final:
        done, total, word = progress.triggered - progress.executions.open, progress.triggered, "finished"
    what = awaited(batch, now, settled)
    return done, total, f"{word}, {what}" if what else word


class Meter:
    """The progress of one batch on standard error: a bar on a terminal, else a line every few seconds."""

    def __init__(self, until: Until) -> None:
        self._until: Until = until
        self._bar: tqdm[Never] | None = None
        self._said: tuple[int, int, str] | None = None
        self._said_at = 0.0
        self._reason = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            if self._bar is not None:
                self._bar.close()

    def show(self, batch: BatchRecord, now: datetime, *, settled: datetime | None = None, last: bool = False) -> None:
        """Bring it up to date. settled: as for `awaited`. last: say it whenever that was last done."""
        state = standing(batch, self._until, now, settled)
        if sys.stderr.isatty():
            # The terminal may have been closed; the batch goes on.
            with suppress(OSError):
                self._draw(*state)
                if batch.reason not in ("", self._reason):
                    tqdm.write("\n".join(_wrapped(visible(batch.reason), line_width(sys.stderr))), file=sys.stderr)
            self._reason = batch.reason
            return
        late = time.monotonic() - self._said_at >= _BETWEEN_LINES
        if state != self._said and (late or last):
            self._said, self._said_at = state, time.monotonic()
            done, total, text = state
            warn(f"{clock(now, now)}  {done:,} of {total:,} {text}")

    def _draw(self, done: int, total: int, text: str) -> None:
        if self._bar is None:
            self._bar = tqdm(total=total, file=sys.stderr, dynamic_ncols=True, bar_format=_BAR, delay=1e-9)
        bar = self._bar
        room = line_width(sys.stderr) - _BAR_WIDTH - len(f" {done} of {total} ") - 1
        text = fit(text, max(room, 1))
        if (bar.n, bar.total, bar.desc) != (done, total, text):
            bar.n, bar.total = done, total
            bar.set_description_str(text, refresh=True)


# Inside


def _shown(char: str) -> str:
    category = unicodedata.category(char)
    if category == "Zs":
        return " "
    return char.encode("unicode_escape").decode("ascii") if category in _HIDDEN else char


def _cells(char: str) -> int:
    if unicodedata.combining(char) or char in _JOINERS or unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _shrunk(natural: Sequence[int], width: int) -> list[int]:
    """The widths, the widest narrowed first, so that they fit with gaps between."""
    widths = list(natural)
    while sum(widths) + _GAP * (len(widths) - 1) > width and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    return widths


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = []
    for cell, width, flush_right in zip(cells, widths, right, strict=False):
        text = fit(cell, width)
        space = " " * (width - width_of(text))
        padded.append(space + text if flush_right else text + space)
    return (" " * _GAP).join(padded).rstrip()


def _print(stream: TextIO, text: str, wrap: bool) -> None:
    width = line_width(stream) if wrap else _UNLIMITED
    lines = []
    for line in text.split("\n"):
        lines += _wrapped(visible(line), width)
    try:
        stream.write("\n".join(lines) + "\n")
        stream.flush()
    except OSError:
        # Nobody reads it any more; a batch that runs must not end for that.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _wrapped(line: str, width: int) -> list[str]:
    """The line over as many as it takes; words that are longer are left whole."""
    if width_of(line) <= width:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    ) or [""]
