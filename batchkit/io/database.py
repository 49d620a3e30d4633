"""The connection to the store's database: its thread, its transactions, its errors in plain words."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from batchkit.errors import StoreError
from batchkit.io.migrations import is_current, migrate
from batchkit.io.store_files import MOUNTS, StoreFiles

__all__ = ["Database"]

T = TypeVar("T")
P = ParamSpec("P")

_PERMISSIONS = "The file cannot be written. Check its permissions and its folder's, or name another store."
_FULL = "The disk is full. Free some space; what was recorded so far is safe."
_DAMAGED = "The file is damaged. Restore it from a backup, or name another store."
_ADVICE = {
    sqlite3.SQLITE_BUSY: "Another process holds it. batchkit tries again; if it stays so, find who has the file open.",
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _PERMISSIONS,
    sqlite3.SQLITE_CANTOPEN: _PERMISSIONS,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: "The file is not a batchkit store. Name another one.",
    sqlite3.SQLITE_IOERR: "Check the disk and your quota on it; batchkit tries again.",
}
#: how the driver says that a text is none
_NO_TEXT = "Could not decode to UTF-8"
#: after these the connection is as good as before; after any other error nobody knows, and it is opened anew
_HARMLESS = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL})


class Database:
    """One SQLite file, reached from one thread, so that its transactions queue up in order.

    A write is one BEGIN IMMEDIATE … COMMIT with synchronous=FULL: when it returns, it is on the disk. One that
    raises may have happened all the same.
    busy_timeout: seconds to wait for another process's transaction. mounts: the list of mounted file systems.
    """

    def __init__(self, path: Path, *, busy_timeout: float = 5.0, mounts: Path = MOUNTS) -> None:
        self.path = path
        self._busy_timeout = busy_timeout
        self._files = StoreFiles(path, mounts)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batchkit-store")
        self._engine: Engine | None = None
        #: SQLite's count of changes to the tables' form
        self._form: int | None = None
        self._ended = False

    def __repr__(self) -> str:
        return f"<Database {str(self.path)!r}>"

    async def write(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(connection, ...)` in a transaction that is durable when this returns. Raises StoreError."""
        return await self._run(lambda connection: work(connection, *args, **kwargs), read=False)

    async def read(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(connection, ...)` over one consistent snapshot. Raises StoreError."""
        return await self._run(lambda connection: work(connection, *args, **kwargs), read=True)

    async def aclose(self) -> None:
        """Close the file; a later call opens it again, or what is then in its place."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)

    def shutdown(self) -> None:
        """Close the file and end the thread; no call may follow, but another of this one."""
        if not self._ended:
            self._ended = True
            self._thread.submit(self._close).result()
            self._thread.shutdown()

    async def _run(self, work: Callable[[Connection], T], *, read: bool) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: self._transaction(work, read=read))

    def _transaction(self, work: Callable[[Connection], T], *, read: bool) -> T:
        try:
            try:
                return self._attempt(work, read=read)
            except UnicodeEncodeError:
                return self._attempt(work, read=read, mend=True)
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            if _code(error) not in _HARMLESS:
                self._disconnect()
            raise self._explained(error) from error
        except (ValueError, OverflowError) as error:
            raise StoreError(f"The store {self.path} holds what batchkit did not write: {error}. {_DAMAGED}") from error

    def _attempt(self, work: Callable[[Connection], T], *, read: bool, mend: bool = False) -> T:
        engine = self._open()
        options = {"batchkit_read": read, "batchkit_mend": mend}
        with engine.connect().execution_options(**options) as connection, connection.begin():
            if not read:
                self._check_form(connection)
            result = work(connection)
        # What was written into a file that is no longer there is not recorded.
        self._check_files()
        return result

    def _open(self) -> Engine:
        if self._files.known:
            self._check_files()
        if self._engine is not None:
            return self._engine
        if not self._files.known:
            self._files.create()
        self._files.check_writable()
        engine = create_engine(
            URL.create("sqlite+pysqlite", database=str(self.path)),
            poolclass=StaticPool,
            connect_args={"isolation_level": None, "timeout": self._busy_timeout, "check_same_thread": False},
        )
        event.listen(engine, "connect", _configure)
        event.listen(engine, "begin", _begin)
        event.listen(engine, "before_cursor_execute", _mend, retval=True)
        try:
            self._form = self._migrated(engine)
            self._files.remember()
        except BaseException:
            engine.dispose()
            raise
        self._engine = engine
        return engine

    def _migrated(self, engine: Engine) -> int:
        """Bring the tables to this version's form, and return its count."""
        try:
            with engine.connect().execution_options(batchkit_read=True) as connection, connection.begin():
                current = is_current(connection)
                form = _form(connection)
            if not current:
                with engine.connect() as connection, connection.begin():
                    migrate(connection)
                    form = _form(connection)
        except StoreError as error:
            raise StoreError(f"{self.path}: {error}") from error
        return form

    def _check_form(self, connection: Connection) -> None:
        """Raise StoreError if another version of batchkit has changed the tables since they were opened."""
        form = _form(connection)
        if form != self._form:
            if not is_current(connection):
                raise StoreError(
                    f"The store {self.path} was brought to the form of another version of batchkit while it was in "
                    "use. Nothing more is sent. Install that version here, too, and start this process or kernel anew."
                )
            self._form = form

    def _check_files(self) -> None:
        """Raise StoreError unless the files are those that were opened."""
        if self._files.gone:
            # SQLite goes on writing into a file that was deleted under it, and all of it is lost.
            self._let_go()
            raise StoreError(
                f"The store {self.path} was deleted or replaced while it was in use. Nothing more is sent. "
                "Put the file back, or close this workspace and make a new one."
            )
        if self._engine is not None and self._files.stripped:
            self._let_go()
            raise StoreError(
                f"The file {self.path.name}-wal or -shm beside the store {self.path} was deleted while it was in use. "
                "What was recorded is safe, and batchkit opens the store anew. Leave these files alone."
            )

    def _let_go(self) -> None:
        """Close files that were moved or deleted, with all that was recorded in the database itself.

        Of a log that still lies there nothing is left: SQLite would take it for that of the next database at the path.
        """
        # What another log holds is described by the same index, and would be taken for ours.
        if self._engine is not None and not self._files.log_replaced:
            borrowed = self._engine.raw_connection()
            with closing(borrowed), suppress(sqlite3.Error):
                borrowed.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._disconnect()

    def _disconnect(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _close(self) -> None:
        self._disconnect()
        self._files.forget()

    def _explained(self, error: Exception) -> StoreError:
        cause: object = getattr(error, "orig", None) or error
        code = _code(error)
        if isinstance(cause, OSError):
            advice = _FULL if cause.errno == errno.ENOSPC else _PERMISSIONS
        elif code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and self._files.full:
            advice = _FULL
        else:
            advice = _ADVICE.get(code or 0, "")
        if str(cause).startswith(_NO_TEXT):
            # the bytes themselves help nobody
            cause, advice = _NO_TEXT, _DAMAGED
        return StoreError(f"The store {self.path} failed: {cause}. {advice}".rstrip())


def _code(error: BaseException) -> int | None:
    """SQLite's code for an error, None for another one's."""
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", None)
    # the bits above say more than is asked here
    return None if code is None else int(code) & 0xFF


def _form(connection: Connection) -> int:
    return int(connection.exec_driver_sql("PRAGMA schema_version").scalar_one())


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    # A deferred transaction that turns into a write fails at once, whatever the busy timeout says.
    read = connection.get_execution_options().get("batchkit_read", False)
    connection.exec_driver_sql("BEGIN" if read else "BEGIN IMMEDIATE")


def _mend(
    connection: Connection, _cursor: object, statement: str, parameters: Any, _context: object, executemany: bool
) -> tuple[str, Any]:
    """Replace what no database can hold: half a character, as a server may send one in its JSON."""
    if connection.get_execution_options().get("batchkit_mend", False):
        rows = parameters if executemany else [parameters]
        whole = [tuple(_whole(value) for value in row) for row in rows]
        parameters = whole if executemany else whole[0]
    return statement, parameters


def _whole(value: object) -> object:
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(value, str) else value
