"""DemoPlatform: the agent platform's HTTP API, served from inside this process."""

from __future__ import annotations

import atexit
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from batchkit.core.agent import Agent
from batchkit.core.profile import AgentProfile
from batchkit.errors import ConfigError
from batchkit.targets.demo.access import ApiKey
from batchkit.targets.demo.agents import DEFAULT_AGENTS, DEFAULT_POOLS, DEFAULT_PROFILES
from batchkit.targets.demo.app import PlatformApi
from batchkit.targets.demo.catalog import Catalog, DemoPool
from batchkit.targets.demo.control import CONTROL_PREFIX, PROOF_PATH, Control
from batchkit.targets.demo.documents import execution_document
from batchkit.targets.demo.executions import Behaviour
from batchkit.targets.demo.fault_layer import FaultLayer
from batchkit.targets.demo.faults import Faults
from batchkit.targets.demo.organization import Organization, wall_clock
from batchkit.targets.demo.page import PAGE_PREFIX, ExecutionPage
from batchkit.targets.demo.problem import HttpProblem
from batchkit.targets.demo.request_log import RequestLog
from batchkit.targets.demo.server import LoopbackServer
from batchkit.targets.demo.state import State
from batchkit.targets.demo.webhooks import Webhooks, new_key, public_key_of

__all__ = ["DemoPlatform"]


class DemoPlatform:
    """A running platform on loopback: `url` and `api_key` are what a client needs. A context manager.

    Without arguments it offers three agents, five profiles and two pools, at a free port, with its state in memory.
    """

    def __init__(
        self,
        *,
        agents: Iterable[Agent] | None = None,
        profiles: Iterable[str | AgentProfile] | None = None,
        pools: Mapping[str, Sequence[str] | DemoPool] | None = None,
        duration: float | tuple[float, float] = (1.0, 3.0),
        failure_share: float = 0.1,
        unsuccessful_share: float = 0.0,
        attention_share: float = 0.0,
        capacity: int | None = None,
        listing_delay: float = 0.0,
        seed: int = 0,
        port: int = 0,
        state: str | Path | None = None,
        api_key: str | None = None,
        webhook_url: str | None = None,
    ) -> None:
        """Start serving.

        profiles, pools: the defaults if the agents are the defaults, too, else none.
        pools: name to the names of its profiles, or to a `DemoPool`.
        duration: of an execution, seconds, or the shortest and the longest.
        failure_share: executions that end as failed. unsuccessful_share: those that complete with outcome failure.
        attention_share: those that stand still for a while, as if a person were needed. All 0 to 1.
        capacity: executions active at a time, None: any number.
        listing_delay: seconds until an execution is listed; `faults.listing_delay` changes it later.
        seed: the same seed and inputs end the same way.
        state: a file that keeps executions and key; only one platform can use it at a time. None: in memory.
        api_key: None: the one in the state, else a new one.
        webhook_url: where to send signed webhooks of every execution; None: nowhere, see `send_webhooks`.
        Raises ConfigError and, for the file, StoreError.
        """
        if capacity is not None and capacity < 1:
            raise ConfigError(f"capacity={capacity!r} is not a number of executions: give at least 1, or None.")
        behaviour = Behaviour(
            duration=duration if isinstance(duration, tuple) else (duration, duration),
            failure_share=failure_share,
            unsuccessful_share=unsuccessful_share,
            attention_share=attention_share,
        )
        catalog = _catalog(agents, profiles, pools)
        database = State(None if state is None else Path(state))
        try:
            key = ApiKey(api_key or database.setting("api_key", f"demo-{secrets.token_urlsafe(24)}"))
            self._organization = Organization(
                catalog=catalog,
                state=database,
                behaviour=behaviour,
                capacity=capacity,
                seed=seed,
                on_change=lambda execution_id: self._webhooks.changed(execution_id),
            )
            self._key = key
            self._requests = RequestLog()
            #: what goes wrong on purpose
            self.faults = Faults(seed=seed, listing_delay=listing_delay)
            page = ExecutionPage(self._organization, key)
            self._webhooks = Webhooks(
                self._organization,
                self.faults,
                lambda: _signing_key(self._organization),
                lambda each: f"{self.url}{page.path(each)}",
                seed,
            )
            layer = FaultLayer(self._app(page), self.faults, self._requests, wall_clock)
            self._server = LoopbackServer(layer, port, layer.close)
        except BaseException:
            database.close()
            raise
        self._closed = False
        atexit.register(self.close)
        if webhook_url is not None:
            self.send_webhooks(webhook_url)

    @property
    def url(self) -> str:
        """Where it listens: "http://127.0.0.1:<port>"."""
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.port

    @property
    def api_key(self) -> str:
        """What a client must send in a header."""
        return self._key.text

    @property
    def webhook_public_key(self) -> str:
        """What a receiver knows the webhooks by: Base64 of DER. It is made when first asked for."""
        return public_key_of(self._webhooks.key)

    @property
    def requests(self) -> RequestLog:
        """The server's own log of execute requests, in the order of arrival."""
        return self._requests

    def executions(self) -> list[dict[str, Any]]:
        """All executions as the server knows them, oldest first, each as the API would answer it."""
        return [execution_document(row, self._organization.catalog) for row in self._organization.every_execution()]

    def send_webhooks(self, url: str) -> None:
        """Send signed webhooks of every execution there from now on; `faults.webhooks()` lets some go wrong."""
        self._webhooks.start(url)

    def revoke_key(self) -> None:
        """Answer 401 from now on."""
        self._key.revoked = True

    def restore_key(self) -> None:
        """Accept the key again."""
        self._key.revoked = False

    def close(self) -> None:
        """Stop serving and close the state. Closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        self._server.close()
        self._webhooks.close()
        self._organization.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        agents = len(self._organization.catalog.agents)
        return f"<DemoPlatform {self.url}: {agents} agents{', closed' if self._closed else ''}>"

    def _app(self, page: ExecutionPage) -> ASGIApp:
        api = PlatformApi(self._organization, self.faults, self._requests, page, self._webhooks)
        control = Control(self._organization, self.faults, self._requests, self._key)
        app = Starlette(
            routes=[*api.routes(), *control.routes(), *page.routes()],
            exception_handlers={
                HttpProblem: _answer_problem,
                HTTPException: _answer_http_exception,
                Exception: _answer_crash,
            },
        )
        return _Guard(app, self._key)


class _Guard:
    """Lets through who carries the key; the revoked one only to /demo, where it can be restored.

    The proof of the key and the pages of executions see to it themselves.
    """

    def __init__(self, app: ASGIApp, key: ApiKey) -> None:
        self._app = app
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path.startswith((PROOF_PATH, PAGE_PREFIX)) or (
            self._key.matches(scope["headers"]) and (not self._key.revoked or path.startswith(f"{CONTROL_PREFIX}/"))
        ):
            await self._app(scope, receive, send)
            return
        problem = HttpProblem(401, "The API key is missing, wrong or revoked.")
        await problem.response(path)(scope, receive, send)


def _signing_key(organization: Organization) -> RSAPrivateKey:
    """The key pair that the state keeps."""

    def make() -> str:
        return new_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    key = load_pem_private_key(organization.kept("webhook_key", make).encode(), None)
    assert isinstance(key, RSAPrivateKey)
    return key


def _catalog(
    agents: Iterable[Agent] | None,
    profiles: Iterable[str | AgentProfile] | None,
    pools: Mapping[str, Sequence[str] | DemoPool] | None,
) -> Catalog:
    if profiles is None and pools is None and agents is None:
        profiles, pools = DEFAULT_PROFILES, DEFAULT_POOLS
    return Catalog(
        agents=DEFAULT_AGENTS if agents is None else agents,
        profiles=() if profiles is None else profiles,
        pools={} if pools is None else pools,
    )


async def _answer_problem(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HttpProblem)
    return exc.response(request.url.path)


async def _answer_http_exception(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    problem = HttpProblem(exc.status_code, f"{request.method} {request.url.path}: {exc.detail}")
    return problem.response(request.url.path)


async def _answer_crash(request: Request, exc: Exception) -> Response:
    return HttpProblem(500, f"The demo platform failed: {type(exc).__name__}.").response(request.url.path)
