"""`batchkit serve`: pages for whoever has the key, and a worker that runs the batches whatever becomes of the pages."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, OpenerDirector, ProxyHandler, Request, build_opener

import psutil
import pytest

import batchkit as bk
from batchkit.serve import _notebook

ADDRESS = re.compile(r"(http://127\.0\.0\.1:\d+/voila/render/(\w+)\.ipynb)\?token=(\S+)")
PAGES = 2


class Served:
    """A `batchkit serve`, its addresses and what it prints."""

    def __init__(self, folder: Path, demo: bk.DemoPlatform) -> None:
        self.store = folder / "runs.sqlite"
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        environment = {
            **os.environ,
            "BATCHKIT_URL": demo.url,
            "BATCHKIT_API_KEY": demo.api_key,
            "XDG_DATA_HOME": str(folder),
            "TMPDIR": str(self.temporary),
            # As in a terminal of JupyterHub's.
            "JUPYTERHUB_SERVICE_PREFIX": "/user/ada/",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "batchkit", "serve", "--store", str(self.store)],
            env=environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        #: of each page: its address, and the token that opens it
        self.pages: dict[str, tuple[str, str]] = {}
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := ADDRESS.search(line):
                self.pages[found[2]] = (found[1], found[3])
            if len(self.pages) == PAGES:
                break

    def end(self) -> str:
        """What it still said, after Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.stdout is not None
        # Not by `communicate`, which does not know of what was read ahead of the lines.
        with self.process.stdout as out:
            said = out.read()
        self.process.wait(60)
        return said


@pytest.fixture
def demo() -> Iterator[bk.DemoPlatform]:
    with bk.DemoPlatform(duration=0.05, failure_share=0.0) as platform:
        yield platform


@pytest.fixture
def served(tmp_path: Path, demo: bk.DemoPlatform) -> Iterator[Served]:
    running = Served(tmp_path, demo)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.communicate()


def opener() -> OpenerDirector:
    return build_opener(ProxyHandler({}), HTTPCookieProcessor(CookieJar()))


def end_kernel(user: OpenerDirector, url: str, page: str) -> None:
    """As the page does when it is left: with the cookies it has. What another origin asks for is refused."""
    [kernel] = set(re.findall(r'"kernelId": ?"([^"]+)"', page))
    end = f"{url.partition('/render')[0]}/api/shutdown/{kernel}"
    with pytest.raises(HTTPError, match=r"40[34]"):
        user.open(Request(end, data=b"", headers={"Origin": "http://127.0.0.1:1"})).close()
    with user.open(Request(end, data=b"")) as answer:
        assert answer.status == 204


def test_it_serves_both_pages_to_whoever_has_the_key_and_runs_the_batches(
    served: Served, tmp_path: Path, demo: bk.DemoPlatform
) -> None:
    assert set(served.pages) == {"wizard", "dashboard"}, served.process.stdout.read()
    for url, token in served.pages.values():
        with opener().open(url) as answer:
            assert "/login" in answer.url
        with pytest.raises(HTTPError, match="403"):
            opener().open(f"{url.partition('/voila')[0]}/voila/files/voila.json").close()
        user = opener()
        with user.open(f"{url}?token={token}", timeout=60) as answer:
            page = answer.read().decode()
        assert "Traceback" not in page
        assert "application/vnd.jupyter.widget-view+json" in page
        end_kernel(user, url, page)

    # The key is in no command line, where all users of the machine could read it.
    processes = [psutil.Process(served.process.pid), *psutil.Process(served.process.pid).children(recursive=True)]
    commands = [" ".join(process.cmdline()) for process in processes]
    assert any("voila" in command for command in commands)
    assert not any(token in command for command in commands for _, token in served.pages.values())

    # What a page makes is run by the process that serves, also when the page is gone.
    target = bk.AsteroidTarget(demo.url, demo.api_key)
    with bk.Workspace(target, store=served.store, engine="worker") as ws:
        agent = ws.agent("Permit filer")
        rows = bk.read_csv(b"Client,Address,Permit type,Start date\nAltmann,Lindenstrasse 4,signage,2026-03-02\n")
        checked = ws.validate(rows, ws.suggest_mapping(rows, agent), agent)
        batch = ws.create_batch(checked, bk.BatchConfig(name="From a page"))
        assert batch.id not in ws.engine.active
        batch.join("finished")
        assert batch.progress.executions.succeeded == 1

    said = served.end()
    assert served.process.returncode == 0, said
    assert f"{batch.id}  taken over" in said
    assert "as a page at /user/ada/voila/render/NAME.ipynb" in " ".join(said.split())
    deadline = time.monotonic() + 60
    while any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes):
        assert time.monotonic() < deadline, [process.cmdline() for process in processes if process.is_running()]
        time.sleep(0.1)
    assert list(served.temporary.glob("batchkit-pages-*")) == []


def test_pages_do_not_outlive_the_process_that_serves_them(served: Served) -> None:
    assert set(served.pages) == {"wizard", "dashboard"}
    [voila] = psutil.Process(served.process.pid).children()
    served.process.kill()
    served.process.communicate()
    voila.wait(60)


def test_a_port_that_is_taken_is_said_so(
    tmp_path: Path, demo: bk.DemoPlatform, capsys: pytest.CaptureFixture[str]
) -> None:
    from batchkit.cli import main

    code = main(["serve", "--store", str(tmp_path / "runs.sqlite"), "--port", str(demo.port)])
    assert code == 2
    assert f"Port {demo.port} cannot be used" in capsys.readouterr().err


def test_waiting_for_a_batch_no_worker_runs_ends(tmp_path: Path, demo: bk.DemoPlatform) -> None:
    target = bk.AsteroidTarget(demo.url, demo.api_key)
    with bk.Workspace(target, store=tmp_path / "runs.sqlite", engine="worker") as ws:
        assert ws.engine._worker_patience == 10.0
        ws.engine._worker_patience = 1.0
        agent = ws.agent("Permit filer")
        rows = bk.read_csv(b"Client,Address,Permit type,Start date\nAltmann,Lindenstrasse 4,signage,2026-03-02\n")
        batch = ws.create_batch(ws.validate(rows, ws.suggest_mapping(rows, agent), agent), bk.BatchConfig(name="Alone"))
        with pytest.raises(bk.BatchInterrupted, match="take_over"):
            batch.join()
        assert batch.progress.pending == 1
    with pytest.raises(bk.ConfigError, match="'kernel', 'worker'"):
        bk.Workspace(target, store=tmp_path / "runs.sqlite", engine="steam")


def test_a_page_says_by_itself_that_this_is_the_demo_platform_and_prints_nothing(tmp_path: Path) -> None:
    source = _notebook("wizard")["cells"][1]["source"]
    *before, last = source.splitlines()
    shown = textwrap.dedent("""
        import json, time
        deadline = time.monotonic() + 30
        while "Permit filer" not in (snapshot := json.dumps(view.drawn())):
            assert time.monotonic() < deadline, snapshot
            time.sleep(0.05)
        ws.close()
    """)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BATCHKIT_")}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*before, f"view = {last}", shown])],
        env={**environment, "XDG_DATA_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_script_on_the_demo_platform_is_told_so_once(tmp_path: Path) -> None:
    code = "import batchkit as bk\nwith bk.Workspace() as ws:\n    ws.agents()\n    ws.agent('Permit filer')"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BATCHKIT_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "XDG_DATA_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=90,
    )
    assert done.stderr.count("no platform is configured") == 1
