"""Work that takes its time: each on a thread of its own, with how far it is, one for each batch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from batchkit.errors import StateError

__all__ = ["Job", "Jobs", "Report"]

#: (done, total): how far the work is
Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Work under way."""

    #: "Cancelling scheduled executions"
    words: str
    done: int = 0
    #: 0: not known
    total: int = 0


class Jobs:
    """Runs work beside the view's own thread. `on_change` is told of every step, from that work's thread."""

    def __init__(self, on_change: Callable[[], object]) -> None:
        self._on_change = on_change
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}

    @property
    def running(self) -> dict[str, Job]:
        """What is under way, by batch."""
        with self._lock:
            return dict(self._jobs)

    def start(self, key: str, words: str, work: Callable[[Report], None]) -> None:
        """Begin `work`, which handles its own failures. Raises StateError while other work on `key` is under way."""
        with self._lock:
            if key in self._jobs:
                raise StateError(f"{self._jobs[key].words} is still under way. Try again once that is done.")
            self._jobs[key] = Job(words=words)
        self._on_change()
        threading.Thread(target=self._run, args=(key, words, work), name="batchkit job", daemon=True).start()

    def _run(self, key: str, words: str, work: Callable[[Report], None]) -> None:
        def report(done: int, total: int) -> None:
            with self._lock:
                self._jobs[key] = Job(words=words, done=done, total=total)
            self._on_change()

        try:
            work(report)
        finally:
            with self._lock:
                del self._jobs[key]
            self._on_change()
