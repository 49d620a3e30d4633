"""JsonPath: where one value stands in a JSON document, "$.data.jobs[0].id".

The singular queries of RFC 9535 and nothing else of it: what is wanted here is one value, and whether it is missing
because a list is empty or because the document looks otherwise, which libraries for the whole language do not tell.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from batchkit.errors import ConfigError
from batchkit.targets.connection import short

__all__ = ["Absent", "JsonPath"]

_STEP = re.compile(
    r"""\.(?P<name>[^\W\d]\w*)"""
    r"""|\[\s*(?P<index>0|-?[1-9][0-9]*)\s*\]"""
    r"""|\[\s*(?P<double>"(?:[^"\\]|\\.)*")\s*\]"""
    r"""|\[\s*'(?P<single>(?:[^'\\]|\\.)*)'\s*\]"""
)
_SHAPE = "Write one like $.data.id, $.jobs[0].id or $['task-id']."


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """A document has no value there."""

    message: str
    #: a list on the way has too few elements or null stands there, so that the document may well say: there is none
    empty: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonPath:
    """The place of one value: members by name and elements by number, negative ones from the end."""

    text: str
    steps: tuple[str | int, ...]

    @classmethod
    def parse(cls, text: str, where: str) -> JsonPath:
        """The path that `text` spells; `where` names the parameter in a ConfigError."""
        if not isinstance(text, str) or not text.startswith("$"):
            raise ConfigError(f"{where}={text!r} is not a JSON path: it does not begin with $. {_SHAPE}")
        steps: list[str | int] = []
        position = 1
        while position < len(text):
            match = _STEP.match(text, position)
            if match is None:
                raise ConfigError(
                    f"{where}={text!r} is not a JSON path to one value, from {text[position:]!r} on; *, .. and "
                    f"filters are not taken. {_SHAPE}"
                )
            steps.append(_step(match, text, where))
            position = match.end()
        return cls(text=text, steps=tuple(steps))

    def value(self, document: Any) -> Any:
        """The value there, or Absent."""
        for step in self.steps:
            if document is None:
                return Absent(message=f"Before {step!r} of {self.text} there is null.", empty=True)
            kind, words = (dict, "an object") if isinstance(step, str) else (list, "a list")
            if not isinstance(document, kind):
                return Absent(message=f"There is no {self.text}: {step!r} would need {words}.", empty=False)
            try:
                document = document[step]  # type: ignore[index]
            except KeyError:
                known = short(", ".join(document)) or "nothing"
                return Absent(message=f"There is no {self.text}: where {step!r} should be is {known}.", empty=False)
            except IndexError:
                return Absent(
                    message=f"There is no {self.text}: the list has {len(document)} elements.", empty=not document
                )
        return document


def _step(match: re.Match[str], text: str, where: str) -> str | int:
    if match["name"] is not None:
        return match["name"]
    if match["index"] is not None:
        return int(match["index"])
    quoted = match["double"]
    if quoted is None:
        quoted = '"' + match["single"].replace("\\'", "'").replace('"', '\\"') + '"'
    try:
        name: str = json.loads(quoted)
    except ValueError as exc:
        raise ConfigError(f"{where}={text!r} has a name in it that is not quoted as in JSON: {exc}.") from exc
    return name
