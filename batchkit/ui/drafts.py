"""Wizards that were left before they made a batch, kept beside the store: what was uploaded, mapped and configured.

Each has a folder of its own, among those of the same user of the operating system. They go when a batch was made of
them, when they are discarded, and by themselves after some days.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import threading
import weakref
from collections.abc import Callable
from collections.abc import Mapping as MappingLike
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from batchkit.core.mapping import Field, Mapping
from batchkit.errors import BatchkitError, StateError
from batchkit.io.address import Address, data_folder
from batchkit.ui.draft import Draft
from batchkit.ui.state import Policy, Source, Step, WizardState

__all__ = ["MOST", "Drafts", "LeftWizard", "drafts_folder"]

#: how long one is kept after its last change
_DAYS = timedelta(days=7)
#: so many are kept and offered, the newest
MOST = 5
_NAME = "wizard.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftWizard:
    """A wizard as it was left."""

    id: str
    saved_at: datetime
    #: of an agent: id, name, version; empty: none was chosen
    agent_id: str
    agent_name: str
    version: int | None
    #: its path is where the file lies now
    source: Source
    rows: int
    chosen: MappingLike[str, Field]
    policy: Policy
    draft: Draft
    step: Step
    reached: Step


class Drafts:
    """The left wizards in `folder`, and the one that is kept while it goes on.

    platform: those of another one are not offered, nor those of another owner, whom it names. now: the time.
    """

    def __init__(self, folder: Path, platform: str, now: Callable[[], datetime]) -> None:
        self.folder = folder
        self._platform = platform
        self._now = now
        self._lock = threading.RLock()
        self._id = secrets.token_hex(8)
        #: what was kept last
        self._kept: tuple[object, ...] | None = None
        #: the upload that was copied, and its copy
        self._copied: tuple[str, Path] | None = None
        #: why the wizard cannot be kept; empty: it can
        self.failure = ""
        self.offered: tuple[LeftWizard, ...] = ()
        #: removes what is left after a batch was made; also when the interpreter ends
        self.clear: Callable[[], object] = lambda: None
        self.look()

    def keep(self, current: Callable[[], WizardState]) -> None:
        """Keep what `current` returns, if there is anything to go on with, and if it is another."""
        with self._lock:
            state = current()
            kept = _kept(state)
            if kept == self._kept or state.batch_id or state.launching:
                return
            if state.source is None and self._kept is not None:
                self.forget()
            if state.source is None or state.source.kind == "frame" or state.table is None:
                return
            try:
                self._write(state, state.source)
            except OSError as error:
                self.failure = f"What you do here is not kept for later: {error.strerror or error}."
            else:
                self.failure = ""
                self._kept = kept

    def finish(self) -> None:
        """A batch was made: nothing is left to go on with, but the file stays for the cell as long as this does."""
        with self._lock:
            with suppress(OSError):
                (self._mine / _NAME).unlink()
            self.clear = weakref.finalize(self, shutil.rmtree, self._mine, ignore_errors=True)
            self._kept = None

    def forget(self) -> None:
        """Nothing is kept of this wizard; a new one begins."""
        with self._lock:
            shutil.rmtree(self._mine, ignore_errors=True)
            self._id = secrets.token_hex(8)
            self._kept = self._copied = None

    def look(self) -> None:
        """Look which ones there are, and remove what nobody came back for."""
        with self._lock:
            found = [one for one in self._all() if one.id != self._id]
            found.sort(key=lambda one: one.saved_at, reverse=True)
            self.offered = tuple(found[:MOST])
            for one in found[MOST:]:
                shutil.rmtree(self.folder / one.id, ignore_errors=True)

    def left(self, identity: str) -> LeftWizard:
        """The one of that id. Raises StateError where it is not there any more."""
        one = self._read(self.folder / identity) if identity in (each.id for each in self.offered) else None
        if one is None:
            self.look()
            raise StateError("It is not there any more: it was discarded, or gone on with in another page.")
        return one

    def adopt(self, one: LeftWizard) -> LeftWizard:
        """Go on with that one here: what was kept of this wizard goes, and other pages do not offer it any more.

        Raises StateError where it is not there any more.
        """
        with self._lock:
            taken = secrets.token_hex(8)
            try:
                (self.folder / one.id).rename(self.folder / taken)
            except OSError:
                self.look()
                raise StateError("It is not there any more: it was gone on with in another page.") from None
            self.forget()
            self._id = taken
            source = one.source
            if source.kind == "upload":
                path = self._mine / Path(source.path).name
                source = replace(source, path=str(path))
                self._copied = str(path), path
            self.look()
            return replace(one, id=self._id, source=source)

    def discard(self, identity: str) -> None:
        """Remove the one of that id."""
        with self._lock:
            if identity in (each.id for each in self.offered):
                shutil.rmtree(self.folder / identity, ignore_errors=True)
            self.look()

    @property
    def _mine(self) -> Path:
        return self.folder / self._id

    def _write(self, state: WizardState, source: Source) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._mine.mkdir(mode=0o700, exist_ok=True)
        before = self._copied
        if source.kind == "upload" and before is not None and not before[1].exists():
            self._regain(source, before[1])
        if source.kind == "upload" and (before is None or source.path not in (before[0], str(before[1]))):
            copy = self._mine / f"{secrets.token_hex(4)}.upload"
            with open(source.path, "rb") as uploaded, os.fdopen(_private(copy), "wb") as file:
                shutil.copyfileobj(uploaded, file)
            self._copied = source.path, copy
        file_name = self._copied[1].name if source.kind == "upload" and self._copied else ""
        text = json.dumps(
            _saved(state, source, file_name) | {"platform": self._platform, "at": self._now().isoformat()}
        )
        whole = self._mine / f"{_NAME}.new"
        with os.fdopen(_private(whole), "w", encoding="utf-8") as file:
            file.write(text)
        whole.replace(self._mine / _NAME)
        if before is not None and before != self._copied:
            before[1].unlink(missing_ok=True)

    def _regain(self, source: Source, copy: Path) -> None:
        """Have the copy again, where another page went on with this wizard and took it along. Raises OSError."""
        taken = (Path(source.path), *self.folder.glob(f"*/{copy.name}"))
        origin = next((path for path in taken if path.is_file()), None)
        if origin is None:
            raise FileNotFoundError(errno.ENOENT, "another page went on with it, and the file is gone; upload it again")
        with open(origin, "rb") as file, os.fdopen(_private(copy), "wb") as ours:
            shutil.copyfileobj(file, ours)

    def _all(self) -> list[LeftWizard]:
        """Those of this user and platform; what is too old is removed."""
        found = []
        oldest = self._now() - _DAYS
        try:
            folders = list(self.folder.iterdir())
        except OSError:
            return []
        for folder in folders:
            one = self._read(folder)
            if one is not None and one.saved_at >= oldest:
                found.append(one)
            elif folder != self._mine and self._is_left(folder, oldest):
                shutil.rmtree(folder, ignore_errors=True)
        return found

    def _is_left(self, folder: Path, oldest: datetime) -> bool:
        """Whether nobody has changed anything in it for so long."""
        try:
            return folder.stat().st_mtime < oldest.timestamp()
        except OSError:
            return False

    def _read(self, folder: Path) -> LeftWizard | None:
        """The wizard in that folder; None: there is none, or one of another user, platform or version of batchkit."""
        try:
            if folder.stat().st_uid != _user():
                return None
            data = json.loads((folder / _NAME).read_text("utf-8"))
            return _loaded(folder, data) if data["platform"] == self._platform else None
        except (OSError, ValueError, KeyError, TypeError, BatchkitError):
            return None


def drafts_folder(store: Address) -> Path:
    """Where this user's are: beside a SQLite file, which several may use, else in his data folder."""
    return (store.parent if isinstance(store, Path) else data_folder()) / f"drafts-{_user()}"


def _user() -> int:
    """The number of the operating system's user; on Windows all have the same, and folders of their own."""
    return os.getuid() if hasattr(os, "getuid") else 0


def _kept(state: WizardState) -> tuple[object, ...]:
    """What there is to keep of a state, for comparing."""
    agent = None if state.agent is None else (state.agent.id, state.agent.version)
    rows = None if state.table is None else len(state.table)
    return state.source, rows, agent, dict(state.chosen), state.policy, state.draft, state.step, state.reached


def _saved(state: WizardState, source: Source, file_name: str) -> dict[str, Any]:
    """As JSON values. file_name: of the upload's copy."""
    agent = state.agent
    chosen = Mapping(tuple(state.chosen), assigned=tuple(state.chosen.values())) if state.chosen else None
    return {
        "agent": None if agent is None else {"id": agent.id, "name": agent.name, "version": agent.version},
        "source": {
            "kind": source.kind,
            "name": source.name,
            "path": file_name or source.path,
            "encoding": source.encoding,
            "delimiter": source.delimiter,
        },
        "rows": 0 if state.table is None else len(state.table),
        "chosen": None if chosen is None else chosen.to_dict(),
        "policy": state.policy,
        "configuration": state.draft.to_json(),
        "step": state.step,
        "reached": state.reached,
    }


def _loaded(folder: Path, data: MappingLike[str, Any]) -> LeftWizard:
    """What `_saved` gave. Raises KeyError, TypeError, ValueError or a BatchkitError for anything else."""
    agent = data["agent"] or {"id": "", "name": "", "version": None}
    source = Source(**data["source"])
    if source.kind == "upload":
        # Only ever a file of this folder.
        source = replace(source, path=str(folder / Path(source.path).name))
    chosen = {} if data["chosen"] is None else Mapping.from_dict(data["chosen"]).fields
    return LeftWizard(
        id=folder.name,
        saved_at=datetime.fromisoformat(data["at"]),
        agent_id=str(agent["id"]),
        agent_name=str(agent["name"]),
        version=agent["version"],
        source=source,
        rows=int(data["rows"]),
        chosen=chosen,
        policy="drop" if data["policy"] == "drop" else "block",
        draft=Draft.of(data["configuration"]),
        step=Step(data["step"]),
        reached=Step(data["reached"]),
    )


def _private(path: Path) -> int:
    """A new or emptied file of the user's alone."""
    return os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
