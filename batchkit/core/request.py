"""What is sent to a target for one row, and the metadata by which batchkit finds it again."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as MappingLike
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from batchkit.core.execution import Execution
from batchkit.core.flow import CapacityLimit
from batchkit.core.profile import ProfileRef

__all__ = ["ATTEMPT_KEY", "BATCH_KEY", "ITEM_KEY", "RESERVED_PREFIX", "NewItem", "TriggerRequest", "items_named"]

#: metadata keys of batchkit's own begin so; a user's key that does is refused
RESERVED_PREFIX = "batchkit_"
BATCH_KEY = "batchkit_batch"
ITEM_KEY = "batchkit_item"
ATTEMPT_KEY = "batchkit_attempt"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewItem:
    """One valid row on its way into the store."""

    #: as a spreadsheet counts: header 1, first record 2
    row: int
    #: the record's first physical line; None for a DataFrame
    line: int | None
    #: the row as read, one text a column
    cells: tuple[str, ...]
    #: variable name to typed value; empty optional inputs are absent
    inputs: MappingLike[str, Any]
    #: empty cells are absent; batchkit's own keys are not yet there
    metadata: MappingLike[str, str]
    #: the profile the row names, None: the batch's default
    profile: ProfileRef | None = None
    #: the row's own: not to be sent before; naive as long as its zone is not known
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerRequest:
    """One attempt to trigger one item."""

    agent_id: str
    #: None: the target's published version
    version: int | None
    inputs: MappingLike[str, Any] = field(default_factory=dict)
    metadata: MappingLike[str, str] = field(default_factory=dict)
    profile: ProfileRef | None = None
    batch_id: str
    #: the item's position in the batch, 0-based
    item: int
    #: 1 for the first time
    attempt: int
    #: what the target is to do if it has no room; None: as it is set
    on_capacity_limit: CapacityLimit | None = None

    @property
    def all_metadata(self) -> dict[str, str]:
        """The row's metadata and batchkit's own three keys, by which the execution can be looked up."""
        return {
            **self.metadata,
            BATCH_KEY: self.batch_id,
            ITEM_KEY: str(self.item),
            ATTEMPT_KEY: str(self.attempt),
        }


def items_named(executions: Iterable[Execution]) -> list[tuple[int, Execution]]:
    """Each execution with the item its metadata names; what names none is not ours."""
    named = ((execution.metadata.get(ITEM_KEY, ""), execution) for execution in executions)
    return [(int(item), execution) for item, execution in named if item.isascii() and item.isdigit()]
