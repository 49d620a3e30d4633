"""What the platform and the store say of a batch, held against each other."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import batchkit as bk
from batchkit.core.lifecycle import ItemStatus
from batchkit.core.progress import Progress
from batchkit.core.request import ATTEMPT_KEY, BATCH_KEY, ITEM_KEY

__all__ = ["adds_up", "entries", "keeps_its_pace", "ran", "sent", "settled_account"]

#: seconds by which a group may come early
_TOLERANCE = 0.25
#: seconds some requests are longer on their way than others, on a busy machine
_ON_THE_WAY = 0.5


def ran(demo: bk.DemoPlatform, batch_id: str) -> dict[int, list[dict[str, Any]]]:
    """The platform's executions of a batch, by item."""
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for execution in demo.executions():
        if execution["metadata"].get(BATCH_KEY) == batch_id:
            found[int(execution["metadata"][ITEM_KEY])].append(execution)
    return found


def sent(demo: bk.DemoPlatform, batch: bk.Batch) -> list[float]:
    """When the platform was sent the batch's requests, on the monotonic clock."""
    return [each.monotonic for each in demo.requests if each.metadata.get(BATCH_KEY) == batch.id]


def keeps_its_pace(times: Sequence[float], most: int, interval: float) -> None:
    """By the platform's clock, no window of `interval`, less the tolerance, held more than `most` requests."""
    least = interval - _TOLERANCE - _ON_THE_WAY
    assert least > 0, "no two requests are closer than that"
    assert len(times) > most
    for first, beyond in zip(times, times[most:], strict=False):
        assert beyond - first >= least, f"{most + 1} requests within {beyond - first:.3f} s"


def adds_up(batch: bk.Batch) -> None:
    """The counts of the states add up to the total, and say what the items say."""
    progress, statuses = _at_one_time(batch)
    counted = Counter(statuses)
    assert {status: getattr(progress, status) for status in ItemStatus} == {s: counted[s] for s in ItemStatus}
    assert sum(counted.values()) == progress.total


def settled_account(demo: bk.DemoPlatform, batch: bk.Batch, *, skipped: frozenset[int] = frozenset()) -> None:
    """Every row ran exactly once, and the store knows as what. skipped: rows the user settled, cancelled here."""
    adds_up(batch)
    executions = ran(demo, batch.id)
    twice = {item: [each["metadata"][ATTEMPT_KEY] for each in them] for item, them in executions.items() if them[1:]}
    assert not twice, f"sent twice, item: attempts {twice}"
    frame = batch.items().set_index("item")
    lost = set(frame.index) - set(executions)
    assert not lost, f"never ran: {sorted(lost)}"
    assert set(executions) <= set(frame.index)
    assert batch.status == "completed"
    for item, (execution,) in executions.items():
        row = frame.loc[item]
        if item in skipped:
            assert row["status"] == "cancelled", item
            continue
        assert (row["status"], row["execution_id"]) == ("triggered", execution["id"]), item
        assert str(row["attempt"]) == execution["metadata"][ATTEMPT_KEY], item
        assert row["intent_at"] <= row["triggered_at"]


def _at_one_time(batch: bk.Batch) -> tuple[Progress, list[str]]:
    """The counts, and the states of the items at the same time: whoever runs it may change both between two looks."""
    progress, statuses = batch.progress, batch.items()["status"].tolist()
    end = time.monotonic() + 60
    while (later := batch.progress) != progress:
        assert time.monotonic() < end, "it does not stand still"
        progress, statuses = later, batch.items()["status"].tolist()
    return progress, statuses


def entries(journal: Path, event: str = "") -> list[dict[str, Any]]:
    """What was noted, or what of one event, in order; a last line cut short by a kill is left out."""
    if not journal.exists():
        return []
    lines = journal.read_text().split("\n")[:-1]
    noted = [json.loads(line) for line in lines]
    return [each for each in noted if event in ("", each["event"])]
