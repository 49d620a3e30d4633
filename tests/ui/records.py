"""Records of batches as a store would hand them out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from batchkit.core.lifecycle import BatchStatus
from batchkit.core.progress import ExecutionCounts, Progress
from batchkit.core.record import BatchRecord
from batchkit.core.schedule import Pace
from batchkit.core.target import TargetInfo

__all__ = ["ELSEWHERE", "NOW", "record"]

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ELSEWHERE = "desk:4711:abcd"


def record(status: BatchStatus = BatchStatus.RUNNING, **more: Any) -> BatchRecord:
    whole: dict[str, Any] = {
        "id": "b23456789",
        "name": "March permits",
        "status": status,
        "agent_id": "a1",
        "agent_name": "Permit filer",
        "version": 3,
        "target": TargetInfo(kind="asteroid", url="http://127.0.0.1", label="the demo platform"),
        "pace": Pace(max_concurrent=10, batch_interval=60),
        "default_profile": None,
        "columns": (),
        "mapping": {},
        "source": "permits.csv",
        "fingerprint": "",
        "index_kind": None,
        "owner": "Ada",
        "progress": Progress(total=100, pending=70, triggered=30, executions=ExecutionCounts(succeeded=30)),
        "created_at": NOW - timedelta(hours=1),
        "start_at": NOW - timedelta(minutes=3),
        "started_at": NOW - timedelta(minutes=3),
        "finished_at": None,
        "reason": "",
        "gate_at": None,
        "next_due": NOW + timedelta(seconds=20),
        "revision": 1,
        "epoch": 1,
        "runner": ELSEWHERE,
        "runner_alive": True,
        "lease_left": 15.0,
    }
    return BatchRecord(**(whole | more))
