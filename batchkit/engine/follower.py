"""Following triggered executions to their end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta

from batchkit.core.execution import Execution
from batchkit.core.ports import AskedById, Clock, Store, Target
from batchkit.core.request import ITEM_KEY
from batchkit.errors import StoreError, TargetError

__all__ = ["Follower"]

logger = logging.getLogger("batchkit")

#: the pause between two looks grows by this factor while nothing changes, up to so many of the shortest
_GROWTH = 1.5
_MOST = 15
#: executions asked for at a time, where the target has to be told which
_PAGE = 100
#: the target's clock and ours may differ so much
_SKEW = timedelta(minutes=5)


class Follower:
    """Asks the target what became of a batch's executions until all have finished."""

    def __init__(
        self, batch_id: str, *, store: Store, target: Target, clock: Clock, on_note: Callable[[], None]
    ) -> None:
        self._batch_id = batch_id
        self._store = store
        self._target = target
        self._clock = clock
        self._on_note = on_note
        self._task: asyncio.Task[None] | None = None
        self._never = asyncio.Event()

    def start(self) -> None:
        """Follow, unless it is being done."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._follow())

    def stop(self) -> None:
        """Leave it."""
        if self._task is not None:
            self._task.cancel()

    async def _follow(self) -> None:
        pause = self._target.poll_interval
        while True:
            await self._clock.wait(self._never, pause)
            try:
                since = await self._store.earliest_open(self._batch_id)
                if since is None:
                    return
                changed = 0
                async for page in self._pages(since - _SKEW):
                    changed += await self._store.note(self._batch_id, list(_by_item(page)))
            except (StoreError, TargetError) as error:
                logger.warning("%s: executions could not be followed: %s", self._batch_id, error)
                changed = 0
            pause = self._target.poll_interval if changed else min(pause * _GROWTH, _MOST * self._target.poll_interval)
            if changed:
                self._on_note()

    async def _pages(self, since: datetime) -> AsyncIterator[list[Execution]]:
        """What the target says of the batch's executions, those it is not done with at least."""
        if not isinstance(self._target, AskedById):
            async for page in self._target.executions(self._batch_id, since):
                yield page
            return
        last = -1
        while known := await self._store.open_executions(self._batch_id, after=last, limit=_PAGE):
            last = known[-1][0]
            yield await self._target.executions_by_id(self._batch_id, known)


def _by_item(page: list[Execution]) -> list[tuple[int, Execution]]:
    """Each execution with the item its metadata names; what names none is not ours."""
    named = ((execution.metadata.get(ITEM_KEY, ""), execution) for execution in page)
    return [(int(item), execution) for item, execution in named if item.isascii() and item.isdigit()]
