"""Files kept beside a store for one of its batches: they go when the batch is deleted."""

from __future__ import annotations

import shutil
from pathlib import Path

from batchkit.io.address import Address, data_folder

__all__ = ["kept_folder", "remove_kept"]


def kept_folder(store: Address, batch_id: str) -> Path:
    """Where the files of that batch are, if there are any: beside a SQLite file, else in this user's data folder."""
    return (store.parent if isinstance(store, Path) else data_folder()) / "uploads" / batch_id


def remove_kept(store: Address, batch_id: str) -> None:
    """Remove them. One that cannot be removed stays: the batch is gone all the same."""
    shutil.rmtree(kept_folder(store, batch_id), ignore_errors=True)
