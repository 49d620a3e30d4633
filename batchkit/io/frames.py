"""A DataFrame as a table: every cell text."""

from __future__ import annotations

import re

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from batchkit.core.table import ERRORS_COLUMN, Table
from batchkit.errors import TableError
from batchkit.io.header import name_columns
from batchkit.io.problems import Problems, excerpt

__all__ = ["cell_texts", "table_of_frame"]

_SURROGATE = re.compile("[\ud800-\udfff]")


def table_of_frame(frame: pd.DataFrame) -> Table:
    """The rows of a frame as text: missing cells empty, everything else `str()`. The frame is not changed.

    Its index comes along; rows are counted as if below a header. Raises TableError if a cell has no text.
    """
    problems = Problems()
    labels = ["" if _is_missing(label) else str(label) for label in frame.columns]
    kept = [position for position, label in enumerate(labels) if label != ERRORS_COLUMN]
    if len(kept) < len(labels):
        problems.add("own_export", expected=ERRORS_COLUMN)
    labels = [_encodable(label) for label in labels]
    names = name_columns([labels[position] for position in kept], problems, row=1, line=None)
    columns = []
    for name, position in zip(names, kept, strict=True):
        series = frame.iloc[:, position]
        try:
            texts = cell_texts(series)
        except Exception as exc:
            raise TableError(f"Column {excerpt(name)} of the DataFrame holds a value without a text: {exc!r}.") from exc
        if pd.api.types.is_float_dtype(series.dtype) and "" in texts:
            example = next((text for text in texts if text), "1.0")
            problems.add("float_with_missing", expected=excerpt(name), actual=excerpt(example))
        columns.append(_checked(texts, name, problems))
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
    # numpy's own scalars print float32 as it is; as Python floats 0.1 would be 0.10000000149011612
    numpy_float = getattr(series.dtype, "kind", "") == "f" and not pd.api.types.is_extension_array_dtype(series.dtype)
    values = series.to_numpy() if numpy_float else series.astype(object)
    missing = series.isna().to_numpy()
    if not missing.any():
        return list(map(str, values))
    return ["" if gone else str(value) for value, gone in zip(values, missing, strict=True)]


def _checked(texts: list[str], name: str, problems: Problems) -> pa.LargeStringArray:
    """The texts as a column; NUL and halves of characters are noted with their rows."""
    try:
        column = pa.array(texts, pa.large_string())
    except UnicodeEncodeError:
        for row, text in enumerate(texts, start=2):
            if _SURROGATE.search(text):
                problems.add("undecodable_text", row=row, expected=excerpt(name))
        column = pa.array(map(_encodable, texts), pa.large_string())
    if pc.any(pc.match_substring(column, "\0")).as_py():
        for row, text in enumerate(texts, start=2):
            if "\0" in text:
                problems.add("nul_bytes", row=row)
    return column


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _is_missing(label: object) -> bool:
    return label is None or label is pd.NA or label is pd.NaT or (isinstance(label, float) and label != label)
