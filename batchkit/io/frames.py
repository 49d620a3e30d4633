"""A DataFrame as a table: every cell text."""

from __future__ import annotations

import re
from datetime import date
from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from batchkit.core.table import ERRORS_COLUMN, Table
from batchkit.errors import TableError
from batchkit.io.header import name_columns, refuse_long_names
from batchkit.io.problems import Problems, excerpt

__all__ = ["cell_texts", "table_of_frame"]

_TextColumn: TypeAlias = "pa.ChunkedArray[pa.LargeStringScalar]"

_SURROGATE = re.compile("[\ud800-\udfff]")


def table_of_frame(frame: pd.DataFrame) -> Table:
    """The rows of a frame as text: missing cells empty, dates and times in ISO, everything else `str()`.

    Dates and times are written as the formats `date` and `date-time` have them, 2026-01-31 where all of a column are
    midnight without a zone, else 2026-01-31T12:30:00, with the offset where there is a zone. The frame is not changed.
    Its index comes along; rows are counted as if below a header. Raises TableError if a cell has no
    text, and for a name beyond all bounds.
    """
    problems = Problems()
    labels = ["" if _is_missing(label) else str(label) for label in frame.columns]
    refuse_long_names(labels)
    kept = [position for position, label in enumerate(labels) if label != ERRORS_COLUMN]
    if len(kept) < len(labels):
        problems.add("own_export", expected=ERRORS_COLUMN)
    labels = [_encodable(label) for label in labels]
    if any("\0" in label for label in labels):
        problems.add("nul_bytes", row=1)
    names = name_columns([labels[position] for position in kept], problems, row=1, line=None)
    columns = []
    for name, position in zip(names, kept, strict=True):
        series = frame.iloc[:, position]
        columns.append(_arrow_text(series) if _is_arrow_text(series) else _column(series, name, problems))
        _note_nul(columns[-1], problems)
    if not names:
        problems.add("empty_file")
    elif not len(frame):
        problems.add("no_rows")
    return Table(
        data=pa.Table.from_arrays(columns, names=names),
        dialect=None,
        problems=problems.listed(),
        source="DataFrame",
        index=frame.index,
    )


def cell_texts(series: pd.Series) -> list[str]:
    """The cells of a column as text: missing ones empty, everything else `str()`."""
    if _is_arrow_text(series):
        return [str(cell) for cell in _arrow_text(series).to_pylist()]
    # numpy's own scalars print float32 as it is; as Python floats 0.1 would be 0.10000000149011612
    numpy_float = getattr(series.dtype, "kind", "") == "f" and not pd.api.types.is_extension_array_dtype(series.dtype)
    values = series.to_numpy() if numpy_float else series.astype(object)
    missing = series.isna().to_numpy()
    if not missing.any():
        return list(map(str, values))
    return ["" if gone else str(value) for value, gone in zip(values, missing, strict=True)]


def _is_arrow_text(series: pd.Series) -> bool:
    return isinstance(series.dtype, pd.StringDtype) and series.dtype.storage != "python"


def _arrow_text(series: pd.Series) -> _TextColumn:
    """A column that is text on arrow's memory already, without a copy unless cells are missing."""
    column = pa.array(series, from_pandas=True)
    chunks = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    return pc.fill_null(chunks.cast(pa.large_string()), "")  # type: ignore[arg-type]


def _column(series: pd.Series, name: str, problems: Problems) -> _TextColumn:
    """Any other column as text; what may surprise is noted."""
    try:
        texts = cell_texts(_with_iso_dates(series))
    except Exception as exc:
        raise TableError(f"Column {excerpt(name)} of the DataFrame holds a value without a text: {exc!r}.") from exc
    example = next(filter(None, texts), None)
    if pd.api.types.is_float_dtype(series.dtype) and example and "" in texts:
        problems.add("float_with_missing", expected=excerpt(name), actual=excerpt(example))
    try:
        return pa.chunked_array([pa.array(texts, pa.large_string())])
    except UnicodeEncodeError:
        for row, text in enumerate(texts, start=2):
            if _SURROGATE.search(text):
                problems.add("undecodable_text", row=row, expected=excerpt(name))
        return pa.chunked_array([pa.array(map(_encodable, texts), pa.large_string())])


def _with_iso_dates(series: pd.Series) -> pd.Series:
    """The column itself if there is no date in it, else one of objects with ISO text in place of dates and times."""
    if getattr(series.dtype, "kind", "O") not in "OM":
        return series
    values = series.astype(object).to_numpy()
    # NaT is a date, too
    dated = series.notna().to_numpy() & np.array([isinstance(value, date) for value in values], dtype=bool)
    if not dated.any():
        return series
    texts = [value.isoformat() for value in values[dated]]
    halves = [text.partition("T") for text in texts]
    if all(time in ("", "00:00:00") for _, _, time in halves):
        texts = [day for day, _, _ in halves]
    written = values.copy()
    written[dated] = texts
    return pd.Series(written, dtype=object)


def _note_nul(column: _TextColumn, problems: Problems) -> None:
    found = pc.match_substring(column, "\0")
    if pc.any(found).as_py():
        for position in np.flatnonzero(found.to_numpy()):
            problems.add("nul_bytes", row=int(position) + 2)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _is_missing(label: object) -> bool:
    return label is None or label is pd.NA or label is pd.NaT or (isinstance(label, float) and label != label)
