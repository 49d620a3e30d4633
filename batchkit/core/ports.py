"""The Protocols where io, targets and engine meet. Each has more than one implementation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from collections.abc import Mapping as MappingLike
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable

from batchkit.core.agent import Agent
from batchkit.core.execution import Execution, ExecutionStatus
from batchkit.core.lifecycle import BatchStatus, ItemStatus
from batchkit.core.limits import Limits
from batchkit.core.listing import ItemQuery, Overview
from batchkit.core.outcome import Outcome
from batchkit.core.profile import AgentProfile, ProfilePool
from batchkit.core.record import (
    BatchRecord,
    Event,
    ItemChange,
    ItemOutcome,
    ItemRecord,
    Lease,
    NewBatch,
    Tick,
    Unread,
)
from batchkit.core.request import NewItem, TriggerRequest
from batchkit.core.rerun import Standing
from batchkit.core.target import TargetInfo

__all__ = ["AskedById", "Clock", "ListsByStatus", "Reporting", "Store", "Target", "TargetInfo", "WakeUp"]


class Clock(Protocol):
    """Time as the engine sees it; `testing.FakeClock` moves it by hand."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC. What due times follow."""

    def monotonic(self) -> float:
        """Seconds that never jump; what durations are measured with."""

    def boot(self) -> tuple[str, float]:
        """An id of this boot, and the seconds since then, sleep included; what leases follow."""

    async def wait(self, event: WakeUp, timeout: float) -> None:
        """Return when `event` is set or `timeout` seconds have passed, whichever is first."""


class WakeUp(Protocol):
    """What `asyncio.Event` offers of itself."""

    def is_set(self) -> bool: ...
    async def wait(self) -> object: ...


@runtime_checkable
class Target(Protocol):
    """What rows are sent to. All methods run on the engine's loop.

    Methods that fetch raise TargetError (AuthError, UnreachableError); `trigger` never raises for what the
    target or the network does, it returns an Outcome.
    """

    #: whether `find` can tell if a request arrived
    can_look_up: bool
    #: seconds until an execution is sure to be listed
    listing_delay: float
    #: seconds after which a request is given up, connecting included
    total_timeout: float
    #: seconds between two looks at what became of executions
    poll_interval: float

    @property
    def info(self) -> TargetInfo: ...

    async def agents(self) -> list[Agent]:
        """Every agent, by name; inputs and versions may be left out."""

    async def agent(self, agent_id: str, version: int | None = None) -> Agent:
        """That agent with all its versions, and the inputs of `version` (None: the published one)."""

    async def profiles(self) -> list[AgentProfile]: ...

    async def pools(self) -> list[ProfilePool]: ...

    async def trigger(self, request: TriggerRequest) -> Outcome: ...

    async def find(self, batch_id: str, item: int, attempt: int) -> Execution | None:
        """The execution that attempt created, or None if the target knows of none."""

    def executions(self, batch_id: str, since: datetime | None = None) -> AsyncIterator[list[Execution]]:
        """The batch's executions in pages of up to 100, with their metadata; `since`: created no earlier."""

    async def aclose(self) -> None: ...


@runtime_checkable
class AskedById(Protocol):
    """A Target that cannot list the executions of a batch: it is told which to look at, also after a restart."""

    async def executions_by_id(self, batch_id: str, known: Sequence[tuple[int, str]]) -> list[Execution]:
        """What became of these executions, (item, execution id) each; some may be left out. Raises TargetError."""


@runtime_checkable
class ListsByStatus(Protocol):
    """A Target that lists a batch's executions by status, so that few requests tell what became of many."""

    async def standing(self, batch_id: str, statuses: Sequence[ExecutionStatus]) -> tuple[list[Execution], int | None]:
        """Up to 100 of the batch's executions in one of these statuses, oldest first, and how many there are.

        None: it does not say. One request. Raises TargetError.
        """

    def ended(self, batch_id: str, since: datetime) -> AsyncIterator[list[Execution]]:
        """The batch's executions that have ended, in pages of up to 100; `since`: created no earlier."""

    async def execution(self, execution_id: str) -> Execution:
        """That execution. Raises TargetError, NotFoundError."""


@runtime_checkable
class Reporting(Protocol):
    """A Target whose executions run in this process: it tells when they end, and need not be asked."""

    #: told (batch id, item, execution) when an execution has ended, on the loop that triggered it
    on_finished: Callable[[str, int, Execution], None] | None

    def known(self, batch_id: str) -> set[str]:
        """The ids of the batch's executions that run, or ran, in this target."""

    async def drain(self, seconds: float) -> None:
        """Begin no more executions, and wait for those under way, so long at the most."""


class Store(Protocol):
    """What keeps batches. All methods run on the engine's loop and raise StoreError where the store fails.

    A write is durable when it returns. `actor` is who is named in the batch's log. A store is asked for one viewer: a
    batch he may not see is in no answer, and where its id is named, that is NotFoundError as for any unknown id.
    """

    @property
    def label(self) -> str:
        """Where it is, for messages."""

    async def server_time(self) -> datetime | None:
        """What the database server's clock says; None: the store is on this machine."""

    async def begin(self, new: NewBatch) -> str:
        """The id of a new batch nobody sees yet."""

    async def add(self, batch_id: str, new: Sequence[NewItem], labels: Sequence[Any] | None = None) -> None:
        """Append items, due by the formula; `labels`: of the rows in a DataFrame's index."""

    async def leave_out(self, batch_id: str, rows: Sequence[tuple[int, int | None, Sequence[str], str]]) -> None:
        """Append rows the policy "drop" left out: (row, line, cells, errors)."""

    async def publish(self, batch_id: str, actor: str, *, forced: bool = False) -> BatchRecord:
        """Make the batch visible: running, or pending until its start time.

        forced: rows that succeeded or still run may be run again. Raises StateError where one must not be.
        """

    async def abandon(self, batch_id: str) -> None:
        """Remove a batch that was begun and not published."""

    async def batch(self, batch_id: str) -> BatchRecord:
        """Raises NotFoundError."""

    async def batches(
        self, *, agent_id: str | None = None, statuses: Iterable[BatchStatus] = (), limit: int | None = None
    ) -> list[BatchRecord]:
        """Newest first."""

    async def others(self) -> int:
        """How many batches of other owners there are in a file, which are not shown; of a database 0."""

    async def same_file(self, agent_id: str, fingerprint: str) -> list[BatchRecord]:
        """Batches in which that file already ran for that agent, newest first."""

    async def items(
        self,
        batch_id: str,
        *,
        after: tuple[Any, ...] | None = None,
        limit: int | None = None,
        order: Literal["row", "time"] = "row",
        statuses: Sequence[ItemStatus] = (),
        positions: Sequence[int] | None = None,
    ) -> list[ItemRecord]:
        """A page of items; `after`: the key of the last one before, (item,) or (execute_at, item)."""

    async def cells(self, batch_id: str, first: int, last: int) -> list[tuple[list[str], Any]]:
        """The rows as they were in the file, each with its index label, for items first <= item < last."""

    async def overview(
        self,
        *,
        agent_id: str | None = None,
        statuses: Iterable[BatchStatus] = (),
        text: str = "",
        archived: bool | None = False,
        limit: int,
    ) -> Overview:
        """The newest `limit` batches that match; `archived`: only those, or the others, or (None) both."""

    async def page(self, batch_id: str, query: ItemQuery) -> tuple[list[ItemRecord], int]:
        """Any page of items at about the same cost, and how many match."""

    async def positions(self, batch_id: str, query: ItemQuery, *, after: int = -1) -> list[int]:
        """The next items after `after` that match, in row order, `query.limit` at the most."""

    async def ahead_of(self, batch_id: str, item: int) -> int:
        """How many pending items are sent before that pending one."""

    async def item_input(self, batch_id: str, item: int) -> NewItem:
        """What was read from the file for one item. Raises NotFoundError."""

    async def family(self, batch_id: str) -> list[BatchRecord]:
        """The batches that run rows of one file, each other's again, oldest first; that one is among them."""

    async def standings(self, batch_id: str) -> dict[int, list[Standing]]:
        """Where each row of the batch's family stands, by row and then oldest batch first."""

    async def left_out(self, batch_id: str) -> list[tuple[int, int | None, list[str], str]]: ...

    async def events(self, batch_id: str, *, item: int | None = None, limit: int | None = None) -> list[Event]:
        """The log, oldest first; with `limit`, the newest of it."""

    async def pause(self, batch_id: str, actor: str, reason: str = "") -> BatchRecord:
        """Raises StateError, as do the next two."""

    async def resume(self, batch_id: str, actor: str) -> BatchRecord: ...

    async def cancel(self, batch_id: str, actor: str) -> BatchRecord: ...

    async def change_limits(self, batch_id: str, limits: Limits, actor: str) -> BatchRecord:
        """Give the batch other limits, and its pending items new times where the pace is another.

        Raises StateError for a batch that has ended, ConfigError for a last group too far away.
        """

    async def archive(self, batch_id: str, actor: str, *, archived: bool) -> BatchRecord:
        """Put a batch that has ended away, or bring it back. Raises StateError."""

    async def delete(self, batch_id: str, owner: str) -> None:
        """Delete a batch that has ended, with all of its items and its log.

        owner: the runner of this process. Raises StateError, also while another runner follows its executions.
        """

    async def cancel_items(self, batch_id: str, ids: Sequence[int], actor: str) -> ItemChange: ...

    async def reschedule_items(
        self,
        batch_id: str,
        ids: Sequence[int],
        at: datetime,
        actor: str,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> ItemChange:
        """Move pending items to the first free slots at or after `at`; `progress`: told how many were gone through."""

    async def settle_items(
        self, batch_id: str, ids: Sequence[int], choice: Literal["retry", "skip"], actor: str
    ) -> ItemChange: ...

    async def acquire(self, batch_id: str, owner: str, *, settle_after: float | None) -> Lease | None:
        """The batch's lease, or None while another runner's is alive.

        What a former runner left unfinished is in doubt then, not to be looked up before `settle_after` seconds
        from now; None: the target cannot look up.
        """

    async def release(self, lease: Lease) -> None: ...

    async def entrust(
        self, batch_id: str, until: datetime | None, *, revision: int, lease: Lease | None = None
    ) -> bool:
        """Leave the batch, with its lease, to whoever is woken for it at `until`; None: to nobody, until a command.

        Anybody may acquire it, but until some seconds after `until` it does not count as interrupted. False, and
        nothing is changed, while a runner other than that of `lease` has it, or if `revision` is not the batch's.
        """

    async def unattended(self) -> list[BatchRecord]:
        """Batches for which there has been something to do for some seconds, and nobody does it."""

    async def tick(
        self,
        lease: Lease,
        *,
        outcomes: Sequence[ItemOutcome] = (),
        claim: int = 0,
        until: datetime | None = None,
        gate: datetime | None = None,
        pause: str = "",
        reason: str | None = None,
        revision: int | None = None,
    ) -> Tick:
        """One visit of the runner, in one transaction.

        Records outcomes, pauses the batch with the reason `pause`, starts and completes it as its times and
        counts say, renews the lease, and claims up to `claim` items due by `until` (None: now). `gate`: no later
        group starts before it (kept with a claim, or by itself where `claim` is 0). `reason`: what a running batch
        waits for, "" for nothing, None to leave what it says. `revision`: nothing is claimed unless it is the
        batch's (None: whatever it is). No more is claimed than the batch's limits let in.
        """

    async def hold_others(self, batch_id: str, until: datetime, reason: str) -> int:
        """Start no group of other batches on this one's account before `until`; returns how many wait longer by that.

        reason: what those that run say they wait for.
        """

    async def disclaim(self, lease: Lease, known: Collection[int]) -> int:
        """Make pending what is claimed and not among `known`: claims whose acknowledgement was lost.

        Nothing, if the lease is somebody else's now. Returns how many.
        """

    async def note(self, batch_id: str, seen: Sequence[tuple[int, Execution]]) -> int:
        """Write down what became of executions; returns how many changed."""

    async def earliest_open(self, batch_id: str) -> datetime | None:
        """When the oldest execution that has not finished was triggered."""

    async def unread_executions(self, batch_id: str) -> list[Unread]:
        """All executions of whose end the target has not told, in row order."""

    async def triggered_since(self, batch_id: str, *since: datetime) -> tuple[BatchRecord, list[int]]:
        """The batch, and how many of its items were triggered at or after each of those moments."""

    async def time_out(self, batch_id: str) -> datetime | None:
        """Count open executions past the batch's item deadline as timed out; returns when the next one will be.

        None: none will.
        """

    async def lose(self, batch_id: str, ids: Sequence[int]) -> int:
        """Write down that the executions of these items were lost with the process that ran them; returns how many."""

    async def open_executions(self, batch_id: str, *, after: int = -1, limit: int) -> list[tuple[int, str]]:
        """The next items after `after` whose execution has not finished, each with the execution's id."""

    async def doubtful(self, batch_id: str, limit: int) -> list[ItemRecord]:
        """Items in doubt that may be looked up now."""

    async def restagger(self, lease: Lease, message: str) -> int:
        """Stagger the pending items anew from now and log `message`, if there is one; returns how many moved."""

    async def save_mapping(self, agent_id: str, fingerprint: str, mapping: MappingLike[str, Any]) -> None: ...

    async def mapping(self, agent_id: str, fingerprint: str) -> dict[str, Any] | None: ...

    async def delete_mapping(self, agent_id: str, fingerprint: str) -> bool:
        """Whether there was one."""

    async def aclose(self) -> None: ...
