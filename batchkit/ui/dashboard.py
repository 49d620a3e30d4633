"""The dashboard: the store's batches as cards, and commands on them and on their scheduled executions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchkit.core.config import aware
from batchkit.core.lifecycle import BatchStatus, ItemStatus
from batchkit.core.listing import Overview
from batchkit.core.record import BatchRecord, ItemChange
from batchkit.errors import BatchkitError, ConfigError
from batchkit.io.exports import write_csv
from batchkit.ui.cards import Card, Surroundings, card_of
from batchkit.ui.downloads import Downloads
from batchkit.ui.executions import Selection, Tally, change_items, details_of, page_of
from batchkit.ui.jobs import Jobs, Report
from batchkit.ui.table import PagedTable
from batchkit.ui.view import View
from batchkit.ui.watching import Watcher

if TYPE_CHECKING:
    from batchkit.batch import Batch
    from batchkit.workspace import Workspace

__all__ = ["Dashboard", "Listed", "Note"]

#: cards shown at first, and how many more each time
_PAGE = 20
_SCRIPTS = ("table.js", "download.js", "executions.js", "card.js", "dashboard.js")
_STYLES = ("table.css", "dashboard.css")

Details = Mapping[str, Any]
Buffers = Sequence[memoryview]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Which batches are listed."""

    #: an agent's id; empty: all
    agent: str = ""
    #: empty: all
    status: str = ""
    text: str = ""
    archived: bool = False
    #: so many at the most
    limit: int = _PAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What became of the last command on a batch."""

    kind: str
    text: str


class Dashboard:
    """Connects a workspace and a `View`; `view` is what a notebook shows."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._lock = threading.Lock()
        # Held while reading, so that what was read earlier is never taken for the newest.
        self._reading = threading.Lock()
        self._listed = Listed()
        self._overview = Overview()
        self._cards: tuple[Card, ...] = ()
        #: why the store cannot be read; empty: it can
        self._failure = ""
        self._notes: dict[str, Note] = {}
        #: batch to when it was first seen without a runner, on the monotonic clock
        self._alone_since: dict[str, float] = {}
        self._jobs = Jobs(self._changed)
        self._downloads = Downloads(self._changed)
        self._watcher = Watcher(self._look, self._busy)
        commands: dict[str, Callable[[Batch], object]] = {
            "pause": lambda batch: batch.pause(),
            "resume": lambda batch: batch.resume(),
            "cancel": lambda batch: batch.cancel(),
            "take_over": lambda batch: batch.take_over(),
            "archive": lambda batch: batch.archive(),
            "unarchive": lambda batch: batch.unarchive(),
        }
        self._read()
        self.view = View(
            _SCRIPTS,
            styles=_STYLES,
            draw=self._draw,
            intents={
                "seen": self._seen,
                "list": self._list,
                "more": self._more,
                **{name: self._command(command) for name, command in commands.items()},
                "delete": self._delete,
                "cancel_items": self._cancel_items,
                "reschedule_items": self._reschedule_items,
                "settle_items": self._settle_items,
                "item": self._item,
                "download": self._download,
                "forget": self._forget,
                **self._downloads.intents,
                **PagedTable({"executions": lambda request: page_of(workspace, request)}).intents,
            },
        )

    def close(self) -> None:
        """Look at the store no more, and leave the page."""
        self._watcher.close()
        self._downloads.close()
        self.view.close()

    # What is shown

    def _draw(self) -> dict[str, Any]:
        with self._lock:
            listed, overview, cards, failure, notes = (
                self._listed,
                self._overview,
                self._cards,
                self._failure,
                dict(self._notes),
            )
        return {
            "listed": asdict(listed),
            "cards": [card.to_json() for card in cards],
            "matching": overview.matching,
            "stored": overview.stored,
            "archived": overview.archived,
            "agents": [[agent_id, name] for agent_id, name in overview.agents.items()],
            "store": self._workspace.store.label,
            "failure": failure,
            "notes": {batch_id: asdict(note) for batch_id, note in notes.items()},
            "jobs": {batch_id: asdict(job) for batch_id, job in self._jobs.running.items()},
            "downloads": self._downloads.snapshot,
        }

    def _changed(self) -> None:
        self.view.changed()

    def _busy(self) -> bool:
        """Whether something goes on here that is shown."""
        return self.view.comm is not None and bool(self._workspace.engine.active or self._jobs.running)

    def _look(self) -> None:
        """Read the store, and draw if something is different."""
        before = self._cards, self._overview.stored, self._overview.matching, self._failure
        self._read()
        if before != (self._cards, self._overview.stored, self._overview.matching, self._failure):
            self._changed()

    def _read(self) -> None:
        with self._reading:
            listed = self._listed
            try:
                overview = self._workspace.engine.call(
                    self._workspace.store.overview(
                        agent_id=listed.agent or None,
                        statuses=[BatchStatus(listed.status)] if listed.status else (),
                        text=listed.text,
                        archived=listed.archived,
                        limit=listed.limit,
                    )
                )
                cards = tuple(card_of(record, self._around(record, overview)) for record in overview.batches)
            except BatchkitError as error:
                self._failure = str(error)
                return
            with self._lock:
                self._overview, self._cards, self._failure = overview, cards, ""

    def _around(self, record: BatchRecord, overview: Overview) -> Surroundings:
        workspace, engine = self._workspace, self._workspace.engine
        is_here = record.id in engine.active
        if record.interrupted and not is_here:
            since = self._alone_since.setdefault(record.id, time.monotonic())
        else:
            self._alone_since.pop(record.id, None)
            since = time.monotonic()
        missing = ""
        try:
            workspace.check_runs_here(record)
        except ConfigError as error:
            missing = str(error)
        trouble = engine.trouble(record.id) if is_here else None
        return Surroundings(
            now=workspace.clock.now(),
            last_due=overview.last_due.get(record.id),
            is_here=is_here,
            unattended=time.monotonic() - since,
            has_worker=workspace.engine_kind == "worker",
            missing=missing,
            trouble="" if trouble is None else str(trouble),
        )

    # What its user wants

    def _seen(self, _details: Details, _buffers: Buffers) -> None:
        """The page is displayed."""
        if not self._watcher.awake:
            self._look()
        self._watcher.seen()

    def _list(self, details: Details, _buffers: Buffers) -> None:
        chosen = {key: details[key] for key in ("agent", "status", "text", "archived") if key in details}
        with self._lock:
            self._listed = replace(self._listed, limit=_PAGE, **chosen)
        self._read()
        self._changed()

    def _more(self, _details: Details, _buffers: Buffers) -> None:
        with self._lock:
            self._listed = replace(self._listed, limit=self._listed.limit + _PAGE)
        self._read()
        self._changed()

    def _command(self, command: Callable[[Batch], object]) -> Callable[[Details, Buffers], None]:
        def intent(details: Details, _buffers: Buffers) -> None:
            batch = self._batch(details)
            self._note(batch.id, None)
            try:
                command(batch)
            except BatchkitError as error:
                self._note(batch.id, Note(kind="error", text=str(error)))
            self._read()
            self._changed()

        return intent

    def _delete(self, details: Details, _buffers: Buffers) -> None:
        batch = self._batch(details)
        self._start(batch, "Deleting", lambda _report: batch.delete())

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

            self._downloads.make(place, f"{record.name} results.csv", write)

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
        self._changed()

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
                self.view.fail(error)
            self._read()

        self._note(batch.id, None)
        self._jobs.start(batch.id, words, whole)
