"""Running rows of a batch again, as a new batch that knows where its rows came from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from batchkit.core import results
from batchkit.core.config import BatchConfig
from batchkit.core.edits import again_table, edited_cells, without_results
from batchkit.core.lifecycle import ItemStatus
from batchkit.core.mapping import Mapping as ColumnMapping
from batchkit.core.record import BatchRecord
from batchkit.core.rerun import (
    EXECUTIONS,
    Again,
    Standing,
    again_config,
    again_name,
    newest,
    refuse_obstacles,
    rows_that,
)
from batchkit.core.table import Table
from batchkit.errors import ConfigError, NotFoundError, StateError, ValidationError
from batchkit.io.tables import read_csv
from batchkit.joining import own_rows

if TYPE_CHECKING:
    from batchkit.batch import Batch
    from batchkit.core.validation import Validation
    from batchkit.workspace import Workspace

__all__ = ["Choice", "RowChoice", "rerun"]

#: a mask over the rows of `results()`, items as in `items()`, or a frame with a column `item` or `row`
RowChoice = Sequence[bool] | Sequence[int] | int | pd.Series | np.ndarray | pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which rows are run again; together where several are given, and those of `inputs` where none is."""

    rows: RowChoice | None = None
    executions: str | Collection[str] = ()
    items: str | Collection[str] = ()
    dropped: bool = False

    @property
    def is_open(self) -> bool:
        """Whether nothing was chosen."""
        return self.rows is None and not self.executions and not self.items and not self.dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """The batch's rows by number, those left out too, and where each stands by now."""

    record: BatchRecord
    #: by row
    cells: dict[int, list[str]]
    labels: dict[int, Any]
    #: item to row, as in `items()`
    row_of: dict[int, int]
    #: of rows that were in a batch
    standings: dict[int, Standing]
    #: how often rows of the family were run again
    again: int = field(default=0)


def rerun(
    ws: Workspace,
    batch_id: str,
    choice: Choice,
    *,
    inputs: Table | pd.DataFrame | None,
    config: BatchConfig | Mapping[str, Any] | None,
    invalid: Literal["block", "drop"],
    force: bool,
) -> Batch:
    """The new batch, as `Batch.rerun` says."""
    source = ws.engine.call(_read(ws, batch_id))
    record = source.record
    ws.check_runs_here(record)
    edits = {} if inputs is None else edited_cells(_table(inputs, record), record.columns, source.labels)
    if choice.is_open and inputs is None:
        raise ConfigError(
            'Which rows? For example batch.rerun(executions="failed"), batch.rerun(items="refused"), '
            "batch.rerun([0, 5]) or batch.rerun(inputs=corrected)."
        )
    rows = sorted(edits) if choice.is_open else _chosen(source, choice)
    if not rows:
        raise StateError(f"No row of batch {batch_id} {_said(choice)}, so there is nothing to run again.")
    refuse_obstacles(((row, source.standings[row]) for row in rows if row in source.standings), forced=force)
    made = again_config(record, again_name(record.name, source.again), config)
    agent = ws.agent(record.agent_id, made.version)
    checked = ws.validate(
        _again_table(source, rows, edits), ColumnMapping.from_dict(record.mapping), agent, invalid=invalid
    )
    if not checked.ok:
        raise ValidationError(_invalid(checked))
    link = Again(parent=record.id, origin=record.origin or record.id, forced=force)
    return ws.create_batch(checked, made, again=link)


async def _read(ws: Workspace, batch_id: str) -> _Source:
    store = ws.store
    record = await store.batch(batch_id)
    own = await own_rows(store, record)
    numbers = [item.row for item in own.items]
    cells, labels = dict(zip(numbers, own.cells, strict=True)), dict(zip(numbers, own.labels, strict=True))
    if record.progress.left_out:
        for row, _, texts, _ in await store.left_out(batch_id):
            cells[row], labels[row] = texts, None
    standings = await store.standings(batch_id)
    return _Source(
        record=record,
        cells=cells,
        labels={row: labels[row] for row in sorted(labels)},
        row_of={item.item: item.row for item in own.items},
        standings={row: newest(each) for row, each in standings.items() if row in cells},
        again=len(await store.family(batch_id)) - 1,
    )


def _table(inputs: Table | pd.DataFrame, record: BatchRecord) -> Table:
    if isinstance(inputs, pd.DataFrame):
        # The results in it have no text that a table needs.
        kept = without_results(record.columns, [str(name) for name in inputs.columns], record.index_kind)
        return read_csv(inputs.loc[:, [str(name) in kept for name in inputs.columns]])
    if not isinstance(inputs, Table):
        raise ConfigError(
            f"inputs must be a DataFrame, as from batch.results(), or a table of bk.read_csv(), not {inputs!r}."
        )
    without_results(record.columns, inputs.columns, record.index_kind)
    return inputs


def _chosen(source: _Source, choice: Choice) -> list[int]:
    """The rows chosen, ascending. Raises ConfigError for a word, mask or id that means nothing."""
    executions = _words("executions", choice.executions, EXECUTIONS)
    items = _words("items", choice.items, [str(status) for status in ItemStatus])
    rows = set(rows_that(source.standings, executions, items))
    if choice.dropped:
        rows |= {row for row in source.cells if row not in source.standings}
    return sorted(rows | (set() if choice.rows is None else _picked(source, choice.rows)))


def _words(name: str, given: str | Collection[str], known: Sequence[str]) -> set[str]:
    words = {given} if isinstance(given, str) or not isinstance(given, Collection) else set(given)
    if unknown := sorted(map(repr, words - set(known))):
        raise ConfigError(f"{name} must be of {', '.join(map(repr, known))}, not {unknown[0]}.")
    return {str(word) for word in words}


def _picked(source: _Source, given: RowChoice) -> set[int]:
    if isinstance(given, pd.DataFrame):
        row = results.own_names(source.record.columns)["row"]
        if "item" in given and "item" not in source.record.columns:
            return _rows_of_items(source, given["item"])
        if row not in given:
            raise ConfigError(f"The frame has no column 'item' as batch.items(), nor {row!r} as batch.results().")
        return _known(source, row, given[row].tolist())
    picked = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    if any(isinstance(each, bool | np.bool_) for each in picked):
        if missing := [at for at, each in enumerate(picked) if not isinstance(each, bool | np.bool_)]:
            raise ConfigError(
                f"The mask says neither True nor False for {len(missing):,} of its rows, the first at {missing[0]}: "
                f"{picked[missing[0]]!r}. With mask.fillna(False) they are not chosen."
            )
        total = source.record.progress.total
        if len(picked) != total:
            raise ConfigError(
                f"The mask has {len(picked):,} value{'s' if len(picked) != 1 else ''} and the batch {total:,} rows, in "
                "the order of batch.results()."
            )
        return {source.row_of[item] for item, wanted in enumerate(picked) if wanted}
    return _rows_of_items(source, picked)


def _rows_of_items(source: _Source, items: Iterable[object]) -> set[int]:
    rows = set()
    for item in items:
        if isinstance(item, bool | np.bool_) or not isinstance(item, int | np.integer):
            raise ConfigError(
                f"Rows are chosen by a mask, or by numbers as in the column `item` of batch.items(), not {item!r}."
            )
        if int(item) not in source.row_of:
            raise NotFoundError(f"Batch {source.record.id} has no item {item}; it has 0 to {len(source.row_of) - 1}.")
        rows.add(source.row_of[int(item)])
    return rows


def _known(source: _Source, name: str, rows: Iterable[Any]) -> set[int]:
    wanted = set()
    for row in rows:
        try:
            wanted.add(int(row))
        except (TypeError, ValueError):
            raise ConfigError(
                f"The frame's column {name!r} has {row!r}, which is no row of the batch. Leave that column as "
                "batch.results() has it."
            ) from None
    if unknown := sorted(wanted - set(source.cells)):
        raise NotFoundError(f"Batch {source.record.id} has no row {unknown[0]}.")
    return wanted


def _again_table(source: _Source, rows: list[int], edits: Mapping[int, Mapping[str, str]]) -> Table:
    columns = source.record.columns
    cells = [
        [edits[row].get(name, text) for name, text in zip(columns, source.cells[row], strict=True)]
        if row in edits
        else source.cells[row]
        for row in rows
    ]
    labels = [source.labels[row] for row in rows]
    kind = None if any(label is None for label in labels) else source.record.index_kind
    return again_table(columns, rows, cells, results.restored_index(labels, kind), source.record.source)


def _said(choice: Choice) -> str:
    words = _words("executions", choice.executions, EXECUTIONS) | _words("items", choice.items, list(ItemStatus))
    if words:
        return f"is {' or '.join(sorted(words)).replace('_', ' ')} by now"
    return "is left out by now" if choice.dropped else "was chosen"


def _invalid(checked: Validation) -> str:
    counts = checked.counts
    errors = checked.issues.query("severity == 'error'").head(3)
    said = " ".join(errors["message"])
    rest = ', or leave them out with invalid="drop"' if counts.valid else ""
    return f"{counts.invalid:,} of {counts.total:,} rows are invalid. {said} Correct them in inputs{rest}."
