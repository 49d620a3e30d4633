"""The platform's JSON to core values and back (specification: platform API). No network here.

Everything read here comes from outside: what is missing or of another type becomes the value's default where batchkit
can go on without it, and a TargetError where it cannot.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from batchkit.core.agent import Agent, InputVariable, WorkflowVersion
from batchkit.core.execution import Execution, ExecutionOutcome, ExecutionStatus
from batchkit.core.profile import AgentProfile, ProfilePool, SelectionStrategy
from batchkit.core.request import TriggerRequest
from batchkit.errors import ConfigError, TargetError

__all__ = [
    "execute_body",
    "parse",
    "read_agent",
    "read_execution",
    "read_inputs",
    "read_pool",
    "read_problem",
    "read_profile",
    "read_retry_after",
    "read_status",
    "read_versions",
    "time_text",
]

#: seconds; a target that asks for longer is asked again after this
_LONGEST_WAIT = 3600.0
#: by the standard a whole number; some servers are more exact
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")

_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_DECODER = json.JSONDecoder(parse_constant=lambda _: None)


def execute_body(request: TriggerRequest, *, on_capacity_limit: str = "reject") -> bytes:
    """The body of an execute call; the documented names of the profile fields, not the newer ones.

    Raises TypeError or ValueError for inputs that JSON cannot hold.
    """
    body: dict[str, Any] = {"inputs": dict(request.inputs), "metadata": request.all_metadata}
    if request.version is not None:
        body["version"] = request.version
    if request.profile is not None:
        body["agentProfilePoolId" if request.profile.is_pool else "agentProfileId"] = request.profile.id
    if on_capacity_limit != "reject":
        body["onCapacityLimit"] = on_capacity_limit
    return _ENCODER.encode(body).encode()


def parse(content: bytes) -> Any:
    """The JSON value in `content`, with null for the NaN and Infinity that are not JSON. Raises ValueError."""
    try:
        return _DECODER.decode(content.decode(json.detect_encoding(content)))
    except RecursionError as exc:
        raise ValueError("it is nested too deeply") from exc


def read_agent(item: Mapping[str, Any]) -> Agent:
    """An agent of the list: its name and id."""
    return Agent(name=_text(item, "name") or _id(item, "agent"), id=_id(item, "agent"))


def read_versions(items: Sequence[Mapping[str, Any]]) -> list[WorkflowVersion]:
    """An agent's workflow versions, newest first."""
    versions = [
        WorkflowVersion(
            version=_whole_number(item, "version"),
            id=_id(item, "workflow version"),
            published=item.get("isPublished") is True,
            created_at=_time(item, "createdAt"),
        )
        for item in items
    ]
    return sorted(versions, key=lambda version: version.version, reverse=True)


def read_inputs(items: Sequence[Mapping[str, Any]]) -> tuple[InputVariable, ...]:
    """The input variables of one workflow version, in the platform's order."""
    inputs = tuple(_read_input(item) for item in items)
    names = [variable.name for variable in inputs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TargetError(
            f"The agent declares an input variable twice: {', '.join(twice)}. Rename one on the platform."
        )
    return inputs


def read_profile(item: Mapping[str, Any]) -> AgentProfile:
    """An agent profile, without its credentials."""
    return AgentProfile(name=_text(item, "name"), id=_id(item, "agent profile"))


def read_pool(item: Mapping[str, Any]) -> ProfilePool:
    """A pool of agent profiles; a strategy unknown to batchkit counts as the default one."""
    strategy = _text(item, "selectionStrategy")
    known = strategy in SelectionStrategy.__members__.values()
    return ProfilePool(
        name=_text(item, "name"),
        id=_id(item, "profile pool"),
        strategy=SelectionStrategy(strategy) if known else SelectionStrategy.LEAST_RECENTLY_USED,
        concurrent_use=item.get("allowConcurrentUse") is True,
    )


def read_execution(item: Mapping[str, Any]) -> Execution:
    """An execution of the list.

    A status word unknown to batchkit counts as running, so that it is asked for again; `reasoning` then shows it.
    `error` is the platform's reasoning of an execution that failed or was cancelled.
    """
    status = read_status(item.get("status"))
    result = item.get("executionResult")
    result = result if isinstance(result, dict) else {}
    reasoning = _text(result, "reasoning")
    outcome = result.get("outcome")
    if status is None:
        reasoning = reasoning or f"The platform says {item.get('status')!r}."
    return Execution(
        id=_id(item, "execution"),
        status=status or ExecutionStatus.RUNNING,
        outcome=ExecutionOutcome(outcome) if outcome in ("success", "failure") else None,
        reasoning=reasoning,
        result=result.get("result"),
        error=reasoning if status in (ExecutionStatus.FAILED, ExecutionStatus.CANCELLED) else "",
        created_at=_time(item, "createdAt"),
        started_at=_time(item, "startedAt"),
        finished_at=_time(item, "terminalAt"),
        url=_web_address(item, "platformUrl"),
        profile_name=_text(item, "agentProfileName") or _text(item, "profileName"),
        metadata=_metadata(item),
    )


def read_status(word: object) -> ExecutionStatus | None:
    """The status of that name; None for a word unknown to batchkit."""
    known = isinstance(word, str) and word in ExecutionStatus.__members__.values()
    return ExecutionStatus(str(word)) if known else None


def read_problem(status: int, content: bytes) -> str:
    """What an error answer says, with the parameters it names; the status alone where it says nothing readable."""
    try:
        body = parse(content)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        # Not cut here: half a secret at the end would not be found any more.
        text = content.decode(errors="replace").strip()
        return text if text and not text.startswith("<") else f"HTTP status {status}"
    message = _text(body, "message") or _text(body, "detail") or _text(body, "title") or f"HTTP status {status}"
    errors = body.get("errors")
    for error in errors if isinstance(errors, list) else ():
        if isinstance(error, dict) and (detail := _text(error, "detail")) not in message:
            message += f"; {_text(error, 'parameter')}: {detail}"
    if "limit" in body and "used" in body and str(body["limit"]) not in message:
        message += f" ({body['used']} of {body['limit']} {_text(body, 'capability')} in use)"
    return message


def read_retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to wait, from 0 to an hour, as the header Retry-After says: seconds or a date. None: it says nothing.

    A date counts from the server's own clock where the answer has its date, else from `now`.
    """
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), _LONGEST_WAIT)
    until = _http_date(text)
    if until is None:
        return None
    seconds = (until - (_http_date(headers.get("date", "")) or now)).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_WAIT)


def time_text(time: datetime) -> str:
    """An aware time as the platform's filters take it: RFC 3339, UTC."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _read_input(item: Mapping[str, Any]) -> InputVariable:
    schema = item.get("schema")
    try:
        return InputVariable(
            _text(item, "name"),
            schema=schema if isinstance(schema, dict) else {},
            required=item.get("required") is True,
            default=item.get("defaultValue"),
            description=_text(item, "description"),
        )
    except ConfigError as exc:
        raise TargetError(f"The agent declares an input variable that cannot be used: {exc}") from exc


def _id(item: Mapping[str, Any], what: str) -> str:
    identity = item.get("id")
    if not isinstance(identity, str) or not identity:
        raise TargetError(f"The platform listed an {what} without an id: batchkit cannot work with it.")
    return identity


def _text(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key)
    return value if isinstance(value, str) else ""


def _whole_number(item: Mapping[str, Any], key: str) -> int:
    value = item.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TargetError(f"The platform listed a workflow version whose {key} is {value!r}, not a whole number.")
    return value


def _time(item: Mapping[str, Any], key: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(_text(item, key))
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _web_address(item: Mapping[str, Any], key: str) -> str:
    """A link a person may click; nothing else that a server could put there."""
    address = _text(item, key)
    return address if address.startswith(("https://", "http://")) else ""


def _metadata(item: Mapping[str, Any]) -> dict[str, str]:
    metadata = item.get("metadata")
    return {str(key): str(value) for key, value in metadata.items()} if isinstance(metadata, dict) else {}


def _http_date(text: str) -> datetime | None:
    try:
        time = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
