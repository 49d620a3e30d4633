"""The typed value each cell is sent as, and the items made of them. What a cell means is said in `cells`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Mapping as MappingLike
from enum import Enum
from typing import Final, Literal, cast

import pyarrow as pa

from batchkit.core.cells import READERS, Json, Kind, Positions, texts
from batchkit.core.mapping import Field, Input, Metadata, NotBefore, ProfileName
from batchkit.core.not_before import read_time
from batchkit.core.profile import ProfileRef
from batchkit.core.request import NewItem
from batchkit.core.rules import ColumnRules
from batchkit.core.table import Table

__all__ = ["NOT_SENT", "Value", "cells_at", "new_items", "typed"]


class _NotSent(Enum):
    NOT_SENT = "not sent"


#: stands where a cell is missing: nothing is sent for it, so that the agent's default applies
NOT_SENT: Final = _NotSent.NOT_SENT

Value = Json | Literal[_NotSent.NOT_SENT]


def typed(cells: Sequence[str], rules: ColumnRules | None) -> list[Value]:
    """Return what each cell is sent as, NOT_SENT for a missing one.

    rules: of the input the column is mapped to; None: metadata, sent as text.
    Every cell must be valid under them; ValueError otherwise.
    """
    kinds = (Kind.STRING,) if rules is None else rules.schema.kinds
    if rules is None or len(kinds) == 1:
        read = _reader(cells, kinds[0])
        return [read(cell) if cell and not cell.isspace() else NOT_SENT for cell in cells]
    accepted = rules.accepted_kinds(cast("pa.StringArray", pa.array(cells, pa.large_string())))
    readers = [READERS[kind] for kind in kinds]
    return [
        readers[kind](cell) if cell and not cell.isspace() else NOT_SENT
        for cell, kind in zip(cells, accepted.tolist(), strict=True)
    ]


def new_items(
    table: Table,
    at: Positions,
    fields: MappingLike[str, Field],
    rules: MappingLike[str, ColumnRules],
    profiles: MappingLike[str, ProfileRef | None],
) -> list[NewItem]:
    """Return the records at those positions (ascending, all valid) ready to be sent.

    fields: of the mapped columns. rules: of the columns mapped to an input. profiles: by name.
    """
    cells = cells_at(table, at)
    inputs = {
        item.name: typed(cells[column], rules[column]) for column, item in fields.items() if isinstance(item, Input)
    }
    metadata = {item.key: typed(cells[column], None) for column, item in fields.items() if isinstance(item, Metadata)}
    named = [column for column, item in fields.items() if isinstance(item, ProfileName)]
    names = cells[named[0]] if named else [""] * len(at)
    timed = [column for column, item in fields.items() if isinstance(item, NotBefore)]
    times = map(read_time, cells[timed[0]] if timed else [""] * len(at))
    return [
        NewItem(
            row=row,
            line=line,
            cells=record,
            inputs=payload,
            metadata=cast("dict[str, str]", extra),
            profile=profiles.get(name.strip()) if name else None,
            not_before=time,
        )
        for row, line, record, payload, extra, name, time in zip(
            table.rows_at(at).tolist(),
            table.lines_at(at),
            zip(*cells.values(), strict=True),
            _by_row(inputs, len(at)),
            _by_row(metadata, len(at)),
            names,
            times,
            strict=True,
        )
    ]


def cells_at(table: Table, at: Positions) -> dict[str, list[str]]:
    """The cells of the records at those positions (ascending, at least one), by column."""
    block = table.data.slice(int(at[0]), int(at[-1]) - int(at[0]) + 1)
    rows = block if len(at) == block.num_rows else block.take(pa.array(at - at[0]))
    return {name: texts(cast("pa.StringArray", rows.column(name))) for name in rows.column_names}


def _by_row(columns: MappingLike[str, Sequence[Value]], count: int) -> Iterator[dict[str, Json]]:
    """Yield one dictionary a row, without what is not sent."""
    if not columns:
        yield from ({} for _ in range(count))
    names = tuple(columns)
    for row in zip(*columns.values(), strict=True):
        yield {name: value for name, value in zip(names, row, strict=True) if value is not NOT_SENT}


def _reader(cells: Sequence[str], kind: Kind) -> Callable[[str], Json]:
    """What reads these cells, quickly where they are all digits."""
    if kind in (Kind.INTEGER, Kind.NUMBER):
        characters = "".join(cells)
        if characters.isascii() and characters.isdigit():
            return int
        if kind is Kind.NUMBER and characters.isascii() and characters.replace(".", "").isdigit():
            return _decimal
    return READERS[kind]


def _decimal(cell: str) -> int | float:
    return float(cell) if "." in cell else int(cell)
