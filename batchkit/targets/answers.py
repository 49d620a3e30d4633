"""How an endpoint's answers are read: what succeeded, the result, and what became of an execution. No network here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from batchkit.core.execution import Execution, ExecutionOutcome, ExecutionStatus
from batchkit.errors import ConfigError
from batchkit.targets import wire
from batchkit.targets.connection import short
from batchkit.targets.json_path import Absent, JsonPath
from batchkit.targets.placeholder import text_of

__all__ = ["Answers", "Lookup", "Polling", "read_document"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling:
    """Where to ask what became of an execution, for endpoints that answer before it is done.

    Words are compared without case; every other word counts as still running. Raises ConfigError.
    """

    #: with {{id}} for the execution's id, on the host of the request: "/jobs/{{id}}"
    url: str = field(kw_only=False)
    #: JSON path of the id in the answer to the request
    id: str = "$.id"
    #: JSON path of the word in the answer to the status URL
    status: str = "$.status"
    completed: Sequence[str] = ("completed", "complete", "succeeded", "success", "done", "finished")
    failed: Sequence[str] = ("failed", "failure", "error", "timed_out", "timeout", "expired")
    cancelled: Sequence[str] = ("cancelled", "canceled", "aborted")
    #: seconds between two looks at the open executions; grows while nothing changes
    interval: float = 5.0

    def __post_init__(self) -> None:
        if not self.interval > 0:
            raise ConfigError(f"Polling: interval must be more than 0 seconds, not {self.interval!r}.")
        seen: dict[str, str] = {}
        for name in ("completed", "failed", "cancelled"):
            words = getattr(self, name)
            if isinstance(words, str) or not all(isinstance(word, str) for word in words):
                raise ConfigError(f"Polling: {name} must be a list of words, not {words!r}.")
            object.__setattr__(self, name, tuple(words))
            for word in words:
                if word.casefold() in seen:
                    raise ConfigError(f"Polling: {word!r} is in {seen[word.casefold()]} and in {name}.")
                seen[word.casefold()] = name
        if not self.completed:
            raise ConfigError("Polling: completed has no word, so that no execution would ever be done.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """Where to ask whether a request in doubt arrived, by the key that was sent with it."""

    #: with {{batchkit_key}}, on the host of the request: "/jobs?reference={{batchkit_key}}"
    url: str = field(kw_only=False)
    #: JSON path of the execution's id in the answer; an empty list or null on the way means that there is none
    id: str = "$.id"
    #: seconds until the endpoint is sure to know of a request it took
    delay: float = 120.0

    def __post_init__(self) -> None:
        if not self.delay >= 0:
            raise ConfigError(f"Lookup: delay must be 0 or more seconds, not {self.delay!r}.")


class Answers:
    """Reads one endpoint's answers by the JSON paths given for it. Raises ConfigError for what is no path."""

    def __init__(
        self,
        *,
        result: str,
        error: str,
        success: Mapping[str, Any] | None,
        polling: Polling | None,
        lookup: Lookup | None,
    ) -> None:
        self._result = JsonPath.parse(result, "result")
        self._error = JsonPath.parse(error, "error")
        self._success = [
            (JsonPath.parse(path, "success"), list(wanted) if isinstance(wanted, list | tuple | set) else [wanted])
            for path, wanted in (success or {}).items()
        ]
        self._id = JsonPath.parse(polling.id, "Polling: id") if polling is not None else None
        self._status = JsonPath.parse(polling.status, "Polling: status") if polling is not None else None
        self._found = JsonPath.parse(lookup.id, "Lookup: id") if lookup is not None else None
        self._meanings = _meanings(polling) if polling is not None else {}

    def objection(self, document: Any) -> str:
        """Why an answer is no success, empty if it is one."""
        for path, wanted in self._success:
            value = path.value(document)
            if isinstance(value, Absent) or not any(_same(value, each) for each in wanted):
                found = value.message if isinstance(value, Absent) else f"{path.text} is {text_of(value)!r}."
                return _line(f"{found} {self.error(document)}")
        return ""

    def execution_id(self, document: Any) -> str | None:
        """The id of the execution that the answer to a request names."""
        return None if self._id is None else _identity(self._id.value(document))

    def found_id(self, document: Any) -> str | Absent:
        """The id of the execution that the answer to a lookup names, or why there is none."""
        assert self._found is not None
        value = self._found.value(document)
        if value is None:
            return Absent(message=f"{self._found.text} is null.", empty=True)
        if isinstance(value, Absent):
            return value
        return _identity(value) or Absent(message=f"{self._found.text} is no id.", empty=False)

    def error(self, document: Any) -> str:
        """What an answer says went wrong, in one line; empty where it says nothing."""
        value = self._error.value(document)
        if isinstance(value, dict):
            value = next((value[key] for key in ("message", "detail", "title") if value.get(key)), value)
        return "" if value is None or isinstance(value, Absent) else _line(text_of(value))

    def finished(self, identity: str, document: Any, **known: Any) -> Execution:
        """The execution that an answer is the end of; `known`: its other fields."""
        objection = self.objection(document)
        ended = ExecutionStatus.FAILED if objection else ExecutionStatus.COMPLETED
        return self._ended(identity, ended, document, error=objection, **known)

    def polled(self, identity: str, document: Any, **known: Any) -> Execution:
        """The execution as the answer of the status URL describes it."""
        assert self._status is not None
        word = self._status.value(document)
        if isinstance(word, Absent):
            return Execution(id=identity, status=ExecutionStatus.RUNNING, reasoning=_line(word.message), **known)
        status = self._meanings.get(text_of(word).strip().casefold())
        if status is None:
            said = f"The endpoint says {_line(text_of(word))!r}."
            return Execution(id=identity, status=ExecutionStatus.RUNNING, reasoning=said, **known)
        failed = status is not ExecutionStatus.COMPLETED
        error = (self.error(document) or f"The endpoint says {_line(text_of(word))!r}.") if failed else ""
        return self._ended(identity, status, document, error=error, finished_at=datetime.now(UTC), **known)

    def _ended(self, identity: str, status: ExecutionStatus, document: Any, *, error: str, **known: Any) -> Execution:
        result = self._result.value(document)
        done = status is ExecutionStatus.COMPLETED
        return Execution(
            id=identity,
            status=status,
            outcome=ExecutionOutcome.SUCCESS if done else None,
            reasoning=_line(result.message) if isinstance(result, Absent) and done else "",
            result=None if isinstance(result, Absent) else result,
            error=error,
            **known,
        )


def read_document(content: bytes) -> Any:
    """The JSON value of an answer; its text where it is not JSON, None where it is empty."""
    try:
        return wire.parse(content)
    except ValueError:
        return content.decode(errors="replace") or None


def _identity(value: Any) -> str | None:
    """An id as text; numbers serve as well."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    return text if text and text.isprintable() else None


def _line(text: str) -> str:
    """A foreign text in one short line that any store can keep."""
    return short(text).encode(errors="replace").decode()


def _same(value: Any, wanted: Any) -> bool:
    """Whether two JSON values are the same; true is not 1."""
    return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)


def _meanings(polling: Polling) -> dict[str, ExecutionStatus]:
    words = (
        (ExecutionStatus.COMPLETED, polling.completed),
        (ExecutionStatus.FAILED, polling.failed),
        (ExecutionStatus.CANCELLED, polling.cancelled),
    )
    return {word.strip().casefold(): status for status, some in words for word in some}
