"""The command line: one command is run, and ends with an exit code. What commands do is loaded when one is run."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module

from batchkit.cli_parser import parser
from batchkit.errors import BatchError, BatchkitError, StateError, StoreError, TargetError
from batchkit.terminal import INTERRUPTION, Exit, warn

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code, see `terminal.Exit`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    args = parser().parse_args(argv)
    code = int(Exit.INTERRUPTED)
    with INTERRUPTION.heard():
        with suppress(KeyboardInterrupt):
            code = _ended(args)
        if argv is None:
            INTERRUPTION.leave(code)
    return code


def _ended(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    try:
        command: Callable[[argparse.Namespace], Exit] = getattr(import_module(args.module), args.function)
        return int(command(args))
    except KeyboardInterrupt:
        warn("Interrupted.")
        return int(Exit.INTERRUPTED)
    except BatchkitError as error:
        warn(f"batchkit: {error}")
        return int(_exit_of(error))


def _exit_of(error: BatchkitError) -> Exit:
    if isinstance(error, TargetError | StoreError):
        return Exit.UNAVAILABLE
    return Exit.STOPPED if isinstance(error, BatchError | StateError) else Exit.WRONG
