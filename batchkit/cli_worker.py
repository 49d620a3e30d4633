"""`batchkit worker` and `batchkit backup`: keeping batches going, and keeping them safe."""

from __future__ import annotations

import signal
from argparse import Namespace
from contextlib import ExitStack
from pathlib import Path
from threading import Event

from batchkit.cli_watch import opened
from batchkit.targets.function import FunctionTarget
from batchkit.terminal import SIGNALS, Exit, say, visible
from batchkit.worker import Worker
from batchkit.workspace import Workspace

__all__ = ["backup", "worker"]


def worker(args: Namespace) -> Exit:
    """Run what nobody runs, until a signal; then finish what is under way."""
    stop = Event()
    with ExitStack() as stack:
        if args.reference is None:
            ws = stack.enter_context(opened(args.store))
        else:
            ws = stack.enter_context(Workspace(FunctionTarget.load(args.reference), store=args.store))

        def tell(line: str) -> None:
            say(f"{ws.clock.now():%Y-%m-%dT%H:%M:%SZ}  {visible(line)}", wrap=False)

        for number in SIGNALS:
            signal.signal(number, lambda *_: stop.set())
        label = ws.target.info.label or ws.target.info.url
        tell(f"worker  started: batches for {label} in {ws.store.label}")
        Worker(ws, tell).run(stop)
        tell("worker  stopping: what is under way is recorded first")
    return Exit.OK


def backup(args: Namespace) -> Exit:
    """A consistent copy of the store, while others use it."""
    with opened(args.store, existing=True) as ws:
        ws.backup(args.path)
        size = Path(args.path).stat().st_size
        say(f"Copied {ws.store.label} to {args.path} ({size / 1e6:,.1f} MB).")
    return Exit.OK
