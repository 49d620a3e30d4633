"""What the demo platform makes of the body of an execute call."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.core.agent import Agent, InputVariable, WorkflowVersion
from batchkit.targets.demo.catalog import Catalog
from batchkit.targets.demo.execute import ExecuteCall, parse_json_object, read_execute_call
from batchkit.targets.demo.problem import HttpProblem

INPUTS = (
    InputVariable("client", schema={"type": "string", "minLength": 1}, required=True),
    InputVariable("area", schema={"type": "number", "minimum": 1}),
    InputVariable("kind", schema={"type": "string", "enum": ["a", "b"]}),
    InputVariable("day", schema={"type": "string", "format": "date"}),
    InputVariable("contacts", schema={"type": "array", "items": {"type": "string"}}),
)
AGENT = Agent(
    name="Filer",
    id="agent",
    versions=(
        WorkflowVersion(version=1, inputs=()),
        WorkflowVersion(version=2, published=True, inputs=INPUTS),
    ),
)
CATALOG = Catalog(
    agents=[AGENT, Agent(name="Draft", id="draft", versions=[WorkflowVersion(version=1)])],
    profiles=["Clerk"],
    pools={"Clerks": ["Clerk"]},
)
PROFILE = next(iter(CATALOG.profiles))
POOL = next(iter(CATALOG.pools))
GOOD = {"client": "Ada"}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def read(agent_id: str = "agent", **body: Any) -> ExecuteCall:
    return read_execute_call(CATALOG, agent_id, body)


def refused(**body: Any) -> list[str]:
    """The parameters a 400 names."""
    with pytest.raises(HttpProblem) as caught:
        read(**body)
    assert caught.value.status == 400
    return [parameter for parameter, _ in caught.value.errors]


def test_an_empty_body_is_an_empty_object() -> None:
    assert parse_json_object(b"") == {}
    assert read(version=1).inputs == {}


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"1", b"null", b"\xff", b'{"a": NaN}', b'{"a": Infinity}', b'{"a": 1e999}', b"[" * 100000]
)
def test_what_is_not_a_json_object_is_400(body: bytes) -> None:
    with pytest.raises(HttpProblem) as caught:
        parse_json_object(body)
    assert caught.value.status == 400


def test_the_published_version_runs_where_none_is_named() -> None:
    assert read(inputs=GOOD).version.version == 2
    assert read(version=1).version.version == 1


def test_an_unknown_agent_is_404() -> None:
    with pytest.raises(HttpProblem) as caught:
        read("none", inputs=GOOD)
    assert caught.value.status == 404


@pytest.mark.parametrize("version", [3, 0, -1, "2", 2.0, True, 10**30])
def test_an_unknown_version_is_named(version: object) -> None:
    assert refused(inputs=GOOD, version=version) == ["version"]


def test_an_agent_without_a_published_version_needs_one_named() -> None:
    with pytest.raises(HttpProblem, match="no published version"):
        read("draft")
    assert read("draft", version=1).version.version == 1


@pytest.mark.parametrize(
    ("inputs", "parameters"),
    [
        ({}, ["inputs.client"]),
        ({"client": 7}, ["inputs.client"]),
        ({"client": None}, ["inputs.client"]),
        ({"client": ""}, ["inputs.client"]),
        ({"client": "Ada", "area": "12"}, ["inputs.area"]),
        ({"client": "Ada", "area": 0.5}, ["inputs.area"]),
        ({"client": "Ada", "area": True}, ["inputs.area"]),
        ({"client": "Ada", "kind": "c"}, ["inputs.kind"]),
        ({"client": "Ada", "day": "2026-02-30"}, ["inputs.day"]),
        ({"client": "Ada", "contacts": ["a", 2]}, ["inputs.contacts.1"]),
        ({"area": 0, "kind": 1}, ["inputs.client", "inputs.area", "inputs.kind", "inputs.kind"]),
    ],
)
def test_wrong_inputs_are_all_named(inputs: dict[str, Any], parameters: list[str]) -> None:
    assert refused(inputs=inputs) == parameters


def test_an_input_the_version_does_not_declare_is_let_through() -> None:
    assert read(inputs={"client": "Ada", "colour": "red"}).inputs["colour"] == "red"


def test_metadata_must_be_text() -> None:
    assert refused(inputs=GOOD, metadata={"a": 1, "b": "ok", "c": None}) == ["metadata.a", "metadata.c"]
    assert refused(inputs=GOOD, metadata=["a"]) == ["metadata"]
    assert refused(inputs=GOOD, metadata={"a": "\ud800"}) == ["metadata"]
    assert read(inputs=GOOD, metadata={"ключ": "значение 🎉"}).metadata == {"ключ": "значение 🎉"}


@pytest.mark.parametrize("name", ["agentProfileId", "profileId"])
def test_a_profile_can_be_named_in_two_ways(name: str) -> None:
    call = read(inputs=GOOD, **{name: PROFILE})
    assert call.profile is not None
    assert call.profile.name == "Clerk"
    assert refused(inputs=GOOD, **{name: "none"}) == [name]
    assert refused(inputs=GOOD, **{name: 7}) == [name]


@pytest.mark.parametrize("name", ["agentProfilePoolId", "profileGroupId"])
def test_a_pool_can_be_named_in_two_ways(name: str) -> None:
    call = read(inputs=GOOD, **{name: POOL})
    assert call.pool is not None
    assert call.pool.name == "Clerks"
    assert refused(inputs=GOOD, **{name: PROFILE}) == [name]


def test_a_profile_and_a_pool_exclude_each_other() -> None:
    assert refused(inputs=GOOD, agentProfileId=PROFILE, agentProfilePoolId=POOL) == [
        "agentProfileId",
        "agentProfilePoolId",
    ]
    assert refused(inputs=GOOD, profileId=PROFILE, agentProfilePoolId=POOL) == ["profileId", "agentProfilePoolId"]


def test_two_names_for_one_profile_must_agree() -> None:
    assert read(inputs=GOOD, agentProfileId=PROFILE, profileId=PROFILE).profile is not None
    assert refused(inputs=GOOD, agentProfileId=PROFILE, profileId="other") == ["profileId"]


def test_the_capacity_choice_is_reject_or_queue() -> None:
    assert not read(inputs=GOOD).queue
    assert not read(inputs=GOOD, onCapacityLimit="reject").queue
    assert read(inputs=GOOD, onCapacityLimit="queue").queue
    assert refused(inputs=GOOD, onCapacityLimit="wait") == ["onCapacityLimit"]
    assert refused(inputs=GOOD, onCapacityLimit=[]) == ["onCapacityLimit"]


def test_execution_options_are_checked() -> None:
    assert read(inputs=GOOD, executionOptions={"softTimeoutMins": 5, "variantKey": "x"}).options["variantKey"] == "x"
    for minutes in (0, "5", True, 1.5):
        assert refused(inputs=GOOD, executionOptions={"softTimeoutMins": minutes}) == [
            "executionOptions.softTimeoutMins"
        ]
    assert refused(inputs=GOOD, executionOptions={"variantKey": 1}) == ["executionOptions.variantKey"]


NAMES = st.sampled_from(
    [
        "inputs", "metadata", "version", "agentProfileId", "profileId", "agentProfilePoolId", "profileGroupId",
        "onCapacityLimit", "executionOptions", "other",
    ]
)  # fmt: skip


@given(st.dictionaries(NAMES, JSON | st.fixed_dictionaries({"client": JSON, "area": JSON}), max_size=5))
def test_any_body_is_read_or_refused_in_the_platforms_form(body: dict[str, Any]) -> None:
    parsed = parse_json_object(json.dumps(body).encode())
    told: HttpProblem | ExecuteCall
    try:
        told = read(**parsed)
    except HttpProblem as problem:
        told = problem
    if isinstance(told, HttpProblem):
        assert told.status == 400
        assert json.loads(bytes(told.response("/x").body))["errors"]
    else:
        assert told.inputs == (body.get("inputs") or {})
        assert all(isinstance(value, str) for value in told.metadata.values())
