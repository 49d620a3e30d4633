"""Files kept beside a store for one of its batches: they go when the batch is deleted."""

from __future__ import annotations

import shutil
from pathlib import Path

__all__ = ["kept_folder", "remove_kept"]


def kept_folder(store: Path, batch_id: str) -> Path:
    """Where the files of that batch are, if there are any."""
    return store.parent / "uploads" / batch_id


def remove_kept(store: Path, batch_id: str) -> None:
    """Remove them. One that cannot be removed stays: the batch is gone all the same."""
    shutil.rmtree(kept_folder(store, batch_id), ignore_errors=True)
