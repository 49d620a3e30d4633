"""Batches of any number of rows, and waiting for what becomes of them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pandas as pd

import batchkit as bk
from batchkit.core.request import BATCH_KEY

__all__ = ["create_batch", "eventually", "most_at_once"]


def create_batch(ws: bk.Workspace, rows: int, **config: Any) -> bk.Batch:
    """A batch of so many rows for the workspace's only agent."""
    agent = ws.agent()
    frame = pd.DataFrame({"value": [str(number) for number in range(rows)]})
    checked = ws.validate(frame, ws.suggest_mapping(frame, agent), agent)
    return ws.create_batch(checked, bk.BatchConfig(**{"name": "A batch", **config}))


def eventually(met: Callable[[], object], seconds: float = 60.0) -> None:
    """Return once `met` is true; fail after `seconds`, which only guard against a hang."""
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(0.002)


def most_at_once(demo: bk.DemoPlatform, key: str) -> dict[str, int]:
    """How many executions the server had going at one time, by what it says of them under `key`, or by "batch"."""
    changes: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for each in demo.executions():
        name = each["metadata"][BATCH_KEY] if key == "batch" else each[key]
        # At one and the same moment an end counts before a beginning.
        changes[name].append((each["createdAt"], 1))
        if each.get("terminalAt"):
            changes[name].append((each["terminalAt"], -1))
    most = {}
    for name, steps in changes.items():
        going = most[name] = 0
        for _, step in sorted(steps):
            going += step
            most[name] = max(most[name], going)
    return most
