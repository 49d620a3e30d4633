"""A table as it was read: every cell text, with what was seen on the way."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa

__all__ = ["Dialect", "Problem", "Severity", "Table"]


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
    #: "\n", "\r\n", "\r", or "mixed"
    newline: str = "\n"
    #: whether `encoding` was guessed from the bytes rather than known (a BOM, valid UTF-8, given by the caller)
    encoding_guessed: bool = False
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
    """

    #: one string column a header, no nulls; names unique and not empty
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
    #: SHA-256 over header and cells, to recognise a file that ran before
    fingerprint: str = ""

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

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The rows as a DataFrame of text, with the caller's index where there was one. Not to be changed."""
        frame = self.data.to_pandas()
        if self.index is not None:
            frame.index = self.index
        return frame

    def row_number(self, position: int) -> int:
        """The row of record `position` (0-based) as a spreadsheet counts."""
        return position + 2 if self.row_numbers is None else int(self.row_numbers[position])

    def line_number(self, position: int) -> int | None:
        """The first physical line of record `position`, None for a DataFrame."""
        if self.dialect is None:
            return None
        return self.row_number(position) if self.line_numbers is None else int(self.line_numbers[position])
