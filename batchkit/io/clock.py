"""The machine's clocks."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path

from batchkit.core.ports import WakeUp

__all__ = ["SystemClock"]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class SystemClock:
    """Real time: the wall clock for due times, a clock that counts sleep for leases."""

    def __init__(self) -> None:
        try:
            self._boot_id = _BOOT_ID.read_text("ascii").strip()
        except OSError:
            self._boot_id = "unknown"
        # Without CLOCK_BOOTTIME (macOS, Windows) the wall clock is the only one all processes share.
        self._boot_clock = getattr(time, "CLOCK_BOOTTIME", None)

    def now(self) -> datetime:
        """The wall clock, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()

    def boot(self) -> tuple[str, float]:
        """This boot's id and the seconds since, sleep included."""
        if self._boot_clock is None:
            return self._boot_id, time.time()
        return self._boot_id, time.clock_gettime(self._boot_clock)

    async def wait(self, event: WakeUp, timeout: float) -> None:
        """Return when `event` is set or `timeout` seconds have passed, whichever is first."""
        if event.is_set() or timeout <= 0:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(timeout):
                await event.wait()
        except TimeoutError:
            return
