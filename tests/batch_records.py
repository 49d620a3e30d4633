"""A record of a batch, as a store would hand it out."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from batchkit.core.lifecycle import BatchStatus
from batchkit.core.progress import Progress
from batchkit.core.record import BatchRecord
from batchkit.core.schedule import Pace
from batchkit.core.target import TargetInfo

__all__ = ["batch_record"]


def batch_record(now: datetime, **changes: Any) -> BatchRecord:
    """One of nine rows that began at `now` and runs in another process, unless `changes` says otherwise."""
    fields: dict[str, Any] = {
        "id": "b1",
        "name": "b",
        "status": BatchStatus.RUNNING,
        "agent_id": "a",
        "agent_name": "A",
        "version": None,
        "target": TargetInfo(kind="scripted", url="memory"),
        "pace": Pace(max_concurrent=5, batch_interval=60),
        "default_profile": None,
        "columns": (),
        "mapping": {},
        "source": "",
        "fingerprint": "",
        "index_kind": None,
        "owner": "",
        "progress": Progress(total=9, pending=9),
        "created_at": now,
        "start_at": now,
        "started_at": now,
        "finished_at": None,
        "reason": "",
        "gate_at": None,
        "next_due": now,
        "revision": 0,
        "epoch": 1,
        "runner": "host:1:x",
        "runner_alive": True,
    }
    return BatchRecord(**(fields | changes))
