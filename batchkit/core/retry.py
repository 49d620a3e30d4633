"""What to do after requests that did not go through: how long to wait, and when to stop trying.

Decisions only; the runner acts on them.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

from batchkit.core.outcome import Held, NotSent, Outcome, Refused, Triggered, Unclear, Wait

__all__ = ["Decision", "Health", "RetryPolicy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When to wait and when to give up on a target."""

    #: seconds after the first failure; doubled with each further one
    first_delay: float = 1.0
    #: seconds; the longest wait of our own, and the most a Retry-After is obeyed for
    longest_delay: float = 300.0
    #: so many unclear answers in a row pause the batch
    consecutive: int = 10
    #: among so many of the last requests ...
    window: int = 100
    #: ... this share of unclear answers pauses the batch, ...
    share: float = 0.5
    #: ... but not on fewer requests than this
    minimum: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What follows from some outcomes."""

    #: seconds from now before which nothing is sent; 0: go on
    wait: float = 0.0
    #: why the batch must pause; empty: it need not
    pause: str = ""
    #: why it waits, for people; empty: it does not
    reason: str = ""


@dataclass(slots=True)
class Health:
    """How a target has answered lately. `observe` turns outcomes into a decision."""

    policy: RetryPolicy
    #: for the jitter
    seed: int = 0
    _failures: int = 0
    _unclear: int = 0
    _waiting_until: float = 0.0
    _recent: deque[bool] = field(init=False)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._recent = deque(maxlen=self.policy.window)
        self._random = random.Random(self.seed)

    def observe(self, outcome: Outcome, now: float) -> Decision:
        """Take note of an outcome and say what follows.

        now: seconds on a clock that never jumps. What fails while already waiting is the same failure.
        """
        match outcome:
            case Held():
                refused = outcome.code in ("401", "402", "403")
                why = "refused the credentials or asks for payment" if refused else "takes no more rows"
                return Decision(pause=f"The target {why}: {outcome.message}")
            case Wait():
                return self._wait(now, outcome.retry_after, f"The target asked to wait: {outcome.message}")
            case NotSent():
                return self._wait(now, None, f"The target cannot be reached: {outcome.message}")
            case Unclear():
                self._unclear += 1
                self._recent.append(False)
                return Decision(pause=self._broken(outcome))
            case Triggered() | Refused():
                self._unclear = self._failures = 0
                self._recent.append(True)
                return Decision()

    def reset(self) -> None:
        """Begin anew, after a person resumed the batch."""
        self._failures = self._unclear = 0
        self._waiting_until = 0.0
        self._recent.clear()

    def _wait(self, now: float, asked: float | None, reason: str) -> Decision:
        if asked is not None:
            seconds = min(max(asked, 0.1), self.policy.longest_delay)
        elif now < self._waiting_until:
            return Decision()
        else:
            self._failures += 1
            seconds = self._backoff(self._failures)
        self._waiting_until = max(self._waiting_until, now + seconds)
        return Decision(wait=seconds, reason=reason)

    def _backoff(self, failures: int) -> float:
        # Half fixed, half random: never soon, never in step with others.
        full = min(self.policy.first_delay * 2.0 ** min(failures - 1, 30), self.policy.longest_delay)
        return full * (0.5 + 0.5 * self._random.random())

    def _broken(self, last: Unclear) -> str:
        if self._unclear >= self.policy.consecutive:
            return f"The last {self._unclear} requests were answered unclearly, lastly: {last.message}"
        bad = self._recent.count(False)
        if len(self._recent) >= self.policy.minimum and bad >= self.policy.share * len(self._recent):
            return f"{bad} of the last {len(self._recent)} requests were answered unclearly, lastly: {last.message}"
        return ""
