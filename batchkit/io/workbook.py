"""Frames as Excel workbooks: one sheet in which no text is ever a formula."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import IO, Any

import pandas as pd
from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.utils import get_column_letter

from batchkit.errors import ExportError
from batchkit.io.exports import json_for_objects, neutralize
from batchkit.io.frames import cell_texts

__all__ = ["workbook_writer"]

#: what a sheet holds
_MOST_ROWS = 1_048_576
_MOST_COLUMNS = 16_384
_LONGEST = 32_767
#: digits of a number that Excel keeps
_EXACT = 10**15
_ROWS_AT_ONCE = 20_000
_TIME_FORMAT = 'yyyy-mm-dd hh:mm:ss "UTC"'
#: Excel's dates begin here
_FIRST_YEAR = 1901
_CUT = "…"
# What XML cannot hold; and what looks like Excel's own way to write that.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ESCAPE = re.compile("_(?=x[0-9A-Fa-f]{4}_)")


def workbook_writer(frame: pd.DataFrame) -> Callable[[IO[bytes]], None]:
    """What writes the frame as a workbook into an open file. Raises ExportError for what no sheet can hold.

    Characters that a workbook cannot hold become U+FFFD. Warns where texts are too long and are cut.
    """
    if len(frame) >= _MOST_ROWS or frame.shape[1] > _MOST_COLUMNS:
        raise ExportError(
            f"{len(frame):,} rows and {frame.shape[1]:,} columns do not fit a sheet: it holds {_MOST_ROWS - 1:,} rows "
            f"below the header and {_MOST_COLUMNS:,} columns. Write a .parquet or .csv, or only a part of the rows."
        )
    return lambda file: _write(frame, file)


def _write(frame: pd.DataFrame, file: IO[bytes]) -> None:
    book = Workbook(write_only=True)
    sheet = book.create_sheet("Results")
    sheet.freeze_panes = "A2"
    for at, name in enumerate(frame.columns, start=1):
        sheet.column_dimensions[get_column_letter(at)].width = 22 if len(str(name)) < 22 else 34
    cut = _Cut()
    try:
        sheet.append([_cell(sheet, str(name), cut) for name in frame.columns])
        for start in range(0, len(frame), _ROWS_AT_ONCE):
            rows = frame.iloc[start : start + _ROWS_AT_ONCE]
            for row in zip(*(_cells(sheet, rows.iloc[:, at], cut) for at in range(rows.shape[1])), strict=True):
                sheet.append(row)
        book.save(file)
    except BaseException:
        # It holds a file of its own open.
        sheet.close()
        raise
    if cut.count:
        warnings.warn(
            f"{cut.count:,} texts were cut: a cell of a workbook holds {_LONGEST:,} characters, the longest has "
            f"{cut.longest:,}. A .csv, .parquet or .jsonl has them whole.",
            stacklevel=2,
        )


class _Cut:
    """How many texts were too long."""

    def __init__(self) -> None:
        self.count = 0
        self.longest = 0

    def note(self, length: int) -> None:
        self.count += 1
        self.longest = max(self.longest, length)


def _cells(sheet: Any, column: pd.Series, cut: _Cut) -> Iterator[Any]:
    """The column's cells as a sheet takes them, None where one is missing."""
    kind = getattr(column.dtype, "kind", "O")
    gone = column.isna().tolist()
    if kind == "M" or isinstance(column.dtype, pd.DatetimeTZDtype):
        yield from (None if missing else _moment(sheet, cell) for cell, missing in zip(column, gone, strict=True))
    elif kind in "biuf":
        values = column.astype(object).tolist()
        yield from (None if missing else _number(cell) for cell, missing in zip(values, gone, strict=True))
    else:
        texts = cell_texts(json_for_objects(column))
        yield from (None if missing else _cell(sheet, text, cut) for text, missing in zip(texts, gone, strict=True))


def _moment(sheet: Any, value: pd.Timestamp) -> Any:
    moment: datetime = value.to_pydatetime()
    if moment.year < _FIRST_YEAR:
        return moment.isoformat()
    cell = WriteOnlyCell(sheet, moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None))
    cell.number_format = _TIME_FORMAT if moment.tzinfo is not None else "yyyy-mm-dd hh:mm:ss"
    return cell


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    fits = math.isfinite(value) and (isinstance(value, float) or abs(value) < _EXACT)
    return value if fits else str(value)


def _cell(sheet: Any, text: str, cut: _Cut) -> Any:
    """A text; one that would be a formula or an error value is told to be none."""
    text = _ESCAPE.sub("_x005F_", _CONTROL.sub("\ufffd", text))
    if len(text) > _LONGEST:
        cut.note(len(text))
        text = text[: _LONGEST - 1] + _CUT
    risky = neutralize(text) is not text
    if not risky and text[:1] not in ("=", "#"):
        return text or None
    cell = WriteOnlyCell(sheet, text)
    cell.data_type = "s"
    if risky:
        cell.quotePrefix = True
    return cell
