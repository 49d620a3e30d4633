"""Connection: sends requests with secret headers to one host, and tells what may have left from what has not.

All HTTP of the targets goes through `Connection.send`. It calls httpx's aiohttp transport directly: every request is
built here in full, so that an `httpx.AsyncClient` around it would only merge, log and copy cookies, at about a third
more CPU. Nothing is ever sent a second time, and no redirect is followed.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.metadata import version
from ipaddress import ip_address
from urllib.parse import quote
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
import yarl
from aiohttp.abc import AbstractStreamWriter
from httpx_aiohttp import AiohttpTransport

from batchkit.core.outcome import NotSent, Unclear
from batchkit.errors import ConfigError, NotFoundError
from batchkit.targets.failure import BEFORE_SENDING, NOT_ALLOWED, why_not_sent, why_unclear
from batchkit.targets.secret import Secret

__all__ = ["Answer", "Connection", "SecretHeader", "base_url", "is_loopback", "short"]

#: seconds an idle connection is kept: less than servers keep theirs (uvicorn and Node 5, nginx 75), because a
#: request sent on a connection that the server is closing just then ends in doubt
_KEEP_IDLE = 3.0
#: characters of a foreign text that go into a message
_MESSAGE_LENGTH = 500
#: the loop's time after which the request of the running task is not written any more
_write_before: ContextVar[float] = ContextVar("batchkit_write_before")
#: the URL of the running task's request as it was built; aiohttp would write some quoted characters plainly again
_exact_url: ContextVar[yarl.URL] = ContextVar("batchkit_exact_url")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    #: not shown, and neither is the content: a server may echo a secret too short to be blotted out
    headers: httpx.Headers = field(repr=False)
    #: decompressed
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretHeader:
    """A header whose value is a secret."""

    name: str
    secret: Secret
    #: stands before the secret, its blank included: "Bearer "
    prefix: str = ""


class Connection:
    """Sends requests to one base URL, from any number of event loops, each with connections of its own.

    secrets: sent with every request; their values are in no httpx object, and what aiohttp holds prints as [hidden].
    total_timeout, connect_timeout: seconds; the first counts everything, the second waiting for a free connection too.
    objection: asked with each address before it is connected to; a text means no. It is not asked about a proxy's.
    Proxies come from the environment, except for loopback, which never goes through one.
    """

    def __init__(
        self,
        base: httpx.URL,
        *,
        secrets: Sequence[SecretHeader],
        total_timeout: float,
        connect_timeout: float,
        max_connections: int,
        objection: Callable[[str], str] | None = None,
    ) -> None:
        if not 0 < connect_timeout < total_timeout:
            raise ConfigError(
                f"connect_timeout must lie between 0 and total_timeout ({total_timeout:g} s): {connect_timeout:g}"
            )
        if max_connections < 1:
            raise ConfigError(f"max_connections must be at least 1, not {max_connections}.")
        self.base = base
        self.total_timeout = total_timeout
        self._connect_timeout = connect_timeout
        self._secrets = tuple(secrets)
        self._objection = objection
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

    async def send(
        self,
        method: str,
        url: httpx.URL,
        content: bytes | None = None,
        headers: Sequence[tuple[bytes, bytes]] | None = None,
    ) -> Answer | NotSent | Unclear:
        """The answer to one request, whatever its status; never raises for what the network or the server does.

        url: of this host, as `url()` makes it. headers: instead of the usual ones. A cancelled task is cancelled.
        """
        if self._closed:
            return NotSent(message="The target is closed; make a new one.")
        transport = self._transports.get(asyncio.get_running_loop()) or await self._open()
        if headers is None:
            headers = self._get_headers if content is None else self._post_headers
        # With `content=` httpx would copy the headers twice to add some that aiohttp adds by itself.
        stream = httpx.ByteStream(content or b"")
        request = httpx.Request(method, url, headers=headers, stream=stream, extensions=self._extensions)
        request.read()
        _exact_url.set(yarl.URL(str(url), encoded=True))
        _write_before.set(asyncio.get_running_loop().time() + self.total_timeout)
        try:
            async with asyncio.timeout(self.total_timeout):
                response = await transport.handle_async_request(request)
                try:
                    body = self._hidden(await _body(response))
                finally:
                    await response.aclose()
            return Answer(status=response.status_code, headers=self._without_secret(response.headers), content=body)
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
        for each in self._secrets:
            text = each.secret.hide_in(text)
        return short(text)

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

    def _without_secret(self, headers: httpx.Headers) -> httpx.Headers:
        return httpx.Headers([(self._hidden(name), self._hidden(value)) for name, value in headers.raw])

    def _hidden(self, content: bytes) -> bytes:
        for each in self._secrets:
            content = each.secret.hide_in_answer(content)
        return content

    def _failure(self, exc: Exception) -> NotSent | Unclear:
        """What an exception of the transport means.

        By the aiohttp exception itself: the transport renames a refused connection and one that was dropped after
        reading the request to the same httpx class.
        """
        cause = exc.__cause__ if isinstance(exc, httpx.HTTPError) and exc.__cause__ is not None else exc
        if isinstance(cause, BEFORE_SENDING):
            proxy = None if self._proxy is None else self._proxy.url
            return NotSent(message=self.clean(why_not_sent(cause, self.base, proxy, self._connect_timeout)))
        return Unclear(message=self.clean(why_unclear(cause, self.base)))

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
        """A session that adds the secret headers to each request, keeps no cookies and reads no .netrc."""
        connector = aiohttp.TCPConnector(
            ssl=self._ssl_context or True,
            limit=self._max_connections,
            keepalive_timeout=_KEEP_IDLE,
            socket_factory=None if self._objection is None or self._proxy is not None else self._socket,
        )
        return aiohttp.ClientSession(
            connector=connector,
            request_class=_TimelyRequest,
            middlewares=[self._sign],
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def _sign(self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """Add the secret headers at the last moment, since as the session's they would go to the proxy, too."""
        request.url = _exact_url.get(request.url)
        for each in self._secrets:
            request.headers[each.name] = _Hidden(each.prefix + each.secret.reveal())
        return await send(request)

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        """A socket for one address of the host, whatever name or spelling led to it."""
        family, kind, protocol, _, address = info
        problem = self._objection(str(address[0])) if self._objection is not None else ""
        if problem:
            raise OSError(NOT_ALLOWED, problem)
        return socket.socket(family=family, type=kind, proto=protocol)


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
    if "://" not in text:
        text = ""  # it may be the key, and a verbose traceback shows what each function was called with
        raise ConfigError(f"What is given as URL has no https:// in front (if it is the key, pass api_key=). {example}")
    try:
        url = httpx.URL(text.strip().rstrip("/").removesuffix(ending))
    except httpx.InvalidURL as exc:
        raise ConfigError(f"{short(text)!r} is not a URL: {exc}. {example}") from exc
    if url.userinfo or url.query or url.fragment:
        text, what = "", "a user or a password" if url.userinfo else "a query or a fragment"
        url = url.copy_with(userinfo=b"", query=None, fragment=None)
        raise ConfigError(f"There is {what} in the URL: write only {url}, and pass the key as api_key=.")
    if url.scheme not in ("http", "https") or not url.host or "%" in url.host:
        raise ConfigError(f"{short(text)!r} is not an http(s) URL. {example}")
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
