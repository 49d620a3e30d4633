"""A key revoked in mid-run: the batch pauses at once, and goes on when the key is back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from accounts import adds_up, settled_account
from batches import create_batch, eventually
from watching import Watched

import batchkit as bk
from batchkit.core.outcome import Held
from batchkit.errors import BatchPaused


@pytest.mark.parametrize(
    "pace",
    [{"max_concurrent": 10, "batch_interval": 0}, {"max_concurrent": 20, "batch_interval": 0.1}],
    ids=["interval 0", "interval"],
)
def test_a_revoked_key_pauses_the_batch_and_costs_no_row(
    demo: bk.DemoPlatform, tmp_path: Path, pace: dict[str, Any]
) -> None:
    target = Watched(demo)
    target.before[100] = demo.revoke_key
    with bk.Workspace(target, store=tmp_path / "runs.sqlite") as ws:
        batch = create_batch(ws, 500, **pace)
        with pytest.raises(BatchPaused, match=r"refused the credentials.*API key"):
            batch.join()
        eventually(lambda: target.all_answered and batch.progress.triggering == 0)
        paused_at = time.monotonic()

        refused = target.ended_as(Held)
        first = refused[0].ended
        in_flight = [call for call in target.calls if call.began <= first <= call.ended]
        assert target.begun_between(first, paused_at) == []
        assert len(refused) <= len(in_flight)
        if pace["batch_interval"] == 0:
            assert len(in_flight) <= pace["max_concurrent"]
        assert sum(request.status == 401 for request in demo.requests) == len(refused)
        adds_up(batch)
        assert batch.status == "paused"
        progress = batch.progress
        assert (progress.triggered + progress.pending, progress.in_doubt) == (500, 0)
        states = batch.items().set_index("item")["status"]
        assert {states[call.item] for call in refused} == {"pending"}

        demo.restore_key()
        batch.resume()
        batch.update(batch_interval=0)
        batch.join()
        settled_account(demo, batch)
        assert demo.requests.count == 500 + len(refused)
    print(f"\n{len(refused)} requests were answered 401, {len(in_flight)} were on their way")
