"""Whether a runner may leave its batch to whoever is woken for it later."""

from __future__ import annotations

import logging
from datetime import timedelta

from batchkit.core.ports import Clock, Store, Target
from batchkit.core.record import Lease, Tick
from batchkit.core.wake import next_wake
from batchkit.engine.journal import tell
from batchkit.errors import StoreError

__all__ = ["Rest"]

logger = logging.getLogger("batchkit")


class Rest:
    """Gives a batch up for which there is nothing to do for `seconds`: nobody need hold it until then."""

    def __init__(self, *, store: Store, target: Target, clock: Clock, seconds: float) -> None:
        self._store = store
        self._target = target
        self._clock = clock
        self._spell = timedelta(seconds=seconds)

    async def begins(self, lease: Lease, tick: Tick) -> bool:
        """Whether the batch rests from now on; not if a command has come since `tick`."""
        batch, now = tick.batch, self._clock.now()
        until = next_wake(batch, now, can_look_up=self._target.can_look_up)
        if until is not None and until <= now + self._spell:
            return False
        try:
            rests = await self._store.entrust(batch.id, until, revision=batch.revision, lease=lease)
        except StoreError as error:
            logger.warning("%s: %s", batch.id, error)
            return False
        if rests:
            tell(batch.id, "rests", until="" if until is None else until.isoformat())
        return rests
