"""What can go wrong with the demo platform on purpose, settable at run time from any thread."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from threading import Lock
from typing import Any

from batchkit.errors import ConfigError

__all__ = ["Fault", "FaultKind", "FaultScope", "Faults", "Moment", "WebhookFaults"]

_DELAYS = ("latency", "answer_delay", "body_delay", "other_latency", "listing_delay")
_STRIKES = ("rate_limit", "server_error", "drop", "garble", "webhooks")


class FaultScope(StrEnum):
    """Which requests a fault is for."""

    EXECUTE = "execute"
    #: everything under /agents/v2 but execute
    OTHER = "other"
    ALL = "all"


class FaultKind(StrEnum):
    """What goes wrong."""

    #: an error is answered
    ANSWER = "answer"
    #: the connection is closed
    DROP = "drop"
    #: a success is answered with a body that is not JSON
    GARBLE = "garble"


class Moment(StrEnum):
    """When it goes wrong."""

    #: before anything is done with the request; a dropped one is not even read
    BEFORE = "before"
    #: after the request was accepted: the execution exists
    ACCEPTED = "accepted"
    #: half-way through the answer, after the request was accepted
    HALF = "half"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault and how often it strikes."""

    kind: FaultKind
    moment: Moment
    scope: FaultScope = FaultScope.EXECUTE
    #: part of the requests it strikes, 0 to 1
    share: float = 1.0
    #: how often it strikes before it is used up; None: for ever
    count: int | None = None
    #: of the answer
    status: int = 500
    #: seconds, sent as a Retry-After header; None: not sent
    retry_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookFaults:
    """What goes wrong with webhooks. All but `shuffle` are shares, 0 to 1. Raises ConfigError for others."""

    #: sent a second time
    duplicate: float = 0.0
    #: never sent
    lost: float = 0.0
    #: preceded by one that says something else, with the signature of the right one
    forged: float = 0.0
    #: executions whose first webhook is answered before their execute request is
    early: float = 0.0
    #: each is held back for a random time of up to so many seconds
    shuffle: float = 0.0

    def __post_init__(self) -> None:
        for name in ("duplicate", "lost", "forged", "early", "shuffle"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 <= value <= (60 if name == "shuffle" else 1):
                raise ConfigError(f"{name}={value!r}: give a share from 0 to 1, or for shuffle up to 60 seconds.")


class Faults:
    """The faults of one platform: plain settings, and those that strike a share or a number of requests.

    Where several would strike, the one set last does.
    """

    def __init__(self, *, seed: int = 0, listing_delay: float = 0.0) -> None:
        """seed: which requests a share strikes."""
        self._lock = Lock()
        self._dice = random.Random(seed)
        self._faults: list[tuple[Fault, int | None]] = []
        self._default_listing_delay = listing_delay
        self.clear()

    def clear(self) -> None:
        """Let everything go well again."""
        #: seconds before an execute request is looked at
        self.latency = 0.0
        #: seconds between accepting an execute request and answering it
        self.answer_delay = 0.0
        #: seconds between the two halves of the body of an answer to an execute request
        self.body_delay = 0.0
        #: seconds before any other request is looked at
        self.other_latency = 0.0
        #: seconds after its creation until an execution is listed
        self.listing_delay = self._default_listing_delay
        #: see `webhooks`
        self.webhook = WebhookFaults()
        with self._lock:
            self._faults.clear()

    def rate_limit(
        self, count: int | None = None, *, retry_after: float | None = None, share: float = 1.0, scope: str = "execute"
    ) -> None:
        """Answer 429 and do nothing."""
        self._add(FaultKind.ANSWER, "before", scope, share, count, status=429, retry_after=retry_after)

    def server_error(
        self,
        share: float = 1.0,
        *,
        count: int | None = None,
        status: int = 500,
        accepted: bool = False,
        scope: str = "execute",
    ) -> None:
        """Answer `status` and do nothing, or, if `accepted`, after all was done as asked."""
        self._add(FaultKind.ANSWER, "accepted" if accepted else "before", scope, share, count, status=status)

    def drop(
        self, when: str = "before", *, share: float = 1.0, count: int | None = None, scope: str = "execute"
    ) -> None:
        """Close the connection: "before" reading the request, once it is "accepted", or "half"-way in the answer."""
        self._add(FaultKind.DROP, when, scope, share, count)

    def garble(self, *, share: float = 1.0, count: int | None = None, scope: str = "execute") -> None:
        """Accept the request, and answer success with a body that is not JSON."""
        self._add(FaultKind.GARBLE, "accepted", scope, share, count)

    def webhooks(self, **shares: float) -> None:
        """Let webhooks go wrong: duplicate, lost, forged, early (shares) and shuffle (seconds); what is left out not.

        Raises TypeError for another name, ConfigError for what is no share.
        """
        self.webhook = WebhookFaults(**shares)

    def apply(self, settings: Mapping[str, Any]) -> None:
        """Set what a JSON object says: attributes by name, and methods by name with an object of arguments.

        `{"clear": true, "latency": 0.2, "drop": {"when": "accepted", "count": 1}}`. Raises ConfigError for anything
        that is neither; what came before it is set.
        """
        if settings.get("clear"):
            self.clear()
        for name, value in settings.items():
            if name in _DELAYS:
                if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                    raise ConfigError(f"{name}={value!r} is not a time: give seconds, at least 0.")
                setattr(self, name, float(value))
            elif name in _STRIKES and isinstance(value, Mapping):
                try:
                    getattr(self, name)(**value)
                except TypeError as exc:
                    raise ConfigError(f"The fault {name!r} does not take {dict(value)!r}: {exc}.") from exc
            elif name != "clear":
                known = ", ".join(("clear", *_DELAYS, *_STRIKES))
                raise ConfigError(f"{name!r}: {value!r} is not a fault that can be set. There are: {known}.")

    def take(self, scope: FaultScope) -> Fault | None:
        """The fault that strikes this request, or None; it is counted as struck."""
        if not self._faults:
            return None
        with self._lock:
            for position in reversed(range(len(self._faults))):
                fault, left = self._faults[position]
                if fault.scope not in (scope, FaultScope.ALL) or self._dice.random() >= fault.share:
                    continue
                if left == 1:
                    del self._faults[position]
                elif left is not None:
                    self._faults[position] = (fault, left - 1)
                return fault
        return None

    def _add(
        self,
        kind: FaultKind,
        moment: str,
        scope: str,
        share: float,
        count: int | None,
        *,
        status: int = 500,
        retry_after: float | None = None,
    ) -> None:
        if moment not in list(Moment):
            raise ConfigError(f"{moment!r} is not a moment for a fault: use {', '.join(Moment)}.")
        if scope not in list(FaultScope):
            raise ConfigError(f"{scope!r} is not what a fault can be for: use {', '.join(FaultScope)}.")
        if not 0 <= share <= 1:
            raise ConfigError(f"share={share!r} is not a share: give a number between 0 and 1.")
        if count is not None and count < 1:
            raise ConfigError(f"count={count!r} is not a number of requests: give at least 1, or None for all.")
        if status not in list(HTTPStatus) or status < 400:
            raise ConfigError(f"status={status!r} is not an HTTP error: give a code from 400 to 599.")
        fault = Fault(
            kind=kind,
            moment=Moment(moment),
            scope=FaultScope(scope),
            share=share,
            count=count,
            status=status,
            retry_after=retry_after,
        )
        with self._lock:
            self._faults.append((fault, count))
