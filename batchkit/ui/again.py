"""Running rows of a batch again from its card: which kinds there are, how many of each, and which were chosen."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from batchkit.core.progress import Progress
from batchkit.core.record import BatchRecord
from batchkit.core.rerun import Standing, newest, rows_that
from batchkit.errors import ConfigError

if TYPE_CHECKING:
    from batchkit.batch import Batch
    from batchkit.workspace import Workspace

__all__ = ["KINDS", "Kind", "can_run_again", "chosen_kinds", "count_kinds", "has_family", "kinds_as_json", "run_again"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Rows that can be run again together."""

    key: str
    label: str
    #: what `Batch.rerun` calls them, and by what it tells them
    by: Literal["executions", "items"]
    word: str
    #: chosen at first
    usual: bool = False
    #: what to know before they are chosen
    hint: str = ""
    #: they may still run
    forced: bool = False


KINDS = (
    Kind(key="failed", label="Failed executions", by="executions", word="failed", usual=True),
    Kind(
        key="refused",
        label="Refused rows",
        by="items",
        word="refused",
        usual=True,
        hint="They may be refused again unless what was wrong is set right.",
    ),
    Kind(key="cancelled", label="Cancelled executions", by="executions", word="cancelled"),
    Kind(
        key="timed_out",
        label="Timed out executions",
        by="executions",
        word="timed_out",
        hint="They have not finished and may still run: each of them may be done twice.",
        forced=True,
    ),
    Kind(
        key="unsent",
        label="Rows that were cancelled before they were triggered",
        by="items",
        word="cancelled",
    ),
)
#: what a card offers the command for: rows that were cancelled before they ran did not fail
_OFFERED = ("failed", "refused", "cancelled", "timed_out")


def can_run_again(progress: Progress) -> bool:
    """Whether the batch counts rows that went wrong; another batch may have run them again already."""
    return any(_counted(progress, kind) for kind in KINDS if kind.key in _OFFERED)


def has_family(workspace: Workspace, record: BatchRecord) -> bool:
    """Whether it runs rows of another batch again, or another one rows of it: then counting takes its time."""
    return len(workspace.engine.call(workspace.store.family(record.id))) > 1


def count_kinds(workspace: Workspace, record: BatchRecord) -> dict[str, int]:
    """How many rows of each kind there are by now, those that another batch ran again counted by how that went.

    They are gone through on the thread that calls, not on the one that batches run on.
    """
    if not has_family(workspace, record):
        return {kind.key: _counted(record.progress, kind) for kind in KINDS}
    standings = workspace.engine.call(workspace.store.standings(record.id))
    mine = {row: newest(each) for row, each in standings.items() if any(one.batch_id == record.id for one in each)}
    return {kind.key: len(_rows(mine, [kind])) for kind in KINDS}


def chosen_kinds(keys: Collection[str]) -> list[Kind]:
    """The kinds of those keys. Raises ConfigError where there is none."""
    chosen = [kind for kind in KINDS if kind.key in keys]
    if not chosen:
        raise ConfigError("Choose which rows are to run again.")
    return chosen


def run_again(batch: Batch, kinds: Collection[Kind]) -> Batch:
    """The new batch of all rows of these kinds."""
    words: Mapping[str, list[str]] = {
        by: [kind.word for kind in kinds if kind.by == by] for by in ("executions", "items")
    }
    return batch.rerun(executions=words["executions"], items=words["items"], force=any(kind.forced for kind in kinds))


def kinds_as_json(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """The kinds of which there are any, for the page."""
    return [
        {"key": kind.key, "label": kind.label, "count": counts[kind.key], "usual": kind.usual, "hint": kind.hint}
        for kind in KINDS
        if counts[kind.key]
    ]


def _rows(standings: Mapping[int, Standing], kinds: Collection[Kind]) -> list[int]:
    executions = {kind.word for kind in kinds if kind.by == "executions"}
    return rows_that(standings, executions, {kind.word for kind in kinds if kind.by == "items"})


def _counted(progress: Progress, kind: Kind) -> int:
    return int(getattr(progress.executions if kind.by == "executions" else progress, kind.word))
