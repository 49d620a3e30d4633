"""Frames as files: CSV, Excel, Parquet or JSON Lines, by the name's ending; written whole or not at all."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from batchkit.core.names import did_you_mean
from batchkit.errors import ExportError
from batchkit.io.exports import json_for_objects, write_csv
from batchkit.io.frames import cell_texts
from batchkit.io.replacing import replace_file

__all__ = ["SUFFIXES", "check_suffix", "write_results"]

#: the endings a file of results may have
SUFFIXES = (".csv", ".xlsx", ".parquet", ".jsonl")
_ROWS_AT_ONCE = 20_000


def write_results(frame: pd.DataFrame, path: str | os.PathLike[str], *, index: bool = False) -> None:
    """Write a frame as the kind of file its name ends in; a file is replaced only once the new one is complete.

    - `.csv`: for spreadsheets, see `write_csv`.
    - `.xlsx`: one sheet. Texts are texts whatever they begin with, times are dates in UTC, numbers of more than
      15 digits are texts. Texts beyond 32,767 characters are cut, with a warning; more than 1,048,575 rows are refused.
    - `.parquet`: types as they are; arrays, objects and columns of mixed types as text, JSON where it is an object.
    - `.jsonl`: one JSON object a row, results as they came, missing cells null, times in ISO.

    index: whether the index becomes the first column or columns. Raises ExportError for another ending, and where the
    file cannot be written.
    """
    suffix = check_suffix(path)
    if index:
        frame = frame.reset_index(allow_duplicates=True)
    if suffix == ".csv":
        write_csv(frame, path)
    elif suffix == ".xlsx":
        # Here and not above: few need it, and it takes as long to import as half of the rest.
        from batchkit.io.workbook import workbook_writer

        replace_file(path, workbook_writer(frame))
    else:
        write: Callable[[pd.DataFrame, IO[bytes]], None] = _write_parquet if suffix == ".parquet" else _write_lines
        _refuse_same_names(frame, suffix)
        replace_file(path, lambda file: write(frame, file))


def check_suffix(path: str | os.PathLike[str]) -> str:
    """The ending of a name that results can be written to, lower case. Raises ExportError for another."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        ending = f"ends in {suffix!r}" if suffix else "has no ending"
        meant = did_you_mean(suffix, SUFFIXES) if suffix else ""
        raise ExportError(
            f"{os.fspath(path)!r} {ending}, which does not say what kind of file it is to be.{meant} "
            "Use .csv or .xlsx for spreadsheets, .parquet to go on computing, .jsonl for one JSON object a row."
        )
    return suffix


def _refuse_same_names(frame: pd.DataFrame, suffix: str) -> None:
    names = [str(name) for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ExportError(
            f"A {suffix} file cannot have several columns of one name: {', '.join(map(repr, twice))}. "
            "Rename them, or write a .csv."
        )


def _write_parquet(frame: pd.DataFrame, file: IO[bytes]) -> None:
    columns = [_arrow(frame.iloc[:, at]) for at in range(frame.shape[1])]
    pq.write_table(pa.table(dict(zip(map(str, frame.columns), columns, strict=True))), file)


def _arrow(column: pd.Series) -> Any:
    """The column as Parquet keeps it; text where its values have no type in common, or one that nests."""
    try:
        array = pa.array(column, from_pandas=True)
    except (pa.ArrowException, UnicodeEncodeError, TypeError, ValueError, OverflowError):
        array = None
    if array is not None and not pa.types.is_nested(array.type) and not pa.types.is_null(array.type):
        return array
    plain = json_for_objects(column)
    gone = plain.isna().tolist()
    texts = [None if missing else text for text, missing in zip(cell_texts(plain), gone, strict=True)]
    try:
        return pa.array(texts, pa.large_string())
    except UnicodeEncodeError:  # half a character
        whole = [None if text is None else text.encode("utf-8", "backslashreplace").decode() for text in texts]
        return pa.array(whole, pa.large_string())


def _write_lines(frame: pd.DataFrame, file: IO[bytes]) -> None:
    names = [str(name) for name in frame.columns]
    for start in range(0, len(frame), _ROWS_AT_ONCE):
        rows = frame.iloc[start : start + _ROWS_AT_ONCE]
        columns = [_plain(rows.iloc[:, at]) for at in range(rows.shape[1])]
        file.write("".join(_lines(names, zip(*columns, strict=True))).encode("utf-8", "backslashreplace"))


def _lines(names: list[str], rows: Iterator[tuple[Any, ...]]) -> Iterator[str]:
    for row in rows:
        values = dict(zip(names, row, strict=True))
        try:
            line = json.dumps(values, ensure_ascii=False, allow_nan=False, default=str)
        except ValueError:  # a number JSON does not have
            line = json.dumps(_finite(values), ensure_ascii=False, allow_nan=False, default=str)
        yield f"{line}\n"


def _plain(column: pd.Series) -> list[Any]:
    """The column's cells as JSON values, None where one is missing."""
    gone = column.isna().to_numpy()
    cells = column.astype(object).to_numpy().tolist()
    if isinstance(column.dtype, pd.DatetimeTZDtype) or column.dtype.kind == "M":
        cells = [None if missing else cell.isoformat() for cell, missing in zip(cells, gone, strict=True)]
    elif column.dtype == object:
        cells = [cell.isoformat() if isinstance(cell, datetime | date | time) else cell for cell in cells]
    return [None if missing else cell for cell, missing in zip(cells, gone, strict=True)] if gone.any() else cells


def _finite(value: Any) -> Any:
    """The value with a text in place of each number that JSON does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list) else value
