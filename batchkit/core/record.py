"""What the store holds of a batch, read back as values."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as MappingLike
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from batchkit.core.execution import Execution
from batchkit.core.flow import Flow
from batchkit.core.lifecycle import BatchStatus, ItemStatus
from batchkit.core.outcome import Outcome
from batchkit.core.profile import PinnedPool, ProfileRef
from batchkit.core.progress import Progress
from batchkit.core.request import TriggerRequest
from batchkit.core.schedule import Pace
from batchkit.core.target import TargetInfo

__all__ = [
    "BatchRecord",
    "Claim",
    "Event",
    "ItemChange",
    "ItemOutcome",
    "ItemRecord",
    "Lease",
    "NewBatch",
    "Tick",
    "Unread",
    "merged",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBatch:
    """Everything a batch needs to run, fixed when it is created."""

    name: str
    agent_id: str
    agent_name: str
    #: pinned; None: the target has no versions
    version: int | None
    target: TargetInfo
    pace: Pace
    #: aware
    start_at: datetime
    #: rows tried first and at once; the rest is held until the batch is resumed; 0: none
    trial: int = 0
    flow: Flow = field(default_factory=Flow)
    default_profile: ProfileRef | None = None
    columns: tuple[str, ...] = ()
    #: `Mapping.to_dict()`
    mapping: MappingLike[str, Any] = field(default_factory=dict)
    #: the file's name
    source: str = ""
    #: `Table.fingerprint`
    fingerprint: str = ""
    #: `results.index_kind()` of a DataFrame's index; None: none
    index_kind: MappingLike[str, Any] | None = None
    owner: str = ""
    #: set where batchkit itself picks the profile of rows that name none
    pool: PinnedPool | None = None
    #: the batch whose rows are run again; None: rows of its own
    parent: str | None = None
    #: the first of the batches that led here; None likewise
    origin: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """A batch as it stands in the store."""

    id: str
    name: str
    status: BatchStatus
    agent_id: str
    agent_name: str
    version: int | None
    target: TargetInfo
    pace: Pace
    default_profile: ProfileRef | None
    columns: tuple[str, ...]
    mapping: MappingLike[str, Any]
    source: str
    fingerprint: str
    index_kind: MappingLike[str, Any] | None
    owner: str
    progress: Progress
    created_at: datetime
    start_at: datetime
    #: when it first went to running
    started_at: datetime | None
    #: when it was completed or cancelled
    finished_at: datetime | None
    #: why it paused itself or what it waits for; empty: nothing to say
    reason: str
    #: no group starts before this; None: no such limit
    gate_at: datetime | None
    #: when the next pending item is due
    next_due: datetime | None
    #: counts changes by commands
    revision: int
    #: counts changes of lease
    epoch: int
    #: who runs it, "" for nobody
    runner: str
    #: the lease is held and has not lapsed
    runner_alive: bool
    #: rows tried first; the others are held until the batch is resumed; 0: nothing is held
    trial: int = 0
    flow: Flow = field(default_factory=Flow)
    #: put away by its user
    archived: bool = False
    #: as in `NewBatch`
    pool: PinnedPool | None = None
    parent: str | None = None
    origin: str | None = None
    #: executions whose end a webhook told, and whose details the target has not told yet
    partial: int = 0
    #: when the last webhook about one of its executions came; None: none did
    heard_at: datetime | None = None
    #: seconds until its lease lapses unless it is renewed, by the moment it was read; 0: nobody runs it
    lease_left: float = field(default=0.0, compare=False)

    @property
    def room(self) -> int | None:
        """How many more rows `max_in_flight` lets in; None: any number."""
        limit = self.flow.max_in_flight
        return None if limit is None else max(0, limit - self.progress.in_flight)

    @property
    def untold(self) -> int:
        """Executions of which the target has not told the end yet, or not all of it."""
        return self.progress.executions.open + self.partial

    @property
    def interrupted(self) -> bool:
        """It should be running, or is due to start, and nobody runs it."""
        return self.status in (BatchStatus.RUNNING, BatchStatus.PENDING) and not self.runner_alive


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRecord:
    """A scheduled execution as it stands in the store."""

    #: position in the batch, 0-based: the `i` of the formula
    item: int
    row: int
    line: int | None
    status: ItemStatus
    execute_at: datetime
    #: the user set `execute_at`
    by_hand: bool
    #: how often a request was made ready, 0: never
    attempt: int
    #: when the intent of the last attempt was recorded
    intent_at: datetime | None
    triggered_at: datetime | None
    #: not looked up before this, while in doubt
    settle_at: datetime | None
    #: why it was refused, is in doubt, or went back to pending
    error: str
    execution: Execution | None
    #: the row's own: not due before this
    not_before: datetime | None = None
    #: its execution had not finished by the batch's item deadline, and has not since
    timed_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """An execution of whose end the target has not told."""

    item: int
    execution_id: str
    #: when its answer came, by our clock
    triggered_at: datetime
    #: by the target's clock; None: it has not said
    created_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to run a batch, until `expires` unless renewed."""

    batch_id: str
    owner: str
    epoch: int
    #: seconds since `boot`, see Clock.boot
    expires: float
    boot: str
    #: how long it holds without being renewed
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An item whose intent is recorded: it may be sent, once."""

    item: int
    row: int
    attempt: int
    #: when it was to be sent, by the schedule
    due: datetime
    request: TriggerRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemOutcome:
    """What became of one attempt."""

    item: int
    attempt: int
    outcome: Outcome
    #: when it was known
    at: datetime
    #: for Unclear: the target is not asked before this
    settle_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What one visit to the store brought back."""

    batch: BatchRecord
    claimed: tuple[Claim, ...] = ()
    #: renewed; None: the lease is somebody else's now
    lease: Lease | None
    #: when the next item in doubt may be looked up
    next_settle: datetime | None = None
    #: why items that are due were not claimed: no profile is free; empty: they were, or others hold them back
    waiting: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemChange:
    """What a command on a selection of items did, and to which it could not be done and why."""

    done: tuple[int, ...] = ()
    #: item: reason
    not_done: MappingLike[int, str] = field(default_factory=dict)

    def __str__(self) -> str:
        if not self.not_done:
            return f"{len(self.done):,} done"
        reasons = "; ".join(f"item {item}: {why}" for item, why in list(self.not_done.items())[:5])
        more = f"; and {len(self.not_done) - 5:,} more" if len(self.not_done) > 5 else ""
        return f"{len(self.done):,} done, {len(self.not_done):,} not ({reasons}{more})"


def merged(changes: Iterable[ItemChange]) -> ItemChange:
    """What several commands did, as if it were one."""
    done: list[int] = []
    not_done: dict[int, str] = {}
    for change in changes:
        done += change.done
        not_done |= change.not_done
    return ItemChange(done=tuple(done), not_done=not_done)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of a batch's log: who did what, when."""

    at: datetime
    #: "user", "batchkit", or the name a deployment gives
    actor: str
    #: "created", "started", "paused", "resumed", "restaggered", "refused", ...
    kind: str
    #: a sentence for people
    message: str
    #: the item concerned, None: the batch
    item: int | None = None
