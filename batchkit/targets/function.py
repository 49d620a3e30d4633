"""FunctionTarget: a Python function as an agent. Each row is one call, in this process and off the engine's loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import sys
import time
import uuid
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from batchkit.core.agent import Agent, WorkflowVersion
from batchkit.core.execution import Execution, ExecutionStatus
from batchkit.core.outcome import Held, NotSent, Outcome, Refused, Triggered
from batchkit.core.profile import AgentProfile, ProfilePool
from batchkit.core.request import ATTEMPT_KEY, ITEM_KEY, TriggerRequest
from batchkit.core.target import TargetInfo
from batchkit.errors import ConfigError, NotFoundError
from batchkit.targets.call import Ending, call, call_coroutine, describe
from batchkit.targets.coroutines import CoroutineExecutor
from batchkit.targets.named import at, imported
from batchkit.targets.signature import Signature

__all__ = ["FunctionTarget"]

_PAGE = 100
#: how often whoever waits for calls looks whether they have ended
_LOOK_SECONDS = 0.02


class FunctionTarget:
    """Triggers calls of one Python function and keeps what became of them in memory.

    function: plain or `async def`; its parameters are the agent's inputs (see `hint`), what it returns is the result
    (see `jsonable`), what it raises makes the execution fail.
    name, version: of the agent; the function's own name, and none. max_workers: calls under way at a time.
    executor: what runs a plain function instead of a thread pool of the target's own; it is not shut down here, and one
    of processes pickles the function. Dask's is `client.get_executor(pure=False)`: with Dask's own
    `distributed.scheduler.allowed-failures` at 0 it does not call again what a worker died of, but it does call again
    what had ended in that worker and was not fetched yet.
    A plain function runs in a thread, a coroutine function on an event loop in a thread of its own, so that neither
    can hold up the schedule. Raises ConfigError for a function whose parameters cannot be inputs.
    """

    can_look_up: bool = False
    poll_interval: float = 0.1
    listing_delay: float = 0.0
    total_timeout: float = 5.0

    #: told (batch id, item, execution) when a call has ended, on the loop that triggered it; `executions` has it, too
    on_finished: Callable[[str, int, Execution], None] | None = None

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        version: int | None = None,
        max_workers: int = 32,
        executor: Executor | None = None,
    ) -> None:
        if not callable(function):
            raise ConfigError(f"A FunctionTarget needs a function, not {function!r}.")
        if max_workers < 1:
            raise ConfigError(f"max_workers must be at least 1, not {max_workers}.")
        self._function = function
        self._is_coroutine = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            type(function).__call__
        )
        if executor is not None and self._is_coroutine:
            raise ConfigError("executor= is for plain functions: a coroutine function runs on an event loop.")
        self._max_workers = max_workers
        self._own_executor: ThreadPoolExecutor | CoroutineExecutor | None = None
        self._given_executor = executor
        self._reference = _reference(function)
        self.description = (inspect.getdoc(function) or "").partition("\n")[0]
        name = name or self._reference.rpartition(":")[2].rpartition(".")[2]
        self._signature = Signature.of(function, name)
        self._agent = Agent(name=name, id=self._reference, inputs=self._signature.inputs, version=version)
        if version is not None:
            only = WorkflowVersion(version=version, published=True, inputs=self._signature.inputs)
            self._agent = replace(self._agent, versions=(only,))
        self._lock = Lock()
        self._calls: dict[str, list[_Call]] = {}
        self._closed = False

    @classmethod
    def load(cls, reference: str, **settings: Any) -> FunctionTarget:
        """The target of the function "module:name", imported. Raises ConfigError where there is none."""
        return cls(imported(reference, "function"), **settings)

    def __repr__(self) -> str:
        return f"FunctionTarget({self._reference})"

    @property
    def info(self) -> TargetInfo:
        """What a batch remembers of this target."""
        label = f"{self._agent.name}: {self.description}" if self.description else self._agent.name
        return TargetInfo(kind="function", url=self._reference, label=label)

    @property
    def importable(self) -> bool:
        """Whether another process can have the function by importing it, so that it could take a batch over."""
        module, _, path = self._reference.partition(":")
        try:
            return module != "__main__" and at(sys.modules[module], path) is self._function
        except (KeyError, AttributeError):
            return False

    async def agents(self) -> list[Agent]:
        """The function, as the one agent there is."""
        return [self._agent]

    async def agent(self, agent_id: str, version: int | None = None) -> Agent:
        """The function. Raises NotFoundError for another id or version."""
        if agent_id != self._agent.id:
            raise NotFoundError(f"There is no agent {agent_id!r} here, only {self._agent.id!r}.")
        if version not in (None, self._agent.version):
            raise NotFoundError(f"{self._agent.name} has no version {version}: {self._version_words()}.")
        return self._agent

    async def profiles(self) -> list[AgentProfile]:
        """None: a function uses whatever it uses."""
        return []

    async def pools(self) -> list[ProfilePool]:
        """None."""
        return []

    async def trigger(self, request: TriggerRequest) -> Outcome:
        """Triggered at once, queued until there is room; Refused for values that do not fit; Held if nobody calls."""
        problem = self._problem(request)
        if problem is not None:
            return problem
        try:
            arguments = self._signature.arguments(request.inputs)
        except ValueError as exc:
            return Refused(code="400", message=f"{self._agent.name}: {exc}.")
        start: Callable[..., Any] = call_coroutine if self._is_coroutine else call
        with self._lock:
            if self._closed:
                return self._not_open()
            calls = self._calls.setdefault(request.batch_id, [])
            created_at = max(datetime.now(UTC), calls[-1].created_at) if calls else datetime.now(UTC)
            try:
                future = self._executor().submit(start, self._function, arguments)
            except BrokenExecutor as exc:
                return Held(
                    code="broken",
                    message=f"{self._agent.name} was not called: {exc} Start the process again that has the target, or "
                    "make one with another executor; then resume.",
                )
            except RuntimeError as exc:
                return NotSent(message=f"{self._agent.name} was not called: {exc}. Give the target another executor.")
            called = _Call(request, created_at, asyncio.get_running_loop(), future)
            calls.append(called)
        future.add_done_callback(functools.partial(self._ended, called))
        return Triggered(execution=called.triggered)

    async def find(self, batch_id: str, item: int, attempt: int) -> Execution | None:
        """The execution of that attempt, as long as this target lives."""
        wanted = {ITEM_KEY: str(item), ATTEMPT_KEY: str(attempt)}.items()
        calls = self._calls.get(batch_id, [])
        return next((each.execution() for each in calls if wanted <= each.triggered.metadata.items()), None)

    async def executions(self, batch_id: str, since: datetime | None = None) -> AsyncIterator[list[Execution]]:
        """The batch's executions in pages of up to 100, oldest first; none that ran in another process."""
        calls = self._calls.get(batch_id, [])
        first = 0 if since is None else bisect_left(calls, since, key=lambda each: each.created_at)
        for start in range(first, len(calls), _PAGE):
            yield [each.execution() for each in calls[start : start + _PAGE]]

    def known(self, batch_id: str) -> set[str]:
        """The ids of the batch's executions that run, or ran, in this target."""
        return {each.triggered.id for each in self._calls.get(batch_id, ())}

    async def drain(self, seconds: float) -> None:
        """Take no more rows, cancel the calls not begun, and wait for those under way, so long at the most."""
        under_way = self._stop()
        end = time.monotonic() + seconds
        while any(each.future is not None for each in under_way) and time.monotonic() < end:
            await asyncio.sleep(_LOOK_SECONDS)

    async def aclose(self) -> None:
        """Take no more rows, and let none be lost silently: calls not begun become cancelled.

        Threads finish the call they are in, and the interpreter waits for that; coroutines under way are cancelled.
        """
        self._stop()
        if isinstance(self._own_executor, CoroutineExecutor):
            await asyncio.to_thread(self._own_executor.shutdown)
        elif self._own_executor is not None:
            self._own_executor.shutdown(wait=False)

    def _stop(self) -> list[_Call]:
        """Begin no more calls; those under way."""
        with self._lock:
            self._closed = True
            not_ended = [each for calls in self._calls.values() for each in calls if each.future is not None]
        for each in not_ended:
            # Calls end in other threads meanwhile, and their futures are gone then.
            if (future := each.future) is not None:
                future.cancel()
        return not_ended

    def _problem(self, request: TriggerRequest) -> Outcome | None:
        """Why a request cannot be taken; None: it can."""
        if self._closed:
            return self._not_open()
        if request.agent_id != self._agent.id:
            return Refused(code="404", message=f"There is no agent {request.agent_id!r} here, only {self._agent.id!r}.")
        if request.version not in (None, self._agent.version):
            return Refused(code="404", message=f"There is no version {request.version}: {self._version_words()}.")
        if request.profile is not None:
            return Refused(
                code="400", message=f"A function has no profiles, and the row names {request.profile.name!r}."
            )
        return None

    def _not_open(self) -> NotSent:
        return NotSent(message=f"The target of {self._agent.name} is closed; make a new one.")

    def _version_words(self) -> str:
        return "it has none" if self._agent.version is None else f"its version is {self._agent.version}"

    def _executor(self) -> Executor | CoroutineExecutor:
        if self._given_executor is not None:
            return self._given_executor
        if self._own_executor is None:
            thread_name = f"batchkit-{self._agent.name}"
            if self._is_coroutine:
                self._own_executor = CoroutineExecutor(self._max_workers, thread_name)
            else:
                self._own_executor = ThreadPoolExecutor(self._max_workers, thread_name)
        return self._own_executor

    def _ended(self, called: _Call, future: Future[Ending]) -> None:
        """Note how a call ended. Runs in whichever thread ended it."""
        called.ended = _execution(called.triggered, future)
        with contextlib.suppress(RuntimeError):  # the loop is gone, and whoever was to be told with it
            called.loop.call_soon_threadsafe(self._tell, called)
        # Whoever keeps it keeps the executor from forgetting the result: Dask computes those anew that it loses.
        called.future = None

    def _tell(self, called: _Call) -> None:
        if self.on_finished is not None and called.ended is not None:
            self.on_finished(called.batch_id, called.item, called.ended)


class _Call:
    """One call under way or ended."""

    __slots__ = ("batch_id", "created_at", "ended", "future", "item", "loop", "triggered")

    def __init__(
        self, request: TriggerRequest, created_at: datetime, loop: asyncio.AbstractEventLoop, future: Future[Ending]
    ) -> None:
        self.batch_id = request.batch_id
        self.item = request.item
        self.loop = loop
        #: None: it has ended
        self.future: Future[Ending] | None = future
        self.created_at = created_at
        self.triggered = Execution(
            id=uuid.uuid4().hex,
            status=ExecutionStatus.QUEUED,
            created_at=created_at,
            metadata=request.all_metadata,
        )
        self.ended: Execution | None = None

    def execution(self) -> Execution:
        """As it stands now."""
        future = self.future
        if self.ended is not None:
            return self.ended
        is_running = future is not None and future.running()
        return replace(self.triggered, status=ExecutionStatus.RUNNING) if is_running else self.triggered


def _execution(triggered: Execution, future: Future[Ending]) -> Execution:
    """The execution that a call which has ended makes of a triggered one."""
    if future.cancelled():
        error = "The target was closed before this call began."
        return replace(triggered, status=ExecutionStatus.CANCELLED, finished_at=datetime.now(UTC), error=error)
    exception = future.exception()
    if isinstance(exception, asyncio.CancelledError):
        error = "The call was cancelled while it ran."
        return replace(triggered, status=ExecutionStatus.CANCELLED, finished_at=datetime.now(UTC), error=error)
    if exception is not None:
        return replace(
            triggered, status=ExecutionStatus.FAILED, finished_at=datetime.now(UTC), error=describe(exception)
        )
    ending = future.result()
    return replace(
        triggered,
        status=ExecutionStatus.FAILED if ending.error else ExecutionStatus.COMPLETED,
        started_at=ending.started_at,
        finished_at=ending.finished_at,
        result=ending.result,
        error=ending.error,
    )


def _reference(function: Callable[..., Any]) -> str:
    """ "module:name" of the function, of what a partial calls, or of an object's class."""
    source = function.func if isinstance(function, functools.partial) else function
    named = source if hasattr(source, "__qualname__") else type(source)
    return f"{named.__module__}:{named.__qualname__}"
