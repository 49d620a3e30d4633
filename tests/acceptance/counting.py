"""A target that counts what it is asked for."""

from __future__ import annotations

import batchkit as bk

__all__ = ["Counting"]


class Counting(bk.AsteroidTarget):
    """Counts what it is asked for beside triggering."""

    def __init__(self, demo: bk.DemoPlatform, poll_interval: float = 2.0) -> None:
        super().__init__(demo.url, demo.api_key, listing_delay=2.0)
        self.poll_interval = poll_interval
        self.asked: list[str] = []
        send = self._connection.send

        async def counted(method, url, *args, **more):
            if method == "GET":
                self.asked.append(str(url))
            return await send(method, url, *args, **more)

        self._connection.send = counted
