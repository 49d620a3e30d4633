"""One record of a CSV, read exactly: what a cell is, what a quote means, where a line ends.

A quote counts as one only where a cell begins; within quotes a doubled quote is a quote, and everything else is text.
Lines end with LF, CRLF or CR. This is RFC 4180 and what spreadsheets and Python's csv module do.
All functions work on UTF-8: quotes, line ends and the delimiter are single bytes there.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Grammar", "Record", "count_lines", "end_of_text", "read_record"]

# What a pattern may have to remember at once is bounded by these; longer stretches are matched in several goes,
# cells with more doubled quotes read one by one. (Possessive patterns would need no bound, but match wrongly in
# Python 3.11.0 to 3.11.4.)
_CELLS_AT_ONCE = 10_000
_DOUBLED_AT_MOST = 99

_QUOTES = re.compile(rb'"+')


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """What depends on the delimiter."""

    delimiter: bytes
    #: the rest of a cell without quotes
    plain: re.Pattern[bytes]

    @staticmethod
    @lru_cache
    def of(delimiter: str) -> Grammar:
        """The grammar of a delimiter, one ASCII character."""
        mark = delimiter.encode("ascii")
        return Grammar(delimiter=mark, plain=re.compile(rb"[^%s\r\n]*" % re.escape(mark)))

    def sound(self, columns: int) -> re.Pattern[bytes]:
        """One record of so many cells with nothing odd about it, its line end not included."""
        return re.compile(rb"%s(?=[\r\n]|\Z)" % self._cells(columns, rb'[^"]*'))

    def sound_lines(self, columns: int) -> re.Pattern[bytes]:
        """Some such records of one line each, their line ends included."""
        cells = self._cells(columns, rb'[^"\r\n]*')
        return re.compile(rb"(?:(?![\r\n])%s(?:\r\n|\r|\n)){1,%d}" % (cells, max(1, _CELLS_AT_ONCE // columns)))

    def _cells(self, columns: int, inner: bytes) -> bytes:
        mark = re.escape(self.delimiter)
        blanks = b" \t".replace(self.delimiter, b"")
        quoted = rb'"%s(?:""%s){0,%d}"' % (inner, inner, _DOUBLED_AT_MOST)
        cell = rb'(?:%s|(?![%s]*")[^%s\r\n]*)' % (quoted, blanks, mark)
        return rb"%s(?:%s%s){%d}" % (cell, mark, cell, columns - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record, and what is odd about it."""

    cells: list[bytes]
    #: where the next one begins, past the line end
    end: int
    #: the first cell whose opening quote has no closing one; it took the rest of the file
    unclosed: bytes | None = None
    #: the first cell with text after its closing quote; such a cell is kept as it stands, quotes included
    trailing: bytes | None = None
    #: the first cell with a space before its opening quote
    spaced: bytes | None = None


def read_record(data: bytes, start: int, end: int, grammar: Grammar, *, most: int = sys.maxsize) -> Record:
    """The record at `start`; `end` is where the text ends. It is left off after `most` cells and one more."""
    cells: list[bytes] = []
    unclosed = trailing = spaced = None
    while True:
        if data[start : start + 1] == b'"' and start < end:
            closing = _closing_quote(data, start + 1, end)
            if closing < 0:
                cell, stop = data[start:end], end
                unclosed = cell
            else:
                stop = _end(grammar.plain, data, closing + 1, end)
                if stop == closing + 1:
                    cell = data[start + 1 : closing].replace(b'""', b'"')
                else:
                    cell = data[start:stop]
                    trailing = trailing or cell
        else:
            stop = _end(grammar.plain, data, start, end)
            cell = data[start:stop]
            if cell.startswith((b" ", b"\t")) and cell.lstrip(b" \t").startswith(b'"'):
                spaced = spaced or cell
        cells.append(cell)
        if stop >= end or data[stop : stop + 1] != grammar.delimiter or len(cells) > most:
            break
        start = stop + 1
    if stop < end:
        stop += 2 if data[stop : stop + 2] == b"\r\n" else 1
    return Record(cells=cells, end=min(stop, end), unclosed=unclosed, trailing=trailing, spaced=spaced)


def count_lines(data: bytes, start: int, end: int) -> int:
    """How many lines end between two places."""
    return data.count(b"\n", start, end) + data.count(b"\r", start, end) - data.count(b"\r\n", start, end)


def end_of_text(data: bytes, start: int) -> int:
    """Where the line ends and blank lines at the end of the file begin."""
    end = len(data)
    while end > start:
        tail = data[max(start, end - 65536) : end]
        kept = len(tail.rstrip(b"\r\n"))
        end -= len(tail) - kept
        if kept:
            break
    return end


def _closing_quote(data: bytes, start: int, end: int) -> int:
    """Where the quote is that closes a cell, -1 if there is none."""
    # of quotes in a row each two mean one; the last of an odd number closes
    odd = (run.end() - 1 for run in _QUOTES.finditer(data, start, end) if (run.end() - run.start()) % 2)
    return next(odd, -1)


def _end(pattern: re.Pattern[bytes], data: bytes, start: int, end: int) -> int:
    match = pattern.match(data, start, end)
    assert match is not None  # it matches nothing, too
    return match.end()
