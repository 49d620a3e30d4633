"""The demo platform over HTTP: starting and stopping, the key, and every call's answer."""

from __future__ import annotations

import gc
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from demo_calls import agent_id, call, execute, filed, get

from batchkit.core.agent import Agent, InputVariable, WorkflowVersion
from batchkit.core.profile import AgentProfile, SelectionStrategy
from batchkit.errors import ConfigError
from batchkit.targets.demo import DemoPlatform, DemoPool

FILER = Agent(name="Filer", inputs=[InputVariable("client", schema={"type": "string"}, required=True)])


@pytest.fixture
def demo() -> Iterator[DemoPlatform]:
    with DemoPlatform(duration=0, failure_share=0) as platform:
        yield platform


def test_it_listens_on_loopback_at_a_free_port() -> None:
    with DemoPlatform() as one, DemoPlatform() as other:
        assert one.url == f"http://127.0.0.1:{one.port}"
        assert one.port != other.port
        assert one.api_key != other.api_key


def test_a_taken_port_is_refused_with_its_number() -> None:
    with DemoPlatform() as demo, pytest.raises(ConfigError, match=str(demo.port)):
        DemoPlatform(port=demo.port)


def test_a_port_is_free_again_right_after_closing() -> None:
    with DemoPlatform() as demo:
        get(demo, "/agents")
    with DemoPlatform(port=demo.port) as again:
        assert again.port == demo.port


def test_after_closing_nothing_listens_and_no_thread_is_left() -> None:
    before = threading.active_count()
    demo = DemoPlatform()
    get(demo, "/agents")
    demo.close()
    demo.close()
    assert threading.active_count() == before
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", demo.port)) != 0


def test_answers_on_a_kept_connection_are_not_held_back(demo: DemoPlatform) -> None:
    taken = []
    with httpx.Client(base_url=demo.url, headers={"X-Api-Key": demo.api_key}, trust_env=False) as client:
        for _ in range(200):
            started = time.perf_counter()
            client.get("/agents/v2/executions")
            taken.append(time.perf_counter() - started)
    # waiting for the client's delayed acknowledgement would cost each 40 ms
    assert min(taken[20:]) < 0.03


def test_closing_does_not_wait_for_idle_connections() -> None:
    demo = DemoPlatform()
    with httpx.Client(base_url=demo.url, trust_env=False) as client:
        client.get("/agents/v2/agents")
        started = time.monotonic()
        demo.close()
        # They would be kept for 75 s.
        assert time.monotonic() - started < 20


def test_closing_ends_an_answer_that_is_being_delayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchkit.targets.demo.server._GRACE", 60.0)
    demo = DemoPlatform(agents=[FILER])
    filer = agent_id(demo, "Filer")
    demo.faults.latency = 60
    failures: list[Exception] = []

    def wait_for_answer() -> None:
        try:
            execute(demo, filer, inputs={"client": "Ada"})
        except httpx.HTTPError as exc:
            failures.append(exc)

    thread = threading.Thread(target=wait_for_answer)
    thread.start()
    while not demo.requests.count:
        time.sleep(0.005)
    started = time.monotonic()
    demo.close()
    thread.join()
    assert time.monotonic() - started < 20
    assert len(failures) == 1


def test_it_prints_nothing_and_leaks_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with DemoPlatform() as demo:
            get(demo, "/agents")
            call(demo, "GET", "/nowhere")
            with socket.create_connection(("127.0.0.1", demo.port)) as raw:
                raw.sendall(b"this is not HTTP\r\n\r\n")
                assert raw.recv(100).startswith(b"HTTP/1.1 400")
        del demo
        gc.collect()
    assert capfd.readouterr() == ("", "")


def test_the_key_is_in_no_repr(demo: DemoPlatform) -> None:
    assert demo.api_key not in repr(demo)
    assert demo.api_key not in repr(vars(demo))


@pytest.mark.parametrize("header", ["X-Asteroid-Agents-Api-Key", "X-Api-Key", "x-api-key"])
def test_both_headers_are_accepted(demo: DemoPlatform, header: str) -> None:
    answer = httpx.get(f"{demo.url}/agents/v2/agents", headers={header: demo.api_key}, trust_env=False)
    assert answer.status_code == 200


@pytest.mark.parametrize("headers", [{}, {"X-Api-Key": "wrong"}, {"Authorization": "Bearer x"}])
def test_without_the_key_every_call_is_401(demo: DemoPlatform, headers: dict[str, str]) -> None:
    for path in ("/agents/v2/agents", "/agents/v2/executions", "/demo/requests", "/nowhere"):
        answer = httpx.get(demo.url + path, headers=headers, trust_env=False)
        assert answer.status_code == 401
        assert answer.json()["code"] == 401


def test_a_revoked_key_is_401_until_it_is_restored(demo: DemoPlatform) -> None:
    demo.revoke_key()
    assert call(demo, "GET", "/agents/v2/agents").status_code == 401
    demo.restore_key()
    assert call(demo, "GET", "/agents/v2/agents").status_code == 200


def test_the_key_can_be_revoked_and_restored_over_http(demo: DemoPlatform) -> None:
    assert call(demo, "POST", "/demo/key", json={"revoked": True}).status_code == 200
    assert call(demo, "GET", "/agents/v2/agents").status_code == 401
    assert call(demo, "POST", "/demo/key", json={"revoked": False}).status_code == 200
    assert call(demo, "GET", "/agents/v2/agents").status_code == 200
    assert call(demo, "POST", "/demo/key", json={"revoked": "yes"}).status_code == 400


def test_errors_have_the_platforms_form(demo: DemoPlatform) -> None:
    path = "/agents/v2/executions/none"
    assert call(demo, "GET", path).json() == {
        "code": 404,
        "message": "There is no execution 'none'.",
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "There is no execution 'none'.",
        "instance": path,
    }


@pytest.mark.parametrize(
    "path",
    [
        "/agents/v2/agents/none/workflows",
        "/agents/v2/agents/none/workflows/none/inputs",
        "/agents/v2/agent-profile-pools/none/members",
        "/agents/v2/none",
    ],
)
def test_unknown_things_are_404(demo: DemoPlatform, path: str) -> None:
    answer = call(demo, "GET", path)
    assert (answer.status_code, answer.json()["code"]) == (404, 404)


def test_a_crash_is_answered_in_the_platforms_form(capfd: pytest.CaptureFixture[str]) -> None:
    agent = Agent(name="Broken", inputs=[InputVariable("a", schema={"$ref": "#/nowhere"})])
    with DemoPlatform(agents=[agent]) as demo:
        answer = execute(demo, agent_id(demo, "Broken"), inputs={"a": 1})
        assert (answer.status_code, answer.json()["code"]) == (500, 500)
        assert demo.executions() == []
    assert capfd.readouterr() == ("", "")


def test_without_arguments_there_are_believable_agents(demo: DemoPlatform) -> None:
    agents = get(demo, "/agents")
    assert agents["total"] >= 3
    kinds = set()
    for agent in agents["items"]:
        versions = get(demo, f"/agents/{agent['id']}/workflows")
        assert len(versions) > 1
        assert [version["isPublished"] for version in versions].count(True) == 1
        assert versions[-1]["version"] == 1
        assert not versions[-1]["isPublished"]
        inputs = [
            get(demo, f"/agents/{agent['id']}/workflows/{version['id']}/inputs")["inputs"] for version in versions
        ]
        assert inputs[0] != inputs[-1]
        kinds |= {(variable["schema"]["type"], variable["required"]) for variable in inputs[0]}
    assert {("string", True), ("number", False), ("boolean", False), ("array", False)} <= kinds
    assert get(demo, "/agent-profiles")["total"] >= 3
    assert get(demo, "/agent-profile-pools")["total"] == 2


def test_versions_are_listed_newest_first_with_their_parents() -> None:
    versions = [WorkflowVersion(version=number, published=number == 2, inputs=()) for number in (1, 3, 2)]
    with DemoPlatform(agents=[Agent(name="Filer", versions=versions)], duration=0) as demo:
        filer = agent_id(demo, "Filer")
        execute(demo, filer, version=1)
        listed = get(demo, f"/agents/{filer}/workflows")
    assert [version["version"] for version in listed] == [3, 2, 1]
    assert [version["isPublished"] for version in listed] == [False, True, False]
    assert [version.get("parentId") for version in listed] == [listed[1]["id"], listed[2]["id"], None]
    # neither the published one nor one that ran can be deleted
    assert [version["isDeletable"] for version in listed] == [True, False, False]


def test_inputs_tell_schema_default_and_description() -> None:
    variables = [
        InputVariable("client", schema={"type": "string"}, required=True),
        InputVariable("copies", schema={"type": "integer", "minimum": 1}, default=2, description="How many."),
    ]
    with DemoPlatform(agents=[Agent(name="Filer", inputs=variables, version=7)]) as demo:
        filer = agent_id(demo, "Filer")
        version = get(demo, f"/agents/{filer}/workflows")[0]
        assert (version["version"], version["isPublished"]) == (7, True)
        assert get(demo, f"/agents/{filer}/workflows/{version['id']}/inputs")["inputs"] == [
            {"name": "client", "schema": {"type": "string"}, "required": True},
            {
                "name": "copies",
                "schema": {"type": "integer", "minimum": 1},
                "required": False,
                "defaultValue": 2,
                "description": "How many.",
            },
        ]


def test_ids_are_the_same_in_every_process_and_given_ones_are_kept() -> None:
    agents = [FILER, Agent(name="Other", id="agent-7")]
    with DemoPlatform(agents=agents, profiles=["Clerk", AgentProfile(name="Own", id="p-1")]) as demo:
        first = (get(demo, "/agents"), get(demo, "/agent-profiles"))
    with DemoPlatform(agents=agents, profiles=["Clerk", AgentProfile(name="Own", id="p-1")]) as demo:
        assert (get(demo, "/agents"), get(demo, "/agent-profiles")) == first
    assert [agent["id"] for agent in first[0]["items"]][1] == "agent-7"
    assert [profile["id"] for profile in first[1]["items"]][1] == "p-1"


def test_pools_tell_their_strategy_and_members() -> None:
    night = DemoPool(members=["B", "A"], strategy=SelectionStrategy.MOST_RECENTLY_USED, exclusive=True)
    with DemoPlatform(profiles=["A", "B"], pools={"Day": ["A"], "Night": night}) as demo:
        pools = get(demo, "/agent-profile-pools")["items"]
        told = [(pool["name"], pool["selectionStrategy"], pool["allowConcurrentUse"]) for pool in pools]
        assert told == [("Day", "least_recently_used", True), ("Night", "most_recently_used", False)]
        members = get(demo, f"/agent-profile-pools/{pools[1]['id']}/members")
        assert [member["name"] for member in members["items"]] == ["B", "A"]


def test_an_execution_is_answered_whole(demo: DemoPlatform) -> None:
    checker = agent_id(demo, "Address checker")
    inputs = {"street": "Ringstr. 1", "postcode": "01234", "city": "Wien"}
    answer = execute(demo, checker, inputs=inputs, metadata={"region": "north"})
    assert answer.status_code == 202
    execution_id = answer.json()["executionId"]
    assert answer.json() == {"executionId": execution_id, "status": "starting"}

    execution = get(demo, f"/executions/{execution_id}")
    assert execution["agentId"] == execution["workflowId"] == checker
    assert execution["agentName"] == execution["workflowName"] == "Address checker"
    assert execution["workflowVersion"] == 2
    assert execution["status"] == "completed"
    assert execution["inputs"] == inputs | {"country": "DE", "tolerance": 0.2}
    assert execution["metadata"] == {"region": "north"}
    assert execution["createdAt"] <= execution["startedAt"] <= execution["terminalAt"]
    assert execution["duration"] == 0
    result = execution["executionResult"]
    assert (result["executionId"], result["outcome"]) == (execution_id, "success")
    assert "Ringstr. 1" in result["reasoning"]
    assert result["result"]["deliverable"] is True
    assert demo.executions()[0] | {"platformUrl": execution["platformUrl"]} == execution


def test_an_execution_is_listed_only_after_the_listing_delay(demo: DemoPlatform) -> None:
    demo.faults.listing_delay = 3600
    answer = execute(demo, agent_id(demo, "Address checker"), inputs={"street": "A", "postcode": "12345", "city": "B"})
    execution_id = answer.json()["executionId"]
    assert get(demo, "/executions")["total"] == 0
    assert get(demo, f"/executions/{execution_id}")["id"] == execution_id
    demo.faults.clear()
    assert get(demo, "/executions")["total"] == 1


def test_the_log_tells_every_execute_request_in_order(demo: DemoPlatform) -> None:
    before = time.monotonic()
    checker = agent_id(demo, "Address checker")
    execute(demo, checker, metadata={"item": "1"})
    execute(demo, checker, inputs={"street": "A", "postcode": "12345", "city": "B"}, metadata={"item": "2"})
    call(demo, "POST", f"/agents/v2/agents/{checker}/execute", content=b"{")
    log = list(demo.requests)
    assert demo.requests.count == len(log) == 3
    assert [entry.number for entry in log] == [1, 2, 3]
    assert [entry.metadata for entry in log] == [{"item": "1"}, {"item": "2"}, {}]
    assert [entry.status for entry in log] == [400, 202, 400]
    assert [entry.execution_id for entry in log] == [None, demo.executions()[0]["id"], None]
    assert before <= log[0].monotonic <= log[1].monotonic <= time.monotonic()
    assert abs(log[0].at - datetime.now(UTC)) < timedelta(seconds=60)
    assert log[1].inputs == {"street": "A", "postcode": "12345", "city": "B"}

    told = call(demo, "GET", "/demo/requests", params={"since": 1}).json()
    assert told["count"] == 3
    assert [(entry["number"], entry["status"]) for entry in told["items"]] == [(2, 202), (3, 400)]
    assert call(demo, "GET", "/demo/requests", params={"since": "x"}).status_code == 400
    assert call(demo, "GET", "/demo/executions").json()["count"] == 1


def test_the_link_of_an_execution_leads_to_a_page_without_the_key() -> None:
    agent = Agent(name="<b>Filer</b>", inputs=[InputVariable("client", schema={"type": "string"})])
    with DemoPlatform(agents=[agent], duration=0) as demo:
        execution_id = filed(demo, "<script>alert(1)</script>")
        link = get(demo, f"/executions/{execution_id}")["platformUrl"]
        page = httpx.get(link, trust_env=False)
        assert page.status_code == 200
        assert "&lt;script&gt;" in page.text
        assert "<script" not in page.text
        assert "<b>" not in page.text
        assert demo.api_key not in link
        assert httpx.get(link[:-1], trust_env=False).status_code == 403


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"agents": [FILER, FILER]}, "'Filer' twice"),
        ({"profiles": ["A", "A"]}, "'A' twice"),
        ({"profiles": ["A"], "pools": {"P": ["B"]}}, "'B', which does not exist"),
        ({"profiles": ["A"], "pools": {"P": []}}, "no members"),
        ({"agents": [Agent(name="X", inputs=[InputVariable("a", schema={"type": "text"})])]}, "not JSON Schema"),
        ({"agents": [Agent(name="X", versions=[WorkflowVersion(version=1)] * 2)]}, "do not go together"),
        ({"duration": (3, 1)}, "not a range"),
        ({"duration": -1}, "not a range"),
        ({"failure_share": 1.5}, "not a share"),
        ({"failure_share": 0.6, "unsuccessful_share": 0.6}, "more than all"),
        ({"capacity": 0}, "not a number of executions"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DemoPlatform(**arguments)
