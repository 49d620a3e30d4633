"""When to wait and when to stop trying."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.core.execution import Execution, ExecutionStatus
from batchkit.core.outcome import Held, NotSent, Outcome, Refused, Triggered, Unclear, Wait
from batchkit.core.retry import Decision, Health, RetryPolicy


class Observed:
    """A Health whose clock goes on by a day with each call, so that no wait is pending."""

    def __init__(self, policy: RetryPolicy, seed: int = 0) -> None:
        self.health = Health(policy, seed=seed)
        self.now = 0.0

    def __call__(self, *outcomes: Outcome) -> Decision:
        self.now += 86_400
        return [self.health.observe(outcome, self.now) for outcome in outcomes][-1]


GOOD = Triggered(execution=Execution(id="e", status=ExecutionStatus.QUEUED))
BAD = Unclear(message="HTTP 502")


def test_refused_credentials_pause_at_once() -> None:
    assert "revoked" in Observed(RetryPolicy())(GOOD, Held(code="401", message="revoked")).pause


def test_retry_after_is_obeyed_up_to_the_cap() -> None:
    observe = Observed(RetryPolicy(longest_delay=300))
    assert observe(Wait(retry_after=20, message="")).wait == 20
    assert observe(Wait(retry_after=9999, message="")).wait == 300


def test_a_longer_retry_after_counts_even_while_waiting() -> None:
    health = Health(RetryPolicy())
    assert health.observe(Wait(retry_after=20, message=""), 0.0).wait == 20
    assert health.observe(Wait(retry_after=50, message=""), 0.1).wait == 50


def test_the_wait_for_an_unreachable_target_doubles_and_starts_anew_after_a_success() -> None:
    observe = Observed(RetryPolicy(first_delay=1, longest_delay=60), seed=1)
    waits = [observe(NotSent(message="refused")).wait for _ in range(10)]
    for number, wait in enumerate(waits):
        full = min(2**number, 60)
        assert full / 2 <= wait <= full
    observe(GOOD)
    assert observe(NotSent(message="refused")).wait <= 1


def test_the_failures_of_one_group_are_one_failure() -> None:
    health = Health(RetryPolicy(first_delay=1))
    decisions = [health.observe(NotSent(message="refused"), 100.0 + at / 1000) for at in range(20)]
    assert 0.5 <= decisions[0].wait <= 1
    assert all(decision == Decision() for decision in decisions[1:])


def test_one_unclear_answer_does_not_pause() -> None:
    assert Observed(RetryPolicy())(BAD).pause == ""


def test_many_unclear_answers_in_a_row_pause_even_after_thousands_of_successes() -> None:
    observe = Observed(RetryPolicy(consecutive=10))
    assert observe(*[GOOD] * 4000).pause == ""
    assert observe(*[BAD] * 9).pause == ""
    assert "HTTP 502" in observe(BAD).pause


def test_a_share_of_unclear_answers_pauses_though_none_come_in_a_row() -> None:
    observe = Observed(RetryPolicy(window=40, share=0.5, minimum=20))
    decisions = [observe(GOOD if number % 2 else BAD) for number in range(40)]
    assert all(decision.pause == "" for decision in decisions[:19])
    assert any(decision.pause for decision in decisions)


def test_refusals_are_answers_and_never_break_the_circuit() -> None:
    observe = Observed(RetryPolicy())
    assert all(observe(Refused(code="400", message="no")).pause == "" for _ in range(1000))


def test_reset_forgets_what_was() -> None:
    observe = Observed(RetryPolicy(consecutive=3))
    observe(BAD, BAD)
    observe.health.reset()
    assert observe(BAD, BAD).pause == ""


@given(st.lists(st.sampled_from([GOOD, BAD, NotSent(message="x"), Wait(retry_after=None, message="y")]), max_size=80))
@pytest.mark.parametrize("seed", [0, 7])
def test_the_same_answers_and_seed_give_the_same_decisions(seed: int, outcomes: list) -> None:
    one, two = Observed(RetryPolicy(), seed=seed), Observed(RetryPolicy(), seed=seed)
    assert [one(outcome) for outcome in outcomes] == [two(outcome) for outcome in outcomes]
