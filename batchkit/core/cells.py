"""What the text of a cell means under a JSON type.

Whitespace (Unicode's) around a cell is no part of its value, except in a string, which is sent exactly as it is. A cell
that is empty or holds only whitespace is missing, whatever its type.

    string   the cell, unchanged
    integer  an optional sign and up to 640 digits 0-9: "7", "007", "+5", "-3"; a fraction of zeros is dropped
             ("5.0", "5."). Exact at any size. Not "1e5" (a spreadsheet may have lost digits), "1,000", "1_000",
             full-width digits.
    number   the same with a fraction or an exponent: "0.1", ".5", "5.", "1e5", "-2.50". Without either it is sent
             as an integer, exact; with one as the nearest double, and where that is not the number written
             ("12345678901234567890.123") it is imprecise. Not NaN, not infinity, not beyond a double's range.
    boolean  true or false, yes or no, 1 or 0, in any case
    null     null
    array,   JSON text. Not NaN or infinity, which JSON does not have, nor half a surrogate pair, which cannot be sent.
    object
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = [
    "READERS",
    "Flags",
    "Json",
    "Kind",
    "Numbers",
    "Positions",
    "chosen",
    "distinct",
    "flags",
    "matches",
    "missing",
    "read_integers",
    "read_numbers",
    "texts",
]

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]
Flags = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]


class Kind(StrEnum):
    """JSON's types, in the order in which a cell is tried under several of them."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    NULL = "null"
    ARRAY = "array"
    OBJECT = "object"


#: the fewest digits Python may be set to refuse to read at once
_MOST_DIGITS = 640
_INTEGER = re.compile(r"([+-]?[0-9]+)(?:\.0*)?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
#: an integer of so many characters fits 64 bits
_SHORT_INTEGER = 18
#: a number of so many characters is exact as a double
_SHORT_NUMBER = 15
#: doubles closer to zero carry fewer digits
_TINY = 1e-290


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Numbers:
    """A block of cells read as numbers. Positions are within the block, ascending in each array."""

    #: where `values` belong
    at: Positions
    #: exactly what is sent, or its equal
    values: npt.NDArray[np.int64] | npt.NDArray[np.float64]
    #: where `others` belong
    others_at: Positions
    #: Python's own numbers: beyond 64 bits, imprecise, or written unusually
    others: npt.NDArray[np.object_]
    unreadable: Positions
    imprecise: Positions


def texts(cells: pa.StringArray) -> list[str]:
    """The cells as Python strings."""
    return cast("list[str]", cells.to_pylist())


def chosen(cells: pa.StringArray, at: Positions) -> pa.StringArray:
    """The cells at those positions; `cells` itself where these are as many as there are cells."""
    return cells if len(at) == len(cells) else cells.take(at)


def distinct(cells: pa.StringArray) -> tuple[pa.StringArray, npt.NDArray[np.int32]]:
    """The distinct cells in the order they first occur, and per cell which of them it is."""
    encoded = cells.dictionary_encode()
    return cast("pa.StringArray", encoded.dictionary), encoded.indices.to_numpy()


def flags(array: pa.BooleanArray) -> Flags:
    """The array as numpy's booleans."""
    found: Flags = array.to_numpy(zero_copy_only=False)
    return found


def matches(cells: pa.StringArray, pattern: str) -> Flags:
    """Per cell, whether the pattern (RE2 syntax) occurs in it."""
    return flags(pc.match_substring_regex(cells, pattern))


def missing(cells: pa.StringArray) -> Flags:
    """Per cell, whether it is empty or whitespace only."""
    found: Flags = (_sizes(cells) == 0) | flags(pc.utf8_is_space(cells))
    return found


def read_integers(cells: pa.StringArray) -> Numbers:
    """The cells of a block as integers."""
    plain = flags(pc.ascii_is_decimal(cells)) & (_sizes(cells) <= _SHORT_INTEGER)
    readable = plain
    if not plain.all():
        plain = plain | matches(cells, rf"^-?[0-9]{{1,{_SHORT_INTEGER - 1}}}$")
        readable = plain | matches(pc.utf8_trim_whitespace(cells), rf"^(?:{_INTEGER.pattern})$")
    values = chosen(cells, np.flatnonzero(plain)).cast(pa.int64()).to_numpy(zero_copy_only=False)
    return _with_others(cells, plain, values, readable, _read_integer)


def read_numbers(cells: pa.StringArray) -> Numbers:
    """The cells of a block as numbers."""
    readable = np.ones(len(cells), dtype=np.bool_)
    trimmed = cells
    try:
        doubles = cells.cast(pa.float64())
    except pa.ArrowInvalid:
        trimmed = pc.utf8_trim_whitespace(cells)
        readable = matches(trimmed, f"^(?:{_NUMBER.pattern})$")
        trimmed = chosen(trimmed, np.flatnonzero(readable))
        doubles = trimmed.cast(pa.float64())
    values: npt.NDArray[np.float64] = doubles.to_numpy(zero_copy_only=False)
    exact = _carried_exactly(trimmed, values)
    plain = readable.copy()
    plain[readable] = exact
    return _with_others(cells, plain, values[exact], readable, _read_number)


def _carried_exactly(numbers: pa.StringArray, values: npt.NDArray[np.float64]) -> Flags:
    """Where the double is certain to be finite and the number written; the rest is looked at one by one."""
    exact: Flags = np.isfinite(values)
    long = np.flatnonzero(exact & (_sizes(numbers) > _SHORT_NUMBER))
    if len(long):
        written = chosen(numbers, long)
        printed = pa.array(values[long]).cast(written.type)
        exact[long] = flags(pc.equal(written, printed)) & matches(written, "[.]")
    tiny = np.flatnonzero(exact & (np.abs(values) < _TINY))
    if len(tiny):
        exact[tiny] = matches(chosen(numbers, tiny), r"^[+-]?0*\.?0*$")
    return exact


def _with_others(
    cells: pa.StringArray,
    plain: Flags,
    values: npt.NDArray[np.int64] | npt.NDArray[np.float64],
    readable: Flags,
    read: Callable[[str], int | float],
) -> Numbers:
    """Add to the values of the plain cells what the others, where they look readable, are read as one by one."""
    rest = np.flatnonzero(readable & ~plain)
    others_at, others, imprecise = [], [], []
    unreadable = ~readable
    for at, text in zip(rest.tolist(), texts(chosen(cells, rest)), strict=True):
        try:
            value = read(text)
        except ValueError:
            unreadable[at] = True
            continue
        others_at.append(at)
        others.append(value)
        if _is_imprecise(text, value):
            imprecise.append(at)
    return Numbers(
        at=np.flatnonzero(plain),
        values=values,
        others_at=np.array(others_at, dtype=np.int64),
        others=np.array(others, dtype=np.object_),
        unreadable=np.flatnonzero(unreadable),
        imprecise=np.array(imprecise, dtype=np.int64),
    )


def _is_imprecise(text: str, value: int | float) -> bool:
    """Whether `value`, read from `text`, is not the number written there."""
    if isinstance(value, int):
        return False
    if value == 0:
        return bool(re.search("[1-9]", re.split("[eE]", text)[0]))
    return Decimal(repr(value)) != Decimal(text.strip())


def _sizes(cells: pa.StringArray) -> npt.NDArray[np.integer]:
    """Per cell, its length in bytes."""
    found: npt.NDArray[np.integer] = pc.binary_length(cells).to_numpy(zero_copy_only=False)
    return found


def _read_integer(text: str) -> int:
    match = _INTEGER.fullmatch(text.strip())
    if match is None or len(match[1].lstrip("+-")) > _MOST_DIGITS:
        raise ValueError("not an integer")
    return int(match[1])


def _read_number(text: str) -> int | float:
    stripped = text.strip()
    if not _NUMBER.fullmatch(stripped) or len(stripped) > _MOST_DIGITS:
        raise ValueError("not a number")
    value = float(stripped)
    if math.isinf(value):
        raise ValueError("beyond the range of a double")
    return value if any(mark in stripped for mark in ".eE") else int(stripped)


def _read_boolean(text: str) -> bool:
    try:
        return _BOOLEANS[text.strip().lower()]
    except KeyError:
        raise ValueError("neither true nor false") from None


def _read_null(text: str) -> None:
    if text.strip() != "null":
        raise ValueError("not null")


def _read_json(text: str, wanted: type) -> Json:
    try:
        value: Json = json.loads(text)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, wanted):
        raise ValueError("another JSON type")
    return value


#: a cell's value under a type; each raises ValueError where the cell has none
READERS: dict[Kind, Callable[[str], Json]] = {
    Kind.STRING: str,
    Kind.INTEGER: _read_integer,
    Kind.NUMBER: _read_number,
    Kind.BOOLEAN: _read_boolean,
    Kind.NULL: _read_null,
    Kind.ARRAY: lambda text: _read_json(text, list),
    Kind.OBJECT: lambda text: _read_json(text, dict),
}
