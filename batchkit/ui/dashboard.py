"""The dashboard: the store's batches as cards, and commands on them and on their scheduled executions."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from batchkit.core.lifecycle import BatchStatus
from batchkit.core.listing import Overview
from batchkit.core.record import BatchRecord
from batchkit.errors import BatchkitError
from batchkit.ui.around import Around
from batchkit.ui.cards import Card, card_of
from batchkit.ui.commands import Commands
from batchkit.ui.executions import page_of
from batchkit.ui.table import PagedTable
from batchkit.ui.view import View
from batchkit.ui.watching import Watcher

if TYPE_CHECKING:
    from batchkit.workspace import Workspace

__all__ = ["Dashboard", "Listed"]

#: cards shown at first, and how many more each time
_PAGE = 20
_SCRIPTS = ("fields.js", "table.js", "download.js", "executions.js", "panels.js", "card.js", "dashboard.js")

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
    #: None: those archived and the others
    archived: bool | None = False
    #: so many at the most
    limit: int = _PAGE


class Dashboard:
    """Connects a workspace and a `View`; `view` is what a notebook shows.

    wizard: the address of a page with the wizard; empty: one is told how to have it in a notebook.
    """

    def __init__(self, workspace: Workspace, *, wizard: str = "") -> None:
        self._workspace = workspace
        self._wizard = wizard
        self._lock = threading.Lock()
        # Held while reading, so that what was read earlier is never taken for the newest.
        self._reading = threading.Lock()
        self._listed = Listed()
        self._overview = Overview()
        self._cards: tuple[Card, ...] = ()
        #: why the store cannot be read; empty: it can
        self._failure = ""
        self._around = Around(workspace)
        self._commands = Commands(workspace, on_change=self._changed, look=self._look_again, fail=self._fail)
        self._watcher = Watcher(self._look, self._busy)
        self._read()
        self.view = View(
            _SCRIPTS,
            draw=self._draw,
            intents={
                "seen": self._seen,
                "list": self._list,
                "more": self._more,
                **self._commands.intents,
                **PagedTable({"executions": lambda request: page_of(workspace, request)}).intents,
            },
        )

    def close(self) -> None:
        """Look at the store no more, and leave the page."""
        self._watcher.close()
        self._commands.close()
        self.view.close()

    # What is shown

    def _draw(self) -> dict[str, Any]:
        with self._lock:
            listed, overview, cards, failure = self._listed, self._overview, self._cards, self._failure
        return {
            "listed": asdict(listed),
            "cards": [card.to_json() for card in cards],
            "matching": overview.matching,
            "stored": overview.stored,
            "archived": overview.archived,
            "others": overview.others,
            "agents": [[agent_id, name] for agent_id, name in overview.agents.items()],
            "store": self._workspace.store.label,
            "failure": failure,
            "wizard": self._wizard,
            **self._commands.snapshot,
        }

    def _changed(self) -> None:
        self.view.changed()

    def _fail(self, error: BaseException) -> None:
        self.view.fail(error)

    def _busy(self) -> bool:
        """Whether something goes on here that is shown."""
        return self.view.comm is not None and bool(self._workspace.engine.active or self._commands.jobs.running)

    def _look(self) -> None:
        """Read the store, and draw if something is different."""
        before = self._shown
        self._read()
        if before != self._shown:
            self._changed()

    @property
    def _shown(self) -> tuple[object, ...]:
        """What is drawn of the store."""
        with self._lock:
            overview, cards, failure = self._overview, self._cards, self._failure
        counts = overview.stored, overview.matching, overview.archived, overview.others
        return cards, failure, counts, dict(overview.agents)

    def _look_again(self) -> None:
        """Read the store, and draw in any case."""
        self._read()
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
                cards = tuple(self._card(record, overview) for record in overview.batches)
            except BatchkitError as error:
                self._failure = str(error)
                return
            with self._lock:
                self._overview, self._cards, self._failure = overview, cards, ""

    def _card(self, record: BatchRecord, overview: Overview) -> Card:
        origin = record.origin or record.id
        relatives = tuple(each for each in overview.relatives if each.origin == origin)
        return card_of(record, self._around.of(record, overview.last_due.get(record.id), relatives))

    # What its user wants

    def _seen(self, _details: Details, _buffers: Buffers) -> None:
        """The page is displayed."""
        if not self._watcher.awake:
            self._look()
        self._watcher.seen()

    def _list(self, details: Details, _buffers: Buffers) -> None:
        chosen = {key: details[key] for key in ("agent", "status", "text", "archived") if key in details}
        with self._lock:
            if "archived" not in chosen and self._listed.archived is None:
                # That both are listed was for one batch, which was looked for.
                chosen["archived"] = False
            self._listed = replace(self._listed, limit=_PAGE, **chosen)
        self._look_again()

    def _more(self, _details: Details, _buffers: Buffers) -> None:
        with self._lock:
            self._listed = replace(self._listed, limit=self._listed.limit + _PAGE)
        self._look_again()
