"""The connection to the store's database: its thread and its transactions, wherever the database is."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from batchkit.core.viewer import EVERYBODY, Viewer
from batchkit.errors import StoreError

__all__ = ["Database", "Home"]

T = TypeVar("T")
P = ParamSpec("P")

#: so often a transaction is tried that others get in the way of
_MOST_TRIES = 8
#: seconds before the second try, at the most; longer before each further one
_PAUSE = 0.01


class Home(Protocol):
    """A SQLite file or a PostgreSQL database, as `Database` uses it: from one thread. Its methods raise `errors`."""

    #: what its driver raises, beside SQLAlchemy's own
    errors: tuple[type[Exception], ...]

    @property
    def label(self) -> str:
        """Where it is, for messages; without a password."""

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, as far as is known."""

    def open(self) -> Engine:
        """The connection, to tables of today's form. Raises StoreError."""

    def check(self, connection: Connection) -> None:
        """Raise StoreError in a transaction that cannot go on: the tables have got another form."""

    def verify(self) -> None:
        """Raise StoreError if what was committed is not where it belongs."""

    def disconnect(self) -> None:
        """Let the connection go; `open` makes a new one to the same database."""

    def close(self) -> None:
        """Let everything go: `open` takes what is there then."""

    def is_harmless(self, error: Exception) -> bool:
        """Whether the connection is as good as before."""

    def is_conflict(self, error: Exception) -> bool:
        """Whether the transaction was undone because of another one, and may be tried again at once."""

    def is_lost(self, error: Exception) -> bool:
        """Whether the connection broke."""

    def is_unwritable(self, error: Exception) -> bool:
        """Whether it was given a text that no database can hold."""

    def explain(self, error: Exception) -> StoreError:
        """The error in plain words."""


class Database:
    """One database, reached from one thread over one connection, so that its transactions queue up in order.

    A write that returns is on the disk. One that raises may have happened all the same. viewer: for whom they all are;
    `ownership` asks for it.
    """

    def __init__(self, home: Home, viewer: Viewer = EVERYBODY) -> None:
        self._home = home
        self._viewer = viewer
        self._errors: tuple[type[Exception], ...] = (SQLAlchemyError, OSError, *home.errors)
        self._caught: tuple[type[Exception], ...] = (*self._errors, ValueError, OverflowError)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batchkit-store")
        self._ended = False
        #: all of the transaction's statements have succeeded
        self._committing = False

    def __repr__(self) -> str:
        return f"<Database {self.label!r}>"

    @property
    def label(self) -> str:
        """Where it is, for messages."""
        return self._home.label

    async def write(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(connection, ...)` in a transaction that is durable when this returns. Raises StoreError.

        Of what others write, `work` sees the newest as soon as it has their batch, or the name they held. It runs again
        where a transaction was undone for the sake of another one.
        """
        return await self._run(lambda connection: work(connection, *args, **kwargs), read=False)

    async def read(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(connection, ...)` over one consistent snapshot. Raises StoreError."""
        return await self._run(lambda connection: work(connection, *args, **kwargs), read=True)

    async def aclose(self) -> None:
        """Let the database go; a later call opens it again, or what is then in its place."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._home.close)

    def shutdown(self) -> None:
        """Let the database go and end the thread; no call may follow, but another of this one."""
        if not self._ended:
            self._ended = True
            self._thread.submit(self._home.close).result()
            self._thread.shutdown()

    async def _run(self, work: Callable[[Connection], T], *, read: bool) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: self._transaction(work, read=read))

    def _transaction(self, work: Callable[[Connection], T], *, read: bool) -> T:
        home, mend, tries = self._home, False, 0
        while True:
            tries += 1
            was_open, self._committing = home.is_open, False
            try:
                return self._attempt(work, read=read, mend=mend)
            except self._caught as error:
                if home.is_unwritable(error) and not mend:
                    mend = True
                    continue
                if not isinstance(error, self._errors):
                    raise StoreError(
                        f"The store {self.label} holds what batchkit did not write: {error}. "
                        "It is damaged. Restore it from a backup, or name another store."
                    ) from error
                if not home.is_harmless(error):
                    home.disconnect()
                # What may have been committed is not done again.
                broke_before = was_open and home.is_lost(error) and (read or not self._committing)
                if tries == _MOST_TRIES or not (broke_before or home.is_conflict(error)):
                    raise home.explain(error) from error
                time.sleep(random.uniform(0, _PAUSE * tries))

    def _attempt(self, work: Callable[[Connection], T], *, read: bool, mend: bool) -> T:
        home = self._home
        engine = home.open()
        options = {"batchkit_read": read, "batchkit_mend": mend, "batchkit_viewer": self._viewer}
        with engine.connect().execution_options(**options) as connection, connection.begin():
            home.check(connection)
            result = work(connection)
            self._committing = True
        # What was written into a file that is no longer there is not recorded.
        home.verify()
        return result
