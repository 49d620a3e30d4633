"""The platform's public key, by which its webhooks are known."""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from batchkit.errors import ConfigError

__all__ = ["SIGNATURE_HEADER", "WebhookKey"]

SIGNATURE_HEADER = "X-Asteroid-Signature"
#: a shorter key can be broken
_LEAST_BITS = 2048
_WHERE = "Copy the public key from the platform's webhook settings."


class WebhookKey:
    """An RSA public key. `verifies` says whether a webhook is the platform's.

    text: Base64 of DER (SubjectPublicKeyInfo), with or without the lines that PEM puts around it. Raises ConfigError.
    """

    def __init__(self, text: str) -> None:
        lines = [line for line in text.split() if line]
        inner = "".join(text.split("-----")[2].split()) if text.count("-----") >= 4 else "".join(lines)
        try:
            key = load_der_public_key(base64.b64decode(inner, validate=True))
        except (binascii.Error, ValueError, UnsupportedAlgorithm) as exc:
            raise ConfigError(f"The webhook key is no Base64 of a public key in DER: {exc}. {_WHERE}") from exc
        if not isinstance(key, RSAPublicKey) or key.key_size < _LEAST_BITS:
            kind = f"an RSA key of {key.key_size} bits" if isinstance(key, RSAPublicKey) else type(key).__name__
            raise ConfigError(
                f"The webhook key must be an RSA key of at least {_LEAST_BITS} bits, not {kind}. {_WHERE}"
            )
        self._key = key

    def __repr__(self) -> str:
        return f"<WebhookKey: RSA, {self._key.key_size} bits>"

    def verifies(self, signature: str, body: bytes) -> bool:
        """Whether `signature`, Base64, is this key's over exactly these bytes (PKCS #1 v1.5, SHA-256)."""
        try:
            self._key.verify(base64.b64decode(signature, validate=True), body, PKCS1v15(), SHA256())
        except (InvalidSignature, ValueError):
            return False
        return True
