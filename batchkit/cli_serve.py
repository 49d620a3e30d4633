"""`batchkit serve` and `batchkit demo`: wizard and dashboard in the browser."""

from __future__ import annotations

import os
import signal
import sys
import webbrowser
from argparse import Namespace
from contextlib import suppress
from threading import Event, Thread

from batchkit.cli_run import demo as demo_in_terminal
from batchkit.cli_watch import opened, timed_lines
from batchkit.errors import EngineError
from batchkit.io.address import spelled
from batchkit.serve import PAGES, Pages
from batchkit.terminal import SIGNALS, Exit, say, visible, warn
from batchkit.worker import Worker

__all__ = ["demo", "serve"]

#: what would lead a page's kernel to another platform
_PLATFORM = ("BATCHKIT_URL", "BATCHKIT_API_KEY")
_HERE = (
    "Batches run here, in this process, whatever becomes of the pages. Ctrl-C ends both; a batch goes on with the next "
    "`batchkit serve` or `batchkit worker`."
)
_CLUSTER = (
    "Batches run in the workers of the cluster, each a `batchkit worker --cluster`, whatever becomes of the pages. "
    "Ctrl-C ends the pages only."
)
#: where the browser mostly runs on another machine
_HUB = (
    "JupyterHub does not pass these addresses on: they open on this machine only. From elsewhere, open a notebook with "
    "`ws.wizard()` or `ws.dashboard()` in JupyterLab, or as a page at {prefix}voila/render/NAME.ipynb."
)


def demo(args: Namespace) -> Exit:
    """The pages on the demo platform, or with --headless a small batch in the terminal."""
    return demo_in_terminal(args) if args.headless else _serve(args, demo=True)


def serve(args: Namespace) -> Exit:
    """The pages on the platform the environment names, until a signal."""
    return _serve(args, owner=args.owner)


def _serve(args: Namespace, *, demo: bool = False, owner: str | None = None) -> Exit:
    stop = Event()
    # Pages for one person never show what an admin's environment would let them show.
    with opened(args.store, demo=demo, owner=owner, admin=None if owner is None else False) as ws:
        is_cluster = ws.engine_kind == "cluster"
        engine = "cluster" if is_cluster else "worker"
        environment = {"BATCHKIT_STORE": spelled(ws.store_address), "BATCHKIT_ENGINE": engine}
        if demo:
            environment |= dict.fromkeys(_PLATFORM, "")
        if owner is not None:
            environment |= {"BATCHKIT_OWNER": owner, "BATCHKIT_ADMIN": ""}
        say("Starting the pages, which takes a few seconds.")
        with Pages(port=args.port, environment=environment) as pages:
            for number in SIGNALS:
                signal.signal(number, lambda *_: stop.set())
            whose = "the batches" if ws.viewer.sees_all else f"the batches of {visible(ws.actor)}"
            say(f"\nOn {ws.target.info.label or ws.target.info.url}, with {whose} in {ws.store.label}.\n")
            for page, title in PAGES.items():
                say(f"  {title + ':':<11} {pages.address(page)}", wrap=False)
            say(f"\nThe addresses hold a key that opens the pages: for you only. {_CLUSTER if is_cluster else _HERE}")
            if prefix := os.environ.get("JUPYTERHUB_SERVICE_PREFIX"):
                say(_HUB.format(prefix=prefix))
            if args.browser and sys.stdout.isatty():
                with suppress(webbrowser.Error):
                    webbrowser.open(pages.address("wizard"))
            Thread(target=_stop_with, args=(pages, stop), daemon=True).start()
            if is_cluster:
                stop.wait()
            else:
                Worker(ws, timed_lines(ws)).run(stop)
            if not pages.running:
                raise EngineError("Voila has ended by itself, so the pages are gone. Start `batchkit serve` again.")
            if not is_cluster:
                warn("Ending: what is under way is recorded first.")
    return Exit.OK


def _stop_with(pages: Pages, stop: Event) -> None:
    pages.wait()
    stop.set()
