"""A lock between processes, held as long as its holder lives: the operating system lets go of it after a kill."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from weakref import WeakSet

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["FileLock"]


class FileLock:
    """An exclusive lock on a file. Two of them on one file exclude each other in the same process, too."""

    def __init__(self, path: Path) -> None:
        """path: created 0600 if missing, never removed."""
        self._path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def acquire(self) -> bool:
        """Take the lock if it is free, and say whether it is held now. Raises OSError if the file cannot be opened."""
        if self._descriptor is None:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            if _try_lock(descriptor):
                self._descriptor = descriptor
                _held.add(self)
            else:
                os.close(descriptor)
        return self.held

    def release(self) -> None:
        """Let go of the lock if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            _held.discard(self)


_held: WeakSet[FileLock] = WeakSet()


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _release_all() -> None:
    for lock in list(_held):
        lock.release()


if hasattr(os, "register_at_fork"):
    # a forked child would otherwise hold the lock after its parent is gone
    os.register_at_fork(after_in_child=_release_all)
