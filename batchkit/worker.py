"""The worker: a process for the batches of a store that nobody else runs, so that they outlive their notebooks.

By itself, or as one of many that share the batches of a cluster.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Event

from batchkit.core.record import BatchRecord
from batchkit.core.record import Event as LogEntry
from batchkit.errors import BatchkitError, ConfigError, EngineError, StoreError
from batchkit.workspace import Workspace

__all__ = ["ClusterWorker", "Worker"]

#: between two looks for batches without a runner, and for what was logged
_LOOK_SECONDS = 1.0
#: log entries of one batch told at one look
_MOST_ENTRIES = 200


class Worker:
    """Takes over what nobody runs, if it is for the workspace's target, until it is told to stop.

    tell: called with one line of text for each event. A batch it runs stays with it, paused ones too.
    """

    def __init__(self, workspace: Workspace, tell: Callable[[str], None]) -> None:
        self._ws = workspace
        self._tell = tell
        #: batches that are for another target, told of once
        self._foreign: set[str] = set()
        #: of each batch taken over here, the log entries told already
        self._told: dict[str, list[LogEntry]] = {}

    def run(self, stop: Event) -> None:
        """Work until `stop` is set; a store that fails is tried again."""
        failing = ""
        while True:
            try:
                self._ws.begin_notices()
                self._look()
                failing = ""
            except StoreError as error:
                if str(error) != failing:
                    self._tell(str(error))
                failing = str(error)
            if stop.wait(_LOOK_SECONDS):
                break
        for batch_id in self._ws.engine.active:
            self._tell(f"{batch_id}  left: another worker, or a notebook, can take it over")

    def _look(self) -> None:
        for batch in self._ws.engine.call(self._ws.store.batches()):
            if _wants_a_runner(batch) and not batch.runner_alive:
                self._take(batch)
            if batch.id in self._told:
                self._tell_news(batch)

    def _take(self, batch: BatchRecord) -> None:
        try:
            self._ws.check_runs_here(batch)
            taken = self._ws.engine.call(self._ws.engine.attend(batch.id))
        except ConfigError as error:
            if batch.id not in self._foreign:
                self._foreign.add(batch.id)
                self._tell(f"{batch.id}  not taken over: {error}")
            return
        except BatchkitError as error:
            self._tell(f"{batch.id}  not taken over: {error}")
            return
        if taken and batch.id not in self._told:
            self._told[batch.id] = self._log_of(batch)
            self._tell(f"{batch.id}  taken over: {batch.name!r}, {batch.status}, {batch.progress}")

    def _tell_news(self, batch: BatchRecord) -> None:
        entries = self._log_of(batch)
        told, self._told[batch.id] = self._told[batch.id], entries
        for entry in entries:
            if entry not in told:
                item = "" if entry.item is None else f" item {entry.item}"
                self._tell(f"{batch.id}  {entry.kind}{item} by {entry.actor}: {entry.message}")

    def _log_of(self, batch: BatchRecord) -> list[LogEntry]:
        return self._ws.engine.call(self._ws.store.events(batch.id, limit=_MOST_ENTRIES))


class ClusterWorker:
    """Runs batches of the cluster that are for the workspace's target, until it is told to stop.

    concurrency: how many at a time, at the most. tell: called with one line of text for each event.
    """

    def __init__(self, workspace: Workspace, tell: Callable[[str], None], *, concurrency: int) -> None:
        if workspace.cluster is None:
            raise ConfigError('A worker of the cluster needs a workspace with engine="cluster".')
        if concurrency < 1:
            raise ConfigError(f"A worker runs at least one batch at a time, not {concurrency}.")
        self._ws = workspace
        self._engine = workspace.cluster
        self._tell = tell
        self._concurrency = concurrency

    def run(self, stop: Event) -> None:
        """Work until `stop` is set. Raises EngineError where the cluster's queue cannot be used, StoreError likewise.

        A store that cannot be reached is waited for.
        """
        self._try_store()
        serving = self._engine.submit(self._engine.serve(self._concurrency, self._tell))
        while not stop.wait(_LOOK_SECONDS):
            if serving.done():
                serving.result()
                raise EngineError("The worker ended by itself. Its log says why; start it again.")
            with suppress(StoreError):
                # Tried again with the next look; who runs the batches says what the store fails with.
                self._ws.begin_notices()

    def _try_store(self) -> None:
        """Raise StoreError where the store does not take this user, or is another version's."""
        try:
            self._engine.call(self._ws.store.others())
        except StoreError as error:
            if not error.passing:
                raise
            self._tell(str(error))


def _wants_a_runner(batch: BatchRecord) -> bool:
    """Whether there is something left to send, to settle or to follow."""
    progress = batch.progress
    return not batch.status.final or bool(progress.triggering or progress.in_doubt or batch.untold)
