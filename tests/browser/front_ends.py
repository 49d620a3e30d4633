"""Voila and JupyterLab on loopback, each with a private folder for its notebooks and all it keeps."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlencode

import nbformat
from playwright.sync_api import expect
from tabs import Tab

__all__ = ["FrontEnd", "JupyterLab", "Voila"]

_TOKEN = "of-the-tests"
_START_SECONDS = 90
_SHOW_MILLISECONDS = 120_000
#: no news from elsewhere, and every output in the page whether or not it is in sight
_LAB_SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
    "docmanager-extension/plugin": {"autosave": False},
}


class FrontEnd:
    """A server of notebooks, running until `close`."""

    name = ""

    def __init__(self, folder: Path) -> None:
        #: where its notebooks lie, and its kernels work
        self.notebooks = folder / "notebooks"
        self.notebooks.mkdir(parents=True)
        self.folder = folder
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        if version := os.environ.get("BATCHKIT_IPYKERNEL"):
            _kernel(folder, version)
        self._log = (folder / "log.txt").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", *self._command()],
            cwd=self.notebooks,
            env=_environment(folder),
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._await_start()

    def _command(self) -> list[str]:
        raise NotImplementedError

    def open(self, tab: Tab, *cells: str, dark: bool = False) -> Tab:
        """Write a notebook of these cells, have it run in `tab`, and wait until it shows a view of batchkit's."""
        raise NotImplementedError

    def write(self, cells: Sequence[str]) -> str:
        """A new notebook's name."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        name = f"{time.monotonic_ns()}.ipynb"
        nbformat.write(notebook, self.notebooks / name)
        return name

    def log(self) -> str:
        return (self.folder / "log.txt").read_text("utf-8", "replace")

    def close(self) -> None:
        """End the server, and the kernels with it."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _await_start(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                urllib.request.urlopen(self.url, timeout=5).close()
            except urllib.error.HTTPError as answer:
                answer.close()
            except OSError:
                time.sleep(0.2)
                continue
            return
        raise RuntimeError(f"{self.name} did not start:\n{self.log()}")


class Voila(FrontEnd):
    """Each `open` is a page with a kernel of its own."""

    name = "Voila"

    def _command(self) -> list[str]:
        return [
            "voila", str(self.notebooks), "--no-browser", f"--port={self.port}", "--Voila.ip=127.0.0.1",
            "--show_tracebacks=True",
        ]  # fmt: skip

    def open(self, tab: Tab, *cells: str, dark: bool = False) -> Tab:
        query = urlencode({"theme": "dark" if dark else "light"})
        tab.page.goto(f"{self.url}/voila/render/{self.write(cells)}?{query}")
        _await_view(tab)
        tab.at_end(lambda: self._end_kernel(tab))
        return tab

    def _end_kernel(self, tab: Tab) -> None:
        """Ask for what Voila forgets to do when a page is closed."""
        tab.page.evaluate(
            """async () => {
              const config = JSON.parse(document.getElementById("jupyter-config-data")?.textContent ?? "{}");
              const xsrf = document.cookie.match("_xsrf=([^;]*)")?.[1] ?? "00";
              document.cookie = `_xsrf=${xsrf}; path=/`;
              const request = {method: "POST", headers: {"X-XSRFToken": xsrf}};
              if (config.kernelId) await fetch(`/voila/api/shutdown/${config.kernelId}`, request);
            }"""
        )


class JupyterLab(FrontEnd):
    """Each `open` is a notebook, run from the first cell to the last."""

    name = "JupyterLab"

    def _command(self) -> list[str]:
        settings = self.folder / "settings"
        for name, values in _LAB_SETTINGS.items():
            path = settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values), "utf-8")
        return [
            "jupyterlab", "--no-browser", f"--port={self.port}", "--ServerApp.ip=127.0.0.1", "--allow-root",
            f"--IdentityProvider.token={_TOKEN}", f"--ServerApp.root_dir={self.notebooks}", "--expose-app-in-browser",
            f"--LabApp.user_settings_dir={settings}", f"--LabApp.workspaces_dir={self.folder / 'workspaces'}",
        ]  # fmt: skip

    def open(self, tab: Tab, *cells: str, dark: bool = False) -> Tab:
        name = self.write(cells)
        workspace = name.removesuffix(".ipynb")
        tab.page.goto(f"{self.url}/lab/workspaces/w{workspace}/tree/{name}?{urlencode({'token': _TOKEN})}")
        tab.page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.isReady")
        # Kept in the server's settings, so that one test's choice would be the next one's.
        theme = f"JupyterLab {'Dark' if dark else 'Light'}"
        tab.page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
        tab.page.wait_for_selector(f"body[data-jp-theme-name='{theme}']", state="attached")
        self.run_all(tab)
        _await_view(tab)
        tab.at_end(lambda: tab.page.evaluate("jupyterapp.shell.currentWidget.sessionContext.shutdown()"))
        return tab

    def run_all(self, tab: Tab) -> None:
        """Run every cell. A fresh kernel may drop the first request: ask until the first cell was begun."""
        _until(lambda: self._runs(tab), "JupyterLab did not run the notebook")

    def _runs(self, tab: Tab) -> bool:
        tab.page.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")
        try:
            expect(tab.page.locator(".jp-CodeCell .jp-InputPrompt").first).to_have_text(
                re.compile(r"\d"), timeout=15_000
            )
        except AssertionError:
            return False
        return True


def _await_view(tab: Tab) -> None:
    """Wait for a view of batchkit's; what a cell raised instead is raised here."""
    failed = tab.page.locator("[data-mime-type='application/vnd.jupyter.stderr'], [data-mime-type*=error]")
    tab.view.or_(failed.first).first.wait_for(timeout=_SHOW_MILLISECONDS)
    if not tab.view.is_visible():
        raise AssertionError(f"the notebook failed:\n{failed.first.inner_text()}")


def _until(done: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + _SHOW_MILLISECONDS / 1000
    while not done():
        if time.monotonic() > deadline:
            raise RuntimeError(complaint)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _kernel(folder: Path, version: str) -> None:
    """Have the kernels of this server be of that version of ipykernel."""
    packages = folder / "ipykernel"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", packages, f"ipykernel=={version}"],
        check=True,
    )
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "Python 3", "language": "python", "env": {"PYTHONPATH": str(packages)}}
    path = folder / "jupyter" / "kernels" / "python3" / "kernel.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(spec), "utf-8")


def _environment(folder: Path) -> dict[str, str]:
    private = {
        "XDG_DATA_HOME": "data", "IPYTHONDIR": "ipython", "TMPDIR": "tmp",
        "JUPYTER_RUNTIME_DIR": "runtime", "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "jupyter",
    }  # fmt: skip
    (folder / "tmp").mkdir(exist_ok=True)
    ours = {name: value for name, value in os.environ.items() if not name.startswith("BATCHKIT_")}
    return {**ours, **{name: str(folder / part) for name, part in private.items()}, "JUPYTER_PLATFORM_DIRS": "0"}
