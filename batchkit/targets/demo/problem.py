"""How the demo platform answers: JSON, and one exception rendered in the platform's error form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from starlette.responses import JSONResponse

__all__ = ["HttpProblem", "JsonAnswer"]

#: the problem type of a reached limit, as the vendor's SDK documents it
_LIMIT_TYPE = "https://docs.asteroid.ai/errors/limit-reached"
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class JsonAnswer(JSONResponse):
    """JSON in ASCII, so that text which is not valid Unicode can be answered, too."""

    def render(self, content: object) -> bytes:
        """The body."""
        return _encode(content).encode()


class HttpProblem(Exception):
    """An answer other than success: `{code, message}` and the RFC 9457 members (platform API, "Basics")."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        extension: Mapping[str, str | int] | None = None,
    ) -> None:
        """errors: (parameter, what is wrong with it). extension: further members of the body."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.extension = dict(extension or {})

    @classmethod
    def invalid(cls, *errors: tuple[str, str]) -> HttpProblem:
        """A 400 that names each (parameter, what is wrong with it)."""
        return cls(400, "; ".join(f"{parameter}: {detail}" for parameter, detail in errors), errors=errors)

    @classmethod
    def limit_reached(cls, capability: str, used: int, limit: int) -> HttpProblem:
        """A 429 for a full organization or pool."""
        return cls(
            429,
            f"The limit of {limit} for {capability} is reached: {used} in use.",
            extension={"type": _LIMIT_TYPE, "capability": capability, "used": used, "limit": limit},
        )

    def response(self, instance: str) -> JsonAnswer:
        """The answer; `instance` is the path of the request that caused it."""
        body: dict[str, object] = {
            "code": self.status,
            "message": self.message,
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.message,
            "instance": instance,
            **self.extension,
        }
        if self.errors:
            body["errors"] = [{"parameter": parameter, "detail": detail} for parameter, detail in self.errors]
        return JsonAnswer(body, self.status, headers=self.headers)
