"""A PostgreSQL server for the tests: its own data in a temporary folder, on loopback, ended with them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from batchkit.io.schema import metadata
from batchkit.testing import FakeClock

__all__ = ["FollowingDatabase", "PostgresServer"]

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "autovacuum": "off",
    "deadlock_timeout": "100ms",
}
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
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._count = 0
        options = _SETTINGS | dict(settings or {}) | {"port": str(self.port), "fsync": "on" if durable else "off"}
        self._options = " ".join(f"-c {name}={value or chr(39) * 2}" for name, value in options.items())
        data = ("-D", str(self._folder / "data"))
        self._run("initdb", *data, "-U", "tests", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        self.start()

    def url(self, database: str) -> str:
        """What a store is given."""
        return f"postgresql+psycopg://tests@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Returns once it takes connections."""
        log = str(self._folder / "log")
        self._run("pg_ctl", "-w", "-s", "-D", str(self._folder / "data"), "-l", log, "-o", self._options, "start")

    def stop(self) -> None:
        """End it as a loss of power does: nothing is finished, nobody is told."""
        self._run("pg_ctl", "-w", "-s", "-D", str(self._folder / "data"), "-m", "immediate", "stop")

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
        pid = self._folder / "data" / "postmaster.pid"
        if pid.exists():
            os.kill(int(pid.read_text().split()[0]), signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _connection(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} user=tests dbname={database}"

    def _run(self, program: str, *arguments: str) -> None:
        # A file: the server that pg_ctl starts would keep a pipe open.
        with tempfile.TemporaryFile() as said:
            command = [self._programs / program, *arguments]
            done = subprocess.run(command, user=self._user, cwd=self._folder, stdout=said, stderr=said, check=False)
            said.seek(0)
            assert done.returncode == 0, said.read().decode()


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
