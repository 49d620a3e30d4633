"""Cells that look as if they had swallowed rows of the table, as they do where a closing quote is missing."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchkit.io.problems import Problems, excerpt

__all__ = ["add_swallowed", "note_swallowed", "swallowed_lines"]


def swallowed_lines(cell: bytes, position: int, columns: int, mark: bytes) -> int:
    """How many lines a cell has if they look like rows, else 0.

    position: of the cell in its record, from 0. columns: of the table. mark: the delimiter.
    They do where most of the lines between its first and its last have as many delimiters as a row, and the last
    could be the beginning of a row: an address or a letter seldom ends like that.
    """
    expected = columns - 1
    if not expected or cell.count(mark) < expected:
        return 0
    lines = cell.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    inner, last = lines[1:-1], lines[-1]
    if last and last.count(mark) < position:
        return 0
    alike = sum(line.count(mark) == expected for line in inner)
    return len(lines) if 2 * alike > len(inner) else 0


def note_swallowed(data: pa.Table, lines: np.ndarray, delimiter: str, problems: Problems) -> None:
    """Add such cells of a table without gaps, the records counted from row 2; `lines` is the first of each."""
    columns, mark = data.num_columns, delimiter.encode()
    if columns < 2:
        return
    for position, column in enumerate(data.columns):
        several = pc.count_substring(column, "\n").to_numpy() >= 2
        if not several.any():
            continue
        candidates = several & (pc.count_substring(column, delimiter).to_numpy() >= columns - 1)
        places = np.flatnonzero(candidates).tolist()
        for row, text in zip(places, column.filter(pa.array(candidates)).to_pylist(), strict=True):
            cell = str(text).encode()
            if count := swallowed_lines(cell, position, columns, mark):
                add_swallowed(problems, cell, count, row=row + 2, line=int(lines[row]))


def add_swallowed(problems: Problems, cell: bytes, count: int, *, row: int, line: int) -> None:
    """Add the problem of one such cell, of so many lines."""
    text = cell[:200].decode("utf-8", "ignore")
    problems.add("cell_with_rows", row=row, line=line, expected=excerpt(text), actual=count)
