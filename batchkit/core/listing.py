"""What a list of batches shows at one moment, and how a page of scheduled executions is asked for."""

from __future__ import annotations

from collections.abc import Mapping as MappingLike
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

from batchkit.core.lifecycle import ItemStatus
from batchkit.core.record import BatchRecord

__all__ = ["EXECUTION_FILTERS", "SEARCHABLE", "ExecutionFilter", "ItemOrder", "ItemQuery", "Overview", "Relative"]

ItemOrder = Literal["row", "time", "status"]
#: what became of an item's execution, as counted in `ExecutionCounts`
ExecutionFilter = Literal["running", "waiting", "succeeded", "failed", "cancelled", "timed_out"]
#: a batch of more items is not searched for a text: that would hold its runner up
SEARCHABLE = 100_000
EXECUTION_FILTERS: tuple[ExecutionFilter, ...] = get_args(ExecutionFilter)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemQuery:
    """Which of a batch's items, and in which order."""

    order: ItemOrder = "row"
    descending: bool = False
    #: empty: all
    statuses: tuple[ItemStatus, ...] = ()
    #: only those with such an execution; None: all, also those without one
    execution: ExecutionFilter | None = None
    #: only those with this in their row's cells or their error, as their row's number, or as the beginning of their
    #: execution's id; goes through all
    text: str = ""
    #: so many are passed over
    offset: int = 0
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Relative:
    """A batch of those that run rows of one file, one another's again."""

    id: str
    name: str
    #: the batch whose rows it runs again; None: rows of its own
    parent: str | None
    #: the first of them, maybe itself
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Batches, newest first, and how many more there are."""

    batches: tuple[BatchRecord, ...] = ()
    #: how many match, of which `batches` are the newest
    matching: int = 0
    #: how many there are at all
    stored: int = 0
    #: how many of those are archived
    archived: int = 0
    #: id to name of every agent that has a batch
    agents: MappingLike[str, str] = field(default_factory=dict)
    #: batch id to when its last pending item is due
    last_due: MappingLike[str, datetime] = field(default_factory=dict)
    #: of `batches` and the batches that run their rows again, or whose rows they run again; oldest first
    relatives: tuple[Relative, ...] = ()
    #: how many batches of other owners the file holds, which are not shown; of a database 0
    others: int = 0
