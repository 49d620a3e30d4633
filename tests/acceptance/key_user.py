"""What a program does that uses batchkit with an API key: many steps that fail, and showing all there is to show.

Run in a process or a notebook of its own by test_secrets.py. The key is in the environment: as BATCHKIT_API_KEY where
batchkit is to find it there, and always as KEY, from where it is passed.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import shutil
import sqlite3
import sys
import time
import traceback
import urllib.request
from base64 import b64encode
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

from ipywidgets import widgets

import batchkit as bk
from batchkit.testing import ScriptedTarget

__all__ = ["END", "MODES", "STEPS", "KeyUser"]

#: how the gateway can answer
MODES = ("ok", "401", "400", "500", "200", "202", "cut_202", "cut_400", "garbage", "close", "302", "307", "308")
STEPS = (
    *(f"trigger {mode}" for mode in MODES),
    *(f"fetch {mode}" for mode in MODES),
    "refused_connection",
    "plain_http_beyond_loopback",
    "plain_http_in_the_environment",
    "key_without_address",
    "mistaken_settings",
    "mispasted_key_passed",
    "mispasted_key_in_the_environment",
    "mispasted_secret",
    "key_of_bytes",
    "key_as_address",
    "key_in_the_address",
    "mistyped_agent",
    "batch_of_another_target",
    "pickling",
    "everything",
)

#: printed where what must not show the key ends
END = "== this was all"
#: modules whose objects are looked into; the rest is not about requests
OURS = ("batchkit", "builtins", "collections", "aiohttp", "httpx", "multidict", "yarl", "key_user", "concurrent")


class KeyUser:
    """Somebody with a workspace on the gateway."""

    def __init__(self) -> None:
        self.home = Path(os.environ["HOME"])
        self.url = os.environ["GATEWAY"]
        logging.basicConfig(level=logging.DEBUG, filename=self.home / "debug.log", force=True)
        for name in ("asyncio", "aiohttp", "httpx", "sqlalchemy", "batchkit"):
            logging.getLogger(name).setLevel(logging.DEBUG)
        given = () if "BATCHKIT_API_KEY" in os.environ else (self.url, bk.Secret(the_key()))
        target = bk.AsteroidTarget(*given, retry_delays=(0.01,))
        target.poll_interval = 0.05
        self.ws = bk.Workspace(target)

    def step(self, name: str) -> None:
        """Take one of STEPS."""
        what, *mode = name.split(" ")
        getattr(self, what)(*mode)

    def gateway(self, mode: str) -> None:
        """Have the gateway answer everything so from now on but execute requests, whose rows say it themselves."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        direct.open(f"{self.url}/mode/{mode}").close()

    def trigger(self, mode: str) -> None:
        """A batch whose rows are answered in that way, and all that can be seen of it."""
        self.gateway("ok")
        table = bk.read_csv(f"value\n{mode}\n{mode}\n".encode())
        agent = self.ws.agent("Filer")
        checked = self.ws.validate(table, self.ws.suggest_mapping(table, agent), agent)
        batch = self.ws.create_batch(checked, bk.BatchConfig(name=mode, batch_interval=0, max_concurrent=1))
        deadline = time.monotonic() + 60
        while batch.status == "running" and batch.progress.pending + batch.progress.triggering:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        show(batch, batch.record, batch.progress, batch.events(), batch.items(), batch.results())
        bk.write_csv(batch.results(), self.home / f"{mode}.csv")
        if batch.status == "running":
            batch.cancel()
        batch.join("finished")

    def fetch(self, mode: str) -> None:
        self.gateway(mode)
        show(self.ws.agents(), self.ws.profiles())

    def refused_connection(self) -> None:
        target = bk.AsteroidTarget("http://127.0.0.1:9", the_key(), retry_delays=())
        with bk.Workspace(target, store=self.home / "refused.sqlite") as ws:
            ws.agents()

    def plain_http_beyond_loopback(self) -> None:
        bk.AsteroidTarget("http://192.0.2.1", the_key())

    def plain_http_in_the_environment(self) -> None:
        with patch.dict(os.environ, BATCHKIT_URL="http://192.0.2.1", BATCHKIT_API_KEY=the_key()):
            bk.Workspace()

    def key_without_address(self) -> None:
        with patch.dict(os.environ, BATCHKIT_URL="", BATCHKIT_API_KEY=the_key()):
            bk.Workspace()

    def mistaken_settings(self) -> None:
        bk.AsteroidTarget(self.url, the_key(), max_connections=0)

    def mispasted_key_passed(self) -> None:
        bk.AsteroidTarget(self.url, the_key() + "\n" + the_key())

    def mispasted_key_in_the_environment(self) -> None:
        os.environ["OTHER_KEY"] = the_key() + "\N{NON-BREAKING HYPHEN}"
        bk.Secret.from_reference("env:OTHER_KEY")

    def mispasted_secret(self) -> None:
        bk.Secret(the_key() + " " + the_key())

    def key_of_bytes(self) -> None:
        bk.Secret(the_key().encode())  # type: ignore[arg-type]

    def key_as_address(self) -> None:
        bk.AsteroidTarget(the_key(), self.url)

    def key_in_the_address(self) -> None:
        bk.AsteroidTarget(f"{self.url}?key={the_key()}", the_key())

    def mistyped_agent(self) -> None:
        self.gateway("ok")
        self.ws.agent("Filler")

    def batch_of_another_target(self) -> None:
        with bk.Workspace(ScriptedTarget(), store=self.ws.store.label) as other:
            other.batches()[0].take_over()

    def pickling(self) -> None:
        for each in (self.ws, self.ws.target, bk.Secret(the_key()), self.ws.batches()[0]):
            for way in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps, vars, dir, format, str):
                try:
                    print(way(each))
                except Exception:
                    show_error()

    def everything(self) -> None:
        """Every object that can be reached from the workspace, as it shows itself."""
        pending: list[object] = [self.ws]
        seen: dict[int, object] = {}
        while pending:
            each = pending.pop()
            if id(each) in seen or isinstance(each, type) or not type(each).__module__.startswith(OURS):
                continue
            seen[id(each)] = each
            show(each)
            if isinstance(each, dict):
                pending += [*each.keys(), *each.values()]
            elif isinstance(each, list | tuple | set | frozenset):
                pending += each
            pending += vars(each).values() if hasattr(each, "__dict__") else []
            names = [name for kind in type(each).__mro__ for name in getattr(kind, "__slots__", ())]
            pending += [getattr(each, name, None) for name in names if isinstance(name, str)]
        kinds = {type(each).__name__ for each in seen.values()}
        assert {"Connection", "Secret", "AiohttpTransport", "ClientSession", "TCPConnector"} <= kinds, kinds

    def widgets(self) -> widgets.Widget:
        """Everything there is to look at in a notebook, whose state is saved with it."""
        shown: list[widgets.Widget] = []
        for mode in ("401", "ok"):
            self.gateway(mode)
            wizard = self.ws.wizard(bk.read_csv(b"value\nok\n"), agent="Filer")
            told = "Not with" if mode == "401" else "Filer"
            deadline = time.monotonic() + 60
            while told not in json.dumps(wizard.drawn()):
                assert time.monotonic() < deadline, wizard.snapshot
                time.sleep(0.05)
            shown += [wizard]
        dashboard = self.ws.dashboard()
        while self.ws.batches()[0].name not in json.dumps(dashboard.drawn()):
            assert time.monotonic() < deadline, dashboard.snapshot
            time.sleep(0.05)
        return widgets.VBox([*shown, dashboard, *(widgets.Text(repr(each)) for each in (self.ws, *self.ws.batches()))])

    def keep_copies(self) -> None:
        """Copy all files as they are while they are open. What follows is only there to be found."""
        copies = self.home.with_name("while open")
        history = "history.sqlite"
        # a thread of the kernel writes to it at any time
        shutil.copytree(self.home, copies, ignore=shutil.ignore_patterns(f"{history}*"))
        if (self.home / history).exists():
            original, copied = sqlite3.connect(self.home / history), sqlite3.connect(copies / history)
            with closing(original), closing(copied):
                original.backup(copied)
        print(END, flush=True)
        print(END, file=sys.stderr)

    def leak_in_a_widget(self) -> widgets.Widget:
        return widgets.Text(the_key())

    def leak(self) -> None:
        """Show the key, or a part of it, in the ways in which it must not be shown."""
        key = the_key()
        print(key[3:20])
        print(f"a{key}", file=sys.stderr)
        logging.getLogger("mine").debug("the key is %s", b64encode(key.encode()))
        self.gateway("ok")
        table = bk.read_csv(b"value\nok\n")
        agent = self.ws.agent("Filer")
        checked = self.ws.validate(table, self.ws.suggest_mapping(table, agent), agent)
        self.ws.create_batch(checked, bk.BatchConfig(name=f"For {key}", start_at="2999-01-01T00:00Z"))
        log = Path(f"{self.ws.store.label}-wal")
        shutil.copy(log, self.home / log.name)
        self.ws.close()


def the_key() -> str:
    # where a line names os.environ, some ways of showing an error show all of it
    return os.environ["KEY"]


def show(*values: object) -> None:
    for value in values:
        try:
            print(repr(value), value)
        except Exception as error:
            print(type(value), error)


def show_error() -> None:
    """The error being handled, with the variables of every frame, and in the log."""
    logging.getLogger("mine").exception("a step failed")
    error = sys.exc_info()[1]
    while error is not None:
        print(*traceback.format_exception_only(error))
        for frame, _ in traceback.walk_tb(error.__traceback__):
            print(frame)
            for name, value in frame.f_locals.items():
                show(name, value)
        error = error.__cause__ or error.__context__


if __name__ == "__main__":
    user = KeyUser()
    for name in STEPS:
        print(f"== {name}")
        try:
            user.step(name)
        except Exception:
            show_error()
    user.keep_copies()
    user.leak()
