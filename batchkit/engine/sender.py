"""Sending what a runner has claimed: each row at its time and once, and what became of it kept for the store."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

from batchkit.core.outcome import NotSent, Outcome, Unclear
from batchkit.core.ports import Clock, Target
from batchkit.core.record import BatchRecord, Claim, ItemOutcome
from batchkit.engine.gate import Gate
from batchkit.engine.journal import tell_outcome

__all__ = ["Sender"]

logger = logging.getLogger("batchkit")

_NOT_SENT = "It was not sent: the batch was paused or stopped first, or the target asked to wait."


class Sender:
    """Holds claims until they may leave, sends them, and collects their outcomes. Lives on the engine's loop.

    batch: the batch as it is known; None: nothing leaves. may_send: asked right before each request.
    weigh: told of each answer at once, before it is kept. on_sent: told when a request is over.
    """

    def __init__(
        self,
        batch_id: str,
        *,
        target: Target,
        clock: Clock,
        gate: Gate,
        batch: Callable[[], BatchRecord | None],
        may_send: Callable[[], bool],
        weigh: Callable[[Outcome], None],
        on_sent: Callable[[], None],
    ) -> None:
        self._batch_id = batch_id
        self._target = target
        self._clock = clock
        self._gate = gate
        self._batch = batch
        self._may_send = may_send
        self._weigh = weigh
        self._on_sent = on_sent
        #: claimed, not yet sent
        self.ready: deque[Claim] = deque()
        #: what became of attempts, not yet recorded
        self.outbox: list[ItemOutcome] = []
        #: when the first of them came, on the monotonic clock
        self.first_outcome = 0.0
        #: when what is ready may be sent, on the monotonic clock
        self.release_at = 0.0
        self._sending: dict[asyncio.Task[None], Claim] = {}
        self._releasing: asyncio.Task[None] | None = None
        self._never = asyncio.Event()

    @property
    def unanswered(self) -> int:
        """Requests under way."""
        return len(self._sending)

    @property
    def idle(self) -> bool:
        """Whether nothing is to be sent, under way, or to be recorded."""
        return not (self._sending or self.ready or self.outbox)

    def known(self) -> list[int]:
        """The items whose claims or outcomes it holds."""
        held: list[Claim | ItemOutcome] = [*self._sending.values(), *self.ready, *self.outbox]
        return [each.item for each in held]

    def take(self, claims: Iterable[Claim]) -> None:
        """Send these as soon as `release_at` and the rate rule let them leave, whatever the store does meanwhile."""
        self.ready.extend(claims)
        if self._delay() <= 0:
            self.release()
        elif self._releasing is None or self._releasing.done():
            self._releasing = asyncio.get_running_loop().create_task(self._release_later())

    def release(self) -> None:
        """Send what is ready: a group at once, or with interval 0 as many as may be unanswered."""
        batch = self._batch()
        if not self.ready or batch is None:
            return
        if not self._may_send():
            self.give_back()
            return
        room = batch.pace.max_concurrent - len(self._sending) if batch.pace.batch_interval == 0 else len(self.ready)
        for _ in range(min(room, len(self.ready))):
            claim = self.ready.popleft()
            task = asyncio.get_running_loop().create_task(self._send(claim))
            self._sending[task] = claim
            task.add_done_callback(self._sent)

    def give_back(self) -> None:
        """What is ready is not sent after all."""
        while self.ready:
            self._put(self.ready.popleft(), NotSent(message=_NOT_SENT))

    def add(self, outcomes: Sequence[ItemOutcome]) -> None:
        """Keep what was found out otherwise, too."""
        self.outbox += outcomes

    def take_outbox(self) -> list[ItemOutcome]:
        """What is to be recorded now; what cannot be comes back by `put_back`."""
        outcomes, self.outbox = self.outbox, []
        return outcomes

    def put_back(self, outcomes: Sequence[ItemOutcome]) -> None:
        """These could not be recorded, or nobody knows."""
        self.outbox = [*outcomes, *self.outbox]

    async def finish(self) -> None:
        """Send nothing more, and wait for the answers to what has left."""
        self.give_back()
        if self._releasing is not None:
            self._releasing.cancel()
        if self._sending:
            await asyncio.wait(self._sending)

    def _delay(self) -> float:
        """Seconds until what is ready may be sent."""
        batch = self._batch()
        by_rate = 0.0 if batch is None else self._gate.by_rate(batch)
        return max(self.release_at - self._clock.monotonic(), by_rate)

    async def _release_later(self) -> None:
        while self.ready and (seconds := self._delay()) > 0:
            await self._clock.wait(self._never, seconds)
        self.release()

    def _sent(self, task: asyncio.Task[None]) -> None:
        del self._sending[task]
        batch = self._batch()
        if batch is not None and batch.pace.batch_interval == 0:
            self.release()
        self._on_sent()

    async def _send(self, claim: Claim) -> None:
        if not self._may_send():
            self.ready.appendleft(claim)
            self.give_back()
            return
        if (batch := self._batch()) is not None:
            self._gate.sent(batch)
        late = (self._clock.now() - claim.due).total_seconds()
        try:
            outcome = await self._target.trigger(claim.request)
        except asyncio.CancelledError:
            self._put(claim, Unclear(message="It was given up while being sent."))
            raise
        except Exception as error:  # a target that breaks its promise must not cost the row
            logger.exception("%s: item %s", self._batch_id, claim.item)
            outcome = Unclear(message=f"{type(error).__name__}: {error}")
        self._weigh(outcome)
        self._put(claim, outcome)
        tell_outcome(self._batch_id, claim, outcome, late=round(late, 3))

    def _put(self, claim: Claim, outcome: Outcome) -> None:
        now = self._clock.now()
        if not self.outbox:
            self.first_outcome = self._clock.monotonic()
        settle_at = None
        if isinstance(outcome, Unclear) and self._target.can_look_up:
            settle_at = now + timedelta(seconds=self._target.total_timeout + self._target.listing_delay)
        self.outbox.append(
            ItemOutcome(item=claim.item, attempt=claim.attempt, outcome=outcome, at=now, settle_at=settle_at)
        )
