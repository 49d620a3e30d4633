"""How an older store becomes today's, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Column, Connection, Integer, MetaData, Table, insert, inspect, select, text, update

from batchkit.errors import StoreError
from batchkit.io.schema import (
    batch_by_origin,
    batch_by_pool,
    batches,
    heard,
    item_by_time,
    item_in_use,
    items,
    mappings,
    metadata,
    notices,
    profile_uses,
    sinks,
)
from batchkit.io.transaction import hold

__all__ = ["SCHEMA_VERSION", "is_current", "migrate", "other_form"]

#: held while the tables are made, or get another form
_FORM = "form"

_versions = Table("schema_version", MetaData(), Column("version", Integer, nullable=False))


def _first(connection: Connection) -> None:
    metadata.create_all(connection)


def _add_trial(connection: Connection) -> None:
    _add_column(connection, "trial INTEGER NOT NULL DEFAULT 0")


def _add_clock_offset(connection: Connection) -> None:
    _add_column(connection, "clock_offset FLOAT")


def _add_archived(connection: Connection) -> None:
    _add_column(connection, "archived BOOLEAN NOT NULL DEFAULT '0'")
    item_by_time.create(connection, checkfirst=True)


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
    for index in (item_in_use, batch_by_pool, batch_by_origin):
        index.create(connection, checkfirst=True)


def _add_flow(connection: Connection) -> None:
    counts = [f"{name} INTEGER NOT NULL DEFAULT 0" for name in ("failed_before", "ended_before", "x_timed_out")]
    for definition in ("flow TEXT", *counts):
        _add_column(connection, definition)
    for definition in ("not_before BIGINT", "x_timed_out BOOLEAN NOT NULL DEFAULT '0'"):
        _add_column(connection, definition, items)


def _add_owners(connection: Connection) -> None:
    _add_column(connection, "owner TEXT", sinks)
    mappings.create(connection, checkfirst=True)
    if inspect(connection).has_table("saved_mapping"):
        # Whose it was is not known: everybody who runs the agent was shown it.
        whose = "SELECT agent_id, owner FROM batch UNION SELECT agent_id, '' FROM saved_mapping"
        connection.execute(
            text(
                "INSERT INTO owned_mapping (owner, agent_id, fingerprint, mapping, saved_at) "
                "SELECT whose.owner, old.agent_id, old.fingerprint, old.mapping, old.saved_at "
                f"FROM saved_mapping AS old JOIN ({whose}) AS whose ON whose.agent_id = old.agent_id"
            )
        )
        connection.execute(text("DROP TABLE saved_mapping"))


def _add_server_offset(connection: Connection) -> None:
    _add_column(connection, "server_offset FLOAT")


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
    _add_owners,
    _add_server_offset,
)
SCHEMA_VERSION = len(_STEPS)


def migrate(connection: Connection) -> None:
    """Bring the store to SCHEMA_VERSION, in the caller's transaction. Raises StoreError for a newer store."""
    hold(connection, _FORM)
    if not inspect(connection).has_table(_versions.name):
        _versions.create(connection)
        connection.execute(insert(_versions).values(version=0))
    elif connection.dialect.name == "postgresql":
        # Whoever writes begins by reading it, and does so before this or after it.
        connection.execute(text(f"LOCK TABLE {_versions.name} IN ACCESS EXCLUSIVE MODE"))
    version = connection.scalar(select(_versions.c.version)) or 0
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"The store was written by a newer batchkit (its schema is {version}, this one knows {SCHEMA_VERSION}). "
            "Upgrade batchkit, or name another store."
        )
    if version == 0 and (taken := set(metadata.tables) & set(inspect(connection).get_table_names())):
        raise StoreError(
            f"The database already has a table named {min(taken)!r} that is not batchkit's. Name another store."
        )
    for step in _STEPS[version:]:
        step(connection)
    if version < SCHEMA_VERSION:
        connection.execute(update(_versions).values(version=SCHEMA_VERSION))


def is_current(connection: Connection) -> bool:
    """Whether the store needs no migration; only reads."""
    if not inspect(connection).has_table(_versions.name):
        return False
    return bool(connection.scalar(select(_versions.c.version)) == SCHEMA_VERSION)


def other_form(label: str) -> StoreError:
    """The error of a store whose tables another version of batchkit changed while it was open."""
    return StoreError(
        f"The store {label} was brought to the form of another version of batchkit while it was in use. Nothing "
        "more is sent. Install that version here, too, and start this process or kernel anew."
    )
