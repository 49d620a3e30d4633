"""HttpTarget: what an endpoint's answers are taken for, what is asked of it later, and where it does not go."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import batchkit as bk
from batchkit.core.agent import InputVariable
from batchkit.core.execution import Execution, ExecutionOutcome, ExecutionStatus
from batchkit.core.outcome import Held, NotSent, Outcome, Refused, Triggered, Unclear, Wait
from batchkit.core.ports import AskedById, Target
from batchkit.core.profile import ProfileRef
from batchkit.core.request import TriggerRequest
from batchkit.errors import AuthError, ConfigError, NotFoundError, TargetError, UnreachableError
from batchkit.targets.answers import Lookup, Polling
from batchkit.targets.connection import Connection
from batchkit.targets.http import HttpTarget
from batchkit.targets.http_request import HttpTrial
from batchkit.targets.secret import Secret

TOKEN = "token-0123456789-never-shown"
POLLED = {"polling": Polling("/jobs/{{id}}")}
LOOKED_UP = {"idempotency_header": "Idempotency-Key", "lookup": Lookup("/jobs?key={{batchkit_key}}", id="$.jobs[0].id")}


def run(coroutine: Awaitable[Any]) -> Any:
    """As asyncio.run, with a limit: what hangs fails."""

    async def limited() -> Any:
        async with asyncio.timeout(60):
            return await coroutine

    return asyncio.run(limited())


def target_at(url: str, **settings: Any) -> HttpTarget:
    settings = {"body": {"client": "{{client}}"}, "allow_private": True} | settings
    return HttpTarget("POST", url + "/jobs", **settings)


def request(target: HttpTarget, item: int = 0, **changes: Any) -> TriggerRequest:
    settings: dict[str, Any] = {"agent_id": target._agent.id, "version": None, "batch_id": "b-1", "attempt": 1}
    return TriggerRequest(**(settings | {"inputs": {"client": "Ada"}, "item": item} | changes))


def with_server(
    faults: ModuleType, script: Any, use: Callable[[Any, HttpTarget], Awaitable[Any]], **settings: Any
) -> Any:
    """What `use` makes of a server with that script and a target at it."""

    async def scenario() -> Any:
        async with faults.FaultServer(script) as server:
            target = target_at(server.url, **settings)
            try:
                return await use(server, target)
            finally:
                await target.aclose()

    return run(scenario())


def outcome_of(faults: ModuleType, script: Any, **settings: Any) -> Outcome:
    return with_server(faults, script, lambda server, target: target.trigger(request(target)), **settings)


def finished(outcome: Outcome) -> Execution:
    assert isinstance(outcome, Triggered), outcome
    return outcome.execution


def test_it_is_a_target_with_one_agent_whose_inputs_are_the_placeholders() -> None:
    target: Target = target_at(
        "https://api.example.com", inputs=[InputVariable("client", schema={"minLength": 1}, required=True)]
    )
    assert isinstance(target, AskedById)
    (agent,) = run(target.agents())
    assert (agent.name, agent.id) == ("POST api.example.com/jobs", "POST https://api.example.com/jobs")
    assert agent.inputs == (InputVariable("client", schema={"minLength": 1}, required=True),)
    assert run(target.agent(agent.id)) == agent
    assert (run(target.profiles()), run(target.pools())) == ([], [])
    assert (target.info.kind, target.info.url) == ("http", "https://api.example.com/jobs")
    with pytest.raises(NotFoundError, match="only 'POST https"):
        run(target.agent("other"))
    with pytest.raises(NotFoundError, match="has no version 2"):
        run(target.agent(agent.id, 2))


def test_another_template_or_another_secret_is_another_target() -> None:
    def account(**settings: Any) -> str:
        return target_at("https://api.example.com", **settings).info.account

    usual = account()
    assert usual == account(result="$.other", name="Another name")
    others = [
        account(body={"client": "{{client}}", "more": 1}),
        account(headers={"X-Region": "eu"}),
        account(headers={"X-Key": Secret(TOKEN)}),
        account(headers={"X-Key": Secret(TOKEN + "x")}),
        target_at("https://api2.example.com").info.account,
    ]
    assert len({usual, *others}) == 6


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (400, Refused, "no such client"),
        (404, Refused, "no such client"),
        (409, Refused, "no such client"),
        (422, Refused, "no such client"),
        (401, Held, "no such client"),
        (402, Held, "no such client"),
        (403, Held, "no such client"),
        (307, Held, "sends the request on to"),
        (308, Held, "sends the request on to"),
        (429, Wait, "no such client"),
        (301, Unclear, "answered 301"),
        (303, Unclear, "answered 303"),
        (408, Unclear, "answered 408"),
        (500, Unclear, "answered 500: no such client"),
        (503, Unclear, "answered 503"),
    ],
)
def test_an_answer_is_taken_for_what_it_means(faults: ModuleType, status: int, kind: type, message: str) -> None:
    headers = {"Location": "http://127.0.0.1:9/elsewhere?key=1", "Retry_After": "7"}
    outcome = outcome_of(faults, faults.answering(status, {"error": {"message": "no such client"}}, **headers))
    assert isinstance(outcome, kind)
    assert message in outcome.message
    if isinstance(outcome, Refused | Held):
        assert outcome.code == str(status)
    if isinstance(outcome, Wait):
        assert outcome.retry_after == 7


@pytest.mark.parametrize(
    "script",
    [
        "reset_after_reading",
        "close_after_reading",
        "half_the_status_line",
        "half_the_headers_then_reset",
        "half_the_body_then_reset",
        "half_a_refusal",
    ],
)
def test_a_broken_answer_is_in_doubt(faults: ModuleType, script: str) -> None:
    assert isinstance(outcome_of(faults, getattr(faults, script), total_timeout=10, connect_timeout=5), Unclear)


def test_no_connection_is_not_sent(closed_port: int) -> None:
    async def scenario() -> Outcome:
        target = target_at(f"http://127.0.0.1:{closed_port}")
        try:
            return await target.trigger(request(target))
        finally:
            await target.aclose()

    assert isinstance(run(scenario()), NotSent)


def test_without_a_status_url_the_answer_is_the_end(faults: ModuleType) -> None:
    answer = {"ok": True, "data": {"score": 0.5, "tags": ["a"]}}
    execution = finished(outcome_of(faults, faults.answering(201, answer), result="$.data"))
    assert (execution.id, execution.status) == ("b-1-0-1", ExecutionStatus.COMPLETED)
    assert execution.outcome is ExecutionOutcome.SUCCESS
    assert execution.result == {"score": 0.5, "tags": ["a"]}
    assert execution.started_at is not None
    assert execution.finished_at is not None
    assert execution.finished_at >= execution.started_at


@pytest.mark.parametrize(("content", "result"), [(b"Hello", "Hello"), (b"", None), (b"[1]", [1]), (b"NaN", None)])
def test_an_answer_that_is_not_an_object_is_a_result_as_well(faults: ModuleType, content: bytes, result: Any) -> None:
    execution = finished(outcome_of(faults, faults.answering(200, content)))
    assert (execution.status, execution.result) == (ExecutionStatus.COMPLETED, result)


def test_a_result_that_is_not_there_is_told(faults: ModuleType) -> None:
    execution = finished(outcome_of(faults, faults.answering(200, {"data": {"a": 1}}), result="$.data.score"))
    assert (execution.status, execution.result) == (ExecutionStatus.COMPLETED, None)
    assert execution.reasoning == "There is no $.data.score: where 'score' should be is a."


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"ok": True, "state": "done"}, ""),
        ({"ok": True, "state": "kept"}, ""),
        ({"ok": 1, "state": "done"}, "$.ok is '1'."),
        ({"ok": False, "error": "bad client"}, "$.ok is 'false'. bad client"),
        ({"ok": True, "state": "lost"}, "$.state is 'lost'."),
        ({"state": "done"}, "There is no $.ok: where 'ok' should be is state."),
    ],
)
def test_a_success_condition_decides_about_a_2xx(faults: ModuleType, answer: object, error: str) -> None:
    success = {"$.ok": True, "$.state": ["done", "kept"]}
    execution = finished(outcome_of(faults, faults.answering(200, answer), success=success))
    assert execution.error == error
    assert execution.standing == ("failed" if error else "succeeded")
    outcome = outcome_of(faults, faults.answering(200, {"id": "j-1", **answer}), success=success, **POLLED)
    assert isinstance(outcome, Refused if error else Triggered)


@pytest.mark.parametrize(("answer", "identity"), [({"id": "j-1"}, "j-1"), ({"id": 17}, "17")])
def test_with_a_status_url_an_answer_names_the_execution(faults: ModuleType, answer: object, identity: str) -> None:
    execution = finished(outcome_of(faults, faults.answering(202, answer), **POLLED))
    assert execution == Execution(id=identity, status=ExecutionStatus.QUEUED)


@pytest.mark.parametrize("answer", [{}, {"id": None}, {"id": ""}, {"id": True}, {"id": "\ud800"}, [], b"ok"])
def test_with_a_status_url_an_answer_without_an_id_is_in_doubt(faults: ModuleType, answer: object) -> None:
    outcome = outcome_of(faults, faults.answering(200, answer), **POLLED)
    assert isinstance(outcome, Unclear)
    assert "without an execution id" in outcome.message


def test_rows_that_do_not_fit_are_refused_and_nothing_is_sent(faults: ModuleType) -> None:
    async def use(server: Any, target: HttpTarget) -> list[Outcome]:
        outcomes = [
            await target.trigger(request(target, inputs={"client": "a\nb"})),
            await target.trigger(request(target, inputs={})),
            await target.trigger(request(target, agent_id="other")),
            await target.trigger(request(target, version=1)),
            await target.trigger(request(target, profile=ProfileRef(id="p", name="Clerk"))),
        ]
        assert server.requests == []
        return outcomes

    outcomes = with_server(faults, faults.answering(200), use, headers={"X-Client": "{{client}}"})
    assert all(isinstance(outcome, Refused) for outcome in outcomes)
    assert "line break" in outcomes[0].message
    assert "no value for client" in outcomes[1].message
    assert "'Clerk'" in outcomes[4].message


def jobs(states: dict[str, tuple[int, object]]) -> Callable[[Any], tuple[int, object]]:
    """A server's answers for status URLs."""
    return lambda seen: states[seen.path.removeprefix("/jobs/")]


def test_the_status_url_says_what_became_of_executions(faults: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    states: dict[str, tuple[int, object]] = {
        "a": (200, {"status": "Succeeded", "data": {"n": 1}}),
        "b": (200, {"status": "error", "error": "out of paper"}),
        "c": (200, {"status": "canceled"}),
        "d": (200, {"status": "thinking"}),
        "e": (200, {"state": "done"}),
        "f": (404, {"error": "gone"}),
        "g%2F..%2Fa": (200, {"status": "failed"}),
    }
    names = ["a", "b", "c", "d", "e", "f", "g/../a", ".."]

    async def use(server: Any, target: HttpTarget) -> list[Execution]:
        return await target.executions_by_id("b-1", list(enumerate(names)))

    with caplog.at_level(logging.WARNING, "batchkit"):
        seen = with_server(faults, faults.routed(jobs(states)), use, result="$.data", **POLLED)
    assert [(each.metadata["batchkit_item"], each.id, str(each.status), each.error) for each in seen] == [
        ("0", "a", "completed", ""),
        ("1", "b", "failed", "out of paper"),
        ("2", "c", "cancelled", "The endpoint says 'canceled'."),
        ("3", "d", "running", ""),
        ("4", "e", "running", ""),
        ("6", "g/../a", "failed", "The endpoint says 'failed'."),
    ]
    assert seen[0].result == {"n": 1}
    assert seen[3].reasoning == "The endpoint says 'thinking'."
    assert "There is no $.status" in seen[4].reasoning
    assert "2 of 8 executions" in caplog.text


@pytest.mark.parametrize(("status", "error"), [(401, AuthError), (429, TargetError), (500, TargetError)])
def test_an_endpoint_that_answers_nobody_raises(faults: ModuleType, status: int, error: type[Exception]) -> None:
    async def use(server: Any, target: HttpTarget) -> None:
        with pytest.raises(error, match=f"answered {status}"):
            await target.executions_by_id("b-1", [(0, "a"), (1, "b")])

    with_server(faults, faults.answering(status, {}), use, **POLLED)


def test_executions_that_are_unknown_hold_up_no_others(faults: ModuleType) -> None:
    async def use(server: Any, target: HttpTarget) -> list[Execution]:
        return await target.executions_by_id("b-1", [(0, "a"), (1, "b")])

    assert with_server(faults, faults.answering(404, {}), use, **POLLED) == []


def test_executions_triggered_here_are_listed(faults: ModuleType) -> None:
    def answer(seen: Any) -> tuple[int, object]:
        return (202, {"id": f"j-{seen.json['client']}"}) if seen.method == "POST" else (200, {"status": "done"})

    async def use(server: Any, target: HttpTarget) -> list[list[Execution]]:
        for item in range(150):
            await target.trigger(request(target, item, inputs={"client": str(item)}))
        assert [page async for page in target.executions("another")] == []
        return [page async for page in target.executions("b-1")]

    pages = with_server(faults, faults.routed(answer), use, **POLLED)
    assert [len(page) for page in pages] == [100, 50]
    assert pages[1][49].metadata["batchkit_item"] == "149"
    assert pages[1][49].id == "j-149"


@pytest.mark.parametrize(
    ("status", "answer", "found"),
    [
        (200, {"jobs": [{"id": "j-9"}]}, "j-9"),
        (200, {"jobs": []}, None),
        (200, {"jobs": None}, None),
        (200, {"jobs": [{"id": None}]}, None),
        (200, {"results": []}, TargetError),
        (200, b"<html>Log in</html>", TargetError),
        (404, {}, TargetError),
        (401, {}, AuthError),
        (500, {}, TargetError),
    ],
)
def test_a_row_in_doubt_is_looked_up_and_never_taken_for_lost_by_mistake(
    faults: ModuleType, status: int, answer: object, found: Any
) -> None:
    async def use(server: Any, target: HttpTarget) -> Execution | None:
        assert target.can_look_up
        assert target.listing_delay == 120
        try:
            return await target.find("b-1", 7, 2)
        finally:
            assert server.requests[0].target == "/jobs?key=b-1-7"

    if isinstance(found, type):
        with pytest.raises(found):
            with_server(faults, faults.answering(status, answer), use, **POLLED, **LOOKED_UP)
        return
    execution = with_server(faults, faults.answering(status, answer), use, **POLLED, **LOOKED_UP)
    assert execution == (None if found is None else Execution(id=found, status=ExecutionStatus.QUEUED))


def test_a_key_in_the_path_that_is_not_found_is_a_row_that_never_arrived(faults: ModuleType) -> None:
    settings: dict[str, Any] = {"body": {"ref": "{{batchkit_key}}"}, "lookup": Lookup("/jobs/{{batchkit_key}}")}

    async def use(server: Any, target: HttpTarget) -> Execution | None:
        return await target.find("b-1", 0, 1)

    assert with_server(faults, faults.answering(404, {}), use, **settings) is None
    execution = with_server(faults, faults.answering(200, {"id": "x", "n": 1}), use, **settings, result="$.n")
    assert (execution.id, execution.status, execution.result) == ("x", ExecutionStatus.COMPLETED, 1)


def test_without_a_lookup_nobody_is_told_that_a_row_never_arrived() -> None:
    target = target_at("https://api.example.com")
    assert not target.can_look_up
    with pytest.raises(TargetError, match="no lookup="):
        run(target.find("b-1", 0, 1))


def test_each_attempt_of_a_row_carries_the_same_key(faults: ModuleType) -> None:
    async def use(server: Any, target: HttpTarget) -> list[str]:
        for item, attempt in ((0, 1), (0, 2), (1, 1)):
            await target.trigger(request(target, item, attempt=attempt))
        return [seen.headers["idempotency-key"] for seen in server.requests]

    keys = with_server(faults, faults.answering(200), use, idempotency_header="Idempotency-Key")
    assert keys == ["b-1-0", "b-1-0", "b-1-1"]


def test_what_is_fetched_carries_the_secrets_and_the_fixed_headers_only(faults: ModuleType) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "X-Tenant": "7", "X-Client": "{{client}}", "Content-Type": "a/b"}

    async def use(server: Any, target: HttpTarget) -> dict[str, str]:
        await target.executions_by_id("b-1", [(0, "a")])
        seen: dict[str, str] = server.requests[0].headers
        return seen

    seen = with_server(faults, faults.answering(200, {"status": "done"}), use, headers=headers, **POLLED)
    assert (seen["authorization"], seen["x-tenant"]) == (f"Bearer {TOKEN}", "7")
    assert "x-client" not in seen
    assert "content-type" not in seen


def test_the_request_leaves_exactly_as_the_dry_run_shows_it(faults: ModuleType) -> None:
    hostile = {"client": 'é"\\{{x}}\n;a=1,&/../?#', "n": 3}

    async def use(server: Any, target: HttpTarget) -> None:
        shown = target.dry_run(hostile)
        assert server.requests == []
        await target.trigger(request(target, inputs=hostile))
        (seen,) = server.requests
        assert (seen.method, f"{server.url}{seen.target}") == (shown.method, shown.url)
        assert seen.body == shown.content
        assert seen.json == hostile | {"text": "n=3"}
        own = {name.lower(): value for name, value in shown.headers} | {"x-key": TOKEN}
        assert {name: value for name, value in seen.headers.items() if name not in ("host", "content-length")} == own

    async def scenario() -> None:
        async with faults.FaultServer(faults.answering(200)) as server:
            target = HttpTarget(
                "PUT",
                server.url + "/a/{{client}}/b;c?q={{client}}&n={{n}}",
                headers={"X-Key": Secret(TOKEN)},
                body={"client": "{{client}}", "n": "{{n}}", "text": "n={{n}}"},
                allow_private=True,
            )
            await use(server, target)
            await target.aclose()

    run(scenario())


def test_a_dry_run_names_what_is_wrong_with_the_row() -> None:
    target = target_at("https://api.example.com")
    with pytest.raises(ConfigError, match="no input 'clent' in the template; its inputs: client"):
        target.dry_run({"clent": "x"})
    with pytest.raises(ConfigError, match="no value for client"):
        target.dry_run({})
    with pytest.raises(ConfigError, match=r"A row is what .* not 'x'"):
        target.dry_run("x")  # type: ignore[arg-type]


def test_a_test_is_sent_alone_and_followed_to_its_end(faults: ModuleType) -> None:
    looks = iter(["queued", "running", "done"])

    def answer(seen: Any) -> tuple[int, object]:
        return (202, {"id": "j-1"}) if seen.method == "POST" else (200, {"status": next(looks), "n": 5})

    async def use(server: Any, target: HttpTarget) -> HttpTrial:
        trial = await asyncio.to_thread(target.send_test, {"client": "Ada"})
        posts = [seen for seen in server.requests if seen.method == "POST"]
        assert [seen.json for seen in posts] == [{"client": "Ada"}]
        return trial

    polling = {"polling": Polling("/jobs/{{id}}", interval=0.01)}
    trial = with_server(faults, faults.routed(answer), use, result="$.n", headers={"X-Key": TOKEN}, **polling)
    assert isinstance(trial.outcome, Triggered)
    assert trial.execution is not None
    assert (trial.status, trial.execution.id, trial.execution.status, trial.result) == (202, "j-1", "completed", 5)
    assert repr(trial).endswith("/jobs: answered 202, Triggered\nexecution j-1: completed\nresult: 5")
    assert TOKEN not in repr(trial) + repr(trial.request)


def test_a_test_that_is_refused_says_so(faults: ModuleType) -> None:
    async def use(server: Any, target: HttpTarget) -> HttpTrial:
        # in the thread whose loop runs, as a notebook's cell is
        return await asyncio.to_thread(target.send_test, {"client": "Ada"})

    trial = with_server(faults, faults.answering(422, {"error": "no such client"}), use)
    assert isinstance(trial.outcome, Refused)
    assert (trial.status, trial.execution, trial.result) == (422, None, None)
    assert repr(trial).endswith("answered 422, Refused\nno such client")


def test_a_test_whose_status_url_is_of_no_use_still_says_what_was_sent(faults: ModuleType) -> None:
    def answer(seen: Any) -> tuple[int, object]:
        return (202, {"id": "j-1"}) if seen.method == "POST" else (404, {"error": "no such job"})

    async def use(server: Any, target: HttpTarget) -> HttpTrial:
        return await asyncio.to_thread(target.send_test, {"client": "Ada"}, wait=0)

    trial = with_server(faults, faults.routed(answer), use, **POLLED)
    assert trial.execution == Execution(id="j-1", status=ExecutionStatus.QUEUED)
    assert "/jobs/j-1 answered 404" in trial.problem
    assert trial.problem in repr(trial)


def test_a_test_can_be_sent_from_a_cell_whose_loop_runs(closed_port: int) -> None:
    async def cell() -> HttpTrial:
        return target_at(f"http://127.0.0.1:{closed_port}").send_test({"client": "Ada"})

    trial = run(cell())
    assert (trial.status, trial.execution) == (None, None)
    assert isinstance(trial.outcome, NotSent)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"result": "data"}, "^result='data' is not a JSON path"),
        ({"error": "$..x"}, "^error="),
        ({"success": {"ok": True}}, "^success='ok' is not a JSON path"),
        ({"polling": Polling("/jobs/{{id}}", id="id")}, "^Polling: id='id' is not"),
        ({"polling": Polling("/jobs/")}, r"^Polling: url='/jobs/' needs the placeholder \{\{id\}\} .* it has none"),
        ({"polling": Polling("/jobs/{{id}}/{{client}}")}, "and no other"),
        ({"polling": Polling("https://other.example.com/{{id}}")}, "must be on https://api.example.com, not on"),
        ({"polling": Polling("http://api.example.com/{{id}}")}, "must be on https://api.example.com"),
        ({"polling": Polling("//other.example.com/{{id}}")}, "needs|must be"),
        ({"polling": Polling("jobs/{{id}}")}, "Write one like /jobs/"),
        ({"lookup": Lookup("/jobs?k={{batchkit_key}}")}, "the request carries none: give idempotency_header="),
        ({"idempotency_header": "Host"}, "Host is set by HTTP itself"),
        ({"idempotency_header": "x-key", "headers": {"X-Key": "1"}}, "is among the headers, too"),
        ({"total_timeout": 1.0, "connect_timeout": 2.0}, "connect_timeout must lie between"),
        ({"body": "{client}"}, "^body is not JSON"),
        ({"headers": [("X-Key", "1")]}, "^headers must be a dict of names and values, not a list"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(settings: dict[str, Any], message: str) -> None:
    if settings.get("polling") is not None and settings["polling"].url.startswith("//"):
        url = target_at("https://api.example.com", **settings)._inquiry.status_url
        assert url is not None
        assert url.fill({"id": "1"}).host == "api.example.com"
        return
    with pytest.raises(ConfigError, match=message):
        target_at("https://api.example.com", **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"interval": 0}, "interval must be more than 0"),
        ({"completed": []}, "completed has no word"),
        ({"failed": "error"}, "failed must be a list of words"),
        ({"failed": ["Done"]}, "'Done' is in completed and in failed"),
    ],
)
def test_words_of_a_status_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Polling("/jobs/{{id}}", **settings)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "0.0.0.0",
        "2130706433",
        "0x7f.1",
        "127.1",
        "localhost",
        "LOCALHOST",
        "a.localhost",
        "localhost.",
    ],
)
def test_a_private_address_is_refused_at_once_however_it_is_spelt(host: str) -> None:
    with pytest.raises(ConfigError, match=r"is not on the public internet: .*allow_private=True"):
        HttpTarget("POST", f"https://{host}/jobs")


def resolving_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Have every name mean these addresses."""

    def lookup(host: object, port: int, *args: object, **named: object) -> list[Any]:
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [
            (family[":" in each], socket.SOCK_STREAM, 6, "", (each, port, 0, 0) if ":" in each else (each, port))
            for each in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("::ffff:127.0.0.1",), ("127.0.0.1", "::1")])
def test_a_name_that_leads_to_a_private_address_is_not_connected_to(
    faults: ModuleType, monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]
) -> None:
    async def scenario() -> None:
        async with faults.FaultServer(faults.answering(200)) as server:
            resolving_to(monkeypatch, *addresses)
            url = f"http://rebound.example.com:{server.port}/jobs"
            target = HttpTarget("POST", url, body={"client": "{{client}}"})
            outcome = await target.trigger(request(target))
            assert isinstance(outcome, NotSent)
            assert "is a loopback address: pass allow_private=True" in outcome.message
            assert server.connections == 0
            await target.aclose()
            # the same name is reached with leave, so that what was tested is the leave
            target = HttpTarget("POST", url, body={"client": "{{client}}"}, allow_private=True)
            assert isinstance(await target.trigger(request(target)), Triggered)
            await target.aclose()

    if addresses == ("::ffff:127.0.0.1",) and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    run(scenario())


def test_a_name_that_changes_its_address_is_judged_by_the_one_connected_to(
    faults: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with faults.FaultServer(faults.answering(200)) as server:
            resolving_to(monkeypatch, "203.0.114.1")
            target = HttpTarget("POST", f"http://rebound.example.com:{server.port}/jobs", body={"client": "{{client}}"})
            resolving_to(monkeypatch, "127.0.0.1")
            assert isinstance(await target.trigger(request(target)), NotSent)
            assert server.connections == 0
            await target.aclose()

    run(scenario())


def test_a_redirect_is_not_followed_and_gets_no_secret(faults: ModuleType) -> None:
    async def scenario() -> None:
        async with faults.FaultServer(faults.answering(200)) as other:
            script = faults.answering(302, b"", Location=other.url + "/take?all=1")
            async with faults.FaultServer(script) as server:
                target = target_at(server.url, headers={"X-Key": TOKEN})
                assert isinstance(await target.trigger(request(target)), Unclear)
                assert other.requests == []
                await target.aclose()

    run(scenario())


def test_a_secret_is_in_no_message_repr_log_or_traceback(
    faults: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HTTP_TEST_TOKEN", TOKEN)
    headers = {"Authorization": "Bearer env:HTTP_TEST_TOKEN"}

    async def use(server: Any, target: HttpTarget) -> str:
        outcome = await target.trigger(request(target))
        assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
        assert target.info.secret == "env:HTTP_TEST_TOKEN"
        with pytest.raises(TargetError) as raised:
            await target._inquiry.look("a")
        frames = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
        return repr(outcome) + repr(target) + repr(target.info) + "".join(frames.format())

    with caplog.at_level(logging.DEBUG):
        echo = faults.answering(400, {"error": f"unknown key {TOKEN}"})
        said = with_server(faults, echo, use, headers=headers, **POLLED)
    assert "[hidden]" in said
    assert TOKEN not in said + caplog.text


def test_every_secret_is_blotted_out_of_messages_short_ones_too(faults: ModuleType) -> None:
    headers = {"X-Key": "tiny42", "X-Token": TOKEN}
    echo = faults.answering(403, {"error": f"neither tiny42 nor {TOKEN} is known"})
    outcome = outcome_of(faults, echo, headers=headers)
    assert outcome == Held(code="403", message="neither [hidden] nor [hidden] is known")


@pytest.mark.parametrize("settings", [{"result": "x"}, {"headers": {"Authorization": f"Bearer {TOKEN}", "X Y": "1"}}])
def test_a_constructor_that_fails_shows_no_secret_in_its_traceback(settings: dict[str, Any]) -> None:
    settings = {"headers": {"Authorization": f"Bearer {TOKEN}"}} | settings
    with pytest.raises(ConfigError) as raised:
        HttpTarget("POST", "https://api.example.com", **settings)
    frames = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
    package = str(Path(bk.__file__).parent)
    ours = [frame for frame in frames.stack if frame.filename.startswith(package)]
    assert ours
    assert not any(TOKEN in value for frame in ours for value in (frame.locals or {}).values())


def test_a_closed_target_sends_nothing(faults: ModuleType) -> None:
    async def use(server: Any, target: HttpTarget) -> Outcome:
        await target.aclose()
        outcome = await target.trigger(request(target))
        assert server.connections == 0
        return outcome

    assert isinstance(with_server(faults, faults.answering(200), use), NotSent)


def test_an_unreachable_status_url_raises(closed_port: int) -> None:
    async def scenario() -> None:
        target = target_at(f"http://127.0.0.1:{closed_port}", **POLLED)
        with pytest.raises(UnreachableError):
            await target.executions_by_id("b-1", [(0, "a")])
        await target.aclose()

    run(scenario())


def test_a_proxy_is_connected_to_without_the_secret_going_to_it(
    faults: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with faults.FaultServer(faults.answering(200)) as proxy:
            monkeypatch.setenv("http_proxy", proxy.url)
            target = HttpTarget("POST", "http://api.example.com/jobs", body={"client": "{{client}}"})
            assert isinstance(target._connection, Connection)
            assert isinstance(await target.trigger(request(target)), Triggered)
            assert proxy.requests[0].target == "http://api.example.com/jobs"
            assert json.loads(proxy.requests[0].body) == {"client": "Ada"}
            await target.aclose()

    run(scenario())
