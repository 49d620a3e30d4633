"""Contract: what the client sends is what the vendor's own SDK would send, and it reads what the SDK's models hold."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from datetime import UTC, datetime
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl

import asteroid_odyssey as sdk
from hypothesis import given
from hypothesis import strategies as st

from batchkit.core.execution import ExecutionStatus
from batchkit.core.profile import ProfileRef, SelectionStrategy
from batchkit.core.request import TriggerRequest
from batchkit.targets import wire
from batchkit.targets.asteroid import AsteroidTarget

Make = Callable[..., AsteroidTarget]

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
REQUESTS = st.builds(
    TriggerRequest,
    agent_id=st.text(min_size=1),
    version=st.none() | st.integers(1, 10_000),
    inputs=st.dictionaries(st.text(), JSON_VALUES, max_size=5),
    metadata=st.dictionaries(st.text(), st.text(), max_size=5),
    profile=st.none() | st.builds(ProfileRef, id=st.text(min_size=1), name=st.text(), is_pool=st.booleans()),
    batch_id=st.text(min_size=1),
    item=st.integers(0, 10_000_000),
    attempt=st.integers(1, 100),
)


def serialized(api: Any, operation: str, **parameters: Any) -> tuple[str, str, Any]:
    """(method, URL, body) as the SDK would send them; every parameter not named is None."""
    serialize = getattr(api, f"_{operation}_serialize")
    known = inspect.signature(serialize).parameters
    assert set(parameters) <= set(known), set(parameters) - set(known)
    method, url, _headers, body, *_ = serialize(**(dict.fromkeys(known) | parameters | {"_host_index": 0}))
    return method, url, body


@given(REQUESTS, st.sampled_from(["reject", "queue"]))
def test_every_body_validates_as_the_sdks_execute_request_and_comes_back_the_same(
    request: TriggerRequest, on_capacity_limit: str
) -> None:
    body = json.loads(wire.execute_body(request, on_capacity_limit=on_capacity_limit))
    model = sdk.AgentsAgentExecuteAgentRequest
    known = {field.alias or name for name, field in model.model_fields.items()}
    assert set(body) <= known
    read = model.from_dict(body)
    assert read.to_dict() == body
    assert read.version == request.version
    assert all(isinstance(key, str) and isinstance(value, str) for key, value in read.metadata.items())
    if request.profile is not None:
        chosen = read.agent_profile_pool_id if request.profile.is_pool else read.agent_profile_id
        assert chosen == request.profile.id


def test_methods_paths_and_queries_are_the_sdks_own(faults: ModuleType, target_for: Make) -> None:
    client = sdk.ApiClient(sdk.Configuration(host=""))
    agents, executions = sdk.AgentsApi(client), sdk.ExecutionApi(client)
    paging = {"page": 1, "page_size": 100}
    since = datetime(2026, 3, 1, 10, 0, 1, tzinfo=UTC)
    metadata = ["batchkit_batch=b 1&ü", "batchkit_item=12", "batchkit_attempt=2"]
    ascending = {
        "sort_field": sdk.AgentsExecutionSortField.CREATED_AT,
        "sort_direction": sdk.CommonSortDirection.ASC,
    }
    expected = [
        serialized(agents, "agent_list", **paging),
        serialized(sdk.AgentProfilesApi(client), "agent_profiles_list", **paging),
        serialized(sdk.AgentProfilePoolsApi(client), "agent_profile_pools_list", **paging),
        serialized(executions, "executions_list", metadata=metadata, **paging),
        serialized(executions, "executions_list", metadata=metadata[:1], created_after="2026-03-01T10:00:00.000Z",
                   **ascending, **paging),
        serialized(agents, "agent_execute_post", agent_id="a/1"),
    ]  # fmt: skip

    async def scenario() -> list[Any]:
        empty = {"items": [], "page": 1, "pageSize": 100, "total": 0}
        async with faults.FaultServer(faults.answering(200, empty)) as server:
            target = target_for(server.url)
            await target.agents()
            await target.profiles()
            await target.pools()
            await target.find("b 1&ü", 12, 2)
            _ = [page async for page in target.executions("b 1&ü", since)]
            await target.trigger(TriggerRequest(agent_id="a/1", version=None, batch_id="b", item=0, attempt=1))
            await target.aclose()
            return list(server.requests)

    seen = asyncio.run(scenario())
    for request, (method, url, _) in zip(seen, expected, strict=True):
        place, _, query = url.partition("?")
        assert (request.method, request.path) == (method, place)
        assert sorted(request.query) == sorted(parse_qsl(query))


def test_versions_and_inputs_are_where_the_sdk_looks_for_them(faults: ModuleType, target_for: Make) -> None:
    client = sdk.ApiClient(sdk.Configuration(host=""))
    workflows = sdk.WorkflowsApi(client)
    method, versions, _ = serialized(workflows, "agent_workflows_list", agent_id="a-1")
    _, inputs, _ = serialized(workflows, "agent_workflows_get_inputs", agent_id="a-1", workflow_id="w-1")
    ref = {"id": "w-1", "version": 1, "isPublished": True, "createdAt": "2026-03-01T10:00:00Z", "isDeletable": False}
    declared = {"inputs": [{"name": "client", "schema": {"type": "string"}, "required": True, "defaultValue": "Ada"}]}
    listed = {"id": "a-1", "name": "Filer", "createdAt": "2026-03-01T10:00:00Z", "userId": "u-1"}
    sdk.AgentsWorkflowWorkflowRef.from_dict(ref)
    sdk.AgentsWorkflowWorkflowInputs.from_dict(declared)
    sdk.AgentsAgentBase.from_dict(listed)

    def answers(request: Any) -> tuple[int, object]:
        assert request.method == method
        if request.path == versions:
            return 200, [ref]
        if request.path == inputs:
            return 200, declared
        return 200, {"items": [listed], "page": 1, "pageSize": 100, "total": 1}

    async def scenario() -> Any:
        async with faults.FaultServer(faults.routed(answers)) as server:
            target = target_for(server.url)
            agent = await target.agent("a-1")
            await target.aclose()
            return agent

    agent = asyncio.run(scenario())
    (variable,) = agent.inputs
    assert (variable.name, variable.type_name, variable.required, variable.default) == ("client", "string", True, "Ada")
    assert (agent.version, agent.versions[0].published) == (1, True)


def test_the_words_of_status_and_strategy_are_the_sdks() -> None:
    assert {status.value for status in ExecutionStatus} == {status.value for status in sdk.AgentsExecutionStatus}
    platforms = set(SelectionStrategy) - {SelectionStrategy.ROUND_ROBIN}
    assert {each.value for each in platforms} == {each.value for each in sdk.AgentsProfileSelectionStrategy}
    assert {each.value for each in sdk.AgentsAgentOnCapacityLimit} == {"reject", "queue"}
