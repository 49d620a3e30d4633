"""AsteroidTarget: the agent platform over HTTP (specification: platform API).

How an answer to `trigger` is read; design, "Nothing lost, nothing sent twice":

    2xx with an execution id      Triggered
    401, 402, 403, 307, 308       Held: nothing runs, and the next row would fare the same (307 and 308 ask for the same
                                  request at another address, where the key must not go)
    429                           Wait
    other 4xx except 408          Refused
    no connection                 NotSent
    everything else               Unclear: 2xx without an id, other 3xx (a 303 may follow on work done), 408, 5xx,
                                  timeouts, broken answers
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Literal, TypeVar

import httpx

from batchkit.core.agent import Agent, WorkflowVersion
from batchkit.core.execution import Execution, ExecutionStatus
from batchkit.core.outcome import Held, Outcome, Refused, Triggered, Unclear, Wait
from batchkit.core.profile import AgentProfile, ProfilePool
from batchkit.core.request import ATTEMPT_KEY, BATCH_KEY, ITEM_KEY, TriggerRequest
from batchkit.core.target import TargetInfo
from batchkit.errors import ConfigError, NotFoundError, TargetError
from batchkit.targets import wire
from batchkit.targets.connection import Answer, Connection, SecretHeader, base_url, is_loopback
from batchkit.targets.reader import Reader
from batchkit.targets.secret import Secret

__all__ = ["AsteroidTarget"]

_PLATFORM_URL = "https://odyssey.asteroid.ai"
_KEY_REFERENCE = "env:BATCHKIT_API_KEY"
_HEADER = "X-Asteroid-Agents-Api-Key"
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_ROOT = ("agents", "v2")
#: seconds until an execution is sure to be listed: by the platform, and by a server on this machine
_LISTED, _LISTED_AT_HOME = 120.0, 2.0
#: taken off `since`, because the platform's "created after" may exclude the very moment
_MARGIN = timedelta(seconds=1)
_OLDEST_FIRST = (("sortField", "created_at"), ("sortDirection", "asc"))

_Named = TypeVar("_Named", Agent, AgentProfile, ProfilePool)


class AsteroidTarget:
    """Triggers agents of the platform and reads what became of them.

    url: None means the environment variable BATCHKIT_URL, or else the platform itself. api_key: None means
    BATCHKIT_API_KEY; a `Secret` with a reference lets another process take a batch over.
    total_timeout, connect_timeout: seconds. listing_delay: seconds until the platform is sure to list an execution;
    None means 120, an assumption, and 2 for a server on this machine.
    header: what carries the key. on_capacity_limit: "queue" has the platform queue a row it has no room for, "reject"
    makes it say 429. retry_delays: seconds before a *fetch* is tried again; a trigger never is.
    Raises ConfigError for what cannot work, and for http:// to another machine.
    """

    can_look_up: bool = True
    poll_interval: float = 2.0

    def __init__(
        self,
        url: str | None = None,
        api_key: str | Secret | None = None,
        *,
        label: str | None = None,
        total_timeout: float = 60.0,
        connect_timeout: float = 10.0,
        listing_delay: float | None = None,
        header: str = _HEADER,
        on_capacity_limit: Literal["reject", "queue"] = "reject",
        max_connections: int = 512,
        retry_delays: Sequence[float] = (0.2, 1.0),
    ) -> None:
        try:
            if api_key is None:
                api_key = Secret.from_reference(_KEY_REFERENCE)
            secret = api_key if isinstance(api_key, Secret) else Secret(api_key)
        finally:
            api_key = None  # a verbose traceback shows what each function was called with
        try:
            base = base_url(url or _usual_url(), ending="/" + "/".join(_ROOT))
        finally:
            url = None  # likewise, where the two were taken for each other
        if not _HEADER_NAME.match(header):
            raise ConfigError(f"header={header!r} is not the name of an HTTP header, such as {_HEADER}.")
        if on_capacity_limit not in ("reject", "queue"):
            raise ConfigError(f"on_capacity_limit must be 'reject' or 'queue', not {on_capacity_limit!r}.")
        if listing_delay is None:
            listing_delay = _LISTED_AT_HOME if is_loopback(base) else _LISTED
        if listing_delay < 0:
            raise ConfigError(f"listing_delay must be 0 or more seconds, not {listing_delay:g}.")
        self._connection = Connection(
            base,
            secrets=[SecretHeader(name=header, secret=secret)],
            total_timeout=total_timeout,
            connect_timeout=connect_timeout,
            max_connections=max_connections,
        )
        self._execute_urls: dict[str, httpx.URL] = {}
        self._reader = Reader(self._connection, _ROOT, retry_delays=retry_delays)
        self._on_capacity_limit = on_capacity_limit
        self.total_timeout = total_timeout
        self.listing_delay = listing_delay
        self._info = TargetInfo(
            kind="asteroid",
            url=str(base),
            account=_account(base, secret),
            secret=secret.reference,
            label=label if label is not None else base.netloc.decode(),
        )

    def __repr__(self) -> str:
        return f"AsteroidTarget(url={self._info.url!r})"

    @property
    def info(self) -> TargetInfo:
        """What a batch remembers of this target; `account` tells two keys apart without giving them away."""
        return self._info

    async def agents(self) -> list[Agent]:
        """Every agent, by name, without inputs and versions."""
        return _by_name([wire.read_agent(item) for item in await self._reader.items("agents")])

    async def agent(self, agent_id: str, version: int | None = None) -> Agent:
        """That agent with its versions, and the inputs of `version`.

        None: of the published version, or the newest where none is published. Raises NotFoundError.
        """
        versions = wire.read_versions(await self._reader.items("agents", agent_id, "workflows"))
        agent = next((agent for agent in await self.agents() if agent.id == agent_id), None)
        if agent is None:
            raise NotFoundError(f"{self._info.url} has no agent with the id {agent_id!r}. `ws.agents()` lists them.")
        chosen = _choose(versions, agent, version)
        if chosen is None:
            return agent
        inputs = wire.read_inputs(
            await self._reader.items("agents", agent_id, "workflows", chosen.id, "inputs", key="inputs")
        )
        versions = [replace(each, inputs=inputs) if each is chosen else each for each in versions]
        return replace(agent, inputs=inputs, version=chosen.version, versions=versions)

    async def profiles(self) -> list[AgentProfile]:
        """Every agent profile, by name."""
        return _by_name([wire.read_profile(item) for item in await self._reader.items("agent-profiles")])

    async def pools(self) -> list[ProfilePool]:
        """Every pool of agent profiles, by name."""
        return _by_name([wire.read_pool(item) for item in await self._reader.items("agent-profile-pools")])

    async def clock(self) -> datetime | None:
        """What the platform's clock says, to the second, by an answer's Date; None: it does not say."""
        answer = await self._connection.send("GET", self._connection.url(*_ROOT, "agents"))
        told = answer.headers.get("date") if isinstance(answer, Answer) else None
        try:
            return None if told is None else parsedate_to_datetime(told).astimezone(UTC)
        except (ValueError, OverflowError):
            return None

    async def trigger(self, request: TriggerRequest) -> Outcome:
        """What became of one attempt to trigger a row; sent once at most. The table is at the top of this module."""
        try:
            url = self._execute_url(request.agent_id)
            body = wire.execute_body(request, on_capacity_limit=request.on_capacity_limit or self._on_capacity_limit)
        except NotFoundError as exc:
            return Refused(code="404", message=str(exc))
        except (TypeError, ValueError) as exc:
            return Refused(code="not_json", message=f"The row's values cannot be sent as JSON: {exc}.")
        answer = await self._connection.send("POST", url, body)
        return self._outcome(answer) if isinstance(answer, Answer) else answer

    async def find(self, batch_id: str, item: int, attempt: int) -> Execution | None:
        """The execution that attempt created, the oldest should there be several, or None.

        Raises TargetError where the platform's answer leaves that open.
        """
        wanted = {BATCH_KEY: batch_id, ITEM_KEY: str(item), ATTEMPT_KEY: str(attempt)}
        found: list[Execution] = []
        async for items in self._reader.pages(
            "executions", query=[("metadata", f"{k}={v}") for k, v in wanted.items()]
        ):
            if any(not isinstance(each.get("metadata"), dict) for each in items):
                raise TargetError(
                    f"{self._info.url} lists executions without their metadata, so item {item} of batch {batch_id} "
                    "cannot be looked up: decide with batch.settle()."
                )
            executions = [wire.read_execution(each) for each in items]
            found += [each for each in executions if wanted.items() <= each.metadata.items()]
        return min(found, key=lambda each: each.created_at or datetime.max.replace(tzinfo=UTC), default=None)

    async def executions(self, batch_id: str, since: datetime | None = None) -> AsyncIterator[list[Execution]]:
        """The batch's executions in pages of up to 100, oldest first, so that new ones only add to the end.

        since: aware; somewhat older ones may be among them, and one may come twice.
        """
        async for page in self._listed(batch_id, since, ()):
            yield page

    async def ended(self, batch_id: str, since: datetime) -> AsyncIterator[list[Execution]]:
        """The batch's executions that have ended, likewise. One that ends meanwhile only moves others further on."""
        async for page in self._listed(batch_id, since, [status for status in ExecutionStatus if status.terminal]):
            yield page

    async def standing(self, batch_id: str, statuses: Sequence[ExecutionStatus]) -> tuple[list[Execution], int | None]:
        """Up to 100 of the batch's executions in one of these statuses, oldest first, and how many there are.

        One request.
        """
        query = [("metadata", f"{BATCH_KEY}={batch_id}"), *_OLDEST_FIRST]
        query += [("status", status.value) for status in statuses]
        items, total = await self._reader.page("executions", query=query)
        return _of_batch(items, batch_id), total

    async def execution(self, execution_id: str) -> Execution:
        """That execution. Raises NotFoundError."""
        return wire.read_execution(await self._reader.one("executions", execution_id))

    async def _listed(
        self, batch_id: str, since: datetime | None, statuses: Sequence[ExecutionStatus]
    ) -> AsyncIterator[list[Execution]]:
        query = [("metadata", f"{BATCH_KEY}={batch_id}"), *_OLDEST_FIRST]
        query += [("status", status.value) for status in statuses]
        if since is not None:
            query.append(("createdAfter", wire.time_text(since - _MARGIN)))
        async for items in self._reader.pages("executions", query=query):
            yield _of_batch(items, batch_id)

    async def aclose(self) -> None:
        """Close every connection. What is sent afterwards is NotSent."""
        await self._connection.aclose()

    def _execute_url(self, agent_id: str) -> httpx.URL:
        url = self._execute_urls.get(agent_id)
        if url is None:
            url = self._execute_urls[agent_id] = self._connection.url(*_ROOT, "agents", agent_id, "execute")
        return url

    def _outcome(self, answer: Answer) -> Outcome:
        """What an answer to an execute call means."""
        status = answer.status
        if 200 <= status < 300:
            return self._triggered(answer)
        code = str(status)
        message = self._connection.clean(wire.read_problem(status, answer.content))
        if status in (401, 402, 403):
            return Held(code=code, message=message)
        if status in (307, 308):
            return Held(
                code=code, message=f"{self._info.url} sends the request on to {self._connection.elsewhere(answer)}."
            )
        if status == 429:
            return Wait(retry_after=wire.read_retry_after(answer.headers, datetime.now(UTC)), message=message)
        if 400 <= status < 500 and status != 408:
            return Refused(code=code, message=message)
        return Unclear(message=f"{self._info.url} answered {status}: {message}")

    def _triggered(self, answer: Answer) -> Triggered | Unclear:
        try:
            body = wire.parse(answer.content)
        except ValueError:
            body = None
        identity = body.get("executionId") if isinstance(body, dict) else None
        if not isinstance(identity, str) or not identity:
            return Unclear(
                message=f"{self._info.url} answered {answer.status} without an execution id: "
                + self._connection.clean(answer.content.decode(errors="replace"))
            )
        status = wire.read_status(body.get("status")) or ExecutionStatus.QUEUED
        return Triggered(execution=Execution(id=identity, status=status))


def _of_batch(items: Sequence[dict[str, Any]], batch_id: str) -> list[Execution]:
    """The executions among those listed that are the batch's, whatever the platform makes of the filter."""
    executions = [wire.read_execution(each) for each in items]
    return [each for each in executions if each.metadata.get(BATCH_KEY) == batch_id]


def _usual_url() -> str:
    # a line that fails must not name os.environ: a verbose traceback would show all of it
    return os.environ.get("BATCHKIT_URL") or _PLATFORM_URL


def _account(base: httpx.URL, secret: Secret) -> str:
    """A hash that tells two accounts apart. On loopback the port says only where a server happens to listen."""
    place = f"{base.scheme}://{base.host}" if is_loopback(base) else str(base)
    return hashlib.sha256(f"{place}\n{secret.reveal()}".encode()).hexdigest()[:12]


def _choose(versions: Sequence[WorkflowVersion], agent: Agent, number: int | None) -> WorkflowVersion | None:
    """The version of that number; None: the published one, else the newest, else nothing."""
    if number is None:
        return next((each for each in versions if each.published), versions[0] if versions else None)
    chosen = next((each for each in versions if each.version == number), None)
    if chosen is None:
        known = ", ".join(str(each.version) for each in versions) or "none"
        raise NotFoundError(f"Agent {agent.name!r} has no version {number}. Its versions: {known}.")
    return chosen


def _by_name(values: list[_Named]) -> list[_Named]:
    return sorted(values, key=lambda value: (value.name.casefold(), value.name, value.id))
