"""The routes of the platform's HTTP API, each a thin layer over the organization."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from batchkit.core.agent import Agent, WorkflowVersion
from batchkit.targets.demo.catalog import Pool
from batchkit.targets.demo.documents import (
    Document,
    agent_document,
    execution_document,
    inputs_document,
    member_document,
    page_document,
    pool_document,
    profile_document,
    version_document,
)
from batchkit.targets.demo.execute import parse_json_object, read_execute_call
from batchkit.targets.demo.faults import Faults
from batchkit.targets.demo.organization import Organization
from batchkit.targets.demo.page import ExecutionPage
from batchkit.targets.demo.problem import HttpProblem, JsonAnswer
from batchkit.targets.demo.queries import read_executions_query, read_paging, search
from batchkit.targets.demo.request_log import RequestLog
from batchkit.targets.demo.webhooks import Webhooks

__all__ = ["API_PREFIX", "PlatformApi"]

API_PREFIX = "/agents/v2"

_Endpoint = Callable[[Request], Awaitable[Response]]


class PlatformApi:
    """The calls of the platform, under the names its documentation uses and the newer ones of its SDK."""

    def __init__(
        self, organization: Organization, faults: Faults, log: RequestLog, page: ExecutionPage, webhooks: Webhooks
    ) -> None:
        self._organization = organization
        self._page = page
        self._webhooks = webhooks
        self._catalog = organization.catalog
        self._faults = faults
        self._log = log

    def routes(self) -> list[BaseRoute]:
        """Every route, the busiest first."""
        table: list[tuple[str, str, _Endpoint]] = [
            ("POST", "/agents/{agent_id}/execute", self.execute),
            ("GET", "/executions/{execution_id}", self.execution),
            ("GET", "/executions", self.executions),
            ("POST", "/executions/{execution_id}/cancel", self.cancel),
            ("POST", "/executions/{execution_id}/pause", self.pause),
            ("POST", "/executions/{execution_id}/resume", self.resume),
            ("GET", "/agents", self.agents),
            ("GET", "/agents/{agent_id}/workflows", self.versions),
            ("GET", "/agents/{agent_id}/workflows/{version_id}/inputs", self.inputs),
            ("GET", "/agent-profiles", self.profiles),
            ("GET", "/agent-profile-pools", self.pools),
            ("GET", "/agent-profile-pools/{pool_id}/members", self.members),
            ("POST", "/workflows/{agent_id}/execute", self.execute),
            ("GET", "/workflows", self.agents),
            ("GET", "/workflows/{agent_id}/versions", self.versions),
            ("GET", "/workflows/{agent_id}/versions/{version_id}/inputs", self.inputs),
            ("GET", "/profiles", self.profiles),
            ("GET", "/profile-groups", self.pools),
            ("GET", "/profile-groups/{pool_id}/members", self.members),
        ]
        return [Route(API_PREFIX + path, endpoint, methods=[method]) for method, path, endpoint in table]

    async def execute(self, request: Request) -> Response:
        """Create an execution."""
        number: int = request.scope["state"]["request_number"]
        body = parse_json_object(await request.body())
        self._log.note_body(number, body)
        call = read_execute_call(self._catalog, request.path_params["agent_id"], body)
        accepted = self._organization.execute(call)
        self._log.note_execution(number, accepted.id)
        await self._webhooks.precede(accepted.id)
        return JsonAnswer({"executionId": accepted.id, "status": accepted.status.value}, 202)

    async def execution(self, request: Request) -> Response:
        """One execution."""
        row = self._organization.execution(request.path_params["execution_id"])
        return JsonAnswer(self._document(row, request))

    async def executions(self, request: Request) -> Response:
        """A page of executions."""
        query = read_executions_query(request.query_params)
        rows, total = self._organization.executions(query, self._faults.listing_delay)
        items = [self._document(row, request) for row in rows]
        return JsonAnswer(page_document(items, query.page, query.page_size, total))

    async def cancel(self, request: Request) -> Response:
        """End an execution."""
        return self._change(request, self._organization.cancel, "cancelled")

    async def pause(self, request: Request) -> Response:
        """Hold an execution."""
        return self._change(request, self._organization.pause, "paused")

    async def resume(self, request: Request) -> Response:
        """Let an execution go on."""
        return self._change(request, self._organization.resume, "running")

    async def agents(self, request: Request) -> Response:
        """A page of agents."""
        found = search(self._catalog.agents.values(), request.query_params, lambda agent: agent.name)
        return self._answer_page(request, [agent_document(agent, self._catalog) for agent in found])

    async def versions(self, request: Request) -> Response:
        """The versions of an agent, newest first."""
        agent = self._agent(request)
        parents: list[WorkflowVersion | None] = [*agent.versions[1:], None]
        return JsonAnswer(
            [
                version_document(
                    version, parent, not version.published and not self._organization.was_executed(version.id)
                )
                for version, parent in zip(agent.versions, parents, strict=True)
            ]
        )

    async def inputs(self, request: Request) -> Response:
        """The input variables of a version."""
        version_id = request.path_params["version_id"]
        for version in self._agent(request).versions:
            if version.id == version_id:
                return JsonAnswer(inputs_document(version))
        raise HttpProblem(404, f"There is no version {version_id!r} of this agent.")

    async def profiles(self, request: Request) -> Response:
        """A page of profiles."""
        found = search(self._catalog.profiles.values(), request.query_params, lambda profile: profile.name)
        return self._answer_page(request, [profile_document(profile, self._catalog) for profile in found])

    async def pools(self, request: Request) -> Response:
        """A page of pools."""
        found = search(self._catalog.pools.values(), request.query_params, lambda pool: pool.name)
        return self._answer_page(request, [pool_document(pool, self._catalog) for pool in found])

    async def members(self, request: Request) -> Response:
        """A page of a pool's profiles."""
        members = self._pool(request).members
        return self._answer_page(request, [member_document(member, self._catalog) for member in members])

    def _document(self, row: sqlite3.Row, request: Request) -> Document:
        url = str(request.base_url).rstrip("/") + self._page.path(row["id"])
        return execution_document(row, self._catalog, url)

    def _change(self, request: Request, change: Callable[[str], None], status: str) -> Response:
        execution_id = request.path_params["execution_id"]
        change(execution_id)
        return JsonAnswer({"executionId": execution_id, "status": status})

    def _answer_page(self, request: Request, documents: list[Document]) -> Response:
        paging = read_paging(request.query_params)
        return JsonAnswer(page_document(paging.cut(documents), paging.page, paging.page_size, len(documents)))

    def _agent(self, request: Request) -> Agent:
        agent_id = request.path_params["agent_id"]
        agent = self._catalog.agents.get(agent_id)
        if agent is None:
            raise HttpProblem(404, f"There is no agent {agent_id!r}.")
        return agent

    def _pool(self, request: Request) -> Pool:
        pool_id = request.path_params["pool_id"]
        pool = self._catalog.pools.get(pool_id)
        if pool is None:
            raise HttpProblem(404, f"There is no pool {pool_id!r}.")
        return pool
