"""A batch whose calls run on a Dask cluster of processes, one of which dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import batchkit as bk

ROWS = 24
#: the row whose call kills the process it runs in
DEADLY = "client 9"

FUNCTION = """
import os, time

def heavy(client: str) -> int:
    with open(os.environ["CALLS"], "a") as calls:
        calls.write(client + "\\n")
    sum(range(200_000))
    if client == os.environ["DEADLY"]:
        time.sleep(0.5)  # what ended here before is fetched meanwhile
        os.kill(os.getpid(), 9)
    return os.getpid()
"""
# In a process of its own: Dask's threads and loops outlive its cluster by a moment.
SCRIPT = """
import json, sys
import dask, pandas as pd
from dask.distributed import Client, LocalCluster
import batchkit as bk, users_heavy

if __name__ == "__main__":
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
        bk.Workspace(
            bk.FunctionTarget(users_heavy.heavy, executor=client.get_executor(pure=False)), store=sys.argv[1]
        ) as ws,
    ):
        table = bk.read_csv(pd.DataFrame({"client": [f"client {n}" for n in range(int(sys.argv[2]))]}))
        checked = ws.validate(table, ws.suggest_mapping(table, ws.agent()), ws.agent())
        batch = ws.create_batch(checked, bk.BatchConfig(name="heavy", max_concurrent=8, batch_interval=0.1))
        batch.join("finished")
    print(batch.id)
"""


def heavy(client: str) -> int:
    """Only looked at."""
    raise AssertionError(client)


def test_calls_run_in_dasks_processes_and_none_runs_twice_when_one_dies(tmp_path: Path) -> None:
    (tmp_path / "users_heavy.py").write_text(FUNCTION)
    (tmp_path / "script.py").write_text(SCRIPT)
    calls, store = tmp_path / "calls", tmp_path / "runs.sqlite"
    path = os.pathsep.join([str(tmp_path), str(Path(bk.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "script.py", str(store), str(ROWS)],
        cwd=tmp_path,
        env=os.environ | {"CALLS": str(calls), "DEADLY": DEADLY, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    with bk.Workspace(bk.FunctionTarget(heavy), store=store, engine="worker") as ws:
        results = ws.batch(done.stdout.split()[-1]).results()
    called = Counter(calls.read_text().splitlines())
    assert max(called.values()) == 1
    assert called[DEADLY] == 1
    by_status = results.set_index("client")["execution_status"]
    assert set(by_status) == {"completed", "failed"}
    assert by_status[DEADLY] == "failed"
    assert "KilledWorker" in results.set_index("client")["error"][DEADLY]
    # Whatever has a result was called, and in two processes or more.
    ended = results[results["execution_status"] == "completed"]
    assert set(ended["client"]) <= set(called)
    assert len({json.loads(pid) for pid in ended["result"].astype(str)}) >= 2
