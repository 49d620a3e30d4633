"""A PostgreSQL server that does not let us in, or is not there: what is said, in whichever language it speaks."""

from __future__ import annotations

import asyncio
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from postgres_server import PostgresServer

from batchkit.errors import StoreError
from batchkit.io.clock import SystemClock
from batchkit.io.postgres_advice import advice_by_code
from batchkit.io.store import SqlStore

ASKS_PASSWORD = b"R" + struct.pack("!ii", 8, 3)


def refusal(severity: str, code: str, message: str) -> bytes:
    """What a server answers to a connection it does not take."""
    fields = b"".join(
        name + text.encode() + b"\0"
        for name, text in ((b"S", severity), (b"V", "FATAL"), (b"C", code), (b"M", message))
    )
    return b"E" + struct.pack("!i", len(fields) + 5) + fields + b"\0"


@contextmanager
def server(answer: bytes, *others: int) -> Iterator[int]:
    """A server that answers so whoever wants to connect; its port. To ask it how it is holds up all of this process.

    others: the port of the one that whoever comes later is passed on to, if any.
    """
    program = str(Path(__file__).with_name("refusing_server.py"))
    command = [sys.executable, program, answer.hex(), *map(str, others)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def said_of(port: int, who: str = "ada", database: str = "runs") -> StoreError:
    """What is raised to somebody whose store is there."""
    store = SqlStore(f"postgresql://{who}@127.0.0.1:{port}/{database}", SystemClock())
    try:
        with pytest.raises(StoreError) as told:
            asyncio.run(store.batches())
    finally:
        store.shutdown()
    return told.value


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (refusal("FATAL", "28P01", 'password authentication failed for user "ada"'), "and the password: PGPASSWORD"),
        (refusal("FATAL", "28000", 'no pg_hba.conf entry for host "::1", user "ada", database "runs"'), "who may"),
        (refusal("FATAL", "3D000", 'database "runs" does not exist'), "createdb makes"),
        (refusal("FATAL", "28000", 'role "ada" does not exist'), "createuser makes"),
        (refusal("FATAL", "42501", 'permission denied for database "runs"'), "let this user connect"),
        (ASKS_PASSWORD, "was given none: PGPASSWORD"),
        (refusal("ВАЖНО", "28P01", 'пользователь "ada" не прошёл проверку'), "Check the user and the database"),
        (refusal("FATAL", "3D000", "Datenbank »runs« existiert nicht"), "Check the user and the database"),
    ],
)
def test_who_is_not_let_in_is_told_what_to_do_and_not_kept_waiting(answer: bytes, advice: str) -> None:
    with server(answer) as port:
        error = said_of(port)
    assert advice in str(error)
    assert not error.passing


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (refusal("FATAL", "57P03", "the database system is starting up"), "batchkit tries again"),
        (refusal("FATAL", "57P03", "Datenbanksystem startet"), "batchkit tries again"),
        (refusal("ВАЖНО", "57P03", "система баз данных останавливается"), "batchkit tries again"),
        (refusal("FATAL", "53300", "sorry, too many clients already"), "raise max_connections"),
        (refusal("FATAL", "53300", "remaining connection slots are reserved for superusers"), "raise max_connections"),
    ],
)
def test_a_server_that_lets_nobody_in_at_the_moment_is_waited_for(answer: bytes, advice: str) -> None:
    with server(answer) as port:
        error = said_of(port)
    assert advice in str(error)
    assert error.passing


def test_a_server_that_has_come_up_by_the_time_it_is_asked_how_it_is_is_waited_for(postgres: PostgresServer) -> None:
    recovers = refusal("FATAL", "57P03", "the database system is not yet accepting connections")
    with postgres.database() as name, server(recovers, postgres.port) as port:
        error = said_of(port, "tests", name)
    assert "batchkit tries again" in str(error)
    assert error.passing


def test_where_nothing_listens_is_said_so(closed_server: int) -> None:
    error = said_of(closed_server)
    assert "Nothing listens there. Check host and port" in str(error)
    assert error.passing


def test_a_host_nobody_knows_is_said_to_be_that() -> None:
    store = SqlStore("postgresql://ada@no-such-host.invalid/runs", SystemClock())
    with pytest.raises(StoreError, match="No such host is known"):
        asyncio.run(store.batches())
    store.shutdown()


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("53100", "disk is full"),
        ("53300", "no connection left"),
        ("53200", "no more memory"),
        ("58030", "cannot read or write its files"),
        ("25006", "only answers questions"),
        ("57P01", "batchkit tries again"),
        ("42601", ""),
    ],
)
def test_what_the_server_gives_a_code_for_is_told_by_that(code: str, advice: str) -> None:
    assert advice in advice_by_code(code)
    assert bool(advice) == bool(advice_by_code(code))


@pytest.fixture
def closed_server() -> int:
    """A port on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
