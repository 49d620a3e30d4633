"""The demo platform's own log of execute requests: what tests hold against what a client says it sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batchkit.targets.demo.executions import from_micros

__all__ = ["ExecuteRequest", "RequestLog"]

#: older requests are forgotten, but counted
_LIMIT = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecuteRequest:
    """One execute request as the server saw it."""

    #: 1 for the first since the server started
    number: int
    #: wall clock at arrival, UTC
    at: datetime
    #: the same moment on the machine's monotonic clock, seconds
    monotonic: float
    agent_id: str
    #: as sent; empty where the body was not read or was not as agreed
    metadata: Mapping[str, str]
    inputs: Mapping[str, Any]
    #: what it was answered with, in whole or in part; None: not (yet) answered
    status: int | None
    #: the execution it created; None: it created none
    execution_id: str | None

    def as_document(self) -> dict[str, Any]:
        """The entry as JSON."""
        return {
            "number": self.number,
            "at": self.at.isoformat(),
            "monotonic": self.monotonic,
            "agentId": self.agent_id,
            "metadata": dict(self.metadata),
            "inputs": dict(self.inputs),
            "status": self.status,
            "executionId": self.execution_id,
        }


class RequestLog:
    """Execute requests in the order of their arrival. Written by the server, readable from any thread."""

    def __init__(self) -> None:
        self._count = 0
        #: number to (wall clock in microseconds, monotonic clock in seconds, agent id)
        self._arrivals: dict[int, tuple[int, float, str]] = {}
        self._bodies: dict[int, Mapping[str, Any]] = {}
        self._statuses: dict[int, int] = {}
        self._executions: dict[int, str] = {}

    @property
    def count(self) -> int:
        """How many arrived since the server started, those forgotten included."""
        return self._count

    def __len__(self) -> int:
        return len(self._arrivals)

    def __iter__(self) -> Iterator[ExecuteRequest]:
        return iter(self.since(0))

    def __repr__(self) -> str:
        return f"<RequestLog: {self._count} execute requests>"

    def since(self, number: int) -> list[ExecuteRequest]:
        """The requests after request `number`."""
        return [self._entry(key, arrival) for key, arrival in list(self._arrivals.items()) if key > number]

    def arrived(self, agent_id: str, at: int, monotonic: float) -> int:
        """Note a request, and return its number. at: microseconds since 1970."""
        self._count += 1
        self._arrivals[self._count] = (at, monotonic, agent_id)
        oldest = self._count - _LIMIT
        if oldest > 0:
            for notes in (self._arrivals, self._bodies, self._statuses, self._executions):
                notes.pop(oldest, None)
        return self._count

    def note_body(self, number: int, body: Mapping[str, Any]) -> None:
        """Add what a request asked for."""
        self._bodies[number] = body

    def note_status(self, number: int, status: int) -> None:
        """Add what a request was answered with."""
        self._statuses[number] = status

    def note_execution(self, number: int, execution_id: str) -> None:
        """Add the execution a request created."""
        self._executions[number] = execution_id

    def _entry(self, number: int, arrival: tuple[int, float, str]) -> ExecuteRequest:
        at, monotonic, agent_id = arrival
        body = self._bodies.get(number, {})
        metadata, inputs = body.get("metadata"), body.get("inputs")
        return ExecuteRequest(
            number=number,
            at=from_micros(at),
            monotonic=monotonic,
            agent_id=agent_id,
            metadata=metadata if isinstance(metadata, dict) else {},
            inputs=inputs if isinstance(inputs, dict) else {},
            status=self._statuses.get(number),
            execution_id=self._executions.get(number),
        )
