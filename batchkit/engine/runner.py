"""The runner of one batch: from what is due to what was recorded.

Everything it does to a row goes through the store first: commit the intent, send, commit the outcome.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from batchkit.core.lifecycle import BatchStatus
from batchkit.core.outcome import Outcome, Refused, Triggered, Wait
from batchkit.core.ports import Clock, Reporting, Store, Target
from batchkit.core.record import BatchRecord, ItemOutcome, Lease, Tick
from batchkit.core.retry import Health, RetryPolicy
from batchkit.core.schedule import after_group
from batchkit.engine.account import Account
from batchkit.engine.catch_up import CatchUp
from batchkit.engine.deadline import Deadline
from batchkit.engine.follower import Follower
from batchkit.engine.gate import Gate
from batchkit.engine.journal import tell, tell_due
from batchkit.engine.rest import Rest
from batchkit.engine.sender import Sender
from batchkit.engine.settler import Settler
from batchkit.engine.trouble import Trouble
from batchkit.errors import StoreError

__all__ = ["POLL_SECONDS", "Runner"]

logger = logging.getLogger("batchkit")

#: how often commands of other processes are looked for, at the least
POLL_SECONDS = 0.5
#: with interval 0, so many items at most are claimed before there is room to send them
_MOST_READY = 100
#: outcomes wait this long for the rest of their group, so that one commit records them all
_LINGER_SECONDS = 0.05
#: no request starts on a lease with less than this share of it left
_LEASE_MARGIN = 2 / 15
#: after the store failed, it is tried again this often
_STORE_RETRY_SECONDS = 1.0


class Runner:
    """Runs one batch as long as it holds the lease. Lives on the engine's loop."""

    def __init__(
        self,
        lease: Lease,
        *,
        store: Store,
        target: Target,
        clock: Clock,
        policy: RetryPolicy,
        seed: int,
        poll_seconds: float,
        on_change: Callable[[BatchRecord], None],
        rest: Rest | None = None,
    ) -> None:
        self.batch_id = lease.batch_id
        self._lease = lease
        #: another runner has taken over
        self.lost = False
        self._store = store
        self._target = target
        self._clock = clock
        self._health = Health(policy, seed=seed)
        self._poll_seconds = poll_seconds
        self._on_change = on_change
        #: None: it keeps the batch, however long there is nothing to do
        self._rest_of_batch = rest
        self._follower = Follower(lease.batch_id, store=store, target=target, clock=clock, on_note=self.wake)
        self._deadline = Deadline(lease.batch_id, store=store, clock=clock, on_change=self.wake)
        self._settler = Settler(lease.batch_id, store=store, target=target, clock=clock, on_outcomes=self._settled)
        self._wakeup = asyncio.Event()
        #: commands under way that stop it
        self._holds = 0
        #: from this revision of the batch on, the store says itself what they decided
        self._held_revision = 0
        self._closing = False
        self._batch: BatchRecord | None = None
        #: a claim failed in the store, and may have been recorded all the same
        self._unsure = False
        self._gate = Gate(clock)
        self._account = Account(lease.batch_id, store=store, clock=clock, gate=self._gate)
        #: what the last visit to the store set as the gate
        self._own_gate: datetime | None = None
        self._catching_up = CatchUp(store=store, clock=clock)
        self._sender = Sender(
            lease.batch_id,
            target=target,
            clock=clock,
            gate=self._gate,
            batch=lambda: self._batch,
            may_send=self._may_send,
            weigh=self._weigh,
            on_sent=self._sent,
        )
        #: what the target asked for is still to be recorded
        self._quiet_is_news = False
        #: since the last claim, `max_in_flight` let nothing in that was due, or no profile was free
        self._was_full = False
        #: which profile what is due waits for, as the last claim found
        self._no_profile = ""
        #: why the batch is to pause itself
        self._pause = ""
        #: what it waits for, for people
        self._reason = ""
        #: with the store
        self.trouble = Trouble(clock)

    @property
    def _held(self) -> bool:
        return bool(self._holds) or self._batch is None or self._batch.revision < self._held_revision

    # Commands, from the same loop

    def hold(self) -> None:
        """No request starts until `release`; what is claimed and unsent goes back to pending."""
        self._holds += 1
        self._sender.give_back()

    def release(self, revision: int = 0) -> None:
        """The command behind `hold` is in the store as `revision` (0: it failed); from there on the store decides."""
        self._holds -= 1
        self._held_revision = max(self._held_revision, revision)
        self.wake()

    def trust(self) -> None:
        """A person resumed the batch: what the target answered before does not count any more."""
        self._health.reset()
        self.wake()

    def wake(self) -> None:
        """Look at the store now."""
        self._wakeup.set()

    def close(self) -> None:
        """Send nothing more, record what is under way, give the lease up, and end."""
        self._closing = True
        self._sender.give_back()
        self.wake()

    async def run(self) -> None:
        """Run until there is nothing left to do, the lease is lost, or `close` was called."""
        try:
            while await self._step():
                pass
        finally:
            await self._end()

    # One step: a visit to the store, then what follows from it

    async def _step(self) -> bool:
        """Whether there is a next one."""
        self._wakeup.clear()
        try:
            if await self._catch_up():
                self._batch = None
            if self._waits_for_group():
                await self._clock.wait(self._wakeup, self._linger())
                return True
            quiet_until, asked = self._gate.quiet_until, self._claimable()
            tick = await self._visit()
        except StoreError as error:
            self.trouble.note(error)
            logger.warning("%s: %s", self.batch_id, error)
            self._sender.give_back()
            if self._closing:
                return False
            await self._clock.wait(asyncio.Event(), _STORE_RETRY_SECONDS)
            return True
        self._take_note(tick)
        await self._account.tell()
        if asked:
            self._note_profile(tick)
        if asked or not self._claimable():
            # A visit that could do with less than the one that failed does not count.
            self.trouble.over()
        if tick.claimed:
            self._was_full = False
            tell_due(self.batch_id, tick.claimed, self._clock.now())
            if self._gate.quiet_until == quiet_until:
                self._sender.take(tick.claimed)
            else:
                # While the store was claiming, the target asked to wait.
                self._sender.ready.extend(tick.claimed)
                self._sender.give_back()
        if self.lost or self._is_over(tick.batch) or await self._leaves(tick):
            return False
        await self._clock.wait(self._wakeup, self._rest(tick.batch))
        return True

    async def _visit(self) -> Tick:
        """Record outcomes and claim what is due, in one transaction."""
        if self._unsure:
            await self._store.disclaim(self._lease, self._sender.known())
            self._unsure = False
        outcomes = self._sender.take_outbox()
        pause, self._pause = self._pause, ""
        limit = self._claimable()
        news, self._quiet_is_news = self._quiet_is_news, False
        until, gate = self._slot() if limit else (None, self._gate.news(self._batch, quiet=news))
        self._own_gate = gate
        try:
            tick = await self._store.tick(
                self._lease,
                outcomes=outcomes,
                claim=limit,
                until=until,
                gate=gate,
                pause=pause,
                reason=self._news(),
                revision=None if self._batch is None else self._batch.revision,
            )
        except StoreError:
            # Not acknowledged: recorded when the store works again, and nothing is sent before that.
            self._sender.put_back(outcomes)
            self._pause, self._batch = pause, None
            self._quiet_is_news |= news
            self._unsure = bool(limit)
            raise
        return tick

    def _news(self) -> str | None:
        """What the batch is to say it waits for; None: what it says already."""
        batch = self._batch
        if batch is None or batch.status is not BatchStatus.RUNNING or batch.reason == self._reason:
            return None
        return self._reason

    def _take_note(self, tick: Tick) -> None:
        before, self._batch = self._batch, tick.batch
        if tick.lease is None:
            self.lost = True
            tell(self.batch_id, "lost", owner=self._lease.owner, epoch=self._lease.epoch)
            logger.warning("%s: another runner has taken over", self.batch_id)
            return
        self._lease = tick.lease
        if self._account.heeds(before, tick.batch, own=self._own_gate):
            self._sender.give_back()
            self._reason = tick.batch.reason
        if before is not None and (before.status, tick.batch.status) == (BatchStatus.PAUSED, BatchStatus.RUNNING):
            self._health.reset()
        if before is not None and (before.pace, before.flow) != (tick.batch.pace, tick.batch.flow):
            # What was claimed under other limits is claimed anew under these.
            self._sender.give_back()
        if before != tick.batch:
            self._on_change(tick.batch)
        if tick.batch.untold:
            # A target of this process tells by itself.
            if not isinstance(self._target, Reporting):
                self._follower.start()
            if tick.batch.flow.item_deadline is not None and tick.batch.progress.executions.awaited:
                self._deadline.start()
        if tick.next_settle is not None and tick.next_settle <= self._clock.now():
            self._settler.start()

    def _note_profile(self, tick: Tick) -> None:
        """Remember whether the next claim has to wait for a profile that other executions use."""
        before, self._no_profile = self._no_profile, "" if tick.claimed else tick.waiting
        if self._no_profile or self._reason == before:
            self._reason = self._no_profile

    def _is_over(self, batch: BatchRecord) -> bool:
        if not self._sender.idle:
            return False
        if self._closing:
            return True
        progress = batch.progress
        return batch.status.final and not (progress.triggering or progress.in_doubt or batch.untold)

    async def _leaves(self, tick: Tick) -> bool:
        """Whether it may end here, for there is nothing to do for long."""
        busy = self._held or self._pause or self._quiet_is_news or not self._sender.idle
        return not busy and self._rest_of_batch is not None and await self._rest_of_batch.begins(self._lease, tick)

    def _rest(self, batch: BatchRecord) -> float:
        """Seconds until something is to be done, if nothing happens."""
        timeout = self._poll_seconds
        if batch.status is BatchStatus.PENDING:
            timeout = min(timeout, (batch.start_at - self._clock.now()).total_seconds())
        answers = batch.pace.batch_interval == 0 and self._sender.unanswered
        waits_for_answers = self._held or self._sender.ready or answers
        if batch.status is BatchStatus.RUNNING and batch.next_due is not None:
            delay = self._gate.delay(batch) - self._gate.lead(batch)
            full = batch.room == 0 or bool(self._no_profile)
            if full and delay <= 0:
                self._was_full = True
                self._follower.hurry()
            elif not full and not waits_for_answers:
                timeout = min(timeout, delay)
        if self._sender.outbox:
            timeout = min(timeout, self._linger())
        return max(0.0, timeout)

    # When: the schedule, the rate rule, and what was missed

    def _claimable(self) -> int:
        """How many items may be claimed now."""
        batch = self._batch
        if batch is None or batch.next_due is None or batch.status is not BatchStatus.RUNNING:
            return 0
        if self._held or self._closing or self._pause or self._gate.delay(batch) > self._gate.lead(batch):
            return 0
        most = batch.pace.max_concurrent if batch.room is None else min(batch.room, batch.pace.max_concurrent)
        if batch.pace.batch_interval > 0:
            return 0 if self._sender.ready else most
        wanted = min(most, min(batch.pace.max_concurrent, _MOST_READY) - len(self._sender.ready))
        # A commit for each single answer would cost more than the request.
        worthwhile = min(batch.progress.pending, most, max(1, batch.pace.max_concurrent // 2))
        idle = not self._sender.unanswered and not self._sender.ready
        return wanted if wanted > 0 and (wanted >= worthwhile or idle) else 0

    def _slot(self) -> tuple[datetime | None, datetime | None]:
        """Until when items are due that the next group may hold, and before when no later group may start."""
        batch = self._batch
        assert batch is not None
        now = self._clock.now()
        self._sender.release_at = self._clock.monotonic() + max(0.0, self._gate.delay(batch))
        if batch.pace.batch_interval == 0:
            return now, None
        due = self._gate.due(batch)
        return max(due, now), after_group(due, max(due, now), batch.pace)

    def _waits_for_group(self) -> bool:
        """Whether the outcomes at hand wait for more, to be recorded with one commit."""
        return bool(self._sender.outbox) and self._linger() > 0 and not self._claimable()

    def _linger(self) -> float:
        if not self._sender.unanswered or self._closing or self._held:
            return 0.0
        return max(0.0, self._sender.first_outcome + _LINGER_SECONDS - self._clock.monotonic())

    async def _catch_up(self) -> bool:
        """Stagger anew where slots were missed; whether that was done."""
        batch = self._batch
        if batch is None or not self._claimable():
            return False
        return await self._catching_up.begin(self._lease, batch, was_full=self._was_full)

    # Sending

    def _sent(self) -> None:
        # An answer that changes nothing yet waits for the others without a visit of its own.
        if len(self._sender.outbox) <= 1 or not self._sender.unanswered or self._pause or self._claimable():
            self.wake()

    def _may_send(self) -> bool:
        """Asked right before each request."""
        batch = self._batch
        if self._held or self._closing or self.lost or self._pause or batch is None:
            return False
        boot_id, now = self._clock.boot()
        lasts = self._lease.boot == boot_id and self._lease.expires - _LEASE_MARGIN * self._lease.seconds > now
        return lasts and batch.status is BatchStatus.RUNNING and self._gate.is_open(batch)

    def _weigh(self, outcome: Outcome) -> None:
        """Let an answer decide at once whether to wait or to pause."""
        seconds = self._clock.boot()[1]
        decision = self._health.observe(outcome, seconds)
        if decision.pause or decision.wait:
            self._sender.give_back()
        if decision.pause:
            self._pause = decision.pause
        if decision.wait:
            self._gate.keep_quiet(seconds + decision.wait)
            self._quiet_is_news = True
            self._reason = f"{decision.reason} Next try at {self._gate.quiet_until_time():%H:%M:%S} UTC."
            logger.info("%s: nothing is sent for %.1f s. %s", self.batch_id, decision.wait, decision.reason)
            if isinstance(outcome, Wait) and outcome.retry_after is not None:
                self._account.asked(outcome.message)
        elif isinstance(outcome, Triggered | Refused) and seconds >= self._gate.quiet_until:
            self._reason = ""

    def _settled(self, outcomes: list[ItemOutcome]) -> None:
        self._sender.add(outcomes)
        self.wake()

    # The end

    async def _end(self) -> None:
        self._follower.stop()
        self._deadline.stop()
        self._settler.stop()
        await self._sender.finish()
        try:
            gate = self._gate.news(self._batch, quiet=self._quiet_is_news)
            if self._sender.outbox or gate is not None:
                await self._store.tick(self._lease, outcomes=self._sender.outbox, gate=gate)
            await self._store.release(self._lease)
            if not self.lost:
                tell(self.batch_id, "released", owner=self._lease.owner, epoch=self._lease.epoch)
        except StoreError as error:
            logger.warning("%s: %s", self.batch_id, error)
