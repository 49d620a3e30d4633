"""One of a cluster's workers: takes wakes from the queue, attends to their batches, and looks after what others left.

Two workers of Procrastinate run in it. One takes wakes, as many batches at a time as it is told. The other one is for
upkeep, so that this never waits for a batch: wakes of processes that died are delivered again, and batches that
nobody runs get a new one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from procrastinate import App, JobContext
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import DeleteJobCondition, Status
from procrastinate.worker import Worker

from batchkit.core.ports import Store
from batchkit.core.record import BatchRecord
from batchkit.core.target import TargetInfo
from batchkit.engine.wakes import WAKE, Wakes, is_forbidden, queue_error, queue_of
from batchkit.errors import BatchkitError, NotFoundError

__all__ = ["Attendant"]

logger = logging.getLogger("batchkit")

_UPKEEP = "batchkit.upkeep"
_UPKEEP_QUEUE = "batchkit-upkeep"
#: every two seconds; the last column counts seconds
_UPKEEP_TIMES = "* * * * * */2"
#: seconds between two signs of life: of the worker that takes wakes, and of that for upkeep, whose silence costs no
#: batch anything; and after how many without one they are taken for gone
_HEARTBEAT_SECONDS, _SLOW_HEARTBEAT_SECONDS, _STALLED_SECONDS = 1.0, 2.0, 4.0
#: a worker that has been silent for so long is forgotten
_FORGOTTEN_SECONDS = 60.0
#: seconds between two looks for wakes that have become due; new ones are heard of at once
_POLL_SECONDS = 1.0
#: jobs are never aborted, so that looking for those to be aborted is a formality
_SELDOM_SECONDS = 600.0
#: after a worker ended by itself, it is started again
_RESTART_SECONDS = 1.0
#: a wake that is delivered again waits for its former runner's lease to lapse, looking so often
_LOOK_SECONDS = 0.5

Attend = Callable[[str], Awaitable[bool]]


class Attendant:
    """Attends to batches until `stop`. Lives on the engine's loop.

    attend: runs a batch here to its end or its rest; False: somebody else has it. wake: puts a wake for a batch into
    the queue; whether a worker with the batch's target is known to be there. tell: called with a line of text for
    people.
    """

    def __init__(
        self,
        *,
        store: Store,
        target: TargetInfo,
        wakes: Wakes,
        attend: Attend,
        wake: Callable[[BatchRecord, bool], Awaitable[None]],
        concurrency: int,
        lease_seconds: float,
        tell: Callable[[str], None],
    ) -> None:
        self._store = store
        self._target = target
        self._wakes = wakes
        self._attend = attend
        self._wake = wake
        self._concurrency = concurrency
        self._lease_seconds = lease_seconds
        self._tell = tell
        self._stopped = asyncio.Event()
        self._workers: set[Worker] = set()
        #: batches for which no worker with their target was found, told of once
        self._foreign: set[str] = set()

    async def run(self) -> None:
        """Work until `stop`, then until what runs here has ended. Raises EngineError where there is no queue."""
        app, upkeep = await self._wakes.app(), self._wakes.another_app()
        app.task(name=WAKE, pass_context=True)(self._on_wake)
        task = upkeep.task(name=_UPKEEP, queue=_UPKEEP_QUEUE, queueing_lock=_UPKEEP)(self._on_upkeep)
        upkeep.periodic(cron=_UPKEEP_TIMES)(task)
        await asyncio.gather(
            self._work(app, queue_of(self._target.identity), self._concurrency, _HEARTBEAT_SECONDS),
            self._work(upkeep, _UPKEEP_QUEUE, 1, _SLOW_HEARTBEAT_SECONDS),
        )

    def stop(self) -> None:
        """Take no more wakes."""
        self._stopped.set()
        self._wakes.hurry()
        for worker in self._workers:
            worker.stop()

    async def _work(self, app: App, queue: str, concurrency: int, heartbeat: float) -> None:
        """Run one of the two workers, and start it again should it end by itself. Raises EngineError."""
        while not self._stopped.is_set():
            worker = Worker(
                app,
                [queue],
                name=queue,
                concurrency=concurrency,
                fetch_job_polling_interval=_POLL_SECONDS,
                abort_job_polling_interval=_SELDOM_SECONDS,
                delete_jobs=DeleteJobCondition.ALWAYS,
                install_signal_handlers=False,
                update_heartbeat_interval=heartbeat,
                stalled_worker_timeout=_FORGOTTEN_SECONDS,
            )
            self._workers.add(worker)
            try:
                await worker.run()
            except ConnectorException as error:
                if is_forbidden(error):
                    raise queue_error(error) from error
                logger.warning("%s", queue_error(error))
            finally:
                self._workers.discard(worker)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), _RESTART_SECONDS)

    async def _on_wake(self, context: JobContext, batch_id: str, revision: int, due: str) -> None:
        try:
            # One that is delivered again stands for a runner that died, whatever became of the batch since.
            again = context.job.attempts > 0
            batch = await self._store.batch(batch_id)
            if not again and batch.revision != revision:
                return
            if again:
                await self._lapse(batch)
            if not self._stopped.is_set() and await self._attend(batch_id):
                self._foreign.discard(batch_id)
        except NotFoundError:
            return
        except BatchkitError as error:
            # Upkeep finds the batch again.
            self._tell(f"{batch_id}  not taken up: {error}")

    async def _lapse(self, batch: BatchRecord) -> None:
        """Return once the batch's lease has lapsed, or was taken, or could not be one of a runner that died."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._lease_seconds + _LOOK_SECONDS
        runner, epoch = batch.runner, batch.epoch
        while batch.runner_alive and (batch.runner, batch.epoch) == (runner, epoch) and loop.time() < end:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), _LOOK_SECONDS)
                return
            batch = await self._store.batch(batch.id)

    async def _on_upkeep(self, timestamp: int) -> None:
        await self._deliver_again()
        try:
            for batch in await self._store.unattended():
                is_ours = batch.target.identity == self._target.identity
                if not is_ours and batch.id not in self._foreign:
                    self._foreign.add(batch.id)
                    self._tell(_nobody_for(batch))
                await self._wake(batch, is_ours)
        except BatchkitError as error:
            logger.warning("The batches that nobody runs are looked for later: %s", error)

    async def _deliver_again(self) -> None:
        """Put the jobs of workers that gave no sign of life back into the queue."""
        manager = self._wakes.manager
        for job in await manager.get_stalled_jobs(seconds_since_heartbeat=_STALLED_SECONDS):
            # Another worker may be quicker.
            with suppress(ConnectorException):
                if job.task_name == WAKE:
                    await manager.retry_job(job)
                elif job.task_name == _UPKEEP:
                    await manager.finish_job(job, Status.FAILED, delete_job=True)


def _nobody_for(batch: BatchRecord) -> str:
    target = batch.target
    where = f"{target.label} at {target.url}" if target.label else target.url
    return (
        f"{batch.id}  {batch.name!r} waits: it is for {where} ({target.kind}), and no worker with that target has "
        "taken it up. This one has another target; start a worker with the batch's own, or look whether one is stuck."
    )
