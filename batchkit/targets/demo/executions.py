"""How an execution moves: its whole future is planned when it starts, and its state is read off the clock."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b

from batchkit.core.execution import ExecutionOutcome, ExecutionStatus
from batchkit.errors import ConfigError

__all__ = ["Behaviour", "Plan", "draw_number", "from_micros", "micros"]

#: the part of an execution's duration in which it is still starting
_STARTING_PART = 0.1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How long executions take and how they end. Shares are between 0 and 1. Raises ConfigError for others."""

    #: shortest and longest time from start to end, seconds
    duration: tuple[float, float] = (1.0, 3.0)
    #: executions that fail
    failure_share: float = 0.0
    #: executions that complete, but say of their task that it failed
    unsuccessful_share: float = 0.0
    #: executions that stand still for a while, as if a person were needed
    attention_share: float = 0.0

    def __post_init__(self) -> None:
        shortest, longest = self.duration
        if not 0 <= shortest <= longest:
            raise ConfigError(
                f"duration={self.duration!r} is not a range of seconds: give (shortest, longest), both at least 0."
            )
        for name in ("failure_share", "unsuccessful_share", "attention_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)!r} is not a share: give a number between 0 and 1.")
        if self.failure_share + self.unsuccessful_share > 1:
            raise ConfigError(
                f"failure_share={self.failure_share} and unsuccessful_share={self.unsuccessful_share} are more than "
                "all executions together: their sum can be at most 1."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to become of one execution. Times are microseconds since 1970, in the order of the fields."""

    starting_at: int
    running_at: int
    #: None: it needs nobody
    attention_at: int | None
    attention_until: int | None
    terminal_at: int
    #: what it says while it stands still
    attention: ExecutionStatus | None
    #: completed or failed
    final: ExecutionStatus
    outcome: ExecutionOutcome

    @classmethod
    def of(cls, behaviour: Behaviour, draw: int, start: int) -> Plan:
        """The plan of an execution that starts at `start`; the same `draw` has the same plan."""
        dice = random.Random(draw)
        length = round(dice.uniform(*behaviour.duration) * 1_000_000)
        fate = dice.random()
        failed = fate < behaviour.failure_share
        unsuccessful = not failed and fate < behaviour.failure_share + behaviour.unsuccessful_share
        needs_person = dice.random() < behaviour.attention_share
        running_at = start + round(length * _STARTING_PART)
        attention_at = start + length // 2 if needs_person else None
        attention_until = attention_at + length if attention_at is not None else None
        kinds = (ExecutionStatus.AWAITING_CONFIRMATION, ExecutionStatus.PAUSED_BY_AGENT)
        return cls(
            starting_at=start,
            running_at=running_at,
            attention_at=attention_at,
            attention_until=attention_until,
            terminal_at=start + length * (2 if needs_person else 1),
            attention=dice.choice(kinds) if needs_person else None,
            final=ExecutionStatus.FAILED if failed else ExecutionStatus.COMPLETED,
            outcome=ExecutionOutcome.FAILURE if failed or unsuccessful else ExecutionOutcome.SUCCESS,
        )


def draw_number(seed: int, agent: str, version: int, inputs: str, repetition: int) -> int:
    """The number everything random about an execution comes from, 0 <= number < 2**63.

    inputs: JSON text. repetition: how many executions with the same inputs there were before.
    """
    text = "\n".join((str(seed), agent, str(version), str(repetition), inputs))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) >> 1


def micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_micros(number: int) -> datetime:
    """The moment, in UTC."""
    return _EPOCH + timedelta(microseconds=number)
