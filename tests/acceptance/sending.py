"""What runs in a process that is killed or stopped: workspace, store, engine and target as users have them.

Store and target are wrapped from outside, to note what happens and to die at a named step; batchkit has no hooks.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from batches import create_batch
from processes import PATIENCE

import batchkit as bk
from batchkit.core.execution import Execution
from batchkit.core.outcome import Outcome, Triggered
from batchkit.core.record import Lease, Tick
from batchkit.core.request import TriggerRequest
from batchkit.core.retry import RetryPolicy
from batchkit.engine.kernel import KernelEngine
from batchkit.errors import BatchInDoubt, BatchInterrupted, StoreError
from batchkit.io.clock import SystemClock
from batchkit.io.store import SqlStore

__all__ = ["STEPS", "WINDOW", "Plan", "Planner", "ShortWorkspace", "create_and_run", "pause", "run"]

#: where a process can be told to die, in the order in which a row comes by
STEPS = (
    "before the intent",
    "after the intent",
    "request accepted",
    "after the answer",
    "before the outcome",
    "after the outcome",
    "after taking over",
    "after the lookup",
)
#: the moment after the last check and before the first byte leaves, see test_two_runners
WINDOW = "between check and write"
#: on a busy machine many answers in a row take longer than their short timeout: that alone is no reason to pause here
_NO_BREAKER = RetryPolicy(consecutive=10**6, window=10**6, minimum=10**6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a process is to do."""

    url: str
    api_key: str
    #: a file, or the URL of a database
    store: Path | str
    #: where it notes what it does, a JSON object a line
    journal: Path
    batch_id: str = ""
    lease_seconds: float = 0.5
    total_timeout: float = 1.0
    listing_delay: float = 0.8
    can_look_up: bool = True
    #: one of STEPS or WINDOW, "": nowhere
    step: str = ""
    #: at which time it comes by there, 1 is the first
    occurrence: int = 1
    #: what it sends itself there
    signal: int = signal.SIGKILL


class Journal:
    """Notes that outlive the process: each is written at once."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, event: str, **more: Any) -> None:
        line = json.dumps({"event": event, "pid": os.getpid(), "at": time.monotonic(), **more})
        os.write(self._file, line.encode() + b"\n")


class Fate:
    """Ends or stops the process at its step."""

    def __init__(self, plan: Plan) -> None:
        self._step = plan.step
        self._left = plan.occurrence
        self._signal = plan.signal

    def awaits(self, step: str) -> bool:
        return step == self._step and self._left > 0

    def at(self, step: str) -> None:
        if self.awaits(step):
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), self._signal)
                # Another thread takes the signal, and this one would go on for a moment.
                time.sleep(0.1)


class NotedStore:
    """A SqlStore that notes its leases. What is not defined here is the store's own."""

    def __init__(self, store: SqlStore, journal: Journal, fate: Fate) -> None:
        self._store = store
        self._journal = journal
        self._fate = fate
        #: of the lease the process has or had
        self.epoch = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def acquire(self, batch_id: str, owner: str, *, settle_after: float | None) -> Lease | None:
        lease = await self._store.acquire(batch_id, owner, settle_after=settle_after)
        if lease is not None:
            self.epoch = lease.epoch
            self._journal.note("lease", epoch=lease.epoch)
            self._fate.at("after taking over")
        return lease

    async def tick(self, lease: Lease, *, outcomes: Sequence[Any] = (), claim: int = 0, **more: Any) -> Tick:
        if claim:
            self._fate.at("before the intent")
        if outcomes:
            self._fate.at("before the outcome")
        tick = await self._store.tick(lease, outcomes=outcomes, claim=claim, **more)
        if tick.claimed:
            self._fate.at("after the intent")
        if outcomes:
            self._fate.at("after the outcome")
        return tick


class NotedTarget(bk.AsteroidTarget):
    """The platform, with a note of each request before it leaves and after its answer."""

    can_look_up: bool

    def __init__(self, plan: Plan, journal: Journal, fate: Fate) -> None:
        super().__init__(
            plan.url,
            plan.api_key,
            total_timeout=plan.total_timeout,
            connect_timeout=plan.total_timeout / 2,
            listing_delay=plan.listing_delay,
        )
        self.can_look_up = plan.can_look_up
        self.poll_interval = 0.2
        self.store: NotedStore | None = None
        self._journal = journal
        self._fate = fate

    async def trigger(self, request: TriggerRequest) -> Outcome:
        assert self.store is not None
        row = {"item": request.item, "attempt": request.attempt, "epoch": self.store.epoch}
        self._journal.note("send", **row)
        self._fate.at(WINDOW)
        if self._fate.awaits("request accepted"):
            return await self._die_once_accepted(request)
        outcome = await super().trigger(request)
        self._journal.note("answer", outcome=type(outcome).__name__, **row)
        if isinstance(outcome, Triggered):
            self._fate.at("after the answer")
        return outcome

    async def find(self, batch_id: str, item: int, attempt: int) -> Execution | None:
        found = await super().find(batch_id, item, attempt)
        self._journal.note("lookup", item=item, attempt=attempt, found=found is not None)
        self._fate.at("after the lookup")
        return found

    async def _die_once_accepted(self, request: TriggerRequest) -> Outcome:
        """Send, and die when the platform has the row and before its answer is read (it is told to take its time)."""
        sending = asyncio.ensure_future(super().trigger(request))
        while not sending.done():
            accepted = await super().find(request.batch_id, request.item, request.attempt)
            if accepted is not None and not sending.done():
                self._fate.at("request accepted")
                break
        return await sending


class ShortWorkspace(bk.Workspace):
    """A Workspace whose leases are short and whose runner looks around often, so that tests are over soon."""

    #: whether it runs what it creates
    runs = True

    def __init__(self, plan: Plan) -> None:
        journal, fate = Journal(plan.journal), Fate(plan)
        target = NotedTarget(plan, journal, fate)
        super().__init__(target, store=plan.store)
        clock = SystemClock()
        self._sql_store = SqlStore(plan.store, clock, lease_seconds=plan.lease_seconds)
        self.store = target.store = NotedStore(self._sql_store, journal, fate)  # type: ignore[assignment]
        self.engine = KernelEngine(
            store=self.store, target=target, clock=clock, policy=_NO_BREAKER, poll_seconds=0.1, runs=self.runs
        )
        self.journal = journal


class Planner(ShortWorkspace):
    """Creates batches and leaves it to others to run them."""

    runs = False


def run(plan: Plan, together: Barrier | None = None) -> None:
    """Take the batch over as soon as nobody runs it, and again should it be lost, until waiting for it ends.

    together: passed by all processes that are to begin at once.
    """
    with ShortWorkspace(plan) as ws:
        batch = ws.batch(plan.batch_id)
        if together is not None:
            together.wait(PATIENCE)
        _run(ws, batch)


def create_and_run(plan: Plan, rows: int) -> None:
    """The same for the store's only batch, which is created where there is none."""
    with ShortWorkspace(plan) as ws:
        found = ws.batches()
        _run(ws, found[0] if found else create_batch(ws, rows, max_concurrent=10, batch_interval=0))


def pause(plan: Plan, together: Barrier) -> None:
    """Pause the batch from here and note when that was done."""
    with ShortWorkspace(plan) as ws:
        batch = ws.batch(plan.batch_id)
        together.wait(PATIENCE)
        batch.pause()
        ws.journal.note("paused")


def _run(ws: ShortWorkspace, batch: bk.Batch) -> None:
    ended = time.monotonic() + PATIENCE
    while time.monotonic() < ended:
        try:
            with suppress(BatchInterrupted):
                batch.take_over()
            batch.join()
            ws.journal.note("completed")
            return
        except BatchInDoubt:
            ws.journal.note("in doubt")
            return
        except (BatchInterrupted, StoreError) as error:
            # Whoever had it is gone; or stopped, in the middle of a transaction perhaps.
            ws.journal.note("trying again", why=str(error))
    raise TimeoutError(f"{batch!r} did not end within {PATIENCE:g} s")
