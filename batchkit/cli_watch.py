"""What the commands share: opening a workspace, finding a batch, following it, and stopping on Ctrl-C."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from types import TracebackType
from typing import Self

from tqdm import tqdm

from batchkit.batch import Batch
from batchkit.core.lifecycle import BatchStatus, ItemStatus
from batchkit.core.record import BatchRecord
from batchkit.core.waiting import Until
from batchkit.defaults import EngineKind, demo_target, is_configured, shared_demo
from batchkit.errors import BatchError, BatchPaused, ConfigError, NotFoundError, StateError, StoreError
from batchkit.terminal import INTERRUPTION, Exit, Meter, say, visible, warn
from batchkit.workspace import Workspace

__all__ = [
    "find",
    "follow",
    "follow_executions",
    "how_to_go_on",
    "opened",
    "settled_at",
    "stop",
    "summary",
    "timed_lines",
    "where_results",
    "where_run",
]

#: where a batch runs that was begun here, and what Ctrl-C does
_RUN = {
    "kernel": ("this terminal", "pauses it"),
    "worker": ("a `batchkit worker`", "only ends the watching"),
    "cluster": ("the workers of the cluster", "only ends the watching"),
}
#: seconds between two looks at a batch
_REFRESH = 0.2
#: seconds between two questions when what is in doubt will be looked up
_ASK = 1.0


@contextmanager
def opened(
    store: str | None,
    *,
    demo: bool = False,
    existing: bool = False,
    engine: EngineKind | None = None,
    owner: str | None = None,
    admin: bool | None = None,
    shown: bool = True,
) -> Iterator[Workspace]:
    """A workspace on the platform the environment names; else, or with `demo`, on the demo platform of this machine.

    existing: raise NotFoundError where a store is named that does not exist, instead of making it. shown: what the
    engine reports is printed for people.
    """
    if existing:
        _check_exists(store)
    with ExitStack() as stack:
        target = None
        if demo or not is_configured():
            target = demo_target(stack.enter_context(shared_demo()))
        ws = stack.enter_context(Workspace(target, store=store, engine=engine, owner=owner, admin=admin))
        if shown:
            stack.enter_context(_log_shown())
        yield ws


def timed_lines(ws: Workspace) -> Callable[[str], None]:
    """What says a line with the time before it, for what happens in a process that goes on."""

    def tell(line: str) -> None:
        say(f"{ws.clock.now():%Y-%m-%dT%H:%M:%SZ}  {visible(line)}", wrap=False)

    return tell


def find(ws: Workspace, text: str) -> Batch:
    """The batch whose id is or begins with `text`. Raises NotFoundError, ConfigError for a beginning of several."""
    everything = [record.id for record in ws.engine.call(ws.store.batches())]
    found = [text] if text in everything else [each for each in everything if text and each.startswith(text)]
    if not found:
        raise NotFoundError(f"There is no batch {text!r} in {ws.store.label}. `batchkit list` shows those there are.")
    if len(found) > 1:
        raise ConfigError(f"{len(found)} batches begin with {text!r}: {', '.join(found[:5])}. Give more of the id.")
    return ws.batch(found[0])


def follow(ws: Workspace, batch: Batch, until: Until, *, quiet: bool = False) -> Exit:
    """Show the progress until the batch is where `until` says; what stands in the way is told."""
    waiting = ws.engine.submit(ws.engine.wait(batch.id, until))
    try:
        with INTERRUPTION.deferred(), _Progress(ws, batch, until, quiet=quiet) as progress:
            while not waiting.done():
                INTERRUPTION.check()
                try:
                    progress.show()
                except StoreError as error:
                    # Whoever waits decides for how long.
                    if not error.passing:
                        raise
                wait([waiting], timeout=_REFRESH)
            progress.show(last=True)
        waiting.result()
    except BatchError as error:
        warn(_why_not(ws, error, batch.record))
        return Exit.STOPPED
    except StoreError:
        warn(f"Stopped, because the store failed. Once it works, go on with:  batchkit resume {batch.id}")
        raise
    return Exit.OK


def follow_executions(ws: Workspace, batch: Batch) -> Exit:
    """Show the progress until what was triggered has ended, also of a cancelled batch. Raises ConfigError."""
    record = batch.record
    if record.status.final and not record.progress.executions.open:
        return Exit.OK
    if not record.runner_alive:
        # Another platform would never tell of them.
        ws.check_runs_here(record)
        if record.status is BatchStatus.PAUSED:
            warn(f"batchkit: the batch is paused. {summary(record)}\nTo go on:  batchkit resume {batch.id}")
            return Exit.STOPPED
    if record.status is not BatchStatus.CANCELLED:
        return follow(ws, batch, "finished")
    ws.engine.call(ws.engine.attend(batch.id))
    with INTERRUPTION.deferred(), _Progress(ws, batch, "finished") as progress:
        while progress.show().progress.executions.open:
            INTERRUPTION.check()
            time.sleep(_REFRESH)
        progress.show(last=True)
    return Exit.OK


def settled_at(ws: Workspace, record: BatchRecord) -> datetime | None:
    """When the first item in doubt is looked up; None: there is none, or that is not known."""
    if not record.progress.in_doubt:
        return None
    doubtful = ws.engine.call(ws.store.items(record.id, statuses=[ItemStatus.IN_DOUBT], limit=1))
    return doubtful[0].settle_at if doubtful else None


def stop(ws: Workspace, batch: Batch | None) -> Exit:
    """After Ctrl-C: pause what runs here, record what is under way, and say how to go on."""
    # Ctrl-C may have come before the new batch was known here.
    running = ws.engine.active
    if batch is None and running:
        batch = ws.batch(running[0])
    if batch is None:
        warn("Interrupted. Nothing was sent.")
    elif batch.id not in running and ws.engine_kind != "kernel":
        warn(f"No longer watched. Batch {batch.id} goes on without this terminal:  batchkit show {batch.id}")
    elif batch.id not in running:
        warn(f"Interrupted. Batch {batch.id} is not run from here:  batchkit show {batch.id}")
    else:
        _pause(batch)
    return Exit.INTERRUPTED


def summary(batch: BatchRecord) -> str:
    """How a batch went, in a sentence or two."""
    progress = batch.progress
    executions = progress.executions
    text = f"{progress}."
    if progress.left_out:
        text += f" {progress.left_out:,} invalid rows were left out."
    parts = [
        f"{count:,} {word}"
        for word, count in (
            ("succeeded", executions.succeeded),
            ("failed", executions.failed),
            ("cancelled", executions.cancelled),
            ("running", executions.running),
            ("waiting for a person", executions.waiting),
        )
        if count
    ]
    return f"{text} Executions: {', '.join(parts)}." if parts else text


def how_to_go_on(ws: Workspace, batch_id: str) -> str:
    """The command that has a batch run that nobody runs."""
    ways = {
        "kernel": f"batchkit resume {batch_id}",
        "worker": "batchkit worker",
        "cluster": "batchkit worker --cluster",
    }
    return ways[ws.engine_kind]


def where_run(ws: Workspace) -> tuple[str, str]:
    """Where a batch runs that is begun here, and what Ctrl-C does then."""
    return _RUN[ws.engine_kind]


def where_results(batch_id: str) -> str:
    """How to get at the results, once the executions have ended."""
    return f"batchkit results {batch_id} --wait --output results.csv"


def _pause(batch: Batch) -> None:
    record = batch.record
    if record.status is BatchStatus.RUNNING:
        with suppress(StateError):  # it ended just now
            batch.pause()
        record = batch.record
        if record.progress.triggering:
            INTERRUPTION.again_leaves()
            warn(
                f"Pausing. {record.progress.triggering:,} requests are on their way and waited for; "
                "Ctrl-C again leaves at once."
            )
        while (record := batch.record).progress.triggering:
            time.sleep(_REFRESH / 4)
    if record.status is BatchStatus.PAUSED:
        warn(f"Paused: {summary(record)} What was triggered goes on.\nTo go on:  batchkit resume {batch.id}")
    elif record.status is BatchStatus.PENDING:
        warn(f"Stopped before its start time; nothing was sent.\nTo go on:  batchkit resume {batch.id}")
    else:
        warn(f"Interrupted. The batch is {record.status}: {summary(record)}\nResults:  {where_results(batch.id)}")


def _why_not(ws: Workspace, error: BatchError, batch: BatchRecord) -> str:
    """Why the batch does not get where it was to get, and what to do."""
    so_far = f"So far: {summary(batch)}"
    if isinstance(error, BatchPaused):
        return (
            f"batchkit: the batch paused itself. {batch.reason}\n{so_far}\n"
            f"Mend the cause, then go on:  batchkit resume {batch.id}"
        )
    if batch.status is BatchStatus.CANCELLED:
        return f"batchkit: the batch was cancelled. {so_far}"
    if batch.interrupted and ws.engine_kind != "kernel":
        return f"batchkit: no worker has taken the batch up. {so_far}\nTo have it run:  {how_to_go_on(ws, batch.id)}"
    if batch.interrupted:
        return f"batchkit: whoever ran the batch is gone. {so_far}\nTo continue it here:  {how_to_go_on(ws, batch.id)}"
    return f"batchkit: {error}"


def _check_exists(store: str | None) -> None:
    named, source = (store, "--store") if store else (os.environ.get("BATCHKIT_STORE"), "BATCHKIT_STORE")
    if named and "://" not in named and not os.path.exists(os.path.expanduser(named)):
        raise NotFoundError(
            f"There is no store {named!r} ({source}). Give the file the batches are kept in; `batchkit run` makes one."
        )


class _Progress:
    """The meter of a batch, fed from the store; nothing is shown if `quiet`."""

    def __init__(self, ws: Workspace, batch: Batch, until: Until, *, quiet: bool = False) -> None:
        self._ws, self._batch = ws, batch
        self._meter = None if quiet else Meter(until)
        self._settled: datetime | None = None
        self._asked_at = -_ASK

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._meter is not None:
            self._meter.__exit__(kind, error, trace)

    def show(self, *, last: bool = False) -> BatchRecord:
        """Bring it up to date; the batch as it stands."""
        record, now = self._batch.record, self._ws.clock.now()
        if self._meter is not None:
            self._meter.show(record, now, settled=self._settled_at(record, now), last=last)
        return record

    def _settled_at(self, record: BatchRecord, now: datetime) -> datetime | None:
        """As `settled_at`, asked once a second at most, and not while the last answer lies ahead."""
        if not record.progress.in_doubt or record.progress.pending:
            return None
        at = time.monotonic()
        if (self._settled is None or self._settled <= now) and at - self._asked_at >= _ASK:
            self._settled, self._asked_at = settled_at(self._ws, record), at
        return self._settled


class _Above(logging.Handler):
    """Writes what the engine has to say on a line of its own, above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            tqdm.write(f"batchkit: {visible(record.getMessage())}", file=sys.stderr)


@contextmanager
def _log_shown() -> Iterator[None]:
    """While inside, what the engine reports is shown, without tracebacks."""
    logger = logging.getLogger("batchkit")
    handler, propagates = _Above(logging.WARNING), logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates
