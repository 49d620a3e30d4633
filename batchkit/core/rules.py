"""Checking a column against its input variable's schema, many cells at once.

The simple keywords of JSON Schema are checked with pyarrow and numpy; whatever else a schema says, and arrays and
objects as a whole, by jsonschema for each distinct value. Where the two could differ, this is what holds:

    pattern     RE2's syntax, or Python's where RE2 cannot express it; found anywhere in the cell
    multipleOf  of the decimal number as written: 0.3 is a multiple of 0.1
    format      see `batchkit.core.formats`
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from jsonschema.exceptions import ValidationError

from batchkit.core.agent import InputVariable
from batchkit.core.cells import (
    READERS,
    Flags,
    Kind,
    Positions,
    chosen,
    distinct,
    flags,
    matches,
    missing,
    read_integers,
    read_numbers,
    texts,
)
from batchkit.core.formats import conforming
from batchkit.core.schema import ValueSchema, read_schema
from batchkit.core.table import Severity
from batchkit.errors import ConfigError

__all__ = ["Code", "ColumnRules", "Findings", "compile_rules"]


class Code(StrEnum):
    """What can be said against a cell or a row. Rules of a schema bear JSON Schema's own keyword."""

    #: the cell is missing and the input has no default
    REQUIRED = "required"
    TYPE = "type"
    ENUM = "enum"
    CONST = "const"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"
    EXCLUSIVE_MINIMUM = "exclusiveMinimum"
    EXCLUSIVE_MAXIMUM = "exclusiveMaximum"
    MULTIPLE_OF = "multipleOf"
    MIN_LENGTH = "minLength"
    MAX_LENGTH = "maxLength"
    PATTERN = "pattern"
    FORMAT = "format"
    #: any other part of the schema
    SCHEMA = "schema"
    UNKNOWN_PROFILE = "unknown_profile"
    #: the name is a profile and a pool, or several
    AMBIGUOUS_PROFILE = "ambiguous_profile"
    #: it names no moment
    TIME = "time"
    #: the number sent is not exactly the one written
    IMPRECISE = "imprecise"
    #: the row repeats an earlier one
    DUPLICATE_ROW = "duplicate_row"

    @property
    def severity(self) -> Severity:
        """Whether it blocks the row."""
        return Severity.WARNING if self in (Code.IMPRECISE, Code.DUPLICATE_ROW) else Severity.ERROR


#: what was found, and the positions where, ascending
Findings = list[tuple[Code, Positions]]

_Judge = Callable[[Kind, str], frozenset[Code]]
_Values = npt.NDArray[np.int64] | npt.NDArray[np.float64] | npt.NDArray[np.object_]

#: cells looked at together: large enough to be fast, small enough to need little memory
_BLOCK = 131_072
#: verdicts of jsonschema kept while a column is checked
_VERDICTS = 100_000
#: cells by which a block is judged to repeat itself
_SAMPLE = 8_000
#: integers up to here are exact as doubles
_EXACT_DOUBLE = 2**53
#: divides any two numbers a cell and a schema can hold
_EXACT = Context(prec=2_500)
#: codes that jsonschema gives under the same name
_KEYWORDS = frozenset(Code) - {Code.REQUIRED}
_WRONG: dict[str, Callable[[Any, Any], Any]] = {
    "minimum": operator.lt,
    "maximum": operator.gt,
    "exclusiveMinimum": operator.le,
    "exclusiveMaximum": operator.ge,
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ColumnRules:
    """What the cells of a column mapped to an input must satisfy."""

    schema: ValueSchema
    #: a missing cell is an error
    needed: bool
    #: finds the schema's pattern; None: it has none
    search: Callable[[pa.StringArray], Flags] | None

    def check(
        self, column: pa.ChunkedArray[pa.StringScalar], on_cells: Callable[[int], object] | None = None
    ) -> Findings:
        """Everything there is to say against the column's cells.

        on_cells: told now and then how many more were checked.
        """
        judge = lru_cache(_VERDICTS)(self._judge)
        found: dict[Code, list[Positions]] = {}
        for start in range(0, len(column), _BLOCK):
            if on_cells is not None:
                on_cells(min(_BLOCK, len(column) - start))
            cells = cast("pa.StringArray", column.slice(start, _BLOCK).combine_chunks())
            for code, at in self._check_block(cells, judge):
                found.setdefault(code, []).append(at + start)
        return [(code, np.concatenate(parts)) for code, parts in found.items()]

    def accepted_kinds(self, cells: pa.StringArray) -> npt.NDArray[np.int64]:
        """Per cell, the index of the kind under which it is read: the first that has nothing against it."""
        return self._cascade(cells, lru_cache(_VERDICTS)(self._judge))[1]

    def objections(self, text: str) -> list[ValidationError]:
        """What jsonschema says under the code `SCHEMA` against a cell, for messages."""
        return [error for error in self._errors(self.schema.kinds[0], text) if self._code(error) is Code.SCHEMA]

    def _check_block(self, cells: pa.StringArray, judge: _Judge) -> Findings:
        gone = missing(cells)
        present = np.flatnonzero(~gone)
        found: Findings = []
        if self.needed and len(present) < len(cells):
            found.append((Code.REQUIRED, np.flatnonzero(gone)))
        against, _ = self._cascade(chosen(cells, present), judge)
        return found + [(code, present[at]) for code, at in against]

    def _cascade(self, cells: pa.StringArray, judge: _Judge) -> tuple[Findings, npt.NDArray[np.int64]]:
        """What is against each cell under its first kind, unless a later one accepts it, and the kind it is read as."""
        kinds = self.schema.kinds
        read_as = np.zeros(len(cells), dtype=np.int64)
        found = self._check_kind(kinds[0], cells, judge)
        for index, kind in enumerate(kinds[1:], start=1):
            failing = _blocked(found)
            if not len(failing):
                break
            again = self._check_kind(kind, chosen(cells, failing), judge)
            accepted = np.delete(failing, _blocked(again))
            read_as[accepted] = index
            found = [(code, np.setdiff1d(at, accepted, assume_unique=True)) for code, at in found]
            found += [(code, np.intersect1d(failing[at], accepted)) for code, at in again]
        return [(code, at) for code, at in found if len(at)], read_as

    def _check_kind(self, kind: Kind, cells: pa.StringArray, judge: _Judge) -> Findings:
        if kind is Kind.STRING:
            return self._check_strings(cells, judge)
        if kind in (Kind.INTEGER, Kind.NUMBER):
            return self._check_numbers(kind, cells, judge)
        values, which = distinct(cells)
        return _spread(_tally([judge(kind, text) for text in texts(values)]), which)

    def _check_strings(self, cells: pa.StringArray, judge: _Judge) -> Findings:
        simple = self.schema.simple
        if (simple.keys() & {"pattern", "format"} or self.schema.rest) and _repeats(cells):
            values, which = distinct(cells)
            return _spread(self._check_texts(values, judge), which)
        return self._check_texts(cells, judge)

    def _check_texts(self, cells: pa.StringArray, judge: _Judge) -> Findings:
        found: Findings = []
        for keyword, value in self.schema.simple.items():
            wrong = self._wrong_texts(keyword, value, cells)
            if wrong is not None and wrong.any():
                found.append((Code(keyword), np.flatnonzero(wrong)))
        if self.schema.rest is not None:
            found += _tally([judge(Kind.STRING, text) for text in texts(cells)])
        return found

    def _wrong_texts(self, keyword: str, value: Any, cells: pa.StringArray) -> Flags | None:
        match keyword:
            case "enum" | "const":
                members = [member for member in _members(keyword, value) if isinstance(member, str)]
                return ~flags(pc.is_in(cells, value_set=pa.array(members, cells.type)))
            case "minLength":
                return cast("Flags", _lengths(cells) < value)
            case "maxLength":
                return cast("Flags", _lengths(cells) > value)
            case "pattern" if self.search is not None:
                return ~self.search(cells)
            case "format":
                return ~conforming(cells, value, self.schema.formats)
        return None

    def _check_numbers(self, kind: Kind, cells: pa.StringArray, judge: _Judge) -> Findings:
        read = read_integers(cells) if kind is Kind.INTEGER else read_numbers(cells)
        found: Findings = [(Code.TYPE, read.unreadable), (Code.IMPRECISE, read.imprecise)]
        for keyword, value in self.schema.simple.items():
            wrong = [
                at[_wrong_numbers(keyword, value, values)]
                for at, values in ((read.at, read.values), (read.others_at, read.others))
                if len(at)
            ]
            found += [(Code(keyword), np.sort(np.concatenate(wrong)))] if wrong else []
        if self.schema.rest is not None:
            at = np.sort(np.concatenate([read.at, read.others_at]))
            verdicts = [judge(kind, text) for text in texts(chosen(cells, at))]
            found += [(code, at[where]) for code, where in _tally(verdicts)]
        return [(code, at) for code, at in found if len(at)]

    def _judge(self, kind: Kind, text: str) -> frozenset[Code]:
        """What only jsonschema can say against a cell: all of it, or for text and numbers the rest."""
        try:
            return frozenset(map(self._code, self._errors(kind, text)))
        except ValueError:
            return frozenset({Code.TYPE})

    def _code(self, error: ValidationError) -> Code:
        """The code for a keyword of the schema itself, `SCHEMA` for what lies deeper or behind a reference."""
        keyword = str(error.validator)
        own = keyword in _KEYWORDS and self.schema.keywords.get(keyword) == error.validator_value
        return Code(keyword) if own and len(error.schema_path) == 1 else Code.SCHEMA

    def _errors(self, kind: Kind, text: str) -> list[ValidationError]:
        """Raises ValueError where the cell has no value of that kind."""
        value = READERS[kind](text)
        scalar = kind in (Kind.STRING, Kind.INTEGER, Kind.NUMBER)
        validator = self.schema.rest if scalar else self.schema.whole
        return [] if validator is None else self.schema.errors(value, validator)


def compile_rules(variable: InputVariable) -> ColumnRules:
    """Return the rules for a column mapped to `variable`. Raises ConfigError for a schema that cannot be used.

    A missing cell is an error where the variable is required and has no default.
    """
    schema = read_schema(variable)
    pattern = schema.simple.get("pattern")
    return ColumnRules(
        schema=schema,
        needed=variable.required and variable.default is None,
        search=None if pattern is None else _searcher(pattern, variable),
    )


def _searcher(pattern: str, variable: InputVariable) -> Callable[[pa.StringArray], Flags]:
    try:
        matches(pa.array([""]), pattern)
    except pa.ArrowInvalid:
        try:
            find = re.compile(pattern).search
        except re.error as error:
            raise ConfigError(
                f"The pattern {pattern!r} of input {variable.name!r} is not a regular expression: {error}. "
                "Correct it in the agent's workflow."
            ) from error
        return lambda cells: np.array([find(text) is not None for text in texts(cells)], dtype=np.bool_)
    return lambda cells: matches(cells, pattern)


def _members(keyword: str, value: Any) -> list[Any]:
    return value if keyword == "enum" else [value]


def _lengths(cells: pa.StringArray) -> npt.NDArray[np.int64]:
    """Per cell, its characters (code points)."""
    lengths: npt.NDArray[np.int64] = pc.utf8_length(cells).to_numpy(zero_copy_only=False)
    return lengths


def _repeats(cells: pa.StringArray) -> bool:
    sample = cells.slice(0, _SAMPLE)
    return len(cells) > _SAMPLE and len(sample.unique()) < len(sample) // 2


def _wrong_numbers(keyword: str, value: Any, values: _Values) -> Flags:
    """Per value, whether it breaks that keyword; none does where the keyword is not about numbers."""
    if keyword in _WRONG:
        return _compared(values, _WRONG[keyword], value)
    if keyword == "multipleOf":
        return _not_multiples(values, value)
    if keyword in ("enum", "const"):
        members = {member for member in _members(keyword, value) if type(member) in (int, float)}
        return np.array([number not in members for number in values.tolist()], dtype=np.bool_)
    return np.zeros(len(values), dtype=np.bool_)


def _compared(values: _Values, wrong: Callable[[Any, Any], Any], bound: int | float) -> Flags:
    """Compared exactly, whatever 64 bits would make of it."""
    if isinstance(bound, float) and bound.is_integer():
        bound = int(bound)
    if values.dtype == np.float64 and abs(bound) > _EXACT_DOUBLE:
        values = values.astype(np.object_)
    found: Flags = np.asarray(wrong(values, bound), dtype=np.bool_)
    return found


def _not_multiples(values: _Values, divisor: int | float) -> Flags:
    if values.dtype == np.int64 and divisor == int(divisor) and divisor < _EXACT_DOUBLE:
        found: Flags = values % int(divisor) != 0
        return found
    step = Decimal(repr(divisor))
    remainders = (_EXACT.remainder(Decimal(repr(number)), step) for number in values.tolist())
    return np.fromiter((bool(rest) for rest in remainders), dtype=np.bool_, count=len(values))


def _blocked(found: Findings) -> Positions:
    """Where something blocks, ascending."""
    errors = [at for code, at in found if code.severity is Severity.ERROR]
    return np.unique(np.concatenate(errors)) if errors else np.array([], dtype=np.int64)


def _tally(verdicts: Sequence[Iterable[Code]]) -> Findings:
    """The findings in a verdict per cell."""
    found: dict[Code, list[int]] = {}
    for at, verdict in enumerate(verdicts):
        for code in verdict:
            found.setdefault(code, []).append(at)
    return [(code, np.array(at, dtype=np.int64)) for code, at in found.items()]


def _spread(found: Findings, which: npt.NDArray[np.int32]) -> Findings:
    """Findings about distinct values, for the cells that hold them."""
    spread = []
    for code, at in found:
        affected = np.zeros(int(which.max(initial=-1)) + 1, dtype=np.bool_)
        affected[at] = True
        spread.append((code, np.flatnonzero(affected[which])))
    return spread
