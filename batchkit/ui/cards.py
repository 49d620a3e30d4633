"""What a batch's card says and which of its commands are possible: decided from the record, drawn elsewhere."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any, Literal

from batchkit.core.lifecycle import BatchStatus
from batchkit.core.listing import SEARCHABLE, Relative
from batchkit.core.record import BatchRecord
from batchkit.core.schedule import LAST_YEAR
from batchkit.ui.again import can_run_again
from batchkit.ui.counts import Count, executions_of, rows_of
from batchkit.ui.limits import LimitsDraft

__all__ = ["Card", "Expected", "Lineage", "Surroundings", "Time", "card_of", "place_of"]

Tone = Literal["info", "success", "warning", "danger", "neutral"]

_TONES: dict[BatchStatus, Tone] = {
    BatchStatus.PENDING: "neutral",
    BatchStatus.RUNNING: "info",
    BatchStatus.PAUSED: "warning",
    BatchStatus.COMPLETED: "success",
    BatchStatus.CANCELLED: "neutral",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a card depends on beside the record."""

    now: datetime
    #: when its last pending item is due; None: none is pending
    last_due: datetime | None = None
    #: it is run by this process
    is_here: bool = False
    #: for how many seconds it has been seen without a runner
    unattended: float = 0.0
    #: batches made here are run by a `batchkit worker`
    has_worker: bool = False
    #: why this workspace cannot run it; empty: it can
    missing: str = ""
    #: what the store fails with for the batch that runs here
    trouble: str = ""
    #: a lease with fewer seconds left was not renewed when it should have been
    overdue: float = 6.0
    #: who looks at it
    viewer: str = ""
    #: its family, oldest first, where it has one
    relatives: tuple[Relative, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Time:
    """A moment in a batch's life."""

    label: str
    at: datetime

    def to_json(self) -> dict[str, str]:
        """The time as JSON values."""
        return {"label": self.label, "at": self.at.isoformat()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """When the last row is expected to be triggered."""

    #: None: not known as a moment
    at: datetime | None = None
    #: seconds it takes once the batch is resumed or continued; None: not known
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """The batches that run the same rows again, each as its id and name."""

    #: whose rows it runs again; None: rows of its own
    parent: tuple[str, str] | None = None
    #: which run rows of it again, oldest first
    reruns: tuple[tuple[str, str], ...] = ()
    #: of so many batches the results can be merged; 0: there is nothing to merge
    batches: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Everything a card shows, in words where there are words."""

    id: str
    name: str
    #: whose it is, where that is not who looks at it
    owner: str
    state: str
    tone: Tone
    agent: str
    #: where it is sent to
    target: str
    source: str
    #: rows of a group
    most: int
    #: seconds between two groups
    interval: float
    #: when rows may be sent; empty: always
    hours: str
    triggered: int
    total: int
    #: 0 to 100, whole
    percent: int
    progress: str
    counts: tuple[Count, ...]
    executions: tuple[Count, ...]
    times: tuple[Time, ...]
    expected: Expected | None
    #: None: none lies ahead, or nobody sends it
    next_group: Time | None
    #: what the batch says of itself
    reason: str
    #: who runs it
    runner: str
    #: what keeps it from going on, and what to do
    warning: str
    #: what may be done with it: pause, resume, cancel, take_over, limit, rerun, archive, unarchive, delete
    commands: tuple[str, ...]
    final: bool
    archived: bool
    #: of its items
    pending: int
    in_doubt: int
    lineage: Lineage
    #: as texts, to be changed
    limits: LimitsDraft
    #: its rows can be searched for a text
    searchable: bool
    #: another one for every change of its items
    version: str

    def to_json(self) -> dict[str, Any]:
        """The card as JSON values."""
        values = asdict(self)
        values["times"] = [time.to_json() for time in self.times]
        values["next_group"] = None if self.next_group is None else self.next_group.to_json()
        if self.expected is not None and self.expected.at is not None:
            values["expected"]["at"] = self.expected.at.isoformat()
        return values


def card_of(record: BatchRecord, around: Surroundings) -> Card:
    """The card of a batch."""
    progress = record.progress
    alone = _is_alone(record, around)
    state, tone = _standing(record, around, alone)
    percent = _percent(progress.triggered, progress.total)
    version = "" if record.version is None else f", version {record.version}"
    return Card(
        id=record.id,
        name=record.name,
        owner="" if record.owner == around.viewer else record.owner,
        state=state,
        tone=tone,
        agent=f"{record.agent_name}{version}",
        target=record.target.label or record.target.url,
        source=record.source,
        most=record.pace.max_concurrent,
        interval=record.pace.batch_interval,
        hours=str(record.flow.working_hours or ""),
        triggered=progress.triggered,
        total=progress.total,
        percent=percent,
        progress=f"{progress.triggered:,} of {progress.total:,} triggered, {percent} %",
        counts=rows_of(progress),
        executions=executions_of(progress),
        times=_times(record),
        expected=_expected(record, around, alone=alone),
        next_group=None if alone else _next_group(record, around.now),
        reason=record.reason or _trial(record),
        runner=_runner(record, around, alone=alone),
        warning=_warning(record, around, alone=alone),
        commands=_commands(record, around, alone=alone),
        final=record.status.final,
        archived=record.archived,
        pending=progress.pending,
        in_doubt=progress.in_doubt,
        lineage=_lineage(record, around.relatives),
        limits=LimitsDraft.now(record),
        searchable=progress.total <= SEARCHABLE,
        version=_version(record),
    )


def place_of(runner: str) -> str:
    """The process a runner's name tells of."""
    host, _, rest = runner.partition(":")
    pid = rest.partition(":")[0]
    return f"process {pid} on {host}" if pid else runner


def _percent(part: int, total: int) -> int:
    """Rounded, but 0 only for nothing and 100 only for all."""
    if part in (0, total):
        return 100 if total and part else 0
    return min(max(round(100 * part / total), 1), 99)


def _is_alone(record: BatchRecord, around: Surroundings) -> bool:
    """Whether it should run, and nobody runs it for longer than a change of hands takes."""
    # A lease that lapsed, and was not given up, has been waited for already.
    patience = 10.0 if around.has_worker else 0.0 if record.runner else 2.0
    return record.interrupted and not around.is_here and around.unattended >= patience


def _standing(record: BatchRecord, around: Surroundings, alone: bool) -> tuple[str, Tone]:
    if alone:
        return "Interrupted", "danger"
    if record.interrupted and around.has_worker and not around.is_here:
        return "Waiting for a worker", "neutral"
    return record.status.capitalize(), _TONES[record.status]


def _lineage(record: BatchRecord, relatives: tuple[Relative, ...]) -> Lineage:
    names = {each.id: each.name for each in relatives}
    parent = record.parent
    whole = len(names) > 1 and (record.origin or record.id) in names
    return Lineage(
        parent=None if parent is None else (parent if parent in names else "", names.get(parent, f"{parent}, deleted")),
        reruns=tuple((each.id, each.name) for each in relatives if each.parent == record.id),
        batches=len(names) if whole else 0,
    )


def _times(record: BatchRecord) -> tuple[Time, ...]:
    times = [Time(label="Created", at=record.created_at)]
    if record.started_at is not None:
        times.append(Time(label="Started", at=record.started_at))
    elif not record.status.final:
        times.append(Time(label="Starts", at=record.start_at))
    if record.finished_at is not None:
        times.append(Time(label=record.status.capitalize(), at=record.finished_at))
    return tuple(times)


def _next_group(record: BatchRecord, now: datetime) -> Time | None:
    if record.status is not BatchStatus.RUNNING or record.next_due is None or not record.pace.batch_interval:
        return None
    due = max(record.next_due, record.gate_at or record.next_due)
    return Time(label="Next group", at=due) if due > now else None


def _trial(record: BatchRecord) -> str:
    if not record.trial or record.status is not BatchStatus.RUNNING:
        return ""
    rows = "row is" if record.trial == 1 else f"{record.trial:,} rows are"
    return f"The first {rows} tried; the rest waits until then."


def _expected(record: BatchRecord, around: Surroundings, *, alone: bool) -> Expected | None:
    """When the last pending row is due, or would be if the batch went on; None: nothing is pending."""
    if record.status.final or not record.progress.pending:
        return None
    if record.trial and record.status is BatchStatus.RUNNING:
        return Expected()
    if record.flow.working_hours is not None:
        # How many of them it takes is in the rows' own times, unless these have passed.
        known = record.status in (BatchStatus.PENDING, BatchStatus.RUNNING) and not alone
        ahead = around.last_due is not None and around.last_due > around.now
        return Expected(at=around.last_due if known and ahead else None)
    rest = _rest(record, around.now)
    if record.status is BatchStatus.PAUSED or alone:
        return Expected(seconds=None if rest is None else rest.total_seconds())
    if rest is None:
        return Expected()
    begin = max(around.now, record.next_due or around.now, record.gate_at or around.now)
    try:
        end = begin + rest
    except OverflowError:
        return None
    return Expected(at=max(end, around.last_due or end)) if end.year <= LAST_YEAR else None


def _rest(record: BatchRecord, now: datetime) -> timedelta | None:
    """From the next group to the last, by the pace; without an interval by what it made so far. None: not known."""
    pending, pace = record.progress.pending, record.pace
    groups = -(-pending // pace.max_concurrent)
    if pace.batch_interval:
        return (groups - 1) * pace.interval
    done = record.progress.triggered + record.progress.refused
    if record.status is not BatchStatus.RUNNING or record.started_at is None or not done:
        return None
    return (now - record.started_at) / done * pending


def _runner(record: BatchRecord, around: Surroundings, *, alone: bool) -> str:
    follows = record.status.final and record.progress.executions.open
    if around.is_here:
        return "Its executions are followed in this notebook" if follows else "Runs in this notebook"
    if record.runner_alive:
        where = place_of(record.runner)
        return f"Its executions are followed by {where}" if follows else f"Run by {where}"
    if around.has_worker and not record.status.final and not alone:
        return "Runs in a batchkit worker"
    return ""


def _is_silent(record: BatchRecord, around: Surroundings) -> bool:
    """Whether its runner has missed a renewal of the lease: it may be gone, and nobody can take over yet."""
    return record.runner_alive and not around.is_here and record.lease_left < around.overdue


def _warning(record: BatchRecord, around: Surroundings, *, alone: bool) -> str:
    if around.trouble:
        return f"The store fails, so nothing is sent until it works again. {around.trouble}"
    if alone:
        who = _nobody(record) if around.has_worker else "Whoever ran it is gone"
        if around.missing:
            return f"{who}, so nothing is sent. It cannot be continued here: {around.missing}"
        return f"{who}, so nothing is sent. What was on its way then is looked up before anything else."
    if _is_silent(record, around) and not record.status.final:
        return (
            "Whoever runs it has not been heard of for some seconds. If it is gone, that shows here within "
            f"{ceil(around.overdue)} seconds, and the batch can be continued then."
        )
    if record.status is BatchStatus.PAUSED and around.missing:
        return f"It cannot be resumed here: {around.missing}"
    return ""


def _nobody(record: BatchRecord) -> str:
    place = record.target.label or record.target.url
    return f"No batchkit worker has picked it up (none runs, or none is for {place} with the same key)"


def _commands(record: BatchRecord, around: Surroundings, *, alone: bool) -> tuple[str, ...]:
    status = record.status
    possible = {
        "pause": status is BatchStatus.RUNNING,
        "resume": status is BatchStatus.PAUSED and not around.missing,
        "cancel": not status.final,
        "take_over": alone and not around.missing,
        "limit": not status.final,
        "rerun": can_run_again(record.progress) and not around.missing,
        "archive": status.final and not record.archived,
        "unarchive": record.archived,
        "delete": status.final,
    }
    return tuple(name for name, can in possible.items() if can)


def _version(record: BatchRecord) -> str:
    progress = record.progress
    parts = (
        record.revision, progress.pending, progress.triggering, progress.triggered, progress.cancelled,
        progress.refused, progress.in_doubt, *asdict(progress.executions).values(), record.next_due,
    )  # fmt: skip
    return "-".join(map(str, parts))
