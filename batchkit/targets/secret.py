"""Secret: an API key that never prints. It is known by a reference to where it can be had again."""

from __future__ import annotations

import hmac
import importlib
import os
from typing import NoReturn

from batchkit.errors import ConfigError

__all__ = ["Secret"]

#: what stands where the value would
_HIDDEN = "[hidden]"


class Secret:
    """A value that only `reveal()` gives away: not repr, str, format, pickle, JSON, or an object browser.

    reference: where it can be had again, "env:NAME" or "keyring:service/user"; empty: only from the caller.
    Two are equal if their values are; comparing takes the same time whatever they share.
    Raises ConfigError for a value that is empty or cannot stand in an HTTP header; blanks around it are dropped.
    """

    __slots__ = ("_open", "reference")

    reference: str

    def __init__(self, value: str, *, reference: str = "") -> None:
        value = value.strip()
        problem = _problem(value, f" in {reference}" if reference else "")
        if problem:
            value = _HIDDEN  # a verbose traceback shows what each function was called with
            raise ConfigError(problem)
        # a closure, because whatever lists an object's attributes would show a plain one
        object.__setattr__(self, "_open", lambda: value)
        object.__setattr__(self, "reference", reference)

    @classmethod
    def from_reference(cls, reference: str) -> Secret:
        """The secret that "env:NAME" or "keyring:service/user" points at.

        Raises ConfigError where there is none, or for another kind of reference.
        """
        kind, _, name = reference.partition(":")
        if kind == "env" and name:
            if not os.environ.get(name, "").strip():
                raise ConfigError(f"There is no API key: set the environment variable {name}, or pass api_key=.")
            return cls(os.environ[name], reference=reference)
        service, _, user = name.partition("/")
        if kind == "keyring" and service and user:
            return cls(_from_keyring(service, user), reference=reference)
        raise ConfigError(
            f"{reference!r} does not say where an API key is kept: write 'env:NAME' or 'keyring:service/user'."
        )

    def reveal(self) -> str:
        """The value itself. Only for the header of a request."""
        value: str = self._open()  # type: ignore[attr-defined]
        return value

    def hide_in(self, text: str) -> str:
        """`text` with the value blotted out, for what a server or a library says."""
        return text.replace(self.reveal(), _HIDDEN)

    def __repr__(self) -> str:
        return f"Secret({getattr(self, 'reference', '') or _HIDDEN})"

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.reveal(), other.reveal())

    def __hash__(self) -> int:
        return hash((Secret, self.reveal()))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("A Secret does not change; make another one.")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("A Secret does not change; make another one.")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("A Secret is not pickled: keep its reference and ask for it again.")


def _from_keyring(service: str, user: str) -> str:
    """The password the system's keyring holds, by the optional package `keyring`."""
    try:
        keyring = importlib.import_module("keyring")
    except ImportError as exc:
        raise ConfigError(
            f"The API key is in the keyring ({service}/{user}), and the package keyring is not installed: "
            "pip install keyring, or set BATCHKIT_API_KEY."
        ) from exc
    value: str | None = keyring.get_password(service, user)
    if not value:
        raise ConfigError(f"The keyring has no password for {service}/{user}: store one, or set BATCHKIT_API_KEY.")
    return value


def _problem(value: str, where: str) -> str:
    """What is wrong with a key, empty for nothing."""
    if not value:
        return f"The API key{where} is empty. Set it, or pass another one."
    for position, character in enumerate(value, start=1):
        if not "!" <= character <= "~":
            return (
                f"The API key{where} has a character at position {position} that no key has "
                f"(U+{ord(character):04X}). Copy it again, without line breaks."
            )
    return ""
