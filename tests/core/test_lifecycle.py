"""The state machines: what the specification draws, and nothing else."""

from __future__ import annotations

from itertools import product

import pytest

from batchkit.core.lifecycle import BatchStatus, ItemStatus, check_batch_move, check_item_move
from batchkit.errors import StateError

B, I = BatchStatus, ItemStatus  # noqa: E741
#: the arrows of the specification's diagram, "Batch Lifecycle"
DRAWN = {
    (B.PENDING, B.RUNNING), (B.PENDING, B.CANCELLED),
    (B.RUNNING, B.PAUSED), (B.RUNNING, B.COMPLETED), (B.RUNNING, B.CANCELLED),
    (B.PAUSED, B.RUNNING), (B.PAUSED, B.CANCELLED),
}  # fmt: skip
#: the specification's two, by way of what really happens
ALLOWED = {
    (I.PENDING, I.TRIGGERING), (I.PENDING, I.CANCELLED),
    (I.TRIGGERING, I.TRIGGERED), (I.TRIGGERING, I.REFUSED), (I.TRIGGERING, I.IN_DOUBT), (I.TRIGGERING, I.PENDING),
    (I.IN_DOUBT, I.TRIGGERED), (I.IN_DOUBT, I.REFUSED), (I.IN_DOUBT, I.PENDING), (I.IN_DOUBT, I.CANCELLED),
}  # fmt: skip


@pytest.mark.parametrize(("current", "to"), list(product(BatchStatus, BatchStatus)))
def test_a_batch_moves_only_along_the_drawn_arrows(current: BatchStatus, to: BatchStatus) -> None:
    if (current, to) in DRAWN:
        check_batch_move(current, to)
    else:
        with pytest.raises(StateError, match=str(current)):
            check_batch_move(current, to)


@pytest.mark.parametrize(("current", "to"), list(product(ItemStatus, ItemStatus)))
def test_an_item_moves_only_as_allowed(current: ItemStatus, to: ItemStatus) -> None:
    if (current, to) in ALLOWED:
        check_item_move(current, to)
    else:
        with pytest.raises(StateError, match=str(current)):
            check_item_move(current, to)


def test_completed_and_cancelled_are_final() -> None:
    """ "Cancelling a batch is irreversible." """
    assert {status for status in BatchStatus if status.final} == {B.COMPLETED, B.CANCELLED}
