"""A PostgreSQL server for the tests: its own data in a temporary folder, on loopback, ended with them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from batchkit.io.schema import metadata
from batchkit.testing import FakeClock

__all__ = ["FollowingDatabase", "PostgresServer", "at_work"]

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "autovacuum": "off",
    "deadlock_timeout": "100ms",
}
#: ports are free when they are looked for, and may be somebody else's a moment later
_STARTS = 5
_TABLES = ", ".join(metadata.tables)
#: the server's clock, as far as batchkit asks it, is what a test says
_FOLLOW = """
CREATE TABLE told_clock (seconds float8 NOT NULL);
INSERT INTO told_clock VALUES (0);
CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
    'SELECT to_timestamp(seconds) FROM public.told_clock'
"""


def _programs() -> Path:
    """The folder of the newest PostgreSQL's programs. Skips the test where there is none, which is a failure on CI."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    named = shutil.which("initdb")
    if found or named:
        return found[-1].parent if found else Path(str(named)).resolve().parent
    assert not os.environ.get("CI"), "PostgreSQL is missing; .ci/run installs it"
    pytest.skip("PostgreSQL is missing: sudo apt-get install postgresql")


class PostgresServer:
    """A server that can be killed and started again.

    durable: what it says is on the disk is there. settings: more of them, as in postgresql.conf.
    """

    def __init__(self, *, durable: bool = False, settings: Mapping[str, str] | None = None) -> None:
        self._programs = _programs()
        self._folder = Path(tempfile.mkdtemp(prefix="batchkit-postgres-"))
        # It refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        self._data = ("-D", str(self._folder / "data"))
        self._count = 0
        self._settings = _SETTINGS | dict(settings or {}) | {"fsync": "on" if durable else "off"}
        self.port = 0
        initial = ("-U", "tests", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        try:
            self._run("initdb", *self._data, *initial)
            self._start_anywhere()
        except BaseException:
            self.close()
            raise

    def url(self, database: str) -> str:
        """What a store is given."""
        return f"postgresql+psycopg://tests@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Returns once it takes connections."""
        options = {**self._settings, "port": str(self.port)}
        told = " ".join(f"-c {name}={value or chr(39) * 2}" for name, value in options.items())
        self._run("pg_ctl", "-w", "-s", *self._data, "-l", str(self._folder / "log"), "-o", told, "start")

    def stop(self) -> None:
        """End it as a loss of power does: nothing is finished, nobody is told."""
        self._run("pg_ctl", "-w", "-s", *self._data, "-m", "immediate", "stop")

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run it as the server's owner, and return the rows there are."""
        with psycopg.connect(self._connection(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def database(self) -> Iterator[str]:
        """The name of a database that is empty, and gone afterwards."""
        self._count += 1
        name = f"batchkit_{self._count}"
        self.execute(f"CREATE DATABASE {name}")
        yield name
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def close(self) -> None:
        """End it and remove all it has."""
        try:
            if self._runs():
                self.stop()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _runs(self) -> bool:
        """Whether the process it has noted is its own: a killed server leaves a number that somebody else may have."""
        noted = self._folder / "data" / "postmaster.pid"
        if not noted.exists():
            return False
        try:
            return str(self._folder / "data") in psutil.Process(int(noted.read_text().split()[0])).cmdline()
        except psutil.NoSuchProcess:
            return False

    def _start_anywhere(self) -> None:
        """Start it at a port that is free."""
        for left in reversed(range(_STARTS)):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
            try:
                self.start()
                return
            except AssertionError:
                if not left:
                    raise

    def _connection(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} user=tests dbname={database}"

    def _run(self, program: str, *arguments: str) -> None:
        # A file: the server that pg_ctl starts would keep a pipe open.
        with tempfile.TemporaryFile() as said:
            command = [self._programs / program, *arguments]
            done = subprocess.run(command, user=self._user, cwd=self._folder, stdout=said, stderr=said, check=False)
            said.seek(0)
            assert done.returncode == 0, said.read().decode()


def at_work(server: PostgresServer, database: str, count: int) -> None:
    """Return once so many workers of a cluster have begun; each is two of Procrastinate's."""
    end = time.monotonic() + 120
    there = "SELECT to_regclass('procrastinate_workers') IS NOT NULL"
    while server.execute(there, database) != [(True,)] or _workers(server, database) != 2 * count:
        assert time.monotonic() < end, f"{count} workers have not begun"
        time.sleep(0.1)


def _workers(server: PostgresServer, database: str) -> object:
    [(count,)] = server.execute("SELECT count(*) FROM procrastinate_workers", database)
    return count


class FollowingDatabase:
    """A database whose clock is the test's FakeClock: leases lapse when that says so. Used again, and emptied."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self.url = server.url(name)
        self._told = 0.0
        server.execute(_FOLLOW, name)
        server.execute(f"ALTER DATABASE {name} SET search_path = public, pg_catalog")
        self._connection = psycopg.connect(server._connection(name), autocommit=True)

    def follow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """From now on the database's clock is whatever a FakeClock was last asked for."""
        boot = FakeClock.boot

        def told(clock: FakeClock) -> tuple[str, float]:
            boot_id, seconds = boot(clock)
            if seconds != self._told:
                self._connection.execute("UPDATE told_clock SET seconds = %s", [seconds])
                self._told = seconds
            return boot_id, seconds

        monkeypatch.setattr(FakeClock, "boot", told)

    def empty(self) -> None:
        """Nothing of the former test is left."""
        there = self._connection.execute("SELECT to_regclass('batch') IS NOT NULL").fetchone()
        if there == (True,):
            self._connection.execute(f"TRUNCATE {_TABLES}")

    def close(self) -> None:
        self._connection.close()
