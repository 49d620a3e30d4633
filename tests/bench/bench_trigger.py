"""Triggering rows against one local server: batchkit with its durable store, and scripts written by hand.

    python tests/bench/bench_trigger.py [rows] [rounds]

Each run is a process of its own, in turn; the server is one process for all. The scripts are what one writes first:
a client, a semaphore, a progress bar. batchkit's batch is made before its start time; its time runs from there to
the moment the last outcome is in the store.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import timedelta
from pathlib import Path

import aiohttp
import httpx
from tqdm import tqdm

import batchkit as bk
from batchkit.core.suggestion import suggest_mapping
from batchkit.core.validation import validate

AT_A_TIME = 32
NOWHERE = Path(os.devnull).open("w")  # noqa: SIM115 - for as long as the process
SERVER = Path(__file__).with_name("fast_server.py")


def body(number: int) -> dict[str, dict[str, str]]:
    return {"inputs": {"value": f"row {number}", "other": "some text"}, "metadata": {"n": str(number)}}


async def with_httpx(url: str, rows: int) -> float:
    turns = asyncio.Semaphore(AT_A_TIME)
    started = time.perf_counter()
    with tqdm(total=rows, file=NOWHERE) as bar:
        async with httpx.AsyncClient(headers={"X-Api-Key": "key"}) as client:

            async def one(number: int) -> None:
                async with turns:
                    answer = await client.post(f"{url}/agents/v2/agents/a/execute", json=body(number))
                    assert answer.status_code == 202
                    assert answer.json()["executionId"]
                bar.update()

            await asyncio.gather(*(one(number) for number in range(rows)))
    return time.perf_counter() - started


async def with_aiohttp(url: str, rows: int) -> float:
    turns = asyncio.Semaphore(AT_A_TIME)
    started = time.perf_counter()
    with tqdm(total=rows, file=NOWHERE) as bar:
        async with aiohttp.ClientSession(headers={"X-Api-Key": "key"}) as client:

            async def one(number: int) -> None:
                async with turns, client.post(f"{url}/agents/v2/agents/a/execute", json=body(number)) as answer:
                    assert answer.status == 202
                    assert (await answer.json())["executionId"]
                bar.update()

            await asyncio.gather(*(one(number) for number in range(rows)))
    return time.perf_counter() - started


def with_batchkit(url: str, rows: int) -> float:
    agent = bk.Agent(name="a", id="a", inputs=[bk.InputVariable("value"), bk.InputVariable("other")], version=1)
    lines = ["value,other,n", *(f"row {number},some text,{number}" for number in range(rows))]
    table = bk.read_csv("\n".join(lines).encode())
    mapping = suggest_mapping(table.columns, agent).set("n", bk.Metadata("n"))
    checked = validate(table, mapping, agent)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        target = bk.AsteroidTarget(url, "key")
        with bk.Workspace(target, store=Path(folder) / "store.sqlite") as ws:
            start = ws.clock.now() + timedelta(seconds=3)
            config = bk.BatchConfig(name="b", start_at=start, max_concurrent=AT_A_TIME, batch_interval=0)
            batch = ws.create_batch(checked, config)
            batch.join()
            record = batch.record
            assert record.finished_at is not None
            took = (record.finished_at - start).total_seconds()
            assert batch.progress.triggered == rows
    return took


def measured(how: str, url: str, rows: int) -> float:
    done = subprocess.run(
        [sys.executable, __file__, "--one", how, url, str(rows)], stdout=subprocess.PIPE, text=True, check=True
    )
    return rows / float(done.stdout)


def one(how: str, url: str, rows: int) -> float:
    if how == "httpx":
        return asyncio.run(with_httpx(url, rows))
    if how == "aiohttp":
        return asyncio.run(with_aiohttp(url, rows))
    return with_batchkit(url, rows)


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        print(one(sys.argv[2], sys.argv[3], int(sys.argv[4])))
        return
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    server = subprocess.Popen([sys.executable, str(SERVER), "0"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = f"http://127.0.0.1:{int(server.stdout.readline())}"
    try:
        runs = [{how: measured(how, url, rows) for how in ("httpx", "aiohttp", "batchkit")} for _ in range(rounds)]
        with urllib.request.urlopen(url) as answer:
            assert json.load(answer)["posts"] == 3 * rows * rounds
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()
    print(f"{rows:,} rows, {AT_A_TIME} at a time, {rounds} rounds; medians (least - most)")
    for how in ("httpx", "aiohttp", "batchkit"):
        rates = [run[how] for run in runs]
        print(f"{how:28}{statistics.median(rates):8,.0f} rows/s  ({min(rates):,.0f} - {max(rates):,.0f})")
    for other in ("httpx", "aiohttp"):
        ratios = [run["batchkit"] / run[other] for run in runs]
        name = f"batchkit / {other} script"
        print(f"{name:28}{statistics.median(ratios):8.2f}         ({min(ratios):.2f} - {max(ratios):.2f})")


if __name__ == "__main__":
    main()
