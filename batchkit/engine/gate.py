"""When a runner may send next: by the schedule, the rate rule, the working hours, and what the target asked for."""

from __future__ import annotations

from datetime import datetime, timedelta

from batchkit.core.ports import Clock
from batchkit.core.record import BatchRecord
from batchkit.core.schedule import TOLERANCE
from batchkit.core.wake import group_due

__all__ = ["Gate"]

#: a group is claimed this long before it is due, so that it leaves on time; requests never leave early
_LEAD_SECONDS = 0.2
#: clocks that agree to that agree
_SAME = timedelta(milliseconds=10)


class Gate:
    """What holds the next group back. Waits count from boot on: asleep or not, and whatever the wall clock does."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: seconds since boot before which the target wants nothing to be sent
        self.quiet_until = 0.0
        #: seconds since boot of the last request of a group
        self._sent_at = float("-inf")

    def due(self, batch: BatchRecord) -> datetime:
        """When the next group is due, by the schedule, the working hours, and what the store says of the rate."""
        return group_due(batch, self._clock.now())

    def delay(self, batch: BatchRecord) -> float:
        """Seconds until the next group may start."""
        return max((self.due(batch) - self._clock.now()).total_seconds(), self.by_rate(batch))

    def by_rate(self, batch: BatchRecord) -> float:
        """Seconds until another group may start after the last one, and until the target wants to be asked again."""
        since_boot = self._clock.boot()[1]
        interval = batch.pace.batch_interval
        next_group = self._sent_at + interval - TOLERANCE.total_seconds() if interval > 0 else 0.0
        return max(next_group, self.quiet_until) - since_boot

    def lead(self, batch: BatchRecord) -> float:
        """Seconds by which the next group is claimed before it is due."""
        return min(_LEAD_SECONDS, batch.pace.batch_interval / 4)

    def is_open(self, batch: BatchRecord) -> bool:
        """Whether a request may leave now, by the working hours and by what the target asked for."""
        hours = batch.flow.working_hours
        inside = hours is None or batch.trial > 0 or hours.is_open(self._clock.now())
        return inside and self._clock.boot()[1] >= self.quiet_until

    def sent(self, batch: BatchRecord) -> None:
        """A request leaves: the next group stays one interval from it, whatever the wall clock does."""
        if batch.pace.batch_interval > 0:
            self._sent_at = max(self._sent_at, self._clock.boot()[1])

    def unknown(self, batch: BatchRecord) -> datetime | None:
        """Before when no group may start, where the last one left later than the store knows; None: it knows."""
        interval = batch.pace.batch_interval
        if interval <= 0 or self._sent_at == float("-inf"):
            return None
        since = self._clock.boot()[1] - self._sent_at
        until = self._clock.now() + timedelta(seconds=interval - since) - TOLERANCE
        return None if batch.gate_at is not None and until <= batch.gate_at + _SAME else until

    def news(self, batch: BatchRecord | None, *, quiet: bool) -> datetime | None:
        """Before when no group may start, where the store does not know yet; quiet: what the target asked for is."""
        late = None if batch is None else self.unknown(batch)
        asked = self.quiet_until_time() if quiet else None
        return max((moment for moment in (late, asked) if moment is not None), default=None)

    def keep_quiet(self, until: float) -> None:
        """The target wants nothing to be sent before so many seconds since boot."""
        self.quiet_until = max(self.quiet_until, until)

    def quiet_until_time(self) -> datetime:
        """That by the wall clock."""
        return self._clock.now() + timedelta(seconds=self.quiet_until - self._clock.boot()[1])
