"""Scheduled executions as the dashboard shows them, and commands on those that were selected."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from batchkit.core.explanation import explain
from batchkit.core.lifecycle import WHY_NOT, BatchStatus, ItemStatus
from batchkit.core.listing import EXECUTION_FILTERS, ExecutionFilter, ItemOrder, ItemQuery
from batchkit.core.record import BatchRecord, Event, ItemChange, ItemRecord
from batchkit.core.request import NewItem
from batchkit.errors import ConfigError
from batchkit.ui.table import Page, PageRequest
from batchkit.ui.waiting import Waiting, waiting_for_person, waiting_of

if TYPE_CHECKING:
    from batchkit.ui.jobs import Report
    from batchkit.workspace import Workspace

__all__ = ["Selection", "Tally", "change_items", "details_of", "page_of", "row_of"]

#: items of one piece of a command
_PIECE = 5_000
#: entries of an item's history, the newest
_MOST_EVENTS = 100
#: entries of a paused batch's log among which the pause is looked for
_LATEST_EVENTS = 200
#: states that something is waited for in
_UNSETTLED = (ItemStatus.PENDING, ItemStatus.TRIGGERING, ItemStatus.IN_DOUBT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What was selected in the table: single items, or everything the filter leaves but some."""

    everything: bool = False
    keys: tuple[int, ...] = ()
    except_for: frozenset[int] = frozenset()
    #: the filter
    matching: ItemQuery = field(default_factory=ItemQuery)

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> Selection:
        """The selection in what the browser sent."""
        return cls(
            everything=bool(details.get("all")),
            keys=tuple(int(key) for key in details.get("keys") or ()),
            except_for=frozenset(int(key) for key in details.get("except") or ()),
            matching=query_of(details.get("filter") or {}),
        )


@dataclass(slots=True)
class Tally:
    """How many items a command changed, and how many not, by reason."""

    done: int = 0
    not_done: Counter[str] = field(default_factory=Counter)

    def add(self, change: ItemChange) -> None:
        """Count what one piece of the command did."""
        self.done += len(change.done)
        self.not_done.update(change.not_done.values())

    def in_words(self, did: str) -> str:
        """A sentence or two; did: "cancelled"."""
        said = f"{_counted(self.done)} {did}." if self.done else f"No scheduled execution was {did}."
        if left := self.not_done.total():
            whys = "; ".join(f"{count:,} because {why}" for why, count in self.not_done.most_common())
            said += f" {_counted(left)} left as {'it was' if left == 1 else 'they were'}: {whys}."
        return said


def query_of(chosen: Mapping[str, Any]) -> ItemQuery:
    """What the table's filter leaves. Raises ConfigError for a filter there is not."""
    wanted = str(chosen.get("status") or "")
    return ItemQuery(
        statuses=tuple(ItemStatus(each) for each in wanted.split(",") if each),
        execution=_execution(str(chosen.get("execution") or "")),
        text=str(chosen.get("text") or "").strip(),
    )


def _execution(wanted: str) -> ExecutionFilter | None:
    if not wanted:
        return None
    for each in EXECUTION_FILTERS:
        if each == wanted:
            return each
    raise ConfigError(f"Executions are not told by {wanted!r}, but by {', '.join(EXECUTION_FILTERS)}.")


def page_of(workspace: Workspace, request: PageRequest) -> Page:
    """A page of a batch's items; the filter names the batch."""
    query = replace(
        query_of(request.filter),
        order=_order(request.sort),
        descending=request.descending,
        offset=request.offset,
        limit=request.limit,
    )
    batch_id = str(request.filter.get("batch"))
    records, total = workspace.engine.call(workspace.store.page(batch_id, query))
    waiting = _waiting(workspace, batch_id, records)
    return Page(rows=[row_of(record, waiting.get(record.item)) for record in records], total=total)


def _waiting(workspace: Workspace, batch_id: str, records: Sequence[ItemRecord]) -> dict[int, Waiting]:
    """What the items wait for, by item; with two queries of the store for all of them, not one for each."""
    unsettled = [record for record in records if record.status in _UNSETTLED]
    if not unsettled:
        return {}
    call, store, now = workspace.engine.call, workspace.store, workspace.clock.now()
    batch = _as_run(workspace, call(store.batch(batch_id)))
    paused = batch.status is BatchStatus.PAUSED
    events = call(store.events(batch_id, limit=_LATEST_EVENTS)) if paused else []
    lines = {each.item: waiting_of(explain(batch, each, now, ahead=None, events=events)) for each in unsettled}
    return {item: line for item, line in lines.items() if line is not None}


def _as_run(workspace: Workspace, batch: BatchRecord) -> BatchRecord:
    """The batch, alive where this process runs it: its lease may be taken a moment later."""
    return replace(batch, runner_alive=True) if batch.id in workspace.engine.active else batch


def row_of(record: ItemRecord, waiting: Waiting | None = None) -> dict[str, Any]:
    """One line of the table."""
    execution = record.execution
    if execution is not None and execution.status.needs_person:
        waiting = waiting_for_person(execution.status)
    return {
        "key": record.item,
        "row": record.row,
        "time": record.execute_at.isoformat(),
        "by_hand": record.by_hand,
        "status": str(record.status),
        "execution_status": "" if execution is None else str(execution.status),
        "standing": "" if execution is None else execution.standing,
        "execution": "" if execution is None else execution.id,
        "url": "" if execution is None else execution.url,
        "timed_out": record.timed_out,
        "waits": None if waiting is None else waiting.to_json(),
        "error": record.error or (execution.error if execution is not None else ""),
    }


async def details_of(workspace: Workspace, batch_id: str, item: int) -> dict[str, Any]:
    """What opens below a line: why it waits, what is sent for it, what came back, and what the log says of it."""
    store = workspace.store
    read = await store.item_input(batch_id, item)
    [record] = await store.items(batch_id, positions=[item])
    events = await store.events(batch_id, item=item, limit=_MOST_EVENTS)
    waiting = await _waiting_exactly(workspace, batch_id, record)
    return {
        "waits": None if waiting is None else waiting.to_json(),
        "line": read.line,
        "inputs": [[name, _text(value)] for name, value in read.inputs.items()],
        "metadata": [[name, value] for name, value in read.metadata.items()],
        "profile": "" if read.profile is None else read.profile.name,
        "answer": _answer(record),
        "history": [_entry(event) for event in _history(record, read, events)],
    }


async def _waiting_exactly(workspace: Workspace, batch_id: str, record: ItemRecord) -> Waiting | None:
    """What one item waits for, the rows before it counted."""
    store = workspace.store
    batch = _as_run(workspace, await store.batch(batch_id))
    ahead = await store.ahead_of(batch_id, record.item) if record.status is ItemStatus.PENDING else 0
    events = await store.events(batch_id, limit=_LATEST_EVENTS) if batch.status is BatchStatus.PAUSED else []
    return waiting_of(explain(batch, record, workspace.clock.now(), ahead=ahead, events=events))


def change_items(
    workspace: Workspace,
    batch_id: str,
    selection: Selection,
    wanted: ItemStatus,
    command: Callable[[list[int], Report], ItemChange],
    tally: Tally,
    report: Report,
    *,
    at_once: bool = False,
) -> None:
    """Do `command` on what was selected, in pieces, and count in `tally` what became of it.

    wanted: the state the command is for; where everything is selected, the others are only counted.
    at_once: in one piece, because one item's change depends on the others'.
    """
    if not selection.everything:
        pieces: Iterator[list[int]] = _cut(list(selection.keys))
        total = len(selection.keys)
    else:
        total = _count(workspace, batch_id, selection, wanted, tally)
        pieces = _matching(workspace, batch_id, selection, wanted)
    if at_once:
        pieces = iter([[item for piece in pieces for item in piece]])
    report(0, 0 if at_once else total)
    seen = 0
    for piece in pieces:
        if piece:
            tally.add(command(piece, report))
        seen += len(piece)
        report(seen, total)
    if seen < total:
        tally.not_done[f"it was not {_named(wanted)} any more"] += total - seen


def _count(workspace: Workspace, batch_id: str, selection: Selection, wanted: ItemStatus, tally: Tally) -> int:
    """Count in `tally` what is selected and in another state; returns how many are in the wanted one."""
    chosen = selection.matching.statuses or tuple(ItemStatus)
    counts: Counter[ItemStatus] = Counter()
    for status in chosen:
        query = replace(selection.matching, statuses=(status,), limit=1)
        _, counts[status] = workspace.engine.call(workspace.store.page(batch_id, query))
    for piece in _cut(sorted(selection.except_for)):
        spared = workspace.engine.call(workspace.store.items(batch_id, positions=piece))
        counts.subtract(Counter(record.status for record in spared if record.status in chosen))
    for status, count in counts.items():
        if status is not wanted and count > 0:
            tally.not_done[WHY_NOT[status]] += count
    return max(counts[wanted], 0)


def _matching(workspace: Workspace, batch_id: str, selection: Selection, wanted: ItemStatus) -> Iterator[list[int]]:
    if selection.matching.statuses and wanted not in selection.matching.statuses:
        return
    query = replace(selection.matching, statuses=(wanted,), limit=_PIECE)
    last = -1
    while found := workspace.engine.call(workspace.store.positions(batch_id, query, after=last)):
        last = found[-1]
        yield [item for item in found if item not in selection.except_for]


def _cut(items: list[int]) -> Iterator[list[int]]:
    return (items[first : first + _PIECE] for first in range(0, len(items), _PIECE))


def _order(sort: str | None) -> ItemOrder:
    return "time" if sort == "time" else "status" if sort == "status" else "row"


def _answer(record: ItemRecord) -> list[list[str]]:
    execution = record.execution
    if execution is None:
        return [["Error", record.error]] if record.error else []
    result = "" if execution.result is None else _text(execution.result)
    named = {
        "Execution ID": execution.id,
        "Outcome": str(execution.outcome or ""),
        "Result": result,
        "Reasoning": execution.reasoning,
        "Error": record.error or execution.error,
        "Profile used": execution.profile_name,
    }
    return [[name, value] for name, value in named.items() if value]


def _history(record: ItemRecord, read: NewItem, events: list[Event]) -> list[Event]:
    """The log's lines on the item, with what its own record tells."""
    known = [(record.intent_at, "sent", f"Sent, attempt {record.attempt}.")]
    known.append((record.triggered_at, "triggered", "Triggered."))
    if record.execution is not None:
        known.append((record.execution.finished_at, "finished", f"The execution {record.execution.status}."))
    own = [Event(at=at, actor="batchkit", kind=kind, message=text) for at, kind, text in known if at is not None]
    return sorted([*events, *own], key=lambda event: event.at)


def _entry(event: Event) -> dict[str, str]:
    return {"at": event.at.isoformat(), "who": event.actor, "what": event.message}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)


def _named(status: ItemStatus) -> str:
    return status.replace("_", " ")


def _counted(count: int) -> str:
    return f"{count:,} scheduled execution{'' if count == 1 else 's'}"
