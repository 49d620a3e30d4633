"""Executions: what a target runs for one triggered row, as far as it tells."""

from __future__ import annotations

from collections.abc import Mapping as MappingLike
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

__all__ = ["LOST", "Execution", "ExecutionOutcome", "ExecutionStatus"]


#: the error of an execution that ran in a process which is gone; should it report after all, that counts
LOST = "The process that ran it ended before it had finished. What it did until then is not known."


class ExecutionStatus(StrEnum):
    """The platform's own words (platform API, "Execution statuses")."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    PAUSED_BY_AGENT = "paused_by_agent"
    AWAITING_CONFIRMATION = "awaiting_confirmation"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether the execution will not change any more."""
        return self in (ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.CANCELLED)

    @property
    def needs_person(self) -> bool:
        """Whether it stands still until a person acts."""
        return self in (ExecutionStatus.PAUSED_BY_AGENT, ExecutionStatus.AWAITING_CONFIRMATION)


class ExecutionOutcome(StrEnum):
    """What a completed execution says of its task."""

    SUCCESS = "success"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One execution as the target last described it."""

    id: str
    status: ExecutionStatus
    #: None: not finished, or the target does not say
    outcome: ExecutionOutcome | None = None
    reasoning: str = ""
    #: any JSON value
    result: Any = None
    #: what went wrong, in the target's words
    error: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    #: where a person can look at it
    url: str = ""
    profile_name: str = ""
    #: string keys and values, with batchkit's own among them
    metadata: MappingLike[str, str] = field(default_factory=dict)

    @property
    def standing(self) -> Literal["running", "waiting", "succeeded", "failed", "cancelled"]:
        """In which of `ExecutionCounts` it is counted."""
        if self.status is ExecutionStatus.COMPLETED:
            return "failed" if self.outcome is ExecutionOutcome.FAILURE else "succeeded"
        if self.status is ExecutionStatus.FAILED:
            return "failed"
        if self.status is ExecutionStatus.CANCELLED:
            return "cancelled"
        return "waiting" if self.status.needs_person else "running"
