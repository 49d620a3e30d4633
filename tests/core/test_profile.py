"""Pools of batchkit's own: what makes one, and which member is next."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.core.profile import AgentProfile, PinnedPool, ProfilePool, ProfileRef, SelectionStrategy, picked
from batchkit.errors import ConfigError

MEMBERS = tuple(ProfileRef(id=key, name=key.upper()) for key in "abcd")


def pool(strategy: SelectionStrategy) -> PinnedPool:
    return PinnedPool(name="Clerks", members=MEMBERS, strategy=strategy, limit=1)


@pytest.mark.parametrize(
    ("strategy", "used", "free", "expected"),
    [
        ("least_recently_used", {}, "abcd", "a"),
        ("least_recently_used", {"a": 1, "b": 2}, "abcd", "c"),
        ("least_recently_used", {"a": 4, "b": 2, "c": 3, "d": 9}, "acd", "c"),
        ("most_recently_used", {"a": 1, "b": 2}, "abcd", "b"),
        ("most_recently_used", {"a": 1, "b": 2}, "ac", "a"),
        ("round_robin", {}, "abcd", "a"),
        ("round_robin", {"a": 1}, "abcd", "b"),
        ("round_robin", {"a": 1, "d": 2}, "abcd", "a"),
        ("round_robin", {"b": 1}, "ab", "a"),
    ],
)
def test_the_strategy_says_who_is_next(strategy: str, used: dict[str, int], free: str, expected: str) -> None:
    chosen = picked(pool(SelectionStrategy(strategy)), set(free), used)
    assert chosen is not None
    assert chosen.id == expected


@given(
    st.sampled_from(SelectionStrategy),
    st.sets(st.sampled_from("abcd")),
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 9)),
)
def test_only_a_free_member_is_picked_and_always_one_if_there_is(
    strategy: SelectionStrategy, free: set[str], used: dict[str, int]
) -> None:
    chosen = picked(pool(strategy), free, used)
    assert chosen is None if not free else chosen is not None and chosen.id in free


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ProfilePool("Clerks"), "has no members"),
        (lambda: ProfilePool(" ", members=["A"]), "needs a name"),
        (lambda: ProfilePool("C", members="Clerk A"), "not the text 'Clerk A'"),
        (lambda: ProfilePool("C", members=["A", " A"]), "'A' more than once"),
        (lambda: ProfilePool("C", members=[3]), "or a profile, not 3"),
        (lambda: ProfilePool("C", members=["A"], limit_per_profile=0), "not 0"),
        (lambda: ProfilePool("C", members=["A"], limit_per_profile=2), "concurrent_use=True"),
        (lambda: ProfilePool("C", members=["A"], strategy="random"), "strategy of a pool is one of"),
    ],
)
def test_a_pool_that_makes_no_sense_is_refused(make, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_targets_own_pool_needs_no_members_and_a_pinned_one_comes_back_as_it_was() -> None:
    assert ProfilePool("Clerks", id="g1").members == ()
    pinned = pool(SelectionStrategy.ROUND_ROBIN)
    assert PinnedPool.from_dict(asdict(pinned)) == pinned
    assert pinned.pool.members == tuple(AgentProfile(name=key.upper(), id=key) for key in "abcd")
    assert not pinned.pool.concurrent_use
