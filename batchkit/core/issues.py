"""What is wrong with the rows of a table, kept as columns of small numbers; sentences are made when asked for."""

from __future__ import annotations

from collections.abc import Mapping as MappingLike
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from batchkit.core.cells import Flags, Positions, distinct, texts
from batchkit.core.mapping import Field
from batchkit.core.messages import Teller, about_cell, about_profile, about_time
from batchkit.core.rules import Code, ColumnRules, Findings
from batchkit.core.table import TEXT, Severity, Table

__all__ = ["Issue", "Issues", "collected"]

_CODES = tuple(Code)
_BLOCKS = np.array([code.severity is Severity.ERROR for code in _CODES])


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """One thing wrong with one row, or worth knowing of it."""

    #: as a spreadsheet counts: header 1, first record 2
    row: int
    #: the record's first physical line; None for a DataFrame
    line: int | None
    #: the header; empty: the row as a whole
    column: str
    #: an input's name, "profile", or empty
    field: str
    code: Code
    severity: Severity
    #: the cell as it was read
    value: str
    #: where, what, and what to do
    message: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Issues:
    """The issues of a table, by row, then column. The four arrays are one entry an issue, 13 bytes together."""

    table: Table
    #: per column of the table
    fields: MappingLike[str, Field]
    #: of the columns mapped to an input
    rules: MappingLike[str, ColumnRules]
    #: of profiles and pools, for messages
    profile_names: Sequence[str]
    #: the record's position, 0-based, ascending
    at: npt.NDArray[np.int32]
    #: index of the table's column; one past the last: the row as a whole
    column: npt.NDArray[np.int32]
    #: index of the code
    code: npt.NDArray[np.uint8]
    #: for a duplicate row, the position of the first such row
    first: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.at)

    def rows(self, severity: Severity) -> Flags:
        """Per record of the table, whether it has an issue of that severity."""
        flagged = np.zeros(len(self.table), dtype=np.bool_)
        flagged[self.at[_BLOCKS[self.code] == (severity is Severity.ERROR)]] = True
        return flagged

    def only(self, severity: Severity) -> Issues:
        """The issues of that severity."""
        return self._taken(np.flatnonzero(_BLOCKS[self.code] == (severity is Severity.ERROR)))

    def between(self, first: int, last: int) -> Issues:
        """The issues of the records at first <= position < last."""
        start, stop = np.searchsorted(self.at, [first, last])
        return self._taken(np.arange(start, stop))

    def messages(self) -> list[str]:
        """The sentence of each issue."""
        return texts(self._sentences()[1])

    def listed(self) -> list[Issue]:
        """The issues as values."""
        values, messages = self._sentences()
        headers, labels = self._headers(), self._labels()
        return [
            Issue(
                row=self.table.row_number(at),
                line=self.table.line_number(at),
                column=headers[column],
                field=labels[column],
                code=_CODES[code],
                severity=_CODES[code].severity,
                value=value,
                message=message,
            )
            for at, column, code, value, message in zip(
                self.at.tolist(), self.column.tolist(), self.code.tolist(), texts(values), texts(messages), strict=True
            )
        ]

    def frame(self) -> pd.DataFrame:
        """The issues as a DataFrame: row, line, column, field, code, severity, value, message."""
        values, messages = self._sentences()
        columns = {
            "column": pa.array(self._headers()).take(self.column),
            "field": pa.array(self._labels()).take(self.column),
            "code": pa.array([code.value for code in _CODES]).take(self.code),
            "severity": pa.array([code.severity.value for code in _CODES]).take(self.code),
            "value": values,
            "message": messages,
        }
        frame = pa.table(columns).to_pandas(types_mapper=lambda _: TEXT)
        frame.insert(0, "row", self.table.rows_at(self.at))
        frame.insert(1, "line", pd.Series(self.table.lines_at(self.at), dtype="Int64"))
        return frame

    def _headers(self) -> list[str]:
        return [*self.table.columns, ""]

    def _labels(self) -> list[str]:
        return [*(self.fields[column].label for column in self.table.columns), ""]

    def _taken(self, which: Positions) -> Issues:
        return replace(
            self, at=self.at[which], column=self.column[which], code=self.code[which], first=self.first[which]
        )

    def _sentences(self) -> tuple[pa.StringArray, pa.StringArray]:
        """Per issue, the cell's value and the message; made for all issues of one column and code together."""
        if not len(self):
            nothing = cast("pa.StringArray", pa.array([], pa.large_string()))
            return nothing, nothing
        kinds = self.column.astype(np.int64) * len(_CODES) + self.code
        order = np.argsort(kinds, kind="stable")
        starts = np.flatnonzero(np.diff(kinds[order], prepend=-1))
        pairs = [self._group_sentences(group) for group in np.split(order, starts[1:])]
        back = pa.array(np.argsort(order))
        values, messages = (pa.concat_arrays(parts).take(back) for parts in zip(*pairs, strict=True))
        return cast("pa.StringArray", values), cast("pa.StringArray", messages)

    def _group_sentences(self, group: Positions) -> tuple[pa.Array[Any], pa.Array[Any]]:
        at = self.at[group]
        column, code = int(self.column[group[0]]), _CODES[self.code[group[0]]]
        rows = _numerals(self.table.rows_at(at))
        if column == len(self.table.columns):
            earlier = _numerals(self.table.rows_at(self.first[group]))
            what = " in every mapped column, so the agent would run on the same values again."
            return _repeated("", len(at)), _joined("Row ", rows, " repeats row ", earlier, what)
        name = self.table.columns[column]
        cells = _cells(self.table.data.column(column), at)
        values, which = distinct(cells)
        said = list(map(self._teller(name, code), texts(values)))
        return cells, _joined("Row ", rows, f", column {name!r}: ", pa.array(said, pa.large_string()).take(which))

    def _teller(self, column: str, code: Code) -> Teller:
        if code is Code.TIME:
            return about_time()
        return about_cell(code, self.rules[column]) if column in self.rules else about_profile(code, self.profile_names)


def collected(
    findings: MappingLike[str, Findings],
    repeats: tuple[Positions, Positions],
    *,
    table: Table,
    fields: MappingLike[str, Field],
    rules: MappingLike[str, ColumnRules],
    profile_names: Sequence[str],
) -> Issues:
    """Return as Issues what was found per column, and the rows that repeat an earlier one with the first of them."""
    again, first = repeats
    parts = [(at, table.columns.index(column), code, at) for column, found in findings.items() for code, at in found]
    parts.append((again, len(table.columns), Code.DUPLICATE_ROW, first))
    sizes = [len(at) for at, *_ in parts]
    at = np.concatenate([at for at, *_ in parts]).astype(np.int32)
    column = np.repeat(np.array([column for _, column, *_ in parts], dtype=np.int32), sizes)
    code = np.repeat(np.array([_CODES.index(code) for *_, code, _ in parts], dtype=np.uint8), sizes)
    earlier = np.concatenate([first for *_, first in parts]).astype(np.int32)
    order = np.lexsort((code, column, at))
    return Issues(
        table=table,
        fields=fields,
        rules=rules,
        profile_names=profile_names,
        at=at[order],
        column=column[order],
        code=code[order],
        first=earlier[order],
    )


def _cells(column: pa.ChunkedArray[Any], at: npt.NDArray[np.integer]) -> pa.StringArray:
    """The cells at those positions (ascending)."""
    near = column.slice(int(at[0]), int(at[-1]) - int(at[0]) + 1)
    return cast("pa.StringArray", near.take(at - at[0]).cast(pa.large_string()).combine_chunks())


def _numerals(numbers: npt.NDArray[np.int64]) -> pa.Array[Any]:
    return pa.array(numbers).cast(pa.large_string())


def _repeated(text: str, times: int) -> pa.Array[Any]:
    return pa.array([text], pa.large_string()).take(np.zeros(times, dtype=np.int64))


def _joined(*parts: pa.Array[Any] | str) -> pa.Array[Any]:
    """The parts of each sentence put together."""
    arrays: list[Any] = [pa.scalar(part, pa.large_string()) if isinstance(part, str) else part for part in parts]
    return cast("pa.Array[Any]", pc.binary_join_element_wise(*arrays, pa.scalar("", pa.large_string())))
