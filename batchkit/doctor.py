"""What is looked at where something does not run: each thing with how it stands, and what to do about it."""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import batchkit
from batchkit.core.lifecycle import BatchStatus
from batchkit.core.record import BatchRecord
from batchkit.core.wake import RESTING
from batchkit.errors import BatchkitError
from batchkit.targets.asteroid import AsteroidTarget
from batchkit.workspace import Workspace

__all__ = ["Finding", "examine", "versions"]

#: whose versions explain most of what differs between two machines; those not installed are left out
_PACKAGES = (
    "pandas", "httpx", "aiohttp", "sqlalchemy", "psycopg", "procrastinate", "anywidget", "ipykernel", "jupyterlab",
    "voila",
)  # fmt: skip
#: seconds a write may take before the disk is called slow, and the platform's clock may be off
_SLOW_WRITE, _CLOCK_OFF = 0.5, 5.0
#: bytes; less free than this is little
_LITTLE = 500e6
#: so many batches are named
_MOST_NAMED = 5
#: kept under this name for the moment it takes to see whether the store can be written
_TRY = "batchkit doctor"
_WORKERS = {"worker": "a worker", "cluster": "the workers of a cluster"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    #: how it stands, a sentence
    text: str
    #: what to do; empty: it is as it should be
    advice: str = ""

    @property
    def good(self) -> bool:
        """Whether there is nothing to do."""
        return not self.advice


def versions() -> Finding:
    """What is installed."""
    parts = [f"batchkit {batchkit.__version__}", f"Python {platform.python_version()}", platform.system()]
    for name in _PACKAGES:
        try:
            parts.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return Finding(subject="versions", text=", ".join(parts))


def examine(ws: Workspace) -> Iterator[Finding]:
    """Look at the workspace's store, its batches, who runs them, its platform and the clock, one after the other.

    A part that fails is a finding, too. Nothing is changed, and nothing is sent but questions.
    """
    for subject, look in (
        ("store", _store),
        ("batches", _batches),
        ("engine", _engine),
        ("platform", _platform),
        ("clock", _clock),
    ):
        yield _found(subject, look, ws)


def _found(subject: str, look: Callable[[Workspace], tuple[str, str]], ws: Workspace) -> Finding:
    try:
        text, advice = look(ws)
    except BatchkitError as error:
        # Such a message ends with what to do.
        return Finding(subject=subject, text="It cannot be used.", advice=str(error))
    return Finding(subject=subject, text=text, advice=advice)


def _store(ws: Workspace) -> tuple[str, str]:
    # Opens it, which is not what a write takes.
    number = len(_records(ws))
    begun = time.monotonic()
    ws.engine.call(ws.store.save_mapping(_TRY, _TRY, {}))
    seconds = time.monotonic() - begun
    ws.engine.call(ws.store.delete_mapping(_TRY, _TRY))
    text = f"{ws.store.label}: {_counted(number, 'batch', 'batches')}, a write takes {seconds * 1000:,.0f} ms"
    path = ws.store_address
    advice = []
    if isinstance(path, Path):
        size, free = path.stat().st_size, shutil.disk_usage(path.parent).free
        text += f", {size / 1e6:,.1f} MB, {free / 1e9:,.1f} GB free"
        if free < max(_LITTLE, size):
            advice.append("Free some space: once the disk is full nothing more is sent.")
    if seconds > _SLOW_WRITE:
        faster = (
            "put the store on a faster local disk, with BATCHKIT_STORE."
            if isinstance(path, Path)
            else "look at the way to the database's server, and at its disk."
        )
        advice.append(f"Writes are slow: {faster}")
    return text, " ".join(advice)


def _batches(ws: Workspace) -> tuple[str, str]:
    records = [record for record in _records(ws) if not record.archived]
    open_ones = [record for record in records if not record.status.final]
    counts = {status: sum(record.status is status for record in open_ones) for status in BatchStatus}
    text = ", ".join(f"{number:,} {status}" for status, number in counts.items() if number) or "none is under way"
    advice = []
    if late := [record for record in open_ones if record.interrupted and record.start_at <= ws.clock.now()]:
        way = "`batchkit worker` with their platform and key takes such batches over, `batchkit resume ID` one of them."
        if ws.cluster is not None:
            way = (
                "start `batchkit worker --cluster` with their platform and key, or see what those at work say of them."
            )
        advice.append(f"Nobody runs {_named(late)}: {way}")
    if paused := [record for record in open_ones if record.status is BatchStatus.PAUSED and record.reason]:
        reasons = " ".join(f"{record.id}: {record.reason}" for record in paused[:_MOST_NAMED])
        advice.append(f"Paused by themselves: {reasons} Once that is mended, `batchkit resume ID`.")
    if doubtful := [record for record in records if record.progress.in_doubt]:
        rows = sum(record.progress.in_doubt for record in doubtful)
        advice.append(
            f"{_counted(rows, 'row is', 'rows are')} in doubt in {_named(doubtful)}: `batchkit show ID` says what "
            "becomes of them."
        )
    return text, " ".join(advice)


def _engine(ws: Workspace) -> tuple[str, str]:
    held = [record for record in _records(ws) if record.runner_alive and record.runner != RESTING]
    runners = {record.runner for record in held}
    text = f"{_counted(len(runners), 'process runs', 'processes run')} {_counted(len(held), 'batch', 'batches')}"
    if ws.engine_kind != "kernel":
        text = f"batches are left to {_WORKERS[ws.engine_kind]} (BATCHKIT_ENGINE); {text}"
    waiting = [record for record in _records(ws) if record.status is BatchStatus.RUNNING and not record.runner_alive]
    needed, flag = ws.engine_kind != "kernel" and bool(waiting) and not runners, ""
    if ws.cluster is not None:
        # Those that have nothing to do are in the queue's database, too.
        count = ws.engine.call(ws.cluster.workers())
        text += f"; {_counted(count, 'worker is', 'workers are')} at work"
        needed, flag = not count, " --cluster"
    advice = f"No worker is at work: start `batchkit worker{flag}` with the same store, platform and key."
    return text, advice if needed else ""


def _platform(ws: Workspace) -> tuple[str, str]:
    begun = time.monotonic()
    agents = ws.engine.call(ws.target.agents())
    seconds = time.monotonic() - begun
    info = ws.target.info
    name = f"{info.label} at {info.url}" if info.label and info.label not in info.url else info.url
    text = f"{name}: {_counted(len(agents), 'agent', 'agents')}, an answer takes {seconds * 1000:,.0f} ms"
    return text, "" if agents else "There is no agent to run: make one there, or check that the key is of that account."


def _clock(ws: Workspace) -> tuple[str, str]:
    here = ws.clock.now().astimezone()
    text, advice = f"{here:%Y-%m-%d %H:%M:%S} {here.tzname()}", ""
    for whose, ask in _other_clocks(ws):
        asked = time.monotonic()
        told = ask()
        if told is None:
            text += f"; {whose} does not tell its own"
            continue
        off = _off(told, ws.clock.now(), time.monotonic() - asked)
        if off:
            way = "ahead of" if off > timedelta() else "behind"
            text += f", {abs(off.total_seconds()):,.0f} s {way} {whose}'s"
            advice = "Let this machine set its clock by the network: start times follow it."
        else:
            text += f", as {whose}'s"
    return text, advice


def _other_clocks(ws: Workspace) -> Iterator[tuple[str, Callable[[], datetime | None]]]:
    """Whose clocks this machine's is to agree with, each with a way to ask for it."""
    target, store = ws.target, ws.store
    if isinstance(target, AsteroidTarget):
        yield "the platform", lambda: ws.engine.call(target.clock())
    if not isinstance(ws.store_address, Path):
        yield "the database", lambda: ws.engine.call(store.server_time())


def _off(told: datetime, now: datetime, took: float) -> timedelta:
    """How far this clock is ahead of one that told whole seconds within the last `took` seconds; 0: hardly."""
    off = now - told
    return off if abs(off.total_seconds()) > _CLOCK_OFF + took else timedelta()


def _records(ws: Workspace) -> list[BatchRecord]:
    return ws.engine.call(ws.store.batches())


def _named(records: Sequence[BatchRecord]) -> str:
    named = ", ".join(f"{record.name!r} ({record.id})" for record in records[:_MOST_NAMED])
    more = len(records) - _MOST_NAMED
    return f"{named} and {more:,} more" if more > 0 else named


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
