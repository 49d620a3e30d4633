"""The outbox of a store, as whoever delivers notices sees it. A connection of its own, beside the store's."""

from __future__ import annotations

import hashlib
from datetime import timedelta

from batchkit.core.notice import Notice
from batchkit.core.ports import Clock
from batchkit.core.viewer import EVERYBODY, Viewer
from batchkit.io import notices
from batchkit.io.address import Address
from batchkit.io.opening import database_at

__all__ = ["Outbox"]


class Outbox:
    """What is to be told of the batches `viewer` sees in one store. All methods but `shutdown` raise StoreError."""

    def __init__(self, store: Address, clock: Clock, viewer: Viewer = EVERYBODY) -> None:
        self._database = database_at(store, viewer)
        self._clock = clock
        self._viewer = viewer

    def __repr__(self) -> str:
        return f"<Outbox of {self._database.label!r}>"

    async def open_sink(self, sink: str) -> None:
        """Keep notices for that sink from now on."""
        await self._database.write(notices.open_sink, self._own(sink), self._clock.now())

    async def claim_notice(self, sink: str) -> tuple[str, str, int] | None:
        """The sink's next notice that is due: id, body, tries so far. Nobody else is given it for a minute."""
        return await self._database.write(notices.claim_notice, self._own(sink), self._clock.now())

    async def has_notices(self, sink: str) -> bool:
        """Whether a notice of the sink is due."""
        return await self._database.read(notices.has_due, self._own(sink), self._clock.now())

    async def give_up(self, sink: str, host: str) -> list[tuple[str, str]]:
        """Drop the sink's notices that are too old; returns batch and message, as its log has it now."""
        return await self._database.write(notices.give_up, self._own(sink), host, self._clock.now())

    async def drop_notice(self, notice_id: str) -> None:
        """The notice was delivered, or never will be."""
        await self._database.write(notices.drop_notice, notice_id)

    async def defer_notice(self, notice_id: str, seconds: float) -> None:
        """The notice was not delivered, and is tried again in so many seconds."""
        until = self._clock.now() + timedelta(seconds=seconds)
        await self._database.write(notices.defer_notice, notice_id, until)

    async def last_event(self) -> int:
        """The number of the newest log entry of all batches, 0 for none."""
        return await self._database.read(notices.last_event)

    async def news(self, after: int) -> tuple[list[Notice], int]:
        """What is told of the log entries after number `after`, and up to which number this is."""
        if await self.last_event() <= after:
            return [], after
        return await self._database.write(notices.read_news, after)

    def shutdown(self) -> None:
        """Let the database go and end the thread; no call may follow."""
        self._database.shutdown()

    def _own(self, sink: str) -> str:
        """The sink by the name the store has for it: what it is told differs from one owner to the other."""
        return sink if self._viewer.sees_all else hashlib.sha256(f"{sink}\n{self._viewer.name}".encode()).hexdigest()
