"""Finding rows that repeat an earlier one, exactly, without hashing whole rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from batchkit.core.cells import Positions

__all__ = ["repeated_rows"]

#: rows by which the columns are put in order
_SAMPLE = 2_000


def repeated_rows(data: pa.Table, columns: Sequence[str]) -> tuple[Positions, Positions]:
    """Return the rows that equal an earlier one in all those columns, ascending, and for each the first such row.

    One column at a time, the most varied and shortest first, over the rows that still have an equal: where a column
    is unique, as an id is, there are none left after it. No columns: no repeats.
    """
    at = np.arange(data.num_rows if columns else 0)
    group = np.zeros(len(at), dtype=np.int64)
    groups = 1
    for name in _most_varied_first(data, columns):
        column = data.column(name)
        codes, values = _codes(column if len(at) == data.num_rows else column.take(at))
        group, groups = (codes, values) if groups == 1 else _renumbered(group * values + codes)
        kept = np.bincount(group, minlength=groups)[group] > 1
        at, group = at[kept], group[kept]
        if not len(at):
            return at, at
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    first = np.empty(len(at), dtype=np.int64)
    first[order] = np.repeat(at[order][starts], np.diff(starts, append=len(at)))
    again = at != first
    return at[again], first[again]


def _most_varied_first(data: pa.Table, columns: Sequence[str]) -> list[str]:
    sample = data.slice(0, _SAMPLE)
    return sorted(columns, key=lambda name: (-len(sample.column(name).unique()), sample.column(name).nbytes))


def _codes(cells: pa.ChunkedArray[Any]) -> tuple[npt.NDArray[np.int64], int]:
    """Per cell the number of its value, and how many there are."""
    encoded = cast("pa.DictionaryArray[Any, Any]", cells.dictionary_encode().combine_chunks())
    return encoded.indices.to_numpy().astype(np.int64), len(encoded.dictionary)


def _renumbered(keys: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], int]:
    """The keys numbered from 0 without gaps, and how many there are."""
    values, numbers = np.unique(keys, return_inverse=True)
    return numbers, len(values)
