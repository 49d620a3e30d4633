"""From records to the DataFrames a user works with: results joined to the rows, items, events."""

from __future__ import annotations

from collections.abc import Mapping as MappingLike
from collections.abc import Sequence
from typing import Any

import pandas as pd

from batchkit.core.flattening import fields_of
from batchkit.core.names import free_name
from batchkit.core.record import Event, ItemRecord

__all__ = [
    "LINEAGE_COLUMNS",
    "RESULT_COLUMNS",
    "events_frame",
    "index_kind",
    "index_labels",
    "items_frame",
    "left_out_frame",
    "own_names",
    "restored_index",
    "results_frame",
    "with_fields",
    "with_lineage",
]

#: what `results_frame` adds to the input columns, in order
RESULT_COLUMNS = (
    "row",
    "status",
    "execution_status",
    "outcome",
    "result",
    "reasoning",
    "error",
    "timed_out",
    "profile",
    "not_before",
    "execute_at",
    "triggered_at",
    "started_at",
    "finished_at",
    "execution_id",
    "url",
)
#: what `with_lineage` adds behind them, in order
LINEAGE_COLUMNS = ("batch", "batches", "attempts")
_TIMES = ("not_before", "execute_at", "triggered_at", "started_at", "finished_at")


def own_names(columns: Sequence[str]) -> dict[str, str]:
    """Return what RESULT_COLUMNS and LINEAGE_COLUMNS are called beside these input columns, see `free_name`."""
    taken = set(columns)
    names: dict[str, str] = {}
    for name in (*RESULT_COLUMNS, *LINEAGE_COLUMNS):
        names[name] = free_name(name, taken)
        taken.add(names[name])
    return names


def results_frame(
    columns: Sequence[str], cells: Sequence[Sequence[str]], items: Sequence[ItemRecord], index: pd.Index | None = None
) -> pd.DataFrame:
    """Return one row an item, in CSV order: the input columns as text, then RESULT_COLUMNS.

    A result column whose name the file has too is called as `own_names` says. Times are UTC. `result` holds the
    target's JSON value as it is. Types are the same for any number of rows.
    """
    data: dict[str, Any] = {name: _texts(row[at] for row in cells) for at, name in enumerate(columns)}
    names = own_names(columns)
    frame = pd.DataFrame(data | {names[name]: values for name, values in _result_columns(items).items()})
    if index is not None:
        frame.index = index
    return frame


def left_out_frame(columns: Sequence[str], rows: Sequence[tuple[int, int | None, Sequence[str], str]]) -> pd.DataFrame:
    """Return the rows the policy left out, with the columns of `results_frame`, status "left_out" and their errors."""
    nothing = [None] * len(rows)
    added: dict[str, Any] = {name: _texts(nothing) for name in RESULT_COLUMNS}
    added |= {name: _times(nothing) for name in _TIMES}
    added |= {
        "row": pd.array([row for row, *_ in rows], dtype="int64"),
        "timed_out": pd.array([False] * len(rows), dtype="bool"),
        "status": _texts("left_out" for _ in rows),
        "error": _texts(error for *_, error in rows),
        "result": pd.Series(nothing, dtype=object),
    }
    names = own_names(columns)
    data: dict[str, Any] = {name: _texts(cells[at] for _, _, cells, _ in rows) for at, name in enumerate(columns)}
    return pd.DataFrame(data | {names[name]: values for name, values in added.items()})


def with_lineage(frame: pd.DataFrame, columns: Sequence[str], lineages: Sequence[tuple[str, str, int]]) -> pd.DataFrame:
    """Return the frame with LINEAGE_COLUMNS.

    lineages: per row, the batch the outcome is from, all batches the row was in, and in how many it was sent.
    """
    names = own_names(columns)
    called = [names[name] for name in LINEAGE_COLUMNS]
    added = pd.DataFrame(list(lineages), columns=called, index=frame.index)
    kinds = dict(zip(called, ("str", "str", "int64"), strict=True))
    return pd.concat([frame, added.astype(kinds)], axis="columns")


def with_fields(frame: pd.DataFrame, columns: Sequence[str], most: int) -> tuple[pd.DataFrame, int]:
    """Return the frame with a column for each field of the objects in `result`, and how many fields have none."""
    values = frame[own_names(columns)["result"]].tolist()
    fields, missing = fields_of(values, set(frame.columns), most)
    if not fields:
        return frame, missing
    return pd.concat([frame, pd.DataFrame(fields).set_axis(frame.index)], axis="columns"), missing


def _result_columns(items: Sequence[ItemRecord]) -> dict[str, Any]:
    executions = [item.execution for item in items]
    return {
        "row": pd.array([item.row for item in items], dtype="int64"),
        "status": _texts(str(item.status) for item in items),
        "execution_status": _texts(None if one is None else str(one.status) for one in executions),
        "outcome": _texts(None if one is None or one.outcome is None else str(one.outcome) for one in executions),
        "result": pd.Series([None if one is None else one.result for one in executions], dtype=object).to_numpy(),
        "reasoning": _texts(None if one is None else one.reasoning or None for one in executions),
        "error": _texts(item.error or (item.execution.error if item.execution else "") or None for item in items),
        "timed_out": pd.array([item.timed_out for item in items], dtype="bool"),
        "profile": _texts(None if one is None else one.profile_name or None for one in executions),
        "not_before": _times([item.not_before for item in items]),
        "execute_at": _times([item.execute_at for item in items]),
        "triggered_at": _times([item.triggered_at for item in items]),
        "started_at": _times([None if one is None else one.started_at for one in executions]),
        "finished_at": _times([None if one is None else one.finished_at for one in executions]),
        "execution_id": _texts(None if one is None else one.id for one in executions),
        "url": _texts(None if one is None else one.url or None for one in executions),
    }


def items_frame(items: Sequence[ItemRecord]) -> pd.DataFrame:
    """Return one row an item: item, row, line, status, not_before, execute_at, by_hand, attempt, intent_at,
    triggered_at, execution_id, execution_status, timed_out, error."""
    executions = [item.execution for item in items]
    return pd.DataFrame(
        {
            "item": pd.array([item.item for item in items], dtype="int64"),
            "row": pd.array([item.row for item in items], dtype="int64"),
            "line": pd.array([item.line for item in items], dtype="Int64"),
            "status": _texts(str(item.status) for item in items),
            "not_before": _times([item.not_before for item in items]),
            "execute_at": _times([item.execute_at for item in items]),
            "by_hand": pd.array([item.by_hand for item in items], dtype="bool"),
            "attempt": pd.array([item.attempt for item in items], dtype="int64"),
            "intent_at": _times([item.intent_at for item in items]),
            "triggered_at": _times([item.triggered_at for item in items]),
            "execution_id": _texts(None if one is None else one.id for one in executions),
            "execution_status": _texts(None if one is None else str(one.status) for one in executions),
            "timed_out": pd.array([item.timed_out for item in items], dtype="bool"),
            "error": _texts(item.error or None for item in items),
        }
    )


def events_frame(events: Sequence[Event]) -> pd.DataFrame:
    """Return one row an event, oldest first: at, actor, kind, item, message."""
    return pd.DataFrame(
        {
            "at": _times([event.at for event in events]),
            "actor": _texts(event.actor for event in events),
            "kind": _texts(event.kind for event in events),
            "item": pd.array([event.item for event in events], dtype="Int64"),
            "message": _texts(event.message for event in events),
        }
    )


def index_kind(index: pd.Index | None) -> dict[str, Any] | None:
    """Return what is needed beside the labels to build `index` again; None for none."""
    if index is None:
        return None
    levels = [index.get_level_values(level) for level in range(index.nlevels)]
    names = [None if name is None else str(name) for name in index.names]
    return {"names": names, "dtypes": [str(level.dtype) for level in levels]}


def index_labels(index: pd.Index) -> list[list[Any]]:
    """Return the labels as JSON values, one list a row with one value a level."""
    levels = [index.get_level_values(level) for level in range(index.nlevels)]
    plain = [[_plain(value) for value in level] for level in levels]
    return [list(labels) for labels in zip(*plain, strict=True)]


def restored_index(labels: Sequence[Sequence[Any]], kind: MappingLike[str, Any] | None) -> pd.Index | None:
    """Return the index of which `labels` and `kind` were kept."""
    if kind is None:
        return None
    levels = [
        pd.Index([label[at] for label in labels], name=name, dtype=object).astype(dtype)
        for at, (name, dtype) in enumerate(zip(kind["names"], kind["dtypes"], strict=True))
    ]
    return levels[0] if len(levels) == 1 else pd.MultiIndex.from_arrays(levels)


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    return value if isinstance(value, str | int | float | bool) else str(value)


def _texts(values: Any) -> pd.Series:
    return pd.Series(list(values), dtype="str")


def _times(values: list[Any]) -> pd.Series:
    return pd.to_datetime(pd.Series(values, dtype=object), utc=True).astype("datetime64[us, UTC]")
