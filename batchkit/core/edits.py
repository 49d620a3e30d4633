"""Corrected cells, brought back to the rows they are for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from batchkit.core import results
from batchkit.core.names import did_you_mean
from batchkit.core.table import ERRORS_COLUMN, Table
from batchkit.errors import ConfigError, TableError

__all__ = ["again_table", "edited_cells", "without_results"]

_NAMED = 5


def without_results(
    columns: Sequence[str], given: Sequence[str], index_kind: Mapping[str, Any] | None = None
) -> list[str]:
    """Return those of the `given` columns that are input columns or say the row; what `results()` adds is passed over.

    index_kind: of the batch's DataFrame, whose index a file of results has as columns; passed over, too.
    Raises ConfigError for a column that is neither, which could be a correction under a wrong name.
    """
    names = results.own_names(columns)
    added = {*names.values(), ERRORS_COLUMN, *_index_columns(index_kind)}
    unknown = [
        name
        for name in given
        if name not in columns and name not in added and not name.startswith(("result.", "batchkit_result."))
    ]
    if unknown:
        raise ConfigError(
            f"inputs has a column {unknown[0]!r} that the batch does not have.{did_you_mean(unknown[0], columns)} "
            f"Its columns are: {', '.join(map(repr, columns))}. Rename the column, or drop it."
        )
    return [name for name in given if name in columns or name == names["row"]]


def edited_cells(
    inputs: Table, columns: Sequence[str], labels: Mapping[int, Sequence[Any] | None]
) -> dict[int, dict[str, str]]:
    """Return the cells that `inputs` has, by row and column. A column it lacks is not edited.

    labels: of every row of the batch, in CSV order, its label in a DataFrame's index; None: none.
    Rows are told by the column `row` of `results()` (whatever it is called there); without one by the labels of the
    DataFrame's index, where the batch came from a DataFrame; else `inputs` is the whole table again, every row in
    its place. Raises ConfigError where none of this fits, or a row is unknown or there twice.
    """
    if not len(inputs):
        return {}
    if inputs.errors:
        raise TableError("inputs cannot be used as it is.\n" + "\n".join(each.message for each in inputs.errors[:10]))
    key = results.own_names(columns)["row"]
    rows = _rows_of(inputs, key, labels)
    if unknown := [row for row in rows if row not in labels]:
        raise ConfigError(f"inputs has row {_few(unknown)}, which the batch does not have.")
    if twice := [row for row, count in Counter(rows).items() if count > 1]:
        raise ConfigError(f"inputs has row {_few(twice)} more than once. Leave one of each.")
    edited = [name for name in inputs.columns if name in columns]
    if not edited:
        return {row: {} for row in rows}
    cells = zip(*inputs.data.select(edited).to_pydict().values(), strict=True)
    return {row: dict(zip(edited, record, strict=True)) for row, record in zip(rows, cells, strict=True)}


def again_table(
    columns: Sequence[str], rows: Sequence[int], cells: Sequence[Sequence[str]], index: pd.Index | None, source: str
) -> Table:
    """Return rows of a batch as a table that keeps their numbers."""
    data = pa.table(
        {name: pa.array([record[at] for record in cells], pa.large_string()) for at, name in enumerate(columns)}
    )
    return Table(data=data, dialect=None, source=source, row_numbers=np.array(rows, dtype=np.int64), index=index)


def _index_columns(kind: Mapping[str, Any] | None) -> list[str]:
    """What the index is called as columns of a file."""
    names = [] if kind is None else list(kind["names"])
    return [name or ("index" if len(names) == 1 else f"level_{at}") for at, name in enumerate(names)]


def _rows_of(inputs: Table, key: str, labels: Mapping[int, Sequence[Any] | None]) -> list[int]:
    if key in inputs.columns:
        return [_row(str(cell), key) for cell in inputs.data.column(key).to_pylist()]
    if inputs.index is not None and any(label is not None for label in labels.values()):
        return _by_label(inputs.index, labels)
    if len(inputs) == len(labels):
        return sorted(labels)
    raise ConfigError(
        f"inputs has {len(inputs):,} rows and no column {key!r} that says which of the batch's {len(labels):,} rows "
        f"they are. Keep the column {key!r} of batch.results(), or give the whole table, every row in its place."
    )


def _by_label(index: pd.Index, labels: Mapping[int, Sequence[Any] | None]) -> list[int]:
    rows: dict[tuple[Hashable, ...], list[int]] = {}
    for row, label in labels.items():
        if label is not None:
            rows.setdefault(tuple(label), []).append(row)
    wanted = [tuple(label) for label in results.index_labels(index)]
    unknown = [label for label in wanted if label not in rows]
    several = [label for label in wanted if len(rows.get(label, ())) > 1]
    for what, found in (("is no row of the batch", unknown), ("is the label of several rows", several)):
        if found:
            shown = found[0][0] if len(found[0]) == 1 else found[0]
            raise ConfigError(
                f"inputs has the index label {shown!r}, which {what}. Keep the column 'row' of batch.results() to "
                "say which rows are meant."
            )
    return [rows[label][0] for label in wanted]


def _row(cell: str, key: str) -> int:
    try:
        return int(cell)
    except ValueError:
        raise ConfigError(
            f"inputs has {cell!r} in its column {key!r}, which is the number of a row of the batch, like 2. "
            "Leave that column as batch.results() has it."
        ) from None


def _few(rows: Collection[int]) -> str:
    named = ", ".join(map(str, list(rows)[:_NAMED]))
    return f"{named} and {len(rows) - _NAMED:,} more" if len(rows) > _NAMED else named
