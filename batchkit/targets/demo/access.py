"""The demo platform's API key, and whether a request carries it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

__all__ = ["ApiKey"]

#: the header the platform documents, and the one its SDK sends
_HEADERS = (b"x-asteroid-agents-api-key", b"x-api-key")


class ApiKey:
    """One key, which can be revoked and restored. Prints nothing of itself."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.revoked = False

    def __repr__(self) -> str:
        return f"<ApiKey: {'revoked' if self.revoked else 'valid'}>"

    def matches(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether one of the two headers carries the key, revoked or not. Header names are in lower case."""
        expected = self.text.encode()
        return any(name in _HEADERS and hmac.compare_digest(value, expected) for name, value in headers)

    def proof(self, challenge: str) -> str:
        """What only a holder of the key can say about `challenge`; gives nothing of the key away."""
        return hmac.new(self.text.encode(), challenge.encode(), hashlib.sha256).hexdigest()
