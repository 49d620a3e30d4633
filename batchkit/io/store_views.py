"""What can be asked of the store: batches, their items, their log. Nothing here changes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from batchkit.core.lifecycle import BatchStatus, ItemStatus
from batchkit.core.listing import ItemQuery, Overview
from batchkit.core.ports import Clock
from batchkit.core.record import BatchRecord, Event, ItemRecord, Unread
from batchkit.core.request import NewItem
from batchkit.core.rerun import Standing
from batchkit.io import family, listing, ownership, reading, saved_mappings, unattended, untold
from batchkit.io.database import Database
from batchkit.io.transaction import server_seconds

__all__ = ["StoreViews"]


class StoreViews:
    """The questions of `core.ports.Store`, each answered from one moment of the database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @property
    def label(self) -> str:
        """The file's path, or the server and the database without a password."""
        return self._database.label

    async def server_time(self) -> datetime | None:
        """What the database server's clock says; None: the store is on this machine."""
        seconds = await self._database.read(server_seconds)
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)

    # Batches

    async def batch(self, batch_id: str) -> BatchRecord:
        """The batch as it stands."""
        return await self._database.read(reading.read_batch, batch_id, self._clock.boot())

    async def batches(
        self, *, agent_id: str | None = None, statuses: Iterable[BatchStatus] = (), limit: int | None = None
    ) -> list[BatchRecord]:
        """Batches, newest first."""
        return await self._database.read(
            reading.read_batches, self._clock.boot(), agent_id=agent_id, statuses=statuses, limit=limit
        )

    async def others(self) -> int:
        """How many batches of other owners there are in a file, which are not shown; of a database 0."""
        return await self._database.read(ownership.count_others)

    async def same_file(self, agent_id: str, fingerprint: str) -> list[BatchRecord]:
        """Batches in which the same file ran for that agent, newest first."""
        return await self._database.read(reading.read_same_file, self._clock.boot(), agent_id, fingerprint)

    async def overview(
        self,
        *,
        agent_id: str | None = None,
        statuses: Iterable[BatchStatus] = (),
        text: str = "",
        archived: bool | None = False,
        limit: int,
    ) -> Overview:
        """The newest batches that match, and how many there are."""
        return await self._database.read(
            listing.read_overview,
            self._clock.boot(),
            agent_id=agent_id,
            statuses=statuses,
            text=text,
            archived=archived,
            limit=limit,
        )

    async def unattended(self) -> list[BatchRecord]:
        """Batches that somebody should attend to, and nobody does."""
        return await self._database.read(unattended.read_unattended, self._clock.now(), self._clock.boot())

    async def family(self, batch_id: str) -> list[BatchRecord]:
        """The batches that run rows of one file, oldest first."""
        return await self._database.read(family.read_family, batch_id, self._clock.boot())

    # Items

    async def items(
        self,
        batch_id: str,
        *,
        after: tuple[Any, ...] | None = None,
        limit: int | None = None,
        order: Literal["row", "time"] = "row",
        statuses: Sequence[ItemStatus] = (),
        positions: Sequence[int] | None = None,
    ) -> list[ItemRecord]:
        """A page of items."""
        return await self._database.read(
            reading.read_items,
            batch_id,
            after=after,
            limit=limit,
            order=order,
            statuses=statuses,
            positions=positions,
        )

    async def page(self, batch_id: str, query: ItemQuery) -> tuple[list[ItemRecord], int]:
        """The items `query` asks for, and how many match."""
        return await self._database.read(listing.read_page, batch_id, query)

    async def positions(self, batch_id: str, query: ItemQuery, *, after: int = -1) -> list[int]:
        """The next items after `after` that match, in row order, `query.limit` at the most."""
        return await self._database.read(listing.read_positions, batch_id, query, after)

    async def ahead_of(self, batch_id: str, item: int) -> int:
        """How many pending items are sent before that pending one."""
        return await self._database.read(listing.read_ahead, batch_id, item)

    async def item_input(self, batch_id: str, item: int) -> NewItem:
        """What was read from the file for one item."""
        return await self._database.read(listing.read_input, batch_id, item)

    async def cells(self, batch_id: str, first: int, last: int) -> list[tuple[list[str], Any]]:
        """The rows as they were in the file, each with its label in a DataFrame's index."""
        return await self._database.read(reading.read_cells, batch_id, first, last)

    async def left_out(self, batch_id: str) -> list[tuple[int, int | None, list[str], str]]:
        """The rows the policy left out."""
        return await self._database.read(reading.read_left_out, batch_id)

    async def standings(self, batch_id: str) -> dict[int, list[Standing]]:
        """Where each row of the batch's family stands, by row."""
        return await self._database.read(family.read_standings, batch_id)

    async def doubtful(self, batch_id: str, limit: int) -> list[ItemRecord]:
        """Items in doubt that may be looked up now."""
        return await self._database.read(reading.read_doubtful, batch_id, self._clock.now(), limit)

    # Executions

    async def earliest_open(self, batch_id: str) -> datetime | None:
        """When the oldest execution that has not finished was triggered."""
        return await self._database.read(untold.read_earliest_open, batch_id)

    async def unread_executions(self, batch_id: str) -> list[Unread]:
        """All executions of whose end the target has not told, in row order."""
        return await self._database.read(untold.read_unread_executions, batch_id)

    async def triggered_since(self, batch_id: str, *since: datetime) -> tuple[BatchRecord, list[int]]:
        """The batch, and how many of its items were triggered at or after each of those moments."""
        return await self._database.read(untold.read_triggered_since, batch_id, self._clock.boot(), since)

    async def open_executions(self, batch_id: str, *, after: int = -1, limit: int) -> list[tuple[int, str]]:
        """The next items after `after` whose execution has not finished, each with the execution's id."""
        return await self._database.read(untold.read_open_executions, batch_id, after, limit)

    # The log, and mappings

    async def events(self, batch_id: str, *, item: int | None = None, limit: int | None = None) -> list[Event]:
        """The batch's log."""
        return await self._database.read(reading.read_events, batch_id, item=item, limit=limit)

    async def mapping(self, agent_id: str, fingerprint: str) -> dict[str, Any] | None:
        """The saved mapping, or None."""
        return await self._database.read(saved_mappings.read, agent_id, fingerprint)
