"""Processes of a test, which are killed, stopped and continued from it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path

import psutil
from batches import eventually
from long_form import FULL

import batchkit as bk

__all__ = ["PATIENCE", "Processes", "commands", "requests_later"]

#: seconds for a process to do its work, however busy the machine is; it only guards against a hang
PATIENCE = 1200.0 if FULL else 240.0

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["pytest", "batchkit.workspace", "batchkit.core.validation", "batchkit.core.results", "batchkit.targets.demo"]
)


def requests_later(demo: bk.DemoPlatform, count: int) -> None:
    """Return once so many more execute requests have reached the platform."""
    wanted = demo.requests.count + count
    eventually(lambda: demo.requests.count >= wanted)


@contextmanager
def commands(folder: Path, **environment: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """What starts `batchkit ARGS`; all of them end with this. The n-th one writes what it says to out-n.txt."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "batchkit", *arguments]
        with (folder / f"out-{len(started)}.txt").open("w") as out:
            process = subprocess.Popen(
                command, env=os.environ | environment, stdout=out, stderr=subprocess.STDOUT, text=True
            )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


class Processes:
    """Processes of this test, all of which end with it."""

    def __init__(self) -> None:
        self._all: list[BaseProcess] = []

    def start(self, work: Callable[..., None], *args: object) -> BaseProcess:
        process = _CONTEXT.Process(target=work, args=args, daemon=True)
        process.start()
        self._all.append(process)
        return process

    def barrier(self, count: int) -> Barrier:
        """For so many processes, to begin at once."""
        return _CONTEXT.Barrier(count)

    def kill(self, process: BaseProcess) -> None:
        process.kill()
        process.join(30)
        assert process.exitcode is not None

    def stop(self, process: BaseProcess) -> None:
        """Freeze it; returns once it stands still."""
        assert process.pid is not None
        os.kill(process.pid, signal.SIGSTOP)
        self.stands_still(process)

    def stands_still(self, process: BaseProcess) -> None:
        """Return once it is stopped, by itself or from here."""
        eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)

    def go_on(self, process: BaseProcess) -> None:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGCONT)

    def ends(self, process: BaseProcess, code: int = 0, seconds: float = PATIENCE + 10.0) -> None:
        process.join(seconds)
        assert process.exitcode == code, f"exit code {process.exitcode}"

    def end_all(self) -> None:
        for process in self._all:
            process.kill()
            process.join(30)
