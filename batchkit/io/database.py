"""The connection to the store's database: its thread, its transactions, its errors in plain words."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from batchkit.errors import StoreError
from batchkit.io import schema

__all__ = ["Database"]

T = TypeVar("T")
P = ParamSpec("P")

#: seconds SQLite waits for another process's transaction
_BUSY_TIMEOUT = 5.0
_NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "fuse.sshfs", "ncpfs", "ceph"})
_ADVICE = {
    "locked": "Another process holds it. batchkit tries again; if it stays so, find who has the file open.",
    "full": "The disk is full. Free some space; what was recorded so far is safe.",
    "readonly": "The file cannot be written. Check its permissions, or name another store.",
    "unable to open": "Check that the folder exists and may be written, or name another store.",
    "malformed": "The file is damaged. Restore it from a backup, or name another store.",
    "not a database": "The file is not a batchkit store. Name another one.",
    "disk i/o": "The disk reports an error, or the file was moved while open.",
}


class Database:
    """One SQLite file, reached from one thread, so that its transactions queue up in order.

    A write is one BEGIN IMMEDIATE … COMMIT with synchronous=FULL: when it returns, it is on the disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batchkit-store")
        self._engine: Engine | None = None
        self._inode: int | None = None
        self._ended = False

    def __repr__(self) -> str:
        return f"<Database {str(self.path)!r}>"

    async def write(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(connection, ...)` in a transaction that is durable when this returns. Raises StoreError."""
        return await self._run(lambda: self._transaction(work, args, kwargs, read=False))

    async def read(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(connection, ...)` over one consistent snapshot. Raises StoreError."""
        return await self._run(lambda: self._transaction(work, args, kwargs, read=True))

    async def aclose(self) -> None:
        """Close the file; a later call opens it again."""
        await self._run(self._dispose)

    def shutdown(self) -> None:
        """Close the file and end the thread; no call may follow, but another of this one."""
        if not self._ended:
            self._ended = True
            self._thread.submit(self._dispose).result()
            self._thread.shutdown()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _transaction(self, work: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], *, read: bool) -> T:
        try:
            engine = self._open()
            with engine.connect().execution_options(batchkit_read=read) as connection, connection.begin():
                return work(connection, *args, **kwargs)
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise self._explained(error) from error

    def _open(self) -> Engine:
        if self._engine is not None:
            self._check_still_there()
            return self._engine
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _refuse_network_file_system(self.path.parent)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        engine = create_engine(
            f"sqlite+pysqlite:///{self.path}",
            poolclass=StaticPool,
            connect_args={"isolation_level": None, "timeout": _BUSY_TIMEOUT, "check_same_thread": False},
        )
        event.listen(engine, "connect", _configure)
        event.listen(engine, "begin", _begin)
        try:
            with engine.connect().execution_options(batchkit_read=True) as connection, connection.begin():
                current = schema.is_current(connection)
            if not current:
                with engine.connect() as connection, connection.begin():
                    schema.migrate(connection)
        except BaseException:
            engine.dispose()
            raise
        self._inode = self.path.stat().st_ino
        self._engine = engine
        return engine

    def _check_still_there(self) -> None:
        # SQLite goes on writing into a file that was deleted under it, and all of it is lost.
        try:
            same = self.path.stat().st_ino == self._inode
        except FileNotFoundError:
            same = False
        if not same:
            raise StoreError(
                f"The store {self.path} was deleted or replaced while it was in use. Nothing more is sent. "
                "Put the file back, or start a new workspace."
            )

    def _dispose(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _explained(self, error: Exception) -> StoreError:
        cause = str(getattr(error, "orig", None) or error)
        advice = next((text for sign, text in _ADVICE.items() if sign in cause.lower()), "")
        return StoreError(f"The store {self.path} failed: {cause}. {advice}".rstrip())


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    # A deferred transaction that turns into a write fails at once, whatever the busy timeout says.
    read = connection.get_execution_options().get("batchkit_read", False)
    connection.exec_driver_sql("BEGIN" if read else "BEGIN IMMEDIATE")


def _refuse_network_file_system(folder: Path) -> None:
    """Raise StoreError where `folder` lies on a network file system; SQLite's WAL does not work there."""
    try:
        mounts = Path("/proc/self/mounts").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return
    kind, longest = "", -1
    target = str(folder.resolve())
    for line in mounts:
        _, point, name, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= longest:
            kind, longest = name, len(point)
    if kind in _NETWORK_FILE_SYSTEMS:
        raise StoreError(
            f"The store folder {folder} is on a network file system ({kind}), where SQLite can lose data. "
            "Name a store on a local disk, for example with BATCHKIT_STORE."
        )
