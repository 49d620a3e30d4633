"""The demo platform's faults, each on a real connection."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import httpx
import pytest
from batches import eventually

from batchkit.core.agent import Agent
from batchkit.errors import ConfigError
from batchkit.targets.demo import DemoPlatform
from batchkit.targets.demo.faults import Faults, FaultScope

AGENT = Agent(name="Filer", id="filer")
PATH = "/agents/v2/agents/filer/execute"


@pytest.fixture
def demo() -> Iterator[DemoPlatform]:
    with DemoPlatform(agents=[AGENT], duration=0, failure_share=0) as platform:
        yield platform


def execute(demo: DemoPlatform, item: str = "0", timeout: float = 5.0) -> httpx.Response:
    return httpx.post(
        demo.url + PATH,
        headers={"X-Api-Key": demo.api_key},
        json={"metadata": {"item": item}},
        timeout=httpx.Timeout(20.0, read=timeout),
        trust_env=False,
    )


def read(demo: DemoPlatform) -> httpx.Response:
    return httpx.get(f"{demo.url}/agents/v2/agents", headers={"X-Api-Key": demo.api_key}, trust_env=False)


def raw_answer(demo: DemoPlatform) -> bytes:
    """Everything the server sends before it closes the connection."""
    body = b'{"metadata": {"item": "0"}}'
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-Api-Key: {demo.api_key}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", demo.port), timeout=5) as connection:
        connection.sendall(head.encode() + body)
        received = b""
        while chunk := connection.recv(4096):
            received += chunk
    return received


def log(demo: DemoPlatform) -> list[tuple[str, int | None, bool]]:
    """(item, answered status, whether an execution was created) per request."""
    return [(entry.metadata.get("item", "-"), entry.status, entry.execution_id is not None) for entry in demo.requests]


def test_a_rate_limit_strikes_so_often_and_says_when_to_come_back(demo: DemoPlatform) -> None:
    demo.faults.rate_limit(count=2, retry_after=3)
    answers = [execute(demo, str(number)) for number in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 202]
    assert [answer.headers.get("Retry-After") for answer in answers] == ["3", "3", None]
    assert answers[0].json()["code"] == 429
    assert log(demo) == [("0", 429, False), ("1", 429, False), ("2", 202, True)]


def test_a_server_error_strikes_a_share(demo: DemoPlatform) -> None:
    demo.faults.server_error(share=0.3)
    codes = [execute(demo, str(number)).status_code for number in range(60)]
    assert set(codes) == {500, 202}
    assert 5 < codes.count(500) < 35
    assert len(demo.executions()) == codes.count(202)


def test_the_same_seed_strikes_the_same_requests() -> None:
    def struck() -> list[bool]:
        faults = Faults(seed=3)
        faults.drop(share=0.5)
        return [faults.take(FaultScope.EXECUTE) is not None for _ in range(50)]

    assert struck() == struck()
    assert len(set(struck())) == 2


def test_a_server_error_can_come_after_the_execution_was_created(demo: DemoPlatform) -> None:
    demo.faults.server_error(accepted=True, count=1, status=503)
    assert execute(demo).status_code == 503
    assert log(demo) == [("0", 503, True)]
    assert len(demo.executions()) == 1


def test_dropped_before_reading_nothing_was_done(demo: DemoPlatform) -> None:
    demo.faults.drop("before", count=1)
    with pytest.raises(httpx.RemoteProtocolError):
        execute(demo)
    assert log(demo) == [("-", None, False)]
    assert demo.executions() == []
    assert execute(demo).status_code == 202


def test_dropped_once_accepted_the_execution_exists_and_no_byte_was_answered(demo: DemoPlatform) -> None:
    demo.faults.drop("accepted", count=1)
    assert raw_answer(demo) == b""
    assert log(demo) == [("0", None, True)]
    assert demo.executions()[0]["metadata"] == {"item": "0"}


def test_dropped_half_way_part_of_the_answer_arrives(demo: DemoPlatform) -> None:
    demo.faults.drop("half", count=1)
    head, _, body = raw_answer(demo).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 202")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-len"))
    assert len(body) == length // 2
    assert log(demo) == [("0", 202, True)]


@pytest.mark.parametrize(
    ("when", "failure"),
    [
        ("before", aiohttp.ServerDisconnectedError),
        ("accepted", aiohttp.ServerDisconnectedError),
        ("half", aiohttp.ClientPayloadError),
    ],
)
def test_a_client_sees_each_drop_as_what_it_is(demo: DemoPlatform, when: str, failure: type[Exception]) -> None:
    async def scenario() -> None:
        async with aiohttp.ClientSession(headers={"X-Api-Key": demo.api_key}) as session:
            async with session.get(f"{demo.url}/agents/v2/agents") as answer:
                await answer.read()
            # a kept connection, too, is closed without an answer
            with pytest.raises(failure):
                async with session.post(demo.url + PATH, json={}) as answer:
                    await answer.read()

    demo.faults.drop(when)
    asyncio.run(scenario())


def test_a_garbled_answer_is_a_success_that_is_not_json(demo: DemoPlatform) -> None:
    demo.faults.garble(count=1)
    answer = execute(demo)
    assert answer.status_code == 202
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    assert len(demo.executions()) == 1


def test_latency_lies_before_the_execution_is_created(demo: DemoPlatform) -> None:
    demo.faults.latency = 0.6
    began = time.monotonic()
    with pytest.raises(httpx.ReadTimeout):
        execute(demo, timeout=0.1)
    assert demo.executions() == [] or time.monotonic() > began + 0.6
    demo.faults.clear()
    # the server does not know that the client has gone
    eventually(demo.executions)


def test_an_answer_can_be_delayed_after_the_execution_was_created(demo: DemoPlatform) -> None:
    demo.faults.answer_delay = 30
    with pytest.raises(httpx.ReadTimeout):
        execute(demo, timeout=0.2)
    eventually(lambda: log(demo) == [("0", None, True)])


def test_a_body_can_stall_half_way(demo: DemoPlatform) -> None:
    demo.faults.body_delay = 0.2
    started = time.monotonic()
    with (
        httpx.Client(headers={"X-Api-Key": demo.api_key}, trust_env=False) as client,
        client.stream("POST", demo.url + PATH, json={}) as answer,
    ):
        assert answer.status_code == 202
        body = answer.read()
        assert time.monotonic() - started >= 0.2
    assert json.loads(body)["executionId"] == demo.executions()[0]["id"]


def test_faults_are_for_execute_unless_said_otherwise(demo: DemoPlatform) -> None:
    demo.faults.server_error()
    assert read(demo).status_code == 200
    demo.faults.clear()
    demo.faults.server_error(scope="other")
    assert (read(demo).status_code, execute(demo).status_code) == (500, 202)
    demo.faults.clear()
    demo.faults.server_error(scope="all", status=502)
    assert (read(demo).status_code, execute(demo).status_code) == (502, 502)


def test_other_calls_can_be_slow(demo: DemoPlatform) -> None:
    demo.faults.other_latency = 0.1
    started = time.monotonic()
    assert read(demo).status_code == 200
    assert time.monotonic() - started >= 0.1


def test_the_control_calls_are_never_struck(demo: DemoPlatform) -> None:
    demo.faults.server_error(scope="all")
    headers = {"X-Api-Key": demo.api_key}
    assert httpx.get(f"{demo.url}/demo/requests", headers=headers, trust_env=False).status_code == 200


def test_clearing_ends_every_fault(demo: DemoPlatform) -> None:
    faults = demo.faults
    faults.latency = faults.answer_delay = faults.body_delay = faults.other_latency = faults.listing_delay = 60
    faults.drop()
    faults.rate_limit()
    faults.clear()
    assert execute(demo).status_code == 202
    assert read(demo).status_code == 200
    assert faults.listing_delay == 0


def test_clearing_keeps_the_listing_delay_the_platform_was_given() -> None:
    faults = Faults(listing_delay=2.0)
    faults.listing_delay = 5
    faults.clear()
    assert faults.listing_delay == 2.0


def test_where_several_faults_would_strike_the_last_one_does(demo: DemoPlatform) -> None:
    demo.faults.server_error()
    demo.faults.rate_limit(count=1)
    assert [execute(demo).status_code for _ in range(2)] == [429, 500]


def test_a_delayed_request_is_logged_whole(demo: DemoPlatform) -> None:
    demo.faults.latency = 0.01
    execute(demo, "7")
    assert log(demo) == [("7", 202, True)]


def test_faults_are_set_over_http(demo: DemoPlatform) -> None:
    def settle(settings: dict[str, Any]) -> httpx.Response:
        headers = {"X-Api-Key": demo.api_key}
        return httpx.post(f"{demo.url}/demo/faults", headers=headers, json=settings, trust_env=False)

    assert settle({"latency": 0.01, "listing_delay": 1, "rate_limit": {"count": 1}}).status_code == 200
    assert (demo.faults.latency, demo.faults.listing_delay) == (0.01, 1.0)
    assert [execute(demo).status_code for _ in range(2)] == [429, 202]
    assert settle({"clear": True, "drop": {"when": "accepted", "count": 1}}).status_code == 200
    assert demo.faults.latency == 0
    assert raw_answer(demo) == b""
    for wrong in (
        {"latency": "slow"},
        {"latency": -1},
        {"latency": True},
        {"explode": {}},
        {"drop": True},
        {"drop": {"how": 1}},
        {"drop": {"when": "later"}},
        {"drop": {"share": "half"}},
    ):
        answer = settle(wrong)
        assert answer.status_code == 400, wrong
        assert next(iter(wrong)) in answer.json()["message"] or "later" in answer.json()["message"]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("drop", {"when": "never"}),
        ("drop", {"share": 1.5}),
        ("drop", {"count": 0}),
        ("rate_limit", {"scope": "list"}),
        ("server_error", {"status": 200}),
        ("server_error", {"status": 999}),
    ],
)
def test_a_fault_that_cannot_be_is_refused(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        getattr(Faults(), name)(**arguments)
