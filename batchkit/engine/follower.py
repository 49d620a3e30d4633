"""Following triggered executions to their end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta

from batchkit.core.execution import Execution
from batchkit.core.ports import AskedById, Clock, ListsByStatus, Store, Target
from batchkit.core.request import items_named
from batchkit.engine.survey import Survey
from batchkit.errors import NotFoundError, StoreError, TargetError

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
        #: rows wait for executions to finish
        self._hurried = asyncio.Event()
        shortest = target.poll_interval
        #: None: the target only lists everything, or has to be told what to look at
        self._survey: Survey | None = None
        if isinstance(target, ListsByStatus):
            self._survey = Survey(
                batch_id, store=store, target=target, clock=clock, shortest=shortest, longest=_MOST * shortest
            )

    def start(self) -> None:
        """Follow, unless it is being done."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._follow())

    def hurry(self) -> None:
        """Rows wait for executions to finish: look as often as the target allows."""
        self._hurried.set()

    def stop(self) -> None:
        """Leave it."""
        if self._task is not None:
            self._task.cancel()

    async def _follow(self) -> None:
        shortest = self._target.poll_interval
        pause = shortest
        while True:
            hurried = await self._paused(pause, shortest)
            try:
                changed = await (self._look() if self._survey is None else self._survey.look(hurried=hurried))
                if changed is None:
                    return
            except (StoreError, TargetError, NotFoundError) as error:
                logger.warning("%s: executions could not be followed: %s", self._batch_id, error)
                changed, pause = 0, min(pause * _GROWTH, _MOST * shortest)
            else:
                longer = min(pause * _GROWTH, _MOST * shortest)
                pause = self._survey.pause if self._survey is not None else shortest if changed else longer
            if changed:
                self._on_note()

    async def _paused(self, pause: float, shortest: float) -> bool:
        """Wait until the next look; whether rows wait for it, which makes it sooner."""
        began = self._clock.monotonic()
        await self._clock.wait(self._hurried, pause)
        hurried = self._hurried.is_set()
        self._hurried.clear()
        left = began + shortest - self._clock.monotonic()
        if hurried and left > 0:
            await self._clock.wait(self._never, left)
        return hurried

    async def _look(self) -> int | None:
        """How many executions changed; None: none is open."""
        since = await self._store.earliest_open(self._batch_id)
        if since is None:
            return None
        changed = 0
        async for page in self._pages(since - _SKEW):
            changed += await self._store.note(self._batch_id, items_named(page))
        return changed

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
