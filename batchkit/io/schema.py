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
    "IN_USE",
    "SCHEMA_VERSION",
    "Instant",
    "batches",
    "events",
    "heard",
    "inputs",
    "items",
    "left_out",
    "mappings",
    "microseconds",
    "migrate",
    "notices",
    "profile_uses",
    "sinks",
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
    #: Flow as JSON; NULL: none of its limits
    Column("flow", Text),
    #: how many executions had failed, and ended, when it was last resumed: the failure threshold counts from there
    Column("failed_before", Integer, nullable=False, server_default="0"),
    Column("ended_before", Integer, nullable=False, server_default="0"),
    #: ProfileRef as JSON
    Column("default_profile", Text),
    #: PinnedPool as JSON, where batchkit picks the profile of rows that name none
    Column("pool", Text),
    #: the batch whose rows it runs again, and the first of all these; NULL: it runs rows of its own
    Column("parent", String(32)),
    Column("origin", String(32)),
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
    #: when every outcome was known
    Column("known_at", Instant),
    #: when the last webhook about one of its executions came
    Column("heard_at", Instant),
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
    #: executions not finished and past the batch's item deadline; counted among x_running or x_waiting, too
    Column("x_timed_out", Integer, nullable=False, server_default="0"),
    #: executions whose end a webhook told, and whose details the target has not told yet
    Column("x_partial", Integer, nullable=False, server_default="0"),
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
    #: the row's own: not due before this
    Column("not_before", Instant),
    Column("error", Text, nullable=False),
    #: of the profile the last attempt used; NULL: none, or the target picks it
    Column("profile_id", Text),
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
    #: not finished and past the batch's item deadline
    Column("x_timed_out", Boolean, nullable=False, server_default="0"),
    #: the sender's time of the newest webhook that was applied; NULL again once the target told all of the end
    Column("x_heard", Instant),
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
#: the condition of an item whose execution holds a profile; queries repeat it word for word, to use the index
IN_USE = text(
    "profile_id IS NOT NULL AND status IN ('triggering', 'in_doubt', 'triggered') "
    "AND (x_status IS NULL OR x_status NOT IN ('completed', 'failed', 'cancelled'))"
)
_in_use = Index("item_in_use", items.c.profile_id, sqlite_where=IN_USE, postgresql_where=IN_USE)
_by_pool = Index(
    "batch_by_pool", batches.c.id, sqlite_where=text("pool IS NOT NULL"), postgresql_where=text("pool IS NOT NULL")
)
_by_origin = Index("batch_by_origin", batches.c.origin)
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

heard = Table(
    "webhook_event",
    metadata,
    Column("event_id", String(200), primary_key=True),
    Column("heard_at", Instant, nullable=False),
    #: of an event that waits for its execution to become known
    Column("execution_id", Text),
    #: what it said, as JSON; NULL: it was applied
    Column("kept", Text),
    sqlite_with_rowid=False,
)
Index(
    "webhook_event_kept",
    heard.c.execution_id,
    sqlite_where=heard.c.kept.is_not(None),
    postgresql_where=heard.c.kept.is_not(None),
)

sinks = Table(
    "notice_sink",
    metadata,
    #: a fingerprint: the address itself may be confidential
    Column("id", String(64), primary_key=True),
    Column("since", Instant, nullable=False),
)

notices = Table(
    "notice",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("sink", String(64), nullable=False),
    Column("batch_id", String(32), nullable=False),
    Column("kind", String(24), nullable=False),
    Column("message", Text, nullable=False),
    Column("at", Instant, nullable=False),
    #: not tried before this
    Column("due_at", Instant, nullable=False),
    Column("tries", Integer, nullable=False),
    #: what is sent, the same with every try; NULL: not tried yet
    Column("body", Text),
    Index("notice_due", "sink", "due_at"),
)

profile_uses = Table(
    "profile_use",
    metadata,
    #: `TargetInfo.identity`
    Column("target", Text, primary_key=True),
    Column("profile_id", Text, primary_key=True),
    #: when it was last given to a row
    Column("used_at", Instant, nullable=False),
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


def _add_webhooks(connection: Connection) -> None:
    for definition in ("known_at BIGINT", "heard_at BIGINT", "x_partial INTEGER NOT NULL DEFAULT 0"):
        _add_column(connection, definition)
    _add_column(connection, "x_heard BIGINT", items)
    heard.create(connection, checkfirst=True)
    # What was done before is not told of as if it were news.
    done = batches.c.status.in_(("completed", "cancelled")) & (batches.c.x_running + batches.c.x_waiting == 0)
    connection.execute(update(batches).where(done).values(known_at=batches.c.finished_at))


def _add_notices(connection: Connection) -> None:
    for table in (sinks, notices):
        table.create(connection, checkfirst=True)


def _add_reruns_and_pools(connection: Connection) -> None:
    for definition in ("pool TEXT", "parent VARCHAR(32)", "origin VARCHAR(32)"):
        _add_column(connection, definition)
    _add_column(connection, "profile_id TEXT", items)
    profile_uses.create(connection, checkfirst=True)
    for index in (_in_use, _by_pool, _by_origin):
        index.create(connection, checkfirst=True)


def _add_flow(connection: Connection) -> None:
    counts = [f"{name} INTEGER NOT NULL DEFAULT 0" for name in ("failed_before", "ended_before", "x_timed_out")]
    for definition in ("flow TEXT", *counts):
        _add_column(connection, definition)
    for definition in ("not_before BIGINT", "x_timed_out BOOLEAN NOT NULL DEFAULT 0"):
        _add_column(connection, definition, items)


def _add_column(connection: Connection, definition: str, table: Table = batches) -> None:
    """Add a column, unless the first step has just made the table as it is today."""
    present = {column["name"] for column in inspect(connection).get_columns(table.name)}
    if definition.partition(" ")[0] not in present:
        connection.execute(text(f"ALTER TABLE {table.name} ADD COLUMN {definition}"))


#: step i brings a store from version i to i + 1
_STEPS: tuple[Callable[[Connection], Any], ...] = (
    _first,
    _add_trial,
    _add_clock_offset,
    _add_archived,
    _add_webhooks,
    _add_notices,
    _add_reruns_and_pools,
    _add_flow,
)
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
