"""AsteroidTarget against the demo platform and scripted servers: what it reads, sends, and never shows."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import json
import logging
import pickle
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import ModuleType
from typing import Any
from urllib.parse import quote

import aiohttp
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.core.execution import Execution, ExecutionOutcome, ExecutionStatus
from batchkit.core.outcome import Held, Refused, Triggered, Unclear, Wait
from batchkit.core.ports import Target
from batchkit.core.profile import AgentProfile, ProfilePool, ProfileRef, SelectionStrategy
from batchkit.core.request import TriggerRequest
from batchkit.errors import AuthError, ConfigError, NotFoundError, TargetError, UnreachableError
from batchkit.targets import wire
from batchkit.targets.asteroid import AsteroidTarget
from batchkit.targets.connection import Connection, base_url
from batchkit.targets.demo import DemoPlatform
from batchkit.targets.secret import Secret

Make = Callable[..., AsteroidTarget]
Request = Callable[..., TriggerRequest]

INPUTS = {"client": "Ada", "address": "1 Main St", "permit_type": "building", "start_date": "2026-03-01"}


def run(coroutine: Awaitable[Any]) -> Any:
    """As asyncio.run, with a limit: what hangs fails."""

    async def limited() -> Any:
        async with asyncio.timeout(60):
            return await coroutine

    return asyncio.run(limited())


def fetch(target: AsteroidTarget, coroutine: Awaitable[Any]) -> Any:
    """The result of one fetch; the target is closed behind it."""

    async def scenario() -> Any:
        try:
            return await coroutine
        finally:
            await target.aclose()

    return run(scenario())


@pytest.fixture(scope="module")
def demo() -> Iterator[DemoPlatform]:
    with DemoPlatform(duration=0.05, failure_share=0.0) as platform:
        yield platform


# The demo platform, from end to end


def test_agents_come_by_name(demo: DemoPlatform) -> None:
    target = AsteroidTarget(demo.url, demo.api_key)
    agents = fetch(target, target.agents())
    assert [agent.name for agent in agents] == sorted(agent.name for agent in agents)
    assert all(agent.id for agent in agents)
    assert "Permit filer" in [agent.name for agent in agents]


def test_an_agent_has_its_versions_newest_first_and_the_inputs_of_the_published_one(demo: DemoPlatform) -> None:
    target = AsteroidTarget(demo.url, demo.api_key)

    async def scenario() -> Any:
        (known,) = [agent for agent in await target.agents() if agent.name == "Permit filer"]
        return await target.agent(known.id), await target.agent(known.id, version=1)

    published, first = fetch(target, scenario())
    assert published.version == 3
    assert [version.version for version in published.versions] == [4, 3, 2, 1]
    assert [version.inputs is not None for version in published.versions] == [False, True, False, False]
    assert [each.name for each in published.inputs][:3] == ["client", "address", "permit_type"]
    assert published.input("client").required
    assert published.input("urgent").default is False
    assert first.version == 1
    assert [each.name for each in first.inputs] == ["client", "address"]


def test_a_version_that_does_not_exist_is_named_with_those_that_do(demo: DemoPlatform) -> None:
    target = AsteroidTarget(demo.url, demo.api_key)

    async def scenario() -> None:
        known = (await target.agents())[0]
        with pytest.raises(NotFoundError, match=r"no version 99\. Its versions: "):
            await target.agent(known.id, version=99)
        with pytest.raises(NotFoundError):
            await target.agent("no-such-agent")

    fetch(target, scenario())


def test_profiles_and_pools_come_by_name(demo: DemoPlatform) -> None:
    target = AsteroidTarget(demo.url, demo.api_key)

    async def scenario() -> Any:
        return await target.profiles(), await target.pools()

    profiles, pools = fetch(target, scenario())
    assert profiles
    assert pools
    assert all(isinstance(profile, AgentProfile) for profile in profiles)
    assert all(isinstance(pool, ProfilePool) for pool in pools)
    assert [profile.name for profile in profiles] == sorted(profile.name for profile in profiles)


def test_triggered_rows_are_found_and_followed_to_their_result(demo: DemoPlatform, request_for: Request) -> None:
    target = AsteroidTarget(demo.url, demo.api_key)
    items = 230

    async def scenario() -> None:
        (agent,) = [agent for agent in await target.agents() if agent.name == "Permit filer"]
        profile = (await target.profiles())[0]
        ref = ProfileRef(id=profile.id, name=profile.name)
        requests = [
            request_for(item, agent_id=agent.id, inputs=INPUTS, batch_id="b-end", profile=ref) for item in range(items)
        ]
        outcomes = await asyncio.gather(*(target.trigger(request) for request in requests))
        assert {type(outcome) for outcome in outcomes} == {Triggered}, set(outcomes)
        ids = {outcome.execution.id for outcome in outcomes}
        assert len(ids) == items

        found = await target.find("b-end", 7, 1)
        assert found is not None
        assert found.metadata["batchkit_item"] == "7"
        assert await target.find("b-end", 7, 2) is None
        assert await target.find("b-end", items, 1) is None

        async with asyncio.timeout(60):
            while True:
                pages = [page async for page in target.executions("b-end")]
                executions = [execution for page in pages for execution in page]
                if all(execution.status.terminal for execution in executions):
                    break
                await asyncio.sleep(0.05)
        assert [len(page) for page in pages] == [100, 100, 30]
        assert {execution.id for execution in executions} == ids
        assert {execution.profile_name for execution in executions} == {profile.name}
        assert {execution.status for execution in executions} == {ExecutionStatus.COMPLETED}
        assert executions[0].outcome is ExecutionOutcome.SUCCESS
        assert executions[0].result is not None
        assert executions[0].created_at <= executions[0].finished_at
        assert executions[0].metadata["region"] == "north"

    fetch(target, scenario())


def test_since_leaves_older_executions_out(demo: DemoPlatform, request_for: Request) -> None:
    target = AsteroidTarget(demo.url, demo.api_key)

    async def scenario() -> None:
        (agent,) = [agent for agent in await target.agents() if agent.name == "Permit filer"]
        await target.trigger(request_for(agent_id=agent.id, inputs=INPUTS, batch_id="b-since"))
        (page,) = [page async for page in target.executions("b-since")]
        created = page[0].created_at
        again = [each async for each in target.executions("b-since", since=created)]
        assert [execution.id for execution in again[0]] == [page[0].id]
        assert [each async for each in target.executions("b-since", since=created + timedelta(minutes=1))] == []

    fetch(target, scenario())


def test_a_row_the_platform_refuses_is_refused_in_its_words(demo: DemoPlatform, request_for: Request) -> None:
    target = AsteroidTarget(demo.url, demo.api_key)

    async def scenario() -> None:
        (agent,) = [agent for agent in await target.agents() if agent.name == "Permit filer"]
        outcome = await target.trigger(request_for(agent_id=agent.id, inputs=INPUTS | {"permit_type": "castle"}))
        assert isinstance(outcome, Refused)
        assert outcome.code == "400"
        assert "permit_type" in outcome.message
        outcome = await target.trigger(request_for(agent_id="no-such-agent"))
        assert isinstance(outcome, Refused)
        assert outcome.code == "404"

    fetch(target, scenario())


def test_a_wrong_key_holds_rows_and_fails_fetches_with_advice(demo: DemoPlatform, request_for: Request) -> None:
    target = AsteroidTarget(demo.url, "wrong-key")

    async def scenario() -> None:
        assert isinstance(await target.trigger(request_for()), Held)
        with pytest.raises(AuthError, match=r"agents answered 401: .* check the API key"):
            await target.agents()

    fetch(target, scenario())


# What goes over the wire


def test_a_trigger_sends_one_compact_body_with_the_key_in_the_documented_header(
    faults: ModuleType, target_for: Make, request_for: Request, key: str
) -> None:
    async def scenario() -> None:
        async with faults.FaultServer(faults.answering(202, faults.ACCEPTED)) as server:
            target = target_for(server.url)
            outcome = await target.trigger(request_for(3, attempt=2, agent_id="a/1 ü"))
            await target.aclose()
            assert outcome == Triggered(execution=Execution(id="e-1", status=ExecutionStatus.STARTING))
            (request,) = server.requests
            assert (request.method, request.target) == ("POST", "/agents/v2/agents/a%2F1%20%C3%BC/execute")
            assert request.headers["x-asteroid-agents-api-key"] == key
            assert request.headers["content-type"] == "application/json"
            assert "transfer-encoding" not in request.headers
            assert "cookie" not in request.headers
            assert request.body == (
                b'{"inputs":{"client":"Ada","amount":12.5},"metadata":{"region":"north","batchkit_batch":"b-1",'
                b'"batchkit_item":"3","batchkit_attempt":"2"},"version":3}'
            )

    run(scenario())


@pytest.mark.parametrize(
    ("changes", "settings", "member"),
    [
        ({"profile": ProfileRef(id="p-1", name="Clerk")}, {}, ("agentProfileId", "p-1")),
        ({"profile": ProfileRef(id="q-1", name="Pool", is_pool=True)}, {}, ("agentProfilePoolId", "q-1")),
        ({}, {"on_capacity_limit": "queue"}, ("onCapacityLimit", "queue")),
        ({"inputs": {"name": "Łódź \ud800 \x00"}}, {}, ("inputs", {"name": "Łódź \ud800 \x00"})),
    ],
)
def test_each_option_has_its_member_of_the_body(
    faults: ModuleType,
    target_for: Make,
    request_for: Request,
    changes: dict[str, Any],
    settings: dict[str, Any],
    member: tuple[str, Any],
) -> None:
    async def scenario() -> None:
        async with faults.FaultServer(faults.answering(202, faults.ACCEPTED)) as server:
            target = target_for(server.url, **settings)
            assert isinstance(await target.trigger(request_for(**changes)), Triggered)
            await target.aclose()
            assert server.requests[0].json[member[0]] == member[1]

    run(scenario())


def test_the_published_version_is_named_by_naming_none(
    faults: ModuleType, target_for: Make, request_for: Request
) -> None:
    async def scenario() -> None:
        async with faults.FaultServer(faults.answering(202, faults.ACCEPTED)) as server:
            target = target_for(server.url, header="X-Api-Key")
            await target.trigger(request_for(version=None))
            await target.aclose()
            assert "version" not in server.requests[0].json
            assert "x-api-key" in server.requests[0].headers
            assert "x-asteroid-agents-api-key" not in server.requests[0].headers

    run(scenario())


@pytest.mark.parametrize("inputs", [{"amount": float("nan")}, {"amount": float("inf")}, {"when": datetime.now(UTC)}])
def test_values_json_cannot_hold_are_refused_unsent(
    faults: ModuleType, target_for: Make, request_for: Request, inputs: dict[str, Any]
) -> None:
    async def scenario() -> None:
        async with faults.FaultServer(faults.answering(202, faults.ACCEPTED)) as server:
            target = target_for(server.url)
            outcome = await target.trigger(request_for(inputs=inputs))
            await target.aclose()
            assert isinstance(outcome, Refused)
            assert server.requests == []

    run(scenario())


@pytest.mark.parametrize("agent_id", ["", ".", ".."])
def test_an_agent_id_that_would_change_the_path_is_refused_unsent(
    faults: ModuleType, target_for: Make, request_for: Request, agent_id: str
) -> None:
    async def scenario() -> None:
        async with faults.FaultServer(faults.answering(202, faults.ACCEPTED)) as server:
            target = target_for(server.url)
            outcome = await target.trigger(request_for(agent_id=agent_id))
            await target.aclose()
            assert isinstance(outcome, Refused)
            assert server.requests == []

    run(scenario())


def test_find_and_executions_ask_by_metadata(faults: ModuleType, target_for: Make) -> None:
    async def scenario() -> None:
        async with faults.FaultServer(
            faults.answering(200, {"items": [], "page": 1, "pageSize": 100, "total": 0})
        ) as it:
            target = target_for(it.url)
            assert await target.find("b+1&x=ü", 12, 2) is None
            since = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)
            assert [page async for page in target.executions("b+1&x=ü", since)] == []
            await target.aclose()
            find, executions = it.requests
            assert find.path == executions.path == "/agents/v2/executions"
            assert find.query == [
                ("metadata", "batchkit_batch=b+1&x=ü"),
                ("metadata", "batchkit_item=12"),
                ("metadata", "batchkit_attempt=2"),
                ("page", "1"),
                ("pageSize", "100"),
            ]
            assert ("createdAfter", "2026-03-01T09:59:59.000Z") in executions.query
            assert ("sortField", "created_at") in executions.query
            assert ("sortDirection", "asc") in executions.query

    run(scenario())


def test_a_redirect_is_never_followed(faults: ModuleType, target_for: Make, request_for: Request) -> None:
    async def scenario() -> None:
        async with faults.FaultServer(faults.answering(202, faults.ACCEPTED)) as other:
            place = f"{other.url}/agents?token=confidential"
            async with faults.FaultServer(faults.answering(308, Location=place)) as server:
                target = target_for(server.url)
                outcome = await target.trigger(request_for())
                with pytest.raises(TargetError, match="it points to"):
                    await target.agents()
                await target.aclose()
                assert isinstance(outcome, Held)
                assert other.url in outcome.message
                assert "confidential" not in outcome.message
                assert other.connections == 0

    run(scenario())


def test_loopback_never_goes_through_a_proxy(
    faults: ModuleType, request_for: Request, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with (
            faults.FaultServer(faults.answering(502)) as proxy,
            faults.FaultServer(faults.answering(202, faults.ACCEPTED)) as server,
        ):
            for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
                monkeypatch.setenv(name, proxy.url)
            monkeypatch.delenv("NO_PROXY", raising=False)
            monkeypatch.delenv("no_proxy", raising=False)
            target = AsteroidTarget(server.url, key)
            assert isinstance(await target.trigger(request_for()), Triggered)
            await target.aclose()
            assert proxy.connections == 0

    run(scenario())


# Answers that are not as agreed


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("86400", 3600.0),
        ("9" * 400, 3600.0),
        ("Sun, 01 Mar 2026 10:00:30 GMT", 30.0),
        ("Sun, 01 Mar 2026 09:00:00 GMT", 0.0),
        ("Tue, 01 Mar 2050 10:00:30 GMT", 3600.0),
        ("-5", None),
        ("soon", None),
        ("1e9", None),
        ("nan", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_at_most_an_hour(
    faults: ModuleType, target_for: Make, request_for: Request, header: str, seconds: float | None
) -> None:
    async def scenario() -> None:
        answer = faults.answering(429, b"{}", Retry_After=header, Date="Sun, 01 Mar 2026 10:00:00 GMT")
        async with faults.FaultServer(answer) as server:
            target = target_for(server.url)
            outcome = await target.trigger(request_for())
            await target.aclose()
            assert isinstance(outcome, Wait)
            assert outcome.retry_after == seconds

    run(scenario())


@given(st.integers(0, 4_000_000_000), st.integers(0, 3000))
def test_a_retry_date_counts_from_now_where_the_server_names_no_date(timestamp: int, seconds: int) -> None:
    now = datetime.fromtimestamp(timestamp, UTC)
    header = format_datetime(now + timedelta(seconds=seconds), usegmt=True)
    assert wire.read_retry_after({"retry-after": header}, now) == seconds


@given(st.text())
def test_any_retry_after_is_read_without_an_error(text: str) -> None:
    seconds = wire.read_retry_after({"retry-after": text, "date": text}, datetime(2026, 1, 1, tzinfo=UTC))
    assert seconds is None or 0 <= seconds <= 3600


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"message": "Invalid", "errors": [{"parameter": "client", "detail": "too short"}, {"detail": 3}, None]},
            "Invalid; client: too short",
        ),
        (
            {"message": "client: too short", "errors": [{"parameter": "client", "detail": "too short"}]},
            "client: too short",
        ),
        ({"detail": "from the detail"}, "from the detail"),
        ({"title": "Bad Request"}, "Bad Request"),
        ({"message": "Full", "capability": "executions", "used": 5, "limit": 5}, "Full (5 of 5 executions in use)"),
        ({}, "HTTP status 400"),
        ([], "HTTP status 400"),
        (b"", "HTTP status 400"),
        (b"<html><h1>Bad</h1></html>", "HTTP status 400"),
        (b"plain\r\n  words", "plain words"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ({"message": "x" * 10_000}, "x" * 499 + "…"),
    ],
)
def test_a_refusal_says_what_the_platform_says_in_one_short_line(
    faults: ModuleType, target_for: Make, request_for: Request, body: object, message: str
) -> None:
    async def scenario() -> None:
        async with faults.FaultServer(faults.answering(400, body)) as server:
            target = target_for(server.url)
            outcome = await target.trigger(request_for())
            await target.aclose()
            if body == []:
                assert isinstance(outcome, Refused)
            else:
                assert outcome == Refused(code="400", message=message)

    run(scenario())


@pytest.mark.parametrize(
    ("member", "status"),
    [
        ({}, "queued"),
        ({"status": "queued"}, "queued"),
        ({"status": "starting"}, "starting"),
        ({"status": "new"}, "queued"),
    ],
)
def test_a_triggered_execution_has_the_status_the_answer_names(
    faults: ModuleType, target_for: Make, request_for: Request, member: dict[str, str], status: str
) -> None:
    async def scenario() -> None:
        async with faults.FaultServer(faults.answering(202, {"executionId": "e-9"} | member)) as server:
            target = target_for(server.url)
            outcome = await target.trigger(request_for())
            await target.aclose()
            assert outcome == Triggered(execution=Execution(id="e-9", status=ExecutionStatus(status)))

    run(scenario())


def test_a_status_word_nobody_knows_counts_as_running_and_is_shown() -> None:
    execution = wire.read_execution({"id": "e-1", "status": "levitating"})
    assert execution.status is ExecutionStatus.RUNNING
    assert "levitating" in execution.reasoning
    assert not execution.status.terminal


def test_an_execution_is_read_whole() -> None:
    execution = wire.read_execution(
        {
            "id": "e-1",
            "status": "failed",
            "createdAt": "2026-03-01T10:00:00.123456789Z",
            "startedAt": "2026-03-01T11:00:00+01:00",
            "terminalAt": "2026-03-01T10:05:00",
            "agentProfileName": "Clerk A",
            "platformUrl": "https://odyssey.asteroid.ai/e-1",
            "metadata": {"batchkit_item": 7, "region": "north"},
            "executionResult": {"outcome": "failure", "reasoning": "The form was gone.", "result": {"a": [1]}},
        }
    )
    assert execution == Execution(
        id="e-1",
        status=ExecutionStatus.FAILED,
        outcome=ExecutionOutcome.FAILURE,
        reasoning="The form was gone.",
        error="The form was gone.",
        result={"a": [1]},
        created_at=datetime(2026, 3, 1, 10, 0, 0, 123456, tzinfo=UTC),
        started_at=datetime(2026, 3, 1, 10, 0, tzinfo=UTC),
        finished_at=datetime(2026, 3, 1, 10, 5, tzinfo=UTC),
        profile_name="Clerk A",
        url="https://odyssey.asteroid.ai/e-1",
        metadata={"batchkit_item": "7", "region": "north"},
    )


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    st.fixed_dictionaries(
        {"id": st.text(min_size=1)},
        optional=dict.fromkeys(
            (
                "status",
                "createdAt",
                "terminalAt",
                "executionResult",
                "metadata",
                "platformUrl",
                "agentProfileName",
            ),
            ANY_JSON,
        ),
    )
)
def test_an_execution_of_any_shape_is_read_or_left_at_defaults(item: dict[str, Any]) -> None:
    execution = wire.read_execution(item)
    assert execution.id == item["id"]
    assert not execution.url or execution.url.startswith(("http://", "https://"))


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", " https://x", 7, None])
def test_a_link_that_is_no_web_address_is_dropped(address: object) -> None:
    assert wire.read_execution({"id": "e-1", "status": "queued", "platformUrl": address}).url == ""


@pytest.mark.parametrize(
    "read",
    [wire.read_execution, wire.read_agent, wire.read_profile, wire.read_pool, lambda item: wire.read_versions([item])],
)
@pytest.mark.parametrize("identity", [None, "", 7])
def test_what_has_no_id_is_an_error(read: Callable[[dict[str, Any]], object], identity: object) -> None:
    with pytest.raises(TargetError, match="without an id"):
        read({"id": identity, "name": "x", "version": 1})


def test_inputs_that_cannot_be_used_are_an_error_and_not_a_crash() -> None:
    with pytest.raises(TargetError, match="'a b' is not a name"):
        wire.read_inputs([{"name": "a b"}])
    with pytest.raises(TargetError, match="twice: x"):
        wire.read_inputs([{"name": "x"}, {"name": "x"}])
    (variable,) = wire.read_inputs([{"name": "x", "schema": None, "required": 1, "description": 3}])
    assert (variable.schema, variable.required, variable.description) == ({}, False, "")


def test_a_pool_strategy_nobody_knows_counts_as_the_default_one() -> None:
    pool = wire.read_pool({"id": "q", "name": "Q", "selectionStrategy": "random", "allowConcurrentUse": True})
    assert pool.strategy is SelectionStrategy.LEAST_RECENTLY_USED
    assert pool.concurrent_use
    pool = wire.read_pool({"id": "q", "name": "Q", "selectionStrategy": "most_recently_used"})
    assert pool.strategy is SelectionStrategy.MOST_RECENTLY_USED


def test_the_newest_version_stands_in_where_none_is_published(faults: ModuleType, target_for: Make) -> None:
    def answers(request: Any) -> tuple[int, object]:
        if request.path.endswith("/workflows"):
            return 200, [{"id": "w-1", "version": 1}, {"id": "w-2", "version": 2}]
        if request.path.endswith("/w-2/inputs"):
            return 200, {"inputs": [{"name": "client", "schema": {}}]}
        return 200, {"items": [{"id": "a-1", "name": "Filer"}], "page": 1, "pageSize": 100, "total": 1}

    async def scenario() -> None:
        async with faults.FaultServer(faults.routed(answers)) as server:
            target = target_for(server.url)
            agent = await target.agent("a-1")
            await target.aclose()
            assert agent.version == 2
            assert [each.name for each in agent.inputs] == ["client"]

    run(scenario())


def test_an_agent_without_any_version_has_no_inputs(faults: ModuleType, target_for: Make) -> None:
    def answers(request: Any) -> tuple[int, object]:
        if request.path.endswith("/workflows"):
            return 200, []
        return 200, {"items": [{"id": "a-1", "name": "Filer"}], "page": 1, "pageSize": 100, "total": 1}

    async def scenario() -> None:
        async with faults.FaultServer(faults.routed(answers)) as server:
            target = target_for(server.url)
            agent = await target.agent("a-1")
            await target.aclose()
            assert (agent.version, agent.inputs, agent.versions) == (None, (), ())

    run(scenario())


# Pages


def paged(items: list[dict[str, Any]], *, cap: int = 100, total: bool = True) -> Callable[[Any], tuple[int, object]]:
    """A server's answers for a list of which it gives at most `cap` a page."""

    def answers(request: Any) -> tuple[int, object]:
        query = dict(request.query)
        size = min(int(query["pageSize"]), cap)
        page = int(query["page"])
        answer: dict[str, Any] = {"items": items[(page - 1) * size : page * size], "page": page, "pageSize": size}
        return 200, answer | ({"total": len(items)} if total else {})

    return answers


@pytest.mark.parametrize("total", [True, False])
@pytest.mark.parametrize("cap", [100, 30])
@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
def test_lists_are_read_to_the_end_whatever_the_servers_page_size(
    faults: ModuleType, target_for: Make, count: int, cap: int, total: bool
) -> None:
    profiles = [{"id": f"p-{number}", "name": f"Profile {number:03}"} for number in range(count)]

    async def scenario() -> None:
        async with faults.FaultServer(faults.routed(paged(profiles, cap=cap, total=total))) as server:
            target = target_for(server.url)
            found = await target.profiles()
            await target.aclose()
            assert [profile.id for profile in found] == [profile["id"] for profile in profiles]
            needed = -(-count // cap)
            assert len(server.requests) == (max(needed, 1) if total else needed + 1)

    run(scenario())


def test_a_server_that_ignores_the_page_number_is_an_error_and_no_end(faults: ModuleType, target_for: Make) -> None:
    async def scenario() -> None:
        items = [{"id": f"e-{number}", "status": "queued", "metadata": {}} for number in range(100)]
        answer = faults.answering(200, {"items": items, "page": 1, "pageSize": 100, "total": 250})
        async with faults.FaultServer(answer) as server:
            target = target_for(server.url)
            with pytest.raises(TargetError, match="page 2 with the page before"):
                await target.find("b-1", 0, 1)
            await target.aclose()

    run(scenario())


def test_rows_that_move_to_the_next_page_meanwhile_come_twice_and_are_listed_once(
    faults: ModuleType, target_for: Make
) -> None:
    agents = [{"id": f"a-{number}", "name": f"Agent {number:03}"} for number in range(150)]
    answered = paged(agents)

    def answers(request: Any) -> tuple[int, object]:
        answer = answered(request)
        agents.insert(0, {"id": f"new-{len(agents)}", "name": "New"})
        return answer

    async def scenario() -> None:
        async with faults.FaultServer(faults.routed(answers)) as server:
            target = target_for(server.url)
            found = await target.agents()
            await target.aclose()
            ids = [agent.id for agent in found]
            assert len(ids) == len(set(ids))
            assert {f"a-{number}" for number in range(150)} <= set(ids)

    run(scenario())


def execution_item(identity: str, batch: str, item: int, attempt: int, created: str) -> dict[str, Any]:
    metadata = {"batchkit_batch": batch, "batchkit_item": str(item), "batchkit_attempt": str(attempt)}
    return {"id": identity, "status": "running", "createdAt": created, "metadata": metadata}


def test_find_checks_for_itself_what_the_server_lists(faults: ModuleType, target_for: Make) -> None:
    """A server that ignores the filter, or heeds its last pair only, must not pass off another row's execution."""
    others = [execution_item(f"e-{n}", "b-2", 5, 1, "2026-03-01T10:00:00Z") for n in range(150)]
    ours = [
        execution_item("e-late", "b-1", 5, 1, "2026-03-01T10:00:02Z"),
        execution_item("e-first", "b-1", 5, 1, "2026-03-01T10:00:01Z"),
    ]

    async def scenario() -> None:
        async with faults.FaultServer(faults.routed(paged(others))) as server:
            target = target_for(server.url)
            assert await target.find("b-1", 5, 1) is None
            assert [page async for page in target.executions("b-1")] == [[], []]
            await target.aclose()
        async with faults.FaultServer(faults.routed(paged(others + ours))) as server:
            target = target_for(server.url)
            found = await target.find("b-1", 5, 1)
            await target.aclose()
            assert found is not None
            assert found.id == "e-first"

    run(scenario())


def test_find_does_not_take_missing_metadata_for_not_found(faults: ModuleType, target_for: Make) -> None:
    async def scenario() -> None:
        items = [{"id": "e-1", "status": "running"}]
        async with faults.FaultServer(faults.routed(paged(items))) as server:
            target = target_for(server.url)
            with pytest.raises(TargetError, match="without their metadata"):
                await target.find("b-1", 5, 1)
            await target.aclose()

    run(scenario())


@pytest.mark.parametrize("body", [b"<html>", b"", b"null", b"7", b'{"items": 7}', b'{"items": [7]}', b'{"total": 0}'])
def test_an_answer_that_is_no_list_is_an_error_with_advice(faults: ModuleType, target_for: Make, body: bytes) -> None:
    async def scenario() -> None:
        async with faults.FaultServer(faults.answering(200, body)) as server:
            target = target_for(server.url)
            for fetching in (target.agents(), target.profiles(), target.pools(), target.find("b-1", 0, 1)):
                with pytest.raises(TargetError, match="the right address"):
                    await fetching
            await target.aclose()

    run(scenario())


# Fetches that fail


def test_a_fetch_is_tried_again_after_5xx_and_lost_connections_and_a_trigger_never(
    faults: ModuleType, target_for: Make, request_for: Request
) -> None:
    left = iter(["500", "drop"])

    async def flaky(peer: Any) -> None:
        while await peer.request():
            trouble = next(left, None)
            if trouble == "drop":
                return
            body = b'{"items": [], "page": 1, "pageSize": 100, "total": 0}'
            await peer.answer(500 if trouble else 200, b"" if trouble else body)

    async def scenario() -> None:
        async with faults.FaultServer(flaky) as server:
            target = target_for(server.url)
            assert await target.agents() == []
            await target.aclose()
            # aiohttp itself tries a GET again on a connection that had been kept
            assert len(server.requests) >= 3
        async with faults.FaultServer(faults.answering(503)) as server:
            target = target_for(server.url)
            with pytest.raises(TargetError, match=r"answered 503.*try again later"):
                await target.agents()
            assert len(server.requests) == 3
            assert isinstance(await target.trigger(request_for()), Unclear)
            assert len(server.requests) == 4
            await target.aclose()

    run(scenario())


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, AuthError, "check the API key"),
        (403, AuthError, "check the API key"),
        (402, AuthError, "paid"),
        (404, TargetError, "the right address"),
        (400, TargetError, "so it is"),
        (429, TargetError, "too many requests"),
        (302, TargetError, "points to"),
        (500, TargetError, "try again later"),
    ],
)
def test_a_failed_fetch_says_where_what_and_what_next(
    faults: ModuleType, target_for: Make, key: str, status: int, error: type[TargetError], words: str
) -> None:
    async def scenario() -> None:
        answer = faults.answering(status, {"code": status, "message": f"so it is {key}"})
        async with faults.FaultServer(answer) as server:
            target = target_for(server.url)
            for fetching in (target.agents(), target.find("b-1", 0, 1)):
                with pytest.raises(error) as caught:
                    await fetching
                message = str(caught.value)
                assert words in message
                assert f"{server.url}/agents/v2/" in message
                assert str(status) in message
                assert key not in message
            await target.aclose()

    run(scenario())


def test_a_target_that_is_not_there_is_unreachable(target_for: Make, closed_port: int) -> None:
    target = target_for(f"http://127.0.0.1:{closed_port}")
    with pytest.raises(UnreachableError, match=f"{closed_port}/agents/v2/agents could not be read"):
        fetch(target, target.agents())


def test_a_fetch_that_hangs_is_given_up_once(faults: ModuleType, target_for: Make) -> None:
    async def scenario() -> None:
        async with faults.FaultServer(faults.silent) as server:
            target = target_for(server.url, total_timeout=0.2, connect_timeout=0.1)
            with pytest.raises(UnreachableError, match=r"did not answer within 0\.2 s"):
                await target.agents()
            await target.aclose()
            assert server.connections == 1

    run(scenario())


# The key


def everything_said_of(target: AsteroidTarget) -> Iterator[str]:
    """Every text in which the objects of a target show themselves, however deep."""
    connection: Connection = target._connection
    pending: list[object] = [target, target.info, connection, vars(target), vars(connection)]
    for transport in connection._transports.values():
        pending += [transport, vars(transport)]
        assert isinstance(transport.client, aiohttp.ClientSession)
        pending += [transport.client, transport.client.headers]
    for each in pending:
        yield f"{each} {each!r}"


def test_the_key_shows_in_no_repr_log_or_error(
    faults: ModuleType, target_for: Make, request_for: Request, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    scripts = [faults.answering(400, {"message": f"You sent {key}."}), faults.answering(202, f"<p>{key}</p>".encode())]
    scripts += [faults.garbage, faults.garbage_at_once, faults.close_after_reading, faults.half_the_body, faults.silent]
    said: list[str] = []

    async def scenario() -> None:
        asyncio.get_running_loop().set_debug(True)
        for script in scripts:
            async with faults.FaultServer(script) as server:
                target = target_for(server.url, total_timeout=0.5, connect_timeout=0.2)
                said.append(repr(await target.trigger(request_for())))
                try:
                    await target.agents()
                except TargetError as exc:
                    shown = traceback.TracebackException.from_exception(exc, capture_locals=True)
                    said.append("".join(shown.format()))
                said.extend(everything_said_of(target))
                await target.aclose()

    run(scenario())
    assert len(said) > 50
    assert key not in "".join(said)
    assert key not in caplog.text


def test_a_cancelled_trigger_does_not_show_the_key_in_the_locals_of_its_traceback(
    faults: ModuleType, target_for: Make, request_for: Request, key: str
) -> None:
    async def scenario() -> str:
        async with faults.FaultServer(faults.stall_after_reading) as server:
            target = target_for(server.url)
            task = asyncio.create_task(target.trigger(request_for()))
            while not server.requests:
                await asyncio.sleep(0.01)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError as exc:
                return "".join(traceback.TracebackException.from_exception(exc, capture_locals=True).format())
            finally:
                await target.aclose()
        raise AssertionError

    shown = run(scenario())
    assert "aiohttp" in shown
    assert key not in shown


def test_the_errors_of_the_http_library_do_not_show_the_key(faults: ModuleType, target_for: Make, key: str) -> None:
    """aiohttp's error about a broken answer prints the headers of the request."""

    async def scenario() -> str:
        async with faults.FaultServer(faults.garbage) as server:
            target = target_for(server.url)
            transport = await target._connection._open()
            try:
                await transport.handle_async_request(httpx.Request("GET", server.url))
            except aiohttp.ClientResponseError as exc:
                return f"{exc} {exc!r} {exc.request_info} {exc.request_info.headers} {exc.request_info.headers.items()}"
            finally:
                await target.aclose()
        raise AssertionError

    shown = run(scenario())
    assert "X-Asteroid-Agents-Api-Key" in shown
    assert key not in shown


def test_a_secret_gives_itself_away_to_reveal_alone(key: str) -> None:
    secret = Secret(f"  {key}\n")
    assert secret.reveal() == key
    for text in (str(secret), repr(secret), f"{secret}", f"{secret:>40}", "%s %r" % (secret, secret), repr([secret])):  # noqa: UP031
        assert key not in text
    for name in dir(secret):
        assert key not in repr(getattr(secret, name))
    assert not hasattr(secret, "__dict__")
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(AttributeError):
        secret.reference = "env:OTHER"
    with pytest.raises(AttributeError):
        del secret.reference


def test_secrets_are_equal_by_value_and_copied_by_reference(key: str) -> None:
    secret = Secret(key, reference="env:NAME")
    assert secret == Secret(key)
    assert hash(secret) == hash(Secret(key))
    assert secret != Secret("other")
    assert secret != key
    assert copy.copy(secret) is copy.deepcopy(secret) is secret


def test_a_secret_is_blotted_out_of_what_others_say() -> None:
    value = 'key/01"23456789abcdef'
    secret = Secret(value)
    in_json = json.dumps(value)[1:-1]
    for echo in (value, in_json, in_json.replace("/", r"\/"), quote(value), quote(value, safe="")):
        assert secret.hide_in(f"a {echo} b") == "a [hidden] b"
        assert secret.hide_in_answer(f"a {echo} b".encode()) == b"a [hidden] b"
    for echo in (value[3:], value[:15], value[4:16]):
        assert secret.hide_in(f"a {echo} b") == "a [hidden] b"
    assert secret.hide_in(f"a {value[:11]} b") == f"a {value[:11]} b"


def test_a_short_secret_is_left_in_answers_which_it_would_garble() -> None:
    assert Secret("id").hide_in_answer(b'{"id": "a"}') == b'{"id": "a"}'
    assert Secret("id").hide_in("its id") == "its [hidden]"


@pytest.mark.parametrize("value", [b"key-0123456789abcdef", None, 4711])
def test_a_secret_is_text(value: Any) -> None:
    with pytest.raises(ConfigError, match=f"must be text .*{type(value).__name__}"):
        Secret(value)


@pytest.mark.parametrize("value", ["", "  ", "a b", "a\nb", "a\x00b", "kéy", "a\x7fb"])
def test_a_key_no_header_can_carry_is_refused_without_showing_it(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Secret(value, reference="env:NAME")
    assert "env:NAME" in str(caught.value)
    if value.strip():
        assert value not in str(caught.value)


def test_the_key_comes_from_the_environment_and_only_its_name_is_remembered(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("BATCHKIT_API_KEY", key)
    monkeypatch.setenv("BATCHKIT_URL", "https://platform.example/agents/v2/")
    target = AsteroidTarget()
    assert target.info.url == "https://platform.example"
    assert target.info.label == "platform.example"
    assert target.info.secret == "env:BATCHKIT_API_KEY"
    monkeypatch.delenv("BATCHKIT_URL")
    assert AsteroidTarget().info.url == "https://odyssey.asteroid.ai"
    assert AsteroidTarget(api_key=key).info.secret == ""
    monkeypatch.delenv("BATCHKIT_API_KEY")
    with pytest.raises(ConfigError, match="BATCHKIT_API_KEY"):
        AsteroidTarget()


def test_a_reference_to_the_keyring_is_resolved_by_the_keyring_package(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigError, match="pip install keyring"):
        Secret.from_reference("keyring:asteroid/me")
    keyring = ModuleType("keyring")
    keyring.get_password = lambda service, user: key if (service, user) == ("asteroid", "me") else None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    secret = Secret.from_reference("keyring:asteroid/me")
    assert (secret.reveal(), secret.reference) == (key, "keyring:asteroid/me")
    with pytest.raises(ConfigError, match="no password for asteroid/you"):
        Secret.from_reference("keyring:asteroid/you")

    def refuse(service: str, user: str) -> str:
        raise RuntimeError("No recommended backend was available.")

    keyring.get_password = refuse  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"cannot be read for asteroid/me \(RuntimeError: No recommended"):
        Secret.from_reference("keyring:asteroid/me")


@pytest.mark.parametrize("reference", ["", "env:", "keyring:", "keyring:service", "keyring:/user", "vault:x", "secret"])
def test_a_reference_of_another_kind_is_refused(reference: str) -> None:
    with pytest.raises(ConfigError, match="does not say where"):
        Secret.from_reference(reference)


def test_the_account_tells_keys_and_addresses_apart_and_gives_neither_away(key: str) -> None:
    accounts = {
        AsteroidTarget(url, api_key).info.account
        for url in ("https://one.example", "https://two.example")
        for api_key in (key, "other")
    }
    assert len(accounts) == 4
    assert {len(account) for account in accounts} == {12}
    assert AsteroidTarget("https://one.example/", Secret(key)).info.account in accounts


def test_the_account_of_a_server_on_this_machine_does_not_depend_on_its_port(key: str) -> None:
    accounts = {AsteroidTarget(f"http://127.0.0.1:{port}", key).info.account for port in (8001, 8002)}
    assert len(accounts) == 1
    assert AsteroidTarget("http://127.0.0.1:8001", "another").info.account not in accounts


# Addresses and settings


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://platform.example", "unencrypted"),
        ("http://10.0.0.5:8000", "unencrypted"),
        ("http://localhost.evil.example", "unencrypted"),
        ("http://127.0.0.1.evil.example", "unencrypted"),
        ("ftp://platform.example", "not an http"),
        ("platform.example", "no https:// in front"),
        ("https://", "not an http"),
        ("https://user:word@platform.example", "user or a password"),
        ("https://platform.example/?a=b", "query"),
        ("https://platform.example/#top", "fragment"),
        ("https://plat form.example", "not an http"),
        ("https://[platform.example", "not an http"),
        ("https://platform.example:port", "not a URL"),
    ],
)
def test_an_address_the_key_must_not_go_to_is_refused(url: str, words: str, key: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        AsteroidTarget(url, key)
    assert "word@" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://platform.example/", "https://platform.example"),
        (" https://Platform.Example:8443/prefix/ ", "https://platform.example:8443/prefix"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://127.8.9.1", "http://127.8.9.1"),
        ("http://localhost:8000/", "http://localhost:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_addresses_are_brought_into_one_form(url: str, base: str) -> None:
    assert str(base_url(url)) == base


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"connect_timeout": 0}, "connect_timeout"),
        ({"connect_timeout": 60.0}, "connect_timeout"),
        ({"listing_delay": -1}, "listing_delay"),
        ({"max_connections": 0}, "max_connections"),
        ({"header": "X Key"}, "header"),
        ({"header": "X-Key:\r\n"}, "header"),
        ({"on_capacity_limit": "wait"}, "on_capacity_limit"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], words: str, key: str) -> None:
    with pytest.raises(ConfigError, match=words):
        AsteroidTarget("https://platform.example", key, **settings)


def test_a_proxy_of_a_kind_that_is_not_supported_is_refused(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1080")
    monkeypatch.setenv("NO_PROXY", "")
    with pytest.raises(ConfigError, match="socks5"):
        AsteroidTarget("https://platform.example", key)
    monkeypatch.setenv("NO_PROXY", "platform.example")
    assert AsteroidTarget("https://platform.example", key).info.kind == "asteroid"


def test_it_is_a_target(key: str) -> None:
    target: Target = AsteroidTarget(
        "https://platform.example", key, label="ours", listing_delay=2.0, total_timeout=30.0
    )
    assert target.can_look_up
    assert (target.listing_delay, target.total_timeout, target.poll_interval) == (2.0, 30.0, 2.0)
    assert target.info.label == "ours"
    assert repr(target) == "AsteroidTarget(url='https://platform.example')"


# Event loops


def test_one_target_serves_several_event_loops_one_after_the_other_and_at_once(
    faults: ModuleType, target_for: Make
) -> None:
    there = asyncio.new_event_loop()
    thread = threading.Thread(target=there.run_forever)
    thread.start()

    async def close_after_answer(peer: Any) -> None:
        await peer.request()
        await peer.answer(200, b'{"items": [{"id": "a-1", "name": "Filer"}], "total": 1}', Connection="close")

    def over_there(coroutine: Coroutine[Any, Any, Any]) -> concurrent.futures.Future[Any]:
        return asyncio.run_coroutine_threadsafe(coroutine, there)

    try:
        server = over_there(faults.FaultServer(close_after_answer).__aenter__()).result(10)
        target = target_for(server.url)
        for _ in range(3):
            assert len(run(target.agents())) == 1
        assert len(target._connection._transports) == 1  # those of the loops before are closed and gone

        async def scenario() -> None:
            assert await target.agents() == await asyncio.wrap_future(over_there(target.agents()))
            assert len(target._connection._transports) == 2
            await target.aclose()

        run(scenario())
        over_there(server.__aexit__()).result(10)
    finally:
        there.call_soon_threadsafe(there.stop)
        thread.join()
        there.close()
    assert target._connection._transports == {}


def test_connections_are_kept_and_reused(faults: ModuleType, target_for: Make, request_for: Request) -> None:
    async def scenario() -> None:
        async with faults.FaultServer(faults.answering(202, faults.ACCEPTED)) as server:
            target = target_for(server.url, total_timeout=60.0, connect_timeout=50.0)
            for item in range(50):
                await target.trigger(request_for(item))
            assert server.connections == 1
            await asyncio.gather(*(target.trigger(request_for(item)) for item in range(500)))
            await target.aclose()
            assert server.connections <= 500
            assert len(server.requests) == 550

    run(scenario())
