"""CoroutineExecutor: coroutine functions on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, ParamSpec

__all__ = ["CoroutineExecutor"]

#: seconds
_PATIENCE = 2.0

_P = ParamSpec("_P")


class CoroutineExecutor:
    """Runs coroutine functions on one event loop in a daemon thread, `max_workers` of them at a time.

    One loop for all, because clients and locks that coroutines share belong to one loop.
    """

    def __init__(self, max_workers: int, thread_name: str) -> None:
        self._free = asyncio.Semaphore(max_workers)
        self._tasks: set[asyncio.Task[None]] = set()
        self._last: asyncio.Task[None] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=thread_name, daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[_P, Awaitable[Any]], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[Any]:
        """Await `fn(*args, **kwargs)` on the loop; until it is its turn, the future can be cancelled."""
        future: Future[Any] = Future()
        self._loop.call_soon_threadsafe(self._begin, future, lambda: fn(*args, **kwargs))
        return future

    def shutdown(self) -> None:
        """Cancel every coroutine, begun or not, and end the loop.

        Waits for them two seconds at most: one that blocks or will not be cancelled is left behind.
        """
        with contextlib.suppress(RuntimeError):  # the loop has ended before
            self._loop.call_soon_threadsafe(self._end)
        self._thread.join(_PATIENCE)

    def _serve(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def _begin(self, future: Future[Any], start: Callable[[], Awaitable[Any]]) -> None:
        task = self._loop.create_task(self._run(future, start))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # a task cancelled before its turn leaves its future as it was
        task.add_done_callback(lambda _: future.cancel())

    async def _run(self, future: Future[Any], start: Callable[[], Awaitable[Any]]) -> None:
        async with self._free:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(await start())
                except BaseException as exc:  # whoever holds the future is told, and the loop goes on
                    future.set_exception(exc)

    def _end(self) -> None:
        if self._last is None:
            for task in self._tasks:
                task.cancel()
            self._last = self._loop.create_task(self._stop())

    async def _stop(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._loop.stop()
