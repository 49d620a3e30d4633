"""What a webhook says of an execution, and how that fits to what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from batchkit.core.execution import Execution, ExecutionStatus

__all__ = ["Heard", "Hearing", "told"]

_NOT_BEGUN = (ExecutionStatus.QUEUED, ExecutionStatus.STARTING)


class Hearing(StrEnum):
    """What was done with a webhook."""

    APPLIED = "applied"
    #: something newer is known already
    OUTDATED = "outdated"
    #: it came before
    DUPLICATE = "duplicate"
    #: its execution is not known yet
    KEPT = "kept"
    #: it is about nothing that this store has
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One webhook about one execution."""

    #: the same in every copy of it
    event_id: str
    #: when it happened, by the sender's clock
    at: datetime
    #: as far as the webhook tells; times, profile and link may be missing
    execution: Execution
    #: it only says that the execution has begun
    began: bool = False
    #: from the execution's metadata; "" and -1: it has none of batchkit's
    batch_id: str = ""
    item: int = -1
    attempt: int = -1


def told(known: Execution, news: Heard, last: datetime | None) -> Execution | None:
    """Return what is known of an execution after `news`; None: no more than before.

    last: `at` of the newest webhook about it that was applied. An end is final. "It has begun" moves only what has
    not; between waiting, paused and running the newest webhook counts, in whatever order they come.
    """
    said = news.execution
    if known.status.terminal:
        return None
    if not said.status.terminal:
        if news.began and known.status not in _NOT_BEGUN:
            return None
        if last is not None and news.at < last:
            return None
    return replace(
        known,
        status=said.status,
        outcome=said.outcome or known.outcome,
        reasoning=said.reasoning or known.reasoning,
        result=known.result if said.result is None else said.result,
        error=said.error or known.error,
        url=known.url or said.url,
        started_at=known.started_at or (news.at if news.began else None),
        finished_at=news.at if said.status.terminal else None,
    )
