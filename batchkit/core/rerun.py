"""Running rows again: which ones, whether they may be, with which cells, and how the new batch is called."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields
from typing import Any

from batchkit.core.config import BatchConfig
from batchkit.core.execution import ExecutionOutcome, ExecutionStatus
from batchkit.core.lifecycle import ItemStatus
from batchkit.core.profile import AgentProfile, ProfilePool, ProfileRef
from batchkit.core.record import BatchRecord
from batchkit.errors import ConfigError, StateError

__all__ = ["EXECUTIONS", "Again", "Standing", "again_config", "again_name", "newest", "refuse_obstacles", "rows_that"]

#: what executions can be chosen by, as in `ExecutionCounts`
EXECUTIONS = ("failed", "cancelled", "succeeded", "running", "waiting", "timed_out")
_AGAIN = re.compile(r", again(?: \(\d+\))?\Z")
#: rows named in a message; the rest is counted
_NAMED = 5
_ONE = {"are": "is", "them": "it", "run": "runs"}
_SEVERAL = {"are": "are", "them": "them", "run": "run"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """What makes a batch one that runs rows of another again."""

    #: the batch whose rows these are
    parent: str
    #: the first batch, in which the rows came from a file
    origin: str
    #: rows that succeeded or still run are among them on purpose
    forced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where one row stands in one of the batches it was in."""

    batch_id: str
    item: int
    status: ItemStatus
    #: of its execution; None: there is none
    execution: ExecutionStatus | None = None
    outcome: ExecutionOutcome | None = None
    #: not finished and past the batch's item deadline; counted among those that run or wait, too
    timed_out: bool = False

    @property
    def counted(self) -> str:
        """Where its execution is counted, a word of EXECUTIONS but "timed_out"; empty without one."""
        if self.execution is None:
            return ""
        if self.execution is ExecutionStatus.COMPLETED:
            return "failed" if self.outcome is ExecutionOutcome.FAILURE else "succeeded"
        if self.execution.terminal:
            return str(self.execution)
        return "waiting" if self.execution.needs_person else "running"

    @property
    def obstacle(self) -> str:
        """Why the row must not be sent again, as a word; empty: it may be."""
        if self.status in (ItemStatus.PENDING, ItemStatus.TRIGGERING, ItemStatus.IN_DOUBT):
            return str(self.status)
        return {"succeeded": "succeeded", "running": "running", "waiting": "running"}.get(self.counted, "")


def newest(standings: Sequence[Standing]) -> Standing:
    """Return the one that counts of those of one row, oldest batch first: the last, passing over cancelled ones.

    A row that a later batch was to run and never did is what it was before.
    """
    return next((each for each in reversed(standings) if each.status is not ItemStatus.CANCELLED), standings[-1])


def rows_that(standings: Mapping[int, Standing], executions: AbstractSet[str], items: AbstractSet[str]) -> list[int]:
    """Return the rows whose execution, or else whose item, stands as one of the words says."""
    late = "timed_out" in executions
    return [
        row
        for row, each in standings.items()
        if each.counted in executions or str(each.status) in items or (late and each.timed_out)
    ]


def refuse_obstacles(standings: Iterable[tuple[int, Standing]], *, forced: bool) -> None:
    """Raise StateError if one of the rows must not be sent again, and name what can be done.

    forced: rows that succeeded or still run may be.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    batches: dict[str, str] = {}
    for row, each in standings:
        word = each.obstacle
        if word and not (forced and word in ("succeeded", "running")):
            rows[word].append(row)
            batches.setdefault(word, each.batch_id)
    if not rows:
        return
    said = {
        "succeeded": "succeeded already",
        "running": "still {run}",
        "in_doubt": "{are} in doubt and may have run; first settle {them} with ws.batch({batch!r}).settle(...)",
        "pending": "{are} still to be sent by batch {batch}; cancel {them} there first, or wait",
        "triggering": "{are} being sent by batch {batch}; wait",
    }
    reasons = [
        f"{_rows(rows[word])} {text.format(batch=batches[word], **(_ONE if len(rows[word]) == 1 else _SEVERAL))}"
        for word, text in said.items()
        if word in rows
    ]
    advice = ""
    if "succeeded" in rows or "running" in rows:
        advice = " Leave them out, or give force=True to run those that succeeded or still run once more."
    raise StateError(f"Nothing was sent: {'; '.join(reasons)}.{advice}")


def again_name(name: str, before: int) -> str:
    """Return what a batch of that name is called when it is run again, after `before` times already."""
    return f"{_AGAIN.sub('', name)}, again" + (f" ({before + 1})" if before else "")


def again_config(record: BatchRecord, name: str, config: BatchConfig | Mapping[str, Any] | None) -> BatchConfig:
    """Return how to run rows of that batch again: as it was run, but for what `config` says.

    config: only what is to be different, by the names of BatchConfig's parameters; or a whole BatchConfig, of which
    a version, default profile or timezone of None means the batch's own.
    """
    own: dict[str, Any] = {"name": name, "version": record.version, "default_profile": _default(record)}
    own["timezone"] = record.flow.timezone
    if isinstance(config, BatchConfig):
        changes = {each.name: getattr(config, each.name) for each in fields(BatchConfig)}
        kept = {key for key in ("version", "default_profile", "timezone") if changes[key] is None}
        return BatchConfig(**(changes | {key: own[key] for key in kept}))
    if not isinstance(config, Mapping | None):
        raise ConfigError(f"config must be a bk.BatchConfig, or a dict like {{'batch_interval': 0}}, not {config!r}.")
    own |= {each.name: getattr(part, each.name) for part in (record.pace, record.flow) for each in fields(part)}
    try:
        return BatchConfig(**(own | dict(config or {})))
    except TypeError as error:
        known = ", ".join(each.name for each in fields(BatchConfig))
        raise ConfigError(
            f"config has something a batch is not configured by ({error}). It can be: {known}."
        ) from error


def _default(record: BatchRecord) -> AgentProfile | ProfilePool | None:
    """The batch's default profile as its user could give it."""
    ref: ProfileRef | None = record.default_profile
    if record.pool is not None:
        return record.pool.pool
    if ref is None:
        return None
    return ProfilePool(ref.name, id=ref.id) if ref.is_pool else AgentProfile(name=ref.name, id=ref.id)


def _rows(rows: list[int]) -> str:
    named = ", ".join(map(str, rows[:_NAMED]))
    more = f" and {len(rows) - _NAMED:,} more" if len(rows) > _NAMED else ""
    return f"row{'s' if len(rows) > 1 else ''} {named}{more}"
