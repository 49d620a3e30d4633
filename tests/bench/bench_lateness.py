"""How late the first request of each group arrives, by the server's clock: quiet, and while a cell burns CPU.

    python tests/bench/bench_lateness.py [groups]

Each run is a process of its own, with the real engine, store and HTTP client against a server in another process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import urllib.request
from datetime import timedelta
from pathlib import Path

import numpy as np

import batchkit as bk
from batchkit.core.suggestion import suggest_mapping
from batchkit.core.validation import validate

INTERVAL = 0.25
SIZE = 5
SERVER = Path(__file__).with_name("fast_server.py")


def run(groups: int, burn: bool) -> dict[str, float]:
    """Milliseconds of lateness over all groups of one batch."""
    server = subprocess.Popen([sys.executable, str(SERVER), "0"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = f"http://127.0.0.1:{int(server.stdout.readline())}"
    stop = threading.Event()
    try:
        with tempfile.TemporaryDirectory() as folder:
            arrivals, due = _send(url, Path(folder), groups, burn, stop)
    finally:
        stop.set()
        server.terminate()
        server.wait()
        server.stdout.close()
    firsts = [min(arrivals[at : at + SIZE]) for at in range(0, len(arrivals), SIZE)]
    late = 1000 * (np.array(firsts) - np.array(due[::SIZE]))
    return {"median": float(np.median(late)), "p99": float(np.percentile(late, 99)), "most": float(late.max())}


def _send(url: str, folder: Path, groups: int, burn: bool, stop: threading.Event) -> tuple[list[float], list[float]]:
    target = bk.AsteroidTarget(url, "key")
    with bk.Workspace(target, store=folder / "store.sqlite") as ws:
        agent = bk.Agent(name="a", id="a", inputs=[bk.InputVariable("value")], version=1)
        table = bk.read_csv("\n".join(["value", *map(str, range(groups * SIZE))]).encode())
        checked = validate(table, suggest_mapping(table.columns, agent), agent)
        target.profiles = target.pools = _none  # type: ignore[method-assign]
        start = ws.clock.now() + timedelta(seconds=1)
        config = bk.BatchConfig(name="late", start_at=start, max_concurrent=SIZE, batch_interval=INTERVAL)
        batch = ws.create_batch(checked, config)
        if burn:
            waiter = threading.Thread(target=lambda: (batch.join(), stop.set()))
            waiter.start()
            number = 0
            while not stop.is_set():
                for _ in range(1000):
                    number += 1
            waiter.join()
        else:
            batch.join()
        due = [at.timestamp() for at in batch.items()["execute_at"]]
    with urllib.request.urlopen(url) as answer:
        arrivals = sorted(json.load(answer)["arrivals"])
    assert len(arrivals) == groups * SIZE, "a row was lost or sent twice"
    return arrivals, due


async def _none() -> list[object]:
    return []


def main() -> None:
    if len(sys.argv) > 2:
        print(json.dumps(run(int(sys.argv[1]), sys.argv[2] == "burn")))
        return
    groups = int(sys.argv[1]) if len(sys.argv) > 1 else 120
    print(f"{groups} groups of {SIZE}, {INTERVAL} s apart; milliseconds late")
    print(f"{'':24}{'median':>10}{'p99':>10}{'most':>10}")
    for name, how in (("quiet", "quiet"), ("a cell burns CPU", "burn")):
        done = subprocess.run(
            [sys.executable, __file__, str(groups), how], stdout=subprocess.PIPE, text=True, check=True
        )
        late = json.loads(done.stdout)
        print(f"{name:24}{late['median']:10.1f}{late['p99']:10.1f}{late['most']:10.1f}")


if __name__ == "__main__":
    main()
