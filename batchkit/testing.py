"""For tests of code that uses batchkit: a target that answers as told, and a clock moved by hand."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from batchkit.core.agent import Agent, InputVariable
from batchkit.core.execution import Execution, ExecutionOutcome, ExecutionStatus
from batchkit.core.outcome import Outcome, Triggered
from batchkit.core.ports import WakeUp
from batchkit.core.profile import AgentProfile, ProfilePool
from batchkit.core.request import TriggerRequest
from batchkit.core.target import TargetInfo
from batchkit.errors import NotFoundError

__all__ = ["FakeClock", "Received", "ScriptedTarget"]


_SHORTEST_WAIT = 1e-5
#: seconds of real time a FakeClock gives those it woke to wait again
_PATIENCE = 20.0


class FakeClock:
    """A clock that stands still until it is moved. For one event loop.

    start: what it shows first. boot_id: of the machine it is the clock of; each machine has another.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC), boot_id: str = "fake") -> None:
        self._now = start
        self._boot_id = boot_id
        self._monotonic = 1_000.0
        self._boot = 2_000.0
        self._waiting: dict[asyncio.Task[object], tuple[float, asyncio.Event]] = {}
        self._known: set[asyncio.Task[object]] = set()

    def now(self) -> datetime:
        """The wall clock."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return self._monotonic

    def boot(self) -> tuple[str, float]:
        """The boot's id and the seconds since."""
        return self._boot_id, self._boot

    async def wait(self, event: WakeUp, timeout: float) -> None:
        """Return when `event` is set or the clock was moved by `timeout` seconds."""
        task = asyncio.current_task()
        assert task is not None
        self._known.add(task)
        moved = asyncio.Event()
        # Sums of floats: a wait too short to move the clock would never end.
        self._waiting[task] = (self._monotonic + max(_SHORTEST_WAIT, timeout), moved)
        waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(moved.wait())]
        if timeout <= 0:
            moved.set()
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            self._waiting.pop(task, None)

    async def advance(self, seconds: float) -> None:
        """Let time pass; whoever waits is woken at its time, in order, and runs until it waits again."""
        end = self._monotonic + seconds
        await self._all_wait()
        while due := [(until, task) for task, (until, _) in self._waiting.items() if until <= end]:
            until, task = min(due, key=lambda pair: pair[0])
            self._move(max(0.0, until - self._monotonic))
            self._waiting.pop(task)[1].set()
            await self._all_wait()
        self._move(end - self._monotonic)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back; nothing else moves."""
        self._now += timedelta(seconds=seconds)

    def sleep(self, seconds: float) -> None:
        """Let the machine sleep: the wall clock and the time since boot go on, nobody is woken."""
        self._now += timedelta(seconds=seconds)
        self._boot += seconds

    def _move(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds
        self._boot += seconds

    async def _all_wait(self) -> None:
        """Return once every task that ever waited here waits again or has ended."""
        try:
            async with asyncio.timeout(_PATIENCE):
                while busy := [task for task in self._known if task not in self._waiting]:
                    self._known.difference_update(task for task in busy if task.done())
                    await asyncio.sleep(0.0005)
        except TimeoutError:
            raise TimeoutError(f"The clock cannot go on: {busy} neither waits nor ends.") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request a ScriptedTarget was asked to trigger."""

    request: TriggerRequest
    #: the event loop's time, seconds
    at: float


class ScriptedTarget:
    """A target in memory. Takes every row and finishes it at once, unless `answer` says otherwise.

    answer: called with each request and its running number (0-based); returns an Outcome, or None for the default.
    latency: seconds until a request is answered.
    """

    poll_interval = 0.05

    def __init__(
        self,
        agents: Sequence[Agent] = (Agent(name="Agent", id="agent-1", inputs=(InputVariable("value"),)),),
        *,
        answer: Callable[[TriggerRequest, int], Outcome | None] | None = None,
        latency: float = 0.0,
        profiles: Sequence[AgentProfile] = (),
        pools: Sequence[ProfilePool] = (),
        can_look_up: bool = True,
        total_timeout: float = 1.0,
        listing_delay: float = 0.0,
    ) -> None:
        self.answer = answer
        self.latency = latency
        self.can_look_up = can_look_up
        self.total_timeout = total_timeout
        self.listing_delay = listing_delay
        #: every request, in the order of arrival
        self.received: list[Received] = []
        self._agents = tuple(agents)
        self._profiles = tuple(profiles)
        self._pools = tuple(pools)
        self._executions: dict[tuple[str, int, int], Execution] = {}
        self._ids = itertools.count(1)

    @property
    def info(self) -> TargetInfo:
        """Which target a batch belongs to."""
        return TargetInfo(kind="scripted", url="memory", label="a scripted target")

    async def agents(self) -> list[Agent]:
        """Every agent."""
        return list(self._agents)

    async def agent(self, agent_id: str, version: int | None = None) -> Agent:
        """That agent."""
        for agent in self._agents:
            if agent.id == agent_id:
                return agent if version is None else replace(agent, version=version)
        raise NotFoundError(f"There is no agent {agent_id!r}.")

    async def profiles(self) -> list[AgentProfile]:
        """Every profile."""
        return list(self._profiles)

    async def pools(self) -> list[ProfilePool]:
        """Every pool."""
        return list(self._pools)

    async def trigger(self, request: TriggerRequest) -> Outcome:
        """Answer as told."""
        number = len(self.received)
        self.received.append(Received(request=request, at=asyncio.get_running_loop().time()))
        if self.latency:
            await asyncio.sleep(self.latency)
        said = self.answer(request, number) if self.answer is not None else None
        return said if said is not None else Triggered(execution=self.accept(request))

    def accept(self, request: TriggerRequest) -> Execution:
        """Run the request's row, whatever is answered: for answers that get lost."""
        execution = Execution(
            id=f"execution-{next(self._ids)}",
            status=ExecutionStatus.COMPLETED,
            outcome=ExecutionOutcome.SUCCESS,
            result=dict(request.inputs),
            metadata=request.all_metadata,
        )
        self._executions[request.batch_id, request.item, request.attempt] = execution
        return execution

    @property
    def triggered(self) -> list[tuple[str, int]]:
        """(batch, item) of every execution, in order: a row that runs twice stands here twice."""
        return [(batch_id, item) for batch_id, item, _ in list(self._executions)]

    async def find(self, batch_id: str, item: int, attempt: int) -> Execution | None:
        """The execution of that attempt."""
        return self._executions.get((batch_id, item, attempt))

    async def executions(self, batch_id: str, since: datetime | None = None) -> AsyncIterator[list[Execution]]:
        """All executions of the batch, in one page."""
        yield [execution for (batch, _, _), execution in self._executions.items() if batch == batch_id]

    async def aclose(self) -> None:
        """Nothing to close."""
