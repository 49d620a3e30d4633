"""Telling users of batches: callbacks, and messages to an address. Both from threads of their own.

What is told is found in the store, so that it does not matter which process runs a batch. Messages wait in the store's
outbox until they were delivered; a process that ends leaves them to the next one that sends to the same address.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from threading import Event, Lock, Thread, current_thread
from typing import Any, TypeVar

from batchkit.core.notice import Notice
from batchkit.core.ports import Clock
from batchkit.core.viewer import EVERYBODY, Viewer
from batchkit.errors import StoreError
from batchkit.io.address import Address
from batchkit.io.notices import message_id
from batchkit.io.outbox import Outbox
from batchkit.targets.standard_webhook import StandardWebhook

__all__ = ["Notices"]

T = TypeVar("T")
logger = logging.getLogger("batchkit")

#: seconds between two looks at the store
_LOOK = 0.5
#: seconds before the second try; three times as many before each further one, up to the longest
_FIRST_PAUSE = 5.0
_LONGEST_PAUSE = 3600.0
#: seconds that closing takes at most
_PATIENCE = 10.0


class Notices:
    """Watches one store and tells of its batches. Nothing is done before there is somebody to tell."""

    def __init__(
        self,
        store: Address,
        clock: Clock,
        *,
        viewer: Viewer = EVERYBODY,
        look: float = _LOOK,
        first_pause: float = _FIRST_PAUSE,
    ) -> None:
        """viewer: who is told of what he sees. look: seconds between two looks. first_pause: before a second try."""
        self._store = store
        self._clock = clock
        self._viewer = viewer
        self._look_seconds = look
        self._first_pause = first_pause
        self._callbacks: list[Callable[[Notice], object]] = []
        self._sinks: list[StandardWebhook] = []
        self._opened: set[str] = set()
        self._outbox: Outbox | None = None
        #: up to which log entry callbacks were told; None: there are none yet
        self._told: int | None = None
        self._calls: SimpleQueue[Notice | Event | None] = SimpleQueue()
        self._lock = Lock()
        self._loop: Future[asyncio.AbstractEventLoop] = Future()
        self._leaving = asyncio.Event()
        self._threads: list[Thread] = []

    def call(self, callback: Callable[[Notice], object]) -> None:
        """Call it with every notice from now on. Raises StoreError."""
        self._start()
        if self._told is None:
            self._told = self._run(self._of_store().last_event())
        self._callbacks.append(callback)

    def add(self, sink: StandardWebhook) -> None:
        """Send every notice there, once `start` is called."""
        self._sinks.append(sink)

    def start(self) -> None:
        """Begin to deliver, if there is somewhere to. Raises StoreError."""
        missing = [sink for sink in self._sinks if sink.id not in self._opened]
        if missing:
            self._start()
        for sink in missing:
            self._run(self._of_store().open_sink(sink.id))
            self._opened.add(sink.id)

    def flush(self) -> None:
        """Return once callbacks were told what there is to tell by now, or after ten seconds."""
        if not self._threads or current_thread() in self._threads:
            return
        told = Event()
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._find_news(), self._loop.result()).result(_PATIENCE)
            self._calls.put(told)
            told.wait(_PATIENCE)

    def close(self) -> None:
        """Tell what there is, try each message that is due once more, and end. Nothing may follow."""
        if not self._threads:
            return
        self._loop.result().call_soon_threadsafe(self._leaving.set)
        for thread in self._threads:
            if thread is not current_thread():
                thread.join(_PATIENCE)
        self._threads.clear()
        if self._outbox is not None:
            self._outbox.shutdown()

    def _start(self) -> None:
        with self._lock:
            if not self._threads:
                works = (self._watch_all, self._call_all)
                self._threads = [Thread(target=work, name="batchkit-notices", daemon=True) for work in works]
                for thread in self._threads:
                    thread.start()

    def _of_store(self) -> Outbox:
        if self._outbox is None:
            self._outbox = Outbox(self._store, self._clock, self._viewer)
        return self._outbox

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop.result()).result()

    # Callbacks, on their thread

    def _call_all(self) -> None:
        while (notice := self._calls.get()) is not None:
            if isinstance(notice, Event):
                notice.set()
                continue
            for callback in list(self._callbacks):
                try:
                    callback(notice)
                except Exception:
                    logger.exception("%s: the callback for %r failed", notice.batch_id, str(notice.kind))

    # Looking and sending, on the other

    def _watch_all(self) -> None:
        with asyncio.Runner() as runner:
            self._loop.set_result(runner.get_loop())
            runner.run(self._watch())
        self._calls.put(None)

    async def _watch(self) -> None:
        sending: asyncio.Task[None] | None = None
        while not self._leaving.is_set():
            await self._find_news()
            if sending is None or sending.done():
                sending = asyncio.get_running_loop().create_task(self._send_all())
            with suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), self._look_seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE / 2):
                if sending is not None:
                    await sending
                await self._find_news()
                await self._send_all()
        for sink in self._sinks:
            await sink.aclose()

    async def _find_news(self) -> None:
        if self._told is None:
            return
        try:
            news, self._told = await self._of_store().news(self._told)
        except StoreError as error:
            logger.warning("There may be news of batches, but %s", error)
            return
        for notice in news:
            self._calls.put(notice)

    async def _send_all(self) -> None:
        """Try every message that is due."""
        for sink in self._sinks:
            if sink.id not in self._opened:
                continue
            try:
                if await self._of_store().has_notices(sink.id):
                    for batch_id, said in await self._of_store().give_up(sink.id, sink.host):
                        logger.warning("%s: %s", batch_id, said)
                while await self._of_store().has_notices(sink.id) and await self._send_next(sink):
                    pass
            except StoreError as error:
                logger.warning("There may be notices to send, but %s", error)

    async def _send_next(self, sink: StandardWebhook) -> bool:
        """Whether there was one to send."""
        claimed = await self._of_store().claim_notice(sink.id)
        if claimed is None:
            return False
        notice_id, body, tries = claimed
        now = int(self._clock.now().timestamp())
        problem = await sink.send(message_id(notice_id), body.encode(errors="replace"), now)
        if problem:
            pause = min(self._first_pause * 3**tries, _LONGEST_PAUSE)
            logger.warning("A notice was not delivered and is tried again in %.0f s: %s", pause, problem)
            await self._of_store().defer_notice(notice_id, pause)
        else:
            await self._of_store().drop_notice(notice_id)
        return True
