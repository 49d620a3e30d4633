"""What the target asked of this batch, told to the others on the same account, and what it asked of them."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from batchkit.core.ports import Clock, Store
from batchkit.core.record import BatchRecord
from batchkit.engine.gate import Gate
from batchkit.errors import NotFoundError, StoreError

__all__ = ["Account"]

logger = logging.getLogger("batchkit")

#: answers of one group that ask for times so near to each other ask for the same
_SAME_SECONDS = 1.0


class Account:
    """The part of one runner that speaks with the other batches' runners, by way of the store."""

    def __init__(self, batch_id: str, *, store: Store, clock: Clock, gate: Gate) -> None:
        self._batch_id = batch_id
        self._store = store
        self._clock = clock
        self._gate = gate
        #: seconds since boot until which the others were told to wait
        self._told = float("-inf")
        #: what is to be told; empty: nothing
        self._message = ""

    def asked(self, message: str) -> None:
        """The target named a time before which it wants nothing; the gate has it."""
        if self._gate.quiet_until > self._told + _SAME_SECONDS:
            self._message = message

    async def tell(self) -> None:
        """Have the other batches wait, too, if there is something new."""
        if not self._message:
            return
        message, self._message = self._message, ""
        before, self._told = self._told, self._gate.quiet_until
        until = self._gate.quiet_until_time()
        reason = f"The target asked another batch on this account to wait: {message} Next try at {until:%H:%M:%S} UTC."
        try:
            await self._store.hold_others(self._batch_id, until, reason)
        except NotFoundError:
            return
        except StoreError as error:
            self._message, self._told = message, before
            logger.warning("%s: other batches do not know yet that the target asked to wait: %s", self._batch_id, error)

    def heeds(self, before: BatchRecord | None, after: BatchRecord, *, own: datetime | None) -> bool:
        """Whether another batch's runner had this one wait since `before`; then nothing is sent before that.

        own: the gate this runner set itself meanwhile.
        """
        if before is None or after.gate_at is None or after.gate_at == before.gate_at or after.gate_at == own:
            return False
        wait = after.gate_at - self._clock.now()
        if before.revision != after.revision or wait <= timedelta():
            return False
        until = self._clock.boot()[1] + wait.total_seconds()
        if until <= self._gate.quiet_until + _SAME_SECONDS:
            return False
        self._gate.keep_quiet(until)
        self._told = max(self._told, until)
        return True
