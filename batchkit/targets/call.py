"""Calling a user's function: whatever it does, an Ending comes back."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batchkit.targets.jsonable import json_value

__all__ = ["Ending", "call", "call_coroutine", "describe"]

#: characters of an exception's own text that are kept
_ERROR_LENGTH = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How one call went."""

    started_at: datetime
    finished_at: datetime
    #: a JSON value
    result: Any = None
    #: empty: it went well
    error: str = ""


def call(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Ending:
    """Call a plain function to its end. SystemExit and KeyboardInterrupt end the call, not the worker.

    A coroutine it returns is run on a loop of its own.
    """
    started_at = datetime.now(UTC)
    try:
        result = function(**arguments)
        if inspect.iscoroutine(result):
            result = asyncio.run(result)
        return Ending(started_at=started_at, finished_at=datetime.now(UTC), result=json_value(result))
    except BaseException as exc:
        return Ending(started_at=started_at, finished_at=datetime.now(UTC), error=describe(exc))


async def call_coroutine(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Ending:
    """The same for a coroutine function; only being cancelled passes through."""
    started_at = datetime.now(UTC)
    try:
        result = await function(**arguments)
        return Ending(started_at=started_at, finished_at=datetime.now(UTC), result=json_value(result))
    except asyncio.CancelledError:
        raise
    except BaseException as exc:
        return Ending(started_at=started_at, finished_at=datetime.now(UTC), error=describe(exc))


def describe(exc: BaseException) -> str:
    """The exception's type and text, and the line it came from; none of the values along the way."""
    name = type(exc).__qualname__
    try:
        text = str(exc)
    except Exception:
        text = "its text cannot be shown"
    if len(text) > _ERROR_LENGTH:
        text = text[: _ERROR_LENGTH - 1] + "…"
    frames = traceback.extract_tb(exc.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno}, in {frames[-1].name})" if frames else ""
    return f"{name}: {text}{where}" if text else f"{name}{where}"
