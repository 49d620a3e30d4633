"""A process that was stopped does not send what it was about to send once that is too late."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

import batchkit as bk
from batchkit.core.outcome import Triggered, Unclear
from batchkit.core.request import ITEM_KEY, TriggerRequest

LIMIT = 0.4


@pytest.mark.parametrize("open_connections", [0, 1])
def test_nothing_is_written_once_the_time_of_a_request_is_over(
    request_for: Callable[..., TriggerRequest], open_connections: int
) -> None:
    with bk.DemoPlatform(agents=[bk.Agent(name="Filer", id="filer")]) as demo:

        def request(item: int) -> TriggerRequest:
            return replace(request_for(item, agent_id="filer", version=None), inputs={})

        async def scenario() -> float:
            target = bk.AsteroidTarget(demo.url, demo.api_key, total_timeout=LIMIT, connect_timeout=LIMIT / 2)
            woken = 0.0

            def stand_still() -> None:
                nonlocal woken
                time.sleep(2 * LIMIT)
                woken = time.monotonic()

            async def until_triggered(item: int) -> None:
                while not isinstance(await target.trigger(request(item)), Triggered):
                    pass

            for _ in range(open_connections):
                await until_triggered(0)
            sending = asyncio.create_task(target.trigger(request(1)))
            # As if the process stood still right after the request was begun.
            asyncio.get_running_loop().call_soon(stand_still)
            outcome = await sending
            assert isinstance(outcome, Triggered | Unclear)
            # By now the platform has read whatever was written before.
            await until_triggered(2)
            await target.aclose()
            return woken

        woken = asyncio.run(scenario())
        arrived = {each.metadata.get(ITEM_KEY): each.monotonic for each in demo.requests}
    assert "2" in arrived
    assert arrived.get("1", 0.0) < woken
