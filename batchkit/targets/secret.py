"""Secret: an API key that never prints. It is known by a reference to where it can be had again."""

from __future__ import annotations

import hmac
import importlib
import json
import os
from collections.abc import Iterator
from typing import NoReturn
from urllib.parse import quote

from batchkit.errors import ConfigError

__all__ = ["Secret"]

#: what stands where the value would
_HIDDEN = "[hidden]"
#: so many characters of it in a row give a value away; fewer may stand anywhere by chance
_TELLING = 12
_INSTEAD = "or keep it in an environment variable, 'env:NAME'."


class Secret:
    """A value that only `reveal()` gives away: not repr, str, format, pickle, JSON, or an object browser.

    reference: where it can be had again, "env:NAME" or "keyring:service/user"; empty: only from the caller.
    Two are equal if their values are; comparing takes the same time whatever they share.
    Raises ConfigError for a value that is empty or cannot stand in an HTTP header; blanks around it are dropped.
    """

    __slots__ = ("_open", "reference")

    reference: str

    def __init__(self, value: str, *, reference: str = "") -> None:
        problem = _problem(value, f" in {reference}" if reference else "")
        if problem:
            value = _HIDDEN  # a verbose traceback shows what each function was called with
            raise ConfigError(problem)
        value = value.strip()
        # a closure, because whatever lists an object's attributes would show a plain one
        object.__setattr__(self, "_open", lambda: value)
        object.__setattr__(self, "reference", reference)

    @classmethod
    def from_reference(cls, reference: str) -> Secret:
        """The secret that "env:NAME" or "keyring:service/user" points at.

        Raises ConfigError where there is none, or for another kind of reference.
        """
        kind, _, name = str(reference).partition(":")
        if kind == "env" and name:
            if not _is_in_environment(name):
                raise ConfigError(
                    f"The environment variable {name} is not set, where an API key or other secret should be. Set it "
                    "before Python starts, or pass the secret itself."
                )
            return cls(_from_environment(name), reference=reference)
        service, _, user = name.partition("/")
        if kind == "keyring" and service and user:
            return cls(_from_keyring(service, user), reference=reference)
        raise ConfigError(
            f"{reference!r} does not say where a secret is kept: write 'env:NAME' or 'keyring:service/user'."
        )

    def reveal(self) -> str:
        """The value itself. Only for the header of a request."""
        value: str = self._open()  # type: ignore[attr-defined]
        return value

    def hide_in(self, text: str) -> str:
        """`text` from a server or a library with the value, and any twelve characters of it in a row, blotted out."""
        for form in _forms(self.reveal()):
            text = text.replace(form, _HIDDEN)
        for part in _parts(self.reveal(), text):
            text = text.replace(part, _HIDDEN)
        return text

    def hide_in_answer(self, content: bytes) -> bytes:
        """A server's answer with the value blotted out, so that no variable ever holds one that echoes it.

        A value of fewer than twelve characters stays, since it may well be part of what the answer says.
        """
        if len(self.reveal()) >= _TELLING:
            for form in _forms(self.reveal()):
                content = content.replace(form.encode(), _HIDDEN.encode())
        return content

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


def _forms(value: str) -> tuple[str, ...]:
    """The value as it stands in a text, in JSON and in a URL, the longest first."""
    in_json = json.dumps(value)[1:-1]
    return tuple(dict.fromkeys((quote(value, safe=""), quote(value), in_json.replace("/", r"\/"), in_json, value)))


def _parts(value: str, text: str) -> Iterator[str]:
    """The stretches of the value that stand in `text`, the longest first."""
    starts = range(len(value) - _TELLING + 1)
    if any(value[start : start + _TELLING] in text for start in starts):
        for length in range(len(value) - 1, _TELLING - 1, -1):
            parts = (value[start : start + length] for start in range(len(value) - length + 1))
            yield from (part for part in parts if part in text)


# A verbose traceback shows what the failing line names, be it os.environ with all that is in it: nothing here fails.


def _is_in_environment(name: str) -> bool:
    return bool(_from_environment(name).strip())


def _from_environment(name: str) -> str:
    return os.environ.get(name, "")


def _from_keyring(service: str, user: str) -> str:
    """The password the system's keyring holds, by the optional package `keyring`."""
    try:
        keyring = importlib.import_module("keyring")
    except ImportError as exc:
        raise ConfigError(
            f"The secret is in the keyring ({service}/{user}), and the package keyring is not installed: "
            f"pip install keyring, {_INSTEAD}"
        ) from exc
    try:
        value: str | None = keyring.get_password(service, user)
    except Exception as exc:  # each keyring has errors of its own
        raise ConfigError(
            f"The keyring cannot be read for {service}/{user} ({type(exc).__name__}: {exc}). Unlock it, {_INSTEAD}"
        ) from exc
    if not value:
        raise ConfigError(
            f"The keyring has no password for {service}/{user}: store one (keyring set {service} {user}), {_INSTEAD}"
        )
    return value


def _problem(value: object, where: str) -> str:
    """What is wrong with a key, empty for nothing."""
    if not isinstance(value, str):
        return f"The API key or secret{where} must be text (str), not {type(value).__name__}."
    if not value.strip():
        return f"The API key or secret{where} is empty. Set it, or pass another one."
    for position, character in enumerate(value.strip(), start=1):
        if not "!" <= character <= "~":
            return (
                f"The API key or secret{where} has a character at position {position} that no key has "
                f"(U+{ord(character):04X}). Copy it again, without line breaks."
            )
    return ""
