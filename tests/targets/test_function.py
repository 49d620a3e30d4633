"""FunctionTarget: a Python function as an agent."""

from __future__ import annotations

import asyncio
import functools
import importlib
import itertools
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from types import FrameType, ModuleType
from typing import Any, Literal

import pytest

from batchkit.core.agent import InputVariable
from batchkit.core.execution import Execution, ExecutionStatus
from batchkit.core.outcome import Held, NotSent, Refused, Triggered
from batchkit.core.ports import Target
from batchkit.core.profile import ProfileRef
from batchkit.core.request import TriggerRequest
from batchkit.core.retry import Health, RetryPolicy
from batchkit.errors import ConfigError, NotFoundError
from batchkit.targets.function import FunctionTarget


def greet(client: str, times: int = 1) -> str:
    """Greet a client.

    More words, which nobody needs.
    """
    return f"Hello {client}! " * times


async def greet_later(client: str) -> dict[str, str]:
    await asyncio.sleep(0)
    return {"greeting": f"Hello {client}!"}


def request(target: FunctionTarget, inputs: dict[str, Any], item: int = 0, **changes: Any) -> TriggerRequest:
    settings: dict[str, Any] = {"agent_id": target._agent.id, "version": None, "batch_id": "b-1", "attempt": 1}
    return TriggerRequest(**(settings | {"inputs": inputs, "item": item, "metadata": {"region": "north"}} | changes))


async def all_of(target: FunctionTarget, batch_id: str = "b-1", since: datetime | None = None) -> list[Execution]:
    return [execution async for page in target.executions(batch_id, since) for execution in page]


async def finished(target: FunctionTarget) -> list[Execution]:
    """The batch's executions once all have ended."""
    while True:
        executions = await all_of(target)
        if all(execution.status.terminal for execution in executions):
            return executions
        await asyncio.sleep(0.005)


def run(coroutine: Awaitable[Any]) -> Any:
    """As asyncio.run, with a limit: what hangs fails."""

    async def limited() -> Any:
        async with asyncio.timeout(30):
            return await coroutine

    return asyncio.run(limited())


def outcome_of(function: Callable[..., Any], inputs: dict[str, Any], **settings: Any) -> Execution:
    """What becomes of one call."""

    async def scenario() -> Execution:
        target = FunctionTarget(function, **settings)
        outcome = await target.trigger(request(target, inputs))
        assert isinstance(outcome, Triggered), outcome
        (execution,) = await finished(target)
        assert execution.id == outcome.execution.id
        await target.aclose()
        return execution

    return run(scenario())


def test_the_function_is_the_one_agent_and_its_parameters_are_the_inputs() -> None:
    target = FunctionTarget(greet)
    (agent,) = run(target.agents())
    assert agent.name == "greet"
    assert agent.id == f"{__name__}:greet"
    assert agent.version is None
    assert agent.versions == ()
    assert agent.inputs == (
        InputVariable("client", schema={"type": "string"}, required=True),
        InputVariable("times", schema={"type": "integer"}, default=1),
    )
    assert run(target.agent(agent.id)) == agent
    assert (run(target.profiles()), run(target.pools())) == ([], [])
    with pytest.raises(NotFoundError, match=r"only .*:greet"):
        run(target.agent("other"))
    with pytest.raises(NotFoundError, match="no version 2: it has none"):
        run(target.agent(agent.id, version=2))


def test_a_name_and_a_version_can_be_given() -> None:
    target = FunctionTarget(greet, name="Greeter", version=3)
    (agent,) = run(target.agents())
    assert (agent.name, agent.version) == ("Greeter", 3)
    assert [(version.version, version.published) for version in agent.versions] == [(3, True)]
    assert run(target.agent(agent.id, version=3)) == agent
    assert target.info.label == "Greeter: Greet a client."


def test_it_is_a_target() -> None:
    target: Target = FunctionTarget(greet)
    assert not target.can_look_up
    assert target.poll_interval == 0.1
    assert target.listing_delay == 0.0
    assert target.info.kind == "function"
    assert target.info.url == f"{__name__}:greet"
    assert (target.info.account, target.info.secret) == ("", "")
    assert repr(target) == f"FunctionTarget({__name__}:greet)"


@pytest.mark.parametrize("function", [greet_later, functools.partial(greet_later)])
def test_a_coroutine_function_is_awaited(function: Callable[..., Any]) -> None:
    execution = outcome_of(function, {"client": "Ada"})
    assert execution.result == {"greeting": "Hello Ada!"}
    assert execution.status is ExecutionStatus.COMPLETED


def test_a_coroutine_a_plain_function_returns_is_awaited_too() -> None:
    assert outcome_of(lambda client: greet_later(client), {"client": "Ada"}).result == {"greeting": "Hello Ada!"}


def test_a_call_ends_with_its_result_its_times_and_its_metadata() -> None:
    before = datetime.now(UTC)
    execution = outcome_of(greet, {"client": "Ada", "times": 2})
    assert execution.status is ExecutionStatus.COMPLETED
    assert execution.outcome is None
    assert execution.result == "Hello Ada! Hello Ada! "
    assert execution.error == ""
    assert execution.created_at is not None
    assert execution.started_at is not None
    assert execution.finished_at is not None
    assert before <= execution.created_at <= execution.started_at <= execution.finished_at
    assert execution.metadata == {
        "region": "north",
        "batchkit_batch": "b-1",
        "batchkit_item": "0",
        "batchkit_attempt": "1",
    }


def test_the_function_receives_what_its_hints_say() -> None:
    received: list[Any] = []

    def function(day: date, size: Literal["s", "m"], amount: float, tags: list[str]) -> None:
        received.extend((day, size, amount, tags))

    function.__annotations__ = {"day": date, "size": Literal["s", "m"], "amount": float, "tags": list[str]}
    outcome_of(function, {"day": "2026-03-01", "size": "m", "amount": 3, "tags": ["a"]})
    assert received == [date(2026, 3, 1), "m", 3.0, ["a"]]
    assert type(received[2]) is float


class Odd(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def raising(error: BaseException) -> Callable[[], None]:
    def function() -> None:
        raise error

    return function


def raising_later(error: BaseException) -> Callable[[], Awaitable[None]]:
    async def function() -> None:
        raise error

    return function


@pytest.mark.parametrize("make", [raising, raising_later])
@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no such client: Ada"), "ValueError: no such client: Ada ("),
        (ValueError(), "ValueError ("),
        (SystemExit(3), "SystemExit: 3 ("),
        (KeyboardInterrupt(), "KeyboardInterrupt ("),
        (GeneratorExit(), "GeneratorExit ("),
        (Odd(), "Odd: its text cannot be shown ("),
        (ValueError("x" * 10_000), "ValueError: xxx"),
    ],
)
def test_whatever_a_function_raises_fails_its_execution_and_no_other(
    make: Callable[[BaseException], Any], error: BaseException, text: str
) -> None:
    async def scenario() -> None:
        target = FunctionTarget(make(error), max_workers=1)
        for item in range(3):
            assert isinstance(await target.trigger(request(target, {}, item)), Triggered)
        executions = await finished(target)
        assert {execution.status for execution in executions} == {ExecutionStatus.FAILED}
        for execution in executions:
            assert execution.error.startswith(text)
            assert execution.error.endswith("in function)")
            assert "test_function.py, line " in execution.error
            assert len(execution.error) < 2100
            assert execution.started_at is not None
        await target.aclose()

    run(scenario())


@pytest.mark.parametrize("result", [object(), b"bytes", float])
def test_a_result_json_cannot_hold_fails_with_advice(result: Any) -> None:
    execution = outcome_of(lambda: result, {})
    assert execution.status is ExecutionStatus.FAILED
    assert "which JSON cannot hold. Return text, numbers, lists or dicts." in execution.error


def test_values_that_do_not_fit_are_refused_and_nothing_is_called() -> None:
    called = []

    def function(day: date, size: int = 0) -> None:
        called.append(day)

    function.__annotations__ = {"day": date, "size": int}

    async def scenario() -> None:
        target = FunctionTarget(function)
        profile = ProfileRef(id="p", name="Clerk A")
        cases = [
            (request(target, {"day": "tomorrow"}), "day: 'tomorrow' is not a date"),
            (request(target, {}), "there is no value for day"),
            (request(target, {"day": "2026-03-01", "colour": 1}), "there is no parameter colour"),
            (request(target, {"day": "2026-03-01"}, profile=profile), "names 'Clerk A'"),
            (request(target, {"day": "2026-03-01"}, version=2), "no version 2"),
            (request(target, {"day": "2026-03-01"}, agent_id="other"), "no agent 'other'"),
        ]
        for each, words in cases:
            outcome = await target.trigger(each)
            assert isinstance(outcome, Refused)
            assert words in outcome.message
        assert await all_of(target) == []
        await target.aclose()

    run(scenario())
    assert called == []


def block_a_thread(gate: threading.Event) -> Callable[[], None]:
    def function() -> None:
        gate.wait(20)

    return function


def block_a_loop(gate: threading.Event) -> Callable[[], Awaitable[None]]:
    async def function() -> None:
        gate.wait(20)

    return function


@pytest.mark.parametrize("make", [block_a_thread, block_a_loop])
def test_a_function_that_blocks_does_not_hold_up_the_loop(make: Callable[[threading.Event], Any]) -> None:
    gate = threading.Event()

    async def scenario() -> None:
        target = FunctionTarget(make(gate), max_workers=2)
        begun = time.monotonic()
        for item in range(20):
            assert isinstance(await target.trigger(request(target, {}, item)), Triggered)
        assert time.monotonic() - begun < 10
        assert not any(execution.status.terminal for execution in await all_of(target))
        gate.set()
        assert {execution.status for execution in await finished(target)} == {ExecutionStatus.COMPLETED}
        await target.aclose()

    run(scenario())


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
def test_only_so_many_calls_are_under_way_and_the_others_are_queued(kind: str) -> None:
    lock = threading.Lock()
    gate = threading.Event()
    under_way: list[int] = [0, 0]

    def begin(step: int) -> None:
        with lock:
            under_way[0] += step
            under_way[1] = max(under_way)

    def plain() -> None:
        begin(1)
        gate.wait(20)
        begin(-1)

    async def coroutine() -> None:
        begin(1)
        while not gate.is_set():
            await asyncio.sleep(0.002)
        begin(-1)

    async def scenario() -> None:
        target = FunctionTarget(plain if kind == "plain" else coroutine, max_workers=3)
        outcomes = [await target.trigger(request(target, {}, item)) for item in range(10)]
        assert {outcome.execution.status for outcome in outcomes} == {ExecutionStatus.QUEUED}
        while under_way[0] < 3:
            await asyncio.sleep(0.002)
        statuses = [execution.status for execution in await all_of(target)]
        assert statuses.count(ExecutionStatus.RUNNING) == 3
        assert statuses.count(ExecutionStatus.QUEUED) == 7
        gate.set()
        await finished(target)
        await target.aclose()

    run(scenario())
    assert under_way == [0, 3]


def test_coroutines_share_one_loop_and_leave_the_engines_alone() -> None:
    loops = set()

    async def function() -> None:
        loops.add(asyncio.get_running_loop())
        await asyncio.sleep(0.001)

    async def scenario() -> None:
        target = FunctionTarget(function)
        for item in range(20):
            await target.trigger(request(target, {}, item))
        await finished(target)
        assert asyncio.get_running_loop() not in loops
        await target.aclose()

    run(scenario())
    assert len(loops) == 1
    assert loops.pop().is_closed()


@pytest.mark.parametrize("function", [greet, greet_later])
def test_on_finished_is_told_on_the_loop_that_triggered(function: Callable[..., Any]) -> None:
    async def scenario() -> None:
        told: dict[tuple[str, int], Execution] = {}
        threads = set()
        all_told = asyncio.Event()

        def on_finished(batch_id: str, item: int, execution: Execution) -> None:
            told[batch_id, item] = execution
            threads.add(threading.current_thread())
            if len(told) == 50:
                all_told.set()

        target = FunctionTarget(function)
        target.on_finished = on_finished
        for item in range(50):
            await target.trigger(request(target, {"client": "Ada"}, item))
        await all_told.wait()
        assert threads == {threading.current_thread()}
        assert list(told.values()) != []
        assert {execution.id for execution in told.values()} == {each.id for each in await all_of(target)}
        assert {execution.status for execution in told.values()} == {ExecutionStatus.COMPLETED}
        await target.aclose()

    run(scenario())


def test_executions_come_in_pages_by_batch_and_since() -> None:
    async def scenario() -> None:
        target = FunctionTarget(greet)
        for item in range(250):
            await target.trigger(request(target, {"client": "Ada"}, item))
        await target.trigger(request(target, {"client": "Bob"}, 0, batch_id="b-2"))
        pages = [page async for page in target.executions("b-1")]
        assert [len(page) for page in pages] == [100, 100, 50]
        executions = await finished(target)
        assert [execution.metadata["batchkit_item"] for execution in executions] == [str(item) for item in range(250)]
        middle = executions[200].created_at
        assert middle is not None
        since = await all_of(target, since=middle)
        assert executions[200] in since
        assert {each.id for each in executions if each.created_at >= middle} == {each.id for each in since}
        assert await all_of(target, since=datetime.now(UTC) + timedelta(seconds=1)) == []
        assert len(await all_of(target, "b-2")) == 1
        assert await all_of(target, "b-3") == []
        await target.aclose()

    run(scenario())


def test_find_knows_the_calls_of_this_target() -> None:
    async def scenario() -> None:
        target = FunctionTarget(greet)
        outcome = await target.trigger(request(target, {"client": "Ada"}, 7, attempt=2))
        found = await target.find("b-1", 7, 2)
        assert isinstance(outcome, Triggered)
        assert found is not None
        assert found.id == outcome.execution.id
        assert await target.find("b-1", 7, 1) is None
        assert await target.find("b-2", 7, 2) is None
        await target.aclose()

    run(scenario())


@pytest.mark.parametrize("make", [block_a_thread, block_a_loop])
def test_closing_cancels_what_has_not_begun_and_says_so(make: Callable[[threading.Event], Any]) -> None:
    gate = threading.Event()

    async def scenario() -> None:
        target = FunctionTarget(make(gate), max_workers=1)
        told: list[int] = []
        target.on_finished = lambda batch_id, item, execution: told.append(item)
        for item in range(5):
            await target.trigger(request(target, {}, item))
        while (await all_of(target))[0].status is not ExecutionStatus.RUNNING:
            await asyncio.sleep(0.002)
        threading.Timer(0.1, gate.set).start()
        await target.aclose()
        executions = await all_of(target)
        assert [each.status for each in executions[1:]] == [ExecutionStatus.CANCELLED] * 4
        assert all("closed before this call began" in each.error for each in executions[1:])
        assert isinstance(await target.trigger(request(target, {}, 9)), NotSent)
        first = (await finished(target))[0]
        assert first.status is ExecutionStatus.COMPLETED  # a call under way is not cut off
        await asyncio.sleep(0.01)
        assert sorted(told) == [0, 1, 2, 3, 4]

    run(scenario())


def test_closing_cancels_coroutines_under_way() -> None:
    async def function() -> None:
        await asyncio.sleep(60)

    async def scenario() -> None:
        target = FunctionTarget(function, max_workers=2)
        for item in range(5):
            await target.trigger(request(target, {}, item))
        while (await all_of(target))[1].status is not ExecutionStatus.RUNNING:
            await asyncio.sleep(0.002)
        await target.aclose()
        executions = await all_of(target)
        assert {each.status for each in executions} == {ExecutionStatus.CANCELLED}
        assert ["while it ran" in each.error for each in executions] == [True, True, False, False, False]
        await target.aclose()

    run(scenario())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batchkit-function")]


class ByHand(Executor):
    """Calls are under way until they are ended by hand."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        self.calls.append(lambda: future.set_result(fn(*args, **kwargs)))
        return future

    def end_all(self) -> None:
        while self.calls:
            self.calls.pop()()


@pytest.mark.parametrize("line", range(20))
def test_calls_may_end_at_any_line_of_closing(line: int) -> None:
    executor = ByHand()
    passed = itertools.count()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code is not FunctionTarget.aclose.__code__:
            return None
        if event == "line" and next(passed) == line:
            executor.end_all()
        return trace

    async def scenario() -> None:
        target = FunctionTarget(greet, executor=executor)
        for item in range(2):
            await target.trigger(request(target, {"client": "Ada"}, item))
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            await target.aclose()
        finally:
            sys.settrace(before)
        executor.end_all()
        assert [each.status for each in await finished(target)] == [ExecutionStatus.COMPLETED] * 2

    run(scenario())


@pytest.mark.parametrize("function", [greet, greet_later])
def test_no_call_begins_in_a_target_that_is_closed_while_it_takes_a_row(function: Callable[..., Any]) -> None:
    class Closing(dict[str, Any]):
        def items(self) -> Any:
            closing = threading.Thread(target=run, args=(target.aclose(),))
            closing.start()
            closing.join()
            return super().items()

    async def scenario() -> None:
        outcome = await target.trigger(request(target, Closing(client="Ada")))
        assert isinstance(outcome, NotSent)
        assert "closed" in outcome.message
        assert await all_of(target) == []

    target = FunctionTarget(function)
    run(scenario())


def test_a_coroutine_that_ends_itself_as_cancelled_ends_alone() -> None:
    async def function(cancel: bool) -> str:
        if cancel:
            raise asyncio.CancelledError
        return "done"

    function.__annotations__ = {"cancel": bool}

    async def scenario() -> None:
        target = FunctionTarget(function)
        await target.trigger(request(target, {"cancel": True}, 0))
        await target.trigger(request(target, {"cancel": False}, 1))
        assert [each.status for each in await finished(target)] == [
            ExecutionStatus.CANCELLED,
            ExecutionStatus.COMPLETED,
        ]
        await target.aclose()

    run(scenario())


def test_the_loop_that_triggered_may_be_gone_when_the_call_ends() -> None:
    gate = threading.Event()
    target = FunctionTarget(block_a_thread(gate))
    target.on_finished = lambda *_: None
    run(target.trigger(request(target, {})))
    gate.set()
    (execution,) = run(finished(target))
    assert execution.status is ExecutionStatus.COMPLETED
    run(target.aclose())


def test_a_given_executor_is_used_and_left_open() -> None:
    with ThreadPoolExecutor(1, "given") as executor:
        execution = outcome_of(lambda: threading.current_thread().name, {}, executor=executor)
        assert execution.result.startswith("given")
        assert executor.submit(int).result() == 0
    target = FunctionTarget(greet, executor=executor)
    outcome = run(target.trigger(request(target, {"client": "Ada"})))
    assert isinstance(outcome, NotSent)
    assert "another executor" in outcome.message


@pytest.fixture
def importable(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module of the user's own, which other processes can import."""
    (tmp_path / "users_functions.py").write_text(
        "import os\n\ndef process(client: str) -> dict:\n    return {'client': client, 'pid': os.getpid()}\n\n"
        "def end(client: str) -> None:\n    os._exit(1)\n\n"
        "class Filer:\n    @staticmethod\n    def file(client: str) -> str:\n        return client\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    yield importlib.import_module("users_functions")
    del sys.modules["users_functions"]


def test_a_process_pool_can_run_it(importable: ModuleType) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        execution = outcome_of(importable.process, {"client": "Ada"}, executor=executor)
        assert execution.result["client"] == "Ada"
        assert execution.result["pid"] != os.getpid()
        execution = outcome_of(lambda: 1, {}, executor=executor)
        assert execution.status is ExecutionStatus.FAILED
        assert "pickle" in execution.error.lower()


def test_a_pool_that_broke_takes_no_more_rows_and_the_batch_is_to_pause(importable: ModuleType) -> None:
    async def scenario(target: FunctionTarget) -> None:
        await target.trigger(request(target, {"client": "Ada"}, 0))
        (execution,) = await finished(target)
        assert execution.status is ExecutionStatus.FAILED
        outcome = await target.trigger(request(target, {"client": "Bob"}, 1))
        assert isinstance(outcome, Held)
        assert "then resume" in outcome.message
        pause = Health(RetryPolicy()).observe(outcome, 0.0).pause
        assert pause.startswith("The target takes no more rows: end was not called: ")
        await target.aclose()

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        run(scenario(FunctionTarget(importable.end, executor=executor)))


def test_only_what_import_finds_is_importable(importable: ModuleType) -> None:
    def nested() -> None: ...

    assert FunctionTarget(importable.process).importable
    assert FunctionTarget(importable.Filer.file).importable
    assert not FunctionTarget(nested).importable
    assert not FunctionTarget(lambda: 1).importable
    assert not FunctionTarget(functools.partial(importable.process)).importable
    assert not FunctionTarget(greet_in_main()).importable


def greet_in_main() -> Callable[..., Any]:
    def function() -> None: ...

    function.__module__ = "__main__"
    function.__qualname__ = "function"
    return function


def test_a_reference_leads_back_to_the_function(importable: ModuleType) -> None:
    target = FunctionTarget.load("users_functions:Filer.file", name="Filer")
    assert target.info.url == "users_functions:Filer.file"
    assert run(target.agents())[0].name == "Filer"
    for reference in ("users_functions:nothing", "no_such_module:f", "users_functions", ":f", ""):
        with pytest.raises(ConfigError, match="no function"):
            FunctionTarget.load(reference)


@pytest.mark.parametrize(
    ("function", "settings", "words"),
    [
        (5, {}, "needs a function"),
        (greet, {"max_workers": 0}, "max_workers"),
        (greet_later, {"executor": ThreadPoolExecutor()}, "coroutine"),
        (lambda a, /: a, {}, "positional-only"),
    ],
)
def test_what_cannot_work_is_refused(function: Any, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        FunctionTarget(function, **settings)


def test_objects_that_are_called_have_a_name_too() -> None:
    class Filer:
        def __call__(self, client: str) -> str:
            return client

    target = FunctionTarget(Filer())
    assert run(target.agents())[0].name == "Filer"
    assert not target.importable


def test_many_calls_of_a_quick_function_all_end() -> None:
    def function(number: int) -> int:
        return number * 2

    function.__annotations__ = {"number": int}

    async def scenario() -> None:
        target = FunctionTarget(function)
        for item in range(3000):
            await target.trigger(request(target, {"number": item}, item))
        executions = await finished(target)
        assert [execution.result for execution in executions] == [item * 2 for item in range(3000)]
        await target.aclose()

    run(scenario())
