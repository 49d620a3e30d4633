"""The state machines of batches and scheduled executions, as tables one can read.

Specification, "Batch Lifecycle" and "Scheduled Execution Statuses". The states `triggering`, `refused` and
`in_doubt` are batchkit's: they say what really happens between the moment a row is due and the moment its
execution is known.
"""

from __future__ import annotations

from enum import StrEnum

from batchkit.errors import StateError

__all__ = ["BATCH_MOVES", "ITEM_MOVES", "WHY_NOT", "BatchStatus", "ItemStatus", "check_batch_move", "check_item_move"]


class BatchStatus(StrEnum):
    """Where a batch stands."""

    #: created with a future start time
    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    #: nothing left to trigger and nothing in doubt
    COMPLETED = "completed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether no move leads on from here."""
        return not BATCH_MOVES[self]


class ItemStatus(StrEnum):
    """Where a scheduled execution stands. What its execution does later is kept beside it."""

    #: waiting for its scheduled time
    PENDING = "pending"
    #: the intent is recorded, the request is on its way
    TRIGGERING = "triggering"
    #: the execution was created and started
    TRIGGERED = "triggered"
    CANCELLED = "cancelled"
    #: the target would not take the row; nothing runs
    REFUSED = "refused"
    #: the request left, the answer is unknown
    IN_DOUBT = "in_doubt"


BATCH_MOVES: dict[BatchStatus, frozenset[BatchStatus]] = {
    BatchStatus.PENDING: frozenset({BatchStatus.RUNNING, BatchStatus.CANCELLED}),
    BatchStatus.RUNNING: frozenset({BatchStatus.PAUSED, BatchStatus.COMPLETED, BatchStatus.CANCELLED}),
    BatchStatus.PAUSED: frozenset({BatchStatus.RUNNING, BatchStatus.CANCELLED}),
    BatchStatus.COMPLETED: frozenset(),
    BatchStatus.CANCELLED: frozenset(),
}

ITEM_MOVES: dict[ItemStatus, frozenset[ItemStatus]] = {
    ItemStatus.PENDING: frozenset({ItemStatus.TRIGGERING, ItemStatus.CANCELLED}),
    ItemStatus.TRIGGERING: frozenset(
        {ItemStatus.TRIGGERED, ItemStatus.REFUSED, ItemStatus.IN_DOUBT, ItemStatus.PENDING}
    ),
    ItemStatus.IN_DOUBT: frozenset(
        {ItemStatus.TRIGGERED, ItemStatus.REFUSED, ItemStatus.PENDING, ItemStatus.CANCELLED}
    ),
    ItemStatus.TRIGGERED: frozenset(),
    ItemStatus.CANCELLED: frozenset(),
    ItemStatus.REFUSED: frozenset(),
}

#: why a command on items leaves out one in that state
WHY_NOT: dict[ItemStatus, str] = {
    ItemStatus.PENDING: "it is pending, not in doubt",
    ItemStatus.TRIGGERING: "it is being sent",
    ItemStatus.TRIGGERED: "it was already triggered",
    ItemStatus.CANCELLED: "it is cancelled",
    ItemStatus.REFUSED: "it was refused",
    ItemStatus.IN_DOUBT: "it is in doubt: settle it first",
}

#: what a user does to bring a batch there; the other moves it makes by itself
_COMMANDS = {
    BatchStatus.RUNNING: "resumed",
    BatchStatus.PAUSED: "paused",
    BatchStatus.CANCELLED: "cancelled",
}


def check_batch_move(current: BatchStatus, to: BatchStatus) -> None:
    """Raise StateError unless a batch may go from `current` to `to`."""
    if to not in BATCH_MOVES[current]:
        allowed = " or ".join(_COMMANDS[move] for move in sorted(BATCH_MOVES[current]) if move in _COMMANDS)
        way = f"It can be {allowed}." if allowed else "It has ended."
        raise StateError(f"A {current} batch cannot be {_COMMANDS.get(to, to)}. {way}")


def check_item_move(current: ItemStatus, to: ItemStatus) -> None:
    """Raise StateError unless a scheduled execution may go from `current` to `to`."""
    if to not in ITEM_MOVES[current]:
        allowed = " or ".join(sorted(ITEM_MOVES[current]))
        way = f"It can become {allowed}." if allowed else "It stays so."
        raise StateError(f"A scheduled execution that is {current} cannot become {to}. {way}")
