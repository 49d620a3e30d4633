"""A store in a PostgreSQL database: its connection, its transactions, and its errors in plain words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import StaticPool

from batchkit.errors import ConfigError, StoreError
from batchkit.io.address import conninfo_of, label_of
from batchkit.io.migrations import SCHEMA_VERSION, is_current, migrate, other_form
from batchkit.io.postgres_advice import advice_by_code, advice_on_no_answer, advice_on_turning_away
from batchkit.io.transaction import is_read, whole

__all__ = ["PostgresDatabase"]

#: how the connection behaves where the URL does not say otherwise: seconds until a server that does not answer is given
#: up, and until a dead network is noticed
_CONNECTION: Mapping[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "fallback_application_name": "batchkit",
}
#: seconds; the driver takes no fewer
_SHORTEST_TIMEOUT = "2"
#: a process that stands still in the middle of a transaction holds others up no longer than this
_SESSION = """
SET lock_timeout = {lock_timeout:d};
SET idle_in_transaction_session_timeout = 15000;
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""
_CLOCK = "extract(epoch FROM clock_timestamp())::float8"
#: one round trip each; that of a write waits for a change of the tables' form that is under way, by the lock that
#: reading a table takes before it looks, and that is kept to the end
_BEGIN_SETUP = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_BEGIN_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_BEGIN_WRITE = f"{_BEGIN_SETUP}; SELECT {_CLOCK}, (SELECT version FROM schema_version)"

#: undone because of another transaction: they would have gone on for ever, or wanted to write the same row first
_CONFLICTS = frozenset({"40001", "40P01", "23505"})
#: after these the connection is as good as before
_LOCKED = "55P03"
_HARMLESS = _CONFLICTS | {"53100", _LOCKED, "42501", "25006"}
#: how the driver begins when no connection came about, and what stands before what the server says itself
_NO_CONNECTION, _SAID_BY_SERVER = "connection failed: ", ":  "
#: that there is no room for us comes without a code, too
_CROWDED = ("too many", "remaining connection slots")
#: what the driver asks whoever reads it
_QUESTION = re.compile(r" Is the server running [^?]*\?")
_BROKEN = ("08", "57P", "25P03")


class PostgresDatabase:
    """Implements `database.Home` over one connection to a PostgreSQL database.

    A read is one REPEATABLE READ transaction. A write is one of READ COMMITTED: who has got a lock sees what its
    former holder wrote. lock_timeout: seconds to wait for another process's transaction.
    """

    def __init__(self, url: URL, *, lock_timeout: float = 5.0) -> None:
        self._url = url
        self._lock_timeout = lock_timeout
        self._engine: Engine | None = None
        self.errors: tuple[type[Exception], ...] = (_driver().Error,)

    @property
    def label(self) -> str:
        """The server and the database, without a password."""
        return label_of(self._url)

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._engine is not None

    def open(self) -> Engine:
        """The connection, to tables of today's form. Raises StoreError."""
        if self._engine is not None:
            return self._engine
        given = {name: value for name, value in _CONNECTION.items() if name not in self._url.query}
        engine = create_engine(self._url, poolclass=StaticPool, connect_args={**given, "autocommit": True})
        event.listen(engine, "connect", self._configure)
        event.listen(engine, "begin", _begin)
        event.listen(engine, "before_cursor_execute", _mend, retval=True)
        try:
            self._migrate(engine)
        except BaseException:
            engine.dispose()
            raise
        self._engine = engine
        return engine

    def check(self, connection: Connection) -> None:
        """Raise StoreError if another version of batchkit has changed the tables since they were opened."""
        if connection.info.get("batchkit_form") != SCHEMA_VERSION:
            raise other_form(self.label)

    def verify(self) -> None:
        """Nothing to verify: the server answers for what it has committed."""

    def disconnect(self) -> None:
        """Let the connection go."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def close(self) -> None:
        """Let the connection go."""
        self.disconnect()

    def is_harmless(self, error: Exception) -> bool:
        """Whether the connection is as good as before."""
        return _code(error) in _HARMLESS

    def is_conflict(self, error: Exception) -> bool:
        """Whether the transaction was undone because of another one."""
        return _code(error) in _CONFLICTS

    def is_lost(self, error: Exception) -> bool:
        """Whether the connection broke, or the server is not there at the moment."""
        code = _code(error)
        if code:
            return code.startswith(_BROKEN)
        if not isinstance(_cause(error), _driver().OperationalError):
            return False
        return not _is_not_let_in(error) or _is_crowded(error) or self._is_on_its_way()

    def is_unwritable(self, error: Exception) -> bool:
        """Whether it was given half a character, or NUL."""
        unsent = isinstance(_cause(error), _driver().DataError) and not _code(error)
        return isinstance(error, UnicodeEncodeError) or (unsent and "NUL" in str(_cause(error)))

    def explain(self, error: Exception) -> StoreError:
        """The error in plain words, with what is to be done."""
        _forget_frames(error)
        cause, code = _cause(error), _code(error)
        said = _QUESTION.sub("", " ".join(str(cause).split())).rstrip(".")
        if self._url.password:
            # The driver does not show it, and neither does whatever stands between it and the server.
            said = said.replace(str(self._url.password), "***")
        crowded, lost = _is_crowded(error), self.is_lost(error)
        if code:
            advice = advice_by_code(code)
        elif lost and not crowded:
            advice = advice_on_no_answer(said)
        elif crowded or _is_not_let_in(error):
            advice = advice_on_turning_away(said, crowded=crowded, asks_password=_asks_password(error))
        else:
            advice = ""
        failed = StoreError(f"The store {self.label} failed: {said}. {advice}".rstrip())
        failed.passing, failed.busy = lost, code == _LOCKED
        return failed

    def _is_on_its_way(self) -> bool:
        """Whether the server starts, stops, recovers, or lets us in by now.

        It says so in its own language, but this asks for its code.
        """
        # Nothing else of this process runs meanwhile; the server has just answered.
        address = conninfo_of(self._url.update_query_dict({"connect_timeout": _SHORTEST_TIMEOUT})).encode()
        pq = _driver().pq
        state = pq.PGconn.ping(address)
        if state != pq.Ping.OK:
            return state in (pq.Ping.REJECT, pq.Ping.NO_RESPONSE)
        again = pq.PGconn.connect(address)
        try:
            return bool(again.status == pq.ConnStatus.OK)
        finally:
            again.finish()

    def _configure(self, connection: Any, _record: object) -> None:
        connection.execute(_SESSION.format(lock_timeout=int(self._lock_timeout * 1000))).close()

    def _migrate(self, engine: Engine) -> None:
        try:
            with engine.connect().execution_options(batchkit_setup=True) as connection:
                with connection.begin():
                    current = is_current(connection)
                if not current:
                    with connection.begin():
                        migrate(connection)
        except StoreError as error:
            raise StoreError(f"{self.label}: {error}") from error


def _driver() -> Any:
    """psycopg. Raises ConfigError where it is missing."""
    try:
        return import_module("psycopg")
    except ImportError as error:
        raise ConfigError(
            f"A store in PostgreSQL needs psycopg, which cannot be loaded ({str(error).splitlines()[0]}): "
            "pip install 'batchkit[cluster]'."
        ) from error


def _forget_frames(error: BaseException | None) -> None:
    """Keep what led to the error to ourselves: the driver's frames hold the password, and some tracebacks show them."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _cause(error: Exception) -> BaseException:
    """What the driver raised."""
    return getattr(error, "orig", None) or error


def _code(error: Exception) -> str:
    """PostgreSQL's code for an error, empty where the server did not say."""
    return getattr(_cause(error), "sqlstate", None) or ""


def _is_not_let_in(error: Exception) -> bool:
    """Whether the server is there and does not let us in, now or for good. The driver has no code for that."""
    said = str(_cause(error))
    return not _code(error) and _NO_CONNECTION in said and (_SAID_BY_SERVER in said or _asks_password(error))


def _asks_password(error: Exception) -> bool:
    """Whether the server asks for a password, and got none."""
    return bool(getattr(getattr(_cause(error), "pgconn", None), "needs_password", False))


def _is_crowded(error: Exception) -> bool:
    """Whether the server has no connection to give."""
    said = str(_cause(error))
    return _is_not_let_in(error) and any(word in said for word in _CROWDED)


def _begin(connection: Connection) -> None:
    """Begin as the kind of the transaction asks; with a write come the server's clock and the form of the tables."""
    driver: Any = connection.connection.driver_connection
    setup = connection.get_execution_options().get("batchkit_setup", False)
    # Who only reads asks for the clock where it matters.
    connection.info.update(batchkit_seconds=None, batchkit_form=SCHEMA_VERSION)
    try:
        begin = _BEGIN_SETUP if setup else _BEGIN_READ if is_read(connection) else _BEGIN_WRITE
        cursor = driver.execute(begin, prepare=False)
        while cursor.nextset():
            pass
        if not setup and not is_read(connection):
            connection.info["batchkit_seconds"], connection.info["batchkit_form"] = cursor.fetchone()
    except _driver().Error as error:
        # SQLAlchemy does not know of this statement, and would have the broken connection roll back.
        connection.invalidate(error)
        raise


def _mend(
    connection: Connection, _cursor: object, statement: str, parameters: Any, _context: object, executemany: bool
) -> tuple[str, Any]:
    if connection.get_execution_options().get("batchkit_mend", False):
        rows = parameters if executemany else [parameters]
        mended = [{name: _whole(value) for name, value in row.items()} if row else row for row in rows]
        parameters = mended if executemany else mended[0]
    return statement, parameters


def _whole(value: object) -> object:
    return [whole(each, nul=False) for each in value] if isinstance(value, list) else whole(value, nul=False)
