"""HttpRequest: one request exactly as it will leave, to be looked at first; HttpTrial: what came of it."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from typing import Any

from batchkit.core.execution import Execution
from batchkit.core.outcome import Outcome, Triggered
from batchkit.targets.connection import SecretHeader

__all__ = ["HttpRequest", "HttpTrial"]

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class HttpRequest:
    """A request, its secrets not shown; HTTP itself adds Host and Content-Length.

    Printing it shows it for reading; `curl` is a line to send it by hand.
    """

    method: str
    url: str
    #: those without secrets
    headers: tuple[tuple[str, str], ...]
    secrets: tuple[SecretHeader, ...] = ()
    #: the body as it is sent; None: there is none
    content: bytes | None = None

    def __repr__(self) -> str:
        lines = [f"{self.method} {self.url}"]
        lines += [f"{each.name}: {each.prefix}[{each.secret.reference or 'hidden'}]" for each in self.secrets]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.content is not None:
            lines += ["", json.dumps(json.loads(self.content), ensure_ascii=False, indent=2)]
        return "\n".join(lines)

    @property
    def curl(self) -> str:
        """The request as a line for a POSIX shell, with each secret as a variable to be set there."""
        words = ["curl", "--globoff", "--request", self.method, shlex.quote(self.url)]
        for each in self.secrets:
            words += ["--header", f'"{each.name}: {each.prefix}${_variable(each)}"']
        for name, value in self.headers:
            words += ["--header", shlex.quote(f"{name}: {value}" if value else f"{name};")]
        if self.content is not None:
            words += ["--data-raw", shlex.quote(self.content.decode())]
        return " ".join(words)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class HttpTrial:
    """What came of one request that was sent alone."""

    request: HttpRequest
    #: of the answer to the request; None: there was none
    status: int | None
    #: what a batch would take the answer for
    outcome: Outcome
    #: as last seen; None: nothing runs, or nothing is known of it
    execution: Execution | None = None
    #: why the status URL was of no use, lastly; empty: it was, or was not asked
    problem: str = ""

    @property
    def result(self) -> Any:
        """The execution's result, None where there is none."""
        return None if self.execution is None else self.execution.result

    def __repr__(self) -> str:
        answered = "no answer" if self.status is None else f"answered {self.status}"
        lines = [f"{self.request.method} {self.request.url}: {answered}, {type(self.outcome).__name__}"]
        if not isinstance(self.outcome, Triggered):
            lines.append(self.outcome.message)
        if self.execution is not None:
            lines.append(f"execution {self.execution.id}: {self.execution.status}")
            lines += [text for text in (self.execution.error, self.execution.reasoning, self.problem) if text]
            lines.append(f"result: {self.execution.result!r}")
        return "\n".join(lines)


def _variable(header: SecretHeader) -> str:
    kind, _, name = header.secret.reference.partition(":")
    return name if kind == "env" and _VARIABLE.match(name) else re.sub(r"\W", "_", header.name.upper())
