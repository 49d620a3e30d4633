"""The wizard: from a file to a running batch in four steps. It connects a workspace, a `WizardState` and a `View`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from batchkit.core.agent import Agent
from batchkit.core.mapping import Field, Input, Metadata, ProfileName, Skip, header_fingerprint
from batchkit.core.mapping import Mapping as ColumnMapping
from batchkit.core.record import BatchRecord
from batchkit.core.table import Table
from batchkit.core.validation import validate
from batchkit.errors import BatchkitError, ConfigError, MappingError, TableError
from batchkit.io.exports import write_csv
from batchkit.io.tables import read_csv
from batchkit.ui.background import Background, Task
from batchkit.ui.downloads import Downloads
from batchkit.ui.drawing import PREVIEW_ROWS, Drawing, preview_rows
from batchkit.ui.drop import Uploads
from batchkit.ui.keeping import kept_recipe
from batchkit.ui.launched import Launched
from batchkit.ui.state import Policy, Source, Step, WizardState
from batchkit.ui.table import Page, PagedTable, PageRequest
from batchkit.ui.view import View

if TYPE_CHECKING:
    from batchkit.workspace import Workspace

__all__ = ["Wizard"]

_SCRIPTS = (
    "table.js",
    "drop.js",
    "download.js",
    "card.js",
    "wizard_upload.js",
    "wizard_map.js",
    "wizard_preview.js",
    "wizard_configure.js",
    "wizard_batch.js",
    "wizard.js",
)
_STYLES = ("table.css", "drop.css", "dashboard.css", "wizard.css")

Details = Mapping[str, Any]
Buffers = Sequence[memoryview]


class Wizard:
    """Connects a workspace and a `View`; `view` is what a notebook shows.

    table: a DataFrame or a table to begin with. agent: a name or an id.
    """

    def __init__(
        self, workspace: Workspace, table: Table | pd.DataFrame | None = None, agent: str | None = None
    ) -> None:
        self._workspace = workspace
        self._lock = threading.RLock()
        # Held from looking up what is saved to making use of it.
        self._moving = threading.Lock()
        self._state = WizardState()
        self._agents: tuple[Agent, ...] | None = None
        #: why the platform could not be asked; empty: it could
        self._failure = ""
        self._retry: Callable[[], object] = self._fetch_agents
        #: why the file could not be read; empty: it could
        self._unreadable = ""
        self._wanted = agent
        self._earlier: tuple[BatchRecord, ...] = ()
        self._python = ""
        self._recipe: Callable[[], str] | None = None
        self._drawing = Drawing()
        self._background = Background(self._changed, self._fail)
        self._uploads = Uploads(self._on_file, self._changed)
        self._downloads = Downloads(self._changed)
        self._launched = Launched(workspace, self._changed)
        #: none before it is there: the background may want to draw
        self._view: View | None = None
        self._view = self.view = View(_SCRIPTS, styles=_STYLES, draw=self._draw, intents=self._intents())
        self._fetch_agents()
        if table is not None:
            self._read_given(table)

    def close(self) -> None:
        """End what is under way beside the batch, and leave the page."""
        self._background.close()
        self._launched.close()
        self._uploads.close()
        self._downloads.close()
        self.view.close()

    def _intents(self) -> dict[str, Callable[[Details, Buffers], object]]:
        return {
            "choose_agent": lambda details, _: self._choose_agent(str(details["id"])),
            "choose_version": self._choose_version,
            "try_again": lambda _details, _: self._retry(),
            "read_path": lambda details, _: self._read_path(str(details.get("path") or "")),
            "sample": lambda _details, _: self._read_path(str(files("batchkit") / "sample.csv")),
            "read_again": self._read_again,
            "remove_file": lambda _details, _: self._remove_file(),
            "set_field": self._set_field,
            "accept_suggestion": lambda d, _: self._remap(lambda state: state.accept_suggestion(str(d["column"]))),
            "undo": lambda _details, _: self._remap(WizardState.undo),
            "reset_mapping": lambda _details, _: self._remap(WizardState.reset_mapping),
            "forget_mapping": lambda _details, _: self._forget_mapping(),
            "set_policy": lambda details, _: self._set_policy(details),
            "download_invalid": lambda details, _: self._download_invalid(str(details.get("place"))),
            "configure": lambda details, _: self._configure(details),
            "go_to": lambda details, _: self._update(lambda state: state.go_to(Step(details["step"]))),
            "start": self._start,
            "show_python": lambda _details, _: self._show_python(),
            "again": lambda _details, _: self._again(),
            **self._uploads.intents,
            **self._downloads.intents,
            **self._launched.intents,
            **PagedTable({"invalid": self._invalid_page}).intents,
        }

    # What is shown

    def _draw(self) -> dict[str, Any]:
        workspace = self._workspace
        with self._lock:
            state, agents, earlier = self._state, self._agents, self._earlier
        info = workspace.target.info
        return {
            **self._drawing.draw(state, earlier, workspace.clock.now()),
            "demo": workspace.is_demo,
            "platform": info.label or info.url,
            "store": workspace.store.label,
            "agents": None if agents is None else [{"id": one.id, "name": one.name} for one in agents],
            "failure": self._failure,
            "unreadable": self._unreadable,
            "upload": self._upload_shown(state),
            "downloads": self._downloads.snapshot,
            "working": {
                kind: {"words": task.words, "share": task.share} for kind, task in self._background.running.items()
            },
            "batch": self._launched.snapshot if state.batch_id else None,
            "python": self._python,
            "jobs": {},
            "notes": {},
        }

    def _upload_shown(self, state: WizardState) -> dict[str, Any]:
        """What the drop zone says; nothing of a file that is not the one in use any more."""
        upload = self._uploads.snapshot
        in_use = state.source is not None and state.source.kind == "upload"
        waits = in_use or "read" in self._background.running
        return {} if upload.get("state") == "done" and not waits else upload

    def _changed(self) -> None:
        if self._view is not None:
            self._view.changed()

    def _fail(self, error: BaseException) -> None:
        if self._view is not None:
            self._view.fail(error)

    def _update(self, move: Callable[[WizardState], WizardState]) -> None:
        with self._lock:
            self._state = move(self._state)
        self._changed()

    # The agent

    def _fetch_agents(self) -> None:
        self._ask("Fetching the agents", self._take_agents, self._fetch_agents)

    def _take_agents(self, task: Task) -> None:
        agents = tuple(self._workspace.agents())
        with self._lock:
            self._agents = agents
        wanted = [one.id for one in agents if self._wanted in (one.id, one.name)]
        if self._wanted is not None and len(wanted) != 1:
            self._fail(ConfigError(f"There is no single agent {self._wanted!r}. Choose one."))
        elif wanted or len(agents) == 1:
            self._take_agent(task, (wanted or [agents[0].id])[0], None)
        self._wanted = None

    def _choose_agent(self, agent_id: str, version: int | None = None) -> None:
        if not agent_id:
            self._background.cancel("platform")
            self._take(lambda state, _saved: state.with_agent(None))
            return
        self._ask(
            "Fetching the agent",
            lambda task: self._take_agent(task, agent_id, version),
            lambda: self._choose_agent(agent_id, version),
        )

    def _choose_version(self, details: Details, _buffers: Buffers) -> None:
        agent = self._state.agent
        if agent is not None:
            self._choose_agent(agent.id, int(details["version"]))

    def _take_agent(self, task: Task, agent_id: str, version: int | None) -> None:
        agent = self._workspace.agent(agent_id, version)
        profiles, pools = tuple(self._workspace.profiles()), tuple(self._workspace.pools())
        if task.is_current:
            self._take(lambda state, saved: state.with_agent(agent, saved, profiles=profiles, pools=pools), agent=agent)

    def _ask(self, words: str, work: Callable[[Task], object], again: Callable[[], object]) -> None:
        """Ask the platform; if it fails, the page says why and offers to do it again."""

        def failed(error: BatchkitError) -> None:
            with self._lock:
                self._failure = str(error)

        with self._lock:
            self._failure, self._retry = "", again
        self._background.start("platform", words, work, failed)

    # The table

    def _on_file(self, name: str, path: Path) -> None:
        self._read(Source(kind="upload", name=name, path=str(path)))

    def _read_path(self, path: str) -> None:
        if not path.strip():
            raise TableError("Type the path of a CSV file on the server.")
        whole = Path(path.strip()).expanduser().absolute()
        self._read(Source(kind="path", name=whole.name, path=str(whole)))

    def _read_again(self, details: Details, _buffers: Buffers) -> None:
        source = self._state.source
        if source is None or source.kind == "frame":
            return
        self._read(
            replace(
                source,
                encoding=details.get("encoding", source.encoding) or None,
                delimiter=details.get("delimiter", source.delimiter) or None,
            )
        )

    def _remove_file(self) -> None:
        self._background.cancel("read")
        self._unreadable = ""
        self._take(lambda state, _saved: state.with_table(None, None))

    def _read(self, source: Source) -> None:
        def work(task: Task) -> None:
            table = read_csv(source.path, encoding=source.encoding, delimiter=source.delimiter)
            self._take_table(task, source, replace(table, source=source.name))

        def failed(error: BatchkitError) -> None:
            self._unreadable = str(error).replace(Path(source.path).name, source.name)
            self._take(lambda state, _saved: state.with_table(source, None))

        self._unreadable = ""
        self._background.start("read", f"Reading {source.name}", work, failed)

    def _read_given(self, given: Table | pd.DataFrame) -> None:
        def work(task: Task) -> None:
            table = given if isinstance(given, Table) else read_csv(given)
            self._take_table(task, Source(kind="frame", name=table.source or "DataFrame"), table)

        self._background.start("read", "Reading the DataFrame", work)

    def _take_table(self, task: Task, source: Source, table: Table) -> None:
        name = f"{Path(source.name).stem} {self._workspace.clock.now().astimezone():%Y-%m-%d %H:%M}"
        if task.is_current:
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
            saved = self._saved(agent or self._state.agent, table or self._state.table)
            self._update(lambda state: move(state, saved))
        self._look_for_earlier()
        self._check()

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
        state = self._state
        with self._lock:
            self._earlier = ()
        agent, table = state.agent, state.table
        if agent is None or table is None or not table.ok:
            self._background.cancel("earlier")
            return

        def work(task: Task) -> None:
            found = tuple(batch.record for batch in self._workspace.same_file(table, agent))
            if task.is_current:
                with self._lock:
                    self._earlier = found

        self._background.start("earlier", "Looking for earlier batches of this file", work)

    # The mapping

    def _remap(self, move: Callable[[WizardState], WizardState]) -> None:
        before = self._state.round
        self._update(move)
        if self._state.round != before:
            self._check()

    def _set_field(self, details: Details, _buffers: Buffers) -> None:
        name = str(details.get("name") or "")
        fields: dict[str, Field] = {
            "input": Input(name),
            "metadata": Metadata(name),
            "profile": ProfileName(),
            "skip": Skip(),
        }
        column = str(details["column"])
        self._remap(lambda state: state.set_field(column, fields[str(details["kind"])]))

    def _forget_mapping(self) -> None:
        agent, table = self._state.agent, self._state.table
        if agent is not None and table is not None:
            self._workspace.forget_mapping(table, agent)
            self._remap(WizardState.forget_saved)

    # Checking

    def _check(self) -> None:
        """Check the rows as they are mapped now: the first ones at once, then all."""
        state = self._state
        table, mapping, agent = state.table, state.mapping, state.agent
        if table is None or mapping is None or agent is None or not table.ok or state.mapping_problems():
            self._background.cancel("check")
            return
        profiles, pools = state.profiles or None, state.pools or None

        def work(task: Task) -> None:
            glimpse = validate(table.first(PREVIEW_ROWS), mapping, agent, profiles=profiles, pools=pools)
            self._update(lambda now: now.with_glimpse(glimpse, state.round))
            checked = validate(table, mapping, agent, profiles=profiles, pools=pools, on_progress=task.report)
            self._update(lambda now: now.with_checked(checked, state.round))

        def failed(error: BatchkitError) -> None:
            self._update(lambda now: now.with_failure(str(error), state.round))

        self._background.start("check", "Checking all rows", work, failed)

    def _set_policy(self, details: Details) -> None:
        policy = details["policy"]
        if policy not in ("block", "drop"):
            raise ConfigError(f"There is no policy {policy!r}.")
        self._update(lambda state: state.with_policy(cast(Policy, policy)))

    def _invalid_page(self, request: PageRequest) -> Page:
        checked = self._state.checked
        if checked is None:
            return Page(rows=[], total=0)
        invalid = np.flatnonzero(~checked.valid_mask)
        positions = invalid[request.offset : request.offset + request.limit].tolist()
        rows = [{"key": str(at), **row} for at, row in zip(positions, preview_rows(checked, positions), strict=True)]
        return Page(rows=rows, total=len(invalid))

    def _download_invalid(self, place: str) -> None:
        checked, source = self._state.checked, self._state.source
        if checked is None or source is None:
            return

        def work(_task: Task) -> None:
            name = f"{Path(source.name).stem} invalid rows.csv"
            self._downloads.make(place, name, lambda path: write_csv(checked.invalid_rows(), path))

        self._background.start("download", "Preparing the invalid rows", work)

    # The batch

    def _configure(self, details: Details) -> None:
        texts = ("name", "profile", "start_at", "max_concurrent", "batch_interval")
        changes: dict[str, Any] = {name: str(details[name]) for name in texts if name in details}
        if "later" in details:
            changes["later"] = bool(details["later"])
        self._update(lambda state: state.with_draft(**changes))

    def _start(self, details: Details, _buffers: Buffers) -> None:
        """Make the batch that was confirmed; a second click does nothing."""
        trial = int(details.get("trial") or 0)
        with self._lock:
            state = self._state
            if state.launching or state.batch_id:
                return
            if details.get("rows") != state.rows or details.get("round") != state.round:
                raise ConfigError("Something was changed after you were asked. Look at it again, then start.")
            launching = state.launch()
            agent, checked = state.agent, state.checked
            assert agent is not None
            assert checked is not None
            config = state.draft.config(agent.version, state.profiles, state.pools, trial=trial)
            self._state = launching
        self._changed()

        def work(_task: Task) -> None:
            batch_id = ""
            try:
                batch_id = self._workspace.create_batch(checked, config).id
            finally:
                self._update(lambda now: now.launched(batch_id))
                if not batch_id:
                    # Should it have failed only after the batch was there, the page says that the file ran.
                    self._look_for_earlier()
            names = [one.name for one in self._agents or ()]
            with self._lock:
                self._recipe = lambda: kept_recipe(
                    self._workspace, state, config, batch_id, is_name_unique=names.count(agent.name) == 1
                )
            self._launched.show(batch_id, config.trial)

        self._background.start("launch", "Making the batch", work)

    def _show_python(self) -> None:
        recipe = self._recipe
        if recipe is not None and not self._python:
            self._python = recipe()
            self._changed()

    def _again(self) -> None:
        with self._lock:
            if not self._state.batch_id:
                return
            self._state, self._python, self._recipe, self._earlier = self._state.again(), "", None, ()
        self._launched.show("", 0)
        self._changed()
