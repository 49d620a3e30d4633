"""The demo platform's memory: one SQLite database with every execution, its metadata and a few settings.

All times are microseconds since 1970 and all planned when an execution starts, so that its status is an expression
over its row and `now`, and a filter by status is plain SQL. While an execution is paused, what is still ahead of it
lies `FAR` later.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from batchkit.errors import StoreError
from batchkit.targets.demo.executions import Plan
from batchkit.targets.demo.listing import STATUS_SQL, Listing, ListQuery

__all__ = ["NewExecution", "State"]

_SCHEMA_VERSION = 1
#: metadata that more executions have than this is common
_RARITY_LIMIT = 1000
#: out of reach: some 36,000 years in microseconds
FAR = 1 << 60

_SCHEMA = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE executions (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    agent_id TEXT NOT NULL,
    agent_name TEXT NOT NULL,
    version_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    pool_id TEXT,
    profile_id TEXT,
    profile_name TEXT,
    inputs TEXT NOT NULL,
    metadata TEXT NOT NULL,
    options TEXT NOT NULL,
    draw INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    starting_at INTEGER,
    running_at INTEGER,
    attention_at INTEGER,
    attention_until INTEGER,
    terminal_at INTEGER,
    paused_at INTEGER,
    attention TEXT,
    final TEXT,
    outcome TEXT
);
CREATE INDEX by_end ON executions (terminal_at, starting_at);
CREATE INDEX by_profile_end ON executions (profile_id, terminal_at, starting_at) WHERE profile_id IS NOT NULL;
CREATE INDEX by_profile_start ON executions (profile_id, starting_at) WHERE profile_id IS NOT NULL;
CREATE INDEX waiting ON executions (pool_id, seq) WHERE terminal_at IS NULL;
CREATE TABLE tags (
    key TEXT NOT NULL, value TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (key, value, seq)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewExecution:
    """An accepted call on its way into the database."""

    id: str
    agent_id: str
    agent_name: str
    version_id: str
    version: int
    pool_id: str | None
    profile_id: str | None
    profile_name: str | None
    #: JSON text, like `options`
    inputs: str
    metadata: Mapping[str, str]
    metadata_text: str
    options: str
    draw: int
    created_at: int
    #: None: it waits for room
    plan: Plan | None


class State:
    """The database. Safe to use from several threads only under the owner's lock."""

    def __init__(self, path: Path | None) -> None:
        """path: a file, created 0600 if missing; None: in memory. Raises StoreError if it cannot be used."""
        self._path = path
        try:
            self._connection = _open(path)
        except (OSError, sqlite3.Error) as exc:
            raise StoreError(
                f"The demo platform cannot keep its state in {path}: {exc}. "
                "If another demo platform uses this file, stop it or choose another file."
            ) from exc

    def close(self) -> None:
        """Close the database; what was accepted is already in it."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what happens inside, or nothing of it."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def setting(self, name: str, default: str) -> str:
        """The stored setting, after storing `default` where there was none."""
        with self.transaction():
            self._connection.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (name, default))
            row = self._connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return str(row["value"])

    def set_setting(self, name: str, value: str) -> None:
        """Store a setting."""
        with self.transaction():
            self._connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))

    def add(self, new: NewExecution) -> None:
        """Insert one execution and its metadata."""
        plan = new.plan
        planned: tuple[int | str | None, ...] = _planned_values(plan) if plan is not None else (None,) * 8
        cursor = self._connection.execute(
            "INSERT INTO executions VALUES (NULL,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,NULL,?,?,?)",
            (
                new.id,
                new.agent_id,
                new.agent_name,
                new.version_id,
                new.version,
                new.pool_id,
                new.profile_id,
                new.profile_name,
                new.inputs,
                new.metadata_text,
                new.options,
                new.draw,
                new.created_at,
                *planned,
            ),
        )
        self._connection.executemany(
            "INSERT INTO tags VALUES (?, ?, ?)",
            [(key, value, cursor.lastrowid) for key, value in new.metadata.items()],
        )

    def execution(self, execution_id: str, now: int) -> sqlite3.Row | None:
        """One execution with its `status` at `now`, or None."""
        found: sqlite3.Row | None = self._connection.execute(
            f"SELECT *, {STATUS_SQL} AS status FROM executions WHERE id = :id", {"id": execution_id, "now": now}
        ).fetchone()
        return found

    def executions(self, query: ListQuery, now: int) -> tuple[list[sqlite3.Row], int]:
        """One page of executions with their `status` at `now`, and how many there are on all pages."""
        listing = Listing.of(query, now, self._tag_count)
        total = self._connection.execute(listing.count_sql, listing.values).fetchone()[0]
        return self._connection.execute(listing.page_sql, listing.values).fetchall(), total

    def every_execution(self, now: int) -> list[sqlite3.Row]:
        """All executions with their `status` at `now`, oldest first."""
        return self._connection.execute(
            f"SELECT *, {STATUS_SQL} AS status FROM executions ORDER BY seq", {"now": now}
        ).fetchall()

    def was_executed(self, version_id: str) -> bool:
        """Whether any execution ran that version."""
        sql = "SELECT 1 FROM executions WHERE version_id = ? LIMIT 1"
        return self._connection.execute(sql, (version_id,)).fetchone() is not None

    def start(self, seq: int, plan: Plan, profile_id: str | None, profile_name: str | None) -> None:
        """Let a waiting execution go."""
        self._connection.execute(
            "UPDATE executions SET starting_at=?, running_at=?, attention_at=?, attention_until=?, terminal_at=?, "
            "attention=?, final=?, outcome=?, profile_id=?, profile_name=? WHERE seq = ?",
            (*_planned_values(plan), profile_id, profile_name, seq),
        )

    def cancel(self, seq: int, now: int) -> None:
        """End an execution at `now`."""
        self._connection.execute(
            "UPDATE executions SET terminal_at = ?, final = 'cancelled', outcome = NULL, paused_at = NULL "
            "WHERE seq = ?",
            (now, seq),
        )

    def pause(self, seq: int, now: int) -> None:
        """Move what is still ahead of an execution out of reach."""
        self._shift(seq, now, FAR)
        self._connection.execute("UPDATE executions SET paused_at = ? WHERE seq = ?", (now, seq))

    def resume(self, row: sqlite3.Row, now: int) -> None:
        """Let a paused execution go on as planned, or one that waits for a person at once."""
        if row["paused_at"] is not None:
            self._shift(row["seq"], now, now - row["paused_at"] - FAR)
            self._connection.execute("UPDATE executions SET paused_at = NULL WHERE seq = ?", (row["seq"],))
        else:
            self._shift(row["seq"], now, now - row["attention_until"])

    def _shift(self, seq: int, now: int, distance: int) -> None:
        columns = ("running_at", "attention_at", "attention_until", "terminal_at")
        moves = ", ".join(f"{column} = {column} + :distance * ({column} > :now)" for column in columns)
        self._connection.execute(
            f"UPDATE executions SET {moves} WHERE seq = :seq", {"distance": distance, "now": now, "seq": seq}
        )

    def waiting_count(self) -> int:
        """How many executions wait for room."""
        sql = "SELECT count(*) FROM executions WHERE terminal_at IS NULL"
        return int(self._connection.execute(sql).fetchone()[0])

    def first_waiting_since(self) -> int | None:
        """When the oldest execution that waits for room was created, or None."""
        sql = "SELECT min(created_at) FROM executions WHERE terminal_at IS NULL"
        found: int | None = self._connection.execute(sql).fetchone()[0]
        return found

    def first_waiting(self, pool_id: str | None, until: int) -> sqlite3.Row | None:
        """The oldest execution created by `until` that waits for this pool, or for no pool."""
        found: sqlite3.Row | None = self._connection.execute(
            "SELECT * FROM executions WHERE terminal_at IS NULL AND pool_id IS ? AND created_at <= ? "
            "ORDER BY seq LIMIT 1",
            (pool_id, until),
        ).fetchone()
        return found

    def next_end(self, after: int, until: int) -> int | None:
        """The first moment in (after, until] at which an execution ended, or None."""
        sql = "SELECT min(terminal_at) FROM executions WHERE terminal_at > ? AND terminal_at <= ?"
        found: int | None = self._connection.execute(sql, (after, until)).fetchone()[0]
        return found

    def active_count(self, now: int) -> int:
        """How many executions have started and not ended."""
        sql = "SELECT count(*) FROM executions WHERE terminal_at > ? AND starting_at <= ?"
        return int(self._connection.execute(sql, (now, now)).fetchone()[0])

    def is_profile_used(self, profile_id: str, now: int) -> bool:
        """Whether an execution that has started and not ended uses the profile."""
        sql = "SELECT 1 FROM executions WHERE profile_id = ? AND terminal_at > ? AND starting_at <= ? LIMIT 1"
        return self._connection.execute(sql, (profile_id, now, now)).fetchone() is not None

    def last_use(self, profile_id: str) -> tuple[int, int]:
        """When the profile was last used, and by which execution, for sorting; (-1, -1) if it never was."""
        sql = "SELECT starting_at, seq FROM executions WHERE profile_id = ? ORDER BY starting_at DESC, seq DESC LIMIT 1"
        row = self._connection.execute(sql, (profile_id,)).fetchone()
        if row is None or row["starting_at"] is None:
            return (-1, -1)
        return (row["starting_at"], row["seq"])

    def _tag_count(self, pair: tuple[str, str]) -> int:
        """How many executions have that pair of metadata, counted only so far as it matters."""
        sql = "SELECT count(*) FROM (SELECT 1 FROM tags WHERE key = ? AND value = ? LIMIT ?)"
        return int(self._connection.execute(sql, (*pair, _RARITY_LIMIT)).fetchone()[0])


def _planned_values(plan: Plan) -> tuple[int | str | None, ...]:
    """In the order of the table's columns, `paused_at` left out."""
    return (
        plan.starting_at,
        plan.running_at,
        plan.attention_at,
        plan.attention_until,
        plan.terminal_at,
        plan.attention.value if plan.attention is not None else None,
        plan.final.value,
        plan.outcome.value,
    )


def _open(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        # the -wal file takes its permissions from this one
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False, timeout=2)
    try:
        connection.row_factory = sqlite3.Row
        # one server per file: a second one is told at once, and nothing depends on shared memory
        # a commit writes each page it touched: small ones make it cheap
        connection.execute("PRAGMA page_size = 1024")
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        # a kill of this process loses nothing; a power cut may lose the last commits
        connection.execute("PRAGMA synchronous = NORMAL")
        _create(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
    connection.execute("COMMIT")
    if version not in (0, _SCHEMA_VERSION):
        raise sqlite3.DatabaseError(f"it has schema version {version}, this batchkit knows {_SCHEMA_VERSION}")
