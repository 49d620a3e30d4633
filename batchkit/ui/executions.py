"""Scheduled executions as the dashboard shows them, and commands on those that were selected."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from batchkit.core.lifecycle import WHY_NOT, ItemStatus
from batchkit.core.listing import ItemOrder, ItemQuery
from batchkit.core.record import Event, ItemChange, ItemRecord
from batchkit.core.request import NewItem
from batchkit.ui.table import Page, PageRequest

if TYPE_CHECKING:
    from batchkit.core.ports import Store
    from batchkit.ui.jobs import Report
    from batchkit.workspace import Workspace

__all__ = ["Selection", "Tally", "change_items", "details_of", "page_of", "row_of"]

#: items of one piece of a command
_PIECE = 5_000
#: entries of an item's history, the newest
_MOST_EVENTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What was selected in the table: single items, or everything the filter leaves but some."""

    everything: bool = False
    keys: tuple[int, ...] = ()
    except_for: frozenset[int] = frozenset()
    #: the filter; empty: all
    statuses: tuple[ItemStatus, ...] = ()

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> Selection:
        """The selection in what the browser sent."""
        return cls(
            everything=bool(details.get("all")),
            keys=tuple(int(key) for key in details.get("keys") or ()),
            except_for=frozenset(int(key) for key in details.get("except") or ()),
            statuses=statuses_of(details.get("filter") or {}),
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


def statuses_of(chosen: Mapping[str, Any]) -> tuple[ItemStatus, ...]:
    """The statuses the table's filter leaves; empty: all."""
    wanted = str(chosen.get("status") or "")
    return tuple(ItemStatus(each) for each in wanted.split(",") if each)


def page_of(workspace: Workspace, request: PageRequest) -> Page:
    """A page of a batch's items; the filter names the batch."""
    query = ItemQuery(
        order=_order(request.sort),
        descending=request.descending,
        statuses=statuses_of(request.filter),
        offset=request.offset,
        limit=request.limit,
    )
    records, total = workspace.engine.call(workspace.store.page(str(request.filter.get("batch")), query))
    return Page(rows=[row_of(record) for record in records], total=total)


def row_of(record: ItemRecord) -> dict[str, Any]:
    """One line of the table."""
    execution = record.execution
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
        "error": record.error or (execution.error if execution is not None else ""),
    }


async def details_of(store: Store, batch_id: str, item: int) -> dict[str, Any]:
    """What opens below a line: what is sent for it, what came back, and what the log says of it."""
    read = await store.item_input(batch_id, item)
    [record] = await store.items(batch_id, positions=[item])
    events = await store.events(batch_id, item=item, limit=_MOST_EVENTS)
    return {
        "line": read.line,
        "inputs": [[name, _text(value)] for name, value in read.inputs.items()],
        "metadata": [[name, value] for name, value in read.metadata.items()],
        "profile": "" if read.profile is None else read.profile.name,
        "answer": _answer(record),
        "history": [_entry(event) for event in _history(record, read, events)],
    }


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
    chosen = selection.statuses or tuple(ItemStatus)
    progress = workspace.batch(batch_id).progress
    counts = Counter({status: int(getattr(progress, status)) for status in chosen})
    for piece in _cut(sorted(selection.except_for)):
        spared = workspace.engine.call(workspace.store.items(batch_id, positions=piece))
        counts.subtract(Counter(record.status for record in spared if record.status in chosen))
    for status, count in counts.items():
        if status is not wanted and count > 0:
            tally.not_done[WHY_NOT[status]] += count
    return max(counts[wanted], 0)


def _matching(workspace: Workspace, batch_id: str, selection: Selection, wanted: ItemStatus) -> Iterator[list[int]]:
    if selection.statuses and wanted not in selection.statuses:
        return
    last = -1
    while found := workspace.engine.call(
        workspace.store.positions(batch_id, statuses=[wanted], after=last, limit=_PIECE)
    ):
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
