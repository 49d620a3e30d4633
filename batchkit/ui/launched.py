"""The batch the wizard has made: its card, how the rows tried first went, and commands on it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batchkit.core.lifecycle import BatchStatus
from batchkit.core.record import BatchRecord, ItemRecord
from batchkit.errors import BatchkitError, ConfigError
from batchkit.ui.cards import Surroundings, card_of
from batchkit.ui.watching import Watcher

if TYPE_CHECKING:
    from batchkit.batch import Batch
    from batchkit.ui.view import Intent
    from batchkit.workspace import Workspace

__all__ = ["Launched"]

#: seconds between two looks: somebody waits for what becomes of it
_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """The batch as it was read last."""

    record: BatchRecord
    #: the rows tried first
    tried: tuple[ItemRecord, ...]


class Launched:
    """Follows one batch; merge `intents` into the view's. on_change: `snapshot` is another."""

    def __init__(self, workspace: Workspace, on_change: Callable[[], object]) -> None:
        self._workspace = workspace
        self._on_change = on_change
        self._lock = threading.Lock()
        self._batch_id = ""
        self._trial = 0
        self._seen: _Seen | None = None
        self._alone_since: float | None = None
        self._note = ""
        self._watcher = Watcher(self._look, self._is_open, seconds=_SECONDS)
        commands: dict[str, Callable[[Batch], object]] = {
            "pause": lambda batch: batch.pause(),
            "resume": lambda batch: batch.resume(),
            "cancel": lambda batch: batch.cancel(),
            "take_over": lambda batch: batch.take_over(),
        }
        self.intents: dict[str, Intent] = {
            "seen": self._be_seen,
            "forget": self._forget,
            **{name: self._command(command) for name, command in commands.items()},
        }

    def show(self, batch_id: str, trial: int) -> None:
        """Follow that batch, of which `trial` rows are tried first; an empty id: none."""
        with self._lock:
            self._batch_id, self._trial, self._seen, self._note = batch_id, trial, None, ""
        if batch_id:
            self._look()
            self._watcher.seen()

    def close(self) -> None:
        """Look no more."""
        self._watcher.close()

    @property
    def snapshot(self) -> dict[str, Any] | None:
        """What the page draws; None: there is no batch."""
        with self._lock:
            seen, note, trial = self._seen, self._note, self._trial
        if seen is None:
            return None
        record = seen.record
        card = card_of(record, self._around(record))
        waits = bool(record.trial) and record.status is BatchStatus.PAUSED
        return {
            "card": card.to_json(),
            "note": note,
            "trial": trial,
            "tried": [_tried(item) for item in seen.tried],
            #: every row of the trial was sent, and the rest is held
            "asks": waits and not any(item.status in ("pending", "triggering") for item in seen.tried),
            "rest": record.progress.pending,
        }

    def _around(self, record: BatchRecord) -> Surroundings:
        workspace = self._workspace
        is_here = record.id in workspace.engine.active
        alone = record.interrupted and not is_here
        self._alone_since = (self._alone_since or time.monotonic()) if alone else None
        missing = ""
        try:
            workspace.check_runs_here(record)
        except ConfigError as error:
            missing = str(error)
        trouble = workspace.engine.trouble(record.id) if is_here else None
        return Surroundings(
            now=workspace.clock.now(),
            is_here=is_here,
            unattended=0.0 if self._alone_since is None else time.monotonic() - self._alone_since,
            has_worker=workspace.engine_kind == "worker",
            missing=missing,
            trouble="" if trouble is None else str(trouble),
        )

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
        except BatchkitError as error:
            self._say(str(error))
            return
        seen = _Seen(record=record, tried=tried)
        with self._lock:
            changed = self._batch_id == batch_id and seen != self._seen
            if changed:
                self._seen = seen
        if changed:
            self._on_change()

    def _be_seen(self, _details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> None:
        """The page is displayed."""
        if self._batch_id:
            self._watcher.seen()

    def _forget(self, _details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> None:
        self._say("")

    def _say(self, text: str) -> None:
        with self._lock:
            changed, self._note = text != self._note, text
        if changed:
            self._on_change()

    def _command(self, command: Callable[[Batch], object]) -> Intent:
        def intent(details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> None:
            batch = self._workspace.batch(str(details.get("batch")))
            self._say("")
            try:
                command(batch)
            except BatchkitError as error:
                self._say(str(error))
            self._look()
            self._on_change()

        return intent


def _tried(item: ItemRecord) -> dict[str, Any]:
    execution = item.execution
    return {
        "row": item.row,
        "status": str(item.status).replace("_", " ").capitalize(),
        "execution": "" if execution is None else str(execution.status).replace("_", " ").capitalize(),
        "outcome": "" if execution is None or execution.outcome is None else str(execution.outcome),
        "said": item.error or ("" if execution is None else execution.error or execution.reasoning),
        "url": "" if execution is None else execution.url,
        "open": execution is not None and not execution.status.terminal,
    }
