"""Workers of a cluster as processes, with leases and rests so short that tests are over soon."""

from __future__ import annotations

import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from batches import create_batch

import batchkit as bk
from batchkit.core.wake import RESTING
from batchkit.defaults import EngineKind
from batchkit.engine.cluster import ClusterEngine
from batchkit.io.address import address_of, conninfo_of
from batchkit.io.clock import SystemClock
from batchkit.io.store import SqlStore
from batchkit.worker import ClusterWorker

__all__ = ["Place", "PlacedWorkspace", "pid_of_runner", "submit", "work"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where batches are kept, run and sent to."""

    url: str
    api_key: str
    #: a file, or the URL of a database
    store: str
    engine: EngineKind = "cluster"
    lease_seconds: float = 2.0
    #: more than a wake comes early
    rest_seconds: float = 3.0
    #: batches a worker runs at a time
    concurrency: int = 20
    #: where a worker writes what it tells
    said: Path | None = None


class PlacedWorkspace(bk.Workspace):
    """A workspace there. Its target is sure of what it looks up after a short while."""

    def __init__(self, place: Place) -> None:
        target = bk.AsteroidTarget(place.url, place.api_key, total_timeout=1.0, connect_timeout=0.5, listing_delay=0.5)
        target.poll_interval = 0.2
        super().__init__(target, store=place.store, engine=place.engine)
        if place.engine != "cluster":
            return
        clock = SystemClock()
        self._sql_store = self.store = SqlStore(place.store, clock, lease_seconds=place.lease_seconds)
        address = address_of(place.store)
        assert not isinstance(address, Path)
        self.engine = self.cluster = ClusterEngine(
            conninfo_of(address),
            store=self.store,
            target=target,
            clock=clock,
            poll_seconds=0.2,
            rest_seconds=place.rest_seconds,
            lease_seconds=place.lease_seconds,
        )


def work(place: Place) -> None:
    """Be a worker of the cluster until SIGTERM."""
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def tell(line: str) -> None:
        if place.said is not None:
            with place.said.open("a") as file:
                file.write(f"{line}\n")

    with PlacedWorkspace(place) as ws:
        ClusterWorker(ws, tell, concurrency=place.concurrency).run(stop)


def pid_of_runner(batch: bk.Batch) -> int:
    """The process that runs the batch; 0: none does."""
    record = batch.record
    return int(record.runner.split(":")[1]) if record.runner_alive and record.runner != RESTING else 0


def submit(place: Place, rows: int, max_concurrent: int, batch_interval: float) -> None:
    """Create a batch, and then wait for it, until this is killed."""
    with PlacedWorkspace(place) as ws:
        batch = create_batch(ws, rows, max_concurrent=max_concurrent, batch_interval=batch_interval)
        with suppress(bk.BatchError):
            batch.join("finished")
