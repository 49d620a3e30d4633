"""Texts and JSON values with placeholders: `{{name}}` stands for the value of that name.

What is filled in is never read again, so that braces in a value stay what they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from batchkit.errors import ConfigError

__all__ = ["Gap", "Text", "filled", "gaps", "parse_body", "text_of"]

_GAP = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
#: what a JSON text consists of, as far as placeholders outside of strings are concerned
_STRING_OR_GAP = re.compile(r'"(?:[^"\\]|\\.)*"|\{\{.*?\}\}', re.DOTALL)
#: stands where an input is missing
_NOTHING = object()


@dataclass(frozen=True, slots=True)
class Gap:
    """A place for the value of that name."""

    name: str


@dataclass(frozen=True, slots=True)
class Text:
    """A text with gaps."""

    parts: tuple[str | Gap, ...]

    @classmethod
    def parse(cls, text: str, where: str) -> Text:
        """The text that a template spells; `where` names the parameter in a ConfigError."""
        parts: list[str | Gap] = []
        end = 0
        for match in _GAP.finditer(text):
            parts += [text[end : match.start()], Gap(_name(match[1], where))]
            end = match.end()
        if "{{" in text[end:]:
            raise ConfigError(
                f"{where}: the placeholder {text[text.index('{{', end) :][:40]!r} has no }}}} at its end."
            )
        parts.append(text[end:])
        return cls(tuple(part for part in parts if part != ""))

    @property
    def names(self) -> set[str]:
        """Of its gaps."""
        return {part.name for part in self.parts if isinstance(part, Gap)}

    @property
    def alone(self) -> str | None:
        """The name of the gap that is all there is, else None."""
        only = self.parts[0] if len(self.parts) == 1 else None
        return only.name if isinstance(only, Gap) else None

    def fill(self, values: Mapping[str, Any], quoted: Callable[[str], str] = str) -> str:
        """The text with each value as text, passed through `quoted`; what has no value is empty."""
        return "".join(part if isinstance(part, str) else quoted(text_of(values.get(part.name))) for part in self.parts)


def text_of(value: Any) -> str:
    """A value inside a text: text as it is, nothing for None, the rest as JSON spells it."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def parse_body(body: Any, where: str) -> Any:
    """A JSON template as nested lists and dictionaries, with a Text wherever a string has gaps.

    body: a JSON text, in which a placeholder may stand outside of quotes, or what it would be in Python.
    """
    if isinstance(body, str):
        body = _from_text(body, where)
    else:
        try:
            body = json.loads(json.dumps(body, allow_nan=False), object_pairs_hook=_pairs)
        except (TypeError, ValueError, RecursionError) as exc:
            raise ConfigError(f"{where} cannot be written as JSON: {exc}.") from exc
    return _with_gaps(body, where)


def gaps(template: Any) -> Iterator[str]:
    """The names of a JSON template's gaps, in order, repeated ones too."""
    if isinstance(template, Text):
        yield from (part.name for part in template.parts if isinstance(part, Gap))
    elif isinstance(template, dict):
        for each in template.values():
            yield from gaps(each)
    elif isinstance(template, list):
        for each in template:
            yield from gaps(each)


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """The JSON value a template makes of these values.

    A gap alone takes the value as it is. A missing one takes its member or element with it; inside a text it is empty.
    """
    value = _filled(template, values)
    return None if value is _NOTHING else value


def _filled(template: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(template, Text):
        return template.fill(values) if template.alone is None else values.get(template.alone, _NOTHING)
    if isinstance(template, dict):
        members = ((key, _filled(each, values)) for key, each in template.items())
        return {key: value for key, value in members if value is not _NOTHING}
    if isinstance(template, list):
        return [value for value in (_filled(each, values) for each in template) if value is not _NOTHING]
    return template


def _with_gaps(value: Any, where: str) -> Any:
    if isinstance(value, str):
        text = Text.parse(value, where)
        return text if text.names else value
    if isinstance(value, dict):
        for key in value:
            if "{{" in key:
                raise ConfigError(f"{where}: {key!r} names a member, and a placeholder can only be a value.")
        return {key: _with_gaps(each, where) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_gaps(each, where) for each in value]
    return value


def _from_text(text: str, where: str) -> Any:
    quoted = _STRING_OR_GAP.sub(lambda match: json.dumps(match[0]) if match[0][0] == "{" else match[0], text)
    try:
        return json.loads(quoted, object_pairs_hook=_pairs, parse_constant=_no_constant)
    except json.JSONDecodeError as exc:
        line = text.splitlines()[exc.lineno - 1].strip() if text.strip() else ""
        raise ConfigError(f"{where} is not JSON: {exc.msg}, in line {exc.lineno}: {line[:80]!r}.") from exc
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{where} is not JSON: {exc}.") from exc


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise ValueError(f"{twice!r} stands twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def _name(text: str, where: str) -> str:
    name = text.strip()
    if not _NAME.match(name):
        hint = " A secret is a header's value: 'Bearer env:API_TOKEN'." if name.startswith(("env:", "keyring:")) else ""
        raise ConfigError(
            f"{where}: {{{{{text}}}}} is not a placeholder: use letters, digits and _, no digit first; the "
            f"mapping says which column it takes.{hint}"
        )
    return name
