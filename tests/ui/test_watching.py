"""The store is looked at while somebody looks at the page, and not after that; long work has a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from batchkit.errors import StateError
from batchkit.ui import watching
from batchkit.ui.jobs import Job, Jobs
from batchkit.ui.watching import Watcher


def eventually(check: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


def watchers() -> set[threading.Thread]:
    """Those of other views included."""
    return {each for each in threading.enumerate() if each.name == "batchkit watcher"}


def test_nobody_looks_before_the_page_is_displayed() -> None:
    others = watchers()
    looks: list[int] = []
    watcher = Watcher(lambda: looks.append(1), lambda: False, seconds=0.01)
    time.sleep(0.05)
    assert (looks, watcher.awake) == ([], False)
    watcher.seen()
    watcher.seen()
    eventually(lambda: len(looks) > 2)
    assert threading.active_count() >= 2
    assert len(watchers() - others) == 1
    watcher.close()


def test_looking_ends_once_the_page_is_gone_and_begins_again_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_SIGHT_SECONDS", 0.1)
    looks: list[int] = []
    watcher = Watcher(lambda: looks.append(1), lambda: False, seconds=0.01)
    watcher.seen()
    eventually(lambda: not watcher.awake)
    count = len(looks)
    assert count > 0
    watcher.seen()
    eventually(lambda: len(looks) > count)
    watcher.close()


def test_what_goes_on_here_is_looked_at_though_the_page_cannot_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_SIGHT_SECONDS", 0.02)
    busy = threading.Event()
    busy.set()
    looks: list[int] = []
    watcher = Watcher(lambda: looks.append(1), busy.is_set, seconds=0.01)
    watcher.seen()
    eventually(lambda: len(looks) > 10)
    busy.clear()
    eventually(lambda: not watcher.awake)
    watcher.close()


def test_a_job_says_how_far_it_is_and_stands_alone() -> None:
    seen: list[dict[str, Job]] = []
    go = threading.Event()
    jobs = Jobs(lambda: seen.append(jobs.running))

    def work(report: Callable[[int, int], None]) -> None:
        report(1, 2)
        go.wait(20)

    jobs.start("b1", "Cancelling", work)
    eventually(lambda: jobs.running == {"b1": Job(words="Cancelling", done=1, total=2)})
    with pytest.raises(StateError, match="Cancelling is still under way"):
        jobs.start("b1", "Deleting", work)
    jobs.start("b2", "Deleting", lambda _report: None)
    go.set()
    eventually(lambda: not jobs.running)
    jobs.start("b1", "Deleting", lambda _report: None)
    eventually(lambda: seen[-1] == {})
