"""How executions of the demo platform move with the clock, and what is done to them by hand."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.core.agent import Agent, InputVariable
from batchkit.core.execution import ExecutionOutcome, ExecutionStatus
from batchkit.errors import ConfigError
from batchkit.targets.demo.agents import DEFAULT_AGENTS, report
from batchkit.targets.demo.catalog import Catalog
from batchkit.targets.demo.documents import execution_document
from batchkit.targets.demo.execute import read_execute_call
from batchkit.targets.demo.executions import Behaviour, Plan
from batchkit.targets.demo.listing import ListQuery
from batchkit.targets.demo.organization import Organization
from batchkit.targets.demo.problem import HttpProblem
from batchkit.targets.demo.state import State

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
CATALOG = Catalog(agents=[Agent(name="Filer", id="filer", inputs=[InputVariable("client")])], profiles=[], pools={})

#: made by a test, closed after it
made: list[Organization] = []


@pytest.fixture(autouse=True)
def _close_all() -> Iterator[None]:
    yield
    while made:
        made.pop().close()


class Platform:
    """An organization whose time is moved by hand, in seconds since it began."""

    def __init__(self, **behaviour: Any) -> None:
        self.now = 0.0
        self.organization = Organization(
            catalog=CATALOG,
            state=State(None),
            behaviour=Behaviour(**({"duration": (10.0, 10.0)} | behaviour)),
            clock=lambda: START + round(self.now * SECOND),
        )
        made.append(self.organization)

    def execute(self, client: str = "Ada") -> str:
        return self.organization.execute(read_execute_call(CATALOG, "filer", {"inputs": {"client": client}})).id

    def status(self, execution_id: str) -> str:
        return str(self.organization.execution(execution_id)["status"])

    def statuses(self, execution_id: str, *moments: float) -> list[str]:
        told = []
        for self.now in moments:
            told.append(self.status(execution_id))
        return told

    def document(self, execution_id: str) -> dict[str, Any]:
        return execution_document(self.organization.execution(execution_id), CATALOG)


def test_an_execution_starts_runs_and_completes() -> None:
    platform = Platform()
    one = platform.execute()
    assert platform.statuses(one, 0, 0.999, 1, 5, 9.999, 10, 10_000) == [
        "starting", "starting", "running", "running", "running", "completed", "completed",
    ]  # fmt: skip


def test_only_an_ended_execution_has_a_result_an_end_and_a_duration() -> None:
    platform = Platform()
    one = platform.execute()
    platform.now = 9
    assert not {"executionResult", "terminalAt", "duration"} & platform.document(one).keys()
    platform.now = 11
    document = platform.document(one)
    assert document["duration"] == 10
    assert document["terminalAt"] == document["executionResult"]["createdAt"] == "2023-11-14T22:13:30.000000Z"


def test_a_failed_execution_says_why() -> None:
    platform = Platform(failure_share=1.0)
    one = platform.execute()
    assert platform.statuses(one, 5, 10) == ["running", "failed"]
    result = platform.document(one)["executionResult"]
    assert (result["outcome"], result["result"]) == ("failure", None)
    assert result["reasoning"]


def test_an_unsuccessful_execution_completes_with_outcome_failure() -> None:
    platform = Platform(unsuccessful_share=1.0)
    one = platform.execute()
    assert platform.statuses(one, 10) == ["completed"]
    assert platform.document(one)["executionResult"]["outcome"] == "failure"


def test_an_execution_that_needs_a_person_goes_on_by_itself_after_a_while() -> None:
    platform = Platform(attention_share=1.0)
    one = platform.execute()
    told = platform.statuses(one, 4.999, 5, 14.999, 15, 19.999, 20)
    assert told[1] in ("awaiting_confirmation", "paused_by_agent")
    assert told == ["running", told[1], told[1], "running", "running", "completed"]


def test_both_ways_of_needing_a_person_occur() -> None:
    platform = Platform(attention_share=1.0)
    ids = [platform.execute(str(number)) for number in range(50)]
    platform.now = 7
    assert {platform.status(one) for one in ids} == {"awaiting_confirmation", "paused_by_agent"}


def test_resuming_one_that_needs_a_person_lets_it_go_on_at_once() -> None:
    platform = Platform(attention_share=1.0)
    one = platform.execute()
    platform.now = 7
    platform.organization.resume(one)
    assert platform.statuses(one, 7, 11.999, 12) == ["running", "running", "completed"]


def test_a_paused_execution_stands_still_and_then_does_the_rest() -> None:
    platform = Platform()
    one = platform.execute()
    platform.now = 4
    platform.organization.pause(one)
    assert platform.statuses(one, 4, 1000) == ["paused", "paused"]
    platform.organization.resume(one)
    assert platform.statuses(one, 1000, 1005.999, 1006) == ["running", "running", "completed"]
    assert platform.document(one)["duration"] == 1006


def test_pausing_keeps_what_is_already_behind() -> None:
    platform = Platform(attention_share=1.0)
    one = platform.execute()
    platform.now = 0.5
    platform.organization.pause(one)
    platform.now = 100.5
    platform.organization.resume(one)
    assert platform.statuses(one, 100.5, 101, 104.999) == ["starting", "running", "running"]
    platform.now = 106
    waiting = platform.status(one)
    platform.organization.pause(one)
    assert platform.statuses(one, 107) == ["paused"]
    platform.organization.resume(one)
    assert platform.statuses(one, 107, 115.999, 116, 120.999, 121) == [
        waiting, waiting, "running", "running", "completed",
    ]  # fmt: skip


@pytest.mark.parametrize("moment", [0, 5])
def test_a_cancelled_execution_ends_there_without_a_result(moment: float) -> None:
    platform = Platform(failure_share=1.0)
    one = platform.execute()
    platform.now = moment
    platform.organization.cancel(one)
    assert platform.statuses(one, moment, 100) == ["cancelled", "cancelled"]
    document = platform.document(one)
    assert document["duration"] == moment
    assert "executionResult" not in document


def test_a_paused_execution_can_be_cancelled() -> None:
    platform = Platform()
    one = platform.execute()
    platform.organization.pause(one)
    platform.now = 3
    platform.organization.cancel(one)
    assert platform.statuses(one, 3, 100) == ["cancelled", "cancelled"]


@pytest.mark.parametrize(
    ("moment", "before", "command"),
    [
        (10, None, "cancel"),
        (10, None, "pause"),
        (10, None, "resume"),
        (5, None, "resume"),
        (5, "pause", "pause"),
        (5, "cancel", "cancel"),
        (5, "cancel", "resume"),
    ],
)
def test_a_command_that_does_not_fit_is_400_and_changes_nothing(
    moment: float, before: str | None, command: str
) -> None:
    platform = Platform()
    one = platform.execute()
    platform.now = moment
    if before is not None:
        getattr(platform.organization, before)(one)
    status = platform.document(one)
    with pytest.raises(HttpProblem) as caught:
        getattr(platform.organization, command)(one)
    assert caught.value.status == 400
    assert platform.document(one) == status


@pytest.mark.parametrize("command", ["cancel", "pause", "resume"])
def test_a_command_for_an_unknown_execution_is_404(command: str) -> None:
    with pytest.raises(HttpProblem) as caught:
        getattr(Platform().organization, command)("none")
    assert caught.value.status == 404


def test_a_filter_by_status_follows_the_clock() -> None:
    platform = Platform()
    for platform.now in (0, 4, 8):
        platform.execute()
    for now, expected in ((8.5, {"running": 2, "starting": 1}), (11, {"completed": 1, "running": 2})):
        platform.now = now
        for status in ExecutionStatus:
            rows, total = platform.organization.executions(ListQuery(statuses=[status]), 0)
            assert total == len(rows) == expected.get(status, 0)


def test_the_listing_delay_is_measured_from_creation() -> None:
    platform = Platform()
    platform.execute()
    told = []
    for platform.now in (0, 1.999, 2):
        told.append(platform.organization.executions(ListQuery(), 2.0)[1])
    assert told == [0, 0, 1]


def test_the_same_seed_and_inputs_end_the_same_way_in_any_order() -> None:
    def ends(order: list[int]) -> dict[str, Any]:
        platform = Platform(duration=(1.0, 9.0), failure_share=0.3, unsuccessful_share=0.2, attention_share=0.2)
        ids = {str(number): platform.execute(str(number)) for number in order}
        platform.now = 1000
        documents = {client: platform.document(one) for client, one in ids.items()}
        return {
            client: (each["status"], each["duration"], each["executionResult"]["result"])
            for client, each in documents.items()
        }

    assert ends(list(range(40))) == ends(list(range(39, -1, -1)))


def test_equal_inputs_do_not_all_end_the_same_way() -> None:
    platform = Platform(failure_share=0.5)
    ids = [platform.execute() for _ in range(100)]
    platform.now = 1000
    count = Counter(platform.status(one) for one in ids)
    assert 30 < count["failed"] < 70
    assert count["failed"] + count["completed"] == 100


BEHAVIOURS = st.builds(
    Behaviour,
    duration=st.tuples(st.floats(0, 100), st.floats(0, 100)).map(lambda pair: (min(pair), max(pair))),
    failure_share=st.floats(0, 0.5),
    unsuccessful_share=st.floats(0, 0.5),
    attention_share=st.floats(0, 1),
)


@given(BEHAVIOURS, st.integers(0, 2**63 - 1), st.integers(0, 2**50))
def test_every_plan_is_in_order_and_ends(behaviour: Behaviour, draw: int, start: int) -> None:
    plan = Plan.of(behaviour, draw, start)
    assert plan == Plan.of(behaviour, draw, start)
    times = [plan.starting_at, plan.running_at, plan.attention_at, plan.attention_until, plan.terminal_at]
    known = [time for time in times if time is not None]
    assert known == sorted(known)
    assert plan.starting_at == start
    assert (plan.attention is None) == (plan.attention_at is None) == (plan.attention_until is None)
    assert plan.final in (ExecutionStatus.COMPLETED, ExecutionStatus.FAILED)
    assert plan.final is ExecutionStatus.COMPLETED or plan.outcome is ExecutionOutcome.FAILURE
    longest = behaviour.duration[1] * SECOND * (2 if plan.attention is not None else 1)
    assert behaviour.duration[0] * SECOND - 1 <= plan.terminal_at - start <= longest + 2


@given(st.lists(st.sampled_from(["pause", "resume", "cancel", "wait"]), max_size=12), st.floats(0.1, 7))
def test_whatever_is_done_an_execution_ends_and_stays_ended(commands: list[str], step: float) -> None:
    platform = Platform(attention_share=1.0)
    one = platform.execute()
    ended = False
    for command in commands:
        platform.now += step
        assert not ended or ExecutionStatus(platform.status(one)).terminal
        try:
            if command != "wait":
                getattr(platform.organization, command)(one)
        except HttpProblem:
            pass
        ended = ExecutionStatus(platform.status(one)).terminal
    if platform.status(one) == "paused":
        platform.organization.resume(one)
    platform.now += 1000
    assert ExecutionStatus(platform.status(one)).terminal
    platform.organization.close()


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
NAMES = sorted({variable.name for agent in DEFAULT_AGENTS for version in agent.versions for variable in version.inputs})


@given(
    st.sampled_from([*(agent.name for agent in DEFAULT_AGENTS), "Another"]),
    st.dictionaries(st.sampled_from(NAMES), VALUES),
    st.integers(0, 2**63 - 1),
    st.sampled_from(
        [
            (ExecutionStatus.FAILED, ExecutionOutcome.FAILURE),
            (ExecutionStatus.COMPLETED, ExecutionOutcome.FAILURE),
            (ExecutionStatus.COMPLETED, ExecutionOutcome.SUCCESS),
        ]
    ),
)
def test_any_inputs_have_a_report_that_is_json(
    agent: str, inputs: dict[str, Any], draw: int, end: tuple[ExecutionStatus, ExecutionOutcome]
) -> None:
    told = report(agent, inputs, draw, *end)
    assert told == report(agent, inputs, draw, *end)
    assert told.reasoning
    json.dumps(told.result, allow_nan=False)


def test_a_report_speaks_of_the_inputs() -> None:
    inputs = {"supplier": "Acme", "month": "2026-03", "max_invoices": 1}
    told = report("Invoice collector", inputs, 7, ExecutionStatus.COMPLETED, ExecutionOutcome.SUCCESS)
    assert "Acme" in told.reasoning
    assert len(told.result["invoices"]) == 1
    assert told.result["total"] == told.result["invoices"][0]["amount"]


@pytest.mark.parametrize("shares", [{"attention_share": -0.1}, {"failure_share": 2}, {"duration": (-1, 2)}])
def test_a_behaviour_that_cannot_be_is_refused(shares: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Behaviour(**shares)
