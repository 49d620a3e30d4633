"""The engine inside the kernel: a thread with an event loop of its own, and one runner a batch.

A cell that blocks the kernel does not stall the schedule, and what widgets and cells command crosses over safely.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import logging
import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal, TypeVar

from batchkit.core.limits import Limits
from batchkit.core.ports import Clock, Reporting, Store, Target
from batchkit.core.record import BatchRecord, ItemChange
from batchkit.core.retry import RetryPolicy
from batchkit.core.waiting import Until, is_reached
from batchkit.engine.journal import tell_acquired
from batchkit.engine.reports import Reports
from batchkit.engine.rest import Rest
from batchkit.engine.runner import POLL_SECONDS, Runner
from batchkit.errors import EngineError, StoreError

__all__ = ["KernelEngine"]

T = TypeVar("T")
logger = logging.getLogger("batchkit")

_CLOSE_SECONDS = 10.0
#: a process that ends is not held up for longer
_EXIT_SECONDS = 2.0
#: a batch that a worker is to run may be without a runner for so long
_WORKER_PATIENCE_SECONDS = 10.0
#: a store that fails for longer ends the waiting for its batches
_STORE_PATIENCE_SECONDS = 10.0
#: the same for one whose server cannot be reached
_OUTAGE_PATIENCE_SECONDS = 120.0


class KernelEngine:
    """Runs batches in this process until `close`. Its coroutines run on its own loop; `call` gets a result out.

    runs: whether it begins to run batches by itself; without, it only steers them, and a worker runs them.
    rest_seconds: a batch with nothing to do for longer is given up; None: none is. worker_patience: seconds for which
    those who wait for a batch of a worker's wait for the worker.
    """

    def __init__(
        self,
        *,
        store: Store,
        target: Target,
        clock: Clock,
        policy: RetryPolicy | None = None,
        poll_seconds: float = POLL_SECONDS,
        store_patience: float = _STORE_PATIENCE_SECONDS,
        runs: bool = True,
        rest_seconds: float | None = None,
        worker_patience: float = _WORKER_PATIENCE_SECONDS,
    ) -> None:
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._store = store
        self._target = target
        self._clock = clock
        self._policy = policy or RetryPolicy()
        self._poll_seconds = poll_seconds
        self._store_patience = store_patience
        self._runs = runs
        self._worker_patience = worker_patience
        self._rest: Rest | None = None
        if rest_seconds is not None:
            self._rest = Rest(store=store, target=target, clock=clock, seconds=rest_seconds)
        self._runners: dict[str, tuple[Runner, asyncio.Task[None]]] = {}
        self._attending: dict[str, asyncio.Lock] = {}
        self._changed: dict[str, asyncio.Event] = {}
        #: of the batches run here, what those who wait for them were last told
        self._told: dict[str, BatchRecord] = {}
        #: of a target whose executions run in this process
        self._reports: Reports | None = None
        if isinstance(target, Reporting):
            self._reports = Reports(target, store=store, clock=clock, on_note=self._heard)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<KernelEngine {self.owner}, {len(self._runners)} batches>"

    # Across threads

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the engine's loop and return its result. Blocks; raises EngineError on that loop itself."""
        if threading.current_thread() is self._thread:
            work.close()
            raise EngineError(
                "A blocking call was made from batchkit's own thread. Make it from a cell, a script or another thread."
            )
        return self.submit(work).result()

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start `work` on the engine's loop."""
        try:
            loop = self._running_loop()
        except EngineError:
            work.close()
            raise
        return asyncio.run_coroutine_threadsafe(work, loop)

    def close(self) -> None:
        """Stop sending, record what is under way, give the leases up, end the thread. Twice is the same as once."""
        with self._lock:
            loop, thread, self._closed = self._loop, self._thread, True
            self._loop = None
        atexit.unregister(self._end_with_process)
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    @property
    def active(self) -> tuple[str, ...]:
        """The batches this process runs."""
        return tuple(self._runners)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._closed:
                raise EngineError("This workspace is closed. Make a new one: ws = bk.Workspace(...).")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="batchkit-engine", daemon=True)
                self._thread.start()
                atexit.register(self._end_with_process)
            return self._loop

    def _end_with_process(self) -> None:
        """Warn, and leave no connection open: the process ends without `close`.

        What `close` would record cannot be: the store's thread takes nothing more by now.
        """
        self._warn()
        loop = self._loop
        if loop is not None and loop.is_running():
            with suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(self._let_go(), loop).result(_EXIT_SECONDS)

    def _warn(self) -> None:
        """A script that ends without waiting must not seem to have done its work."""
        for batch in self._told.values():
            if not batch.status.final:
                print(
                    f"batchkit: the process ends, and so does batch {batch.name!r} ({batch.id}): {batch.progress}. "
                    "Wait for it with batch.join(); to continue it: ws.batch(id).take_over().",
                    file=sys.stderr,
                )

    async def _let_go(self) -> None:
        """Stop sending, and close the target's connections."""
        tasks = [task for _, task in self._runners.values()]
        for task in tasks:
            task.cancel()
        # What they fail with now, for want of a store, is no news.
        await asyncio.gather(*tasks, self._target.aclose(), return_exceptions=True)

    async def _close(self) -> None:
        await self._drain()
        tasks = [task for _, task in self._runners.values()]
        for runner, _ in list(self._runners.values()):
            runner.close()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
        await self._target.aclose()
        if self._reports is not None:
            await self._reports.drain(0)
        if tasks:
            # What the target gave up with that is recorded, too.
            await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
        await self._store.aclose()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _drain(self) -> None:
        """Send nothing more, and see executions of this process end, before others may have its batches.

        Whoever takes a batch over writes down as lost what he does not know of.
        """
        if self._reports is not None:
            for runner, _ in list(self._runners.values()):
                runner.hold()
            await self._reports.drain(_CLOSE_SECONDS)

    # On the loop

    async def begin(self, batch_id: str) -> None:
        """Run the batch here, unless that is left to a worker."""
        if self._runs:
            await self.attend(batch_id)

    async def attend(self, batch_id: str) -> bool:
        """Run the batch here, unless it is run already; False while another process's runner is alive."""
        async with self._attending.setdefault(batch_id, asyncio.Lock()):
            return await self._is_attended(batch_id) or await self._start(batch_id)

    async def _is_attended(self, batch_id: str) -> bool:
        """Whether a runner of ours has the batch; one that has lost it is waited for."""
        if batch_id not in self._runners:
            return False
        runner, task = self._runners[batch_id]
        if runner.lost:
            await asyncio.wait([task])
        return not runner.lost

    async def _start(self, batch_id: str) -> bool:
        can_look_up = self._target.can_look_up
        quarantine = self._target.total_timeout + self._target.listing_delay if can_look_up else None
        lease = await self._store.acquire(batch_id, self.owner, settle_after=quarantine)
        if lease is None:
            return False
        if self._reports is not None:
            await self._reports.lose_unknown(batch_id)
        self._told[batch_id] = batch = await self._store.batch(batch_id)
        tell_acquired(lease, batch)
        runner = Runner(
            lease,
            store=self._store,
            target=self._target,
            clock=self._clock,
            policy=self._policy,
            seed=lease.epoch,
            poll_seconds=self._poll_seconds,
            on_change=self._notify,
            rest=self._rest,
        )
        task = asyncio.get_running_loop().create_task(runner.run(), name=f"batchkit {batch_id}")
        self._runners[batch_id] = (runner, task)
        task.add_done_callback(lambda done: self._ended(batch_id, done))
        return True

    async def pause(self, batch_id: str, actor: str) -> BatchRecord:
        """Pause; no request of this process starts after the call. Raises StateError."""
        return await self._stop(batch_id, self._store.pause(batch_id, actor))

    async def resume(self, batch_id: str, actor: str) -> BatchRecord:
        """Resume, here where nobody runs it. Raises StateError."""
        batch = await self._store.resume(batch_id, actor)
        runner = self._runner(batch_id)
        if runner is not None:
            runner.trust()
        elif not batch.runner_alive:
            await self.begin(batch_id)
        self._woken(batch)
        return batch

    async def cancel(self, batch_id: str, actor: str) -> BatchRecord:
        """Cancel; no request of this process starts after the call. Raises StateError."""
        return await self._stop(batch_id, self._store.cancel(batch_id, actor))

    async def change_limits(self, batch_id: str, limits: Limits, actor: str) -> BatchRecord:
        """Change the limits; no request of this process starts by the old ones after the call. Raises StateError."""
        return await self._stop(batch_id, self._store.change_limits(batch_id, limits, actor))

    async def delete(self, batch_id: str) -> None:
        """Delete a batch that has ended; its executions are not followed any longer. Raises StateError."""
        batch = await self._store.batch(batch_id)
        if batch.status.final and batch_id in self._runners:
            runner, task = self._runners[batch_id]
            runner.close()
            await asyncio.wait([task])
        await self._store.delete(batch_id, self.owner)

    async def cancel_items(self, batch_id: str, ids: list[int], actor: str) -> ItemChange:
        """Cancel pending items."""
        change = await self._store.cancel_items(batch_id, ids, actor)
        self._nudge(batch_id)
        return change

    async def reschedule_items(
        self,
        batch_id: str,
        ids: list[int],
        at: datetime,
        actor: str,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> ItemChange:
        """Move pending items; `progress` is told, on the engine's loop, how many were gone through."""
        change = await self._store.reschedule_items(batch_id, ids, at, actor, progress=progress)
        self._nudge(batch_id)
        return change

    async def settle_items(
        self, batch_id: str, ids: list[int], choice: Literal["retry", "skip"], actor: str
    ) -> ItemChange:
        """Decide items in doubt."""
        change = await self._store.settle_items(batch_id, ids, choice, actor)
        self._nudge(batch_id)
        return change

    def trouble(self, batch_id: str, after: float = 0.0) -> StoreError | None:
        """What the store fails with for the batch that runs here; None: nothing, or nothing since `after`."""
        runner = self._runner(batch_id)
        return None if runner is None else runner.trouble.lasting(self._store_patience, _OUTAGE_PATIENCE_SECONDS, after)

    async def wait(self, batch_id: str, until: Until) -> BatchRecord:
        """The batch once it is where `until` says.

        Raises BatchError where that cannot be, StoreError where the store cannot be read, or has failed for some time:
        the batch goes on by itself once it works again. A server that cannot be reached is waited for.
        """
        began = attended_at = read_at = self._clock.monotonic()
        patient = not self._runs
        while True:
            changed = self._changed.setdefault(batch_id, asyncio.Event())
            changed.clear()
            try:
                batch = await self._store.batch(batch_id)
            except StoreError as error:
                if not error.passing or self._clock.monotonic() - read_at > _OUTAGE_PATIENCE_SECONDS:
                    raise
                await self._clock.wait(changed, self._poll_seconds)
                # Whoever runs it could not renew its lease either.
                attended_at, patient = self._clock.monotonic(), True
                continue
            read_at = self._clock.monotonic()
            if (trouble := self.trouble(batch_id, began)) is not None:
                raise trouble
            if batch_id in self._runners:
                # Its lease may have lapsed while the machine slept; the runner renews it.
                batch = replace(batch, runner_alive=True)
            if batch.runner_alive:
                attended_at, patient = self._clock.monotonic(), not self._runs
            elif patient and self._clock.monotonic() < attended_at + self._worker_patience:
                batch = replace(batch, runner_alive=True)
            if is_reached(batch, until, can_look_up=self._target.can_look_up):
                return batch
            if batch.status.final and not batch.runner_alive:
                await self.begin(batch_id)
            await self._clock.wait(changed, self._poll_seconds)

    async def _stop(self, batch_id: str, command: Coroutine[Any, Any, BatchRecord]) -> BatchRecord:
        """The batch after `command`; no request of this process starts from now on, unless it is refused."""
        runner = self._runner(batch_id)
        if runner is not None:
            runner.hold()
        revision = 0
        try:
            batch = await command
            revision = batch.revision
        finally:
            if runner is not None:
                runner.release(revision)
        self._woken(batch)
        return batch

    def _runner(self, batch_id: str) -> Runner | None:
        runner, _ = self._runners.get(batch_id, (None, None))
        return runner

    def _nudge(self, batch_id: str) -> None:
        runner = self._runner(batch_id)
        if runner is not None:
            runner.wake()

    def _heard(self, batch_id: str) -> None:
        """Executions have ended, by the target's own report."""
        self._nudge(batch_id)
        if batch_id not in self._runners and batch_id in self._changed:
            self._changed[batch_id].set()

    def _woken(self, batch: BatchRecord) -> None:
        self._nudge(batch.id)
        self._notify(batch)

    def _notify(self, batch: BatchRecord) -> None:
        told = self._told.get(batch.id)
        if batch.id in self._runners:
            self._told[batch.id] = batch
        # Only what can end a wait: reading the store again for each answer would slow the answers down.
        if told is not None and _news(told) == _news(batch):
            return
        changed = self._changed.get(batch.id)
        if changed is not None:
            changed.set()

    def _ended(self, batch_id: str, task: asyncio.Task[None]) -> None:
        self._runners.pop(batch_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s: its runner failed", batch_id, exc_info=error)
        else:
            self._told.pop(batch_id, None)
        changed = self._changed.get(batch_id)
        if changed is not None:
            changed.set()


def _news(batch: BatchRecord) -> tuple[object, ...]:
    progress, executions = batch.progress, batch.progress.executions
    known = (batch.untold == 0, executions.awaited == 0)
    return batch.status, batch.reason, progress.pending + progress.triggering == 0, known
