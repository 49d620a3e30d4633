"""The API key never leaves memory, and goes only to the platform: whole runs in a process and in a notebook, with all
that can fail on the way, and then a search through everything they left behind.
"""

from __future__ import annotations

import json
import os
import secrets
import socketserver
import sqlite3
import subprocess
import sys
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import nbclient
import nbformat
import pytest
from key_user import END, MODES, STEPS
from long_form import FULL

import batchkit as bk

STORE = "XDG_DATA_HOME/batchkit/batchkit.sqlite"
HISTORY = "history.sqlite"
BOTH = ["in the environment", "passed"]
#: so many characters of the key in a row are a part of the key, and give it away too
PART = 12


class Gateway(ThreadingHTTPServer):
    """The platform behind a gateway that, told so, answers badly and with the key that it was sent."""

    daemon_threads = True

    def __init__(self, demo: bk.DemoPlatform, trap: Trap) -> None:
        super().__init__(("127.0.0.1", 0), Passing)
        self.demo, self.trap, self.mode = demo, trap, "ok"
        #: how often it answered in which way
        self.answered = Counter[str]()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Passing(BaseHTTPRequestHandler):
    """One connection to the gateway."""

    protocol_version = "HTTP/1.1"
    #: an answer leaves in one piece, without waiting for an acknowledgement of its head
    wbufsize = -1
    server: Gateway

    def do_GET(self) -> None:
        if self.path.startswith("/mode/"):
            self.server.mode = self.path.removeprefix("/mode/")
            self.answer(200, b"")
        else:
            self.go(self.server.mode, None)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.go(str(json.loads(body)["inputs"]["value"]), body)

    def go(self, mode: str, body: bytes | None) -> None:
        key = self.headers["X-Asteroid-Agents-Api-Key"]
        self.server.answered[mode] += 1
        match mode:
            case "ok":
                self.pass_on(body)
            case "200":
                # an agent without an id, and an execution without one
                agent = {"name": key, key: [quote(key), {"inputs": key}], "createdAt": key}
                self.answer(200, json.dumps({"items": [agent], "total": 1, "versions": key}).encode())
            case "202":
                self.answer(202, json.dumps({"id": key, "note": f"accepted for {key}"}).encode())
            case "cut_202":
                self.answer(202, b" " * (200 - len(key) + 4) + key.encode())
            case "cut_400":
                self.answer(400, b"no\n" * 10 + b" " * (1970 - len(key) + 4) + key.encode(), Retry_After=key)
            case "garbage":
                self.wfile.write(f"{key} is not HTTP\r\n{key}: {key}\r\n\r\n".encode())
                self.close_connection = True
            case "close":
                self.close_connection = True
            case "307" | "302":
                self.answer(int(mode), key.encode(), Location=f"{self.server.trap.url}/{key}?key={key}")
            case _:
                error = {"message": f"Not with {key}", "title": key, "detail": key, "errors": [{"detail": key}]}
                self.answer(int(mode), json.dumps(error).encode(), Set_Cookie=f"key={key}", X_Key=key)

    def pass_on(self, body: bytes | None) -> None:
        with closing(HTTPConnection("127.0.0.1", self.server.demo.port)) as connection:
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            self.answer(answer.status, answer.read())

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Trap(socketserver.ThreadingTCPServer):
    """Where nothing may arrive: proxies and redirects lead here."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Caught)
        self.caught: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Caught(socketserver.BaseRequestHandler):
    server: Trap

    def handle(self) -> None:
        self.server.caught.append(self.request.recv(65536))


@pytest.fixture
def key() -> str:
    return f"sk-{secrets.token_hex(24)}"


@pytest.fixture
def trap() -> Iterator[Trap]:
    with Trap() as server:
        Thread(target=server.serve_forever, args=(0.05,)).start()
        yield server
        server.shutdown()


@pytest.fixture
def gateway(key: str, trap: Trap) -> Iterator[Gateway]:
    agent = bk.Agent(name="Filer", inputs=[bk.InputVariable("value", schema={"type": "string"})])
    with (
        bk.DemoPlatform(agents=[agent], api_key=key, duration=0.05, failure_share=0) as demo,
        Gateway(demo, trap) as server,
    ):
        Thread(target=server.serve_forever, args=(0.05,)).start()
        yield server
        server.shutdown()


@pytest.fixture
def environment(
    request: pytest.FixtureRequest, gateway: Gateway, trap: Trap, key: str, tmp_path: Path
) -> dict[str, str]:
    """For a process or kernel: everything it keeps lies in `home`, and every proxy is the trap."""
    home = tmp_path / "home"
    kept = ("XDG_DATA_HOME", "XDG_CACHE_HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "TMPDIR")
    for name in kept:
        (home / name).mkdir(parents=True)
    proxies = [word for kind in ("http", "https", "all") for word in (f"{kind}_proxy", f"{kind}_PROXY".upper())]
    configured = {"BATCHKIT_URL": gateway.url, "BATCHKIT_API_KEY": key}
    return {
        **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
        **{name: str(home / name) for name in kept},
        **dict.fromkeys(proxies, trap.url),
        **(configured if request.param == "in the environment" else {}),
        "HOME": str(home),
        "GATEWAY": gateway.url,
        "KEY": key,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }


# The search


def forms_of(key: str) -> list[bytes]:
    """The key as it may stand somewhere: in parts of PART characters, and as a whole in the usual encodings."""
    parts = [key[start : start + PART] for start in range(len(key) - PART + 1)]
    plain = key.encode()
    # in base64 three bytes become four letters, whatever stands before them
    coded = [b64encode(plain[skip : skip + 3 * ((len(plain) - skip) // 3)]) for skip in range(3)]
    return [
        *(part.encode() for part in parts),
        *(part.encode("utf-16-le") for part in parts),
        *coded,
        plain.hex().encode(),
        quote(key, safe="").encode(),
        key[::-1].encode(),
    ]


def cells_of(path: Path) -> bytes:
    """What a database holds: a cell need not lie in its file in one piece."""
    with closing(sqlite3.connect(path)) as connection:
        return "\n".join(connection.iterdump()).encode("utf-8", "surrogatepass")


def places_of(key: str, folder: Path, **texts: str) -> set[str]:
    """The names of texts and the paths of files below `folder` in which the key or a part of it stands."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    pieces = [(name, text.encode()) for name, text in texts.items()]
    pieces += [(name, path.read_bytes()) for name, path in files.items()]
    # last, because opening them changes files
    pieces += [(name, cells_of(path)) for name, path in files.items() if path.suffix == ".sqlite"]
    pieces += [("file names", "\n".join(files).encode())]
    forms = forms_of(key)
    return {name for name, content in pieces if any(form in content for form in forms)}


def run(environment: Mapping[str, str]) -> tuple[str, str]:
    """What the program printed."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-m", "key_user"],
        env={**environment, "PYTHONASYNCIODEBUG": "1"},
        cwd=environment["HOME"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def run_notebook(environment: Mapping[str, str], *more: str) -> tuple[str, dict[str, str]]:
    """A notebook that takes every step in a cell of its own, as it is saved with the state of its widgets; and what is
    saved after the cells `more`.
    """
    sources = ["%xmode Verbose\nfrom key_user import KeyUser\nuser = KeyUser()"]
    sources += [f"user.step({step!r})" for step in STEPS]
    succeed = ["user", "%whos", "_oh", "user.widgets()", "user.keep_copies()"]
    sources += succeed
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    history = Path(environment["HOME"]) / HISTORY
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", allow_errors=True, ipython_hist_file=str(history)
    )
    with client.setup_kernel(env=dict(environment), cwd=environment["HOME"]):
        for number, cell in enumerate(notebook.cells):
            client.execute_cell(cell, number)
        client.set_widgets_metadata()
        saved = nbformat.writes(notebook)
        assert not [
            cell for cell in notebook.cells[-len(succeed) :] if "error" in {o.output_type for o in cell.outputs}
        ]
        assert END in str(notebook.cells[-1].outputs)
        assert notebook.metadata.widgets
        notebook.cells = [nbformat.v4.new_code_cell(source) for source in more]
        for number, cell in enumerate(notebook.cells):
            client.execute_cell(cell, number)
        client.set_widgets_metadata()
    return saved, {"cells": json.dumps(notebook.cells), "widgets": json.dumps(notebook.metadata.widgets)}


@pytest.mark.parametrize("environment", BOTH if FULL else BOTH[:1], indirect=True)
def test_a_process_leaves_the_key_nowhere(
    environment: dict[str, str], gateway: Gateway, trap: Trap, key: str, tmp_path: Path
) -> None:
    # Variables that are shown hold END, too: the last one counts.
    (out, _, shown), (err, _, complained) = (text.rpartition(END) for text in run(environment))
    assert all(f"\n== {step}\n" in f"\n{out}" for step in STEPS)
    assert out.count("ConfigError: ") >= 10
    assert (tmp_path / "while open" / f"{STORE}-wal").stat().st_size > 0
    assert places_of(key, tmp_path / "while open", out=out, err=err) == set()
    assert trap.caught == []
    assert set(gateway.answered) == set(MODES)
    leaks = {"out", "err", "debug.log", STORE, "batchkit.sqlite-wal"}
    assert places_of(key, tmp_path / "home", out=shown, err=complained) == leaks


@pytest.mark.parametrize("environment", BOTH if FULL else BOTH[1:], indirect=True)
def test_a_notebook_leaves_the_key_nowhere(
    environment: dict[str, str], gateway: Gateway, trap: Trap, key: str, tmp_path: Path
) -> None:
    notebook, last = run_notebook(environment, "user.leak()", "user.leak_in_a_widget()", f"typed = '{key}'")
    assert (tmp_path / "while open" / HISTORY).stat().st_size > 0
    assert places_of(key, tmp_path / "while open", notebook=notebook) == set()
    assert notebook.count('"ename": "ConfigError"') >= 10
    assert trap.caught == []
    assert set(gateway.answered) == set(MODES)
    leaks = {"cells", "widgets", "debug.log", STORE, "batchkit.sqlite-wal", HISTORY}
    assert places_of(key, tmp_path / "home", **last) == leaks


def test_the_demo_platforms_key_is_in_its_own_files_alone(tmp_path: Path) -> None:
    """It is served from the data folder: its address file tells the owner's other processes the key, and its state
    keeps it for the next time it is served. Both are the server's, and for their owner only."""
    data = tmp_path / "data" / "batchkit"
    code = """
import os
os.umask(0)
import pathlib, shutil, batchkit as bk
with bk.Workspace() as ws:
    table = bk.read_csv(b"Street,Postcode,City,Country\\nDomplatz 1,50667,Cologne,DE\\n")
    ws.batches()
    data = pathlib.Path(ws.store.label).parent
    for each in (data, *data.iterdir()):
        print(each.name, oct(each.stat().st_mode & 0o777))
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BATCHKIT_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "XDG_DATA_HOME": str(data.parent)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    modes = dict(line.split() for line in done.stdout.splitlines())
    assert modes.pop("batchkit") == "0o700"
    assert {"batchkit.sqlite", "batchkit.sqlite-wal", "batchkit.sqlite-shm", "demo-platform.json"} <= set(modes)
    assert set(modes.values()) == {"0o600"}
    key = json.loads((data / "demo-platform.json").read_text())["api_key"]
    its_own = {"demo-platform.json", "demo-platform.sqlite"}
    assert places_of(key, data, out=done.stdout, err=done.stderr) == its_own


@pytest.mark.parametrize(
    "url",
    [
        "http://odyssey.asteroid.ai",
        "http://10.0.0.5:8000",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://localhost@example.com",
        "http://2130706433",
        "http://[::ffff:10.0.0.5]",
        "http://0.0.0.0",
        "ftp://127.0.0.1",
        "//127.0.0.1",
    ],
)
def test_a_workspace_that_would_send_the_key_in_the_clear_is_not_made(
    url: str, key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BATCHKIT_URL", url)
    monkeypatch.setenv("BATCHKIT_API_KEY", key)
    with pytest.raises(bk.ConfigError) as refused:
        bk.Workspace(store=tmp_path / "runs.sqlite")
    assert key not in str(refused.value)
    assert list(tmp_path.iterdir()) == []
