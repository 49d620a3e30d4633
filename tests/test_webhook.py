"""The receiver of webhooks over real HTTP: what it takes, and what it refuses however it is sent."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import batchkit as bk
from batchkit.targets.demo.server import LoopbackServer
from batchkit.targets.webhook_key import WebhookKey
from batchkit.testing import ScriptedTarget
from batchkit.webhook import WebhookReceiver

PATIENCE = 0.5


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public(key: Any) -> str:
    return base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


class Sender:
    """Signs and sends, as the platform or as somebody else."""

    def __init__(self, port: int, key: rsa.RSAPrivateKey) -> None:
        self.port = port
        self.key = key

    def signature(self, body: bytes, algorithm: Any = None) -> str:
        return base64.b64encode(self.key.sign(body, PKCS1v15(), algorithm or SHA256())).decode()

    def send(self, body: bytes, signature: str | None = "right", *, method: str = "POST") -> tuple[int, Any]:
        headers = {"content-type": "application/json"}
        if signature is not None:
            headers["X-Asteroid-Signature"] = self.signature(body) if signature == "right" else signature
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, "/any/path", body, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def raw(self, head: str, *pieces: bytes, pause: float = 0.0) -> bytes:
        """All that is answered to bytes sent as they are."""
        with socket.create_connection(("127.0.0.1", self.port), 60) as connection:
            connection.sendall(head.replace("\n", "\r\n").encode())
            answer = b""
            try:
                for piece in pieces:
                    time.sleep(pause)
                    connection.sendall(piece)
                while some := connection.recv(65_536):
                    answer += some
            except ConnectionError:
                pass
            return answer


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "runs.sqlite"


@pytest.fixture
def sender(store: Path, key: rsa.RSAPrivateKey) -> Iterator[Sender]:
    receiver = WebhookReceiver(store, WebhookKey(public(key)), patience=PATIENCE)
    server = LoopbackServer(receiver, 0, lambda: None)
    yield Sender(server.port, key)
    server.close()
    receiver.close()


def webhook(event: str = "EXECUTION_COMPLETED", event_id: str = "e-1", **info: Any) -> bytes:
    told = {"event": event, "execution_id": "x-1", "payload": {}} | info
    return json.dumps({"type": "execution", "event_id": event_id, "timestamp": "2026-01-01", "info": told}).encode()


def test_what_the_platform_signed_is_taken(sender: Sender) -> None:
    assert sender.send(webhook()) == (200, {"status": "kept"})
    assert sender.send(webhook()) == (200, {"status": "duplicate"})
    assert sender.send(webhook("ExecutionStepDone", "e-2")) == (200, {"status": "ignored"})


@pytest.mark.parametrize("signature", [None, "", "!", "ÿ", "QUFB", "A" * 10_000, "right,right"])
def test_without_the_right_signature_nothing_is_taken(sender: Sender, signature: str | None) -> None:
    status, said = sender.send(webhook(), signature)
    assert (status, list(said)) == (401, ["error"])
    assert sender.send(webhook()) == (200, {"status": "kept"})


def test_a_signature_is_of_these_bytes_by_this_key_and_this_algorithm(sender: Sender) -> None:
    body = webhook()
    other = Sender(sender.port, rsa.generate_private_key(public_exponent=65537, key_size=2048))
    assert sender.send(body + b" ", sender.signature(body))[0] == 401
    assert sender.send(body, other.signature(body))[0] == 401
    assert sender.send(body, sender.signature(body, SHA1()))[0] == 401
    twice = f"X-Asteroid-Signature: {sender.signature(body)}\n" * 2
    head = f"POST / HTTP/1.1\nHost: x\n{twice}Content-Length: {len(body)}\nConnection: close\n\n"
    assert sender.raw(head, body).startswith(b"HTTP/1.1 401")


def test_a_body_beyond_64_kib_is_refused_before_it_is_read(sender: Sender) -> None:
    most = webhook(payload={"result": "r" * 64 * 1024})
    assert sender.send(most)[0] == 413
    head = "POST / HTTP/1.1\nHost: x\nContent-Length: 999999999999\n\n"
    assert sender.raw(head).startswith(b"HTTP/1.1 413")
    exact = webhook(payload={"result": "r" * (64 * 1024 - len(webhook(payload={"result": ""})))})
    assert len(exact) == 64 * 1024
    assert sender.send(exact) == (200, {"status": "kept"})


def test_a_body_of_unknown_length_is_cut_off_at_64_kib(sender: Sender) -> None:
    chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    head = "POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n"
    began = time.monotonic()
    answer = sender.raw(head, *[chunk] * 2_000)
    # the connection is gone, whether or not the answer could still be read on the way
    assert not answer or answer.startswith(b"HTTP/1.1 413")
    assert time.monotonic() - began < 30
    assert sender.send(webhook()) == (200, {"status": "kept"})


def test_a_body_that_does_not_come_is_given_up(sender: Sender) -> None:
    head = "POST / HTTP/1.1\nHost: x\nContent-Length: 100\n\n"
    began = time.monotonic()
    assert sender.raw(head, b"{").startswith(b"HTTP/1.1 408")
    assert sender.raw(head, *[b"{"] * 4, pause=PATIENCE / 6).startswith(b"HTTP/1.1 408")
    assert time.monotonic() - began < 60


def test_a_sender_that_goes_away_harms_nobody(sender: Sender) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", sender.port)) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert sender.send(webhook()) == (200, {"status": "kept"})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"[" * 60_000,
        b'{"a":' * 12_000,
        webhook(event=5),
        webhook(execution_id={"$gt": ""}),
        webhook(payload={"result": [0]}).replace(b"[0]", b"[" * 900 + b"]" * 900),
        webhook(payload={"result": 0}).replace(b'"result": 0', b'"result": ' + b"9" * 6000),
        webhook(event_id="\x00"),
        webhook(event_id="e" * 60_000),
    ],
    ids=range(11),
)
def test_signed_nonsense_is_the_senders_fault(sender: Sender, body: bytes) -> None:
    status, said = sender.send(body)
    assert (status, list(said)) == (400, ["error"])


@pytest.mark.parametrize(
    "info",
    [
        {"payload": {"result": "\ud800", "reasoning": "\udfff\x00", "outcome": ["success"]}},
        {"payload": {"result": 1e308, "reasoning": 5}},
        {"payload": [1], "metadata": {"batchkit_batch": "b'; DROP TABLE batch; --", "batchkit_item": "0"}},
        {"metadata": {"batchkit_batch": "b\ud800", "batchkit_item": "0", "batchkit_attempt": "1"}},
        {"metadata": {"batchkit_batch": "b1", "batchkit_item": "2147483647", "batchkit_attempt": "1"}},
        {"metadata": {"batchkit_batch": "%" * 5000, "batchkit_item": "1", "batchkit_attempt": "1"}},
    ],
    ids=range(6),
)
def test_signed_oddities_are_taken_and_do_no_harm(sender: Sender, info: dict[str, Any]) -> None:
    assert sender.send(webhook(**info))[0] == 200
    assert sender.send(webhook(event_id="e-9")) == (200, {"status": "kept"})


def test_other_methods_are_refused(sender: Sender) -> None:
    assert sender.send(b"", method="GET")[0] == 405
    assert sender.send(webhook(), method="PUT")[0] == 405


def test_while_the_store_is_locked_the_sender_is_asked_to_come_again(sender: Sender, store: Path) -> None:
    assert sender.send(webhook(event_id="e-0"))[0] == 200
    with closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert sender.send(webhook())[0] == 503
        other.execute("ROLLBACK")
    assert sender.send(webhook()) == (200, {"status": "kept"})


def test_many_at_once_are_each_answered_for_themselves(sender: Sender) -> None:
    bodies = [webhook(event_id=f"e-{number % 40}") for number in range(80)]
    with ThreadPoolExecutor(16) as threads:
        said = [answer["status"] for _, answer in threads.map(sender.send, bodies)]
    assert (said.count("kept"), said.count("duplicate")) == (40, 40)


def test_one_event_of_a_batch_reaches_its_row(store: Path, key: rsa.RSAPrivateKey) -> None:
    with bk.Workspace(ScriptedTarget(), store=store) as ws:
        receiver = bk.webhook_app(ws, public(key))
        server = LoopbackServer(receiver, 0, lambda: None)
        agent = ws.agent()
        checked = ws.validate(table := bk.read_csv(b"value\na\n"), ws.suggest_mapping(table, agent), agent)
        batch = ws.create_batch(checked, bk.BatchConfig(name="One", batch_interval=0))
        batch.join("finished")
        metadata = {"batchkit_batch": batch.id, "batchkit_item": "0", "batchkit_attempt": "1"}
        execution_id = batch.results()["execution_id"][0]
        sender = Sender(server.port, key)
        said = sender.send(webhook("EXECUTION_FAILED", execution_id=execution_id, metadata=metadata))
        assert said == (200, {"status": "outdated"})
        assert batch.progress.executions.succeeded == 1
        server.close()
        receiver.close()


@pytest.mark.parametrize("text", ["", "abc", "QUJD", "-----BEGIN PUBLIC KEY-----\nQUJD\n-----END PUBLIC KEY-----"])
def test_what_is_no_key_is_said_at_once(store: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BATCHKIT_WEBHOOK_KEY", raising=False)
    with pytest.raises(bk.ConfigError, match="key"):
        bk.webhook_app(store, text)


def test_a_short_or_foreign_key_is_refused(store: Path) -> None:
    with pytest.raises(bk.ConfigError, match="1024 bits"):
        bk.webhook_app(store, public(rsa.generate_private_key(public_exponent=65537, key_size=1024)))
    with pytest.raises(bk.ConfigError, match="RSA key of at least"):
        bk.webhook_app(store, public(ec.generate_private_key(ec.SECP256R1())))


def test_a_key_with_the_lines_of_pem_is_taken(key: rsa.RSAPrivateKey) -> None:
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert WebhookKey(pem).verifies(base64.b64encode(key.sign(b"a", PKCS1v15(), SHA256())).decode(), b"a")
