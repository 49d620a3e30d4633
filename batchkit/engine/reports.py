"""What a target of this process reports of executions that end, written down in groups."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from batchkit.core.execution import Execution
from batchkit.core.lifecycle import ItemStatus
from batchkit.core.ports import Clock, Reporting, Store
from batchkit.core.record import ItemRecord
from batchkit.errors import NotFoundError, StoreError

__all__ = ["Reports"]

logger = logging.getLogger("batchkit")

#: a report waits this long for others, so that one commit records them all, ...
_LINGER_SECONDS = 0.05
#: ... and this long where its execution is not recorded yet, or the store failed
_AGAIN_SECONDS = 0.5
_AT_ONCE = 1_000


class Reports:
    """The reports of one target, of all batches. Lives on the engine's loop."""

    def __init__(self, target: Reporting, *, store: Store, clock: Clock, on_note: Callable[[str], None]) -> None:
        self._target = target
        self._store = store
        self._clock = clock
        self._on_note = on_note
        self._reports: dict[str, dict[int, Execution]] = {}
        self._task: asyncio.Task[None] | None = None
        self._never = asyncio.Event()
        #: one writes at a time
        self._writing = asyncio.Lock()
        #: whoever else wants to be told
        self._before = target.on_finished
        target.on_finished = self.add

    def add(self, batch_id: str, item: int, execution: Execution) -> None:
        """An execution has ended."""
        if self._before is not None:
            self._before(batch_id, item, execution)
        self._reports.setdefault(batch_id, {})[item] = execution
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._record())

    async def flush(self) -> None:
        """Write down what is at hand."""
        async with self._writing:
            for batch_id in list(self._reports):
                try:
                    if await self._record_some(batch_id):
                        self._on_note(batch_id)
                except NotFoundError:
                    self._reports.pop(batch_id)
                except StoreError as error:
                    logger.warning("%s: ends of executions could not be recorded: %s", batch_id, error)

    async def drain(self, seconds: float) -> None:
        """Have nothing more begin, wait so long at the most for what is under way, and write down what ended."""
        await self._target.drain(seconds)
        # What ended has been told by then.
        await asyncio.sleep(0)
        await self.flush()

    async def lose_unknown(self, batch_id: str) -> None:
        """Write down as lost what another process ran and did not see end: that process is gone."""
        unread = await self._store.unread_executions(batch_id)
        known = self._target.known(batch_id)
        lost = [each.item for each in unread if each.execution_id not in known]
        if lost:
            await self._store.lose(batch_id, lost)

    async def _record(self) -> None:
        pause = _LINGER_SECONDS
        while self._reports:
            await self._clock.wait(self._never, pause)
            before = {batch_id: len(reports) for batch_id, reports in self._reports.items()}
            await self.flush()
            moved = any(len(self._reports.get(batch_id, ())) < count for batch_id, count in before.items())
            pause = _LINGER_SECONDS if moved else _AGAIN_SECONDS

    async def _record_some(self, batch_id: str) -> int:
        """How many changed; reports of executions that are not recorded yet are kept."""
        reports = self._reports[batch_id]
        chosen = dict(list(reports.items())[:_AT_ONCE])
        changed = await self._store.note(batch_id, list(chosen.items()))
        known = {each.item: each for each in await self._store.items(batch_id, positions=list(chosen))}
        for item, execution in chosen.items():
            if item not in known or _is_done(known[item], execution):
                reports.pop(item)
        if not reports:
            self._reports.pop(batch_id)
        return changed


def _is_done(item: ItemRecord, execution: Execution) -> bool:
    """Whether there is nothing more to wait for: it is recorded, or another attempt of the row is."""
    if item.status in (ItemStatus.TRIGGERING, ItemStatus.IN_DOUBT, ItemStatus.PENDING):
        return False
    return item.execution is None or item.execution.id != execution.id or item.execution.status.terminal
