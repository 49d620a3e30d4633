"""The demo platform's own routes, under /demo: faults, counts, the key, and proof that it is who it says."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from batchkit.errors import ConfigError
from batchkit.targets.demo.access import ApiKey
from batchkit.targets.demo.documents import execution_document
from batchkit.targets.demo.execute import parse_json_object
from batchkit.targets.demo.faults import Faults
from batchkit.targets.demo.organization import Organization
from batchkit.targets.demo.problem import HttpProblem, JsonAnswer
from batchkit.targets.demo.request_log import RequestLog

__all__ = ["CONTROL_PREFIX", "PROOF_PATH", "Control"]

CONTROL_PREFIX = "/demo"
#: needs no key: it proves that the server has it
PROOF_PATH = f"{CONTROL_PREFIX}/proof"


class Control:
    """What can be asked of and done to the demo platform from another process."""

    def __init__(self, organization: Organization, faults: Faults, log: RequestLog, key: ApiKey) -> None:
        self._organization = organization
        self._faults = faults
        self._log = log
        self._key = key

    def routes(self) -> list[BaseRoute]:
        """Every route."""
        return [
            Route(f"{CONTROL_PREFIX}/faults", self.set_faults, methods=["POST"]),
            Route(f"{CONTROL_PREFIX}/requests", self.requests, methods=["GET"]),
            Route(f"{CONTROL_PREFIX}/executions", self.executions, methods=["GET"]),
            Route(f"{CONTROL_PREFIX}/key", self.set_key, methods=["POST"]),
            Route(PROOF_PATH, self.proof, methods=["GET"]),
        ]

    async def set_faults(self, request: Request) -> Response:
        """Set faults: see `Faults.apply`."""
        try:
            self._faults.apply(parse_json_object(await request.body()))
        except ConfigError as exc:
            raise HttpProblem(400, str(exc)) from exc
        return JsonAnswer({})

    async def requests(self, request: Request) -> Response:
        """The log of execute requests, from after number `since`."""
        since = request.query_params.get("since", "0")
        if not since.isdecimal():
            raise HttpProblem.invalid(("since", f"must be the number of a request, not {since!r}"))
        items = [entry.as_document() for entry in self._log.since(int(since))]
        return JsonAnswer({"count": self._log.count, "items": items})

    async def executions(self, request: Request) -> Response:
        """All executions, listed yet or not, oldest first."""
        rows = self._organization.every_execution()
        items = [execution_document(row, self._organization.catalog) for row in rows]
        return JsonAnswer({"count": len(items), "items": items})

    async def set_key(self, request: Request) -> Response:
        """Revoke or restore the key: `{"revoked": true}`. The revoked key still opens /demo."""
        revoked = parse_json_object(await request.body()).get("revoked")
        if not isinstance(revoked, bool):
            raise HttpProblem.invalid(("revoked", f"must be true or false, not {revoked!r}"))
        self._key.revoked = revoked
        return JsonAnswer({"revoked": revoked})

    async def proof(self, request: Request) -> Response:
        """An answer to `challenge` that only a holder of the key can give."""
        return JsonAnswer({"proof": self._key.proof(request.query_params.get("challenge", ""))})
