"""The platform's webhooks, version 2, to what they say of an execution. No network here.

Signed or not, what is read here comes from outside: nothing in it may do more than be refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from batchkit.core.execution import Execution, ExecutionOutcome, ExecutionStatus
from batchkit.core.heard import Heard
from batchkit.core.request import ATTEMPT_KEY, BATCH_KEY, ITEM_KEY
from batchkit.targets import wire

__all__ = ["read_webhook"]

#: of an id
_LONGEST = 200
#: of a number in metadata; more does not fit into the store
_LARGEST = 2**31 - 1
#: of a text that is shown to people
_LONGEST_TEXT = 20_000
_DEEPEST = 100
#: a sender's clock may be so far ahead
_SKEW = timedelta(minutes=5)

#: the event's name in one spelling, and the status it leads to
_EVENTS = {
    "executionstarted": ExecutionStatus.RUNNING,
    "executionresumed": ExecutionStatus.RUNNING,
    "executionpaused": ExecutionStatus.PAUSED,
    "executionpausedbyagent": ExecutionStatus.PAUSED_BY_AGENT,
    "executionawaitingconfirmation": ExecutionStatus.AWAITING_CONFIRMATION,
    "executioncompleted": ExecutionStatus.COMPLETED,
    "executionfailed": ExecutionStatus.FAILED,
    "executioncancelled": ExecutionStatus.CANCELLED,
}
_STARTED = "executionstarted"
#: where a payload says what went wrong
_REASONS = ("reason", "error", "failure", "message")


def read_webhook(body: bytes, now: datetime) -> Heard | None:
    """What a webhook says, None if it is about something else. Raises ValueError, for the sender, if it is none.

    Both spellings of events: EXECUTION_COMPLETED and ExecutionCompleted.
    """
    try:
        document = wire.parse(body)
    except ValueError as exc:
        raise ValueError("The body is not JSON.") from exc
    if not isinstance(document, dict) or not isinstance(document.get("type"), str):
        raise ValueError("The body is not a webhook of version 2: an object with type, event_id, timestamp and info.")
    if document["type"] != "execution":
        return None
    info = document.get("info")
    if not isinstance(info, dict) or not isinstance(info.get("event"), str):
        raise ValueError("info must be an object with an event.")
    event = info["event"].replace("_", "").casefold()
    if event not in _EVENTS:
        return None
    batch_id, item, attempt = _place(info.get("metadata"))
    return Heard(
        event_id=_id(document, "event_id"),
        at=_time(document.get("timestamp"), now),
        execution=_execution(info, _EVENTS[event]),
        began=event == _STARTED,
        batch_id=batch_id,
        item=item,
        attempt=attempt,
    )


def _execution(info: Mapping[str, Any], status: ExecutionStatus) -> Execution:
    payload = info.get("payload")
    payload = payload if isinstance(payload, dict) else {}
    _check_depth(payload)
    reasoning, outcome = _text(payload.get("reasoning")), payload.get("outcome")
    error = ""
    if status in (ExecutionStatus.FAILED, ExecutionStatus.CANCELLED):
        error = next((text for key in _REASONS if (text := _text(payload.get(key)))), reasoning)
    link = _text(info.get("execution_url"))
    return Execution(
        id=_id(info, "execution_id"),
        status=status,
        outcome=ExecutionOutcome(outcome) if outcome in ("success", "failure") else None,
        reasoning=reasoning,
        result=payload.get("result") if status.terminal else None,
        error=error,
        url=link if link.startswith(("https://", "http://")) else "",
    )


def _place(metadata: object) -> tuple[str, int, int]:
    """Batch, item and attempt that batchkit's own metadata names; ("", -1, -1) where they do not."""
    if not isinstance(metadata, dict):
        return "", -1, -1
    batch_id = metadata.get(BATCH_KEY)
    item, attempt = (_number(metadata.get(key)) for key in (ITEM_KEY, ATTEMPT_KEY))
    if not isinstance(batch_id, str) or not batch_id or item is None or attempt is None:
        return "", -1, -1
    return batch_id[:_LONGEST], item, attempt


def _number(value: object) -> int | None:
    if not isinstance(value, str) or not (value.isascii() and value.isdigit()) or len(value) > len(str(_LARGEST)):
        return None
    number = int(value)
    return number if number <= _LARGEST else None


def _id(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST or not value.isprintable():
        raise ValueError(f"{key} must be a text of 1 to {_LONGEST} printable characters.")
    return value


def _text(value: object) -> str:
    return value[:_LONGEST_TEXT] if isinstance(value, str) else ""


def _time(value: object, now: datetime) -> datetime:
    """When it happened; `now` where it does not say so or says what cannot be."""
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else now
        time = (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return now
    return time if time <= now + _SKEW else now


def _check_depth(value: object) -> None:
    """Raise ValueError for what is nested so deeply that whoever writes it down or shows it could fail."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
    raise ValueError(f"The payload is nested more than {_DEEPEST} levels deep.")
