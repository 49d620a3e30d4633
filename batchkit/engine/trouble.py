"""What the store fails with, and for how long."""

from __future__ import annotations

from batchkit.core.ports import Clock
from batchkit.errors import StoreError

__all__ = ["Trouble"]


class Trouble:
    """Remembers since when the store has been failing, until it works again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: the last failure, and the first and the last time, on the monotonic clock
        self._failing: tuple[StoreError, float, float] | None = None

    def note(self, error: StoreError) -> None:
        """The store failed."""
        now = self._clock.monotonic()
        self._failing = (error, self._failing[1] if self._failing else now, now)

    def over(self) -> None:
        """The store works."""
        self._failing = None

    def lasting(self, patience: float, outage: float, after: float) -> StoreError | None:
        """What it has been failing with for `patience` seconds, `outage` where it passes, and since `after`."""
        if self._failing is None:
            return None
        error, first, last = self._failing
        longest = outage if error.passing else patience
        return error if last - first >= longest and last >= after else None
