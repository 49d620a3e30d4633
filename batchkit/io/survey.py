"""A look at every byte of a CSV before the fast reader is trusted with it.

The fast reader takes text after a closing quote, NUL bytes and unclosed quotes without a word, and says
nothing of lines. So it only gets what this finds to be beyond doubt; everything else is read carefully.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["MANY_LINES", "Survey", "survey"]

#: lines in a cell from which on a missing quote is suspected
MANY_LINES = 100

# fits the processor's second-level cache, which is what makes several passes cheap
_CHUNK = 1 << 18
_QUOTE, _LF, _CR, _NUL = 34, 10, 13, 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What is known of a file that is beyond doubt."""

    #: header and blank lines not counted
    records: int
    #: whether there is a quote at all
    quoted: bool
    #: what ends a record: "\n", "\r\n" or "mixed"
    newline: str
    #: the first line of each record, where a cell has line ends; None: one line each
    lines: np.ndarray | None


@dataclass(slots=True, kw_only=True)
class _Tally:
    quotes: int = 0
    #: line feeds so far, those within quotes included
    feeds: int = 0
    #: that end a record
    ends: int = 0
    #: that end a record and follow a CR
    crlf: int = 0
    #: the number of each line feed that ends a record, chunk by chunk
    numbers: list[np.ndarray | range]


def survey(data: bytes, start: int, end: int, delimiter: str) -> Survey | None:
    """What there is between two places, header included, or None if anything is odd.

    Odd are NUL bytes, a CR without LF, blank lines, a quote where none belongs, one never closed,
    and a record of more than `MANY_LINES` lines.
    """
    view = np.frombuffer(data, np.uint8)[start:end]
    before = np.zeros(256, bool)
    before[[ord(delimiter), _LF, _QUOTE]] = True
    after = before.copy()
    after[_CR] = True
    tally = _Tally(numbers=[])
    for offset in range(0, len(view), _CHUNK):
        # one byte of the chunk before comes along, so that every pair of neighbours is seen
        overlap = 1 if offset else 0
        if not _add(tally, view, offset - overlap, overlap, before, after):
            return None
    if tally.quotes % 2 or view[0] in (_LF, _CR) or view[-1] == _CR:
        return None
    lines = None
    if tally.feeds > tally.ends:
        lines = np.concatenate([np.asarray(numbers, dtype=np.int64) for numbers in tally.numbers]) + 2
        if np.diff(lines, prepend=1, append=tally.feeds + 2).max() > MANY_LINES:
            return None
    newline = "\n" if not tally.crlf else "\r\n" if tally.crlf == tally.ends else "mixed"
    return Survey(records=tally.ends, quoted=tally.quotes > 0, newline=newline, lines=lines)


def _add(tally: _Tally, view: np.ndarray, begin: int, overlap: int, before: np.ndarray, after: np.ndarray) -> bool:
    """Count a chunk, its first `overlap` bytes for their neighbours only; False if anything in it is odd."""
    chunk = view[begin : begin + overlap + _CHUNK]
    new = chunk[overlap:]
    if new.min() == _NUL:
        return False
    quotes = np.flatnonzero(new == _QUOTE) + (begin + overlap)
    feeds = chunk == _LF
    returns = chunk == _CR
    has_returns = bool(returns.any())
    if has_returns and (returns[:-1] & ~feeds[1:]).any():
        return False
    blank = feeds[:-1] & (feeds[1:] | returns[1:]) if has_returns else feeds[:-1] & feeds[1:]
    inside_at_start = tally.quotes % 2
    if not len(quotes) and not inside_at_start:
        if blank.any():
            return False
        count = int(np.count_nonzero(feeds[overlap:]))
        tally.numbers.append(range(tally.feeds, tally.feeds + count))
        tally.feeds += count
        tally.ends += count
        if has_returns:
            tally.crlf += int(np.count_nonzero(returns[:-1]))
        return True
    if not _quotes_belong(view, quotes, inside_at_start, before, after):
        return False
    blanks = np.flatnonzero(blank) + begin + 1
    if len(blanks) and not ((np.searchsorted(quotes, blanks) + inside_at_start) % 2).all():
        return False
    places = np.flatnonzero(feeds[overlap:]) + (begin + overlap)
    outside = (np.searchsorted(quotes, places) + inside_at_start) % 2 == 0
    numbers = np.flatnonzero(outside) + tally.feeds
    tally.numbers.append(numbers)
    tally.feeds += len(places)
    tally.ends += len(numbers)
    if has_returns:
        ends = places[outside]
        tally.crlf += int(np.count_nonzero(view[ends[ends > 0] - 1] == _CR))
    tally.quotes += len(quotes)
    return True


def _quotes_belong(view: np.ndarray, quotes: np.ndarray, inside: int, before: np.ndarray, after: np.ndarray) -> bool:
    """Whether each quote opens a cell, closes one, or is one of two that mean a quote.

    Taken in turns they open and close; of a doubled one the first closes and the second opens again.
    """
    opening, closing = quotes[inside::2], quotes[1 - inside :: 2]
    if len(opening) and opening[0] == 0:
        opening = opening[1:]
    if len(closing) and closing[-1] == len(view) - 1:
        closing = closing[:-1]
    return bool(before[view[opening - 1]].all() and after[view[closing + 1]].all())
