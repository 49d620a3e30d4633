"""CSV files for spreadsheets: written whole or not at all, and safe to open.

A spreadsheet runs a cell that begins like a formula, wherever its text came from. Such a cell gets a single quote
in front (`neutralize`). So does one that already has quotes in front of a formula, which is what makes it
reversible: `restore` takes one quote away from exactly the cells that `neutralize` gave one.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from typing import IO, cast

import pandas as pd

from batchkit.io.frames import cell_texts
from batchkit.io.replacing import replace_file

__all__ = ["json_for_objects", "neutralize", "restore", "write_csv"]

_ROWS_AT_ONCE = 20_000

# Tab, CR and LF count as a formula's beginning by themselves; blanks and invisible characters before = @ + - are
# looked past, as some spreadsheets do, and their wide forms count too, which East Asian ones run.
# + and - are harmless alone and before what is only a number, a percentage or a phone number.
_FORMULA = re.compile(
    r"""
    '*                                               # what an earlier neutralization put there
    (?: [\t\r\n]
      | [\s\x00-\x1f\x7f\u200b\ufeff]*
        (?: [=@＝＠＋－]
          | [+\-] (?! [0-9\ ().\-/,]* (?: (?<=[0-9]) (?: [eE][+\-]?[0-9]+ | % ) )? \Z )
        )
    )
    """,
    re.VERBOSE,
)


def neutralize(text: str) -> str:
    """`text` so that a spreadsheet shows it and does not run it; unchanged unless it begins like a formula."""
    # most cells begin with a letter or digit, and no formula does
    return text if text[:1].isalnum() or not _FORMULA.match(text) else f"'{text}"


def restore(text: str) -> str:
    """What `neutralize` was given: `restore(neutralize(text)) == text` for every text."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def write_csv(
    frame: pd.DataFrame, path_or_buffer: str | os.PathLike[str] | IO[bytes] | IO[str], *, index: bool = False
) -> None:
    """Write a frame as a CSV for spreadsheets: UTF-8 with a byte order mark, CRLF, formulas neutralized.

    index: whether the index becomes the first column or columns. Missing cells become empty, objects and lists
    JSON, others `str()`.
    A file is replaced only once the new one is complete, and keeps its permissions. An open text file has an
    encoding of its own and gets no mark. Raises ExportError where a path cannot be written.
    """
    if index:
        frame = frame.reset_index(allow_duplicates=True)
    if isinstance(path_or_buffer, (str, os.PathLike)):
        replace_file(path_or_buffer, lambda file: _write_bytes(frame, file))
    elif hasattr(path_or_buffer, "encoding"):
        text = cast("IO[str]", path_or_buffer)
        for piece in _pieces(frame):
            text.write(piece)
    else:
        _write_bytes(frame, cast("IO[bytes]", path_or_buffer))


def _write_bytes(frame: pd.DataFrame, buffer: IO[bytes]) -> None:
    buffer.write(BOM_UTF8)
    for piece in _pieces(frame):
        # half a character from a server's answer has no UTF-8; its code is better than no file
        buffer.write(piece.encode("utf-8", "backslashreplace"))


def _pieces(frame: pd.DataFrame) -> Iterator[str]:
    """The CSV as text, header first, then some rows at a time."""
    yield _lines([[neutralize(str(name)) for name in frame.columns]])
    for start in range(0, len(frame), _ROWS_AT_ONCE):
        rows = frame.iloc[start : start + _ROWS_AT_ONCE]
        columns = [list(map(neutralize, cell_texts(json_for_objects(rows.iloc[:, i])))) for i in range(rows.shape[1])]
        yield _lines(zip(*columns, strict=True))


def json_for_objects(column: pd.Series) -> pd.Series:
    """The column with what a target returned as an object or a list written as JSON, which others can read."""
    if column.dtype != object or not column.map(lambda cell: isinstance(cell, dict | list)).any():
        return column
    return column.map(lambda cell: json.dumps(cell, ensure_ascii=False) if isinstance(cell, dict | list) else cell)


def _lines(rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()
