"""Sending notices to an address of the user's, signed as the Standard Webhooks specification says."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

import httpx

from batchkit.core.outcome import NotSent, Unclear
from batchkit.errors import ConfigError
from batchkit.targets.address import literal_address, objection_to
from batchkit.targets.connection import Connection
from batchkit.targets.secret import Secret

__all__ = ["StandardWebhook"]

_PREFIX = "whsec_"
#: bytes of a secret, by the specification
_SHORTEST, _LONGEST = 24, 64
_GONE = 410


class StandardWebhook:
    """One address that is told of notices. Follows no redirect.

    secret: "whsec_" and Base64 of 24 to 64 bytes. allow_private: reach addresses that are not public, and http, too.
    Raises ConfigError.
    """

    def __init__(self, url: str, secret: Secret, *, allow_private: bool = False) -> None:
        self._url = _checked(url, allow_private)
        self._secret = secret
        self._key()
        #: by which a store knows it; the address itself may be confidential
        self.id = hashlib.sha256(str(self._url).encode()).hexdigest()
        self._connection = Connection(
            self._url,
            secrets=(),
            total_timeout=20.0,
            connect_timeout=5.0,
            max_connections=4,
            objection=None if allow_private else objection_to,
        )

    def __repr__(self) -> str:
        return f"<StandardWebhook to {self._url.host}>"

    @property
    def host(self) -> str:
        """Where it sends to; the rest of the address may be confidential."""
        return self._url.host

    async def send(self, message_id: str, body: bytes, timestamp: int) -> str:
        """Send a message; returns what went wrong, empty where it was taken or is not wanted any more.

        timestamp: now, in seconds since 1970.
        """
        headers = [
            (b"content-type", b"application/json"),
            (b"webhook-id", message_id.encode()),
            (b"webhook-timestamp", str(timestamp).encode()),
            (b"webhook-signature", self.signature(message_id, timestamp, body).encode()),
        ]
        answer = await self._connection.send("POST", self._url, body, headers)
        if isinstance(answer, NotSent | Unclear):
            return answer.message
        if 200 <= answer.status < 300 or answer.status == _GONE:
            return ""
        return f"{self._url.host} answered {answer.status}."

    def signature(self, message_id: str, timestamp: int, body: bytes) -> str:
        """The value of the header webhook-signature."""
        signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
        return f"v1,{base64.b64encode(hmac.digest(self._key(), signed, hashlib.sha256)).decode()}"

    async def aclose(self) -> None:
        """Close its connections."""
        await self._connection.aclose()

    def _key(self) -> bytes:
        try:
            key = base64.b64decode(self._secret.reveal().removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            key = b""
        if not _SHORTEST <= len(key) <= _LONGEST:
            key = b""  # a verbose traceback shows variables
            raise ConfigError(
                f"The secret of notices must be {_PREFIX} and the Base64 of {_SHORTEST} to {_LONGEST} random bytes."
            )
        return key


def _checked(text: str, allow_private: bool) -> httpx.URL:
    try:
        url = httpx.URL(text.strip())
    except httpx.InvalidURL as exc:
        raise ConfigError(f"The address for notices is not a URL: {exc}.") from exc
    if url.scheme not in ("https", "http") or not url.host or url.userinfo or url.fragment:
        raise ConfigError("The address for notices must be an https URL with a host, without user, password and #.")
    if url.scheme == "http" and not allow_private:
        raise ConfigError(
            f"Notices to {url.host} would go over the network unencrypted: use https, or pass allow_private=True for "
            "an address on your own network."
        )
    address = literal_address(url.host)
    problem = objection_to(address) if address is not None and not allow_private else ""
    if problem:
        raise ConfigError(f"Notices to {url.host}: {problem}.")
    return url
