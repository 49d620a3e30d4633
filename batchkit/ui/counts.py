"""What a card counts: rows by state, and executions by what became of them; each leads to the rows it counts."""

from __future__ import annotations

from dataclasses import dataclass

from batchkit.core.listing import ExecutionFilter
from batchkit.core.progress import Progress

__all__ = ["Count", "executions_of", "rows_of"]

#: in the order shown; the first three always, the others where there are any
_ROWS = ("pending", "triggered", "cancelled", "triggering", "refused", "in_doubt", "left_out")
_ALWAYS = 3
_ROW_WORDS = {"triggering": "being sent", "in_doubt": "in doubt", "left_out": "left out as invalid"}
#: those of timed out executions are counted as running or waiting, too
_EXECUTIONS: tuple[ExecutionFilter, ...] = ("running", "waiting", "timed_out", "succeeded", "failed", "cancelled")
_DESERVE_A_LOOK = ("refused", "in_doubt", "waiting", "timed_out", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """So many of a kind."""

    words: str
    count: int
    #: whether it deserves a look
    look: bool = False
    #: the table's filter that leaves just these; empty: they are not in the table
    status: str = ""
    execution: str = ""


def rows_of(progress: Progress) -> tuple[Count, ...]:
    """The scheduled executions by state, and what was left out."""
    found = [(name, int(getattr(progress, name))) for name in _ROWS]
    return tuple(
        Count(
            words=_ROW_WORDS.get(name, name),
            count=count,
            look=bool(count) and name in _DESERVE_A_LOOK,
            status="" if name == "left_out" else name,
        )
        for index, (name, count) in enumerate(found)
        if count or index < _ALWAYS
    )


def executions_of(progress: Progress) -> tuple[Count, ...]:
    """The executions by what became of them; none before there are any."""
    found = [(name, int(getattr(progress.executions, name))) for name in _EXECUTIONS]
    return tuple(
        Count(words=_words(name, count), count=count, look=name in _DESERVE_A_LOOK, execution=name)
        for name, count in found
        if count
    )


def _words(name: ExecutionFilter, count: int) -> str:
    if name == "waiting":
        return "needs a person" if count == 1 else "need a person"
    return "of these timed out" if name == "timed_out" else name
