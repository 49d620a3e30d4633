"""The cluster engine: workers as processes over a PostgreSQL server that syncs its log, against one fast server.

    python tests/bench/bench_cluster.py [--items 20000] [--rate 200] [--interval 1] [--kills 5]
                                        [--only pace|throughput|kills]

pace: so many rows, as four batches over four workers; rows sent twice and lost by the server's count, lateness of each
row against the formula, also by the server's clock, and SQL statements by pg_stat_statements, BEGIN, COMMIT and the
workers' own included. throughput: without an interval, by the number of workers. kills: seconds from the kill -9 of
the worker that runs a batch to the first request of another one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

import batchkit as bk
from batchkit.core.suggestion import suggest_mapping
from batchkit.core.validation import validate
from batchkit.core.wake import RESTING

sys.path.insert(0, str(Path(__file__).parent.parent))

from postgres_server import PostgresServer, at_work

SERVER = Path(__file__).with_name("fast_server.py")
AGENT = bk.Agent(name="a", id="a", inputs=[bk.InputVariable("value")], version=1)
BATCHES = 4


@contextmanager
def fast_server() -> Iterator[str]:
    server = subprocess.Popen([sys.executable, str(SERVER), "0"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


def rows_of(url: str) -> list[tuple[str, int, float]]:
    with urllib.request.urlopen(f"{url}/rows") as answer:
        return [tuple(each) for each in json.load(answer)]


def start_worker(url: str, key: str, store: str, concurrency: int) -> subprocess.Popen[bytes]:
    environment = os.environ | {"BATCHKIT_URL": url, "BATCHKIT_API_KEY": key, "BATCHKIT_STORE": store}
    command = [sys.executable, "-m", "batchkit", "worker", "--cluster", "--concurrency", str(concurrency)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


@contextmanager
def workers(url: str, key: str, store: str, count: int, concurrency: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    them = [start_worker(url, key, store, concurrency) for _ in range(count)]
    try:
        yield them
    finally:
        for process in them:
            process.terminate()
        for process in them:
            process.wait()


async def _none() -> list[object]:
    return []


@contextmanager
def workspace(url: str, key: str, store: str) -> Iterator[bk.Workspace]:
    target = bk.AsteroidTarget(url, key)
    with bk.Workspace(target, store=store, engine="cluster") as ws:
        yield ws


def created_by(ws: bk.Workspace, checked: bk.Validation, config: bk.BatchConfig) -> bk.Batch:
    """A batch for the fast server, which knows of no profiles."""
    ws.target.profiles = ws.target.pools = _none  # type: ignore[method-assign, assignment]
    return ws.create_batch(checked, config)


def created(ws: bk.Workspace, count: int, rows: int, start: datetime, most: int, interval: float) -> list[bk.Batch]:
    frame = pd.DataFrame({"value": [str(number) for number in range(rows)]})
    table = bk.read_csv(frame)
    checked = validate(table, suggest_mapping(table.columns, AGENT), AGENT)
    config = bk.BatchConfig(name="b", start_at=start, max_concurrent=most, batch_interval=interval)
    return [created_by(ws, checked, config) for _ in range(count)]


def pace(server: PostgresServer, items: int, rate: int, interval: float) -> None:
    rows, most = items // BATCHES, int(rate * interval) // BATCHES
    with fast_server() as url, server.database() as name:
        store = server.url(name)
        server.execute("CREATE EXTENSION pg_stat_statements", name)
        with workspace(url, "key", store) as ws, workers(url, "key", store, BATCHES, 1):
            at_work(server, name, BATCHES)
            start = ws.clock.now() + timedelta(seconds=8 + items / 2000)
            batches = created(ws, BATCHES, rows, start, most, interval)
            assert ws.clock.now() < start - timedelta(seconds=4), "this machine is too busy"
            while ws.clock.now() < start:
                time.sleep(0.01)
            server.execute("SELECT pg_stat_statements_reset()", name)
            # The workers' statements only: waiting for a batch reads it twice a second.
            time.sleep(max(0.0, rows / most * interval - 1))
            while any(batch.status != "completed" for batch in batches):
                time.sleep(1)
            calls = server.execute(
                "SELECT sum(calls), sum(calls) FILTER (WHERE query ~* '^(BEGIN|COMMIT|SET|ROLLBACK)') "
                "FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid WHERE datname = current_database()",
                name,
            )
            owners = {batch.record.runner for batch in batches}
        sent = Counter((batch, item) for batch, item, _ in rows_of(url))
        wanted = {(batch.id, item) for batch in batches for item in range(rows)}
        late = np.array([at - start.timestamp() - (item // most) * interval for _, item, at in rows_of(url)])
    [(every, ends)] = calls
    print(f"pace: {items:,} rows at {rate} a second: {BATCHES} batches of {most} each {interval:g} s", end="; ")
    print(f"{BATCHES} workers, {len(owners)} took part")
    print(f"  sent twice {sum(sent.values()) - len(sent)}, lost {len(wanted - set(sent))}")
    print(
        f"  lateness p50 {np.percentile(late, 50):.3f} s, p99 {np.percentile(late, 99):.3f} s, most {late.max():.3f} s"
    )
    print(
        f"  SQL statements a row: {int(every) / items:.3f}, of these BEGIN, COMMIT and the like {int(ends) / items:.3f}"
    )


def throughput(server: PostgresServer, items: int) -> None:
    print(f"throughput: {items:,} rows in {BATCHES} batches, 32 at a time each, no interval")
    for count in (1, 2, 4):
        with fast_server() as url, server.database() as name:
            store = server.url(name)
            with workspace(url, "key", store) as ws, workers(url, "key", store, count, BATCHES // count):
                at_work(server, name, count)
                start = ws.clock.now() + timedelta(seconds=8 + items / 2000)
                batches = created(ws, BATCHES, items // BATCHES, start, 32, 0)
                assert ws.clock.now() < start - timedelta(seconds=4), "this machine is too busy"
                for batch in batches:
                    batch.join()
                ends = [batch.record.finished_at for batch in batches]
                took = max(end for end in ends if end is not None) - start
            twice = Counter(Counter((batch, item) for batch, item, _ in rows_of(url)).values())
        assert twice == {1: items // BATCHES * BATCHES}, twice
        print(f"  {count} workers: {items / took.total_seconds():8,.0f} rows/s")


def kills(server: PostgresServer, count: int) -> None:
    took = []
    agent = bk.Agent(name="a", inputs=[bk.InputVariable("value")])
    with bk.DemoPlatform(agents=[agent], duration=0.05) as demo, server.database() as name:
        store = server.url(name)
        with workspace(demo.url, demo.api_key, store) as ws, workers(demo.url, demo.api_key, store, 2, 20) as them:
            frame = pd.DataFrame({"value": [str(number) for number in range(60 * count)]})
            mine = ws.agent()
            checked = ws.validate(frame, ws.suggest_mapping(frame, mine), mine)
            batch = ws.create_batch(checked, bk.BatchConfig(name="b", max_concurrent=1, batch_interval=0.5))
            for _ in range(count):
                requests = demo.requests.count
                while demo.requests.count < requests + 6:
                    time.sleep(0.01)
                killed = next(process for process in them if process.pid == _pid(batch))
                killed.kill()
                killed.wait()
                at, requests = time.monotonic(), demo.requests.count
                while demo.requests.count == requests:
                    time.sleep(0.005)
                took.append(time.monotonic() - at)
                assert _pid(batch) != killed.pid
                them.remove(killed)
                them.append(start_worker(demo.url, demo.api_key, store, 20))
                time.sleep(3)
            batch.cancel()
        sent = Counter(each.metadata["batchkit_item"] for each in demo.requests)
        assert set(sent.values()) == {1}, "sent twice"
    print(f"kill -9 of the worker, until another one's first request: {', '.join(f'{each:.1f} s' for each in took)}")


def _pid(batch: bk.Batch) -> int:
    while (runner := batch.record.runner) in ("", RESTING):
        time.sleep(0.05)
    return int(runner.split(":")[1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--interval", type=float, default=1.0)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--only", choices=("pace", "throughput", "kills"))
    chosen = parser.parse_args()
    settings = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track": "top"}
    server = PostgresServer(durable=True, settings=settings)
    try:
        if chosen.only in (None, "pace"):
            pace(server, chosen.items, chosen.rate, chosen.interval)
        if chosen.only in (None, "throughput"):
            throughput(server, min(chosen.items, 8000))
        if chosen.only in (None, "kills"):
            kills(server, chosen.kills)
    finally:
        server.close()


if __name__ == "__main__":
    main()
