"""The queue of wakes: jobs of Procrastinate in the store's database. Nothing else knows how they are kept.

A job says which batch, at which revision, and when; whatever else is to be known is in the store. Importing this
needs the extra `cluster`.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import UTC, timedelta
from typing import Any, TypeVar

import psycopg
from procrastinate import App, PsycopgConnector, sql
from procrastinate.connector import Notify
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.manager import JobManager
from psycopg_pool import AsyncConnectionPool

from batchkit.core.wake import Wake
from batchkit.errors import EngineError

__all__ = ["WAKE", "Wakes", "is_forbidden", "queue_error", "queue_of"]

T = TypeVar("T")
logger = logging.getLogger("batchkit")
# What it says of a server that is gone, several times a second, is for those who ask for it: this says it once.
logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())

#: the name of the task
WAKE = "batchkit.wake"
#: a wake comes so long before its batch is due, to find the worker ready
_LEAD = timedelta(seconds=2)
#: seconds until a server that does not answer is given up, and until a dead network is noticed
_CONNECTION: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
#: seconds to wait for a connection, before a server that is gone is tried again, and until that is told
_WAIT_SECONDS, _RETRY_SECONDS, _TOLD_SECONDS = 6.0, 0.5, 2.0
#: keeps two processes from creating the tables at the same time
_LOCK = int.from_bytes(b"bkitwake", "big")
#: in a worker of the cluster there are two of Procrastinate's; each gives a sign of life every two seconds at the most
_ALIVE = "SELECT count(*) FROM procrastinate_workers WHERE last_heartbeat > now() - interval '10 seconds'"
_PER_WORKER = 2
#: what of Procrastinate's the statements of its installed version call
_NEEDED = sorted(set(re.findall(r"procrastinate_\w+_v\d+(?=\()", " ".join(sql.queries.values()))))
# Not to_regclass: it may remember that there was nothing before another process made it.
_THERE = """
SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'procrastinate_jobs' AND pg_table_is_visible(oid)),
       ARRAY(SELECT name FROM unnest(%s::text[]) AS name
             WHERE NOT EXISTS (SELECT FROM pg_proc WHERE proname = name AND pg_function_is_visible(oid)))
"""


class Wakes:
    """Puts wakes into the queue. Lives on the engine's loop; the connection is made with the first one.

    conninfo: as libpq takes it. patience: seconds for which a server that is gone is tried again.
    """

    def __init__(self, conninfo: str, *, patience: float = 3.0) -> None:
        self._conninfo = conninfo
        self._connector = _PatientConnector(patience)
        self._opening = asyncio.Lock()
        self._pool: AsyncConnectionPool[Any] | None = None
        self._app: App | None = None

    async def defer(self, wake: Wake) -> None:
        """Have some worker with the wake's target attend to its batch. Raises EngineError."""
        app = await self.app()
        when = "now" if wake.at_once else wake.due.astimezone(UTC).isoformat()
        job = app.configure_task(
            WAKE,
            queue=queue_of(wake.target),
            # one such wake at a time is enough
            queueing_lock=f"{WAKE} {wake.batch_id} {wake.revision} {when}",
            schedule_at=None if wake.at_once else wake.due - _LEAD,
        )
        try:
            with suppress(AlreadyEnqueued):
                await job.defer_async(batch_id=wake.batch_id, revision=wake.revision, due=wake.due.isoformat())
        except ConnectorException as error:
            raise queue_error(error) from error

    async def app(self) -> App:
        """Procrastinate's side of the queue, its tables created where they are missing. Raises EngineError."""
        async with self._opening:
            if self._app is None:
                try:
                    await self._open()
                    await self._connector.patiently(self._install)
                except EngineError:
                    # Connections that are left open may keep the loop from ending.
                    await self._let_go()
                    raise
                except (ConnectorException, psycopg.Error) as error:
                    await self._let_go()
                    raise queue_error(error) from error
                self._app = self.another_app()
            return self._app

    async def workers(self) -> int:
        """How many workers of the cluster gave a sign of life lately, whatever their target. Raises EngineError."""
        try:
            async with await psycopg.AsyncConnection.connect(self._conninfo, **_CONNECTION) as connection:
                row = await (await connection.execute(_ALIVE)).fetchone()
        except psycopg.errors.UndefinedTable:
            # Neither a worker nor a batch has been there yet.
            return 0
        except psycopg.Error as error:
            raise queue_error(error) from error
        assert row is not None
        return -(-int(row[0]) // _PER_WORKER)

    @property
    def manager(self) -> JobManager:
        """Procrastinate's jobs."""
        assert self._app is not None
        return self._app.job_manager

    def another_app(self) -> App:
        """The same with tasks of its own."""
        return App(connector=self._connector)

    async def aclose(self) -> None:
        """Let the connection go."""
        self._connector.patience = 0.0
        await self._let_go()

    def hurry(self) -> None:
        """From now on a server that is gone is not waited for any longer."""
        self._connector.patience = min(self._connector.patience, 3.0)

    async def _open(self) -> None:
        self._pool = AsyncConnectionPool(
            self._conninfo,
            kwargs=_CONNECTION | {"application_name": "batchkit wakes"},
            min_size=1,
            max_size=2,
            timeout=_WAIT_SECONDS,
            configure=_autocommit,
            # It gives up soon and begins anew with the next statement, so that a server that is back is found at once.
            reconnect_timeout=1.0,
            open=False,
        )
        await self._pool.open()
        await self._connector.open_async(self._pool)

    async def _install(self) -> None:
        """Create Procrastinate's tables and functions, unless they are there."""
        assert self._pool is not None
        async with self._pool.connection() as connection:
            if await _is_there(connection):
                return
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
                if not await _is_there(connection):
                    await connection.execute(self.another_app().schema_manager.get_schema())

    async def _let_go(self) -> None:
        pool, self._pool, self._app = self._pool, None, None
        if pool is not None:
            self._connector = _PatientConnector(self._connector.patience)
            await pool.close()


def queue_of(target: str) -> str:
    """The queue of the wakes for a target; `target`: its identity. One that has another target leaves them alone."""
    return f"batchkit-{hashlib.sha256(target.encode()).hexdigest()[:16]}"


class _PatientConnector(PsycopgConnector):
    """Tries again for some seconds where the server is gone, as it is while it restarts."""

    def __init__(self, patience: float) -> None:
        super().__init__()
        self.patience = patience
        #: that the server is gone was told
        self._told = False

    async def patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` returns in the end. What it does may be done twice."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            try:
                done = await work()
                self._told = False
                return done
            except (ConnectorException, psycopg.OperationalError) as error:
                gone = isinstance(error, psycopg.OperationalError) or isinstance(
                    error.__cause__, psycopg.OperationalError
                )
                seconds = loop.time() - began
                if not gone or seconds >= self.patience:
                    raise
                if seconds >= _TOLD_SECONDS and not self._told:
                    self._told = True
                    logger.warning("%s It is tried again.", queue_error(error))
            await asyncio.sleep(_RETRY_SECONDS)

    async def execute_query_async(self, query: Any, **arguments: Any) -> None:
        execute = super().execute_query_async
        await self.patiently(lambda: execute(query, **arguments))

    async def execute_query_one_async(self, query: Any, **arguments: Any) -> dict[str, Any]:
        execute = super().execute_query_one_async
        return await self.patiently(lambda: execute(query, **arguments))

    async def execute_query_all_async(self, query: Any, **arguments: Any) -> list[dict[str, Any]]:
        execute = super().execute_query_all_async
        return await self.patiently(lambda: execute(query, **arguments))

    async def listen_notify(self, on_notification: Notify, channels: Iterable[str]) -> None:
        # It listens for ever, so that patience would be measured from the wrong moment. Polling goes on meanwhile.
        while True:
            with suppress(ConnectorException):
                await super().listen_notify(on_notification, channels)
            await asyncio.sleep(_RETRY_SECONDS)


async def _autocommit(connection: psycopg.AsyncConnection[Any]) -> None:
    await connection.set_autocommit(True)


async def _is_there(connection: psycopg.AsyncConnection[Any]) -> bool:
    row = await (await connection.execute(_THERE, [_NEEDED])).fetchone()
    assert row is not None
    there, missing = row
    if there and missing:
        raise EngineError(
            f"The database's tables of Procrastinate are of another version than the one installed here: {missing[0]} "
            "is missing. Bring them up to date as its documentation says (`procrastinate schema --migrations-path` "
            "names the scripts), or install that version here."
        )
    return bool(there)


def is_forbidden(error: BaseException) -> bool:
    """Whether this user may not do that in the database: it will not be otherwise a moment later."""
    return isinstance(_cause(error), psycopg.errors.InsufficientPrivilege)


def queue_error(error: BaseException) -> EngineError:
    """What the queue failed with, in plain words, with what is to be done."""
    cause = _cause(error)
    said = " ".join(str(cause).split()).rstrip(".") or type(cause).__name__
    if is_forbidden(error):
        return EngineError(
            f"The cluster's queue cannot be used: {said}. Whoever may create tables in the database starts "
            "`batchkit worker --cluster` once; others need the right to use the tables named procrastinate_…."
        )
    return EngineError(
        f"The cluster's queue cannot be used: {said}. See whether the store's PostgreSQL server runs and can be "
        "reached."
    )


def _cause(error: BaseException) -> BaseException:
    return error.__cause__ if isinstance(error, ConnectorException) and error.__cause__ else error
