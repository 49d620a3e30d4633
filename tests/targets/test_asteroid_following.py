"""What AsteroidTarget tells of executions by their status, against the demo platform over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

import batchkit as bk
from batchkit.core.execution import ExecutionStatus
from batchkit.core.flow import CapacityLimit
from batchkit.core.outcome import Triggered, Wait
from batchkit.core.ports import ListsByStatus
from batchkit.core.request import TriggerRequest
from batchkit.errors import NotFoundError

OPEN = [status for status in ExecutionStatus if not status.terminal]


@pytest.fixture
def demo() -> Iterator[bk.DemoPlatform]:
    agent = bk.Agent(name="Filer", id="filer", inputs=[bk.InputVariable("value")])
    with bk.DemoPlatform(agents=[agent], duration=60, failure_share=0, capacity=120) as platform:
        yield platform


def request(item: int, batch_id: str = "b1", limit: CapacityLimit | None = None) -> TriggerRequest:
    return TriggerRequest(
        agent_id="filer", version=None, batch_id=batch_id, item=item, attempt=1, on_capacity_limit=limit
    )


async def trigger(target: bk.AsteroidTarget, *requests: TriggerRequest) -> list[str]:
    outcomes = [await target.trigger(each) for each in requests]
    assert all(isinstance(each, Triggered) for each in outcomes), outcomes
    return [each.execution.id for each in outcomes if isinstance(each, Triggered)]


async def cancel(target: bk.AsteroidTarget, execution_id: str) -> None:
    url = target._connection.url("agents", "v2", "executions", execution_id, "cancel")
    await target._connection.send("POST", url, b"{}")


def test_open_and_ended_executions_are_listed_apart(demo: bk.DemoPlatform) -> None:
    async def scenario() -> None:
        target = bk.AsteroidTarget(demo.url, demo.api_key)
        assert isinstance(target, ListsByStatus)
        assert not isinstance(bk.FunctionTarget(lambda value: value), ListsByStatus)
        mine = await trigger(target, *map(request, range(103)))
        await trigger(target, request(0, "b2"))
        for identity in mine[:2]:
            await cancel(target, identity)
        page, total = await target.standing("b1", OPEN)
        assert (len(page), total) == (100, 101)
        assert {execution.status for execution in page} <= set(OPEN)
        assert await target.standing("b1", [ExecutionStatus.AWAITING_CONFIRMATION]) == ([], 0)
        since = datetime.now(UTC) - timedelta(minutes=1)
        ended = [execution async for page in target.ended("b1", since) for execution in page]
        assert [execution.id for execution in ended] == mine[:2]
        later = datetime.now(UTC) + timedelta(minutes=1)
        assert [page async for page in target.ended("b1", later)] == []
        await target.aclose()

    asyncio.run(scenario())


def test_one_execution_is_asked_for_by_its_id(demo: bk.DemoPlatform) -> None:
    async def scenario() -> None:
        target = bk.AsteroidTarget(demo.url, demo.api_key)
        [identity] = await trigger(target, request(7))
        execution = await target.execution(identity)
        assert execution.metadata["batchkit_item"] == "7"
        assert execution.created_at is not None
        with pytest.raises(NotFoundError):
            await target.execution("none")
        await target.aclose()

    asyncio.run(scenario())


def test_a_batch_decides_what_the_platform_does_without_room(demo: bk.DemoPlatform) -> None:
    async def scenario() -> None:
        target = bk.AsteroidTarget(demo.url, demo.api_key)
        queuing = bk.AsteroidTarget(demo.url, demo.api_key, on_capacity_limit="queue")
        await trigger(target, *map(request, range(120)))
        assert isinstance(await target.trigger(request(120)), Wait)
        assert isinstance(await queuing.trigger(request(120, limit="reject")), Wait)
        await trigger(target, request(120, limit="queue"))
        await trigger(queuing, request(121))
        await target.aclose()
        await queuing.aclose()

    asyncio.run(scenario())
