"""How long the window is that cannot be closed: between the last look at whether a request may leave and its leaving.

    python tests/bench/bench_window.py [rows]

A process that is frozen there for longer than its lease, the request's timeout and the target's listing delay may send
that one row when it goes on, though another has sent it meanwhile. There are two stretches: from the runner's check to
where the target starts the request's time, and from the target's own check to the socket. All that is between them is
safe: beyond its time a request is not written. Measured with the real engine, store and HTTP client against a server in
another process, quiet and while a cell burns CPU.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

import batchkit as bk
from batchkit.core.outcome import Outcome
from batchkit.core.request import TriggerRequest
from batchkit.core.suggestion import suggest_mapping
from batchkit.core.validation import validate
from batchkit.targets import connection

AT_A_TIME = 10
SERVER = Path(__file__).with_name("fast_server.py")


class Spans:
    """Seconds from the runner's check to the target, and from the target's to the socket."""

    def __init__(self) -> None:
        self.to_target: list[float] = []
        self.to_socket: list[float] = []


class NotedTarget(bk.AsteroidTarget):
    """Called by the runner right after its check."""

    async def trigger(self, request: TriggerRequest) -> Outcome:
        _checked.set(time.perf_counter())
        return await super().trigger(request)


class NotedLimit:
    """The time until which a request may be written; set where the target takes it over."""

    def __init__(self, limit: ContextVar[float], spans: Spans) -> None:
        self._limit = limit
        self._spans = spans

    def set(self, value: float) -> None:
        self._limit.set(value)
        if _checked.get():
            self._spans.to_target.append(time.perf_counter() - _checked.get())

    def get(self) -> float:
        return self._limit.get()


def note_writing(spans: Spans) -> None:
    """Have the target note how long it takes from before its check until the bytes are with the socket."""
    write = connection._TimelyRequest.write_bytes

    async def noted(self: Any, *args: Any) -> None:
        checked = time.perf_counter()
        await write(self, *args)
        if _checked.get():
            spans.to_socket.append(time.perf_counter() - checked)

    connection._TimelyRequest.write_bytes = noted  # type: ignore[method-assign]


_checked: ContextVar[float] = ContextVar("checked", default=0.0)


def run(rows: int, burn: bool) -> None:
    """Send so many rows, and note how long each stretch took."""
    server = subprocess.Popen([sys.executable, str(SERVER), "0"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = f"http://127.0.0.1:{int(server.stdout.readline())}"
    try:
        with tempfile.TemporaryDirectory() as folder:
            _send(url, Path(folder), rows, burn)
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


def _send(url: str, folder: Path, rows: int, burn: bool) -> None:
    target = NotedTarget(url, "key")
    with bk.Workspace(target, store=folder / "store.sqlite") as ws:
        agent = bk.Agent(name="a", id="a", inputs=[bk.InputVariable("value")], version=1)
        table = bk.read_csv("\n".join(["value", *map(str, range(rows))]).encode())
        checked = validate(table, suggest_mapping(table.columns, agent), agent)
        target.profiles = target.pools = _none  # type: ignore[method-assign]
        batch = ws.create_batch(checked, bk.BatchConfig(name="window", max_concurrent=AT_A_TIME, batch_interval=0))
        waiter = threading.Thread(target=batch.join)
        waiter.start()
        while burn and waiter.is_alive():
            sum(range(1000))
        waiter.join()


async def _none() -> list[Any]:
    return []


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    spans = Spans()
    connection._write_before = NotedLimit(connection._write_before, spans)  # type: ignore[assignment]
    note_writing(spans)
    print(f"{rows:,} rows, {AT_A_TIME} at a time; microseconds: median, 99 %, longest")
    for name, burn in (("quiet", False), ("a cell burns CPU", True)):
        spans.to_target.clear()
        spans.to_socket.clear()
        run(rows, burn)
        report(f"{name}: from the runner's check to the target", spans.to_target)
        report(f"{name}: from the target's check to the socket", spans.to_socket)


def report(name: str, seconds: list[float]) -> None:
    median, most, longest = 1e6 * np.percentile(seconds, [50, 99, 100])
    print(f"{name:60}{median:8,.0f}{most:10,.0f}{longest:10,.0f}   ({len(seconds):,} requests)")


if __name__ == "__main__":
    main()
