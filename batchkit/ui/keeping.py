"""The cell that makes a batch again, and the file it reads: what came by upload is kept beside the store for it."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from batchkit.core.config import BatchConfig
from batchkit.core.profile import profile_refs
from batchkit.core.table import Table
from batchkit.errors import ExportError
from batchkit.io.kept import kept_folder
from batchkit.ui.as_python import Recipe, as_python
from batchkit.ui.downloads import file_name
from batchkit.ui.state import WizardState

if TYPE_CHECKING:
    from batchkit.workspace import Workspace

__all__ = ["kept_recipe"]

#: rows written together
_PIECE = 10_000


def kept_recipe(
    workspace: Workspace, state: WizardState, config: BatchConfig, batch_id: str, *, is_name_unique: bool
) -> str:
    """The cell, after its file was put where it stays. Raises ExportError where it cannot be kept."""
    assert state.agent is not None
    assert state.source is not None
    assert state.mapping is not None
    refs = profile_refs(state.profiles, state.pools)
    recipe = Recipe(
        target=workspace.target.info,
        is_default=workspace.has_default_target,
        # What the environment names here, it need not name where the cell is run.
        store="" if workspace.has_default_store and not os.environ.get("BATCHKIT_STORE") else workspace.store.label,
        is_demo=workspace.is_demo,
        agent=state.agent,
        is_name_unique=is_name_unique,
        source=state.source,
        path=_kept(kept_folder(workspace.store_address, batch_id), state),
        mapping=state.mapping,
        policy=state.policy,
        config=config,
        ambiguous=[name for name, ref in refs.items() if ref is None],
    )
    return as_python(recipe)


def _kept(folder: Path, state: WizardState) -> str:
    source, table = state.source, state.table
    assert source is not None
    assert table is not None
    if source.kind == "path":
        return source.path
    name = file_name(source.name)
    path = folder / (name if name.lower().endswith((".csv", ".tsv", ".txt")) else f"{name}.csv")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            if source.kind == "upload":
                with open(source.path, "rb") as uploaded:
                    shutil.copyfileobj(uploaded, file)
        if source.kind == "frame":
            _write(table, path)
    except OSError as error:
        raise ExportError(f"The file could not be kept at {str(path)!r}: {error.strerror or error}.") from error
    return str(path.absolute())


def _write(table: Table, path: Path) -> None:
    """The table's cells exactly as they are; every cell in quotes, so that an empty one in a line of its own stays."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(table.columns)
        for first in range(0, len(table), _PIECE):
            columns = table.data.slice(first, _PIECE).to_pydict()
            writer.writerows(zip(*columns.values(), strict=True))
