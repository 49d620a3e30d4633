"""A batch as a user holds it: commands and views, no logic of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np
import pandas as pd

from batchkit import joining
from batchkit.core import results
from batchkit.core.config import aware
from batchkit.core.explanation import Explanation, explain
from batchkit.core.flattening import MOST_FIELDS
from batchkit.core.lifecycle import BatchStatus, ItemStatus
from batchkit.core.limits import Limits, Unchanged
from batchkit.core.progress import Progress
from batchkit.core.record import BatchRecord, ItemChange
from batchkit.core.waiting import Until
from batchkit.errors import BatchInterrupted, ConfigError, NotFoundError
from batchkit.io.result_files import check_suffix, write_results
from batchkit.rerun import Choice, RowChoice, rerun

if TYPE_CHECKING:
    from batchkit.core.config import BatchConfig
    from batchkit.core.ports import Store
    from batchkit.core.table import Table
    from batchkit.engine.kernel import KernelEngine
    from batchkit.workspace import Workspace

__all__ = ["Batch"]

T = TypeVar("T")
#: one item, several, or a frame as of `items()`
Items = int | Iterable[int] | pd.DataFrame
#: log entries among which the pause is looked for
_LATEST = 200


class Batch:
    """One batch of a workspace. Every property is read from the store at that moment.

    Its calls block until the engine has answered; only `wait` is awaited. They raise StateError for a move the
    state machine does not allow, StoreError where the store fails.
    """

    def __init__(self, workspace: Workspace, batch_id: str) -> None:
        self.id = batch_id
        self._workspace = workspace

    def __repr__(self) -> str:
        try:
            record = self.record
        except NotFoundError:
            return f"<Batch {self.id}, which is not in the store any more>"
        hint = " (interrupted: batch.take_over() continues it)" if record.interrupted else ""
        return f"<Batch {self.id} {record.name!r}: {record.status}{hint}, {record.progress}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Batch) and (other.id, other._workspace) == (self.id, self._workspace)

    def __hash__(self) -> int:
        return hash(self.id)

    # What it is

    @property
    def record(self) -> BatchRecord:
        """Everything about the batch, as one value from one moment."""
        return self._call(self._store.batch(self.id))

    @property
    def name(self) -> str:
        """The name it was given."""
        return self.record.name

    @property
    def status(self) -> BatchStatus:
        """pending, running, paused, completed or cancelled."""
        return self.record.status

    @property
    def reason(self) -> str:
        """Why it paused itself; empty where it did not."""
        return self.record.reason

    @property
    def progress(self) -> Progress:
        """Its scheduled executions by state, and what their executions do."""
        return self.record.progress

    @property
    def interrupted(self) -> bool:
        """Whether it should run and nobody runs it: its kernel or process is gone."""
        return self.record.interrupted

    # Commands

    def pause(self) -> None:
        """Trigger nothing more until resumed; what was triggered goes on. No request starts after this returns."""
        self._call(self._engine.pause(self.id, self._actor))

    def resume(self) -> None:
        """Go on, with new times for what is pending, from now. Runs here if nobody runs it."""
        self._workspace.check_runs_here(self.record)
        self._workspace.begin_notices()
        self._call(self._engine.resume(self.id, self._actor))

    def cancel(self) -> None:
        """End it for good: what is pending is never triggered, what was triggered goes on."""
        self._call(self._engine.cancel(self.id, self._actor))

    def update(
        self,
        *,
        max_concurrent: int | None = None,
        batch_interval: float | None = None,
        max_in_flight: int | Unchanged | None = "unchanged",
    ) -> None:
        """Change limits while it runs; with another pace, what is pending gets new times, from now.

        max_in_flight: None for any number. What is in flight beyond a lower limit runs on. No request of this process
        starts by the old limits after this returns; another process that runs the batch follows within a second.
        """
        limits = Limits(max_concurrent=max_concurrent, batch_interval=batch_interval, max_in_flight=max_in_flight)
        self._call(self._engine.change_limits(self.id, limits, self._actor))

    def take_over(self) -> None:
        """Continue an interrupted batch here.

        What was on its way when its runner stopped is in doubt and settled first. Raises BatchInterrupted while
        another process still runs it, ConfigError if this workspace has another target.
        """
        self._workspace.check_runs_here(self.record)
        self._workspace.begin_notices()
        if not self._call(self._engine.attend(self.id)):
            raise BatchInterrupted(
                f"Batch {self.id} is still run by {self.record.runner}. It can be taken over once that has stopped.",
                batch_id=self.id,
            )

    def archive(self) -> None:
        """Put it away: `ws.batches()` does not list it any more. Only a batch that has ended."""
        self._call(self._store.archive(self.id, self._actor, archived=True))

    def unarchive(self) -> None:
        """Bring it back from the archive."""
        self._call(self._store.archive(self.id, self._actor, archived=False))

    def delete(self) -> None:
        """Delete it with its rows, results and log, for good. Only a batch that has ended; its executions stay."""
        self._call(self._engine.delete(self.id))

    def cancel_items(self, items: Items) -> ItemChange:
        """Cancel single pending items, by `item` as in `items()`; says which were not pending any more."""
        return self._call(self._engine.cancel_items(self.id, _ids(items), self._actor))

    def reschedule_items(self, items: Items, at: datetime | str) -> ItemChange:
        """Move single pending items to the first free slots at or after `at` (aware, or text with an offset)."""
        return self._call(self._engine.reschedule_items(self.id, _ids(items), aware(at), self._actor))

    def settle(self, items: Items, choice: Literal["retry", "skip"]) -> ItemChange:
        """Decide items in doubt: "retry" sends them again (they may have run), "skip" leaves them."""
        _one_of("choice", choice, ("retry", "skip"))
        return self._call(self._engine.settle_items(self.id, _ids(items), choice, self._actor))

    def rerun(
        self,
        rows: RowChoice | None = None,
        *,
        executions: str | Collection[str] = (),
        items: str | Collection[str] = (),
        dropped: bool = False,
        inputs: Table | pd.DataFrame | None = None,
        config: BatchConfig | Mapping[str, Any] | None = None,
        invalid: Literal["block", "drop"] = "block",
        force: bool = False,
    ) -> Batch:
        """A new batch of some of the rows, run as this one was: same agent and version, mapping, pace and limits.

        rows: a mask over `results()`, items as in `items()`, or a frame with a column `item` or `row`.
        executions: by what became of it, such as "failed", "cancelled" or, with force, "timed_out"; items: by its
        state, such as "refused" or "cancelled"; both as the row stands by now, other batches that ran it again
        included. dropped: those the policy left out. Without any of these: the rows of `inputs`.
        inputs: corrected cells, such as a changed copy of `results()` or a part of it, or a table read from a file. Its
        rows are told by their column `row`, else by the labels of a DataFrame's index, else it is the whole table
        again. A column it lacks is as before. Checked as any table; `invalid` says what invalid rows do.
        config: what is to be different, such as {"batch_interval": 0}, or a whole BatchConfig.
        force: also rows whose execution succeeded or still runs. Rows that are still to be sent, or in doubt, are
        never run again.
        Raises StateError for a row that must not be run again, ConfigError for a choice or correction that fits none,
        ValidationError where rows are invalid. Nothing was sent then.
        """
        choice = Choice(rows=rows, executions=executions, items=items, dropped=dropped)
        return rerun(self._workspace, self.id, choice, inputs=inputs, config=config, invalid=invalid, force=force)

    # Waiting

    async def wait(self, until: Until = "triggered") -> Batch:
        """Return once all rows are triggered, or with until="finished" once all outcomes are known.

        To be awaited in a notebook cell. Interrupting the cell ends the waiting, not the batch. Raises BatchError
        where waiting is in vain: the batch was cancelled, paused itself, was interrupted, or needs a decision.
        """
        self._check_wait(until)
        waiting = self._engine.submit(self._engine.wait(self.id, until))
        await asyncio.shield(asyncio.wrap_future(waiting))
        return self

    def join(self, until: Until = "triggered") -> Batch:
        """The same as `wait`, for a plain script: blocks."""
        self._check_wait(until)
        self._call(self._engine.wait(self.id, until))
        return self

    def _check_wait(self, until: Until) -> None:
        _one_of("until", until, get_args(Until))
        if until == "finished":
            # Outcomes are asked of the target, and another target would never know them.
            self._workspace.check_runs_here(self.record)

    # Views

    def items(
        self,
        *,
        status: ItemStatus | str | Sequence[ItemStatus | str] = (),
        after: int | None = None,
        limit: int | None = None,
    ) -> pd.DataFrame:
        """Its scheduled executions, in CSV order: item, row, line, status, execute_at, ..., error. Times are UTC.

        status: only those. after, limit: the next `limit` items after item `after`.
        """
        chosen = [status] if isinstance(status, str) else list(status)
        for one in chosen:
            _one_of("status", one, list(ItemStatus))
        _count("limit", limit)
        key = None if after is None else (_ids(after)[0],)
        page = self._store.items(self.id, statuses=[ItemStatus(one) for one in chosen], after=key, limit=limit)
        return results.items_frame(self._call(page))

    def results(self, *, merged: bool = False, dropped: bool = False, fields: int = MOST_FIELDS) -> pd.DataFrame:
        """The input rows joined with what became of them, in CSV order: `core.results.RESULT_COLUMNS` says what.

        merged: a row for each row of the first batch, with the cells and the newest outcome from wherever it ran last,
        and beside it `batch` (where that was), `batches` (all it was in) and `attempts` (in how many it was sent). A
        row that a later batch was to run again and did not, because it was cancelled, is what it was before.
        dropped: with the rows the policy left out, in their place. A DataFrame's index comes back, without them.
        fields: so many fields of results that are objects get a column, `result.<key>`; `core.flattening` says how.
        """
        _count("fields", fields)
        read = joining.merged if merged else joining.joined
        return self._call(read(self._store, self.id, dropped=dropped, fields=fields))

    def save_results(
        self, path: str | os.PathLike[str], *, merged: bool = False, dropped: bool = True, fields: int = MOST_FIELDS
    ) -> pd.DataFrame:
        """Write `results` to a .csv, .xlsx, .parquet or .jsonl, see `write_results`; returns them.

        Raises ExportError.
        """
        check_suffix(path)
        frame = self.results(merged=merged, dropped=dropped, fields=fields)
        write_results(frame, path, index=self.record.index_kind is not None)
        return frame

    def explain(self, item: int) -> Explanation:
        """Why that item is where it is: what holds it, or when it was done. Printed, it is a sentence."""
        return self._call(self._explain(item))

    def events(self, limit: int | None = None) -> pd.DataFrame:
        """Its log, oldest first: at, actor, kind, item, message; with `limit`, the newest of it."""
        _count("limit", limit)
        return results.events_frame(self._call(self._store.events(self.id, limit=limit)))

    def history(self, item: int) -> pd.DataFrame:
        """What the log says of one item."""
        return results.events_frame(self._call(self._store.events(self.id, item=item)))

    async def _explain(self, item: int) -> Explanation:
        batch = await self._store.batch(self.id)
        chosen = _ids(item)
        if len(chosen) != 1:
            raise ConfigError(f"One item is explained at a time, not {len(chosen):,}.")
        found = await self._store.items(self.id, positions=chosen)
        if len(found) != 1:
            raise NotFoundError(f"Batch {self.id} has no item {item}; its items are 0 to {batch.progress.total - 1}.")
        ahead = await self._store.ahead_of(self.id, found[0].item) if found[0].status is ItemStatus.PENDING else 0
        paused = await self._store.events(self.id, limit=_LATEST) if batch.status is BatchStatus.PAUSED else []
        return explain(batch, found[0], self._workspace.clock.now(), ahead=ahead, events=paused)

    @property
    def _store(self) -> Store:
        return self._workspace.store

    @property
    def _engine(self) -> KernelEngine:
        return self._workspace.engine

    @property
    def _actor(self) -> str:
        return self._workspace.actor

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return self._workspace.engine.call(work)


def _ids(items: object) -> list[int]:
    """The numbers of items: one, several, or a frame with a column `item`. Raises ConfigError for anything else."""
    if isinstance(items, pd.DataFrame) and "item" in items:
        items = items["item"]
    chosen = [items] if isinstance(items, int | np.integer) else items
    numbers: list[Any] = [chosen]
    if isinstance(chosen, Iterable) and not isinstance(chosen, str | bytes):
        numbers = list(chosen)
    for number in numbers:
        if isinstance(number, bool | np.bool_) or not isinstance(number, int | np.integer):
            raise ConfigError(f"An item is a whole number, as in the column `item` of batch.items(), not {number!r}.")
    return [int(number) for number in numbers]


def _count(what: str, value: object) -> None:
    is_count = isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= 0
    if value is not None and not is_count:
        raise ConfigError(f"{what} must be a whole number, 0 or more, not {value!r}.")


def _one_of(what: str, value: object, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"{what} must be one of {', '.join(map(repr, map(str, allowed)))}, not {value!r}.")
