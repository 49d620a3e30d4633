"""A network that breaks requests and answers in every way: nothing lost, nothing sent twice."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator

import pandas as pd
import pytest
from accounts import adds_up, settled_account
from batches import create_batch
from fault_proxy import LATE, WAYS, FaultProxy
from long_form import FULL
from sending import Plan, ShortWorkspace

import batchkit as bk
from batchkit.core.request import ATTEMPT_KEY, ITEM_KEY
from batchkit.errors import BatchPaused

ROWS = 2000 if FULL else 200
SHARES = dict.fromkeys([way for way in WAYS if way != "pass"], 0.035)


@pytest.fixture
def proxy(demo: bk.DemoPlatform, request: pytest.FixtureRequest) -> Iterator[FaultProxy]:
    through = FaultProxy(
        demo.port, shares=SHARES, others=0.2, seed=request.param, refuse_at=frozenset(range(40, ROWS, ROWS // 4))
    )
    yield through
    through.close()


def persevere(batch: bk.Batch, seconds: float = 240.0) -> int:
    """Wait for the batch and resume it whenever it pauses itself, as a person would; returns how often."""
    end = time.monotonic() + seconds
    times = 0
    while time.monotonic() < end:
        try:
            batch.join()
            return times
        except BatchPaused:
            adds_up(batch)
            times += 1
            batch.resume()
    raise TimeoutError(f"{batch!r} did not end within {seconds:g} s")


@pytest.mark.parametrize("interval", [0.0, 0.1] if FULL else [0.0])
@pytest.mark.parametrize("proxy", range(5) if FULL else range(1), indirect=True)
def test_every_row_runs_once_whatever_the_network_does(
    demo: bk.DemoPlatform, proxy: FaultProxy, plan: Plan, interval: float
) -> None:
    through = Plan(
        url=proxy.url, api_key=plan.api_key, store=plan.store, journal=plan.journal, listing_delay=LATE + 0.2
    )
    with ShortWorkspace(through) as ws:
        demo.faults.listing_delay = 0.1
        batch = create_batch(ws, ROWS, max_concurrent=10, batch_interval=interval)
        resumed = persevere(batch)
        settled_account(demo, batch)
        histories_are_plausible(proxy, batch)
    assert set(proxy.ways) == set(WAYS)
    assert proxy.refusals >= 3
    print(f"\n{ROWS} rows, {len(proxy.passages)} requests, resumed {resumed} times, {dict(proxy.ways)}")


def histories_are_plausible(proxy: FaultProxy, batch: bk.Batch) -> None:
    """Each row tells what happened to it: its attempts, the doubts in between, the end."""
    seen = defaultdict(list)
    for passage in proxy.passages:
        if passage.metadata:
            seen[int(passage.metadata[ITEM_KEY])].append((int(passage.metadata[ATTEMPT_KEY]), passage.way))
    events = batch.events()
    doubts = Counter(events[events["kind"] == "in_doubt"]["item"].dropna().astype(int))
    for row in batch.items().itertuples():
        attempts = [attempt for attempt, _ in seen[row.item]]
        assert attempts == sorted(set(attempts)), f"item {row.item}: an attempt came by twice: {attempts}"
        assert attempts[-1] == row.attempt, f"item {row.item}: {attempts}"
        assert pd.isna(row.error), f"item {row.item} ran and has an error: {row.error}"
        # Of the ways that lose an answer each leaves a doubt; so does one that no proxy saw the end of.
        unclear = sum(way not in ("pass", "slow body") for _, way in seen[row.item])
        assert unclear <= doubts[row.item] <= row.attempt, f"item {row.item}: {seen[row.item]}, {doubts[row.item]}"
        assert row.intent_at <= row.triggered_at
        [*earlier, (_, last)] = seen[row.item]
        assert WAYS[last]
        assert not any(WAYS[way] for _, way in earlier), f"item {row.item}: {seen[row.item]}"
