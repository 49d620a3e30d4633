"""Serving wizard and dashboard as web pages: Voila on loopback, with a worker beside it that runs the batches.

The pages' kernels only make and steer batches, so that a closed tab or an ended kernel changes nothing.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from batchkit.errors import ConfigError, EngineError

__all__ = ["PAGES", "Pages"]

#: what is served, and what each page calls itself
PAGES = {"wizard": "New batch", "dashboard": "Batches"}
#: what shows each page, with the way to the other
_VIEWS = {"wizard": 'ws.wizard(dashboard="dashboard.ipynb")', "dashboard": 'ws.dashboard(wizard="wizard.ipynb")'}
_HOST = "127.0.0.1"
#: what the pages may load: what this server gives them
_CONTENT = "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'self'"
#: Voila, which ends with the process that began it, however that ends: then nothing holds the other end of its input
_VOILA = """
import os, runpy, signal, sys, threading

def watch():
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=watch, daemon=True).start()
sys.argv = ["voila", "--no-browser"]
runpy.run_module("voila", run_name="__main__", alter_sys=True)
"""
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
#: what a page may say to its kernel: what widgets say, and no code to run
_MESSAGES = [
    "comm_open", "comm_close", "comm_msg", "comm_info_request", "kernel_info_request", "shutdown_request",
]  # fmt: skip
#: a page's kernel ends so many seconds after its tab was closed
_IDLE_SECONDS = 900


class Pages:
    """A Voila server for as long as the context lasts.

    port: 0 takes a free one. environment: for the pages' kernels, beside this process's own.
    Raises ConfigError where Voila is not installed or the port is taken, EngineError where it does not start.
    """

    def __init__(self, *, port: int = 0, environment: Mapping[str, str]) -> None:
        if find_spec("voila") is None:
            raise ConfigError("The pages need Voila, which is not installed: pip install 'batchkit[lab]'.")
        self._environment = {**os.environ, **environment}
        self._port = _free_port(port)
        self._token = secrets.token_urlsafe(24)
        self._folder = tempfile.TemporaryDirectory(prefix="batchkit-pages-")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        folder = Path(self._folder.name)
        (folder / "pages").mkdir()
        for page in PAGES:
            (folder / "pages" / f"{page}.ipynb").write_text(json.dumps(_notebook(page)), "utf-8")
        # Not on the command line, which every user of the machine can read; the folder is this user's alone.
        (folder / "voila.json").write_text(json.dumps(self._settings(folder / "pages")), "utf-8")
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _VOILA],
                cwd=folder,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is this process's, which then ends the other.
                start_new_session=True,
            )
        try:
            self._await_start(folder / "log")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._folder.cleanup()

    def address(self, page: str) -> str:
        """Where that page is, with the token that opens it."""
        return f"http://{_HOST}:{self._port}/voila/render/{page}.ipynb?token={self._token}"

    @property
    def running(self) -> bool:
        """Whether the server is there."""
        return self._process is not None and self._process.poll() is None

    def wait(self) -> None:
        """Return when the server has ended."""
        if self._process is not None:
            self._process.wait()

    def _settings(self, pages: Path) -> dict[str, Any]:
        return {
            "Voila": {
                "ip": _HOST,
                "port": self._port,
                "port_retries": 0,
                "open_browser": False,
                "token": self._token,
                "root_dir": str(pages),
                # Voila's template asks a content network for a font; where there is no network, the page would hang.
                "tornado_settings": {
                    "headers": {"Content-Security-Policy": _CONTENT},
                    # A page that is left ends its kernel by a request without this cookie, which Voila never sets.
                    # The server refuses what comes from another origin in any case.
                    "disable_check_xsrf": True,
                },
            },
            "VoilaConfiguration": {"file_allowlist": [], "show_tracebacks": True},
            "MappingKernelManager": {
                "cull_interval": 60,
                "cull_idle_timeout": _IDLE_SECONDS,
                "allowed_message_types": _MESSAGES,
            },
        }

    def _await_start(self, log: Path) -> None:
        deadline = time.monotonic() + _START_SECONDS
        # No proxy of the environment has a say in what is asked of this machine.
        ask = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
        while time.monotonic() < deadline:
            if not self.running:
                break
            try:
                ask(f"http://{_HOST}:{self._port}/login", timeout=5).close()
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
            else:
                return
        said = log.read_text("utf-8", "replace").strip().splitlines()[-5:]
        raise EngineError("\n".join(["Voila did not start. It said:", *said]))


def _free_port(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise ConfigError(f"Port {port} cannot be used: {error.strerror}. Name another, or none.") from error
        return int(probe.getsockname()[1])


def _notebook(page: str) -> dict[str, Any]:
    """A notebook that shows that page, with links to all."""
    links = " · ".join(f"**{title}**" if name == page else f"[{title}]({name}.ipynb)" for name, title in PAGES.items())
    source = f"import batchkit as bk\n\nws = bk.Workspace()\n{_VIEWS[page]}"
    code: dict[str, Any] = {
        "cell_type": "code",
        "id": "page",
        "execution_count": None,
        "outputs": [],
        "metadata": {},
        "source": source,
    }
    return {
        "cells": [{"cell_type": "markdown", "id": "links", "metadata": {}, "source": links}, code],
        "metadata": {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "title": f"batchkit: {PAGES[page]}",
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
