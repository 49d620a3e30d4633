"""The web page of one execution, for the links the platform gives out. A link carries its own permission."""

from __future__ import annotations

import hmac
import json
from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from batchkit.core.execution import ExecutionStatus
from batchkit.targets.demo.access import ApiKey
from batchkit.targets.demo.documents import execution_document
from batchkit.targets.demo.organization import Organization
from batchkit.targets.demo.problem import HttpProblem

__all__ = ["PAGE_PREFIX", "ExecutionPage"]

PAGE_PREFIX = "/executions/"
_SECONDS_BETWEEN_LOADS = 2
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_SHOWN = ("agentName", "workflowVersion", "agentProfileName", "createdAt", "startedAt", "terminalAt", "duration")


class ExecutionPage:
    """Shows an execution to whoever has its link."""

    def __init__(self, organization: Organization, key: ApiKey) -> None:
        self._organization = organization
        self._key = key

    def routes(self) -> list[BaseRoute]:
        """The page's route."""
        return [Route(f"{PAGE_PREFIX}{{execution_id}}", self.show, methods=["GET"])]

    def path(self, execution_id: str) -> str:
        """The link to the page, without the server's address."""
        return f"{PAGE_PREFIX}{execution_id}?token={self._token(execution_id)}"

    async def show(self, request: Request) -> Response:
        """The page."""
        execution_id = request.path_params["execution_id"]
        token = request.query_params.get("token", "")
        if not hmac.compare_digest(token.encode(), self._token(execution_id).encode()):
            raise HttpProblem(403, "This link is not complete: follow the one the platform gave out.")
        row = self._organization.execution(execution_id)
        document = execution_document(row, self._organization.catalog)
        return HTMLResponse(_html(document), headers={"Content-Security-Policy": _POLICY})

    def _token(self, execution_id: str) -> str:
        return self._key.proof(f"page {execution_id}")[:32]


def _html(document: dict[str, Any]) -> str:
    status = ExecutionStatus(document["status"])
    result = document.get("executionResult") or {}
    rows = [(name, document[name]) for name in _SHOWN if name in document]
    rows += [("inputs", document["inputs"]), ("metadata", document["metadata"])]
    rows += [(name, result[name]) for name in ("outcome", "reasoning", "result") if name in result]
    refresh = "" if status.terminal else f'<meta http-equiv="refresh" content="{_SECONDS_BETWEEN_LOADS}">'
    cells = "".join(f"<tr><th>{escape(name)}</th><td><pre>{_shown(value)}</pre></td></tr>" for name, value in rows)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{refresh}'
        f"<title>{escape(document['agentName'])}: {status}</title>"
        "<style>body{font-family:sans-serif;margin:2rem}th{text-align:left;vertical-align:top;padding-right:1rem}"
        "pre{margin:0;white-space:pre-wrap}</style></head>"
        f"<body><h1>{escape(document['agentName'])}: {status}</h1><p>Demo platform, execution "
        f"{escape(document['id'])}</p><table>{cells}</table></body></html>"
    )


def _shown(value: object) -> str:
    return escape(value if isinstance(value, str) else json.dumps(value, indent=2))
