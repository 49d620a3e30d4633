"""Following executions of a target that lists them by status: few requests, and those that need a person first."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from batchkit.core.execution import Execution, ExecutionStatus
from batchkit.core.following import (
    FOR_LOOKS,
    FOR_READING,
    PAGE,
    RARELY,
    Ear,
    Purse,
    Reading,
    last_waste,
    next_look,
    pays,
    reading,
    tail_pause,
)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What a look at the open executions showed."""

    #: how many the store knew otherwise
    changed: int
    #: how many there are; None: the target does not say
    open: int | None
    #: all of them were listed, so that the missing are exactly those that have ended
    all_open: bool
    #: unread ones that were not listed
    missing: list[Unread]
    #: those that were, the oldest of the open ones
    oldest: list[Unread]


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
        self._opened_at = clock.monotonic()
        self._purse = Purse(longest=longest, opened_at=self._opened_at)
        self._ear = Ear(shortest=shortest, longest=longest)
        #: when the target was asked last, and when for ends
        self._looked_at = -math.inf
        self._read_at = self._opened_at
        #: the least by which the target's time of an execution is later than ours of its answer
        self._ahead: timedelta | None = None
        #: when the last look was, and how many had ended by then
        self._last = (self._opened_at, 0)
        self.pause = shortest

    async def look(self, *, hurried: bool) -> int | None:
        """How many executions changed; None: none is open. hurried: rows wait for executions to finish."""
        batch = await self._store.batch(self._batch_id)
        if not batch.untold:
            return None
        if self._is_told(batch, hurried=hurried):
            self.pause = self._shortest
            return 0
        unread = await self._store.unread_executions(self._batch_id)
        if not unread:
            return None
        spent = self._purse.spent
        try:
            return await self._look(unread, batch, hurried=hurried)
        finally:
            if hurried:
                self._purse.spent = spent

    def _is_told(self, batch: BatchRecord, *, hurried: bool) -> bool:
        """Whether webhooks tell what there is to know for now."""
        now = self._clock.monotonic()
        self._ear.note(batch.heard_at, now)
        if not batch.progress.executions.open and _is_ending(batch):
            return False
        rarely = self._longest if hurried else RARELY * self._longest
        return self._ear.hears(now) and now - self._looked_at < rarely

    async def _look(self, unread: list[Unread], batch: BatchRecord, *, hurried: bool) -> int:
        if not hurried and not await self._may_look(unread, batch):
            return 0
        self._looked_at = self._clock.monotonic()
        seen = await self._look_at_open(unread)
        changed, still_open, missing, named = seen.changed, seen.open, seen.missing, seen.all_open
        count = len(missing) if named or still_open is None else len(unread) - still_open
        if count <= 0 and self._clock.monotonic() - self._read_at >= _TRUST * self._longest:
            count = len(missing)
        kept_from = seen.oldest or unread
        batch, listed = await self._store.triggered_since(
            self._batch_id, _oldest(missing or unread), _oldest(kept_from)
        )
        way = _way(missing, count, listed[0] - (still_open or 0), named=named)
        ended = batch.progress.triggered - (still_open or 0)
        stands_still = ended == self._last[1] and (still_open or 0) <= batch.progress.executions.waiting
        last = _is_ending(batch) and (still_open == 0 or stands_still)
        kept = 0.0 if last else last_waste(len(unread) - count, listed[1])
        if count > 0 and (hurried or self._may_read(way, count, batch, kept=kept, last=last)):
            changed += await self._read(way, missing)
            count = 0
        elif last and count > 0:
            triggered, now = batch.progress.triggered, self._clock.monotonic()
            wait = self._purse.seconds_to(way.waste(count) + 1, triggered=triggered, now=now)
            self.pause = max(self._shortest, wait)
            return changed
        self._plan(batch, count, way, still_open or 0, hurried=hurried, changed=changed, kept=kept)
        return changed

    async def _may_look(self, unread: list[Unread], batch: BatchRecord) -> bool:
        """Whether a look leaves what the last reading needs; else `pause` says when it will."""
        triggered, now = batch.progress.triggered, self._clock.monotonic()
        _, [listed] = await self._store.triggered_since(self._batch_id, _oldest(unread))
        cost = 2 + last_waste(len(unread), listed)
        share = 1.0 if _is_ending(batch) and triggered > PAGE else FOR_LOOKS
        if self._purse.holds(cost, triggered=triggered, now=now, share=share):
            return True
        wait = self._purse.seconds_to(cost, triggered=triggered, now=now, share=share)
        self.pause = min(max(wait, self._shortest), 2 * self._longest)
        return False

    async def _look_at_open(self, unread: list[Unread]) -> _Seen:
        page, total = await self._target.standing(self._batch_id, _OPEN)
        self._purse.spent += 1
        self._learn_clock(unread, page)
        changed = await self._store.note(self._batch_id, items_named(page))
        known = {execution.id for execution in page}
        oldest = [each for each in unread if each.execution_id in known]
        all_open = total is not None and total <= len(page)
        if not all_open:
            waiting, _ = await self._target.standing(self._batch_id, _NEEDS_PERSON)
            self._purse.spent += 1
            changed += await self._store.note(self._batch_id, items_named(waiting))
            known |= {execution.id for execution in waiting}
        missing = [each for each in unread if each.execution_id not in known]
        return _Seen(changed=changed, open=total, all_open=all_open, missing=missing, oldest=oldest)

    def _may_read(self, way: Reading, count: int, batch: BatchRecord, *, kept: float, last: bool) -> bool:
        """kept: for the last reading."""
        now, triggered = self._clock.monotonic(), batch.progress.triggered
        spent = way.waste(count) + kept
        early = self._purse.is_half_full(spent, triggered=triggered, now=now)
        wanted = last or early or pays(way, count, waited=now - self._read_at, longest=self._longest)
        share = 1.0 if last else FOR_READING
        return wanted and self._purse.holds(spent, triggered=triggered, now=now, share=share)

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
        self, batch: BatchRecord, count: int, way: Reading, still_open: int, *, hurried: bool, changed: int, kept: float
    ) -> None:
        now, triggered = self._clock.monotonic(), batch.progress.triggered
        limits = {"shortest": self._shortest, "longest": self._longest}
        ended = triggered - still_open
        since, before = self._last
        rate = max(0, ended - before) / max(now - since, self._shortest)
        self._last = (now, ended)
        small = triggered <= PAGE
        if hurried or (small and changed):
            self.pause = self._shortest
        elif small:
            self.pause = next_look(self.pause, **limits, unread=0, still_open=0, cost=0, rate=0)
        else:
            cost = max(1, way.cost)
            self.pause = next_look(self.pause, **limits, unread=count, still_open=still_open, cost=cost, rate=rate)
        # Whoever waits for the last ends waits longer, the longer it took so far.
        if _is_ending(batch) and still_open <= PAGE:
            left = self._purse.left(kept, triggered=triggered, now=now)
            self.pause = min(self.pause, tail_pause(now - self._opened_at, left, **limits))


def _way(missing: list[Unread], count: int, ended: int, *, named: bool) -> Reading:
    """How to learn `count` ends; ended: how many executions that have ended were triggered since the first of them."""
    if not missing:
        return Reading(one_by_one=True, cost=0)
    return reading(count, max(count, ended), named=named)


def _is_ending(batch: BatchRecord) -> bool:
    """Whether nothing will be sent. While a batch is paused nothing is, and its user waits for what was."""
    return batch.status is BatchStatus.PAUSED or not batch.progress.unsettled


def _oldest(unread: Iterable[Unread]) -> datetime:
    """A moment before the first of them was triggered."""
    return min(each.triggered_at for each in unread) - _MARGIN
