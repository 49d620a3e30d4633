"""A table as it was read: every cell text, with what was seen on the way."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api.extensions import ExtensionDtype

__all__ = ["ERRORS_COLUMN", "TEXT", "Dialect", "Problem", "Severity", "Table"]

#: the column an export of invalid rows adds; a file that has it is one of ours, to be read back corrected
ERRORS_COLUMN = "batchkit_errors"


def _text_dtype() -> ExtensionDtype:
    try:
        return pd.StringDtype("pyarrow", na_value=np.nan)
    except TypeError:  # pandas 2.2 has the same type under another name
        return pd.StringDtype("pyarrow_numpy")  # type: ignore[call-overload,no-any-return]


#: pandas' own text type, on arrow's memory: what `Table.frame` is made of without a copy
TEXT = _text_dtype()


class Severity(StrEnum):
    """An error blocks a batch, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How the bytes were understood; shown to the user, who can override each."""

    #: a Python codec name: "utf-8", "utf-8-sig", "utf-16", "cp1252", ...
    encoding: str
    #: one character: "," ";" "\t" "|"
    delimiter: str
    quote: str = '"'
    #: what ends a record: "\n", "\r\n", "\r", or "mixed"
    newline: str = "\n"
    #: whether `encoding` was guessed from the bytes rather than known (a BOM, valid UTF-8, given by the caller)
    encoding_guessed: bool = False
    #: whether `delimiter` was guessed: neither given, nor named by a "sep=" line, nor a comma that alone fits
    delimiter_guessed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something about a table the user should know, before any row is looked at."""

    #: a stable word: "row_too_short", "duplicate_header", ...
    kind: str
    severity: Severity
    #: what is wrong and what to do next, one sentence or two
    message: str
    #: the first physical line in the file concerned, 1-based; None: the file as a whole, or a DataFrame
    line: int | None = None
    #: as a spreadsheet counts: header 1, first record 2; None likewise
    row: int | None = None
    expected: str = ""
    actual: str = ""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Table:
    """Rows of text under a header, in the file's order.

    Rows whose cell count does not fit the header are not among `data`; they are errors in `problems`.
    A blank line counts as a row, as it does in a spreadsheet, but is not a record.
    """

    #: one `large_string` column a header, no nulls; names unique and not empty
    data: pa.Table
    #: None: made from a DataFrame
    dialect: Dialect | None
    problems: tuple[Problem, ...] = ()
    #: a file's name or "DataFrame", for messages and the batch's record
    source: str = ""
    #: per record, as a spreadsheet counts (header 1); None: 2, 3, 4, ...
    row_numbers: np.ndarray | None = None
    #: per record, its first physical line; None: the same as the row numbers (a file), or unknown (a DataFrame)
    line_numbers: np.ndarray | None = None
    #: a DataFrame's index, given back in the results; None: none
    index: pd.Index | None = None

    def __post_init__(self) -> None:
        """Refuse what the rest of the package could not tell apart or count."""
        names = self.data.column_names
        if len(set(names)) < len(names) or "" in names:
            raise ValueError(f"column names must be unique and not empty: {names}")
        for numbers in (self.row_numbers, self.line_numbers, self.index):
            if numbers is not None and len(numbers) != self.data.num_rows:
                raise ValueError(f"{len(numbers)} row numbers, lines or labels for {self.data.num_rows} records")

    @property
    def columns(self) -> tuple[str, ...]:
        """The header, in order."""
        return tuple(self.data.column_names)

    def __len__(self) -> int:
        return int(self.data.num_rows)

    def __repr__(self) -> str:
        size = f"{len(self):,} rows × {len(self.columns)} columns"
        return f"<Table {self.source!r}: {size}, {len(self.problems)} problems>"

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that block a batch."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.ERROR)

    @property
    def ok(self) -> bool:
        """Whether nothing about the table blocks a batch."""
        return not self.errors

    def first(self, rows: int) -> Table:
        """The first so many rows, without a copy."""
        return replace(
            self,
            data=self.data.slice(0, rows),
            row_numbers=None if self.row_numbers is None else self.row_numbers[:rows],
            line_numbers=None if self.line_numbers is None else self.line_numbers[:rows],
            index=None if self.index is None else self.index[:rows],
        )

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The rows as a DataFrame of text, with the caller's index where there was one. Not to be changed."""
        frame = self.data.to_pandas(types_mapper=lambda _: TEXT)
        if self.index is not None:
            frame.index = self.index
        return frame

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 in hex over header and cells, to recognise a table that ran before.

        The same cells give the same fingerprint whatever encoding, delimiter or DataFrame they came in.
        """
        digest = hashlib.sha256(struct.pack("<QQ", len(self.columns), len(self)))
        for name, column in zip(self.columns, self.data.columns, strict=True):
            label = name.encode("utf-8")
            chunks = list(_chunks(column))
            size = sum(len(text) for text, _ in chunks)
            digest.update(struct.pack("<QQ", len(label), size) + label)
            for text, _ in chunks:
                digest.update(text)
            for _, lengths in chunks:
                digest.update(lengths.data)
        return digest.hexdigest()

    def row_number(self, position: int) -> int:
        """The row of record `position` (0-based) as a spreadsheet counts."""
        return position + 2 if self.row_numbers is None else int(self.row_numbers[position])

    def line_number(self, position: int) -> int | None:
        """The first physical line of record `position`, None for a DataFrame."""
        if self.dialect is None:
            return None
        return self.row_number(position) if self.line_numbers is None else int(self.line_numbers[position])

    def rows_at(self, positions: np.ndarray) -> np.ndarray:
        """`row_number` of many records, int64."""
        return positions.astype(np.int64) + 2 if self.row_numbers is None else self.row_numbers[positions]

    def lines_at(self, positions: np.ndarray) -> list[int] | list[None]:
        """`line_number` of many records."""
        if self.dialect is None:
            return [None] * len(positions)
        lines = self.rows_at(positions) if self.line_numbers is None else self.line_numbers[positions]
        return [int(line) for line in lines.tolist()]


def _chunks(column: pa.ChunkedArray[pa.LargeStringScalar]) -> Iterator[tuple[memoryview, np.ndarray]]:
    """The text of a column end to end, and the length of each cell in bytes, chunk by chunk, without a copy."""
    for chunk in column.cast(pa.large_string()).chunks:
        if len(chunk):
            _, offsets, text = chunk.buffers()
            bounds = np.frombuffer(memoryview(offsets or b""), np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
            data = memoryview(text or b"")[bounds[0] : bounds[-1]]
            yield data, np.diff(bounds).astype("<u4")
