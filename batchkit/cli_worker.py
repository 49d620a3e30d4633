"""`batchkit worker` and `batchkit backup`: keeping batches going, and keeping them safe; and what a worker logs."""

from __future__ import annotations

import json
import logging
import signal
import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

from batchkit.cli_watch import opened, timed_lines
from batchkit.core.ports import Target
from batchkit.defaults import engine_kind
from batchkit.engine.journal import EVENTS
from batchkit.targets.function import FunctionTarget
from batchkit.targets.named import target_named
from batchkit.terminal import SIGNALS, Exit, say
from batchkit.worker import ClusterWorker, Worker
from batchkit.workspace import Workspace

__all__ = ["backup", "worker"]


def worker(args: Namespace) -> Exit:
    """Run what nobody runs, until a signal; then finish what is under way."""
    stop = Event()
    with ExitStack() as stack:
        kind = engine_kind("cluster" if args.cluster else None)
        for_programs = args.log == "json"
        target = _target(args)
        # It runs the batches of everybody.
        if target is None:
            ws = stack.enter_context(opened(args.store, engine=kind, admin=True, shown=not for_programs))
        else:
            ws = stack.enter_context(Workspace(target, store=args.store, engine=kind, admin=True))

        tell = _json_log() if for_programs else timed_lines(ws)
        for number in SIGNALS:
            signal.signal(number, lambda *_: stop.set())
        label = ws.target.info.label or ws.target.info.url
        tell(f"worker  started: batches for {label} in {ws.store.label}")
        if kind == "cluster":
            ClusterWorker(ws, tell, concurrency=args.concurrency).run(stop)
        else:
            Worker(ws, tell).run(stop)
        tell("worker  stopping: what is under way is recorded first")
    return Exit.OK


def _target(args: Namespace) -> Target | None:
    """The target that is named; None: the platform. Raises ConfigError."""
    if args.reference is None and args.target is None:
        return None
    if "" not in sys.path:
        # Modules of the folder it is started in, as with `python -m`.
        sys.path.insert(0, "")
    return target_named(args.target) if args.target else FunctionTarget.load(args.reference)


def _json_log() -> Callable[[str], None]:
    """Say it as JSON objects, and beside it what becomes of each row, and what goes wrong."""
    handler = _JsonLines()
    logging.getLogger("batchkit").addHandler(handler)
    logging.getLogger(EVENTS).setLevel(logging.INFO)

    def tell(line: str) -> None:
        handler.write("info", {"event": "worker", "message": line})

    return tell


class _JsonLines(logging.Handler):
    """Prints log records as JSON objects, one a line: at, level, event, and the event's fields."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = getattr(record, "batchkit", None) or {"event": "message", "message": record.getMessage()}
        self.write(record.levelname.lower(), fields)

    def write(self, level: str, fields: dict[str, object]) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        # Whoever reads the log may be gone; the rows go on.
        with suppress(OSError):
            print(json.dumps({"at": at, "level": level, **fields}), flush=True)


def backup(args: Namespace) -> Exit:
    """A consistent copy of the store, while others use it."""
    with opened(args.store, existing=True) as ws:
        ws.backup(args.path)
        size = Path(args.path).stat().st_size
        say(f"Copied {ws.store.label} to {args.path} ({size / 1e6:,.1f} MB).")
    return Exit.OK
