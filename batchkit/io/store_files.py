"""The files of a SQLite store: where they may lie, how they are made, and whether they are still the same ones."""

from __future__ import annotations

import errno
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from threading import Lock

from batchkit.errors import StoreError

__all__ = ["MOUNTS", "StoreFiles", "is_private"]

#: what is mounted where, as the kernel tells it
MOUNTS = Path("/proc/self/mounts")
_NETWORK_FILE_SYSTEMS = frozenset(
    {"9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2"}
    | {"orangefs", "smb3", "smbfs"}
    | {f"fuse.{name}" for name in ("ceph-fuse", "gcsfuse", "glusterfs", "rclone", "s3fs", "sshfs")}
)
#: less than this and a write may find no room, bytes
_NEARLY_FULL = 1 << 16
#: what a file's mode lets anybody but its owner do
_OTHERS = 0o077
_LOG, _INDEX = "-wal", "-shm"
#: held from making a file to closing it, so that SQLite cannot have it open meanwhile
_creating = Lock()


def is_private(path: Path) -> bool:
    """Whether only the operating system's user can open the store there, as one that is made there would be."""
    if not hasattr(os, "getuid"):
        return True
    try:
        file = path.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return file.st_uid == os.getuid() and not file.st_mode & _OTHERS


class StoreFiles:
    """One store's database and the two files SQLite keeps beside it while it is open."""

    def __init__(self, path: Path, mounts: Path) -> None:
        self._path = path
        self._mounts = mounts
        #: file: inode, of those in use
        self._inodes: dict[Path, int] = {}

    def create(self) -> None:
        """Make the folder (0700) and the file (0600) where they are missing.

        Raises OSError, and StoreError on a network file system, where SQLite's WAL does not work.
        """
        path = Path(os.path.realpath(self._path))
        self._refuse_network_file_system(path.parent)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Only a file that is new is opened here: to close one drops every lock that SQLite holds on it in this process.
        with _creating, suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))

    def check_writable(self) -> None:
        """Raise PermissionError where the file cannot be written.

        SQLite would open it for reading, and leave files beside it that stay read-only when it is writable again.
        """
        if not os.access(self._path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self._path))

    def remember(self) -> None:
        """These are the files, as they are now."""
        real = Path(os.path.realpath(self._path))
        beside = [real.with_name(real.name + ending) for ending in (_LOG, _INDEX)]
        self._inodes = {path: path.stat().st_ino for path in (self._path, *beside) if path.exists()}

    def forget(self) -> None:
        """Whatever is at the path when it is opened next is the store."""
        self._inodes = {}

    @property
    def known(self) -> bool:
        """Whether there are files in use."""
        return bool(self._inodes)

    @property
    def gone(self) -> bool:
        """Whether the database in use was deleted or replaced."""
        return not self._is_same(self._path)

    @property
    def stripped(self) -> bool:
        """Whether a file beside the database in use was deleted or replaced."""
        return not all(map(self._is_same, self._inodes))

    @property
    def log_replaced(self) -> bool:
        """Whether another write-ahead log lies where the one in use was."""
        return any(path.name.endswith(_LOG) and path.exists() and not self._is_same(path) for path in self._inodes)

    @property
    def full(self) -> bool:
        """Whether the disk has no room left."""
        try:
            return shutil.disk_usage(self._path.parent).free < _NEARLY_FULL
        except OSError:
            return False

    def _is_same(self, path: Path) -> bool:
        try:
            return path.stat().st_ino == self._inodes[path]
        except OSError:
            return False

    def _refuse_network_file_system(self, folder: Path) -> None:
        try:
            mounts = self._mounts.read_text("utf-8", "surrogateescape").splitlines()
        except OSError:
            return
        kind = _file_system(str(folder), mounts)
        if kind in _NETWORK_FILE_SYSTEMS:
            raise StoreError(
                f"The store folder {folder} is on a network file system ({kind}), where SQLite can lose data. "
                "Name a store on a local disk, for example with BATCHKIT_STORE."
            )


def _file_system(folder: str, mounts: list[str]) -> str:
    """The kind of the file system that an absolute path lies on, empty if none is listed for it."""
    kind, longest = "", -1
    for line in mounts:
        _, point, name, *_ = line.split(" ")
        point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), point)
        inside = folder == point or folder.startswith(point.rstrip("/") + "/")
        # the later of two at the same place lies on top
        if inside and len(point) >= longest:
            kind, longest = name, len(point)
    return kind
