"""What is told where a server cannot be reached: what, why and what to do, and nothing of sockets and exceptions."""

from __future__ import annotations

import asyncio
import errno
import re
import ssl
from types import ModuleType

import aiohttp
import httpx
import pytest
from aiohttp.client_reqrep import ConnectionKey

from batchkit.errors import UnreachableError
from batchkit.targets.asteroid import AsteroidTarget
from batchkit.targets.failure import NOT_ALLOWED, why_not_sent, why_unclear

URL = httpx.URL("https://platform.example:8443/agents")
#: what somebody who fills in a form has no use for
JARGON = re.compile(r"Error\b|Errno|Connect call|ssl:|_ssl\.c|object at|Traceback|None")


def failed(error: OSError) -> aiohttp.ClientConnectorError:
    """A connection that came to nothing because of `error`."""
    key = ConnectionKey(
        "platform.example", 8443, is_ssl=True, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None
    )
    return aiohttp.ClientConnectorError(key, error)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed"),
            "it refused the connection; nothing listens",
        ),
        (TimeoutError(errno.ETIMEDOUT, "Connection timed out"), "nobody answered at the address (timed out)"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "Network is unreachable. Check the network"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "the connection was closed at once"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)"), "no secure connection"),
        (OSError(NOT_ALLOWED, "10.0.0.1 is a private address: pass it"), "10.0.0.1 is a private address: pass it."),
        (PermissionError(errno.EACCES, "Connect call failed ('10.0.0.1', 443)"), "permission denied). Ask who runs it"),
        (PermissionError(errno.EPERM, "Connect call failed ('10.0.0.1', 443)"), "permission denied). Ask who runs it"),
        (OSError(errno.EHOSTUNREACH, "Connect call failed ('10.0.0.1', 443)"), "No route to host. Check the network"),
        (
            OSError("Multiple exceptions: [Errno 101] Connect call failed ('::1', 1), [Errno 111] Connect call failed"),
            "it refused the connection; nothing listens",
        ),
    ],
)
def test_each_reason_is_told_in_words(error: OSError, words: str) -> None:
    said = why_not_sent(failed(error), URL, None, 10)
    assert said.startswith("platform.example:8443 could not be reached: ")
    assert words in said
    assert "Connect call" not in said


def test_what_was_not_foreseen_is_told_as_it_is() -> None:
    assert why_unclear(KeyError("x"), URL) == "There was no usable answer from platform.example:8443: KeyError: 'x'."


def test_a_closed_port_is_told_in_words(closed_port: int) -> None:
    said = agents_of(f"http://127.0.0.1:{closed_port}")
    assert said == (
        f"http://127.0.0.1:{closed_port}/agents/v2/agents could not be read. 127.0.0.1:{closed_port} could not be "
        "reached: it refused the connection; nothing listens there. Check the address, and that the server runs."
    )


def test_a_port_that_accepts_nobody_is_told_in_words(full_port: int) -> None:
    said = agents_of(f"http://127.0.0.1:{full_port}")
    assert "there was no connection within 0.2 s (timed out). Check the network of this machine" in said
    assert not JARGON.search(said)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("silent", "did not answer within 0.5 s"),
        ("reset_after_reading", "closed the connection before it had answered"),
        ("close_after_reading", "closed the connection before it had answered"),
        ("half_the_status_line", "closed the connection before it had answered"),
        ("half_the_body", "broke off in the middle of its answer"),
        ("garbage", "did not answer in HTTP; it may not be the server that is meant"),
    ],
)
def test_what_a_server_does_to_a_request_is_told_in_words(faults: ModuleType, script: str, words: str) -> None:
    async def scenario() -> str:
        async with faults.FaultServer(getattr(faults, script)) as server:
            return await said_of(server.url)

    said = asyncio.run(scenario())
    assert words in said
    assert not JARGON.search(said), said


def agents_of(url: str) -> str:
    """What is told to somebody who asks the platform at `url` for its agents."""
    return asyncio.run(said_of(url))


async def said_of(url: str) -> str:
    target = AsteroidTarget(url, "the-key", connect_timeout=0.2, total_timeout=0.5)
    try:
        with pytest.raises(UnreachableError) as told:
            await target.agents()
    finally:
        await target.aclose()
    return str(told.value)
