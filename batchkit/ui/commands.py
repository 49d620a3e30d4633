"""Commands on batches and on their scheduled executions, and what became of them: for every view that shows cards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchkit.core.config import aware
from batchkit.core.lifecycle import ItemStatus
from batchkit.core.record import ItemChange
from batchkit.errors import BatchkitError
from batchkit.io.result_files import check_suffix
from batchkit.ui.again import chosen_kinds, count_kinds, has_family, kinds_as_json, run_again
from batchkit.ui.downloads import Downloads
from batchkit.ui.executions import Selection, Tally, change_items, details_of
from batchkit.ui.jobs import Jobs, Report
from batchkit.ui.limits import LimitsDraft

if TYPE_CHECKING:
    from batchkit.batch import Batch
    from batchkit.ui.view import Intent
    from batchkit.workspace import Workspace

__all__ = ["Commands", "Note"]

Details = Mapping[str, Any]
Buffers = Sequence[memoryview]

#: pages that are told at a time what can be run again
_MOST_COUNTED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What became of the last command on a batch."""

    kind: str
    text: str
    #: the batch it leads to; empty: none
    leads_to: str = ""
    #: what the page called its question; it goes there by itself
    token: str = ""


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
        #: what can be run again, by what the page called its question; the newest
        self._again: dict[str, dict[str, Any]] = {}
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
            "limits_outlook": self._limits_outlook,
            "change_limits": self._change_limits,
            "count_again": self._count_again,
            "run_again": self._run_again,
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
            notes, again = dict(self._notes), dict(self._again)
        return {
            "notes": {batch_id: asdict(note) for batch_id, note in notes.items()},
            "jobs": {batch_id: asdict(job) for batch_id, job in self.jobs.running.items()},
            "downloads": self.downloads.snapshot,
            "again": again,
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

    def _limits_outlook(self, details: Details, _buffers: Buffers) -> dict[str, Any]:
        """What follows from the limits as they are typed."""
        return LimitsDraft.of(details).outlook(self._batch(details).record, self._workspace.clock.now())

    def _change_limits(self, details: Details, _buffers: Buffers) -> None:
        batch = self._batch(details)
        self._note(batch.id, None)
        try:
            limits = LimitsDraft.of(details).limits()
            record = batch.record
            batch.update(
                max_concurrent=limits.max_concurrent,
                batch_interval=limits.batch_interval,
                max_in_flight=limits.max_in_flight,
            )
        except BatchkitError as error:
            self._note(batch.id, Note(kind="error", text=str(error)))
        else:
            moved = record.progress.pending and limits.pace(record.pace) != record.pace
            text = "The limits were changed." + (" Pending rows have new times." if moved else "")
            self._note(batch.id, Note(kind="success", text=text))
        self._look()

    def _count_again(self, details: Details, _buffers: Buffers) -> None:
        """Have the snapshot say which rows can be run again: at once, unless other batches ran some of them."""
        batch, token = self._batch(details), str(details.get("token"))

        def work(_report: Report) -> None:
            found: dict[str, Any] = {"kinds": [], "failure": "The rows could not be counted."}
            try:
                counts = count_kinds(self._workspace, batch.record)
                found = {"kinds": kinds_as_json(counts), "failure": ""}
            except BatchkitError as error:
                found["failure"] = str(error)
            finally:
                with self._lock:
                    self._again[token] = found
                    for oldest in list(self._again)[:-_MOST_COUNTED]:
                        del self._again[oldest]
                self._on_change()

        if has_family(self._workspace, batch.record):
            self._start(batch, "Counting the rows", work)
        else:
            work(lambda _done, _total: None)

    def _run_again(self, details: Details, _buffers: Buffers) -> None:
        """Run all rows of the chosen kinds again, if they are as many as was agreed to."""
        batch, token = self._batch(details), str(details.get("token") or "")
        kinds = chosen_kinds(details.get("kinds") or ())
        agreed = int(details.get("rows") or 0)

        def work(_report: Report) -> None:
            counts = count_kinds(self._workspace, batch.record)
            there = sum(counts[kind.key] for kind in kinds)
            if there != agreed:
                such = f"{'is' if there == 1 else 'are'} {there:,} such row{'' if there == 1 else 's'}"
                text = f"Nothing was sent: meanwhile there {such}, not {agreed:,}. Look at them again."
                self._note(batch.id, Note(kind="warning", text=text))
                return
            record = run_again(batch, kinds).record
            total = record.progress.total
            text = f"{total:,} row{' is' if total == 1 else 's are'} run again, as {record.name}."
            # First its card, then what leads there.
            self._look()
            self._note(batch.id, Note(kind="success", text=text, leads_to=record.id, token=token))

        self._start(batch, "Making the batch that runs them again", work)

    def _delete(self, details: Details, _buffers: Buffers) -> None:
        batch = self._batch(details)

        def work(_report: Report) -> None:
            batch.delete()
            with self._lock:
                # Nothing leads to it any more.
                self._notes = {
                    key: replace(note, leads_to="") if note.leads_to == batch.id else note
                    for key, note in self._notes.items()
                }

        self._start(batch, "Deleting", work)

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
        return self._workspace.engine.call(details_of(self._workspace, batch.id, int(details["item"])))

    def _download(self, details: Details, _buffers: Buffers) -> None:
        batch = self._batch(details)
        place, merged = str(details.get("place")), bool(details.get("merged"))
        what = "merged results" if merged else "results"
        name = f"{batch.name} {what}.{details.get('format') or 'csv'}"
        check_suffix(name)

        def write(path: Path) -> None:
            batch.save_results(path, merged=merged)

        def work(_report: Report) -> None:
            self.downloads.make(place, name, write, of=batch.id)

        self._start(batch, f"Preparing the {what}", work)

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
