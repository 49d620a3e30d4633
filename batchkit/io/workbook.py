"""Frames as Excel workbooks: one sheet in which no text is ever a formula.

openpyxl makes the workbook around it; the sheet itself is written here, several times as fast, straight into the file.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Iterator
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pandas as pd
from openpyxl import Workbook
from openpyxl.utils import get_column_letter

from batchkit.errors import ExportError
from batchkit.io.exports import json_for_objects, neutralize
from batchkit.io.frames import cell_texts

__all__ = ["workbook_writer"]

#: what a sheet holds
_MOST_ROWS = 1_048_576
_MOST_COLUMNS = 16_384
_LONGEST = 32_767
#: numbers with more digits than Excel keeps
_INEXACT = 10**15
_ROWS_AT_ONCE = 20_000
#: of a day
_MICROSECONDS = 86_400_000_000
#: 1970-01-01 as Excel counts days, and the day its dates can be relied on from, 1901-01-01
_EPOCH, _FIRST_DAY = 25_569, 367
_CUT = "…"
_SHEET = "xl/worksheets/sheet1.xml"
# What XML cannot hold; and what looks like Excel's own way to write that.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ESCAPE = re.compile("_(?=x[0-9A-Fa-f]{4}_)")
_MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
_HEAD = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetViews>'
    '<sheetView workbookViewId="0"><pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>'
    "</sheetView></sheetViews>"
)


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
    writer = _SheetWriter()
    with ZipFile(writer.around) as around, ZipFile(file, "w", ZIP_DEFLATED) as book:
        for name in around.namelist():
            if name != _SHEET:
                book.writestr(name, around.read(name))
        with book.open(_SHEET, "w", force_zip64=True) as sheet:
            for piece in writer.pieces(frame):
                sheet.write(piece.encode())
    if writer.cut:
        warnings.warn(
            f"{writer.cut:,} texts were cut: a cell of a workbook holds {_LONGEST:,} characters, the longest has "
            f"{writer.longest:,}. A .csv, .parquet or .jsonl has them whole.",
            stacklevel=2,
        )


class _SheetWriter:
    """Writes cells, in the styles of the workbook around them."""

    def __init__(self) -> None:
        book = Workbook()
        sheet: Any = book.active
        sheet.title = "Results"
        utc, local, quoted = sheet["A1"], sheet["A2"], sheet["A3"]
        utc.number_format = 'yyyy-mm-dd hh:mm:ss "UTC"'
        local.number_format = "yyyy-mm-dd hh:mm:ss"
        quoted.quotePrefix = True
        self._utc, self._local, self._quoted = utc.style_id, local.style_id, quoted.style_id
        #: the workbook as a file, with a sheet to be put in place of its own
        self.around = io.BytesIO()
        book.save(self.around)
        #: texts that were too long
        self.cut = 0
        self.longest = 0

    def pieces(self, frame: pd.DataFrame) -> Iterator[str]:
        """The sheet, some rows at a time."""
        names = [str(name) for name in frame.columns]
        letters = [get_column_letter(at) for at in range(1, len(names) + 1)]
        widths = "".join(
            f'<col min="{at}" max="{at}" width="{22 if len(name) < 22 else 34}" customWidth="1"/>'
            for at, name in enumerate(names, start=1)
        )
        yield _HEAD + (f"<cols>{widths}</cols>" if widths else "") + "<sheetData>"
        yield _row(1, letters, tuple(self._texts(names)))
        for start in range(0, len(frame), _ROWS_AT_ONCE):
            rows = frame.iloc[start : start + _ROWS_AT_ONCE]
            columns = [self._cells(rows.iloc[:, at]) for at in range(rows.shape[1])]
            numbered = enumerate(zip(*columns, strict=True), start=start + 2)
            yield "".join(_row(number, letters, cells) for number, cells in numbered)
        yield "</sheetData></worksheet>"

    def _cells(self, column: pd.Series) -> list[str]:
        """What follows the place of each cell, empty where one is missing."""
        kind = getattr(column.dtype, "kind", "O")
        gone = column.isna().tolist()
        if kind == "M" or isinstance(column.dtype, pd.DatetimeTZDtype):
            cells = self._moments(column)
        elif kind in "biuf":
            values = column.astype(object).tolist()
            cells = ["" if missing else _number(cell) for cell, missing in zip(values, gone, strict=True)]
        else:
            cells = self._texts(cell_texts(json_for_objects(column)))
        return ["" if missing else cell for cell, missing in zip(cells, gone, strict=True)] if any(gone) else cells

    def _moments(self, column: pd.Series) -> list[str]:
        aware = isinstance(column.dtype, pd.DatetimeTZDtype)
        naive = column.dt.tz_convert("UTC").dt.tz_localize(None) if aware else column
        days = naive.to_numpy().astype("datetime64[us]").astype(np.int64) / _MICROSECONDS + _EPOCH
        style = self._utc if aware else self._local
        return [
            f' s="{style}"><v>{day!r}</v></c>'
            if day >= _FIRST_DAY
            else _inline("" if moment is pd.NaT else str(moment))
            for day, moment in zip(days.tolist(), column, strict=True)
        ]

    def _texts(self, texts: list[str]) -> list[str]:
        made = {text: self._text(text) for text in set(texts)}
        for text in texts:
            if len(text) > _LONGEST:
                self.cut += 1
                self.longest = max(self.longest, len(text))
        return [made[text] for text in texts]

    def _text(self, text: str) -> str:
        """A text; one that would be a formula if it was typed in is marked so that it stays one when edited."""
        if not text:
            return ""
        if len(text) > _LONGEST:
            text = text[: _LONGEST - 1] + _CUT
        style = f' s="{self._quoted}"' if neutralize(text) is not text else ""
        return style + _inline(text)


def _inline(text: str) -> str:
    written = _ESCAPE.sub("_x005F_", _CONTROL.sub("\ufffd", text)).translate(_MARKUP)
    return f' t="inlineStr"><is><t xml:space="preserve">{written}</t></is></c>'


def _number(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return f' t="b"><v>{int(value)}</v></c>'
    if not math.isfinite(value) or (not isinstance(value, float) and abs(value) >= _INEXACT):
        return _inline(str(value))
    return f"><v>{value}</v></c>"


def _row(number: int, letters: list[str], cells: tuple[str, ...]) -> str:
    inside = [f'<c r="{letter}{number}"{cell}' for letter, cell in zip(letters, cells, strict=True) if cell]
    return f'<row r="{number}">{"".join(inside)}</row>'
