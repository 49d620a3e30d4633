"""A consistent copy of a store while others write to it. Copying the file would lose what is still in its log."""

from __future__ import annotations

import os
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

from batchkit.errors import StoreError
from batchkit.io.address import Address, label_of

__all__ = ["copy_store"]

#: seconds to wait for another process's transaction
_BUSY_TIMEOUT = 30.0


def copy_store(source: Address, to: Path) -> None:
    """Write a copy of the store `source` to the new file `to` (0600), which is there whole or not at all.

    Raises StoreError if `to` exists, or either cannot be used.
    """
    if not isinstance(source, Path):
        raise StoreError(
            f"The store {label_of(source)} is a PostgreSQL database, which has a tool of its own for this: "
            f"pg_dump --format=custom --file={shlex.quote(str(to))} {shlex.quote(label_of(source))}"
        )
    if not source.exists():
        raise StoreError(f"There is no store {source} to copy.")
    if to.exists():
        raise StoreError(f"{to} exists. Name a new file; a backup overwrites nothing.")
    draft = to.with_name(f".{to.name}.{os.getpid()}.part")
    try:
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            _copy(source, draft)
            # A hard link, not a rename: it fails where somebody has made the file meanwhile.
            os.link(draft, to)
        finally:
            draft.unlink(missing_ok=True)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"The store {source} could not be copied to {to}: {error}.") from error


def _copy(source: Path, to: Path) -> None:
    with (
        closing(sqlite3.connect(source, timeout=_BUSY_TIMEOUT)) as reading,
        closing(sqlite3.connect(to)) as writing,
    ):
        # All pages at once: from one moment, and without holding up whoever writes.
        reading.backup(writing)
        writing.execute("PRAGMA journal_mode=DELETE").close()
        [(said,)] = writing.execute("PRAGMA quick_check(1)").fetchall()
    if said != "ok":
        raise StoreError(f"The store {source} is damaged, and so would be its copy: {said}.")
    with to.open("rb") as file:
        os.fsync(file.fileno())
