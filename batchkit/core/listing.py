"""What a list of batches shows at one moment, and how a page of scheduled executions is asked for."""

from __future__ import annotations

from collections.abc import Mapping as MappingLike
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from batchkit.core.lifecycle import ItemStatus
from batchkit.core.record import BatchRecord

__all__ = ["ItemOrder", "ItemQuery", "Overview"]

ItemOrder = Literal["row", "time", "status"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemQuery:
    """Which of a batch's items, and in which order."""

    order: ItemOrder = "row"
    descending: bool = False
    #: empty: all
    statuses: tuple[ItemStatus, ...] = ()
    #: so many are passed over
    offset: int = 0
    limit: int = 100


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
