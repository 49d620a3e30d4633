"""What statements may ask of the transaction they run in, where SQLite and PostgreSQL differ.

In SQLite a transaction that writes has the whole file, and all processes of a store are on one machine. In PostgreSQL
writers meet at the row of their batch (`reading.find_batch` takes it), and beyond that at a name they hold.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import ARRAY, ColumnElement, Connection, Double, Table, any_, cast, func, insert, literal, select, text

__all__ = [
    "LOCKS",
    "among",
    "count_anew",
    "hold",
    "insert_many",
    "is_read",
    "key_of",
    "look_at_clock_again",
    "server_seconds",
    "whole",
]

T = TypeVar("T")

#: the first half of the keys of batchkit's advisory locks
LOCKS = int.from_bytes(b"bkit", "big")
_CLOCK = select(cast(func.extract("epoch", func.clock_timestamp()), Double))
_HOLD = text("SELECT pg_advisory_xact_lock(:locks, :key)")


def is_read(connection: Connection) -> bool:
    """Whether the transaction only reads, from one moment."""
    return bool(connection.get_execution_options().get("batchkit_read", False))


def hold(connection: Connection, name: str) -> None:
    """Keep out who holds the same name, until the transaction ends. Statements that follow see what the former did."""
    if connection.dialect.name == "postgresql":
        connection.execute(_HOLD, {"locks": LOCKS, "key": key_of(name)})


def key_of(name: str) -> int:
    """The second half of a lock's key."""
    return zlib.crc32(name.encode()) - (1 << 31)


def server_seconds(connection: Connection) -> float | None:
    """The database server's clock in this transaction, seconds; None: the store is on this machine.

    Leases follow it: it is the only clock that all machines of a store share.
    """
    if connection.dialect.name != "postgresql":
        return None
    seconds: float | None = connection.info.get("batchkit_seconds")
    if seconds is None:
        seconds = connection.info["batchkit_seconds"] = connection.scalar(_CLOCK)
    return seconds


def look_at_clock_again(connection: Connection) -> None:
    """Have `server_seconds` say what the clock is now, not when the transaction began."""
    connection.info["batchkit_seconds"] = None


def among(connection: Connection, column: ColumnElement[T], values: Sequence[T]) -> ColumnElement[bool]:
    """Whether the column has one of many values: a list where the database knows lists, and else each by itself."""
    if connection.dialect.name == "postgresql":
        return column == any_(literal(list(values), ARRAY(column.type)))
    return column.in_(values)


def insert_many(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert many rows, which all name the same columns, the quickest way there is."""
    if not rows:
        return
    if connection.dialect.name != "postgresql":
        connection.execute(insert(table), rows)
        return
    names = list(rows[0])
    preparer = connection.dialect.identifier_preparer
    columns = ", ".join(preparer.quote(name) for name in names)
    statement = f"COPY {preparer.format_table(table)} ({columns}) FROM STDIN"
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for values in _bound(connection, table, names, rows):
            copy.write_row(values)


def count_anew(connection: Connection, *tables: Table) -> None:
    """Have the database look at tables that many rows were added to, before it chooses a way to these."""
    if connection.dialect.name == "postgresql":
        names = ", ".join(connection.dialect.identifier_preparer.format_table(table) for table in tables)
        connection.execute(text(f"ANALYZE {names}"))


def whole(value: object, *, nul: bool = True) -> object:
    """A text without what no database can hold: half a character, as a server may send one in its JSON.

    nul: whether NUL may stay.
    """
    if not isinstance(value, str):
        return value
    mended = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return mended if nul else mended.replace("\0", "\ufffd")


def _bound(
    connection: Connection, table: Table, names: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> Iterator[list[object]]:
    """The rows' values as the driver takes them."""
    processors = [
        table.c[name].type.dialect_impl(connection.dialect).bind_processor(connection.dialect) for name in names
    ]
    mend = connection.get_execution_options().get("batchkit_mend", False)
    for row in rows:
        values = [
            row[name] if process is None else process(row[name])
            for name, process in zip(names, processors, strict=True)
        ]
        yield [whole(value, nul=False) for value in values] if mend else values
