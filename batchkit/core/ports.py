"""The Protocols where io, targets and engine meet. Each has more than one implementation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from batchkit.core.agent import Agent
from batchkit.core.execution import Execution
from batchkit.core.outcome import Outcome
from batchkit.core.profile import AgentProfile, ProfilePool
from batchkit.core.request import TriggerRequest

__all__ = ["Clock", "Target", "TargetInfo"]


class Clock(Protocol):
    """Time as the engine sees it; `testing.FakeClock` moves it by hand."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC. What due times follow."""

    def monotonic(self) -> float:
        """Seconds that never jump; what durations are measured with."""

    def boot(self) -> tuple[str, float]:
        """An id of this boot, and the seconds since then, sleep included; what leases follow."""

    async def wait(self, event: WakeUp, until: datetime | None) -> None:
        """Return when `event` is set or the wall clock reaches `until`, whichever is first."""


class WakeUp(Protocol):
    """What `asyncio.Event` offers of itself."""

    def is_set(self) -> bool: ...
    async def wait(self) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetInfo:
    """What a batch remembers of its target: enough to recognise it, nothing secret."""

    #: "asteroid", "http", "function"
    kind: str
    #: base URL, or "module:function"
    url: str
    #: a short hash over URL and credentials: tells two accounts apart, gives neither away
    account: str = ""
    #: where the secret can be had again: "env:BATCHKIT_API_KEY", "keyring:service/user"; empty: only from the caller
    secret: str = ""
    #: for people: "the demo platform", "odyssey.asteroid.ai"
    label: str = ""


class Target(Protocol):
    """What rows are sent to. All methods run on the engine's loop.

    Methods that fetch raise TargetError (AuthError, UnreachableError); `trigger` never raises for what the
    target or the network does, it returns an Outcome.
    """

    #: whether `find` can tell if a request arrived
    can_look_up: bool
    #: seconds until an execution is sure to be listed
    listing_delay: float
    #: seconds after which a request is given up, connecting included
    total_timeout: float

    @property
    def info(self) -> TargetInfo: ...

    async def agents(self) -> list[Agent]:
        """Every agent, by name; inputs and versions may be left out."""

    async def agent(self, agent_id: str, version: int | None = None) -> Agent:
        """That agent with all its versions, and the inputs of `version` (None: the published one)."""

    async def profiles(self) -> list[AgentProfile]: ...

    async def pools(self) -> list[ProfilePool]: ...

    async def trigger(self, request: TriggerRequest) -> Outcome: ...

    async def find(self, batch_id: str, item: int, attempt: int) -> Execution | None:
        """The execution that attempt created, or None if the target knows of none."""

    def executions(self, batch_id: str, since: datetime | None = None) -> AsyncIterator[list[Execution]]:
        """The batch's executions in pages of up to 100, with their metadata; `since`: created no earlier."""

    async def aclose(self) -> None: ...
