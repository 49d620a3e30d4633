"""A batch the wizard shows, made by it or before: its card, and how the rows tried first went."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from batchkit.core.lifecycle import BatchStatus, ItemStatus
from batchkit.core.listing import ItemQuery
from batchkit.core.record import BatchRecord, ItemRecord
from batchkit.errors import BatchkitError
from batchkit.ui.around import Around
from batchkit.ui.cards import card_of
from batchkit.ui.watching import Watcher

if TYPE_CHECKING:
    from batchkit.workspace import Workspace

__all__ = ["Launched"]

#: seconds between two looks: somebody waits for what becomes of it
_SECONDS = 0.5
_LAST_PENDING = ItemQuery(order="time", descending=True, statuses=(ItemStatus.PENDING,), limit=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """The batch as it was read last."""

    record: BatchRecord
    #: the rows tried first
    tried: tuple[ItemRecord, ...]
    #: when its last pending row is due; None: none is pending
    last_due: datetime | None = None


class Launched:
    """Follows one batch, while it is `seen`. on_change: `snapshot` is another."""

    def __init__(self, workspace: Workspace, on_change: Callable[[], object]) -> None:
        self._workspace = workspace
        self._on_change = on_change
        self._lock = threading.Lock()
        self._batch_id = ""
        self._trial = 0
        self._seen: _Seen | None = None
        #: why the store cannot be read; empty: it can
        self._failure = ""
        self._around = Around(workspace)
        self._watcher = Watcher(self._look, self._is_open, seconds=_SECONDS)

    def show(self, batch_id: str, trial: int) -> None:
        """Follow that batch, of which `trial` rows are tried first; an empty id: none."""
        with self._lock:
            self._batch_id, self._trial, self._seen, self._failure = batch_id, trial, None, ""
        if batch_id:
            self._look()
            self._watcher.seen()

    def look(self) -> None:
        """Read it, and have it drawn in any case."""
        self._look()
        self._on_change()

    def close(self) -> None:
        """Look no more."""
        self._watcher.close()

    @property
    def snapshot(self) -> dict[str, Any] | None:
        """What the page draws; None: there is no batch."""
        with self._lock:
            seen, failure, trial = self._seen, self._failure, self._trial
        if seen is None:
            return None
        record = seen.record
        asks = _asks(seen)
        return {
            "card": card_of(record, self._around.of(record, seen.last_due)).to_json(),
            "failure": failure,
            "trial": trial,
            "tried": [_tried(item) for item in seen.tried],
            "standing": _standing(seen, trial, asks=asks) if trial else "",
            "asks": asks,
            "rest": record.progress.pending,
        }

    def _is_open(self) -> bool:
        seen = self._seen
        return seen is not None and not (seen.record.status.final and not seen.record.progress.executions.open)

    def _look(self) -> None:
        batch_id, trial = self._batch_id, self._trial
        if not batch_id:
            return
        call, store = self._workspace.engine.call, self._workspace.store
        try:
            record = call(store.batch(batch_id))
            tried = tuple(call(store.items(batch_id, limit=trial))) if trial else ()
            last = call(store.page(batch_id, _LAST_PENDING))[0] if record.progress.pending else []
        except BatchkitError as error:
            self._fail(str(error))
            return
        self._fail("")
        seen = _Seen(record=record, tried=tried, last_due=last[0].execute_at if last else None)
        with self._lock:
            changed = self._batch_id == batch_id and seen != self._seen
            if changed:
                self._seen = seen
        if changed:
            self._on_change()

    def seen(self) -> None:
        """The page is displayed."""
        if self._batch_id:
            self._watcher.seen()

    def _fail(self, text: str) -> None:
        with self._lock:
            changed, self._failure = text != self._failure, text
        if changed:
            self._on_change()


def _asks(seen: _Seen) -> bool:
    """Whether every row of the trial was sent, and the rest is held until somebody decides."""
    waits = bool(seen.record.trial) and seen.record.status is BatchStatus.PAUSED
    return waits and not any(map(_is_unsent, seen.tried))


def _standing(seen: _Seen, trial: int, *, asks: bool) -> str:
    """How the trial stands, in words."""
    record = seen.record
    paused = record.status is BatchStatus.PAUSED
    if asks and any(item.execution is not None and not item.execution.status.terminal for item in seen.tried):
        return "They are triggered and still running. You can wait for how they go, or go on."
    if asks:
        return "They have ended. Look at how they went, then go on with the rest."
    if record.status.final or not record.progress.pending:
        return "Nothing is held back any more."
    if not record.trial:
        return "The rest is held, because the batch is paused." if paused else "The rest is on its way."
    if paused:
        return "The batch was paused before all of them were sent. Resume it to go on with them."
    return f"Trying the first {trial:,} row{'' if trial == 1 else 's'}…"


def _is_unsent(item: ItemRecord) -> bool:
    return item.status in (ItemStatus.PENDING, ItemStatus.TRIGGERING)


def _tried(item: ItemRecord) -> dict[str, Any]:
    execution = item.execution
    return {
        "row": item.row,
        "status": str(item.status).replace("_", " ").capitalize(),
        "execution": "" if execution is None else str(execution.status).replace("_", " ").capitalize(),
        "outcome": "" if execution is None or execution.outcome is None else str(execution.outcome),
        "said": item.error or ("" if execution is None else execution.error or execution.reasoning),
        "url": "" if execution is None else execution.url,
    }
