"""What users are told of a batch by itself: the kinds of notice, and one notice as a value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

__all__ = ["NOTICED", "Notice", "NoticeKind", "notice_kind"]


class NoticeKind(StrEnum):
    """What happened. The words are also the kinds of the log entries that tell it."""

    #: every row is triggered, cancelled or refused
    COMPLETED = "completed"
    #: every outcome is known
    FINISHED = "finished"
    #: it paused itself
    PAUSED = "paused"
    #: it paused itself because too many executions failed
    FAILURE_THRESHOLD = "failure_threshold"


#: log entries of other kinds are never told
NOTICED = tuple(NoticeKind)


def notice_kind(kind: str, actor: str) -> NoticeKind | None:
    """The notice that a log entry of that kind, by that actor, is; None: it is none. What people did is none."""
    return NoticeKind(kind) if actor == "batchkit" and kind in NOTICED else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing that happened to a batch."""

    kind: NoticeKind
    batch_id: str
    #: the batch's name
    name: str
    at: datetime
    #: a sentence for people
    message: str
