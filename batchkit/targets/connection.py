"""Connection: sends requests with a secret header to one host, and tells what may have left from what has not.

All HTTP of the targets goes through `Connection.send`. It calls httpx's aiohttp transport directly: every request is
built here in full, so that an `httpx.AsyncClient` around it would only merge, log and copy cookies, at about a third
more CPU. Nothing is ever sent a second time, and no redirect is followed.
"""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.metadata import version
from ipaddress import ip_address
from urllib.parse import quote
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from aiohttp.abc import AbstractStreamWriter
from httpx_aiohttp import AiohttpTransport

from batchkit.core.outcome import NotSent, Unclear
from batchkit.errors import ConfigError, NotFoundError
from batchkit.targets.secret import Secret

__all__ = ["Answer", "Connection", "base_url", "is_loopback", "short"]

#: seconds an idle connection is kept: less than servers keep theirs (uvicorn and Node 5, nginx 75), because a
#: request sent on a connection that the server is closing just then ends in doubt
_KEEP_IDLE = 3.0
#: characters of a foreign text that go into a message
_MESSAGE_LENGTH = 500
#: What is only ever raised before a byte of the request has left. Subclasses count: an unknown host, a refused or
#: unreachable address, TLS and certificates, a proxy that cannot be reached or will not open the tunnel.
_BEFORE_SENDING = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
)
#: the loop's time after which the request of the running task is not written any more
_write_before: ContextVar[float] = ContextVar("batchkit_write_before")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    #: not shown, and neither is the content: a server may echo the secret
    headers: httpx.Headers = field(repr=False)
    #: decompressed
    content: bytes = field(repr=False)


class Connection:
    """Sends requests to one base URL, from any number of event loops, each with connections of its own.

    header, secret: sent with every request; the value is in no httpx object, and what aiohttp holds prints as [hidden].
    total_timeout, connect_timeout: seconds; the first counts everything, the second waiting for a free connection too.
    Proxies come from the environment, except for loopback, which never goes through one.
    """

    def __init__(
        self,
        base: httpx.URL,
        *,
        header: str,
        secret: Secret,
        total_timeout: float,
        connect_timeout: float,
        max_connections: int,
    ) -> None:
        if not 0 < connect_timeout < total_timeout:
            raise ConfigError(
                f"connect_timeout must lie between 0 and total_timeout ({total_timeout:g} s): {connect_timeout:g}"
            )
        if max_connections < 1:
            raise ConfigError(f"max_connections must be at least 1, not {max_connections}.")
        self.base = base
        self.total_timeout = total_timeout
        self._header = header
        self._secret = secret
        self._max_connections = max_connections
        self._proxy = _environment_proxy(base)
        self._ssl_context: ssl.SSLContext | None = None
        self._transports: dict[asyncio.AbstractEventLoop, AiohttpTransport] = {}
        self._closed = False
        self._extensions = {"timeout": {"connect": connect_timeout, "pool": connect_timeout}}
        agent = f"batchkit/{version('batchkit')}".encode()
        always = [(b"user-agent", agent), (b"accept", b"application/json")]
        self._get_headers = [*always, (b"accept-encoding", b"gzip, deflate")]
        self._post_headers = [*always, (b"accept-encoding", b"identity"), (b"content-type", b"application/json")]

    def url(self, *segments: str, query: Sequence[tuple[str, str]] = ()) -> httpx.URL:
        """The base URL with these path segments, each quoted as one, and a query."""
        path = "/".join(_quoted(segment) for segment in segments)
        base = str(self.base)
        return httpx.URL(f"{base}/{path}", params=list(query)) if query else httpx.URL(f"{base}/{path}")

    async def send(self, method: str, url: httpx.URL, content: bytes | None = None) -> Answer | NotSent | Unclear:
        """The answer to one request, whatever its status; never raises for what the network or the server does.

        url: made by `url()`. A cancelled task is cancelled.
        """
        if self._closed:
            return NotSent(message="The target is closed; make a new one.")
        transport = self._transports.get(asyncio.get_running_loop()) or await self._open()
        headers = self._get_headers if content is None else self._post_headers
        # With `content=` httpx would copy the headers twice to add some that aiohttp adds by itself.
        stream = httpx.ByteStream(content or b"")
        request = httpx.Request(method, url, headers=headers, stream=stream, extensions=self._extensions)
        request.read()
        _write_before.set(asyncio.get_running_loop().time() + self.total_timeout)
        try:
            async with asyncio.timeout(self.total_timeout):
                response = await transport.handle_async_request(request)
                try:
                    body = await _body(response)
                finally:
                    await response.aclose()
            return Answer(status=response.status_code, headers=response.headers, content=body)
        except TimeoutError:
            return Unclear(message=f"{self.base.host} did not answer within {self.total_timeout:g} s.")
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._closed or (task is not None and task.cancelling()):
                raise
            return Unclear(message="The target was closed while the request was under way.")
        except Exception as exc:  # what is not known to be harmless is in doubt
            return self._failure(exc)

    def clean(self, text: str) -> str:
        """`text` from a server or a library in one short line, without the secret."""
        return short(self._secret.hide_in(text))

    def elsewhere(self, answer: Answer) -> str:
        """Where a redirect points, without its query, which may be confidential."""
        return self.clean(answer.headers.get("location", "another address").partition("?")[0])

    async def aclose(self) -> None:
        """Close the connections of every event loop; requests under way end in doubt, later ones are not sent."""
        self._closed = True
        here = asyncio.get_running_loop()
        for loop, transport in list(self._transports.items()):
            del self._transports[loop]
            if loop is here or loop.is_closed():
                await transport.aclose()
            elif loop.is_running():
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(transport.aclose(), loop))

    def _failure(self, exc: Exception) -> NotSent | Unclear:
        """What an exception of the transport means.

        By the aiohttp exception itself: the transport renames a refused connection and one that was dropped after
        reading the request to the same httpx class.
        """
        cause = exc.__cause__ if isinstance(exc, httpx.HTTPError) and exc.__cause__ is not None else exc
        reason = self.clean(f"{type(cause).__name__}: {cause}")
        if isinstance(cause, _BEFORE_SENDING):
            return NotSent(message=f"No connection to {self.base.host}: {reason}")
        return Unclear(message=f"No usable answer from {self.base.host}: {reason}")

    async def _open(self) -> AiohttpTransport:
        """A transport for the running loop; those of loops that have ended are closed."""
        if self._ssl_context is None:
            # reading the certificates takes tens of milliseconds, and http needs none
            secure = self.base.scheme == "https"
            self._ssl_context = httpx.create_ssl_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        transport = AiohttpTransport(verify=self._ssl_context, client=self._session, proxy=self._proxy)
        ended = [loop for loop in self._transports if loop.is_closed()]
        self._transports[asyncio.get_running_loop()] = transport
        for loop in ended:
            await self._transports.pop(loop).aclose()
        return transport

    def _session(self) -> aiohttp.ClientSession:
        """A session that adds the secret header to each request, keeps no cookies and reads no .netrc."""
        connector = aiohttp.TCPConnector(
            ssl=self._ssl_context or True, limit=self._max_connections, keepalive_timeout=_KEEP_IDLE
        )
        return aiohttp.ClientSession(
            connector=connector,
            request_class=_TimelyRequest,
            middlewares=[self._sign],
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def _sign(self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """Add the secret header at the last moment. As a header of the session it would go to the proxy, too."""
        request.headers[self._header] = _Hidden(self._secret.reveal())
        return await send(request)


async def _body(response: httpx.Response) -> bytes:
    """The whole body; straight from the transport where nothing is to be decompressed."""
    if "content-encoding" in response.headers or not isinstance(response.stream, httpx.AsyncByteStream):
        return await response.aread()
    return b"".join([chunk async for chunk in response.stream])


class _TimelyRequest(aiohttp.ClientRequest):
    """A request that does not leave after its time.

    A process that stood still (SIGSTOP, a paused machine) finds what is due to be written before it finds that it is
    too late; by then another one may have looked the row up in vain and sent it.
    """

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: aiohttp.connector.Connection, content_length: int | None = None
    ) -> None:
        """Write head and body, which leave together."""
        if asyncio.get_running_loop().time() < _write_before.get():
            await super().write_bytes(writer, conn, content_length)
        else:
            conn.close()


class _Hidden(str):
    """A header's value whose repr does not show it, since aiohttp's exceptions and headers print theirs."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'[hidden]'"


def base_url(text: str, *, ending: str = "") -> httpx.URL:
    """`text` as the base of requests that carry a secret, without a slash or `ending` at its end.

    Raises ConfigError for what is no http(s) URL, carries a password, a query or a fragment, or would send the
    secret in the clear to another machine.
    """
    example = "Write one like https://odyssey.asteroid.ai."
    try:
        url = httpx.URL(text.strip().rstrip("/").removesuffix(ending))
    except httpx.InvalidURL as exc:
        raise ConfigError(f"{short(text)!r} is not a URL: {exc}. {example}") from exc
    if url.userinfo:
        raise ConfigError(f"The URL of {url.host} has a user or a password in it: leave it out, and pass api_key=.")
    if url.scheme not in ("http", "https") or not url.host or "%" in url.host:
        raise ConfigError(f"{short(text)!r} is not an http(s) URL. {example}")
    if url.query or url.fragment:
        raise ConfigError(f"{short(text)!r} has a query or a fragment: give the part before ? or #.")
    if url.scheme == "http" and not is_loopback(url):
        raise ConfigError(f"{url} would send the API key over the network unencrypted: use https://.")
    return url


def is_loopback(url: httpx.URL) -> bool:
    """Whether the URL's host is this machine by its name or address."""
    try:
        return ip_address(url.host).is_loopback
    except ValueError:
        return url.host == "localhost"


def short(text: str) -> str:
    """`text` in one line, at most 500 characters."""
    line = " ".join(text.split())
    return line if len(line) <= _MESSAGE_LENGTH else line[: _MESSAGE_LENGTH - 1] + "…"


def _environment_proxy(url: httpx.URL) -> httpx.Proxy | None:
    """The proxy the environment names for this URL, None for loopback and exceptions (NO_PROXY)."""
    if is_loopback(url) or proxy_bypass(url.host):
        return None
    proxies = getproxies()
    address = proxies.get(url.scheme) or proxies.get("all")
    if not address:
        return None
    proxy = httpx.Proxy(address if "://" in address else f"http://{address}")
    if proxy.url.scheme not in ("http", "https"):
        raise ConfigError(
            f"The proxy {proxy.url} is of a kind that is not supported: set HTTPS_PROXY to an http:// proxy, "
            f"or NO_PROXY={url.host}."
        )
    if proxy.raw_auth is None:
        return proxy
    # as a header, since the transport's own way is deprecated in aiohttp
    credentials = b64encode(b":".join(proxy.raw_auth)).decode()
    return httpx.Proxy(proxy.url, headers={"Proxy-Authorization": f"Basic {credentials}"})


def _quoted(segment: str) -> str:
    """One path segment, which no server or library can take for several or for a step upwards.

    Raises NotFoundError for what no quoting helps.
    """
    if segment in ("", ".", ".."):
        raise NotFoundError(f"{segment!r} is not an id.")
    return quote(segment, safe="")
