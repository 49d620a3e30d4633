"""The demo platform's webhooks: what is sent, how it is signed, and how it goes wrong when asked to."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from batches import eventually

from batchkit.core.agent import Agent, InputVariable
from batchkit.errors import ConfigError
from batchkit.targets.demo import DemoPlatform
from batchkit.targets.webhook_key import SIGNATURE_HEADER, WebhookKey

AGENT = Agent(name="Filer", id="filer", inputs=(InputVariable("value", schema={"type": "string"}),))


class Listener:
    """Takes webhooks. `answers`: the statuses of the next ones, then 200."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, str]] = []
        self.answers: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.got.append((body, self.headers[SIGNATURE_HEADER]))
                self.send_response(outer.answers.pop(0) if outer.answers else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body, _ in self.got]

    def events(self) -> list[str]:
        """The events in one spelling, in the order in which they came."""
        said = [document["info"]["event"].removeprefix("EXECUTION_") for document in self.documents()]
        return [event.removeprefix("Execution").replace("_", "").lower() for event in said]


@pytest.fixture
def listener() -> Iterator[Listener]:
    one = Listener()
    yield one
    one.close()


@pytest.fixture(scope="module")
def with_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state with a key in it, since making one takes a while."""
    path = tmp_path_factory.mktemp("demo") / "state.sqlite"
    with DemoPlatform(agents=[AGENT], state=path) as platform:
        assert platform.webhook_public_key
    return path


@pytest.fixture
def state(with_key: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(with_key, tmp_path))


@pytest.fixture
def make(state: Path) -> Iterator[Callable[..., DemoPlatform]]:
    made: list[DemoPlatform] = []

    def one(**settings: Any) -> DemoPlatform:
        made.append(DemoPlatform(agents=[AGENT], state=state, **({"failure_share": 0, "duration": 0.1} | settings)))
        return made[-1]

    yield one
    for platform in made:
        platform.close()


def call(platform: DemoPlatform, path: str, body: Any = None) -> Any:
    url, headers = f"{platform.url}/agents/v2{path}", {"X-Api-Key": platform.api_key}
    answer = httpx.post(url, json=body or {}, headers=headers, timeout=30)
    answer.raise_for_status()
    return answer.json()


def execute(platform: DemoPlatform, number: int = 0) -> str:
    body = {"inputs": {"value": "a"}, "metadata": {"batchkit_item": str(number)}}
    return str(call(platform, "/agents/filer/execute", body)["executionId"])


def test_start_and_end_are_told_and_signed(make: Callable[..., DemoPlatform], listener: Listener) -> None:
    platform = make(webhook_url=listener.url)
    execution_id = execute(platform)
    eventually(lambda: len(listener.got) == 2)
    key = WebhookKey(platform.webhook_public_key)
    assert all(key.verifies(signature, body) for body, signature in listener.got)
    assert listener.events() == ["started", "completed"]
    document = listener.documents()[1]
    (known,) = (each for each in platform.executions() if each["id"] == execution_id)
    assert set(document) == {"type", "event_id", "timestamp", "info"}
    assert document["info"]["execution_id"] == execution_id
    assert document["info"]["metadata"] == {"batchkit_item": "0"}
    assert document["info"]["payload"] == {
        key: known["executionResult"][key] for key in ("result", "reasoning", "outcome")
    }
    assert httpx.get(document["info"]["execution_url"]).status_code == 200


def test_both_spellings_are_sent(make: Callable[..., DemoPlatform], listener: Listener) -> None:
    platform = make(webhook_url=listener.url)
    for number in range(10):
        execute(platform, number)
    eventually(lambda: len(listener.got) == 20)
    said = {document["info"]["event"] for document in listener.documents()}
    assert {"EXECUTION_COMPLETED", "ExecutionCompleted"} <= said


def test_what_is_done_to_an_execution_is_told(make: Callable[..., DemoPlatform], listener: Listener) -> None:
    platform = make(webhook_url=listener.url, duration=120)
    execution_id = execute(platform)
    for action, event in (("pause", "paused"), ("resume", "resumed"), ("cancel", "cancelled")):
        call(platform, f"/executions/{execution_id}/{action}")
        eventually(lambda event=event: listener.events()[-1:] == [event])  # type: ignore[misc]
    assert listener.events() == ["started", "paused", "resumed", "cancelled"]


def test_what_was_not_taken_is_sent_again_the_same_but_not_what_was_refused(
    make: Callable[..., DemoPlatform], listener: Listener
) -> None:
    platform = make(webhook_url=listener.url, duration=120)
    listener.answers = [503, 500, 200]
    execute(platform)
    eventually(lambda: len(listener.got) == 3)
    assert len(set(listener.got)) == 1
    listener.answers = [401]
    execute(platform)
    execute(platform)
    eventually(lambda: len(listener.got) == 5)


def test_webhooks_go_wrong_as_asked(make: Callable[..., DemoPlatform], listener: Listener) -> None:
    platform = make(webhook_url=listener.url, duration=60)
    key = WebhookKey(platform.webhook_public_key)
    platform.faults.webhooks(duplicate=1.0, forged=1.0, shuffle=0.2)
    execute(platform)
    eventually(lambda: len(listener.got) == 3)
    assert [key.verifies(signature, body) for body, signature in listener.got] == [False, True, True]
    assert listener.got[1] == listener.got[2]


def test_a_lost_webhook_never_comes(make: Callable[..., DemoPlatform], listener: Listener) -> None:
    platform = make(webhook_url=listener.url, duration=60)
    platform.faults.webhooks(lost=1.0)
    lost = execute(platform)
    # One that comes early is never lost, and is looked at after the other.
    platform.faults.webhooks(lost=1.0, early=1.0)
    early = execute(platform)
    told = {document["info"]["execution_id"] for document in listener.documents()}
    assert early in told
    assert lost not in told


def test_an_early_webhook_is_answered_before_the_request(make: Callable[..., DemoPlatform], listener: Listener) -> None:
    platform = make(webhook_url=listener.url, duration=60)
    platform.faults.apply({"webhooks": {"early": 1.0}})
    for number in range(5):
        execution_id = execute(platform, number)
        assert listener.documents()[-1]["info"]["execution_id"] == execution_id


@pytest.mark.parametrize("shares", [{"lost": 2}, {"early": -1}, {"shuffle": 61}, {"forged": True}, {"duplicate": "1"}])
def test_a_share_that_is_none_is_refused(make: Callable[..., DemoPlatform], shares: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="share"):
        make().faults.webhooks(**shares)


def test_the_key_is_the_same_after_a_restart(make: Callable[..., DemoPlatform]) -> None:
    one = make()
    key = one.webhook_public_key
    one.close()
    assert make().webhook_public_key == key
