"""Telling of batches: callbacks, and signed messages that are delivered at least once, over real HTTP."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from batches import eventually

import batchkit as bk
from batchkit.core.notice import NoticeKind, notice_kind
from batchkit.core.outcome import Held
from batchkit.io.clock import SystemClock
from batchkit.notices import Notices
from batchkit.targets.standard_webhook import StandardWebhook
from batchkit.testing import ScriptedTarget
from batchkit.worker import Worker

KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def kind(self) -> str:
        return str(json.loads(self.body)["type"])


class Listener:
    """An address that takes messages and answers as told."""

    def __init__(self) -> None:
        self.got: list[Message] = []
        #: what is answered to the next messages, then 200
        self.answers: list[tuple[int, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"] or 0))
                outer.got.append(Message(path=self.path, headers=dict(self.headers.items()), body=body))
                status, headers = outer.answers.pop(0) if outer.answers else (204, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                self.do_POST()

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?token=confidential"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def kinds(self) -> list[str]:
        return [message.kind for message in self.got]


@pytest.fixture
def listener() -> Iterator[Listener]:
    one = Listener()
    yield one
    one.close()


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "SECRET", "PRIVATE"):
        monkeypatch.delenv(f"BATCHKIT_NOTIFY_{name}", raising=False)


def workspace(path: Path, **settings: Any) -> bk.Workspace:
    return bk.Workspace(ScriptedTarget(**settings), store=path / "runs.sqlite")


def run(ws: bk.Workspace, rows: int = 2, **config: Any) -> bk.Batch:
    table, agent = bk.read_csv(b"value\n" + b"a\n" * rows), ws.agent()
    checked = ws.validate(table, ws.suggest_mapping(table, agent), agent)
    return ws.create_batch(checked, bk.BatchConfig(name="March permits", batch_interval=0, **config))


def test_a_callback_hears_that_a_batch_completed_and_finished(tmp_path: Path) -> None:
    heard: list[tuple[bk.Notice, str]] = []
    with workspace(tmp_path) as ws:
        ws.on_event(lambda notice: heard.append((notice, threading.current_thread().name)))
        batch = run(ws)
        batch.join("finished")
        eventually(lambda: len(heard) == 2)
    assert {notice.kind for notice, _ in heard} == {NoticeKind.COMPLETED, NoticeKind.FINISHED}
    assert {(notice.batch_id, notice.name) for notice, _ in heard} == {(batch.id, "March permits")}
    assert {thread for _, thread in heard} == {"batchkit-notices"}


def test_a_callback_may_ask_the_batch_and_one_that_fails_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[int] = []
    with workspace(tmp_path) as ws:

        def fails(notice: bk.Notice) -> None:
            raise RuntimeError("mistaken callback")

        ws.on_event(fails)
        ws.on_event(lambda notice: asked.append(len(ws.batch(notice.batch_id).results())))
        with caplog.at_level(logging.ERROR, "batchkit"):
            assert run(ws).join("finished").status == "completed"
            ws.close()
            assert asked == [2, 2]
    assert caplog.text.count("mistaken callback") >= 2


def test_a_callback_hears_of_a_batch_that_paused_itself_but_not_of_one_a_person_paused(tmp_path: Path) -> None:
    heard: list[bk.Notice] = []
    with workspace(tmp_path, answer=lambda *_: Held(message="The key was refused.", code="401")) as ws:
        ws.on_event(heard.append)
        batch = run(ws)
        eventually(lambda: batch.status == "paused")
        eventually(lambda: heard)
        assert [(notice.kind, "refused" in notice.message) for notice in heard] == [("paused", True)]
    assert notice_kind("paused", "Ada") is None
    assert notice_kind("created", "batchkit") is None


def test_what_the_closing_of_a_workspace_records_is_still_told(tmp_path: Path, listener: Listener) -> None:
    heard: list[bk.Notice] = []
    ws = workspace(tmp_path)
    ws.on_event(heard.append)
    ws.notify(listener.url, secret=SECRET, allow_private=True)
    run(ws).join("finished")
    ws.close()
    assert {notice.kind for notice in heard} == {"completed", "finished"}
    assert sorted(listener.kinds()) == ["batch.completed", "batch.finished"]


def test_a_message_is_signed_and_says_how_the_batch_stands(tmp_path: Path, listener: Listener) -> None:
    with workspace(tmp_path) as ws:
        ws.notify(listener.url, secret=bk.Secret(SECRET), allow_private=True)
        batch = run(ws)
        batch.join("finished")
        eventually(lambda: len(listener.got) == 2)
    for message in listener.got:
        headers = {name.lower(): value for name, value in message.headers.items()}
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + message.body
        expected = base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
        assert abs(int(headers["webhook-timestamp"]) - time.time()) < 600
        assert message.path == "/hook?token=confidential"
    (finished,) = [json.loads(message.body) for message in listener.got if message.kind == "batch.finished"]
    data = finished["data"]
    assert (data["batch_id"], data["name"], data["status"]) == (batch.id, "March permits", "completed")
    assert data["executions"] == {"running": 0, "waiting": 0, "succeeded": 2, "failed": 0, "cancelled": 0}


def test_a_message_that_was_not_taken_comes_again_the_same(tmp_path: Path, listener: Listener) -> None:
    listener.answers = [(500, {}), (302, {"Location": listener.url}), (404, {})]
    store = tmp_path / "runs.sqlite"
    notices = Notices(store, SystemClock(), look=0.02, first_pause=0.02)
    notices.add(StandardWebhook(listener.url, bk.Secret(SECRET), allow_private=True))
    notices.start()
    with workspace(tmp_path) as ws:
        run(ws).join("triggered")
        eventually(lambda: len(listener.got) >= 5)
    notices.close()
    ids = {message.headers["webhook-id"] for message in listener.got}
    assert len(ids) == 2
    assert len({message.body for message in listener.got}) == 2
    assert len(listener.got) == 5, "a redirect was followed, or a message came again after it was taken"


def test_a_message_that_a_process_left_is_sent_by_the_next_one(tmp_path: Path, listener: Listener) -> None:
    listener.answers = [(500, {})] * 1_000
    with workspace(tmp_path) as ws:
        ws.notify(listener.url, secret=SECRET, allow_private=True)
        run(ws).join("finished")
        eventually(lambda: len(listener.got) >= 2)
    left = {message.headers["webhook-id"] for message in listener.got}
    listener.answers = []
    listener.got.clear()
    with workspace(tmp_path) as ws:
        ws.notify(listener.url, secret=SECRET, allow_private=True)
        eventually(lambda: len(listener.got) >= 2)
    assert {message.headers["webhook-id"] for message in listener.got} == left


def test_an_address_that_several_have_told_knows_the_same_message_by_its_id(tmp_path: Path, listener: Listener) -> None:
    with (
        bk.Workspace(ScriptedTarget(), store=tmp_path / "runs.sqlite", owner="ada") as ada,
        bk.Workspace(ScriptedTarget(), store=tmp_path / "runs.sqlite", owner="root", admin=True) as everybody,
    ):
        for ws in (ada, everybody):
            ws.notify(listener.url, secret=SECRET, allow_private=True)
        run(ada).join("finished")
        eventually(lambda: len(listener.got) == 4)
    ids = {
        kind: [each.headers["webhook-id"] for each in listener.got if each.kind == kind] for kind in listener.kinds()
    }
    assert set(ids) == {"batch.completed", "batch.finished"}
    assert [len(them) for them in ids.values()] == [2, 2]
    assert [len(set(them)) for them in ids.values()] == [1, 1]


class Later(SystemClock):
    """The system's clock, set forward."""

    def __init__(self, days: float) -> None:
        super().__init__()
        self._ahead = timedelta(days=days)

    def now(self) -> datetime:
        return super().now() + self._ahead


def test_a_message_that_nobody_took_for_three_days_is_given_up_and_the_log_says_so(
    tmp_path: Path, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    listener.answers = [(500, {})] * 1_000
    with workspace(tmp_path) as ws:
        ws.notify(listener.url, secret=SECRET, allow_private=True)
        batch = run(ws).join("finished")
        eventually(lambda: len(listener.got) >= 2)
    with workspace(tmp_path) as ws:
        notices = Notices(tmp_path / "runs.sqlite", Later(2.9), look=0.02)
        notices.add(StandardWebhook(listener.url, bk.Secret(SECRET), allow_private=True))
        notices.start()
        eventually(lambda: len(listener.got) >= 4)
        notices.close()
        assert "notice_dropped" not in ws.batch(batch.id).events()["kind"].tolist()
        before = len(listener.got)
        notices = Notices(tmp_path / "runs.sqlite", Later(3.2), look=0.02)
        notices.add(StandardWebhook(listener.url, bk.Secret(SECRET), allow_private=True))
        notices.start()
        eventually(lambda: ws.batch(batch.id).events()["kind"].tolist().count("notice_dropped") == 2)
        notices.close()
        events = ws.batch(batch.id).events().query("kind == 'notice_dropped'")
    assert len(listener.got) == before
    assert [message.split("'")[1] for message in sorted(events["message"])] == ["completed", "finished"]
    assert events["message"].str.contains("127.0.0.1 did not take it in any of", regex=False).all()
    assert "confidential" not in "".join(events["message"]) + caplog.text
    assert f"{batch.id}: The notice 'finished' of " in caplog.text


def test_a_worker_sends_where_the_environment_says(
    tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHKIT_NOTIFY_URL", listener.url)
    monkeypatch.setenv("BATCHKIT_NOTIFY_SECRET", SECRET)
    monkeypatch.setenv("BATCHKIT_NOTIFY_PRIVATE", "1")
    stop = threading.Event()
    with workspace(tmp_path) as ws:
        worker = threading.Thread(target=Worker(ws, lambda _: None).run, args=(stop,))
        worker.start()
        monkeypatch.undo()
        with bk.Workspace(ScriptedTarget(), store=tmp_path / "runs.sqlite", engine="worker") as other:
            run(other)
            eventually(lambda: len(listener.got) == 2)
        stop.set()
        worker.join()


def test_an_address_that_was_named_later_is_not_told_of_the_past(tmp_path: Path, listener: Listener) -> None:
    heard: list[bk.Notice] = []
    with workspace(tmp_path) as ws:
        run(ws).join("finished")
    with workspace(tmp_path) as ws:
        ws.on_event(heard.append)
        ws.notify(listener.url, secret=SECRET, allow_private=True)
        batch = run(ws)
        batch.join("finished")
        eventually(lambda: len(listener.got) == 2 == len(heard))
    assert {json.loads(message.body)["data"]["batch_id"] for message in listener.got} == {batch.id}
    assert {notice.batch_id for notice in heard} == {batch.id}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:9/hook", "unencrypted"),
        ("https://127.0.0.1:9/hook", "loopback"),
        ("https://2130706433/hook", "loopback"),
        ("https://169.254.169.254/latest", "link-local"),
        ("https://[::ffff:10.0.0.1]/hook", "private"),
        ("http://hooks.example.com/hook", "unencrypted"),
        ("https://user:word@hooks.example.com/", "https URL"),
        ("ftp://hooks.example.com/", "https URL"),
        ("hooks.example.com", "https URL"),
    ],
)
def test_an_address_that_is_not_meant_is_refused(tmp_path: Path, url: str, said: str) -> None:
    with workspace(tmp_path) as ws, pytest.raises(bk.ConfigError, match=said):
        ws.notify(url, secret=SECRET)


def test_a_name_that_leads_to_this_machine_is_not_connected_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "batchkit"), workspace(tmp_path) as ws:
        ws.notify("https://localhost:9/hook", secret=SECRET)
        run(ws).join("finished")
        eventually(lambda: "loopback" in caplog.text)


@pytest.mark.parametrize("secret", ["whsec_", "whsec_QUJD", "no base64!", f"whsec_{'QUJD' * 40}"])
def test_a_secret_of_another_form_is_refused_and_not_shown(tmp_path: Path, secret: str) -> None:
    with workspace(tmp_path) as ws, pytest.raises(bk.ConfigError) as told:
        ws.notify("https://hooks.example.com/", secret=secret)
    assert secret.removeprefix("whsec_")[:8] not in str(told.value) or secret == "whsec_"
    assert SECRET not in repr(StandardWebhook("https://hooks.example.com/a?b=c", bk.Secret(SECRET)))
    assert "b=c" not in repr(StandardWebhook("https://hooks.example.com/a?b=c", bk.Secret(SECRET)))


def test_a_secret_may_be_where_it_is_kept(tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    with workspace(tmp_path) as ws:
        ws.notify(listener.url, secret="env:HOOK_SECRET", allow_private=True)
        run(ws).join("finished")
        eventually(lambda: len(listener.got) >= 2)
        with pytest.raises(bk.ConfigError, match="environment variable NO_SUCH_SECRET is not set"):
            ws.notify(listener.url, secret="env:NO_SUCH_SECRET", allow_private=True)


def test_what_cannot_be_called_is_no_callback(tmp_path: Path) -> None:
    with workspace(tmp_path) as ws, pytest.raises(bk.ConfigError, match=r"takes a function .* not 'print'"):
        ws.on_event("print")  # type: ignore[arg-type]


def test_an_address_without_a_secret_in_the_environment_is_half_a_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHKIT_NOTIFY_URL", "https://hooks.example.com/")
    with pytest.raises(bk.ConfigError, match="BATCHKIT_NOTIFY_SECRET"):
        workspace(tmp_path)


def test_neither_address_nor_secret_is_in_the_store(tmp_path: Path, listener: Listener) -> None:
    with workspace(tmp_path) as ws:
        ws.notify(listener.url, secret=SECRET, allow_private=True)
        run(ws).join("finished")
    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"confidential" not in held
    assert SECRET[6:].encode() not in held
