"""Looking at the store about once a second, for as long as somebody looks at the page."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["Watcher"]

_SECONDS = 1.0
#: the page says every few seconds that it is displayed; one that has not for so long is not
_SIGHT_SECONDS = 60.0
#: the last look is not waited for any longer
_LAST_LOOK_SECONDS = 5.0


class Watcher:
    """Calls `look` about once a second while the page is displayed or `busy`, on one thread, begun by `seen`.

    busy: whether something goes on that is shown. A page behind a cell that runs cannot say that it is displayed.
    """

    def __init__(self, look: Callable[[], object], busy: Callable[[], bool], *, seconds: float = _SECONDS) -> None:
        self._look = look
        self._busy = busy
        self._seconds = seconds
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._seen_at = 0.0
        self._ended = threading.Event()

    @property
    def awake(self) -> bool:
        """Whether it looks."""
        return self._thread is not None

    def seen(self) -> None:
        """The page is displayed."""
        with self._lock:
            self._seen_at = time.monotonic()
            if self._thread is None and not self._ended.is_set():
                self._thread = threading.Thread(target=self._watch, name="batchkit watcher", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Look no more; returns once the last look is over, for what is looked at may be closed next."""
        self._ended.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_LAST_LOOK_SECONDS)

    def _watch(self) -> None:
        while not self._ended.wait(self._seconds):
            with self._lock:
                if time.monotonic() - self._seen_at > _SIGHT_SECONDS and not self._busy():
                    self._thread = None
                    return
            self._look()
