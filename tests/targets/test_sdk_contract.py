"""The vendor's own SDK against the demo platform: its client works, and each answer is what its models say.

The SDK is the oracle of what the platform answers. An answer must parse with its model and hold nothing the model
does not know.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from importlib.metadata import version
from typing import Any

import asteroid_odyssey as sdk
import httpx
import pytest
from asteroid_odyssey import exceptions, models
from pydantic import BaseModel

from batchkit.core.execution import ExecutionStatus
from batchkit.core.profile import SelectionStrategy
from batchkit.targets.demo import DemoPlatform

# the SDK calls the documented routes by methods it marks as deprecated
pytestmark = pytest.mark.filterwarnings(r"ignore:[A-Z]+ /agents/v2/.* is deprecated\.:DeprecationWarning")

ADDRESS = {"street": "Ringstr. 1", "postcode": "01234", "city": "Wien"}
PERMIT = {"client": "Ada", "address": "Main St 1", "permit_type": "signage", "start_date": "2026-03-01"}


@pytest.fixture(scope="module")
def demo() -> Iterator[DemoPlatform]:
    with DemoPlatform(duration=0, failure_share=0.2, unsuccessful_share=0.2, attention_share=0.2) as platform:
        yield platform


@pytest.fixture(scope="module")
def slow() -> Iterator[DemoPlatform]:
    with DemoPlatform(duration=3600, capacity=3) as platform:
        yield platform


def connect(demo: DemoPlatform, key: str | None = None) -> sdk.ApiClient:
    configuration = sdk.Configuration(host=demo.url, api_key={"ApiKeyAuth": key or demo.api_key})
    return sdk.ApiClient(configuration)


def agent_id(client: sdk.ApiClient, name: str) -> str:
    return str(sdk.AgentsApi(client).agent_list(search_name=name).items[0].id)


def execute(client: sdk.ApiClient, name: str, **body: Any) -> models.AgentsAgentExecuteAgentResponse:
    request = models.AgentsAgentExecuteAgentRequest.from_dict(body)
    assert request is not None
    return sdk.AgentsApi(client).agent_execute_post(agent_id(client, name), request)


def refused(client: sdk.ApiClient, name: str, **body: Any) -> exceptions.ApiException:
    with pytest.raises(exceptions.ApiException) as caught:
        execute(client, name, **body)
    return caught.value


def answers(demo: DemoPlatform, path: str) -> Any:
    headers = {"X-Asteroid-Agents-Api-Key": demo.api_key}
    return httpx.get(f"{demo.url}/agents/v2{path}", headers=headers, trust_env=False).json()


def unknown_names(document: dict[str, Any], model: type[BaseModel]) -> set[str]:
    return document.keys() - {field.alias or name for name, field in model.model_fields.items()}


def test_the_sdk_is_the_version_the_contract_is_about() -> None:
    assert version("asteroid-odyssey") == "1.9.167"


def test_agents_are_listed_searched_and_paged(demo: DemoPlatform) -> None:
    api = sdk.AgentsApi(connect(demo))
    everything = api.agent_list()
    assert everything.total == len(everything.items) >= 3
    second = api.agent_list(page=2, page_size=2)
    assert (second.page, second.page_size, second.total) == (2, 2, everything.total)
    assert second.items == everything.items[2:4]
    assert [agent.name for agent in api.agent_list(search_name="permit").items] == ["Permit filer"]
    newer = sdk.WorkflowsApi(connect(demo)).workflow_list()
    assert [workflow.id for workflow in newer.items] == [agent.id for agent in everything.items]


def test_versions_and_their_inputs_are_told_under_both_names(demo: DemoPlatform) -> None:
    client = connect(demo)
    filer = agent_id(client, "Permit filer")
    versions = sdk.WorkflowsApi(client).agent_workflows_list(filer)
    assert [each.version for each in versions] == [4, 3, 2, 1]
    assert [each.version for each in versions if each.is_published] == [3]
    for each in versions:
        inputs = sdk.WorkflowsApi(client).agent_workflows_get_inputs(filer, each.id).inputs
        newer = sdk.WorkflowVersionsApi(client).workflow_versions_get_inputs(filer, each.id).inputs
        assert inputs == newer
        assert inputs[0].name == "client"
        assert inputs[0].var_schema["type"] == "string"
        assert inputs[0].required is True
    assert len(sdk.WorkflowVersionsApi(client).workflow_versions_list(filer)) == 4


def test_profiles_pools_and_members_are_told_under_both_names(demo: DemoPlatform) -> None:
    client = connect(demo)
    profiles = sdk.AgentProfilesApi(client).agent_profiles_list(page_size=100)
    assert "Clerk A" in [profile.name for profile in profiles.items]
    assert sdk.ProfilesApi(client).profiles_list(search_name="clerk a").total == 1
    pools = sdk.AgentProfilePoolsApi(client).agent_profile_pools_list()
    # Taking turns is what a pool of batchkit's own can do beside.
    strategies = set(SelectionStrategy) - {SelectionStrategy.ROUND_ROBIN}
    assert {pool.selection_strategy.value for pool in pools.items} == strategies
    assert {pool.allow_concurrent_use for pool in pools.items} == {True, False}
    for pool in pools.items:
        members = sdk.AgentProfilePoolsApi(client).agent_profile_pool_members_list(pool.id)
        assert members.total == len(members.items) > 1
        assert {member.id for member in members.items} <= {profile.id for profile in profiles.items}
        newer = sdk.ProfileGroupsApi(client).profile_group_members_list(pool.id)
        assert newer.total == members.total
    assert sdk.ProfileGroupsApi(client).profile_groups_list().total == pools.total


def test_an_execution_is_created_and_read_back(demo: DemoPlatform) -> None:
    client = connect(demo)
    profile = sdk.AgentProfilesApi(client).agent_profiles_list(search_name="Clerk A").items[0]
    metadata = {"batchkit_batch": "b-1", "batchkit_item": "7", "batchkit_attempt": "1"}
    options = {"softTimeoutMins": 5, "variantKey": "v"}
    accepted = execute(
        client,
        "Permit filer",
        inputs=PERMIT,
        metadata=metadata,
        version=3,
        agentProfileId=profile.id,
        executionOptions=options,
        onCapacityLimit="queue",
    )
    assert accepted.status is models.AgentsExecutionStatus.STARTING
    execution = sdk.ExecutionApi(client).execution_get(accepted.execution_id)
    assert execution.id == accepted.execution_id
    assert execution.agent_id == execution.workflow_id == agent_id(client, "Permit filer")
    assert execution.workflow_version == 3
    assert execution.status.value in ("completed", "failed")
    assert execution.inputs == PERMIT | {"urgent": False}
    assert execution.metadata == metadata
    assert (execution.agent_profile_id, execution.profile_name) == (profile.id, "Clerk A")
    assert execution.execution_options is not None
    assert execution.execution_options.to_dict() == options
    assert execution.execution_result is not None
    assert execution.execution_result.outcome in ("success", "failure")
    assert execution.created_at.utcoffset() == timedelta(0)


def test_the_newer_execute_call_and_names_work(demo: DemoPlatform) -> None:
    client = connect(demo)
    group = sdk.ProfileGroupsApi(client).profile_groups_list(search_name="Clerks").items[0]
    request = models.WorkflowsWorkflowExecuteRequest.from_dict({"inputs": ADDRESS, "profileGroupId": group.id})
    assert request is not None
    checker = agent_id(client, "Address checker")
    accepted = sdk.WorkflowsApi(client).workflow_execute_post(checker, request)
    execution = sdk.ExecutionApi(client).execution_get(accepted.execution_id)
    assert (execution.profile_name or "").startswith("Clerk ")


def test_executions_are_found_by_metadata_in_both_ways(demo: DemoPlatform) -> None:
    client = connect(demo)
    for item in range(3):
        metadata = {"batchkit_batch": "b=2 & more", "batchkit_item": str(item)}
        execute(client, "Address checker", inputs=ADDRESS, metadata=metadata)
    api = sdk.ExecutionApi(client)
    assert api.executions_list(metadata=["batchkit_batch=b=2 & more"]).total == 3
    one = api.executions_list(metadata=["batchkit_batch=b=2 & more", "batchkit_item=1"])
    assert [execution.metadata["batchkit_item"] for execution in one.items if execution.metadata] == ["1"]
    assert api.executions_list(metadata_key="batchkit_batch", metadata_value="b=2 & more").total == 3
    assert api.executions_list(metadata=["batchkit_batch=none"]).items == []


def test_executions_are_filtered_sorted_and_paged_by_the_sdk(demo: DemoPlatform) -> None:
    client = connect(demo)
    api = sdk.ExecutionApi(client)
    checker = agent_id(client, "Address checker")
    ids = [execute(client, "Address checker", inputs=ADDRESS, metadata={"run": "paged"}).execution_id for _ in range(5)]
    pages = [
        api.executions_list(
            metadata=["run=paged"],
            agent_id=checker,
            workflow_id=checker,
            status=[models.AgentsExecutionStatus.COMPLETED, models.AgentsExecutionStatus.FAILED],
            sort_field=models.AgentsExecutionSortField.CREATED_AT,
            sort_direction=models.CommonSortDirection.ASC,
            page=page,
            page_size=2,
        )
        for page in (1, 2, 3)
    ]
    assert [execution.id for page in pages for execution in page.items] == ids
    third = api.execution_get(ids[2]).created_at
    later = api.executions_list(metadata=["run=paged"], created_after=third, sort="created_at:asc")
    assert [execution.id for execution in later.items] == ids[3:]


def test_an_execution_is_paused_resumed_and_cancelled(slow: DemoPlatform) -> None:
    client = connect(slow)
    api = sdk.ExecutionApi(client)
    one = execute(client, "Address checker", inputs=ADDRESS).execution_id
    for act, changed, status in (
        (api.execution_pause, "paused", "paused"),
        (api.execution_resume, "running", "starting"),
        (api.execution_cancel, "cancelled", "cancelled"),
    ):
        answer = act(one)
        assert (answer.execution_id, answer.status.value) == (one, changed)
        assert api.execution_get(one).status.value == status
    with pytest.raises(exceptions.BadRequestException):
        api.execution_resume(one)
    with pytest.raises(exceptions.NotFoundException):
        api.execution_cancel("none")


def test_a_full_organization_rejects_or_queues(slow: DemoPlatform) -> None:
    client = connect(slow)
    active = [execute(client, "Address checker", inputs=ADDRESS).execution_id for _ in range(3)]
    error = refused(client, "Address checker", inputs=ADDRESS)
    assert error.status == 429
    body = models.CommonTooManyRequestsErrorBody.from_json(str(error.body))
    assert body is not None
    assert (body.capability, body.used, body.limit) == ("concurrent_executions", 3, 3)
    queued = execute(client, "Address checker", inputs=ADDRESS, onCapacityLimit="queue")
    assert queued.status is models.AgentsExecutionStatus.QUEUED
    execution = sdk.ExecutionApi(client).execution_get(queued.execution_id)
    assert (execution.status.value, execution.started_at) == ("queued", None)
    sdk.ExecutionApi(client).execution_cancel(active[0])
    assert sdk.ExecutionApi(client).execution_get(queued.execution_id).status.value == "starting"


def test_wrong_values_are_named_in_the_errors(demo: DemoPlatform) -> None:
    error = refused(connect(demo), "Permit filer", inputs=PERMIT | {"permit_type": "tree"}, metadata={"a": 1})
    assert isinstance(error, exceptions.BadRequestException)
    body = models.CommonBadRequestErrorBody.from_json(str(error.body))
    assert body is not None
    assert body.code == body.status == 400
    assert {each.parameter for each in body.errors or []} == {"inputs.permit_type", "metadata.a"}


def test_each_error_is_of_the_sdks_own_kind(demo: DemoPlatform) -> None:
    client = connect(demo)
    with pytest.raises(exceptions.NotFoundException) as missing:
        sdk.ExecutionApi(client).execution_get("none")
    assert isinstance(missing.value.data, models.CommonNotFoundErrorBody)
    with pytest.raises(exceptions.UnauthorizedException) as unknown:
        sdk.ExecutionApi(connect(demo, "wrong")).executions_list()
    assert isinstance(unknown.value.data, models.CommonUnauthorizedErrorBody)
    for status, kind in (
        (402, exceptions.ApiException),
        (403, exceptions.ForbiddenException),
        (500, exceptions.ServiceException),
    ):
        demo.faults.server_error(status=status, count=1)
        assert isinstance(refused(client, "Address checker", inputs=ADDRESS), kind)


def test_every_status_an_execution_passes_through_parses() -> None:
    with DemoPlatform(duration=0.6, attention_share=0.5, failure_share=0.3, capacity=20) as demo:
        client = connect(demo)
        api = sdk.ExecutionApi(client)
        for number in range(60):
            inputs = ADDRESS | {"street": f"Ringstr. {number}"}
            execute(client, "Address checker", inputs=inputs, onCapacityLimit="queue")
        api.execution_cancel(api.executions_list(status=[models.AgentsExecutionStatus.QUEUED]).items[0].id)
        api.execution_pause(api.executions_list(status=[models.AgentsExecutionStatus.RUNNING]).items[0].id)
        seen: set[str] = set()
        deadline = time.monotonic() + 60
        while seen != set(ExecutionStatus) and time.monotonic() < deadline:
            seen |= {execution.status.value for execution in api.executions_list(page_size=100).items}
    assert seen == set(ExecutionStatus)


def test_no_answer_holds_a_name_the_sdk_does_not_know(demo: DemoPlatform) -> None:
    client = connect(demo)
    pool = sdk.AgentProfilePoolsApi(client).agent_profile_pools_list().items[0]
    execute(client, "Permit filer", inputs=PERMIT, agentProfilePoolId=pool.id, executionOptions={"softTimeoutMins": 1})
    agent = answers(demo, "/agents")["items"][0]
    versions = answers(demo, f"/agents/{agent['id']}/workflows")
    inputs = answers(demo, f"/agents/{agent['id']}/workflows/{versions[0]['id']}/inputs")["inputs"]
    execution = answers(demo, "/executions")["items"][0]
    documents = [
        (agent, models.AgentsAgentBase),
        *((each, models.AgentsWorkflowWorkflowRef) for each in versions),
        *((each, models.AgentsWorkflowInput) for each in inputs),
        (answers(demo, "/agent-profiles")["items"][0], models.AgentsProfileAgentProfile),
        (answers(demo, "/agent-profile-pools")["items"][0], models.AgentsProfileAgentProfilePool),
        (
            answers(demo, f"/agent-profile-pools/{pool.id}/members")["items"][0],
            models.AgentsProfileAgentProfilePoolMember,
        ),
        (execution, models.AgentsExecutionListItem),
        (execution["executionResult"], models.AgentsExecutionExecutionResult),
        (answers(demo, "/executions?page=0"), models.CommonBadRequestErrorBody),
        (answers(demo, "/executions/none"), models.CommonNotFoundErrorBody),
        (answers(demo, "/executions"), models.ExecutionsList200Response),
    ]
    for document, model in documents:
        assert unknown_names(document, model) == set(), model.__name__
        told = {name for name, value in document.items() if value is not None}
        assert told <= model.from_dict(document).to_dict().keys(), model.__name__
