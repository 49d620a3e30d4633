"""Functions that note each of their calls in a file, and can end their process: what a worker is made to call."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import batchkit as bk

__all__ = ["CALLS", "DEADLY", "SECONDS", "calls", "note", "pooled", "where"]

#: where the file is, which values end the process when they come for the first time, and how long a call takes
CALLS, DEADLY, SECONDS = "NOTING_CALLS", "NOTING_DEADLY", "NOTING_SECONDS"


def note(value: str) -> str:
    """The value, doubled."""
    before = value in calls()
    with Path(os.environ[CALLS]).open("a") as file:
        file.write(f"{value}\n")
    if value in os.environ.get(DEADLY, "").split() and not before:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(float(os.environ.get(SECONDS, "0")))
    return value * 2


def calls() -> list[str]:
    """The values of all calls, in the order they came."""
    path = Path(os.environ[CALLS])
    return path.read_text().split() if path.exists() else []


def where(value: str) -> int:
    """The process that calls it."""
    note(value)
    return os.getpid()


def pooled() -> bk.FunctionTarget:
    """`where`, called in processes of a pool."""
    return bk.FunctionTarget(where, executor=ProcessPoolExecutor(2, multiprocessing.get_context("spawn")))
