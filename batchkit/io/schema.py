"""The store's tables.

Times are whole microseconds since 1970 UTC. `item` is what changes while a batch runs and is kept narrow;
`item_input` is what was read from the file and never changes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    literal_column,
    text,
)

from batchkit.core.lifecycle import ItemStatus

__all__ = [
    "IN_USE",
    "IS_PENDING",
    "Instant",
    "batch_by_origin",
    "batch_by_pool",
    "batches",
    "events",
    "heard",
    "inputs",
    "item_by_time",
    "item_in_use",
    "items",
    "left_out",
    "mappings",
    "metadata",
    "microseconds",
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
    #: seconds from the boot to the wall clock's 1970 on the machine of `lease_boot`, whenever that is written
    Column("clock_offset", Float),
    #: seconds from the database server's clock to that machine's wall clock, a little less at most; NULL: there is none
    Column("server_offset", Float),
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
#: the condition of a pending item; queries that go by time repeat it word for word, to use the index
IS_PENDING = items.c.status == literal_column("'pending'")
Index(
    "item_due",
    items.c.batch_id,
    items.c.execute_at,
    items.c.position,
    sqlite_where=IS_PENDING,
    postgresql_where=IS_PENDING,
)
Index("item_by_status", items.c.batch_id, items.c.status, items.c.position)
#: the condition of an item whose execution holds a profile; queries repeat it word for word, to use the index
IN_USE = text(
    "profile_id IS NOT NULL AND status IN ('triggering', 'in_doubt', 'triggered') "
    "AND (x_status IS NULL OR x_status NOT IN ('completed', 'failed', 'cancelled'))"
)
item_in_use = Index("item_in_use", items.c.profile_id, sqlite_where=IN_USE, postgresql_where=IN_USE)
batch_by_pool = Index(
    "batch_by_pool", batches.c.id, sqlite_where=text("pool IS NOT NULL"), postgresql_where=text("pool IS NOT NULL")
)
batch_by_origin = Index("batch_by_origin", batches.c.origin)
item_by_time = Index("item_by_time", items.c.batch_id, items.c.execute_at, items.c.position)

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
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("batch_id", String(32), nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("kind", String(24), nullable=False),
    Column("message", Text, nullable=False),
    Column("position", Integer),
    Index("event_of_batch", "batch_id", "id"),
)

mappings = Table(
    "owned_mapping",
    metadata,
    #: who saved it
    Column("owner", Text, primary_key=True),
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
    #: whose batches it is told of; NULL: everybody's
    Column("owner", Text),
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
