"""Counts of a batch: its scheduled executions by state, and the executions they became."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["ExecutionCounts", "Progress"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionCounts:
    """What the triggered executions do, as far as is known. Adds up to `Progress.triggered`."""

    #: queued, starting, running or paused
    running: int = 0
    #: awaiting confirmation or paused by the agent: a person has to act
    waiting: int = 0
    succeeded: int = 0
    #: failed, or completed with the outcome "failure"
    failed: int = 0
    cancelled: int = 0
    #: of those not finished, so many are past the batch's item deadline; the target may still run them
    timed_out: int = 0

    @property
    def open(self) -> int:
        """Not finished yet."""
        return self.running + self.waiting

    @property
    def awaited(self) -> int:
        """Not finished yet, and not past the deadline."""
        return self.open - self.timed_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Scheduled executions by state (specification, "Progress Tracking"). Adds up to `total`."""

    total: int = 0
    pending: int = 0
    #: on their way: the request left, the answer is not there yet
    triggering: int = 0
    triggered: int = 0
    cancelled: int = 0
    #: the target would not take the row; nothing runs
    refused: int = 0
    #: the answer is unknown
    in_doubt: int = 0
    #: rows of the file left out by the policy "drop"; not part of `total`
    left_out: int = 0
    executions: ExecutionCounts = field(default_factory=ExecutionCounts)

    @property
    def percent(self) -> float:
        """`triggered / total` in percent, as the specification's progress bar; 0 for an empty batch."""
        return 100.0 * self.triggered / self.total if self.total else 0.0

    @property
    def in_flight(self) -> int:
        """What the target runs, or may run, by all that is known: the measure of `max_in_flight`."""
        return self.triggering + self.in_doubt + self.executions.open

    @property
    def unsettled(self) -> int:
        """Items that keep a running batch from being completed."""
        return self.pending + self.triggering + self.in_doubt

    def __str__(self) -> str:
        parts = [f"{self.triggered:,} of {self.total:,} triggered ({self.percent:.0f} %)"]
        names = ("pending", "triggering", "cancelled", "refused", "in_doubt")
        parts += [f"{count:,} {name.replace('_', ' ')}" for name in names if (count := getattr(self, name))]
        return ", ".join(parts)
