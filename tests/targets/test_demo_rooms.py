"""Capacity, pools and the queue of the demo platform."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from long_form import examples

from batchkit.core.agent import Agent, InputVariable
from batchkit.core.profile import SelectionStrategy
from batchkit.targets.demo.catalog import Catalog, DemoPool
from batchkit.targets.demo.execute import read_execute_call
from batchkit.targets.demo.executions import Behaviour
from batchkit.targets.demo.organization import Organization
from batchkit.targets.demo.problem import HttpProblem
from batchkit.targets.demo.state import State

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
CATALOG = Catalog(
    agents=[Agent(name="Filer", id="filer", inputs=[InputVariable("client")])],
    profiles=["A", "B", "C"],
    pools={
        "shared": ["A", "B", "C"],
        "alone": DemoPool(members=["A", "B"], exclusive=True),
        "recent": DemoPool(members=["A", "B", "C"], exclusive=True, strategy=SelectionStrategy.MOST_RECENTLY_USED),
    },
)
POOLS = {pool.name: pool.id for pool in CATALOG.pools.values()}
PROFILES = {profile.name: profile.id for profile in CATALOG.profiles.values()}

#: made by a test, closed after it
made: list[Organization] = []


@pytest.fixture(autouse=True)
def _close_all() -> Iterator[None]:
    yield
    while made:
        made.pop().close()


class Platform:
    """An organization whose executions take ten seconds, and whose time is moved by hand."""

    def __init__(self, capacity: int | None = None, state: Path | None = None, now: float = 0.0) -> None:
        self.now = now
        self.organization = Organization(
            catalog=CATALOG,
            state=State(state),
            behaviour=Behaviour(duration=(10.0, 10.0)),
            capacity=capacity,
            clock=lambda: START + round(self.now * SECOND),
        )
        made.append(self.organization)

    def execute(self, pool: str | None = None, profile: str | None = None, queue: bool = False) -> str:
        body: dict[str, Any] = {"onCapacityLimit": "queue" if queue else "reject"}
        if pool is not None:
            body["agentProfilePoolId"] = POOLS[pool]
        if profile is not None:
            body["agentProfileId"] = PROFILES[profile]
        return self.organization.execute(read_execute_call(CATALOG, "filer", body)).id

    def status(self, execution_id: str) -> str:
        return str(self.organization.execution(execution_id)["status"])

    def profile(self, execution_id: str) -> str:
        return str(self.organization.execution(execution_id)["profile_name"])

    def started(self, execution_id: str) -> float | None:
        """When it started, in seconds."""
        at = self.organization.execution(execution_id)["starting_at"]
        return None if at is None else (at - START) / SECOND


def turned_away(platform: Platform, **options: Any) -> dict[str, Any]:
    with pytest.raises(HttpProblem) as caught:
        platform.execute(**options)
    assert caught.value.status == 429
    return caught.value.extension


def test_a_full_organization_turns_executions_away_and_says_how_full_it_is() -> None:
    platform = Platform(capacity=2)
    platform.execute()
    platform.execute()
    told = turned_away(platform)
    assert (told["capability"], told["used"], told["limit"]) == ("concurrent_executions", 2, 2)
    platform.now = 10
    platform.execute()
    assert len(platform.organization.every_execution()) == 3


def test_the_429_has_the_three_members_of_a_reached_limit() -> None:
    body = HttpProblem.limit_reached("concurrent_executions", 2, 2).response("/x").body
    assert b'"capability":"concurrent_executions","used":2,"limit":2' in bytes(body)


def test_queued_executions_start_in_order_at_the_moment_room_is_free() -> None:
    platform = Platform(capacity=2)
    first = platform.execute()
    platform.now = 4
    second = platform.execute()
    queued = [platform.execute(queue=True) for _ in range(4)]
    assert [platform.status(one) for one in queued] == ["queued"] * 4
    # nobody looked for a long time
    platform.now = 1000
    assert [platform.started(one) for one in (first, second, *queued)] == [0, 4, 10, 14, 20, 24]
    assert {platform.status(one) for one in queued} == {"completed"}


def test_there_is_room_again_after_a_cancellation() -> None:
    platform = Platform(capacity=1)
    first = platform.execute()
    queued = platform.execute(queue=True)
    platform.now = 3
    platform.organization.cancel(first)
    platform.now = 5
    assert platform.started(queued) == 3


def test_a_queued_execution_can_be_cancelled_but_not_paused() -> None:
    platform = Platform(capacity=1)
    platform.execute()
    one, other = platform.execute(queue=True), platform.execute(queue=True)
    with pytest.raises(HttpProblem):
        platform.organization.pause(one)
    platform.organization.cancel(one)
    platform.now = 12
    assert (platform.status(one), platform.started(one)) == ("cancelled", None)
    assert platform.started(other) == 10


def test_a_paused_execution_keeps_its_room() -> None:
    platform = Platform(capacity=1)
    first = platform.execute()
    queued = platform.execute(queue=True)
    platform.organization.pause(first)
    platform.now = 100
    assert platform.status(queued) == "queued"
    platform.organization.resume(first)
    platform.now = 111
    assert platform.started(queued) == 110


def test_a_new_execution_does_not_overtake_the_queue() -> None:
    platform = Platform(capacity=1)
    platform.execute()
    queued = platform.execute(queue=True)
    platform.now = 10
    assert turned_away(platform)["used"] == 1
    assert platform.status(queued) == "starting"


def test_the_queue_survives_a_restart(tmp_path: Path) -> None:
    platform = Platform(capacity=1, state=tmp_path / "demo.sqlite")
    platform.execute()
    queued = [platform.execute(queue=True) for _ in range(3)]
    platform.now = 15
    assert platform.started(queued[0]) == 10
    platform.organization.close()
    again = Platform(capacity=1, state=tmp_path / "demo.sqlite", now=35)
    assert [again.started(one) for one in queued] == [10, 20, 30]
    assert again.status(queued[2]) == "running"


def test_the_least_recently_used_profile_is_picked() -> None:
    platform = Platform()
    picked = []
    for platform.now in range(6):
        picked.append(platform.profile(platform.execute("shared")))
    assert picked == ["A", "B", "C", "A", "B", "C"]
    platform.now = 7
    platform.execute(profile="A")
    platform.now = 8
    assert platform.profile(platform.execute("shared")) == "B"


def test_the_most_recently_used_free_profile_is_picked() -> None:
    platform = Platform()
    assert platform.profile(platform.execute(profile="B")) == "B"
    platform.now = 11
    assert platform.profile(platform.execute("recent")) == "B"
    platform.now = 12
    assert platform.profile(platform.execute("recent")) in ("A", "C")
    platform.now = 30
    again = platform.profile(platform.execute("recent"))
    assert again in ("A", "C")


def test_a_shared_pool_takes_any_number() -> None:
    platform = Platform()
    assert [platform.profile(platform.execute("shared")) for _ in range(5)].count("A") == 2


def test_an_exclusive_pool_is_full_when_each_profile_is_in_use() -> None:
    platform = Platform()
    assert {platform.profile(platform.execute("alone")) for _ in range(2)} == {"A", "B"}
    told = turned_away(platform, pool="alone")
    assert (told["capability"], told["used"], told["limit"]) == ("agent_profile_pool", 2, 2)
    # others are not concerned
    platform.execute()
    platform.execute(profile="A")
    platform.execute("shared")


def test_a_profile_in_use_by_itself_is_not_free_in_an_exclusive_pool() -> None:
    platform = Platform()
    platform.execute(profile="A")
    assert platform.profile(platform.execute("alone")) == "B"
    turned_away(platform, pool="alone")


def test_who_waits_for_a_pool_does_not_hold_up_the_others() -> None:
    platform = Platform(capacity=3)
    for pool in ("alone", "alone"):
        platform.execute(pool)
    platform.now = 1
    other = platform.execute()
    for_pool = [platform.execute("alone", queue=True) for _ in range(2)]
    for_nothing = platform.execute(queue=True)
    platform.now = 100
    assert [platform.started(one) for one in for_pool] == [10, 10]
    assert {platform.profile(one) for one in for_pool} == {"A", "B"}
    assert platform.started(other) == 1
    assert platform.started(for_nothing) == 11


ORDERS = st.lists(
    st.tuples(st.sampled_from([None, "shared", "alone", "recent"]), st.floats(0, 6), st.booleans()), max_size=25
)


@settings(max_examples=examples(60))
@given(ORDERS, st.integers(1, 4))
def test_no_limit_is_ever_exceeded_and_everybody_gets_a_turn(
    orders: list[tuple[str | None, float, bool]], capacity: int
) -> None:
    platform = Platform(capacity=capacity)
    accepted = []
    for pool, pause, queue in orders:
        platform.now += pause
        try:
            accepted.append(platform.execute(pool, queue=queue))
        except HttpProblem:
            assert not queue
    platform.now += 10_000
    rows = platform.organization.every_execution()
    assert [row["id"] for row in rows] == accepted
    assert all(row["status"] == "completed" for row in rows)
    for row in rows:
        moment = row["starting_at"]
        assert moment >= row["created_at"]
        active = [other for other in rows if other["starting_at"] <= moment < other["terminal_at"]]
        assert len(active) <= capacity
        if row["pool_id"] in (POOLS["alone"], POOLS["recent"]):
            earlier = [other for other in active if other["profile_id"] == row["profile_id"] and other is not row]
            # a shared pool may join a profile later, an exclusive one may not
            assert all(other["pool_id"] == POOLS["shared"] and other["seq"] > row["seq"] for other in earlier)
    for pool_id in (None, *POOLS.values()):
        starts = [row["starting_at"] for row in rows if row["pool_id"] == pool_id]
        assert starts == sorted(starts)
    platform.organization.close()
