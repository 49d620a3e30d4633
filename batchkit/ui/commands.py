"""Commands on batches and on their scheduled executions, and what became of them: for every view that shows cards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchkit.core.config import aware
from batchkit.core.lifecycle import ItemStatus
from batchkit.core.record import ItemChange
from batchkit.errors import BatchkitError
from batchkit.io.exports import write_csv
from batchkit.ui.downloads import Downloads
from batchkit.ui.executions import Selection, Tally, change_items, details_of
from batchkit.ui.jobs import Jobs, Report

if TYPE_CHECKING:
    from batchkit.batch import Batch
    from batchkit.ui.view import Intent
    from batchkit.workspace import Workspace

__all__ = ["Commands", "Note"]

Details = Mapping[str, Any]
Buffers = Sequence[memoryview]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What became of the last command on a batch."""

    kind: str
    text: str


class Commands:
    """Does what the buttons of a card ask for; merge `intents` into the view's and `snapshot` into what it draws.

    on_change: `snapshot` is another. look: read the batches again and draw them. fail: show what should not happen.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        on_change: Callable[[], object],
        look: Callable[[], object],
        fail: Callable[[BaseException], object],
    ) -> None:
        self._workspace = workspace
        self._on_change, self._look, self._fail = on_change, look, fail
        self._lock = threading.Lock()
        self._notes: dict[str, Note] = {}
        self.jobs = Jobs(on_change)
        self.downloads = Downloads(on_change)
        commands: dict[str, Callable[[Batch], object]] = {
            "pause": lambda batch: batch.pause(),
            "resume": lambda batch: batch.resume(),
            "cancel": lambda batch: batch.cancel(),
            "take_over": lambda batch: batch.take_over(),
            "archive": lambda batch: batch.archive(),
            "unarchive": lambda batch: batch.unarchive(),
        }
        self.intents: dict[str, Intent] = {
            **{name: self._command(command) for name, command in commands.items()},
            "delete": self._delete,
            "cancel_items": self._cancel_items,
            "reschedule_items": self._reschedule_items,
            "settle_items": self._settle_items,
            "item": self._item,
            "download": self._download,
            "forget": self._forget,
            **self.downloads.intents,
        }

    def close(self) -> None:
        """Remove what was to be downloaded."""
        self.downloads.close()

    @property
    def snapshot(self) -> dict[str, Any]:
        """What is under way, what became of the last commands, and what is ready to be fetched."""
        with self._lock:
            notes = dict(self._notes)
        return {
            "notes": {batch_id: asdict(note) for batch_id, note in notes.items()},
            "jobs": {batch_id: asdict(job) for batch_id, job in self.jobs.running.items()},
            "downloads": self.downloads.snapshot,
        }

    # Whole batches

    def _command(self, command: Callable[[Batch], object]) -> Intent:
        def intent(details: Details, _buffers: Buffers) -> None:
            batch = self._batch(details)
            self._note(batch.id, None)
            try:
                command(batch)
            except BatchkitError as error:
                self._note(batch.id, Note(kind="error", text=str(error)))
            self._look()

        return intent

    def _delete(self, details: Details, _buffers: Buffers) -> None:
        batch = self._batch(details)
        self._start(batch, "Deleting", lambda _report: batch.delete())

    # Scheduled executions, and results

    def _cancel_items(self, details: Details, _buffers: Buffers) -> None:
        batch = self._batch(details)
        self._change(
            batch, details, "Cancelling", "cancelled", ItemStatus.PENDING, lambda items, _: batch.cancel_items(items)
        )

    def _reschedule_items(self, details: Details, _buffers: Buffers) -> None:
        batch = self._batch(details)
        at = aware(str(details.get("at")))
        workspace, engine = self._workspace, self._workspace.engine

        def move(items: list[int], report: Report) -> ItemChange:
            def progress(done: int) -> None:
                report(done, len(items))

            return engine.call(engine.reschedule_items(batch.id, items, at, workspace.actor, progress=progress))

        self._change(
            batch,
            details,
            "Rescheduling",
            "rescheduled",
            ItemStatus.PENDING,
            move,
            at_once=True,
        )

    def _settle_items(self, details: Details, _buffers: Buffers) -> None:
        batch = self._batch(details)
        retry = details.get("choice") == "retry"
        did = "made pending again" if retry else "skipped"
        self._change(
            batch,
            details,
            "Settling",
            did,
            ItemStatus.IN_DOUBT,
            lambda items, _: batch.settle(items, "retry" if retry else "skip"),
        )

    def _item(self, details: Details, _buffers: Buffers) -> dict[str, Any]:
        batch = self._batch(details)
        return self._workspace.engine.call(details_of(self._workspace.store, batch.id, int(details["item"])))

    def _download(self, details: Details, _buffers: Buffers) -> None:
        batch = self._batch(details)
        place = str(details.get("place"))

        def work(_report: Report) -> None:
            record = batch.record
            frame = batch.results(dropped=True)

            def write(path: Path) -> None:
                write_csv(frame, path, index=record.index_kind is not None)

            self.downloads.make(place, f"{record.name} results.csv", write)

        self._start(batch, "Preparing the results", work)

    def _forget(self, details: Details, _buffers: Buffers) -> None:
        self._note(str(details.get("batch")), None)

    # Inside

    def _batch(self, details: Details) -> Batch:
        return self._workspace.batch(str(details.get("batch")))

    def _note(self, batch_id: str, note: Note | None) -> None:
        with self._lock:
            self._notes.pop(batch_id, None)
            if note is not None:
                self._notes[batch_id] = note
        self._on_change()

    def _change(
        self,
        batch: Batch,
        details: Details,
        doing: str,
        did: str,
        wanted: ItemStatus,
        command: Callable[[list[int], Report], ItemChange],
        *,
        at_once: bool = False,
    ) -> None:
        """Begin a command on selected items; what became of it stands on the card."""
        selection = Selection.of(details.get("selection") or {})

        def work(report: Report) -> None:
            tally = Tally()
            try:
                change_items(self._workspace, batch.id, selection, wanted, command, tally, report, at_once=at_once)
            except BatchkitError as error:
                so_far = f"{tally.in_words(did)} Then it could not go on: " if tally.done else ""
                self._note(batch.id, Note(kind="error", text=f"{so_far}{error}"))
                return
            kind = "warning" if tally.not_done else "success"
            self._note(batch.id, Note(kind=kind, text=tally.in_words(did)))

        self._start(batch, f"{doing} scheduled executions", work)

    def _start(self, batch: Batch, words: str, work: Callable[[Report], object]) -> None:
        def whole(report: Report) -> None:
            try:
                work(report)
            except BatchkitError as error:
                self._note(batch.id, Note(kind="error", text=str(error)))
            except Exception as error:  # shown in the page: nobody else would see it
                self._fail(error)
            self._look()

        self._note(batch.id, None)
        self.jobs.start(batch.id, words, whole)
