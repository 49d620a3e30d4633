"""Checking a table's rows against the agent's inputs, and handing on those that are valid.

A cell that is empty or holds only whitespace is missing: an error where the input is required and has no default, and
otherwise not sent. How cells become values is said in `batchkit.core.cells`, how they are checked in `.rules`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Mapping as MappingLike
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import Literal, NamedTuple, cast

import numpy as np
import pandas as pd
import pyarrow as pa

from batchkit.core.agent import Agent
from batchkit.core.cells import Flags, Positions, distinct, missing, texts
from batchkit.core.duplicates import repeated_rows
from batchkit.core.issues import Issue, Issues, collected
from batchkit.core.mapping import Field, Input, Mapping, NotBefore, ProfileName
from batchkit.core.not_before import check_times
from batchkit.core.payload import cells_at, new_items
from batchkit.core.preview import preview_frame
from batchkit.core.profile import AgentProfile, ProfilePool, ProfileRef, profile_refs
from batchkit.core.request import NewItem
from batchkit.core.rules import Code, ColumnRules, Findings, compile_rules
from batchkit.core.table import ERRORS_COLUMN, Severity, Table
from batchkit.errors import ConfigError, MappingError, TableError

__all__ = ["Counts", "Issue", "LeftOut", "Validation", "validate"]

#: problems named in an exception; the rest is counted
_NAMED = 10
#: rows looked at together where they are handed on one by one
_PIECE = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many rows are what; valid + invalid = total."""

    total: int
    valid: int
    invalid: int
    #: valid rows with a warning
    warnings: int
    #: rows that will not be sent: the invalid ones under "drop", none under "block"
    dropped: int


class LeftOut(NamedTuple):
    """A row the policy "drop" leaves out."""

    row: int
    line: int | None
    cells: tuple[str, ...]
    #: its errors, one a line
    errors: str


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Validation:
    """A checked table: what is wrong with it, and its valid rows ready to be sent."""

    table: Table
    #: over exactly the table's columns
    mapping: Mapping
    agent: Agent
    #: what happens to invalid rows: they block the batch, or are dropped
    invalid: Literal["block", "drop"]
    #: every issue, columnar
    found: Issues
    #: what each profile name means; None: several things
    profiles: MappingLike[str, ProfileRef | None]

    def __repr__(self) -> str:
        return f"<Validation of {self.table.source!r}: {self.summary}>"

    def deciding(self, invalid: Literal["block", "drop"]) -> Validation:
        """The same rows as they were checked, with that policy."""
        return replace(self, invalid=invalid)

    @cached_property
    def valid_mask(self) -> Flags:
        """Per record, whether nothing blocks it. Not to be changed."""
        mask = ~self.found.rows(Severity.ERROR)
        mask.setflags(write=False)
        return mask

    @cached_property
    def counts(self) -> Counts:
        """How many rows are valid, invalid, dropped."""
        valid = int(self.valid_mask.sum())
        invalid = len(self.table) - valid
        return Counts(
            total=len(self.table),
            valid=valid,
            invalid=invalid,
            warnings=int(self._warned.sum()),
            dropped=invalid if self.invalid == "drop" else 0,
        )

    @property
    def ok(self) -> bool:
        """Whether a batch can be made: there is a valid row and, under "block", no invalid one."""
        return self.counts.valid > 0 and (self.invalid == "drop" or self.counts.invalid == 0)

    @property
    def summary(self) -> str:
        """The counts in words."""
        counts = self.counts
        parts = [f"{counts.total:,} rows", f"{counts.valid:,} valid"]
        parts += [f"{counts.warnings:,} of them with warnings"] if counts.warnings else []
        parts += [f"{counts.invalid:,} invalid"] if counts.invalid else []
        parts += [f"{counts.dropped:,} dropped"] if counts.dropped else []
        return ", ".join(parts)

    @property
    def issues(self) -> pd.DataFrame:
        """Every issue: row, line, column, field, code, severity, value, message. Made anew each time."""
        return self.found.frame()

    def issues_for(self, position: int) -> list[Issue]:
        """The issues of the record at `position` (0-based)."""
        return self.found.between(position, position + 1).listed()

    @cached_property
    def default_needed(self) -> int:
        """How many valid rows name no profile, so that the batch's default is used for them."""
        column = _profile_column(self.mapping.mapped)
        if column is None:
            return self.counts.valid
        return int((missing(_whole(self.table, column)) & self.valid_mask).sum())

    def preview(
        self, n: int = 10, *, start: int = 0, only: Literal["valid", "warning", "invalid"] | None = None
    ) -> pd.DataFrame:
        """Return `n` rows as they will be sent: row, status, a column per mapped field, errors.

        only: the rows of one status. start: how many of these rows to pass over first.
        Columns are called as the inputs, "profile" and "metadata.<key>". Values are typed; None is not sent; a cell
        with an error is shown as it was read.
        """
        if only is None:
            positions = range(start, min(start + n, len(self.table)))
            return preview_frame(self.found, self.mapping.mapped, positions)
        shown = {"invalid": ~self.valid_mask, "warning": self._warned, "valid": self.valid_mask & ~self._warned}
        chosen = np.flatnonzero(shown[only])[start : start + n].tolist()
        return preview_frame(self.found, self.mapping.mapped, chosen)

    def invalid_rows(self) -> pd.DataFrame:
        """The original cells of the invalid rows and a column `batchkit_errors`, to be corrected and read again."""
        frame = self.table.frame.loc[~self.valid_mask].copy()
        frame[ERRORS_COLUMN] = pd.Series(list(self._errors(0, len(self.table)).values()), frame.index, dtype="str")
        return frame

    def items(self, chunk: int = _PIECE) -> Iterator[list[NewItem]]:
        """Yield the valid rows, in order and ready to be sent, in lists of up to `chunk`."""
        for at in _pieces(self.valid_mask, chunk):
            yield new_items(self.table, at, self.mapping.mapped, self.found.rules, self.profiles)

    def left_out(self) -> Iterator[LeftOut]:
        """Yield the dropped rows, in order; none under "block"."""
        if self.invalid == "block":
            return
        for at in _pieces(~self.valid_mask, _PIECE):
            errors = self._errors(int(at[0]), int(at[-1]) + 1)
            rows = zip(*cells_at(self.table, at).values(), strict=True)
            for position, row in zip(at.tolist(), rows, strict=True):
                yield LeftOut(self.table.row_number(position), self.table.line_number(position), row, errors[position])

    @cached_property
    def _warned(self) -> Flags:
        """Per record, whether it is valid and has a warning."""
        return self.found.rows(Severity.WARNING) & self.valid_mask

    def _errors(self, first: int, last: int) -> dict[int, str]:
        """The errors of each invalid record at first <= position < last, one a line."""
        errors = self.found.between(first, last).only(Severity.ERROR)
        said = zip(errors.at.tolist(), errors.messages(), strict=True)
        return {at: "\n".join(message for _, message in same) for at, same in groupby(said, key=lambda pair: pair[0])}


def validate(
    table: Table,
    mapping: Mapping,
    agent: Agent,
    *,
    profiles: Sequence[AgentProfile] | None = None,
    pools: Sequence[ProfilePool] | None = None,
    invalid: Literal["block", "drop"] = "block",
    on_progress: Callable[[float], object] | None = None,
) -> Validation:
    """Return the table with every row checked.

    on_progress: told now and then what share is done, from 0 to 1; what it raises ends the work.
    profiles, pools: what a profile column may name; both None: the target has neither, and no column may be mapped to
    the profile. A row that repeats an earlier one in every mapped column gets a warning.
    Raises TableError if the table has errors, MappingError if the mapping has problems or is for other columns, and
    ConfigError for a schema that cannot be used.
    """
    if invalid not in ("block", "drop"):
        raise ConfigError(f'invalid must be "block" or "drop", not {invalid!r}.')
    _refuse_errors(table)
    if mapping.columns != table.columns:
        mapping = mapping.restored(table.columns)
    mapped = mapping.mapped
    _refuse_problems(mapping, agent, has_profiles=profiles is not None or pools is not None)
    refs = profile_refs(profiles, pools)
    rules = _compiled(mapped, agent)
    tell = None if on_progress is None else _Share(on_progress, len(table) * (len(rules) + 1)).add
    findings = {column: rules[column].check(table.data.column(column), tell) for column in rules}
    named = _profile_column(mapped)
    if named is not None:
        findings[named] = _check_profiles(_whole(table, named), refs)
    for column, item in mapped.items():
        if isinstance(item, NotBefore):
            findings[column] = check_times(_whole(table, column))
    found = collected(
        findings,
        repeated_rows(table.data, tuple(mapped)),
        table=table,
        fields=mapping.fields,
        rules=rules,
        profile_names=tuple(refs),
    )
    return Validation(table=table, mapping=mapping, agent=agent, invalid=invalid, found=found, profiles=refs)


class _Share:
    """Tells which share of the cells is done."""

    def __init__(self, tell: Callable[[float], object], cells: int) -> None:
        self._tell = tell
        self._cells = cells
        self._done = 0

    def add(self, cells: int) -> None:
        self._tell(self._done / self._cells)
        self._done += cells


def _refuse_errors(table: Table) -> None:
    if not table.ok:
        named = [problem.message for problem in table.errors[:_NAMED]]
        more = len(table.errors) - len(named)
        rest = [f"… and {more:,} more; see `table.problems`."] if more else []
        raise TableError("\n".join(["The table cannot be used as it is.", *named, *rest]))


def _refuse_problems(mapping: Mapping, agent: Agent, *, has_profiles: bool) -> None:
    messages = [problem.message for problem in mapping.problems(agent)]
    column = _profile_column(mapping.mapped)
    if column is not None and not has_profiles:
        messages.append(f"Column {column!r} is mapped to the agent profile, but the target has none. Skip the column.")
    if messages:
        raise MappingError("\n".join(["The mapping cannot be used.", *messages]))


def _compiled(mapped: MappingLike[str, Field], agent: Agent) -> dict[str, ColumnRules]:
    variables = {variable.name: variable for variable in agent.inputs}
    return {column: compile_rules(variables[item.name]) for column, item in mapped.items() if isinstance(item, Input)}


def _profile_column(mapped: MappingLike[str, Field]) -> str | None:
    return next((column for column, item in mapped.items() if isinstance(item, ProfileName)), None)


def _check_profiles(cells: pa.StringArray, refs: MappingLike[str, ProfileRef | None]) -> Findings:
    """Names compare exactly, after trimming; an empty cell means the batch's default."""
    values, which = distinct(cells)
    names = [text.strip() for text in texts(values)]
    unknown = np.array([name != "" and name not in refs for name in names], dtype=np.bool_)
    ambiguous = np.array([name in refs and refs[name] is None for name in names], dtype=np.bool_)
    return [
        (Code.UNKNOWN_PROFILE, np.flatnonzero(unknown[which])),
        (Code.AMBIGUOUS_PROFILE, np.flatnonzero(ambiguous[which])),
    ]


def _whole(table: Table, column: str) -> pa.StringArray:
    return cast("pa.StringArray", table.data.column(column).combine_chunks())


def _pieces(flags: Flags, size: int) -> Iterator[Positions]:
    """The flagged positions, ascending, in pieces."""
    at = np.flatnonzero(flags)
    for start in range(0, len(at), size):
        yield at[start : start + size]
