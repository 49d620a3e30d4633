"""Following executions of a target that lists them by status: few requests, and those that need a person first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import timedelta

from batchkit.core.execution import Execution, ExecutionStatus
from batchkit.core.following import PAGE, Purse, Reading, next_look, pays, reading
from batchkit.core.lifecycle import BatchStatus
from batchkit.core.ports import Clock, ListsByStatus, Store
from batchkit.core.record import BatchRecord, Unread
from batchkit.core.request import items_named

__all__ = ["Survey"]

_OPEN = [status for status in ExecutionStatus if not status.terminal]
_NEEDS_PERSON = [status for status in ExecutionStatus if status.needs_person]
#: the target's clock and ours may differ so much, until executions show by how much they do
_SKEW = timedelta(minutes=5)
#: how much that may vary
_MARGIN = timedelta(seconds=2)
#: so many of the longest pauses the target's own count is believed that none has ended
_TRUST = 10


class Survey:
    """Looks at a batch's executions: a page of the open ones, and the ends of the others when reading them pays."""

    def __init__(
        self,
        batch_id: str,
        *,
        store: Store,
        target: ListsByStatus,
        clock: Clock,
        shortest: float,
        longest: float,
    ) -> None:
        self._batch_id = batch_id
        self._store = store
        self._target = target
        self._clock = clock
        self._shortest = shortest
        self._longest = longest
        self._purse = Purse(longest=longest, opened_at=clock.monotonic())
        self._read_at = clock.monotonic()
        #: the least by which the target's time of an execution is later than ours of its answer
        self._ahead: timedelta | None = None
        #: when the last look was, and how many had ended by then
        self._last = (clock.monotonic(), 0)
        self.pause = shortest

    async def look(self, *, hurried: bool) -> int | None:
        """How many executions changed; None: none is open. hurried: rows wait for executions to finish."""
        unread = await self._store.unread_executions(self._batch_id)
        if not unread:
            return None
        batch = await self._store.batch(self._batch_id)
        spent = self._purse.spent
        try:
            return await self._look(unread, batch, hurried=hurried)
        finally:
            if hurried:
                self._purse.spent = spent

    async def _look(self, unread: list[Unread], batch: BatchRecord, *, hurried: bool) -> int:
        # While it is paused nothing is sent, and its user waits for what was.
        ending = batch.status is BatchStatus.PAUSED or not batch.progress.unsettled
        if not hurried and not self._holds(2, batch, last=ending):
            triggered, now = batch.progress.triggered, self._clock.monotonic()
            wait = self._purse.seconds_to(2, triggered=triggered, now=now, last=ending)
            self.pause = min(max(wait, self._shortest), 2 * self._longest)
            return 0
        changed, still_open, missing = await self._look_at_open(unread)
        # Where all open ones were listed, the missing are exactly those that have ended.
        named = len(missing) < len(unread) or still_open == 0
        count = len(missing) if named or still_open is None else len(missing) - still_open
        if count <= 0 and self._clock.monotonic() - self._read_at >= _TRUST * self._longest:
            count = len(missing)
        way = await self._way(missing, count, still_open or 0, named=named)
        batch = await self._store.batch(self._batch_id)
        ended = batch.progress.triggered - (still_open or 0)
        stands_still = ended == self._last[1] and (still_open or 0) <= batch.progress.executions.waiting
        last = ending and (still_open == 0 or stands_still)
        if count > 0 and (hurried or self._may_read(way, count, batch, last=last)):
            changed += await self._read(way, missing)
            count = 0
        elif last and count > 0:
            # Looks must not use up what the last reading needs.
            triggered, now = batch.progress.triggered, self._clock.monotonic()
            wait = self._purse.seconds_to(way.waste(count) + 1, triggered=triggered, now=now, last=True)
            self.pause = max(self._shortest, wait)
            return changed
        self._plan(batch, count, way, still_open or 0, hurried=hurried, changed=changed)
        return changed

    async def _look_at_open(self, unread: list[Unread]) -> tuple[int, int | None, list[Unread]]:
        """How many changed, how many the target has open (None: it does not say), and those that may have ended."""
        page, total = await self._target.standing(self._batch_id, _OPEN)
        self._purse.spent += 1
        self._learn_clock(unread, page)
        changed = await self._store.note(self._batch_id, items_named(page))
        if total is not None and total <= len(page):
            known = {execution.id for execution in page}
            return changed, total, [each for each in unread if each.execution_id not in known]
        waiting, _ = await self._target.standing(self._batch_id, _NEEDS_PERSON)
        self._purse.spent += 1
        return changed + await self._store.note(self._batch_id, items_named(waiting)), total, unread

    async def _way(self, missing: list[Unread], count: int, still_open: int, *, named: bool) -> Reading:
        if not missing:
            return Reading(one_by_one=True, cost=0, listed=0)
        since = min(each.triggered_at for each in missing) - _MARGIN
        listed = await self._store.triggered_since(self._batch_id, since)
        return reading(count, max(count, listed - still_open), named=named)

    def _may_read(self, way: Reading, count: int, batch: BatchRecord, *, last: bool) -> bool:
        now, triggered = self._clock.monotonic(), batch.progress.triggered
        # The last reading must not have to wait.
        spent = way.waste(count) + (0 if last else way.waste_ahead)
        early = self._purse.is_half_full(spent, triggered=triggered, now=now)
        wanted = last or early or pays(way, count, waited=now - self._read_at, longest=self._longest)
        return wanted and self._holds(spent, batch, last=last)

    async def _read(self, way: Reading, missing: list[Unread]) -> int:
        changed = 0
        async for page in self._pages(way, missing):
            self._learn_clock(missing, page)
            changed += await self._store.note(self._batch_id, items_named(page))
        self._purse.spent -= changed / PAGE
        self._read_at = self._clock.monotonic()
        return changed

    async def _pages(self, way: Reading, missing: list[Unread]) -> AsyncIterator[list[Execution]]:
        if way.one_by_one:
            for each in missing:
                self._purse.spent += 1
                yield [await self._target.execution(each.execution_id)]
            return
        ahead = -_SKEW if self._ahead is None else self._ahead - _MARGIN
        since = min(each.created_at or each.triggered_at + ahead for each in missing)
        async for page in self._target.ended(self._batch_id, since):
            self._purse.spent += 1
            yield page

    def _learn_clock(self, unread: Iterable[Unread], page: list[Execution]) -> None:
        """From executions of which both times are known."""
        ours = {each.execution_id: each.triggered_at for each in unread if each.created_at is None}
        seen = [each.created_at - ours[each.id] for each in page if each.created_at is not None and each.id in ours]
        if seen:
            self._ahead = min(seen) if self._ahead is None else min(self._ahead, *seen)

    def _plan(
        self, batch: BatchRecord, count: int, way: Reading, still_open: int, *, hurried: bool, changed: int
    ) -> None:
        now, ended = self._clock.monotonic(), batch.progress.triggered - still_open
        since, before = self._last
        rate = max(0, ended - before) / max(now - since, self._shortest)
        self._last = (now, ended)
        small = batch.progress.triggered <= PAGE
        if hurried or (small and changed):
            self.pause = self._shortest
        elif small:
            self.pause = next_look(
                self.pause, shortest=self._shortest, longest=self._longest, unread=0, still_open=0, cost=0, rate=0
            )
        else:
            self.pause = next_look(
                self.pause,
                shortest=self._shortest,
                longest=self._longest,
                unread=count,
                still_open=still_open,
                cost=max(1, way.cost),
                rate=rate,
            )

    def _holds(self, cost: float, batch: BatchRecord, *, last: bool = False) -> bool:
        now = self._clock.monotonic()
        return self._purse.holds(cost, triggered=batch.progress.triggered, now=now, last=last)
