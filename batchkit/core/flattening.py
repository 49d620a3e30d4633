"""Results that are JSON objects as columns: one for each field, named by its path."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import pandas as pd

from batchkit.core.names import free_name

__all__ = ["MOST_FIELDS", "fields_of"]

#: so many fields get a column of their own unless told otherwise
MOST_FIELDS = 100
#: levels of objects that are opened; what lies deeper stays JSON
_DEEPEST = 8
#: whole numbers a float holds exactly
_EXACT = 2**53
_LONG = 2**63

Path = tuple[str, ...]


def fields_of(
    values: Sequence[Any], taken: Collection[str], most: int = MOST_FIELDS
) -> tuple[dict[str, pd.Series], int]:
    """Return a column for each field of the objects among `values`, and how many fields have none.

    A field is called `result.<key>`, one of an object within `result.<key>.<key>`; a name that is `taken` as
    `free_name` says. Columns are sorted by path, so that the same fields give the same columns whichever came first.
    Of more than `most` fields those filled most often get one.
    Whole numbers become Int64, other numbers float64, booleans `boolean`, everything else text; of a field with values
    of several kinds, and for arrays, the text is JSON (a text stays as it is). Numbers that would lose digits are text.
    """
    found: dict[Path, tuple[list[int], list[Any]]] = {}
    for row, value in enumerate(values):
        if isinstance(value, dict):
            for path, leaf in _leaves(value):
                rows, leaves = found.setdefault(path, ([], []))
                if leaf is not None:
                    rows.append(row)
                    leaves.append(leaf)
    filled = Counter({path: len(rows) for path, (rows, _) in found.items()})
    kept = sorted(sorted(filled, key=lambda path: (-filled[path], path))[: max(0, most)])
    columns: dict[str, pd.Series] = {}
    for path in kept:
        name = free_name(".".join(("result", *path)), {*taken, *columns})
        columns[name] = _column(*found[path], len(values))
    return columns, len(found) - len(kept)


def _leaves(value: dict[str, Any], above: Path = ()) -> Iterator[tuple[Path, Any]]:
    for key, inner in value.items():
        path = (*above, key)
        if isinstance(inner, dict) and len(path) < _DEEPEST:
            yield from _leaves(inner, path)
        else:
            yield path, inner


def _column(rows: list[int], values: list[Any], count: int) -> pd.Series:
    """The values at those rows, missing elsewhere, with the type that fits them all."""
    kind, read = _kind(values)
    cells: list[Any] = [None] * count
    for row, value in zip(rows, values, strict=True):
        cells[row] = read(value)
    try:
        return pd.Series(cells, dtype=kind)
    except UnicodeEncodeError:  # half a character
        whole = [None if cell is None else cell.encode("utf-8", "backslashreplace").decode() for cell in cells]
        return pd.Series(whole, dtype="str")


def _kind(values: list[Any]) -> tuple[str, Callable[[Any], Any]]:
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return "boolean", bool
    if kinds == {int} and all(-_LONG <= value < _LONG for value in values):
        return "Int64", int
    if kinds and kinds <= {int, float}:
        whole = [value for value in values if type(value) is int]
        if float in kinds and all(-_EXACT <= value <= _EXACT for value in whole):
            return "float64", float
    return "str", _text


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
