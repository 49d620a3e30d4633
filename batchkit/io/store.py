"""The store: batches, their items and their log in one SQL database."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Callable, Collection, Sequence
from collections.abc import Mapping as MappingLike
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import URL, Connection

from batchkit.core.execution import Execution
from batchkit.core.heard import Heard, Hearing
from batchkit.core.limits import Limits
from batchkit.core.ports import Clock
from batchkit.core.record import (
    BatchRecord,
    ItemChange,
    ItemOutcome,
    Lease,
    NewBatch,
    Tick,
    merged,
)
from batchkit.core.request import NewItem
from batchkit.core.viewer import EVERYBODY, Viewer
from batchkit.errors import StoreError
from batchkit.io import (
    account_wait,
    commands,
    creation,
    deadlines,
    deletion,
    leases,
    outcomes,
    reading,
    saved_mappings,
    visit,
    webhook_events,
)
from batchkit.io.address import address_of
from batchkit.io.clock_changes import realigned, taken_over
from batchkit.io.finish import note_finish
from batchkit.io.kept import remove_kept
from batchkit.io.ledger import log
from batchkit.io.limits import change_limits
from batchkit.io.opening import database_at
from batchkit.io.staggering import stagger_from
from batchkit.io.store_views import StoreViews

__all__ = ["SqlStore"]

logger = logging.getLogger("batchkit")

#: no vowels and nothing that looks like something else
_ID_ALPHABET = "23456789bcdfghjkmnpqrstvwxz"
#: a command waits so long for another process that is at work on the batch: a million rows get new times in a minute
_PATIENCE_SECONDS = 90.0
#: items changed in one transaction: well under a second
_PIECE = 5_000


class SqlStore(StoreViews):
    """Implements `core.ports.Store` over SQLAlchemy Core, in SQLite and in PostgreSQL.

    address: the path of a file, or the URL of a PostgreSQL database. Raises ConfigError for another one.
    lease_seconds: how long a runner keeps its batch without a sign of life; the same in all processes of one store.
    viewer: who asks; a batch he may not see is in no answer, and NotFoundError where it is named.
    """

    def __init__(
        self,
        address: str | os.PathLike[str] | URL,
        clock: Clock,
        *,
        lease_seconds: float = leases.LEASE_SECONDS,
        viewer: Viewer = EVERYBODY,
    ) -> None:
        self._address = address_of(address)
        super().__init__(database_at(self._address, viewer), clock)
        self._lease_seconds = lease_seconds

    def __repr__(self) -> str:
        return f"<SqlStore {self.label!r}>"

    # Creating

    async def begin(self, new: NewBatch) -> str:
        """The id of a new batch nobody sees yet; leftovers of processes that ended are removed."""
        batch_id = "b" + "".join(secrets.choice(_ID_ALPHABET) for _ in range(9))
        now = self._clock.now()

        def work(connection: Connection) -> None:
            creation.delete_unfinished(connection, now)
            creation.begin_batch(connection, batch_id, new, now)

        await self._database.write(work)
        return batch_id

    async def add(self, batch_id: str, new: Sequence[NewItem], labels: Sequence[Any] | None = None) -> None:
        """Append items, due by the specification's formula."""
        await self._database.write(creation.add_items, batch_id, new, labels)

    async def leave_out(self, batch_id: str, rows: Sequence[tuple[int, int | None, Sequence[str], str]]) -> None:
        """Append rows the policy "drop" left out."""
        await self._database.write(creation.add_left_out, batch_id, rows)

    async def publish(self, batch_id: str, actor: str, *, forced: bool = False) -> BatchRecord:
        """Make the batch visible."""
        return await self._command(creation.publish_batch, batch_id, actor, self._clock.now(), forced)

    async def abandon(self, batch_id: str) -> None:
        """Remove a batch that was begun and not published."""
        await self._database.write(creation.delete_unfinished, self._clock.now(), batch_id)

    # Users' commands

    async def pause(self, batch_id: str, actor: str, reason: str = "") -> BatchRecord:
        """running → paused."""
        return await self._command(commands.pause_batch, batch_id, self._clock.now(), actor, reason)

    async def resume(self, batch_id: str, actor: str) -> BatchRecord:
        """paused → running, staggered from now."""
        now, boot = self._clock.now(), self._clock.boot()

        def work(connection: Connection, batch_id: str) -> None:
            realigned(connection, reading.find_batch(connection, batch_id), now, boot)
            commands.resume_batch(connection, batch_id, now, actor)

        return await self._command(work, batch_id)

    async def cancel(self, batch_id: str, actor: str) -> BatchRecord:
        """To cancelled, with all that is pending."""
        return await self._command(commands.cancel_batch, batch_id, self._clock.now(), actor)

    async def change_limits(self, batch_id: str, limits: Limits, actor: str) -> BatchRecord:
        """Give the batch other limits, and its pending items new times where the pace is another."""
        now, boot = self._clock.now(), self._clock.boot()

        def work(connection: Connection, batch_id: str) -> None:
            batch = realigned(connection, reading.find_batch(connection, batch_id), now, boot)
            change_limits(connection, batch, limits, now, actor)

        return await self._command(work, batch_id)

    async def archive(self, batch_id: str, actor: str, *, archived: bool) -> BatchRecord:
        """Put a batch that has ended away, or bring it back."""
        return await self._command(deletion.archive_batch, batch_id, self._clock.now(), actor, archived)

    async def delete(self, batch_id: str, owner: str) -> None:
        """Delete a batch that has ended: nobody sees it from the first moment on."""
        total = await self._database.write(deletion.hide_batch, batch_id, self._clock.boot(), owner)
        first = 0
        while first < total:
            first = await self._database.write(deletion.delete_piece, batch_id, first)
        await self._database.write(deletion.delete_rest, batch_id)
        await asyncio.to_thread(remove_kept, self._address, batch_id)

    async def cancel_items(self, batch_id: str, ids: Sequence[int], actor: str) -> ItemChange:
        """Cancel pending items; many in several transactions."""
        now = self._clock.now()
        return await self._in_pieces(commands.cancel_items, batch_id, ids, now, actor)

    async def reschedule_items(
        self,
        batch_id: str,
        ids: Sequence[int],
        at: datetime,
        actor: str,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> ItemChange:
        """Move pending items to the first free slots at or after `at`; many in several transactions."""
        now = self._clock.now()
        if len(ids) <= _PIECE:

            def work(connection: Connection) -> ItemChange:
                moves, left = commands.find_slots(connection, batch_id, ids, at, now)
                return merged([left, commands.move_items(connection, batch_id, moves, now, actor)])

            return await self._database.write(work)
        moves, left = await self._database.read(commands.find_slots, batch_id, ids, at, now)
        return merged(
            [left, await self._in_pieces(commands.move_items, batch_id, moves, now, actor, progress=progress)]
        )

    async def settle_items(
        self, batch_id: str, ids: Sequence[int], choice: Literal["retry", "skip"], actor: str
    ) -> ItemChange:
        """Decide items in doubt; many in several transactions."""
        now = self._clock.now()
        return await self._in_pieces(commands.settle_items, batch_id, ids, choice, now, actor)

    # The runner's

    async def acquire(self, batch_id: str, owner: str, *, settle_after: float | None) -> Lease | None:
        """The batch's lease, or None while another runner's is alive."""
        now, boot = self._clock.now(), self._clock.boot()

        def work(connection: Connection) -> Lease | None:
            batch = reading.find_batch(connection, batch_id)
            lease = leases.acquire_lease(connection, batch, owner, now, boot, self._lease_seconds)
            if lease is not None:
                batch = taken_over(connection, batch, now, boot, self._clock.boot()[1] - boot[1])
                settle_at = None if settle_after is None else now + timedelta(seconds=settle_after)
                gate = now + timedelta(seconds=batch.batch_interval)
                leases.doubt_unfinished(connection, batch, settle_at, gate, now)
            return lease

        return await self._database.write(work)

    async def release(self, lease: Lease) -> None:
        """Give the lease up."""
        await self._database.write(leases.release_lease, lease)

    async def entrust(
        self, batch_id: str, until: datetime | None, *, revision: int, lease: Lease | None = None
    ) -> bool:
        """Leave the batch to whoever is woken for it at `until`; see `core.ports.Store.entrust`."""
        now, boot = self._clock.now(), self._clock.boot()

        def work(connection: Connection) -> bool:
            waited = self._clock.boot()[1] - boot[1]
            return leases.entrust_batch(connection, batch_id, until, revision, lease, now, boot, waited)

        return await self._database.write(work)

    async def tick(
        self,
        lease: Lease,
        *,
        outcomes: Sequence[ItemOutcome] = (),
        claim: int = 0,
        until: datetime | None = None,
        gate: datetime | None = None,
        pause: str = "",
        reason: str | None = None,
        revision: int | None = None,
    ) -> Tick:
        """One visit of the runner; see `core.ports.Store.tick`."""
        now, boot = self._clock.now(), self._clock.boot()
        if not (outcomes or claim or gate or pause or reason is not None):
            seen = await self._database.read(visit.look, lease, now, boot)
            if seen is not None:
                return seen
        return await self._database.write(
            visit.visit,
            lease,
            now,
            boot,
            outcomes=outcomes,
            claim=claim,
            until=until,
            gate=gate,
            pause=pause,
            reason=reason,
            revision=revision,
        )

    async def hold_others(self, batch_id: str, until: datetime, reason: str) -> int:
        """Have the other batches on the batch's account wait, too."""
        return await self._database.write(account_wait.hold_others, batch_id, until, reason)

    async def disclaim(self, lease: Lease, known: Collection[int]) -> int:
        """Make claims pending again that their runner never heard of."""

        def work(connection: Connection) -> int:
            batch = reading.find_batch(connection, lease.batch_id)
            return leases.disclaim_unknown(connection, batch, known) if leases.is_held(batch, lease) else 0

        return await self._database.write(work)

    async def note(self, batch_id: str, seen: Sequence[tuple[int, Execution]]) -> int:
        """Write down what became of executions."""
        now = self._clock.now()

        def work(connection: Connection) -> int:
            reading.find_batch(connection, batch_id)
            changed = outcomes.note_executions(connection, batch_id, seen)
            note_finish(connection, batch_id, now)
            return changed

        return await self._database.write(work) if seen else 0

    async def hear(self, news: Sequence[Heard]) -> list[Hearing]:
        """Write down what webhooks tell; returns what was done with each. An event is never applied twice."""
        return await self._database.write(webhook_events.hear, news, self._clock.now())

    async def time_out(self, batch_id: str) -> datetime | None:
        """Count open executions past the batch's item deadline as timed out; returns when the next one will be."""
        return await self._database.write(deadlines.time_out, batch_id, self._clock.now())

    async def lose(self, batch_id: str, ids: Sequence[int]) -> int:
        """Write down that the executions of these items were lost; returns how many."""
        now = self._clock.now()

        def work(connection: Connection) -> int:
            reading.find_batch(connection, batch_id)
            changed = deadlines.lose(connection, batch_id, ids, now)
            note_finish(connection, batch_id, now)
            return changed

        return await self._database.write(work)

    async def restagger(self, lease: Lease, message: str) -> int:
        """Stagger the pending items anew from now."""
        now = self._clock.now()

        def work(connection: Connection) -> int:
            batch = reading.find_batch(connection, lease.batch_id)
            if not leases.is_held(batch, lease):
                return 0
            moved = stagger_from(connection, batch, now)
            leases.keep_lease(connection, lease, self._clock.boot())
            if message:
                log(connection, batch.id, now, "batchkit", "restaggered", message)
            return moved

        return await self._database.write(work)

    # Saved mappings

    async def save_mapping(self, agent_id: str, fingerprint: str, mapping: MappingLike[str, Any]) -> None:
        """Keep a mapping for the next table with the same header."""
        now = self._clock.now()
        await self._database.write(saved_mappings.save, agent_id, fingerprint, mapping, now)

    async def delete_mapping(self, agent_id: str, fingerprint: str) -> bool:
        """Forget a saved mapping."""
        return await self._database.write(saved_mappings.forget, agent_id, fingerprint)

    async def aclose(self) -> None:
        """Let the database go."""
        await self._database.aclose()

    def shutdown(self) -> None:
        """Let the database go and end the thread; no call may follow."""
        self._database.shutdown()

    async def _in_pieces(
        self,
        work: Any,
        batch_id: str,
        many: Sequence[Any],
        *args: Any,
        progress: Callable[[int], object] | None = None,
    ) -> ItemChange:
        """`work` on so many at a time that others come to write in between."""
        changes: list[ItemChange] = []
        for first in range(0, len(many), _PIECE) or [0]:
            piece = many[first : first + _PIECE]
            changes.append(await self._database.write(work, batch_id, piece, *args))
            if progress is not None:
                progress(first + len(piece))
        return merged(changes)

    async def _command(self, work: Any, batch_id: str, *args: Any) -> BatchRecord:
        boot = self._clock.boot()

        def both(connection: Connection) -> BatchRecord:
            work(connection, batch_id, *args)
            return reading.read_batch(connection, batch_id, boot)

        loop = asyncio.get_running_loop()
        end = loop.time() + _PATIENCE_SECONDS
        while True:
            try:
                return await self._database.write(both)
            except StoreError as error:
                if not error.busy or loop.time() >= end:
                    raise
                logger.warning("%s: another process is at work on the batch; the command waits for it", batch_id)
