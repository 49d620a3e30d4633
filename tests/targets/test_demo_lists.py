"""The lists of the demo platform: searching, paging, filtering and sorting."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from demo_calls import agent_id, call, execute, filed, get

from batchkit.core.agent import Agent, InputVariable
from batchkit.targets.demo import DemoPlatform

FILER = Agent(name="Filer", inputs=[InputVariable("client", schema={"type": "string"}, required=True)])


@pytest.fixture
def demo() -> Iterator[DemoPlatform]:
    with DemoPlatform(duration=0, failure_share=0) as platform:
        yield platform


def test_lists_are_searched_by_part_of_the_name_in_any_case() -> None:
    with DemoPlatform(profiles=["Clerk A", "Clerk B", "Night"], pools={"Clerks": ["Clerk A"]}) as demo:
        found = get(demo, "/agent-profiles", searchName="cLeRk")
        assert [profile["name"] for profile in found["items"]] == ["Clerk A", "Clerk B"]
        assert get(demo, "/agent-profile-pools", searchName="none")["total"] == 0
        assert get(demo, "/agents", searchName="PERMIT")["total"] == 1


def test_lists_are_paged() -> None:
    names = [f"Clerk {number:02}" for number in range(7)]
    with DemoPlatform(profiles=names, pools={"All": names}) as demo:
        pages = [get(demo, "/agent-profiles", page=page, pageSize=3) for page in (1, 2, 3, 4)]
        pool = get(demo, "/agent-profile-pools")["items"][0]
        members = get(demo, f"/agent-profile-pools/{pool['id']}/members", page=2, pageSize=5)
    assert [[profile["name"] for profile in page["items"]] for page in pages] == [names[:3], names[3:6], names[6:], []]
    assert {(page["pageSize"], page["total"]) for page in pages} == {(3, 7)}
    assert [page["page"] for page in pages] == [1, 2, 3, 4]
    assert [member["name"] for member in members["items"]] == names[5:]


@pytest.mark.parametrize(
    ("path", "parameter", "value"),
    [
        ("/agents", "page", "0"),
        ("/agents", "page", "-1"),
        ("/agents", "page", "one"),
        ("/agents", "page", "99999999999999999999999"),
        ("/executions", "pageSize", "101"),
        ("/executions", "pageSize", "0"),
        ("/executions", "status", "finished"),
        ("/executions", "metadata", "no-equals-sign"),
        ("/executions", "createdAfter", "yesterday"),
        ("/executions", "sortField", "name"),
        ("/executions", "sortDirection", "up"),
        ("/executions", "sort", "created_at"),
    ],
)
def test_wrong_query_parameters_are_named(demo: DemoPlatform, path: str, parameter: str, value: str) -> None:
    answer = call(demo, "GET", f"/agents/v2{path}", params={parameter: value})
    assert answer.status_code == 400
    assert [error["parameter"] for error in answer.json()["errors"]] == [parameter]


def test_metadata_key_and_value_must_be_used_together(demo: DemoPlatform) -> None:
    for given, missing in (("metadataKey", "metadataValue"), ("metadataValue", "metadataKey")):
        answer = call(demo, "GET", "/agents/v2/executions", params={given: "x"})
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["parameter"] == missing


@pytest.fixture(scope="module")
def busy() -> Iterator[DemoPlatform]:
    """Nine executions of two agents: eight running for hours, the last ended at once by cancelling."""
    agents = [FILER, Agent(name="Other")]
    with DemoPlatform(agents=agents, duration=7200) as demo:
        for number in range(6):
            filed(demo, f"client {number}", batch="b1", item=str(number), parity="even" if number % 2 == 0 else "odd")
        filed(demo, "client", batch="b2", item="0", note="a=b&c")
        last = [
            execute(demo, agent_id(demo, "Other"), metadata={"batch": "b2"}).json()["executionId"] for _ in range(2)
        ][-1]
        call(demo, "POST", f"/agents/v2/executions/{last}/cancel")
        yield demo


def items(demo: DemoPlatform, **params: Any) -> list[str]:
    found = get(demo, "/executions", pageSize=100, **params)
    assert found["total"] == len(found["items"])
    return [execution["metadata"].get("item", "-") for execution in found["items"]]


def test_executions_are_listed_newest_first(busy: DemoPlatform) -> None:
    assert items(busy) == ["-", "-", "0", "5", "4", "3", "2", "1", "0"]


def test_executions_are_filtered_by_metadata_pairs_that_must_all_match(busy: DemoPlatform) -> None:
    assert items(busy, metadata="batch=b1") == ["5", "4", "3", "2", "1", "0"]
    assert items(busy, metadata=["batch=b1", "item=4"]) == ["4"]
    assert items(busy, metadata=["batch=b1", "parity=odd", "item=4"]) == []
    assert items(busy, metadata=["batch=b1", "batch=b2"]) == []
    assert items(busy, metadata="note=a=b&c") == ["0"]
    assert items(busy, metadata="batch=B1") == []


def test_executions_are_filtered_by_metadata_key_and_value(busy: DemoPlatform) -> None:
    assert items(busy, metadataKey="batch", metadataValue="b2") == ["-", "-", "0"]
    assert items(busy, metadataKey="batch", metadataValue="b2", metadata="item=0") == ["0"]


def test_executions_are_filtered_by_status_of_which_any_may_match(busy: DemoPlatform) -> None:
    assert len(items(busy, status=["starting", "running"])) == 8
    assert items(busy, status="cancelled") == ["-"]
    assert len(items(busy, status=["starting", "cancelled"])) == 9
    assert items(busy, status="completed") == []


def test_executions_are_filtered_by_agent_under_both_names(busy: DemoPlatform) -> None:
    other, filer = agent_id(busy, "Other"), agent_id(busy, "Filer")
    assert items(busy, agentId=other) == items(busy, workflowId=other) == ["-", "-"]
    assert len(items(busy, agentId=filer, workflowId=filer)) == 7
    assert items(busy, agentId=other, workflowId=filer) == []


def test_executions_are_filtered_by_the_time_of_creation(busy: DemoPlatform) -> None:
    listed = get(busy, "/executions", sortDirection="asc")["items"]
    third = datetime.fromisoformat(listed[2]["createdAt"])
    assert items(busy, createdAfter=third.isoformat(), sortDirection="asc") == ["3", "4", "5", "0", "-", "-"]
    earlier = third - timedelta(microseconds=1)
    assert items(busy, createdAfter=earlier.isoformat(), metadata="batch=b1") == ["5", "4", "3", "2"]
    assert items(busy, createdAfter=earlier.replace(tzinfo=None).isoformat(), metadata="batch=b2") == ["-", "-", "0"]
    assert items(busy, createdAfter=datetime.now(UTC).isoformat()) == []


def test_executions_are_sorted_both_ways(busy: DemoPlatform) -> None:
    for field in ("created_at", "started_at", "status"):
        up = [each["id"] for each in get(busy, "/executions", sortField=field, sortDirection="asc")["items"]]
        down = [each["id"] for each in get(busy, "/executions", sort=f"{field}:desc")["items"]]
        assert up == down[::-1]
    statuses = [each["status"] for each in get(busy, "/executions", sortField="status", sortDirection="asc")["items"]]
    assert statuses == sorted(statuses)


def test_executions_are_paged(busy: DemoPlatform) -> None:
    pages = [get(busy, "/executions", metadata="batch=b1", page=page, pageSize=4) for page in (1, 2, 3)]
    assert [[each["metadata"]["item"] for each in page["items"]] for page in pages] == [list("5432"), list("10"), []]
    assert {page["total"] for page in pages} == {6}
