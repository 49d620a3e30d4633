"""A store in a SQLite file: opening it, its transactions, and its errors in plain words."""

from __future__ import annotations

import errno
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import StaticPool

from batchkit.errors import StoreError
from batchkit.io.migrations import is_current, migrate, other_form
from batchkit.io.store_files import MOUNTS, StoreFiles
from batchkit.io.text_search import add_functions
from batchkit.io.transaction import is_read, whole

__all__ = ["SqliteFile"]

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


class SqliteFile:
    """Implements `database.Home` over one SQLite file.

    A write is one BEGIN IMMEDIATE … COMMIT with synchronous=FULL: when it returns, it is on the disk.
    busy_timeout: seconds to wait for another process's transaction. mounts: the list of mounted file systems.
    """

    errors: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self, path: Path, *, busy_timeout: float = 5.0, mounts: Path = MOUNTS) -> None:
        self.path = path.absolute()
        self._busy_timeout = busy_timeout
        self._files = StoreFiles(self.path, mounts)
        self._engine: Engine | None = None
        #: SQLite's count of changes to the tables' form
        self._form: int | None = None

    @property
    def label(self) -> str:
        """The file's path."""
        return str(self.path)

    @property
    def is_open(self) -> bool:
        """Whether the file is open."""
        return self._engine is not None

    def open(self) -> Engine:
        """The file, opened or made, with tables of today's form. Raises StoreError."""
        if self._files.known:
            self.verify()
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

    def check(self, connection: Connection) -> None:
        """Raise StoreError if another version of batchkit has changed the tables since they were opened."""
        if is_read(connection):
            return
        form = _form(connection)
        if form != self._form:
            if not is_current(connection):
                raise other_form(self.label)
            self._form = form

    def verify(self) -> None:
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
        self.disconnect()

    def disconnect(self) -> None:
        """Close the file; the same one is opened again."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def close(self) -> None:
        """Close the file; what is then in its place is opened."""
        self.disconnect()
        self._files.forget()

    def is_harmless(self, error: Exception) -> bool:
        """Whether the connection is as good as before."""
        return _code(error) in _HARMLESS

    def is_conflict(self, error: Exception) -> bool:
        """Never: a transaction that writes has the file from its beginning."""
        return False

    def is_lost(self, error: Exception) -> bool:
        """Never: there is no connection that could break."""
        return False

    def is_unwritable(self, error: Exception) -> bool:
        """Whether it was given half a character."""
        return isinstance(error, UnicodeEncodeError)

    def explain(self, error: Exception) -> StoreError:
        """The error in plain words, with what is to be done."""
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
    add_functions(connection)


def _begin(connection: Connection) -> None:
    # A deferred transaction that turns into a write fails at once, whatever the busy timeout says.
    connection.exec_driver_sql("BEGIN" if is_read(connection) else "BEGIN IMMEDIATE")


def _mend(
    connection: Connection, _cursor: object, statement: str, parameters: Any, _context: object, executemany: bool
) -> tuple[str, Any]:
    if connection.get_execution_options().get("batchkit_mend", False):
        rows = parameters if executemany else [parameters]
        mended = [tuple(whole(value) for value in row) for row in rows]
        parameters = mended if executemany else mended[0]
    return statement, parameters
