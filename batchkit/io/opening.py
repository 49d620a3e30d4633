"""The database at an address: a SQLite file, or PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from batchkit.core.viewer import EVERYBODY, Viewer
from batchkit.io.address import Address
from batchkit.io.database import Database
from batchkit.io.postgres import PostgresDatabase
from batchkit.io.sqlite import SqliteFile

__all__ = ["database_at"]


def database_at(address: Address, viewer: Viewer = EVERYBODY) -> Database:
    """The database there; it is opened with the first transaction. Raises ConfigError where its driver is missing."""
    return Database(SqliteFile(address) if isinstance(address, Path) else PostgresDatabase(address), viewer)
