"""Why a row of the table is not done with, in the page's words: for every hold of `core.explanation` a line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from batchkit.core.execution import ExecutionStatus
from batchkit.core.explanation import Explanation, Fact, Hold

__all__ = ["Waiting", "waiting_for_person", "waiting_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A line in up to three parts: the page shows the time in its user's zone."""

    before: str
    at: datetime | None = None
    after: str = ""

    def to_json(self) -> dict[str, str]:
        """The line as JSON values."""
        at = "" if self.at is None else self.at.isoformat()
        return {"before": self.before, "at": at, "after": self.after}


def waiting_of(why: Explanation) -> Waiting | None:
    """The line of a row that is explained so; None: it is done with."""
    say = _LINES.get(why.hold)
    return None if say is None else say(why)


def waiting_for_person(status: ExecutionStatus) -> Waiting:
    """The line of a row whose execution stands still until a person acts."""
    return Waiting(before=f"{str(status).replace('_', ' ').capitalize()}: a person has to act.")


def _line(before: str, after: str = "") -> Callable[[Explanation], Waiting]:
    """A line that is always the same, with the hold's end between `before` and `after` where it is known."""

    def say(why: Explanation) -> Waiting:
        return Waiting(before=before, at=why.until, after=after)

    return say


def _paused(why: Explanation) -> Waiting:
    reason, who, at = why.facts.get("reason"), why.facts.get("paused_by"), _moment(why.facts.get("paused_at"))
    if reason:
        return Waiting(before=f"The batch paused itself. {reason}")
    by = f" by {who}" if who else ""
    return Waiting(before=f"Paused{by} at" if at else f"Paused{by}.", at=at, after="." if at else "")


def _tried_first(why: Explanation) -> Waiting:
    trial = int(str(why.facts["trial"]))
    return Waiting(before=f"The first {f'{trial:,} rows are' if trial > 1 else 'row is'} tried before it.")


def _sent(why: Explanation) -> Waiting:
    return Waiting(before="Being sent since", at=_moment(why.facts.get("sent_at")), after=".")


def _asked_to_wait(why: Explanation) -> Waiting:
    return Waiting(before="Waits until", at=why.until, after=f". {why.facts['reason']}")


def _in_flight(why: Explanation) -> Waiting:
    most, open_ = why.facts["max_in_flight"], why.facts["in_flight"]
    unfinished = "execution is" if open_ == 1 else "executions are"
    return Waiting(before=f"{open_:,} {unfinished} not finished, and {most:,} may be in flight at a time.")


def _profile(why: Explanation) -> Waiting:
    return Waiting(before=str(why.facts["reason"]))


def _turn(why: Explanation) -> Waiting:
    ahead = why.facts["ahead"]
    if ahead is None:
        return Waiting(before="Due, after the rows that are due before it.")
    if not ahead:
        return Waiting(before="Due, and the next.")
    rows = "1 row that is" if ahead == 1 else f"{ahead:,} rows that are"
    return Waiting(before=f"Due, after {rows} sent before it.")


def _hours(why: Explanation) -> Waiting:
    opens = _moment(why.facts.get("opens_at"))
    before = "Due, outside the working hours, which begin" if opens else "Outside the working hours; due"
    return Waiting(before=before, at=why.until, after=".")


def _moment(fact: Fact) -> datetime | None:
    return fact if isinstance(fact, datetime) else None


_LINES: dict[Hold, Callable[[Explanation], Waiting]] = {
    Hold.ANSWER: _sent,
    Hold.LOOKUP: _line("May have run; looked up from", " on."),
    Hold.DECISION: _line("May have run, and cannot be looked up: retry or skip it."),
    Hold.START: _line("The batch has not started; due", "."),
    Hold.PAUSE: _paused,
    Hold.INTERRUPTION: _line("Nobody runs the batch: it was interrupted."),
    Hold.TRIAL: _tried_first,
    # The time itself stands beside it.
    Hold.TIME: lambda _: Waiting(before="Waits for its scheduled time."),
    Hold.OWN_TIME: _line("Its row has a time of its own; due", "."),
    Hold.TARGET: _asked_to_wait,
    Hold.WORKING_HOURS: _hours,
    Hold.IN_FLIGHT: _in_flight,
    Hold.PROFILE: _profile,
    Hold.INTERVAL: _line("Due; the next group starts", "."),
    Hold.TURN: _turn,
}
