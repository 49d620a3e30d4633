"""A batch as a user holds it: commands and views, no logic of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np
import pandas as pd

from batchkit.core import results
from batchkit.core.config import aware
from batchkit.core.lifecycle import BatchStatus, ItemStatus
from batchkit.core.progress import Progress
from batchkit.core.record import BatchRecord, ItemChange, ItemRecord
from batchkit.core.waiting import Until
from batchkit.errors import BatchInterrupted, ConfigError

if TYPE_CHECKING:
    from batchkit.core.ports import Store
    from batchkit.engine.kernel import KernelEngine
    from batchkit.workspace import Workspace

__all__ = ["Batch"]

T = TypeVar("T")
#: one item, several, or a frame as of `items()`
Items = int | Iterable[int] | pd.DataFrame

#: items read from the store at a time
_PAGE = 20_000


class Batch:
    """One batch of a workspace. Every property is read from the store at that moment.

    Its calls block until the engine has answered; only `wait` is awaited. They raise StateError for a move the
    state machine does not allow, StoreError where the store fails.
    """

    def __init__(self, workspace: Workspace, batch_id: str) -> None:
        self.id = batch_id
        self._workspace = workspace

    def __repr__(self) -> str:
        record = self.record
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
        self._call(self._engine.resume(self.id, self._actor))

    def cancel(self) -> None:
        """End it for good: what is pending is never triggered, what was triggered goes on."""
        self._call(self._engine.cancel(self.id, self._actor))

    def take_over(self) -> None:
        """Continue an interrupted batch here.

        What was on its way when its runner stopped is in doubt and settled first. Raises BatchInterrupted while
        another process still runs it, ConfigError if this workspace has another target.
        """
        self._workspace.check_runs_here(self.record)
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
        key = None if after is None else (after,)
        page = self._store.items(self.id, statuses=[ItemStatus(one) for one in chosen], after=key, limit=limit)
        return results.items_frame(self._call(page))

    def results(self, *, dropped: bool = False) -> pd.DataFrame:
        """The input rows joined with what became of them, in CSV order: `core.results.RESULT_COLUMNS` says what.

        dropped: with the rows the policy left out, in their place. A DataFrame's index comes back.
        """
        return self._call(self._results(dropped))

    def events(self, limit: int | None = None) -> pd.DataFrame:
        """Its log, oldest first: at, actor, kind, item, message; with `limit`, the newest of it."""
        return results.events_frame(self._call(self._store.events(self.id, limit=limit)))

    def history(self, item: int) -> pd.DataFrame:
        """What the log says of one item."""
        return results.events_frame(self._call(self._store.events(self.id, item=item)))

    async def _results(self, dropped: bool) -> pd.DataFrame:
        record = await self._store.batch(self.id)
        items: list[ItemRecord] = []
        cells: list[list[str]] = []
        labels: list[Any] = []
        for first in range(0, record.progress.total, _PAGE):
            items += await self._store.items(self.id, after=(first - 1,), limit=_PAGE)
            for texts, label in await self._store.cells(self.id, first, first + _PAGE):
                cells.append(texts)
                labels.append(label)
        index = results.restored_index(labels, record.index_kind)
        frame = results.results_frame(record.columns, cells, items, index)
        if not dropped or not record.progress.left_out:
            return frame
        missing = results.left_out_frame(record.columns, await self._store.left_out(self.id))
        row = "row" if "row" not in record.columns else "batchkit_row"
        return pd.concat([frame, missing]).sort_values(row, kind="stable", ignore_index=True)

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


def _one_of(what: str, value: object, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"{what} must be one of {', '.join(map(repr, map(str, allowed)))}, not {value!r}.")
