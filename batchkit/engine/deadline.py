"""Giving up waiting for executions that are past the batch's item deadline."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from batchkit.core.ports import Clock, Store
from batchkit.errors import StoreError

__all__ = ["Deadline"]

logger = logging.getLogger("batchkit")

#: the deadlines are looked at this often at most ...
_SHORTEST_SECONDS = 1.0
#: ... and at least: the machine may sleep, or its clock be set
_LONGEST_SECONDS = 30.0


class Deadline:
    """Has a batch's executions counted as timed out when their deadline has come."""

    def __init__(self, batch_id: str, *, store: Store, clock: Clock, on_change: Callable[[], None]) -> None:
        self._batch_id = batch_id
        self._store = store
        self._clock = clock
        self._on_change = on_change
        self._task: asyncio.Task[None] | None = None
        self._never = asyncio.Event()

    def start(self) -> None:
        """Watch the deadlines, unless that is being done."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._watch())

    def stop(self) -> None:
        """Leave it."""
        if self._task is not None:
            self._task.cancel()

    async def _watch(self) -> None:
        while True:
            pause = _LONGEST_SECONDS
            try:
                until = await self._store.time_out(self._batch_id)
                self._on_change()
                if until is None:
                    return
                pause = min(pause, (until - self._clock.now()).total_seconds())
            except StoreError as error:
                logger.warning("%s: the deadlines could not be looked at: %s", self._batch_id, error)
            await self._clock.wait(self._never, max(_SHORTEST_SECONDS, pause))
