"""The careful reading of a CSV that has anything odd about it.

It goes through the file record by record, notes what is wrong and where, and writes the sound records out again
as a CSV beyond doubt, for the same fast reader to make a table of. So both ways give the same cells.
"""

from __future__ import annotations

import io
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from batchkit.io.dialect import Text
from batchkit.io.grammar import Grammar, Record, count_lines, read_record
from batchkit.io.problems import LISTED, Problems, excerpt
from batchkit.io.survey import MANY_LINES
from batchkit.io.swallowed import add_swallowed, swallowed_lines

__all__ = ["Place", "Sound", "read_carefully"]

_SLICE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a record is: its offset in the text, its row as a spreadsheet counts, its first line."""

    offset: int
    row: int
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """The records that fit the header."""

    #: CSV without header, lines ended by LF
    data: bytes
    #: per record, blank lines and records left out counted
    rows: np.ndarray
    #: per record, its first line in the file
    lines: np.ndarray
    #: what ends a record: "\n", "\r\n", "\r" or "mixed"
    newline: str


def read_carefully(text: Text, header: Place, end: int, delimiter: str, problems: Problems) -> Sound:
    """The sound records between the header and `end`; everything else is added to `problems`."""
    reading = _Reading(text.data, header, end, delimiter, problems)
    reading.run()
    nuls = _offsets_of(b"\0", text.data, header.offset, end)
    for kind, offsets, total in (
        ("nul_bytes", nuls, text.data.count(b"\0", header.offset, end)),
        ("undecodable_bytes", text.undecodable, text.undecodable_count),
    ):
        for line, row in reading.locate(offsets):
            problems.add(kind, row=row, line=line, expected=text.encoding)
        problems.count(kind, total - len(offsets))
    return Sound(
        data=reading.out.getvalue(),
        rows=np.frombuffer(reading.rows, np.int64),
        lines=np.frombuffer(reading.lines, np.int64),
        newline=reading.newline(),
    )


class _Reading:
    """One pass over the records; `row` and `line` are those of the next."""

    def __init__(self, data: bytes, header: Place, end: int, delimiter: str, problems: Problems) -> None:
        self.data = data
        self.header = header
        self.end = end
        self.grammar = Grammar.of(delimiter)
        self.problems = problems
        self.out = io.BytesIO()
        self.rows = array("q")
        self.lines = array("q")
        self.record = read_record(data, header.offset, end, self.grammar)
        self.columns = len(self.record.cells)
        self.sound = self.grammar.sound(self.columns)
        self.sound_lines = self.grammar.sound_lines(self.columns)
        self.row, self.line = header.row, header.line
        self.newlines: set[bytes] = set()
        #: first line, row and number of lines of the header and of each record of several lines
        self.anchors: list[tuple[int, int, int]] = []

    def run(self) -> None:
        """Read the header, then stretches of lines without a quote and records with one in turns."""
        data, end = self.data, self.end
        self._odd(self.record)
        self._pass(self.header.offset, self.record.end, anchor=True)
        position = self.record.end
        while position < end:
            quote = data.find(b'"', position, end)
            stop = end if quote < 0 else self._line_start(position, quote)
            if stop > position:
                self._plain(position, stop)
            position = stop if quote < 0 else self._quoted(stop)

    def newline(self) -> str:
        """What ends the records read so far."""
        if len(self.newlines) > 1:
            return "mixed"
        return next(iter(self.newlines), b"\n").decode()

    def locate(self, offsets: Iterable[int]) -> Iterator[tuple[int, int]]:
        """The line and row of ascending offsets, each row once."""
        line, position, last = self.header.line, self.header.offset, 0
        for offset in offsets:
            line += count_lines(self.data, position, offset)
            position = offset
            first, row, count = self.anchors[bisect_right(self.anchors, (line, self.row, 0)) - 1]
            row += max(0, line - (first + count - 1))
            if row != last:
                yield line, row
            last = row

    def _line_start(self, start: int, place: int) -> int:
        found = max(self.data.rfind(b"\n", start, place), self.data.rfind(b"\r", start, place))
        return start if found < 0 else found + 1

    def _plain(self, start: int, stop: int) -> None:
        """Whole lines without a quote, a megabyte at a time."""
        data, mark, expected = self.data, self.grammar.delimiter, self.columns - 1
        while start < stop:
            cut = self._cut(start, stop)
            lines = data[start:cut].splitlines()
            counts = [line.count(mark) for line in lines]
            if counts.count(expected) == len(counts) and b"" not in lines:
                self._keep_lines(lines)
            else:
                self._mixed(lines, counts)
            self._note_newlines(data[start:cut])
            start = cut

    def _cut(self, start: int, stop: int) -> int:
        """The end of the last whole line within a slice, or of the first where it is longer."""
        data = self.data
        if stop - start <= _SLICE:
            return stop
        cut = self._line_start(start, start + _SLICE)
        if cut == start:
            ends = [found for mark in (b"\n", b"\r") if (found := data.find(mark, start, stop)) >= 0]
            cut = min(ends) + 1 if ends else stop
        return cut + 1 if data[cut - 1 : cut + 1] == b"\r\n" else cut

    def _mixed(self, lines: list[bytes], counts: list[int]) -> None:
        expected = self.columns - 1
        for line, count in zip(lines, counts, strict=True):
            if not line and expected:
                self.problems.add("blank_line", row=self.row, line=self.line)
            elif count != expected:
                self._ragged(count + 1)
            else:
                self._keep(line or b'""')
            self.row += 1
            self.line += 1

    def _quoted(self, start: int) -> int:
        """Sound lines as long as there are any, else one record; returns where the next one begins."""
        data, end = self.data, self.end
        if match := self.sound_lines.match(data, start, end):
            self._keep_lines(match[0].splitlines())
            self._note_newlines(match[0])
            return match.end()
        if match := self.sound.match(data, start, end):
            stop = match.end()
            lines = count_lines(data, start, stop)
            if lines < 2 or (lines < MANY_LINES and not self._suspicious(start, stop)):
                self._keep(data[start:stop])
                after = stop + 2 if data[stop : stop + 2] == b"\r\n" else min(stop + 1, end)
                self._pass(start, after)
                return after
        record = read_record(data, start, end, self.grammar)
        self._odd(record)
        if record.unclosed is None:
            if len(record.cells) != self.columns:
                self._ragged(len(record.cells))
            else:
                self._keep(self.grammar.delimiter.join(b'"' + c.replace(b'"', b'""') + b'"' for c in record.cells))
        self._pass(start, record.end)
        return record.end

    def _suspicious(self, start: int, stop: int) -> bool:
        """Whether a record of several lines has delimiters enough for one of its cells to have swallowed rows."""
        return self.columns > 1 and self.data.count(self.grammar.delimiter, start, stop) >= 2 * (self.columns - 1)

    def _pass(self, start: int, stop: int, *, anchor: bool = False) -> None:
        """Count a record by its lines."""
        count = count_lines(self.data, start, stop) + (stop == self.end)
        if stop < self.end:
            self._note_newlines(self.data[max(start, stop - 2) : stop])
        if count > 1 or anchor:
            self.anchors.append((self.line, self.row, count))
        self.row += 1
        self.line += count

    def _note_newlines(self, piece: bytes) -> None:
        if b"\r" not in piece:
            if b"\n" in piece:
                self.newlines.add(b"\n")
            return
        pairs = piece.count(b"\r\n")
        for mark, count in ((b"\r\n", pairs), (b"\n", piece.count(b"\n") - pairs), (b"\r", piece.count(b"\r") - pairs)):
            if count:
                self.newlines.add(mark)

    def _keep_lines(self, lines: list[bytes]) -> None:
        """Records of one line each."""
        self.out.write(b"\n".join(lines) + b"\n")
        self.rows.extend(range(self.row, self.row + len(lines)))
        self.lines.extend(range(self.line, self.line + len(lines)))
        self.row += len(lines)
        self.line += len(lines)

    def _keep(self, record: bytes) -> None:
        self.out.write(record + b"\n")
        self.rows.append(self.row)
        self.lines.append(self.line)

    def _ragged(self, actual: int) -> None:
        kind = "row_too_short" if actual < self.columns else "row_too_long"
        self.problems.add(kind, row=self.row, line=self.line, expected=self.columns, actual=actual)

    def _odd(self, record: Record) -> None:
        for kind, cell in (
            ("unclosed_quote", record.unclosed),
            ("text_after_quote", record.trailing),
            ("quote_after_space", record.spaced),
        ):
            if cell is not None:
                text = cell[:200].decode("utf-8", "ignore")
                self.problems.add(kind, row=self.row, line=self.line, actual=excerpt(text))
        if record.unclosed is None:
            for position, cell in enumerate(record.cells):
                self._long(position, cell)

    def _long(self, position: int, cell: bytes) -> None:
        """Note a cell of several lines that may have swallowed rows."""
        lines = count_lines(cell, 0, len(cell)) + 1
        if lines > MANY_LINES:
            text = cell[:200].decode("utf-8", "ignore")
            self.problems.add(
                "cell_with_many_lines", row=self.row, line=self.line, expected=excerpt(text), actual=lines
            )
        elif lines > 2 and (count := swallowed_lines(cell, position, self.columns, self.grammar.delimiter)):
            add_swallowed(self.problems, cell, count, row=self.row, line=self.line)


def _offsets_of(mark: bytes, data: bytes, start: int, end: int) -> list[int]:
    """Where `mark` is, the first thousand places."""
    offsets: list[int] = []
    while len(offsets) < LISTED and (start := data.find(mark, start, end)) >= 0:
        offsets.append(start)
        start += 1
    return offsets
