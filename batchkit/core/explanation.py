"""Why a scheduled execution is where it is: what holds it back, or when it was done with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Mapping as MappingLike
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from batchkit.core.lifecycle import BatchStatus, ItemStatus
from batchkit.core.profile import waits_for_profile
from batchkit.core.record import BatchRecord, Event, ItemRecord

__all__ = ["Explanation", "Fact", "Hold", "explain"]

Fact = str | int | float | datetime | None

_PAUSES = ("paused", "failure_threshold")


class Hold(StrEnum):
    """What a row waits for, or that it waits for nothing any more."""

    #: it was triggered, cancelled or refused
    NOTHING = "nothing"
    #: its request is on its way
    ANSWER = "answer"
    #: its answer is unknown, and it is looked up when it is sure to be listed
    LOOKUP = "lookup"
    #: its answer is unknown, and the target cannot look it up
    DECISION = "decision"
    #: the batch has not started
    START = "start"
    PAUSE = "pause"
    #: whoever ran the batch is gone
    INTERRUPTION = "interruption"
    #: the first rows are tried before it
    TRIAL = "trial"
    #: its scheduled time
    TIME = "time"
    #: the time its own row gives
    OWN_TIME = "own_time"
    #: the target asked to wait, or cannot be reached
    TARGET = "target"
    WORKING_HOURS = "working_hours"
    #: as many executions as may be are not finished
    IN_FLIGHT = "in_flight"
    #: other executions use the profile, or all of the pool, and not more may
    PROFILE = "profile"
    #: one interval from the last group
    INTERVAL = "interval"
    #: rows before it, and then nothing
    TURN = "turn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why one item is where it is. Printed, it is its sentence."""

    item: int
    hold: Hold
    #: for people; times are UTC
    sentence: str
    #: when the hold ends by itself; None: it does not, or nobody knows
    until: datetime | None = None
    facts: MappingLike[str, Fact] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.sentence


def explain(
    batch: BatchRecord, item: ItemRecord, now: datetime, *, ahead: int | None = 0, events: Sequence[Event] = ()
) -> Explanation:
    """Return why `item` is where it is at `now`.

    ahead: pending items that are sent before it; None: not counted. events: of the batch's log, oldest first, the
    last pause among them.
    """
    said = _by_status.get(item.status)
    if said is not None:
        return said(batch, item)
    if batch.status is BatchStatus.PAUSED:
        return _paused(batch, item, events)
    for check in _CHECKS:
        found = check(batch, item, now)
        if found is not None:
            return found
    if ahead is None:
        rows = "Rows that are due before it are sent first."
    else:
        rows = f"{ahead:,} rows are sent before it." if ahead else "It is the next."
    return _said(item, Hold.TURN, f"It is due. {rows}", None, ahead=ahead, execute_at=item.execute_at)


# Items that are not pending


def _triggered(_batch: BatchRecord, item: ItemRecord) -> Explanation:
    execution = item.execution
    sentence = f"It was triggered at {_time(item.triggered_at)}."
    facts: dict[str, Fact] = {"triggered_at": item.triggered_at}
    if execution is not None:
        words = {"waiting": "waits for a person", "running": f"is {execution.status}"}
        ended = "" if execution.finished_at is None else f" at {_time(execution.finished_at)}"
        done = f"{'was cancelled' if execution.standing == 'cancelled' else execution.standing}{ended}"
        sentence += f" Its execution {words.get(execution.standing, done)}."
        facts |= {"execution": execution.id, "execution_status": execution.status.value, "url": execution.url}
        facts |= {"finished_at": execution.finished_at}
        if execution.standing == "waiting" and execution.url:
            sentence += f" There: {execution.url}"
    if item.timed_out:
        sentence += " It is past the batch's deadline and not waited for any longer."
    return _said(item, Hold.NOTHING, sentence, None, **facts)


def _cancelled(_batch: BatchRecord, item: ItemRecord) -> Explanation:
    return _said(item, Hold.NOTHING, "It was cancelled before it was triggered.", None)


def _refused(_batch: BatchRecord, item: ItemRecord) -> Explanation:
    sentence = f"The target refused it at {_time(item.intent_at)}: {item.error}"
    return _said(item, Hold.NOTHING, sentence, None, error=item.error, sent_at=item.intent_at)


def _triggering(_batch: BatchRecord, item: ItemRecord) -> Explanation:
    sentence = f"It is being sent, since {_time(item.intent_at)}; its answer is not there yet."
    return _said(item, Hold.ANSWER, sentence, None, sent_at=item.intent_at, attempt=item.attempt)


def _in_doubt(batch: BatchRecord, item: ItemRecord) -> Explanation:
    facts: dict[str, Fact] = {"error": item.error, "sent_at": item.intent_at}
    if item.settle_at is None:
        sentence = (
            f"It may have run: {item.error} The target cannot look it up; decide with "
            f'batch.settle({item.item}, "retry") or batch.settle({item.item}, "skip").'
        )
        return _said(item, Hold.DECISION, sentence, None, **facts)
    by = "" if batch.runner_alive else " by whoever takes the batch over"
    sentence = f"It may have run: {item.error} It is looked up{by}, not before {_time(item.settle_at)}."
    return _said(item, Hold.LOOKUP, sentence, item.settle_at, **facts)


_by_status: dict[ItemStatus, Callable[[BatchRecord, ItemRecord], Explanation]] = {
    ItemStatus.TRIGGERED: _triggered,
    ItemStatus.CANCELLED: _cancelled,
    ItemStatus.REFUSED: _refused,
    ItemStatus.TRIGGERING: _triggering,
    ItemStatus.IN_DOUBT: _in_doubt,
}

# Pending items of a batch that is not paused: the first that applies is said


def _paused(batch: BatchRecord, item: ItemRecord, events: Sequence[Event]) -> Explanation:
    last = next((event for event in reversed(events) if event.kind in _PAUSES and event.item is None), None)
    by = "" if last is None else f" by {last.actor}"
    when = "" if last is None else f" at {_time(last.at)}"
    sentence = f"The batch paused itself{when}." if batch.reason else f"The batch was paused{by}{when}."
    why = f" {batch.reason}" if batch.reason else ""
    facts: dict[str, Fact] = {"reason": batch.reason}
    if last is not None:
        facts |= {"paused_by": last.actor, "paused_at": last.at}
    return _said(item, Hold.PAUSE, f"{sentence}{why} batch.resume() goes on.", None, **facts)


def _not_started(batch: BatchRecord, item: ItemRecord, _now: datetime) -> Explanation | None:
    if batch.status is not BatchStatus.PENDING:
        return None
    sentence = f"The batch starts at {_time(batch.start_at)}; this row is due at {_time(item.execute_at)}."
    return _said(item, Hold.START, sentence, item.execute_at, start_at=batch.start_at, execute_at=item.execute_at)


def _interrupted(batch: BatchRecord, item: ItemRecord, _now: datetime) -> Explanation | None:
    if not batch.interrupted:
        return None
    return _said(item, Hold.INTERRUPTION, "Whoever ran the batch is gone. batch.take_over() continues it.", None)


def _tried(batch: BatchRecord, item: ItemRecord, _now: datetime) -> Explanation | None:
    if not batch.trial or item.item < batch.trial:
        return None
    sentence = f"The first {batch.trial:,} rows are tried before it; then the batch pauses until it is resumed."
    return _said(item, Hold.TRIAL, sentence, None, trial=batch.trial)


def _too_early(batch: BatchRecord, item: ItemRecord, now: datetime) -> Explanation | None:
    if item.execute_at <= now:
        return None
    facts: dict[str, Fact] = {"execute_at": item.execute_at, "not_before": item.not_before}
    if item.not_before is not None and item.not_before > now:
        sentence = f"Its row says not before {_time(item.not_before)}; it is due at {_time(item.execute_at)}."
        return _said(item, Hold.OWN_TIME, sentence, item.execute_at, **facts)
    hours = batch.flow.working_hours
    outside = hours is not None and not batch.trial and not hours.is_open(now)
    note = f" The working hours are {hours}." if outside else ""
    by = ", as set by hand" if item.by_hand else ""
    sentence = f"It is due at {_time(item.execute_at)}{by}.{note}"
    return _said(item, Hold.WORKING_HOURS if outside else Hold.TIME, sentence, item.execute_at, **facts)


def _target_waits(batch: BatchRecord, item: ItemRecord, now: datetime) -> Explanation | None:
    if not batch.reason or batch.gate_at is None or batch.gate_at <= now:
        return None
    sentence = f"It is due, and waits until {_time(batch.gate_at)}. {batch.reason}"
    return _said(item, Hold.TARGET, sentence, batch.gate_at, reason=batch.reason, gate_at=batch.gate_at)


def _no_profile(_batch: BatchRecord, item: ItemRecord, _now: datetime) -> Explanation | None:
    if not waits_for_profile(item.error):
        return None
    return _said(item, Hold.PROFILE, f"It is due. {item.error}", None, reason=item.error)


def _outside_hours(batch: BatchRecord, item: ItemRecord, now: datetime) -> Explanation | None:
    hours = batch.flow.working_hours
    if hours is None or batch.trial or hours.is_open(now):
        return None
    opens = hours.next_open(now)
    sentence = f"It is due, and the working hours are {hours}; they begin at {_time(opens)}."
    return _said(item, Hold.WORKING_HOURS, sentence, opens, opens_at=opens, working_hours=str(hours))


def _no_room(batch: BatchRecord, item: ItemRecord, _now: datetime) -> Explanation | None:
    if batch.room != 0:
        return None
    limit, in_flight = batch.flow.max_in_flight, batch.progress.in_flight
    sentence = f"It is due, and {in_flight:,} executions have not finished; {limit:,} may be in flight at a time."
    return _said(item, Hold.IN_FLIGHT, sentence, None, in_flight=in_flight, max_in_flight=limit)


def _by_rate(batch: BatchRecord, item: ItemRecord, now: datetime) -> Explanation | None:
    if batch.gate_at is None or batch.gate_at <= now:
        return None
    pace = batch.pace
    sentence = (
        f"It is due, and the next group starts at {_time(batch.gate_at)}: {pace.max_concurrent:,} rows every "
        f"{pace.batch_interval:g} s."
    )
    return _said(item, Hold.INTERVAL, sentence, batch.gate_at, gate_at=batch.gate_at)


_CHECKS = (
    _not_started,
    _interrupted,
    _tried,
    _too_early,
    _no_profile,
    _target_waits,
    _outside_hours,
    _no_room,
    _by_rate,
)


def _said(item: ItemRecord, hold: Hold, sentence: str, until: datetime | None, **facts: Fact) -> Explanation:
    return Explanation(item=item.item, hold=hold, sentence=sentence, until=until, facts=facts)


def _time(moment: datetime | None) -> str:
    return "an unknown time" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"
