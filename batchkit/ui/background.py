"""Work that takes its time beside a view: of each kind only the newest counts."""

from __future__ import annotations

import threading
from collections.abc import Callable

from batchkit.errors import BatchkitError

__all__ = ["Background", "Superseded", "Task"]


class Superseded(Exception):
    """Newer work of the same kind has begun, or it was cancelled: this one ends."""


class Task:
    """One piece of work, as it is seen from within."""

    def __init__(self, words: str, on_change: Callable[[], object]) -> None:
        #: what is done, for people
        self.words = words
        #: 0 to 1; None: not known
        self.share: float | None = None
        self._on_change = on_change
        self._ended = False

    @property
    def is_current(self) -> bool:
        """Whether its outcome still counts."""
        return not self._ended

    def report(self, share: float) -> None:
        """Tell how far it is. Raises Superseded where nobody waits for it any more."""
        if self._ended:
            raise Superseded
        self.share = share
        self._on_change()

    def end(self) -> None:
        """Its outcome does not count any more."""
        self._ended = True


class Background:
    """Runs tasks, each on a thread of its own.

    on_change: something began, went on or ended; called from any thread. on_error: what failed without being expected,
    and its kind. on_done: the kind of what went well.
    """

    def __init__(
        self,
        on_change: Callable[[], object],
        on_error: Callable[[BaseException, str], object],
        on_done: Callable[[str], object],
    ) -> None:
        self._on_change = on_change
        self._on_error = on_error
        self._on_done = on_done
        self._lock = threading.Lock()
        self._tasks: dict[str, Task] = {}

    @property
    def running(self) -> dict[str, Task]:
        """What is under way, by kind."""
        with self._lock:
            return dict(self._tasks)

    def start(
        self,
        kind: str,
        words: str,
        work: Callable[[Task], object],
        on_failure: Callable[[BatchkitError], object] | None = None,
    ) -> None:
        """Begin `work`; what was under way of the same kind does not count any more.

        on_failure: told what batchkit raised on purpose; without it, that is shown as an error.
        """
        task = Task(words, self._on_change)
        with self._lock:
            before = self._tasks.get(kind)
            if before is not None:
                before.end()
            self._tasks[kind] = task
        self._on_change()
        threading.Thread(
            target=self._run, args=(kind, task, work, on_failure), name=f"batchkit {kind}", daemon=True
        ).start()

    def cancel(self, kind: str) -> None:
        """What is under way of that kind does not count any more."""
        with self._lock:
            task = self._tasks.pop(kind, None)
        if task is not None:
            task.end()
            self._on_change()

    def close(self) -> None:
        """End everything."""
        for kind in self.running:
            self.cancel(kind)

    def _run(
        self,
        kind: str,
        task: Task,
        work: Callable[[Task], object],
        on_failure: Callable[[BatchkitError], object] | None,
    ) -> None:
        try:
            work(task)
            if task.is_current:
                self._on_done(kind)
        except Superseded:
            pass
        except BatchkitError as error:
            if not task.is_current:
                return
            if on_failure is None:
                self._on_error(error, kind)
            else:
                on_failure(error)
        except Exception as error:  # shown in the page: nobody else would see it
            if task.is_current:
                self._on_error(error, kind)
        finally:
            with self._lock:
                if self._tasks.get(kind) is task:
                    del self._tasks[kind]
            task.end()
            self._on_change()
