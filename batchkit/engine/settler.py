"""Looking up rows in doubt."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from batchkit.core.outcome import NotSent, Outcome, Triggered
from batchkit.core.ports import Clock, Store, Target
from batchkit.core.record import ItemOutcome, ItemRecord
from batchkit.engine.journal import tell_outcome
from batchkit.errors import StoreError, TargetError

__all__ = ["Settler"]

logger = logging.getLogger("batchkit")

_LOOKED_UP_AT_ONCE = 100


class Settler:
    """Asks the target for the executions of a batch's rows in doubt: what it knows was triggered, the rest was not."""

    def __init__(
        self,
        batch_id: str,
        *,
        store: Store,
        target: Target,
        clock: Clock,
        on_outcomes: Callable[[list[ItemOutcome]], None],
    ) -> None:
        self._batch_id = batch_id
        self._store = store
        self._target = target
        self._clock = clock
        self._on_outcomes = on_outcomes
        self._task: asyncio.Task[None] | None = None
        #: on the monotonic clock, after a lookup that failed
        self._not_before = 0.0
        #: item and attempt of what was logged
        self._told: set[tuple[int, int]] = set()

    def start(self) -> None:
        """Look up what may be looked up by now, unless that is being done or the target cannot."""
        idle = self._task is None or self._task.done()
        if idle and self._target.can_look_up and self._clock.monotonic() >= self._not_before:
            self._task = asyncio.get_running_loop().create_task(self._settle())

    def stop(self) -> None:
        """Leave it."""
        if self._task is not None:
            self._task.cancel()

    async def _settle(self) -> None:
        found: list[ItemOutcome] = []
        try:
            for item in await self._store.doubtful(self._batch_id, _LOOKED_UP_AT_ONCE):
                outcome = await self._look_up(item)
                if (item.item, item.attempt) not in self._told:
                    # The first answer counts; the row is looked up again where that is not recorded yet.
                    self._told.add((item.item, item.attempt))
                    tell_outcome(self._batch_id, item, outcome, looked_up=True)
                found.append(ItemOutcome(item=item.item, attempt=item.attempt, outcome=outcome, at=self._clock.now()))
        except Exception as error:  # whatever a target does, the rows stay in doubt and are looked up again
            self._not_before = self._clock.monotonic() + 2 * self._target.poll_interval
            foreseen = isinstance(error, TargetError | StoreError)
            logger.warning("%s: rows in doubt could not be looked up: %s", self._batch_id, error, exc_info=not foreseen)
        self._on_outcomes(found)

    async def _look_up(self, item: ItemRecord) -> Outcome:
        found = await self._target.find(self._batch_id, item.item, item.attempt)
        if found is None:
            return NotSent(message="The target knows nothing of it; it can be sent again.")
        return Triggered(execution=found)
