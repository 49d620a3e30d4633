"""Template: what a row's request looks like, with `{{name}}` where the row's values go."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

import httpx

from batchkit.core.agent import InputVariable
from batchkit.core.names import did_you_mean
from batchkit.core.request import RESERVED_PREFIX
from batchkit.errors import ConfigError
from batchkit.targets.connection import SecretHeader, is_loopback
from batchkit.targets.http_request import HttpRequest
from batchkit.targets.placeholder import Text, filled, gaps, parse_body
from batchkit.targets.secret import Secret

__all__ = ["KEY", "Header", "Template", "UrlTemplate", "read_headers"]

#: the placeholder for what names a row across attempts and restarts
KEY = "batchkit_key"
METHODS = ("POST", "PUT", "PATCH", "DELETE", "GET")
_WITHOUT_BODY = ("GET", "DELETE")

_ORIGIN = re.compile(r"\s*(?P<origin>[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#\\\s]*)(?P<rest>.*)\Z", re.DOTALL)
_HEADER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_REFERENCE = re.compile(r"(?P<prefix>(?:[A-Za-z][A-Za-z0-9_-]* +)?)(?P<reference>(?:env|keyring):\S+)\Z")
_CONFIDENTIAL = re.compile(r"(?:^|[-_.])(?:authorization|cookie|api-?key|key|token|secret|password)\Z", re.IGNORECASE)
_WITH_WORD = re.compile(r"(?P<prefix>(?:[A-Za-z][A-Za-z0-9_-]* +)?)(?P<value>\S+)\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
#: what HTTP itself says with every request, or what would change how the answer is read
_OURS = {
    "accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization",
    "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}  # fmt: skip

Header = tuple[str, Text] | SecretHeader


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlTemplate:
    """A URL whose path and query have gaps; scheme, host and port have none."""

    #: scheme, host and port
    origin: httpx.URL
    path: tuple[Text, ...]
    #: parts between &, each with its name
    query: tuple[Text, ...] | None
    #: as it was given, from the path on
    text: str

    @classmethod
    def parse(cls, text: str, where: str, origin: httpx.URL | None = None) -> UrlTemplate:
        """The URL that `text` spells, one of `origin` where that is given. Raises ConfigError."""
        if origin is not None and text.startswith("/"):
            own, rest = origin, text
        else:
            match = _ORIGIN.match(text)
            example = "/jobs/{{id}}" if origin is not None else "https://api.example.com/jobs/{{client}}"
            if match is None:
                raise ConfigError(f"{where}={text[:200]!r} is not a URL. Write one like {example}.")
            own, rest = _origin(match["origin"], where), match["rest"].rstrip()
            if origin is not None and own != origin:
                raise ConfigError(f"{where} must be on {origin}, not on {own}: secrets go to one host only.")
        if "#" in rest:
            raise ConfigError(f"{where} has a fragment (#), which is never sent: leave it out, or write %23.")
        path, mark, query = rest.partition("?")
        return cls(
            origin=own,
            path=tuple(Text.parse(segment, where) for segment in _apart(path, "/")),
            query=tuple(Text.parse(part, where) for part in _apart(query, "&")) if mark else None,
            text=rest,
        )

    @property
    def without_query(self) -> str:
        """For people: origin and path, as they were given."""
        return str(self.origin).rstrip("/") + self.text.partition("?")[0]

    @property
    def in_path(self) -> set[str]:
        """The names of the gaps in the path."""
        return {name for text in self.path for name in text.names}

    @property
    def names(self) -> list[str]:
        """The names of all gaps."""
        texts = (*self.path, *(self.query or ()))
        return [part for text in texts for part in gaps(text)]

    def fill(self, values: Mapping[str, Any]) -> httpx.URL:
        """The URL with these values, each percent-encoded; part of the query without its value is left out.

        Raises ValueError for a value that would change the path.
        """
        segments = [_segment(text, values) for text in self.path]
        url = str(self.origin).rstrip("/") + "/".join(segments)
        if self.query is not None:
            present = [text for text in self.query if not text.names or text.names & values.keys()]
            url += "?" + "&".join(text.fill(values, _quoted) for text in present)
        return httpx.URL(url)


class Template:
    """The request of a row: method, URL, headers and body, and the inputs they take.

    inputs: of the gaps they name; the others are required texts. Raises ConfigError for what cannot work.
    """

    def __init__(
        self,
        *,
        method: str,
        url: str,
        headers: Sequence[Header],
        body: Any,
        inputs: Sequence[InputVariable],
    ) -> None:
        self.method = _method(method)
        if body is not None and self.method in _WITHOUT_BODY:
            raise ConfigError(f"A {self.method} request has no body: leave body= out, or use POST, PUT or PATCH.")
        self.url = UrlTemplate.parse(url, "url")
        self.headers = tuple(each for each in headers if isinstance(each, tuple))
        self.secrets = tuple(each for each in headers if isinstance(each, SecretHeader))
        self._body = None if body is None else parse_body(body, "body")
        if self.secrets and self.url.origin.scheme == "http" and not is_loopback(self.url.origin):
            raise ConfigError(f"{self.url.origin} would get the secret over the network unencrypted: use https://.")
        header_names = [name for _, text in self.headers for name in gaps(text)]
        names = list(dict.fromkeys([*self.url.names, *header_names, *gaps(self._body)]))
        self.has_key = KEY in names
        self.inputs = _inputs([name for name in names if name != KEY], inputs)
        optional = {each.name for each in self.inputs if not each.required and each.default is None}
        stuck = sorted(optional & self.url.in_path)
        if stuck:
            raise ConfigError(f"{stuck[0]!r} stands in the URL's path, so it must be required or have a default.")
        self._defaults = {each.name: each.default for each in self.inputs if each.default is not None}

    def request(self, values: Mapping[str, Any], key: str) -> HttpRequest:
        """The request for these input values. Raises ValueError, saying what cannot be sent."""
        known = {**self._defaults, **values, KEY: key}
        missing = [each.name for each in self.inputs if each.required and each.name not in known]
        if missing:
            raise ValueError(f"there is no value for {', '.join(missing)}")
        url = str(self.url.fill(known))
        headers = [(name, _header(name, text, known)) for name, text in self.headers if _is_there(text, known)]
        content = None if self._body is None else _json(filled(self._body, known))
        return HttpRequest(
            method=self.method,
            url=url,
            headers=(*headers, *standard_headers(headers, has_body=content is not None)),
            secrets=self.secrets,
            content=content,
        )

    def describe(self) -> str:
        """All of it but the secrets' values, for telling two templates apart."""
        headers = [(name.lower(), str(text.parts)) for name, text in self.headers]
        secrets = [(each.name.lower(), each.prefix) for each in self.secrets]
        return repr(
            (
                self.method,
                str(self.url.origin),
                self.url.text,
                sorted(headers),
                sorted(secrets),
                self._body,
                self._defaults,
            )
        )


def read_headers(headers: Mapping[str, str | Secret] | None) -> list[Header]:
    """The headers, those apart whose value is a secret. Raises ConfigError.

    A verbose traceback shows what a function was called with, so what fails here is said after everything is let go.
    """
    found: list[Header] = []
    problem = ""
    if not isinstance(headers, Mapping | None):
        problem, headers = f"headers must be a dict of names and values, not a {type(headers).__name__}.", None
    for name, value in (headers or {}).items():
        if problem := _name_problem(name, [each[0] if isinstance(each, tuple) else each.name for each in found]):
            break
        header = _header_of(name, value)
        if isinstance(header, str):
            problem = header
            break
        found.append(header)
    if problem:
        headers, value = None, ""
        raise ConfigError(problem)
    return found


def standard_headers(own: Sequence[tuple[str, str]], *, has_body: bool) -> list[tuple[str, str]]:
    """What goes with every request, unless it has such a header of its own."""
    ours = [("Accept", "application/json"), ("Accept-Encoding", "identity")]
    ours += [("Content-Type", "application/json")] if has_body else []
    ours.append(("User-Agent", f"batchkit/{version('batchkit')}"))
    given = {name.lower() for name, _ in own}
    return [(name, value) for name, value in ours if name.lower() not in given]


def _header_of(name: str, value: object) -> Header | str:
    """The header, or what is wrong with it."""
    if isinstance(value, Secret):
        return SecretHeader(name=name, secret=value)
    if not isinstance(value, str):
        return f"headers[{name!r}] must be text or a bk.Secret, not {type(value).__name__}."
    reference = _REFERENCE.match(value.strip())
    if reference is not None:
        kind, _, variable = reference["reference"].partition(":")
        if kind == "env" and not _is_set(variable):
            return f"headers[{name!r}]: the environment variable {variable} is not set."
        try:
            secret = Secret.from_reference(reference["reference"])
            return SecretHeader(name=name, secret=secret, prefix=reference["prefix"])
        except ConfigError as exc:
            return f"headers[{name!r}]: {exc}"
    if _CONFIDENTIAL.search(name) and "{{" not in value:
        word = _WITH_WORD.match(value.strip())
        if word is None:
            return f"headers[{name!r}] must be one word, or a scheme and one word: 'Bearer env:API_TOKEN'."
        try:
            return SecretHeader(name=name, secret=Secret(word["value"]), prefix=word["prefix"])
        except ConfigError as exc:
            return f"headers[{name!r}]: {exc}"
    if _CONTROL.search(value):
        return f"headers[{name!r}] has a line break or a control character in it."
    try:
        return name, Text.parse(value, f"headers[{name!r}]")
    except ConfigError as exc:
        return str(exc)


def _is_set(variable: str) -> bool:
    # a line that fails must not name os.environ: a verbose traceback would show all of it
    return bool(os.environ.get(variable, "").strip())


def _name_problem(name: object, before: Sequence[str]) -> str:
    if not isinstance(name, str) or not _HEADER_NAME.match(name):
        return f"headers: {name!r} is not the name of a header, such as X-Api-Key."
    if name.lower() in _OURS:
        return f"headers: {name} is set by HTTP itself; leave it out."
    if name.lower() in (each.lower() for each in before):
        return f"headers: {name} is given twice."
    return ""


def _method(method: str) -> str:
    known = method.upper() if isinstance(method, str) else ""
    if known not in METHODS:
        raise ConfigError(f"method={method!r} is none of {', '.join(METHODS)}.")
    return known


def _origin(text: str, where: str) -> httpx.URL:
    if "{{" in text:
        raise ConfigError(f"{where}: the host is part of the template, and no row may change it: {text!r}.")
    if "@" in text:
        text = ""
        raise ConfigError(f"{where} has a user or a password in it: put the secret into a header by reference.")
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as exc:
        raise ConfigError(f"{where}: {text!r} is not a URL: {exc}.") from exc
    if url.scheme not in ("http", "https") or not url.host or "%" in url.host:
        raise ConfigError(f"{where}: {text!r} is not the beginning of an http(s) URL.")
    return url


def _apart(text: str, mark: str) -> list[str]:
    """`text` cut at each mark outside of placeholders."""
    pieces = re.split(r"(\{\{.*?\}\})", text)
    parts = [""]
    for piece in pieces:
        if piece.startswith("{{"):
            parts[-1] += piece
        else:
            first, *more = piece.split(mark)
            parts[-1] += first
            parts += more
    return parts


def _segment(text: Text, values: Mapping[str, Any]) -> str:
    segment = text.fill(values, _quoted)
    if text.names and segment in ("", ".", ".."):
        name = sorted(text.names)[0]
        raise ValueError(f"{name} is {segment!r}, which cannot be part of a URL's path")
    return segment


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _header(name: str, text: Text, values: Mapping[str, Any]) -> str:
    value = text.fill(values)
    if _CONTROL.search(value):
        raise ValueError(f"the header {name} cannot hold a line break or a control character, as in {value[:80]!r}")
    value.encode()
    return value.strip(" \t")


def _is_there(text: Text, values: Mapping[str, Any]) -> bool:
    return not text.names or bool(text.names & values.keys())


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _inputs(names: Sequence[str], declared: Sequence[InputVariable]) -> tuple[InputVariable, ...]:
    """The variables of these gaps, in their order."""
    for name in names:
        if name.startswith(RESERVED_PREFIX):
            raise ConfigError(f"{{{{{name}}}}} is none of batchkit's own placeholders; there is {{{{{KEY}}}}}.")
    known = {each.name: each for each in declared}
    for name in known:
        if name not in names:
            hint = did_you_mean(name, names)
            raise ConfigError(f"inputs declares {name!r}, and there is no {{{{{name}}}}} in the template.{hint}")
    return tuple(known.get(name) or InputVariable(name, required=True) for name in names)
