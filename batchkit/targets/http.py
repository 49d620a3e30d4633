"""HttpTarget: any endpoint that takes a request per row.

How an answer to `trigger` is read; design, "Nothing lost, nothing sent twice":

    2xx                           Triggered: finished with this answer, or to be followed where there is a status URL.
                                  Where `success` is not met, the execution failed; with a status URL, Refused
    2xx without an id             Unclear, where a status URL needs one
    401, 402, 403, 307, 308       Held: nothing runs, and the next row would fare the same
    429                           Wait
    other 4xx except 408          Refused, and so is a row whose values do not fit into the request
    no connection                 NotSent; so is an address that is not public, unless it is allowed
    everything else               Unclear: other 3xx, 408, 5xx, timeouts, broken answers
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx

from batchkit.core.agent import Agent, InputVariable
from batchkit.core.execution import Execution, ExecutionStatus
from batchkit.core.outcome import Held, NotSent, Outcome, Refused, Triggered, Unclear, Wait
from batchkit.core.profile import AgentProfile, ProfilePool
from batchkit.core.request import NewItem, TriggerRequest
from batchkit.core.target import TargetInfo
from batchkit.core.validation import Validation
from batchkit.errors import ConfigError, NotFoundError, TargetError
from batchkit.targets import wire
from batchkit.targets.address import literal_address, objection_to
from batchkit.targets.answers import Answers, Lookup, Polling, read_document
from batchkit.targets.connection import Answer, Connection
from batchkit.targets.http_request import HttpRequest, HttpTrial
from batchkit.targets.inquiry import ID, Inquiry
from batchkit.targets.placeholder import Text
from batchkit.targets.secret import Secret
from batchkit.targets.template import KEY, Header, Template, UrlTemplate, read_headers, standard_headers

__all__ = ["HttpTarget"]

_PAGE = 100


class HttpTarget:
    """Triggers rows at one endpoint by a template of the request.

    `{{name}}` in `url` (after the host), `headers` and `body` stands for a row's value of the input `name`: alone in
    the JSON it keeps its type, inside a text it is text, in the URL it is percent-encoded. `{{batchkit_key}}` names
    the row, the same with each attempt. inputs: schema, default, or being optional of such names; others are required.
    headers: a value may be a bk.Secret, or "env:NAME", "keyring:service/user", "Bearer env:NAME".
    body: JSON as text, or as Python lists and dictionaries. error, result: JSON paths in the answer that ends it.
    success: JSON paths in the answer to the request, each with the value, or list of values, that mean success.
    polling: for endpoints that answer before they are done. lookup: lets rows in doubt be settled.
    idempotency_header: a header that carries the key. allow_private: reach addresses that are not public, too.
    total_timeout, connect_timeout: seconds. Raises ConfigError for what cannot work.
    """

    #: for a traceback from within `__init__`, too
    _shown: str = "not made yet"

    def __init__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str | Secret] | None = None,
        body: Any = None,
        inputs: Sequence[InputVariable] = (),
        name: str | None = None,
        result: str = "$",
        error: str = "$.error",
        success: Mapping[str, Any] | None = None,
        polling: Polling | None = None,
        lookup: Lookup | None = None,
        idempotency_header: str | None = None,
        allow_private: bool = False,
        total_timeout: float = 60.0,
        connect_timeout: float = 10.0,
        max_connections: int = 512,
    ) -> None:
        try:
            read = read_headers(headers)
        finally:
            headers = None  # a verbose traceback shows what each function was called with
        if idempotency_header is not None:
            read = _with_key(read, idempotency_header)
        self._template = Template(method=method, url=url, headers=read, body=body, inputs=inputs)
        self._answers = Answers(result=result, error=error, success=success, polling=polling, lookup=lookup)
        status_url = _other_url(polling.url, "Polling: url", ID, self._template) if polling else None
        lookup_url = _other_url(lookup.url, "Lookup: url", KEY, self._template) if lookup else None
        if lookup is not None and not self._template.has_key:
            raise ConfigError(
                "lookup= looks a request up by its key, and the request carries none: give idempotency_header=, or "
                f"write {{{{{KEY}}}}} where the endpoint keeps it."
            )
        origin = self._template.url.origin
        objection = "" if allow_private else _objection_to_host(origin.host)
        if objection:
            raise ConfigError(f"{origin} is not on the public internet: {objection}.")
        self._settings: dict[str, Any] = {
            "secrets": self._template.secrets,
            "total_timeout": total_timeout,
            "connect_timeout": connect_timeout,
            "max_connections": max_connections,
            "objection": None if allow_private else objection_to,
        }
        self._connection = Connection(origin, **self._settings)
        self._inquiry = Inquiry(
            self._connection,
            answers=self._answers,
            status_url=status_url,
            lookup_url=lookup_url,
            headers=_encoded(_for_get(self._template)),
        )
        #: whether `find` can tell if a request arrived
        self.can_look_up = lookup is not None
        self.listing_delay = lookup.delay if lookup is not None else 0.0
        self.total_timeout = total_timeout
        self.poll_interval = polling.interval if polling is not None else 1.0
        place = self._template.url.without_query
        self._shown = f"{self._template.method} {place}"
        label = name or f"{self._template.method} {place.partition('://')[2]}"
        self._agent = Agent(name=label, id=self._shown, inputs=self._template.inputs)
        account = _account(self._template)
        self._info = TargetInfo(
            kind="http",
            url=place,
            account=account,
            secret=", ".join(each.secret.reference for each in self._template.secrets if each.secret.reference),
            label=f"{label} (template {account[:6]})",
        )
        #: by batch and item, what was triggered here and is followed by the status URL: its id, and since when
        self._followed: dict[str, dict[int, tuple[str, datetime]]] = {}

    def __repr__(self) -> str:
        return f"HttpTarget({self._shown})"

    @property
    def info(self) -> TargetInfo:
        """What a batch remembers of this target; another template or other secrets are another target."""
        return self._info

    def dry_run(self, row: Mapping[str, Any] | NewItem | Validation) -> HttpRequest:
        """The request for a row exactly as it would be sent; nothing is sent.

        row: values by input name, or a Validation, whose first valid row is taken. Where the key goes, which names
        batch and row, it says "dry-run". Raises ConfigError.
        """
        return self._exact(_values(row), "dry-run")

    def send_test(self, row: Mapping[str, Any] | NewItem | Validation, *, wait: float = 30.0) -> HttpTrial:
        """Really send the request of one row, alone and outside of any batch, and say what the answer is taken for.

        The endpoint does whatever it does with a row. wait: seconds for an execution with a status URL to end.
        Raises ConfigError for a row that cannot be sent.
        """
        key = f"test-{uuid.uuid4().hex[:12]}"
        exact = self._exact(_values(row), key)
        return _in_a_thread(self._try(exact, key, wait))

    async def agents(self) -> list[Agent]:
        """The endpoint, as the one agent there is."""
        return [self._agent]

    async def agent(self, agent_id: str, version: int | None = None) -> Agent:
        """The endpoint. Raises NotFoundError for another id, or a version."""
        if agent_id != self._agent.id:
            raise NotFoundError(f"There is no agent {agent_id!r} here, only {self._agent.id!r}.")
        if version is not None:
            raise NotFoundError(f"{self._agent.name} has no version {version}: it has none.")
        return self._agent

    async def profiles(self) -> list[AgentProfile]:
        """None."""
        return []

    async def pools(self) -> list[ProfilePool]:
        """None."""
        return []

    async def trigger(self, request: TriggerRequest) -> Outcome:
        """What became of one attempt to trigger a row; sent once at most. The table is at the top of this module."""
        if request.agent_id != self._agent.id or request.version is not None:
            return Refused(code="404", message=f"There is only {self._agent.id!r} here, and it has no versions.")
        if request.profile is not None:
            return Refused(
                code="400", message=f"An HTTP target has no profiles, and the row names {request.profile.name!r}."
            )
        try:
            exact = self._template.request(request.inputs, _key(request.batch_id, request.item))
        except ValueError as exc:
            return Refused(code="not_sendable", message=f"The row cannot be sent: {exc}.")
        identity = f"{request.batch_id}-{request.item}-{request.attempt}"
        begun = datetime.now(UTC)
        answer = await self._send(self._connection, exact)
        outcome = self._outcome(answer, identity, begun) if isinstance(answer, Answer) else answer
        if isinstance(outcome, Triggered):
            self._follow(request.batch_id, request.item, outcome.execution.id)
        return outcome

    async def find(self, batch_id: str, item: int, attempt: int) -> Execution | None:
        """The execution that the row's request created, or None.

        Raises TargetError where the endpoint's answer leaves that open, and where there is no lookup.
        """
        found = await self._inquiry.find(_key(batch_id, item))
        if found is not None:
            self._follow(batch_id, item, found.id)
        return found

    async def executions(self, batch_id: str, since: datetime | None = None) -> AsyncIterator[list[Execution]]:
        """The batch's executions that were triggered here and have a status URL; others ended with their answer."""
        followed = list(self._followed.get(batch_id, {}).items())
        known = [(item, identity) for item, (identity, at) in followed if since is None or at >= since]
        for start in range(0, len(known), _PAGE):
            yield await self.executions_by_id(batch_id, known[start : start + _PAGE])

    async def executions_by_id(self, batch_id: str, known: Sequence[tuple[int, str]]) -> list[Execution]:
        """What the status URL says of these executions, (item, execution id) each.

        One it says nothing usable of is left out, to be asked for again. Raises TargetError where the endpoint as a
        whole cannot be asked.
        """
        return await self._inquiry.by_id(batch_id, known)

    async def aclose(self) -> None:
        """Close every connection. What is sent afterwards is NotSent."""
        await self._connection.aclose()

    async def _send(self, connection: Connection, exact: HttpRequest) -> Answer | NotSent | Unclear:
        return await connection.send(exact.method, httpx.URL(exact.url), exact.content, _encoded(exact.headers))

    async def _try(self, exact: HttpRequest, key: str, wait: float) -> HttpTrial:
        connection = Connection(self._template.url.origin, **self._settings)
        inquiry = self._inquiry.over(connection)
        try:
            begun, problem = datetime.now(UTC), ""
            answer = await self._send(connection, exact)
            outcome = self._outcome(answer, key, begun) if isinstance(answer, Answer) else answer
            execution = outcome.execution if isinstance(outcome, Triggered) else None
            end = asyncio.get_running_loop().time() + wait
            pause = min(1.0, self.poll_interval)
            while execution is not None and not execution.status.terminal:
                try:
                    execution, problem = await inquiry.look(execution.id), ""
                except TargetError as error:
                    problem = str(error)
                if execution.status.terminal or asyncio.get_running_loop().time() + pause > end:
                    break
                await asyncio.sleep(pause)
        finally:
            await connection.aclose()
        status = answer.status if isinstance(answer, Answer) else None
        return HttpTrial(request=exact, status=status, outcome=outcome, execution=execution, problem=problem)

    def _outcome(self, answer: Answer, identity: str, begun: datetime) -> Outcome:
        """What an answer to a row's request means. identity: of the execution, where the answer is all there is."""
        status, document = answer.status, read_document(answer.content)
        if 200 <= status < 300:
            return self._taken(status, document, identity, begun)
        message = self._answers.error(document) or wire.read_problem(status, answer.content)
        message, code = self._connection.clean(message), str(status)
        if status in (401, 402, 403):
            return Held(code=code, message=message)
        if status in (307, 308):
            where = self._connection.elsewhere(answer)
            return Held(code=code, message=f"{self._info.url} sends the request on to {where}.")
        if status == 429:
            return Wait(retry_after=wire.read_retry_after(answer.headers, datetime.now(UTC)), message=message)
        if 400 <= status < 500 and status != 408:
            return Refused(code=code, message=message)
        return Unclear(message=f"{self._info.url} answered {status}: {message}")

    def _taken(self, status: int, document: Any, identity: str, begun: datetime) -> Outcome:
        if self._inquiry.status_url is None:
            times = {"created_at": begun, "started_at": begun, "finished_at": datetime.now(UTC)}
            return Triggered(execution=self._answers.finished(identity, document, **times))
        objection = self._answers.objection(document)
        if objection:
            return Refused(code=str(status), message=self._connection.clean(objection))
        named = self._answers.execution_id(document)
        if named is None:
            said = self._connection.clean(str(document))
            return Unclear(message=f"{self._info.url} answered {status} without an execution id: {said}")
        return Triggered(execution=Execution(id=named, status=ExecutionStatus.QUEUED))

    def _follow(self, batch_id: str, item: int, identity: str) -> None:
        if self._inquiry.status_url is not None:
            self._followed.setdefault(batch_id, {})[item] = (identity, datetime.now(UTC))

    def _exact(self, values: Mapping[str, Any], key: str) -> HttpRequest:
        unknown = sorted(values.keys() - {each.name for each in self._template.inputs})
        if unknown:
            names = ", ".join(each.name for each in self._template.inputs) or "none"
            raise ConfigError(f"There is no input {unknown[0]!r} in the template; its inputs: {names}.")
        try:
            return self._template.request(values, key)
        except ValueError as exc:
            raise ConfigError(f"The row cannot be sent: {exc}.") from exc


def _values(row: Mapping[str, Any] | NewItem | Validation) -> Mapping[str, Any]:
    """The input values of a row."""
    if isinstance(row, Mapping):
        return row
    if isinstance(row, NewItem):
        return row.inputs
    if not isinstance(row, Validation):
        raise ConfigError(
            f"A row is what ws.validate() gave, or values by input name such as {{'client': 'Ada'}}, not {row!r}."
        )
    first = next(row.items(1), None)
    if first is None:
        raise ConfigError("None of the checked rows is valid, so there is none to send.")
    return first[0].inputs


def _key(batch_id: str, item: int) -> str:
    """What names a row to the endpoint. Without the attempt, so that a row sent again is known to be the same."""
    return f"{batch_id}-{item}"


def _with_key(headers: list[Header], name: str) -> list[Header]:
    (header,) = read_headers({name: f"{{{{{KEY}}}}}"})
    for each in headers:
        if (each[0] if isinstance(each, tuple) else each.name).lower() == name.lower():
            raise ConfigError(f"idempotency_header={name!r} is among the headers, too: leave it out of one.")
    return [*headers, header]


def _other_url(text: str, where: str, gap: str, template: Template) -> UrlTemplate:
    """A URL to fetch from, with that one placeholder."""
    url = UrlTemplate.parse(text, where, template.url.origin)
    if set(url.names) != {gap}:
        found = ", ".join(f"{{{{{name}}}}}" for name in url.names) or "none"
        raise ConfigError(f"{where}={text!r} needs the placeholder {{{{{gap}}}}} and no other; it has {found}.")
    return url


def _objection_to_host(host: str) -> str:
    """What is wrong with a host that can be told without asking for its addresses."""
    address = literal_address(host)
    if address is not None:
        return objection_to(address)
    if host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost"):
        return f"{host} is this machine: pass allow_private=True if it is meant"
    return ""


def _for_get(template: Template) -> list[tuple[str, str]]:
    """The template's headers that are the same for every row, for what is fetched."""
    same = [(name, Text.fill(text, {})) for name, text in template.headers if not text.names]
    own = [(name, value) for name, value in same if name.lower() != "content-type"]
    return [*own, *standard_headers(own, has_body=False)]


def _encoded(headers: Sequence[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers]


def _account(template: Template) -> str:
    """A hash that tells two templates or accounts apart."""
    secrets = [each.secret.reveal() for each in template.secrets]
    return hashlib.sha256("\n".join([template.describe(), *secrets]).encode()).hexdigest()[:12]


def _in_a_thread(work: Coroutine[Any, Any, HttpTrial]) -> HttpTrial:
    """The result of `work`, wherever this is called from: a notebook's thread has a loop that runs already."""
    with ThreadPoolExecutor(1, "batchkit-test") as threads:
        return threads.submit(asyncio.run, work).result()
