"""What went wrong on the way to a host and back, in words for whoever has to mend it: what, why, and what to do.

The names of exceptions and what they say of sockets stay out; what nobody has foreseen is told as it is.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl

import aiohttp
import httpx

__all__ = ["BEFORE_SENDING", "NOT_ALLOWED", "why_not_sent", "why_unclear"]

#: What is only ever raised before a byte of the request has left. Subclasses count: an unknown host, a refused or
#: unreachable address, TLS and certificates, a proxy that cannot be reached or will not open the tunnel.
BEFORE_SENDING = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
)
#: of the OSError of a connection that batchkit itself does not make: no system says so of one; it brings its reason
NOT_ALLOWED = errno.ECANCELED
_NETWORK = "Check the network of this machine, and a VPN or firewall on the way."
_BROKEN_OFF = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED})
#: there is no way to an address; where a host has others, what became of these says more
_NO_WAY = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})
_CODE = re.compile(r"\[Errno (\d+)\]")
_PROXY_WANTS_USER = 407


def why_not_sent(cause: BaseException, url: httpx.URL, proxy: httpx.URL | None, patience: float) -> str:
    """Why a request to the host of `url` never left.

    cause: one of BEFORE_SENDING. proxy: what the way leads through. patience: seconds a connection was waited for.
    """
    place = _place(url)
    if isinstance(cause, aiohttp.ClientProxyConnectionError) and proxy is not None:
        reason = _reason(cause.os_error)
        return (
            f"{place} could not be reached through the proxy {_place(proxy)}: {reason} Or set NO_PROXY={url.host} to "
            "go without it."
        )
    if isinstance(cause, aiohttp.ClientHttpProxyError):
        advice = "Check HTTPS_PROXY"
        if cause.status == _PROXY_WANTS_USER:
            advice = "It wants a user and a password: HTTPS_PROXY=http://user:password@host:port"
        return (
            f"{place} could not be reached: the proxy of this network answered {cause.status}. {advice}, or ask who "
            "runs the proxy."
        )
    if isinstance(cause, aiohttp.ConnectionTimeoutError):
        return f"{place} could not be reached: there was no connection within {patience:g} s (timed out). {_NETWORK}"
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        return f"{place} could not be reached: {_certificate(cause.certificate_error)}"
    if isinstance(cause, aiohttp.ClientConnectorError):
        return f"{place} could not be reached: {_reason(cause.os_error)}"
    return f"{place} could not be reached: {type(cause).__name__}: {cause}."


def why_unclear(cause: BaseException, url: httpx.URL) -> str:
    """Why nobody knows what became of a request to the host of `url`."""
    place = _place(url)
    broken = isinstance(cause, OSError) and cause.errno in _BROKEN_OFF
    if broken or isinstance(cause, aiohttp.ServerDisconnectedError):
        return f"{place} closed the connection before it had answered."
    if isinstance(cause, aiohttp.ClientPayloadError):
        return f"{place} broke off in the middle of its answer."
    if isinstance(cause, aiohttp.ClientResponseError):
        return f"{place} did not answer in HTTP; it may not be the server that is meant."
    return f"There was no usable answer from {place}: {type(cause).__name__}: {cause}."


def _place(url: httpx.URL) -> str:
    host = f"[{url.host}]" if ":" in url.host else url.host
    return host if url.port is None else f"{host}:{url.port}"


def _reason(error: OSError) -> str:
    """Why there was no connection, and what to do."""
    if isinstance(error, ssl.SSLError):
        what = (getattr(error, "reason", "") or str(error)).replace("_", " ").lower()
        return f"no secure connection came about ({what}). Check the address, and that https is what is spoken there."
    if isinstance(error, socket.gaierror):
        return "no such host is known. Check how the address is written, the network of this machine, and a VPN."
    if error.errno == NOT_ALLOWED:
        return f"{error.strerror}."
    if error.errno is None:
        error = _most_telling(error)
    if error.errno in _FORBIDDEN:
        return (
            "this machine does not let batchkit connect there (permission denied). Ask who runs it to allow that in "
            "its firewall or security rules."
        )
    if error.errno == errno.ECONNREFUSED:
        return "it refused the connection; nothing listens there. Check the address, and that the server runs."
    if error.errno in _BROKEN_OFF:
        return "the connection was closed at once. Check the address, and a proxy or firewall on the way."
    if isinstance(error, TimeoutError):
        return f"nobody answered at the address (timed out). {_NETWORK}"
    # asyncio says which call failed instead of why.
    return f"{os.strerror(error.errno) if error.errno else error}. {_NETWORK}"


def _most_telling(error: OSError) -> OSError:
    """One of the errors of a host's several addresses, where `error` only lists them."""
    codes = [int(code) for code in _CODE.findall(str(error))]
    if not codes or NOT_ALLOWED in codes:
        return error
    code = next((code for code in codes if code not in _NO_WAY), codes[0])
    return OSError(code, os.strerror(code))


def _certificate(error: Exception) -> str:
    said = getattr(error, "verify_message", "") or str(error)
    return (
        f"its certificate is not trusted ({said}). Check the address. If your organisation has certificates of its "
        "own, name their file in SSL_CERT_FILE."
    )
