"""The wizard: from a file to a running batch in four steps. It connects a workspace, a `WizardState` and a `View`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from batchkit.core.agent import Agent
from batchkit.core.mapping import Field, Input, Metadata, NotBefore, ProfileName, Skip, header_fingerprint
from batchkit.core.mapping import Mapping as ColumnMapping
from batchkit.core.profile import AgentProfile, ProfilePool
from batchkit.core.record import BatchRecord
from batchkit.core.table import Table
from batchkit.errors import BatchkitError, ConfigError, MappingError
from batchkit.ui.agents import Agents
from batchkit.ui.background import Background, Task
from batchkit.ui.checking import Checking
from batchkit.ui.commands import Commands
from batchkit.ui.drawing import Drawing
from batchkit.ui.drop import Uploads
from batchkit.ui.executions import page_of
from batchkit.ui.held import Held
from batchkit.ui.keeping import kept_recipe
from batchkit.ui.launched import Launched
from batchkit.ui.options import Options
from batchkit.ui.reading import Reading
from batchkit.ui.resuming import Resuming
from batchkit.ui.state import Source, Step, WizardState
from batchkit.ui.table import PagedTable
from batchkit.ui.view import View

if TYPE_CHECKING:
    from batchkit.workspace import Workspace

__all__ = ["Wizard"]

_SCRIPTS = (
    "fields.js",
    "table.js",
    "drop.js",
    "download.js",
    "executions.js",
    "panels.js",
    "card.js",
    "wizard_upload.js",
    "wizard_map.js",
    "wizard_preview.js",
    "wizard_configure.js",
    "wizard_options.js",
    "wizard_batch.js",
    "wizard.js",
)

Details = Mapping[str, Any]
Buffers = Sequence[memoryview]

#: characters of a file's name in the name suggested for a batch
_STEM = 80
#: by kind of task, the intents whose errors are over as well once it went well
_ALSO_SETTLED = {"read": ("read_path", "go_on")}


class Wizard:
    """Connects a workspace and a `View`; `view` is what a notebook shows.

    table: a DataFrame or a table to begin with. agent: a name or an id.
    dashboard: the address of a page with the dashboard; empty: one is told how to have it in a notebook.
    """

    def __init__(
        self,
        workspace: Workspace,
        table: Table | pd.DataFrame | None = None,
        agent: str | None = None,
        *,
        dashboard: str = "",
    ) -> None:
        self._workspace = workspace
        self._dashboard = dashboard
        # Held from looking up what is saved to making use of it.
        self._moving = threading.Lock()
        self._held = Held(self._moved)
        self._earlier: tuple[BatchRecord, ...] = ()
        self._python = ""
        self._recipe: Callable[[], str] | None = None
        self._drawing = Drawing()
        self._background = Background(self._changed, self._fail, self._settled)
        self._reading = Reading(self._background, lambda: self._held.state.source, self._take_table)
        fail_until_chosen = partial(self._fail, about="choose_agent")
        self._agents = Agents(
            workspace,
            self._background,
            agent,
            current=lambda: self._held.state.agent,
            take=self._take_agent,
            fail=fail_until_chosen,
        )
        self._uploads = Uploads(self._reading.upload, self._changed)
        self._resuming = Resuming(
            workspace, self._background, self._take_left, on_change=self._changed, fail=fail_until_chosen
        )
        self._launched = Launched(workspace, self._changed)
        #: an earlier batch of the same file, while it is looked at
        self._looked_at = Launched(workspace, self._changed)
        self._commands = Commands(workspace, on_change=self._changed, look=self._look, fail=self._fail)
        self._checking = Checking(self._held, self._background, self._commands.downloads)
        #: none before it is there: the background may want to draw
        self._view: View | None = None
        self._view = self.view = View(_SCRIPTS, draw=self._draw, intents=self._intents())
        self._agents.fetch()
        if table is not None:
            self._reading.given(table)

    def close(self) -> None:
        """End what is under way beside the batch, and leave the page."""
        self._background.close()
        self._launched.close()
        self._looked_at.close()
        self._resuming.close()
        self._uploads.close()
        self._commands.close()
        self.view.close()

    def _intents(self) -> dict[str, Callable[[Details, Buffers], object]]:
        return {
            "set_field": self._set_field,
            "accept_suggestion": lambda d, _: self._remap(lambda state: state.accept_suggestion(str(d["column"]))),
            "undo": lambda _details, _: self._remap(WizardState.undo),
            "reset_mapping": lambda _details, _: self._remap(WizardState.reset_mapping),
            "forget_mapping": lambda _details, _: self._forget_mapping(),
            "seen_from": lambda d, _: self._remap(lambda state: state.seen_from(str(d["zone"]))),
            "set_timezone": lambda d, _: self._remap(lambda state: state.with_timezone(str(d["zone"]))),
            "configure": lambda details, _: self._configure(details),
            "go_to": lambda details, _: self._held.update(lambda state: state.go_to(Step(details["step"]))),
            "start": self._start,
            "show_python": lambda _details, _: self._show_python(),
            "again": lambda _details, _: self._again(),
            "look_at": lambda details, _: self._look_at(str(details.get("batch") or "")),
            "seen": lambda _details, _: self._be_seen(),
            **self._agents.intents,
            **self._reading.intents,
            **self._checking.intents,
            **self._uploads.intents,
            **self._commands.intents,
            **self._resuming.intents,
            **PagedTable(
                {
                    "invalid": self._checking.invalid_page,
                    "executions": lambda request: page_of(self._workspace, request),
                }
            ).intents,
        }

    # What is shown

    def _draw(self) -> dict[str, Any]:
        workspace = self._workspace
        with self._held.lock:
            state, earlier = self._held.state, self._earlier
        agents = self._agents.known
        info = workspace.target.info
        return {
            **self._drawing.draw(state, earlier, workspace.clock.now()),
            "demo": workspace.is_demo,
            "platform": info.label or info.url,
            "store": workspace.store.label,
            "agents": None if agents is None else [{"id": one.id, "name": one.name} for one in agents],
            "failure": self._agents.failure,
            "unreadable": self._reading.failure,
            "upload": self._upload_shown(state),
            "working": {
                kind: {"words": task.words, "share": task.share} for kind, task in self._background.running.items()
            },
            "batch": self._launched.snapshot if state.batch_id else None,
            "looked_at": self._looked_at.snapshot,
            "left": [] if state.source else self._resuming.snapshot,
            "not_kept": self._resuming.drafts.failure,
            "python": self._python,
            "dashboard": self._dashboard,
            **self._commands.snapshot,
        }

    def _upload_shown(self, state: WizardState) -> dict[str, Any]:
        """What the drop zone says; nothing of a file that is not the one in use any more."""
        upload = self._uploads.snapshot
        in_use = state.source is not None and state.source.kind == "upload"
        if state.source is not None and in_use and not upload:
            return {"id": "", "name": state.source.name, "state": "done"}
        waits = in_use or "read" in self._background.running
        return {} if upload.get("state") == "done" and not waits else upload

    def _changed(self) -> None:
        if self._view is not None:
            self._view.changed()

    def _moved(self) -> None:
        """The state is another one."""
        self._resuming.keep(lambda: self._held.state)
        self._changed()

    def _look(self) -> None:
        self._launched.look()
        self._looked_at.look()

    def _look_at(self, batch_id: str) -> None:
        """Show an earlier batch of the same file; an empty id: none. Raises NotFoundError."""
        if batch_id:
            self._workspace.batch(batch_id)
        self._looked_at.show(batch_id, 0)
        self._changed()

    def _be_seen(self) -> None:
        """The page is displayed."""
        self._launched.seen()
        self._looked_at.seen()
        if self._held.state.draft.options.hours:
            # What follows from them is another as time goes by.
            self._changed()

    def _fail(self, error: BaseException, about: str = "") -> None:
        if self._view is not None:
            self._view.fail(error, about=about)

    def _settled(self, kind: str) -> None:
        """A task of that kind went well."""
        for about in (kind, *_ALSO_SETTLED.get(kind, ())):
            if self._view is not None:
                self._view.settled(about)

    # Another agent or table

    def _take_agent(
        self, agent: Agent | None, profiles: tuple[AgentProfile, ...], pools: tuple[ProfilePool, ...]
    ) -> None:
        self._take(lambda state, saved: state.with_agent(agent, saved, profiles=profiles, pools=pools), agent=agent)

    def _take_table(self, source: Source | None, table: Table | None) -> None:
        name = ""
        if source is not None and table is not None:
            now = self._workspace.clock.now().astimezone()
            name = f"{Path(source.name).stem[:_STEM]} {now:%Y-%m-%d %H:%M}"
            self._uploads.settle()
        self._take(lambda state, saved: state.with_table(source, table, saved, name=name), table=table)

    def _take(
        self,
        move: Callable[[WizardState, ColumnMapping | None], WizardState],
        *,
        agent: Agent | None = None,
        table: Table | None = None,
    ) -> None:
        """Another agent or table: with the mapping saved for the two."""
        with self._moving:
            saved = self._saved(agent or self._held.state.agent, table or self._held.state.table)
            self._held.update(lambda state: move(state, saved))
        self._look_for_earlier()
        self._checking.check()

    def _take_left(
        self, move: Callable[[WizardState, ColumnMapping | None], WizardState], agent: Agent | None, table: Table
    ) -> None:
        self._reading.failure = ""
        self._uploads.settle()
        if agent is not None:
            self._agents.leave()
        self._take(move, agent=agent, table=table)

    def _saved(self, agent: Agent | None, table: Table | None) -> ColumnMapping | None:
        if agent is None or table is None:
            return None
        call, store = self._workspace.engine.call, self._workspace.store
        saved = call(store.mapping(agent.id, header_fingerprint(table.columns)))
        try:
            return None if saved is None else ColumnMapping.from_dict(saved).restored(table.columns)
        except MappingError:
            return None

    def _look_for_earlier(self) -> None:
        state = self._held.state
        with self._held.lock:
            self._earlier = ()
        self._looked_at.show("", 0)
        agent, table = state.agent, state.table
        if agent is None or table is None or not table.ok:
            self._background.cancel("earlier")
            return

        def work(task: Task) -> None:
            found = tuple(batch.record for batch in self._workspace.same_file(table, agent))
            if task.is_current:
                with self._held.lock:
                    self._earlier = found

        self._background.start("earlier", "Looking for earlier batches of this file", work)

    # The mapping

    def _remap(self, move: Callable[[WizardState], WizardState]) -> None:
        before = self._held.state.round
        self._held.update(move)
        if self._held.state.round != before:
            self._checking.check()

    def _set_field(self, details: Details, _buffers: Buffers) -> None:
        name = str(details.get("name") or "")
        fields: dict[str, Field] = {
            "input": Input(name),
            "metadata": Metadata(name),
            "profile": ProfileName(),
            "not_before": NotBefore(),
            "skip": Skip(),
        }
        column = str(details["column"])
        self._remap(lambda state: state.set_field(column, fields[str(details["kind"])]))

    def _forget_mapping(self) -> None:
        agent, table = self._held.state.agent, self._held.state.table
        if agent is not None and table is not None:
            self._workspace.forget_mapping(table, agent)
            self._remap(WizardState.forget_saved)

    # The batch

    def _configure(self, details: Details) -> None:
        texts = ("name", "profile", "start_at", "max_concurrent", "batch_interval")
        changes: dict[str, Any] = {name: str(details[name]) for name in texts if name in details}
        if "later" in details:
            changes["later"] = bool(details["later"])

        def changed(state: WizardState) -> WizardState:
            # Of the options as they are now, not as they were when the page was drawn.
            options = state.draft.options
            if "options" in details:
                options = Options.of({**options.to_json(), **details["options"]})
            if "day" in details:
                options = options.with_day(str(details["day"]), on=bool(details["on"]))
            return state.with_draft(**changes, options=options)

        self._held.update(changed)

    def _start(self, details: Details, _buffers: Buffers) -> None:
        """Make the batch that was confirmed; a second click does nothing."""
        with self._held.lock:
            state = self._held.state
            if state.launching or state.batch_id:
                return
            if details.get("rows") != state.rows or details.get("round") != state.round:
                raise ConfigError("Something was changed after you were asked. Look at it again, then start.")
            launching = state.launch()
            agent, checked = state.agent, state.checked
            assert agent is not None
            assert checked is not None
            trial = int(details.get("trial") or 0)
            config = state.config(trial=trial)
            self._held.update(lambda _: launching)

        def work(_task: Task) -> None:
            batch_id, why = "", ""
            try:
                batch_id = self._workspace.create_batch(checked, config).id
            except BatchkitError as error:
                why = str(error)
            finally:
                self._held.update(lambda now: now.launched(batch_id, why))
                if not batch_id:
                    # Should it have failed only after the batch was there, the page says that the file ran.
                    self._look_for_earlier()
            if not batch_id:
                return
            is_name_unique = self._agents.is_name_unique(agent)
            with self._held.lock:
                self._recipe = lambda: kept_recipe(
                    self._workspace, state, config, batch_id, is_name_unique=is_name_unique
                )
            self._launched.show(batch_id, config.trial)
            self._resuming.made(state.source.path if state.source else "")

        self._background.start("launch", "Making the batch", work)

    def _show_python(self) -> None:
        recipe = self._recipe
        if recipe is not None and not self._python:
            self._python = recipe()
            self._changed()

    def _again(self) -> None:
        with self._held.lock:
            if not self._held.state.batch_id:
                return
            self._python, self._recipe, self._earlier = "", None, ()
            self._held.update(WizardState.again)
        self._resuming.again()
        self._launched.show("", 0)
        self._changed()
