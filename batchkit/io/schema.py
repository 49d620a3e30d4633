"""The store's tables and how an older store becomes today's.

Times are whole microseconds since 1970 UTC. `item` is what changes while a batch runs and is kept narrow;
`item_input` is what was read from the file and never changes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    insert,
    inspect,
    select,
    text,
    update,
)

from batchkit.core.lifecycle import ItemStatus
from batchkit.errors import StoreError

__all__ = [
    "SCHEMA_VERSION",
    "Instant",
    "batches",
    "events",
    "inputs",
    "items",
    "left_out",
    "mappings",
    "microseconds",
    "migrate",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(value: datetime) -> int:
    """Whole microseconds since 1970 UTC."""
    return (value - _EPOCH) // _MICROSECOND


class Instant(TypeDecorator[datetime]):
    """An aware datetime, kept as microseconds since 1970 UTC."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> int | None:
        return None if value is None else microseconds(value)

    def process_result_value(self, value: int | None, _dialect: Dialect) -> datetime | None:
        return None if value is None else _EPOCH + timedelta(microseconds=value)


metadata = MetaData()

batches = Table(
    "batch",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", Text, nullable=False),
    Column("status", String(16), nullable=False),
    #: false while its items are still being written; nobody sees it
    Column("ready", Boolean, nullable=False),
    Column("owner", Text, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("agent_name", Text, nullable=False),
    Column("version", Integer),
    #: TargetInfo as JSON
    Column("target", Text, nullable=False),
    Column("max_concurrent", Integer, nullable=False),
    #: seconds
    Column("batch_interval", Float, nullable=False),
    #: so many rows are tried first, the rest is held until the batch is resumed; 0: none
    Column("trial", Integer, nullable=False, server_default="0"),
    #: ProfileRef as JSON
    Column("default_profile", Text),
    #: JSON list of the file's column names
    Column("columns", Text, nullable=False),
    #: Mapping as JSON
    Column("mapping", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    #: of a DataFrame's index, as JSON; NULL: none
    Column("index_kind", Text),
    Column("created_at", Instant, nullable=False),
    Column("start_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    Column("reason", Text, nullable=False),
    #: put away by its user, and not listed unless asked for
    Column("archived", Boolean, nullable=False, server_default="0"),
    Column("gate_at", Instant),
    Column("revision", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("runner", Text, nullable=False),
    Column("lease_boot", Text, nullable=False),
    Column("lease_expires", Float, nullable=False),
    #: `clock_changes.offset_of` when the lease was taken or renewed
    Column("clock_offset", Float),
    Column("total", Integer, nullable=False),
    Column("left_out", Integer, nullable=False),
    *(Column(f"n_{status}", Integer, nullable=False) for status in ItemStatus),
    *(
        Column(f"x_{kind}", Integer, nullable=False)
        for kind in ("running", "waiting", "succeeded", "failed", "cancelled")
    ),
    Index("batch_newest", "created_at"),
)

items = Table(
    "item",
    metadata,
    Column("batch_id", String(32), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("status", String(12), nullable=False),
    Column("execute_at", Instant, nullable=False),
    Column("by_hand", Boolean, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("intent_at", Instant),
    Column("triggered_at", Instant),
    Column("settle_at", Instant),
    Column("error", Text, nullable=False),
    Column("execution_id", Text),
    Column("x_status", String(24)),
    Column("x_outcome", String(8)),
    Column("x_reasoning", Text),
    #: any JSON
    Column("x_result", Text),
    Column("x_error", Text),
    Column("x_url", Text),
    Column("x_profile", Text),
    Column("x_created", Instant),
    Column("x_started", Instant),
    Column("x_finished", Instant),
    sqlite_with_rowid=False,
)
Index(
    "item_due",
    items.c.batch_id,
    items.c.execute_at,
    items.c.position,
    sqlite_where=items.c.status == "pending",
    postgresql_where=items.c.status == "pending",
)
Index("item_by_status", items.c.batch_id, items.c.status, items.c.position)
_by_time = Index("item_by_time", items.c.batch_id, items.c.execute_at, items.c.position)

inputs = Table(
    "item_input",
    metadata,
    Column("batch_id", String(32), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("row", Integer, nullable=False),
    Column("line", Integer),
    #: JSON list of the row's texts
    Column("cells", Text, nullable=False),
    #: the row's label in a DataFrame's index, as JSON; NULL: none
    Column("label", Text),
    #: JSON object
    Column("inputs", Text, nullable=False),
    #: JSON object, NULL: empty
    Column("metadata", Text),
    #: ProfileRef as JSON, NULL: the batch's default
    Column("profile", Text),
    sqlite_with_rowid=False,
)

left_out = Table(
    "left_out",
    metadata,
    Column("batch_id", String(32), primary_key=True),
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("line", Integer),
    Column("cells", Text, nullable=False),
    Column("errors", Text, nullable=False),
)

events = Table(
    "event",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("batch_id", String(32), nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("kind", String(24), nullable=False),
    Column("message", Text, nullable=False),
    Column("position", Integer),
    Index("event_of_batch", "batch_id", "id"),
)

mappings = Table(
    "saved_mapping",
    metadata,
    Column("agent_id", Text, primary_key=True),
    Column("fingerprint", String(64), primary_key=True),
    Column("mapping", Text, nullable=False),
    Column("saved_at", Instant, nullable=False),
)

_versions = Table("schema_version", MetaData(), Column("version", Integer, nullable=False))


def _first(connection: Connection) -> None:
    metadata.create_all(connection)


def _add_trial(connection: Connection) -> None:
    _add_column(connection, "trial INTEGER NOT NULL DEFAULT 0")


def _add_clock_offset(connection: Connection) -> None:
    _add_column(connection, "clock_offset FLOAT")


def _add_archived(connection: Connection) -> None:
    _add_column(connection, "archived BOOLEAN NOT NULL DEFAULT 0")
    _by_time.create(connection, checkfirst=True)


def _add_column(connection: Connection, definition: str) -> None:
    """Add a column to `batch`, unless the first step has just made the table as it is today."""
    present = {column["name"] for column in inspect(connection).get_columns(batches.name)}
    if definition.partition(" ")[0] not in present:
        connection.execute(text(f"ALTER TABLE {batches.name} ADD COLUMN {definition}"))


#: step i brings a store from version i to i + 1
_STEPS: tuple[Callable[[Connection], Any], ...] = (_first, _add_trial, _add_clock_offset, _add_archived)
SCHEMA_VERSION = len(_STEPS)


def migrate(connection: Connection) -> None:
    """Bring the store to SCHEMA_VERSION, in the caller's transaction. Raises StoreError for a newer store."""
    if not inspect(connection).has_table(_versions.name):
        _versions.create(connection)
        connection.execute(insert(_versions).values(version=0))
    version = connection.scalar(select(_versions.c.version)) or 0
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"The store was written by a newer batchkit (its schema is {version}, this one knows {SCHEMA_VERSION}). "
            "Upgrade batchkit, or name another store."
        )
    if version == 0 and inspect(connection).has_table(batches.name):
        raise StoreError("The database already has a table named 'batch' that is not batchkit's. Name another store.")
    for step in _STEPS[version:]:
        step(connection)
    if version < SCHEMA_VERSION:
        connection.execute(update(_versions).values(version=SCHEMA_VERSION))


def is_current(connection: Connection) -> bool:
    """Whether the store needs no migration; only reads."""
    if not inspect(connection).has_table(_versions.name):
        return False
    return bool(connection.scalar(select(_versions.c.version)) == SCHEMA_VERSION)
