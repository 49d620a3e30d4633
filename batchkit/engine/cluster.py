"""The engine for a cluster: batches are run by worker processes on any number of machines, over one PostgreSQL store.

The store is the truth; wakes only say that it is time to look there. One that comes twice, late or never costs time
and nothing else: a lease lets one runner at a time have a batch, and what is overdue is found without a wake.
Importing this needs the extra `cluster`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Literal, TypeVar

from batchkit.core.limits import Limits
from batchkit.core.ports import Clock, Store, Target
from batchkit.core.record import BatchRecord, ItemChange
from batchkit.core.retry import RetryPolicy
from batchkit.core.waiting import Until
from batchkit.core.wake import RESTING, Wake, next_wake
from batchkit.engine.attendant import Attendant
from batchkit.engine.kernel import KernelEngine
from batchkit.engine.wakes import Wakes
from batchkit.errors import BatchInterrupted, EngineError, StoreError

__all__ = ["REST_SECONDS", "ClusterEngine"]

T = TypeVar("T")
logger = logging.getLogger("batchkit")

#: a batch with nothing to do for longer is held by nobody; the failures of its last groups are forgotten then
REST_SECONDS = 90.0
#: how often commands are looked for, at the least; every claim looks by itself, so that one group a second costs none
_POLL_SECONDS = 0.9
#: those who wait for a batch wait so long for a worker to take it up
_PATIENCE_SECONDS = 60.0
#: seconds for which a worker waits for a database that is gone, before it says so and begins anew
_QUEUE_PATIENCE_SECONDS = 300.0
_DRAIN_SECONDS = 15.0


class ClusterEngine(KernelEngine):
    """Steers batches, and leaves them to the cluster's workers. `serve` makes this process one of them.

    conninfo: the store's database, as libpq takes it. lease_seconds: as the store gives them. rest_seconds: more than
    a wake comes early, or else who was woken would rest again.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        store: Store,
        target: Target,
        clock: Clock,
        policy: RetryPolicy | None = None,
        poll_seconds: float = _POLL_SECONDS,
        rest_seconds: float = REST_SECONDS,
        lease_seconds: float,
    ) -> None:
        super().__init__(
            store=store,
            target=target,
            clock=clock,
            policy=policy,
            poll_seconds=poll_seconds,
            runs=False,
            rest_seconds=rest_seconds,
            worker_patience=_PATIENCE_SECONDS,
        )
        self._conninfo = conninfo
        self._lease_seconds = lease_seconds
        self._wakes: Wakes | None = None
        self._attendant: Attendant | None = None
        self._serving: asyncio.Task[None] | None = None

    # As a worker

    async def serve(self, concurrency: int, tell: Callable[[str], None]) -> None:
        """Run up to `concurrency` of the cluster's batches here at a time, until `close`. Raises EngineError.

        tell: called with a line of text for people, for what happens.
        """
        self._wakes = Wakes(self._conninfo, patience=_QUEUE_PATIENCE_SECONDS)
        self._attendant = Attendant(
            store=self._store,
            target=self._target.info,
            wakes=self._wakes,
            attend=lambda batch_id: self._run_here(batch_id, tell),
            wake=lambda batch, is_served: self._submit(batch, is_served=is_served),
            concurrency=concurrency,
            lease_seconds=self._lease_seconds,
            tell=tell,
        )
        self._serving = asyncio.get_running_loop().create_task(self._attendant.run())
        await asyncio.shield(self._serving)

    async def _run_here(self, batch_id: str, tell: Callable[[str], None]) -> bool:
        """Run the batch until its runner ends, and see to the next wake; False while another runner is alive."""
        if batch_id in self._runners or not await super().attend(batch_id):
            return False
        before = await self._store.batch(batch_id)
        tell(f"{batch_id}  taken up: {before.name!r}, {before.status}, {before.progress}")
        runner, task = self._runners.get(batch_id, (None, None))
        if runner is not None and task is not None:
            await asyncio.wait([task])
            if runner.lost:
                tell(f"{batch_id}  another worker has taken over")
                return True
            if task.cancelled() or task.exception() is not None:
                # Upkeep wakes somebody for it, after a while.
                return True
        after = await self._store.batch(batch_id)
        tell(f"{batch_id}  left: {after.status}, {after.progress}")
        await self._submit(after)
        return True

    async def _close(self) -> None:
        if self._attendant is not None and self._serving is not None:
            self._attendant.stop()
            await self._drain()
            for runner, _ in list(self._runners.values()):
                runner.close()
            await asyncio.wait([self._serving], timeout=_DRAIN_SECONDS)
        if self._wakes is not None:
            await self._wakes.aclose()
        await super()._close()

    async def workers(self) -> int:
        """How many of the cluster's workers are at work, whatever their target. Raises EngineError."""
        return await (self._wakes or Wakes(self._conninfo)).workers()

    # Commands: first the store, then a wake for whoever is to act on them

    async def begin(self, batch_id: str) -> None:
        """Have the cluster run the batch."""
        await self._see_to(batch_id)

    async def attend(self, batch_id: str) -> bool:
        """Have the cluster run the batch, unless somebody does already; nothing runs here."""
        await self._see_to(batch_id)
        return True

    async def resume(self, batch_id: str, actor: str) -> BatchRecord:
        """Resume. Raises StateError."""
        return await self._followed_up(batch_id, super().resume(batch_id, actor))

    async def cancel(self, batch_id: str, actor: str) -> BatchRecord:
        """Cancel; a worker sends nothing more within its next look at the store. Raises StateError."""
        return await self._followed_up(batch_id, super().cancel(batch_id, actor))

    async def change_limits(self, batch_id: str, limits: Limits, actor: str) -> BatchRecord:
        """Change the limits; a worker follows within its next look at the store. Raises StateError."""
        return await self._followed_up(batch_id, super().change_limits(batch_id, limits, actor))

    async def cancel_items(self, batch_id: str, ids: list[int], actor: str) -> ItemChange:
        """Cancel pending items."""
        return await self._followed_up(batch_id, super().cancel_items(batch_id, ids, actor))

    async def reschedule_items(
        self,
        batch_id: str,
        ids: list[int],
        at: datetime,
        actor: str,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> ItemChange:
        """Move pending items."""
        moving = super().reschedule_items(batch_id, ids, at, actor, progress=progress)
        return await self._followed_up(batch_id, moving)

    async def settle_items(
        self, batch_id: str, ids: list[int], choice: Literal["retry", "skip"], actor: str
    ) -> ItemChange:
        """Decide items in doubt."""
        return await self._followed_up(batch_id, super().settle_items(batch_id, ids, choice, actor))

    async def wait(self, batch_id: str, until: Until) -> BatchRecord:
        """The batch once it is where `until` says. Raises as the kernel's engine, also where no worker takes it up."""
        try:
            return await super().wait(batch_id, until)
        except BatchInterrupted as error:
            raise BatchInterrupted(
                f"Batch {batch_id} has been without a worker for {_PATIENCE_SECONDS:.0f} s. Start `batchkit worker "
                "--cluster` on the same store, with the batch's target; it takes the batch up by itself.",
                batch_id=batch_id,
            ) from error

    async def _followed_up(self, batch_id: str, command: Coroutine[Any, Any, T]) -> T:
        done = await command
        await self._see_to(batch_id)
        return done

    async def _see_to(self, batch_id: str) -> None:
        """Put a wake for the batch into the queue, if there will be something to do. The batch is safe without one."""
        try:
            await self._submit(await self._store.batch(batch_id))
        except (StoreError, EngineError) as error:
            logger.warning("%s: the cluster's workers find it by themselves, seconds later. %s", batch_id, error)

    async def _submit(self, batch: BatchRecord, *, is_served: bool = True) -> None:
        """Put a wake into the queue. is_served: False where it is not known that a worker has the batch's target.

        Such a batch is entrusted to nobody anew: that nobody takes it up is to be seen.
        """
        if batch.runner_alive and batch.runner != RESTING:
            # Its runner looks at the store often enough, and does not leave it before it has seen this revision.
            return
        now = self._clock.now()
        due = next_wake(batch, now, can_look_up=self._target.can_look_up)
        if due is None:
            return
        if is_served and not await self._store.entrust(batch.id, due, revision=batch.revision):
            # A command or a runner came between, and sees to it.
            return
        if self._wakes is None:
            self._wakes = Wakes(self._conninfo)
        await self._wakes.defer(
            Wake(
                batch_id=batch.id,
                revision=batch.revision,
                due=due,
                target=batch.target.identity,
                at_once=due <= now,
            )
        )
