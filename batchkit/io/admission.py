"""How many items may be claimed by the limits a batch has beside its pace, and whether too many have failed."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from batchkit.core.lifecycle import BatchStatus
from batchkit.io.staggering import flow_of

__all__ = ["admitted", "too_many_failed"]

#: the counters of what the target runs or may run; the item deadline changes nothing about that
_IN_FLIGHT = ("n_triggering", "n_in_doubt", "x_running", "x_waiting")


def admitted(batch: Row[Any], moves: Counter[str], wanted: int, until: datetime) -> int:
    """Return how many of `wanted` items may be claimed, to be sent at `until`. moves: of the counters in `batch`."""
    flow = flow_of(batch.flow)
    if flow.working_hours is not None and not batch.trial and not flow.working_hours.is_open(until):
        return 0
    if flow.max_in_flight is None:
        return wanted
    in_flight: int = sum(getattr(batch, name) + moves[name] for name in _IN_FLIGHT)
    return max(0, min(wanted, flow.max_in_flight - in_flight))


def too_many_failed(batch: Row[Any], moves: Counter[str]) -> str:
    """Why a running batch must pause after the executions that failed since it was last resumed; empty: it need not."""
    threshold = flow_of(batch.flow).failure_threshold
    if threshold is None or batch.status != BatchStatus.RUNNING:
        return ""
    failed: int = batch.x_failed + moves["x_failed"]
    ended = failed + batch.x_succeeded + moves["x_succeeded"]
    return threshold.crossed(failed - batch.failed_before, ended - batch.ended_before)
