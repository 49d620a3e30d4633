"""Checking the wizard's rows as they are mapped, in background, and what is made of the invalid ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from batchkit.core.validation import validate
from batchkit.errors import BatchkitError, ConfigError
from batchkit.io.exports import write_csv
from batchkit.ui.background import Background, Task
from batchkit.ui.downloads import Downloads
from batchkit.ui.drawing import PREVIEW_ROWS, preview_rows
from batchkit.ui.held import Held
from batchkit.ui.state import Policy
from batchkit.ui.table import Page, PageRequest

if TYPE_CHECKING:
    from batchkit.ui.view import Intent

__all__ = ["Checking"]


class Checking:
    """Keeps `held` told of what its rows are worth; merge `intents` into the view's."""

    def __init__(self, held: Held, background: Background, downloads: Downloads) -> None:
        self._held = held
        self._background = background
        self._downloads = downloads
        self.intents: dict[str, Intent] = {"set_policy": self._set_policy, "download_invalid": self._download_invalid}

    def check(self) -> None:
        """Check the rows as they are mapped now: the first ones at once, then all."""
        state = self._held.state
        table, mapping, agent = state.table, state.mapping, state.agent
        if table is None or mapping is None or agent is None or not table.ok or state.mapping_problems():
            self._background.cancel("check")
            return
        profiles, pools = state.profiles or None, state.pools or None

        def work(task: Task) -> None:
            glimpse = validate(table.first(PREVIEW_ROWS), mapping, agent, profiles=profiles, pools=pools)
            self._held.update(lambda now: now.with_glimpse(glimpse, state.round))
            checked = validate(table, mapping, agent, profiles=profiles, pools=pools, on_progress=task.report)
            self._held.update(lambda now: now.with_checked(checked, state.round))

        def failed(error: BatchkitError) -> None:
            self._held.update(lambda now: now.with_failure(str(error), state.round))

        self._background.start("check", "Checking all rows", work, failed)

    def invalid_page(self, request: PageRequest) -> Page:
        """A page of the invalid rows."""
        checked = self._held.state.checked
        if checked is None:
            return Page(rows=[], total=0)
        invalid = np.flatnonzero(~checked.valid_mask)
        positions = invalid[request.offset : request.offset + request.limit].tolist()
        drawn = preview_rows(checked, positions, self._held.state.draft.timezone)
        rows = [{"key": str(at), **row} for at, row in zip(positions, drawn, strict=True)]
        return Page(rows=rows, total=len(invalid))

    def _set_policy(self, details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> None:
        policy = details["policy"]
        if policy not in ("block", "drop"):
            raise ConfigError(f"There is no policy {policy!r}.")
        self._held.update(lambda state: state.with_policy(cast(Policy, policy)))

    def _download_invalid(self, details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> None:
        checked, source = self._held.state.checked, self._held.state.source
        if checked is None or source is None:
            return

        def work(_task: Task) -> None:
            name = f"{Path(source.name).stem} invalid rows.csv"
            self._downloads.make(str(details.get("place")), name, lambda path: write_csv(checked.invalid_rows(), path))

        self._background.start("download", "Preparing the invalid rows", work)
