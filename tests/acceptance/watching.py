"""Watched: the platform as a target that notes when each request was begun and when it ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import batchkit as bk
from batchkit.core.outcome import Outcome
from batchkit.core.request import TriggerRequest

__all__ = ["Call", "Watched"]


@dataclass(slots=True, kw_only=True)
class Call:
    """One request, on the machine's monotonic clock."""

    item: int
    attempt: int
    began: float
    #: infinite and None: it has not ended
    ended: float = float("inf")
    outcome: Outcome | None = None


class Watched(bk.AsteroidTarget):
    """Written on the engine's thread, readable from any."""

    def __init__(self, demo: bk.DemoPlatform, url: str | None = None) -> None:
        super().__init__(url or demo.url, demo.api_key, total_timeout=10.0, connect_timeout=5.0, listing_delay=0.5)
        self.poll_interval = 0.2
        #: in the order in which they were begun
        self.calls: list[Call] = []
        #: what is done before the so-many-th request is begun, 1 is the first
        self.before: dict[int, Callable[[], None]] = {}

    async def trigger(self, request: TriggerRequest) -> Outcome:
        if act := self.before.get(len(self.calls) + 1):
            act()
        call = Call(item=request.item, attempt=request.attempt, began=time.monotonic())
        self.calls.append(call)
        call.outcome = await super().trigger(request)
        call.ended = time.monotonic()
        return call.outcome

    @property
    def all_answered(self) -> bool:
        return all(call.outcome is not None for call in list(self.calls))

    def ended_as(self, kind: type[Outcome]) -> list[Call]:
        """The calls that ended so, the first one first."""
        return sorted((call for call in self.calls if isinstance(call.outcome, kind)), key=lambda call: call.ended)

    def begun_between(self, after: float, before: float) -> list[Call]:
        return [call for call in self.calls if after < call.began < before]
