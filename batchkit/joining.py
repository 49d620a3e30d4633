"""What became of a batch's rows, read from the store and joined: its own, or over all the times they were run again."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from batchkit.core import results
from batchkit.core.rerun import Standing, newest
from batchkit.errors import StateError

if TYPE_CHECKING:
    from batchkit.core.ports import Store
    from batchkit.core.record import BatchRecord, ItemRecord

__all__ = ["Rows", "joined", "merged", "own_rows"]

#: items read from the store at a time
_PAGE = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Items of a batch with what was read from the file, one beside the other, in CSV order."""

    items: list[ItemRecord]
    cells: list[list[str]]
    #: in a DataFrame's index; None: none
    labels: list[Any]


async def own_rows(store: Store, record: BatchRecord) -> Rows:
    """Every item of the batch."""
    rows = Rows(items=[], cells=[], labels=[])
    for first in range(0, record.progress.total, _PAGE):
        rows.items.extend(await store.items(record.id, after=(first - 1,), limit=_PAGE))
        for texts, label in await store.cells(record.id, first, first + _PAGE):
            rows.cells.append(texts)
            rows.labels.append(label)
    return rows


async def joined(store: Store, batch_id: str, *, dropped: bool, fields: int) -> pd.DataFrame:
    """The batch's own rows with what became of them, as `Batch.results` says."""
    record = await store.batch(batch_id)
    rows = await own_rows(store, record)
    index = results.restored_index(rows.labels, record.index_kind)
    frame = results.results_frame(record.columns, rows.cells, rows.items, index)
    if dropped and record.progress.left_out:
        missing = results.left_out_frame(record.columns, await store.left_out(batch_id))
        frame = _in_order([frame, missing], record)
    return _flat(frame, record, fields)


async def merged(store: Store, batch_id: str, *, dropped: bool, fields: int) -> pd.DataFrame:
    """A row for each row of the first batch with the newest of its outcomes, as `Batch.results` says.

    Raises StateError where the first batch was deleted.
    """
    family = await store.family(batch_id)
    record = next(each for each in family if each.id == batch_id)
    first = record.origin or record.id
    if family[0].id != first:
        raise StateError(
            f"Batch {first}, whose rows batch {batch_id} runs again, was deleted, so there is nothing to merge with. "
            "batch.results() has the rows of this one."
        )
    standings = await store.standings(batch_id)
    chosen = _chosen(standings)
    items: dict[int, ItemRecord] = {}
    cells: dict[int, list[str]] = {}
    labels: dict[int, Any] = {}
    for each in family:
        rows = await own_rows(store, each)
        for item, texts, label in zip(rows.items, rows.cells, rows.labels, strict=True):
            if chosen.get(item.row) == (each.id, item.item):
                items[item.row], cells[item.row] = item, texts
            labels.setdefault(item.row, label)
    order = sorted(items)
    record = family[0]
    kind = None if any(labels[row] is None for row in order) else record.index_kind
    index = results.restored_index([labels[row] for row in order], kind)
    frame = results.results_frame(record.columns, [cells[row] for row in order], [items[row] for row in order], index)
    frame = results.with_lineage(frame, record.columns, [_lineage(standings[row]) for row in order])
    if dropped and record.progress.left_out:
        left_out = [each for each in await store.left_out(record.id) if each[0] not in items]
        missing = results.left_out_frame(record.columns, left_out)
        missing = results.with_lineage(missing, record.columns, [(record.id, record.id, 0)] * len(left_out))
        frame = _in_order([frame, missing], record) if left_out else frame
    return _flat(frame, record, fields)


def _chosen(standings: dict[int, list[Standing]]) -> dict[int, tuple[str, int]]:
    """By row, in which batch and item of it the newest outcome is."""
    latest = {row: newest(each) for row, each in standings.items()}
    return {row: (each.batch_id, each.item) for row, each in latest.items()}


def _lineage(standings: list[Standing]) -> tuple[str, str, int]:
    sent = sum(each.execution is not None or str(each.status) == "refused" for each in standings)
    return newest(standings).batch_id, ", ".join(each.batch_id for each in standings), sent


def _in_order(frames: list[pd.DataFrame], record: BatchRecord) -> pd.DataFrame:
    row = results.own_names(record.columns)["row"]
    return pd.concat(frames, ignore_index=True).sort_values(row, kind="stable", ignore_index=True)


def _flat(frame: pd.DataFrame, record: BatchRecord, fields: int) -> pd.DataFrame:
    frame, missing = results.with_fields(frame, record.columns, fields)
    if missing and fields:
        warnings.warn(
            f"The results have {missing:,} more fields than the {fields:,} with a column of their own, those filled "
            f"most often; the others are in `result`. batch.results(fields={missing + fields}) has all.",
            stacklevel=2,
        )
    return frame
