"""How long results of many rows take: joined, saved as each kind of file, and run again.

    python tests/bench/bench_results.py [rows]

Each is set against what pandas alone needs to write the same frame. Ratios say more than seconds on a busy machine.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

import batchkit as bk
from batchkit.core.execution import Execution, ExecutionOutcome, ExecutionStatus
from batchkit.core.outcome import Triggered
from batchkit.core.record import ItemOutcome
from batchkit.io.clock import SystemClock
from batchkit.io.store import SqlStore
from batchkit.testing import ScriptedTarget

_AT_ONCE = 5_000


def main(rows: int) -> None:
    """Make a batch whose outcomes are all known, and measure."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "runs.sqlite"
        frame = pd.DataFrame(
            {"value": [f"Client {n}" for n in range(rows)], "street": "Lindenstraße 4", "note": "first come"}
        )
        with bk.Workspace(ScriptedTarget(), store=store) as ws:
            agent = ws.agent()
            checked = ws.validate(frame, ws.suggest_mapping(frame, agent), agent)
            batch = ws.create_batch(checked, bk.BatchConfig(name="b", start_at="2200-01-01T00:00Z"))
            batch_id = batch.id
        asyncio.run(finish(store, batch_id, rows))
        with bk.Workspace(ScriptedTarget(), store=store) as ws:
            measure(ws.batch(batch_id), rows, Path(folder))


async def finish(path: Path, batch_id: str, rows: int) -> None:
    """Write down an outcome for every row: one in ten failed."""
    store = SqlStore(path, SystemClock())
    lease = await store.acquire(batch_id, "bench:1:x", settle_after=0)
    assert lease is not None
    now = datetime.now(UTC)
    for first in range(0, rows, _AT_ONCE):
        outcomes = [
            ItemOutcome(item=item, attempt=0, outcome=Triggered(execution=ended(item, now)), at=now)
            for item in range(first, min(first + _AT_ONCE, rows))
        ]
        tick = await store.tick(lease, outcomes=outcomes)
        assert tick.lease is not None
        lease = tick.lease
    await store.release(lease)
    store.shutdown()


def ended(item: int, now: datetime) -> Execution:
    """An execution like those of the platform."""
    failed = item % 10 == 0
    return Execution(
        id=f"00000000-0000-4000-8000-{item:012}",
        status=ExecutionStatus.FAILED if failed else ExecutionStatus.COMPLETED,
        outcome=None if failed else ExecutionOutcome.SUCCESS,
        reasoning="Filled in the form and received a confirmation.",
        result=None if failed else {"filed": True, "permit": {"number": f"B-{item:06}", "fee": 95.5}, "tags": [1, 2]},
        error="The page did not finish loading within 60 seconds." if failed else "",
        created_at=now,
        started_at=now,
        finished_at=now + timedelta(seconds=item),
        url=f"https://example.com/executions/{item}",
        profile_name="Clerk A",
    )


def measure(batch: bk.Batch, rows: int, folder: Path) -> None:
    """Print seconds, and how they stand to pandas alone."""
    joined, frame = timed(batch.results)
    plain = frame.astype(dict.fromkeys(("result", "result.tags"), "str"))
    naive = plain.assign(**{name: plain[name].dt.tz_localize(None) for name in plain.select_dtypes("datetimetz")})
    print(f"{rows:,} rows, {frame.shape[1]} columns")
    print(f"results()              {joined:7.2f} s")
    print(f"results(merged=True)   {timed(lambda: batch.results(merged=True))[0]:7.2f} s")
    writers: list[tuple[str, Callable[[Path], Any]]] = [
        ("csv", lambda path: plain.to_csv(path)),
        ("parquet", lambda path: plain.to_parquet(path)),
        ("jsonl", lambda path: frame.to_json(path, orient="records", lines=True)),
        ("xlsx", lambda path: naive.to_excel(path)),
    ]
    for suffix, bare in writers:
        ours, _ = timed(lambda path=folder / f"ours.{suffix}": bk.write_results(frame, path))
        theirs, _ = timed(lambda path=folder / f"bare.{suffix}", write=bare: write(path))
        print(f"write_results .{suffix:<8} {ours:7.2f} s   pandas {theirs:7.2f} s   ratio {ours / theirs:.2f}")
    config = {"start_at": "2200-01-01T00:00Z"}
    seconds, again = timed(lambda: batch.rerun(executions="failed", config=config))
    print(f"rerun of {again.progress.total:,} rows   {seconds:7.2f} s")


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what came back."""
    begun = time.perf_counter()
    done = work()
    return time.perf_counter() - begun, done


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
