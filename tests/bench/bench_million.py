"""A batch of a million rows on PostgreSQL: how long each command takes, and what memory it takes, against a hundredth.

    python tests/bench/bench_million.py [--items 1000000]

Rows are created, run in part by a worker of its own, paused, resumed, run on, given other limits, cancelled and
deleted. For each step: seconds, and by how many MB the memory of the process that asks for it, and that of the worker,
was higher at its highest than when the step began. Wanted: no step but reading the table grows with the rows.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

import batchkit as bk
from batchkit.core.suggestion import suggest_mapping
from batchkit.core.validation import validate

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench_cluster import AGENT, created_by, fast_server, start_worker, workspace
from postgres_server import PostgresServer, at_work

#: rows a second, and seconds that the batch runs before each command
RATE, SECONDS = 200, 10


class Steps:
    """Measures steps, and keeps what they took."""

    def __init__(self, worker: int) -> None:
        self._processes = {"here": os.getpid(), "worker": worker}
        self.taken: dict[str, tuple[float, float, float]] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        before = {each: _memory(pid, "VmRSS") for each, pid in self._processes.items()}
        for pid in self._processes.values():
            # From here on the highest is counted anew.
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        began = time.perf_counter()
        yield
        seconds = time.perf_counter() - began
        here, worker = (_memory(pid, "VmHWM") - before[each] for each, pid in self._processes.items())
        self.taken[name] = (seconds, here, worker)
        print(f"{name}: {seconds:.2f} s", file=sys.stderr, flush=True)


def _memory(pid: int, what: str) -> float:
    """MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def _size(server: PostgresServer, name: str) -> int:
    """Bytes of the tables of items, with their indexes."""
    query = "SELECT pg_total_relation_size('item') + pg_total_relation_size('item_input')"
    [(size,)] = server.execute(query, name)
    return int(size)


def _sent(batch: bk.Batch, wanted: Callable[[int], bool]) -> int:
    while not wanted(triggered := batch.progress.triggered):
        time.sleep(0.2)
    return triggered


def life(server: PostgresServer, rows: int) -> dict[str, tuple[float, float, float]]:
    """What the steps of such a batch took."""
    with fast_server() as url, server.database() as name:
        store = server.url(name)
        process = start_worker(url, "key", store, 1)
        try:
            with workspace(url, "key", store) as ws:
                at_work(server, name, 1)
                steps = Steps(process.pid)
                with steps.step("read and check the table"):
                    table = bk.read_csv(pd.DataFrame({"value": [f"value {number}" for number in range(rows)]}))
                    checked = validate(table, suggest_mapping(table.columns, AGENT), AGENT)
                config = bk.BatchConfig(name="b", max_concurrent=RATE, batch_interval=1.0)
                with steps.step("create"):
                    batch = created_by(ws, checked, config)
                print(f"{rows:,} rows: {_size(server, name) / rows:,.0f} bytes a row in the database", flush=True)
                with steps.step("run in part"):
                    _sent(batch, lambda sent: sent >= RATE * SECONDS)
                with steps.step("pause"):
                    batch.pause()
                time.sleep(2)
                paused_at = batch.progress.triggered
                time.sleep(2)
                assert batch.progress.triggered == paused_at, "sent while it was paused"
                with steps.step("resume"):
                    batch.resume()
                with steps.step("run on"):
                    _sent(batch, lambda sent: sent >= paused_at + RATE * SECONDS)
                with steps.step("change limits"):
                    batch.update(max_concurrent=RATE // 2, batch_interval=0.5)
                with steps.step("list a page in the middle"):
                    ws.engine.call(ws.store.items(batch.id, after=(rows // 2,), limit=50))
                with steps.step("cancel"):
                    batch.cancel()
                time.sleep(2)
                progress = batch.progress
                assert progress.cancelled + progress.triggered == rows, progress
        finally:
            process.terminate()
            process.wait()
        return steps.taken


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=1_000_000)
    items = parser.parse_args().items
    server = PostgresServer(durable=True)
    try:
        small, large = max(10_000, items // 100), items
        taken = {rows: life(server, rows) for rows in (small, large)}
    finally:
        server.close()
    print(f"{'':<26}" + "".join(f"{rows:>12,} rows: s, MB here, MB worker" for rows in taken))
    for name in taken[small]:
        figures = "".join("{:>17.2f} s {:>10.1f} {:>10.1f}".format(*taken[rows][name]) for rows in taken)
        print(f"{name:<26}{figures}")


if __name__ == "__main__":
    main()
