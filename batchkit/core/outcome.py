"""What became of one request to trigger a row. Values, never exceptions."""

from __future__ import annotations

from dataclasses import dataclass

from batchkit.core.execution import Execution

__all__ = ["Held", "NotSent", "Outcome", "Refused", "Triggered", "Unclear", "Wait"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Triggered:
    """The target took the row and runs it."""

    execution: Execution


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The target would not take this row; nothing runs. 4xx except 401, 402, 403 and 429."""

    #: the target's code: "400", "not_found", ...
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    """The request is known never to have left: no connection. The row goes back to pending."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Nothing runs, and the next row would fare the same; the row goes back to pending and the batch pauses."""

    #: "401", "402", "403": credentials or payment; "307", "308": it is elsewhere; "broken": what runs it is gone
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """The target asks to come back later: 429. Nothing runs; the row stays pending."""

    #: seconds the target asked for; None: it did not say
    retry_after: float | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclear:
    """The request may have left and the answer is unknown. The row is in doubt."""

    message: str


Outcome = Triggered | Refused | NotSent | Held | Wait | Unclear
