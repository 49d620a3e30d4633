"""Staggering a batch anew where it missed slots: while the computer slept, the store was gone, or rows had no room."""

from __future__ import annotations

from datetime import timedelta

from batchkit.core.ports import Clock, Store
from batchkit.core.record import BatchRecord, Lease
from batchkit.core.schedule import has_missed_slots

__all__ = ["CatchUp"]


class CatchUp:
    """Gives pending rows new times. Where they are very many and that takes long, it is not done again for that."""

    def __init__(self, *, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        #: how long it took last; the rate rule holds for rows that are late by that much, too
        self._took = timedelta()

    async def begin(self, lease: Lease, batch: BatchRecord, *, was_full: bool) -> bool:
        """Stagger anew from now if slots were missed; whether that was done. was_full: for want of room only."""
        now = self._clock.now()
        if batch.next_due is None or not has_missed_slots(batch.next_due + self._took, now, batch.pace):
            return False
        behind = (now - batch.next_due).total_seconds()
        message = f"The schedule was {behind:,.0f} s behind; the pending rows have new times, from now on."
        began = self._clock.boot()[1]
        # That rows wait for room is no news.
        await self._store.restagger(lease, "" if was_full else message)
        self._took = timedelta(seconds=self._clock.boot()[1] - began)
        return True
