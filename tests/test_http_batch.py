"""Whole batches against an HTTP endpoint: from a CSV to results, with refused rows, status polling and a restart."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from batches import eventually

import batchkit as bk

TOKEN = "token-0123456789-never-shown"
NOW = bk.BatchConfig(name="Jobs", batch_interval=0, max_concurrent=20)


class Endpoint:
    """An API that takes jobs and finishes each after two looks, once `going` is set; clients named bad are refused.

    Amounts of 13 fail. A client named "lost" is taken, and the connection dropped instead of an answer, once.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, str] = {}
        self.looks: Counter[str] = Counter()
        self.ended: set[str] = set()
        #: the most jobs that had not ended at a time
        self.most = 0
        self.bodies: list[dict[str, Any]] = []
        self.going = threading.Event()
        self.lock = threading.Lock()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.headers["Authorization"] != f"Bearer {TOKEN}":
                    self.say(401, {"error": "who are you?"})
                    return
                status, said = endpoint.take(body, self.headers["Idempotency-Key"])
                if status:
                    self.say(status, said)
                else:
                    self.close_connection = True

            def do_GET(self) -> None:
                self.say(*endpoint.tell(self.path))

            def say(self, status: int, said: object) -> None:
                content = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def take(self, body: dict[str, Any], key: str) -> tuple[int, object]:
        with self.lock:
            self.bodies.append(body)
            if body["client"].startswith("bad"):
                return 422, {"error": f"{body['client']} is no client"}
            identity = self.keys.setdefault(key, f"job/{len(self.jobs)}")
            self.jobs[identity] = body
            self.most = max(self.most, len(self.jobs) - len(self.ended))
            return (0, None) if body["client"] == "lost" else (202, {"job": {"id": identity}})

    def tell(self, path: str) -> tuple[int, object]:
        found = re.fullmatch(r"/jobs/(job%2F\d+)", path)
        with self.lock:
            if found is None:
                key = path.partition("?key=")[2]
                return 200, {"jobs": [{"id": self.keys[key]}] if key in self.keys else []}
            identity = found[1].replace("%2F", "/")
            self.looks[identity] += 1
            if not self.going.is_set() or self.looks[identity] < 2:
                return 200, {"state": "working"}
            self.ended.add(identity)
            amount = self.jobs[identity]["amount"]
            if amount == 13:
                return 200, {"state": "failed", "error": "13 is unlucky"}
            return 200, {"state": "done", "output": {"double": amount * 2}}


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setenv("JOBS_TOKEN", TOKEN)
    server = Endpoint()
    yield server
    server.close()


def target_at(url: str, **changes: Any) -> bk.HttpTarget:
    settings: dict[str, Any] = {
        "headers": {"Authorization": "Bearer env:JOBS_TOKEN"},
        "body": '{"client": {{client}}, "amount": {{amount}}, "note": "Note: {{note}}"}',
        "inputs": [
            bk.InputVariable("amount", schema={"type": "integer"}, required=True),
            bk.InputVariable("note"),
        ],
        "idempotency_header": "Idempotency-Key",
        "polling": bk.Polling("/jobs/{{id}}", id="$.job.id", status="$.state", interval=0.05),
        "lookup": bk.Lookup("/jobs?key={{batchkit_key}}", id="$.jobs[0].id", delay=0.0),
        "result": "$.output",
        "allow_private": True,
        "total_timeout": 10.0,
        "connect_timeout": 5.0,
    }
    return bk.HttpTarget("POST", url + "/jobs", **(settings | changes))


def checked(ws: bk.Workspace, csv: str) -> bk.Validation:
    table = bk.read_csv(csv.encode())
    agent = ws.agent()
    return ws.validate(table, ws.suggest_mapping(table, agent), agent)


def hostile(number: int) -> str:
    return ['say "hi"', "two\nlines", "{{client}}", "ü💥", "a,b", "\\", "'; DROP", "}}", "</script>", "=1+1"][
        number % 10
    ]


def test_two_hundred_rows_are_sent_followed_and_joined_back(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.going.set()
    rows = ["Client,Amount,Note"]
    for number in range(200):
        client = f"bad {number}" if number % 20 == 7 else f"client {number}"
        note = hostile(number).replace('"', '""')
        rows.append(f'{client},{number},"{note}"')
    with bk.Workspace(target_at(endpoint.url), store=tmp_path / "runs.sqlite") as ws:
        validation = checked(ws, "\n".join(rows))
        batch = ws.create_batch(validation, NOW)
        batch.join("finished")
        results = batch.results()
        progress = batch.progress
    assert (progress.total, progress.triggered, progress.refused, progress.in_doubt) == (200, 190, 10, 0)
    assert (progress.executions.succeeded, progress.executions.failed) == (189, 1)
    assert results["Client"].tolist() == [line.partition(",")[0] for line in rows[1:]]
    for number, row in enumerate(results.to_dict("records")):
        if number % 20 == 7:
            assert "is no client" in row["error"]
        elif number == 13:
            assert row["error"] == "13 is unlucky"
        else:
            assert row["result"] == {"double": 2 * number}
    sent = {body["amount"]: body for body in endpoint.bodies}
    assert len(endpoint.bodies) == 200
    for number in range(200):
        assert sent[number]["note"] == f"Note: {hostile(number)}"


def test_no_more_jobs_are_unfinished_than_may_be_and_a_higher_limit_is_followed(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    names = ["bad one" if n % 9 == 5 else "lost" if n == 7 else f"client {n}" for n in range(60)]
    csv = "client,amount\n" + "".join(f"{name},{n}\n" for n, name in enumerate(names))
    target = target_at(endpoint.url, total_timeout=1.5, connect_timeout=1.0)
    with bk.Workspace(target, store=tmp_path / "s.sqlite") as ws:
        config = bk.BatchConfig(name="Jobs", batch_interval=0, max_concurrent=20, max_in_flight=5)
        batch = ws.create_batch(checked(ws, csv), config)
        eventually(lambda: batch.progress.executions.open == 5)
        assert endpoint.most == 5
        endpoint.going.set()
        eventually(lambda: batch.progress.executions.succeeded >= 20)
        assert endpoint.most == 5
        # None ends until there are as many as may be.
        endpoint.going.clear()
        batch.update(max_in_flight=9)
        eventually(lambda: endpoint.most == 9)
        endpoint.going.set()
        batch.join("finished")
        assert endpoint.most == 9
        progress = batch.progress
    bad = sum(name == "bad one" for name in names)
    assert (progress.refused, progress.triggered) == (bad, 60 - bad)
    # The one whose amount is 13.
    assert (progress.executions.failed, progress.executions.succeeded) == (1, 60 - bad - 1)
    assert len(endpoint.ended) == 60 - bad


def test_what_was_triggered_is_followed_after_a_restart(endpoint: Endpoint, tmp_path: Path) -> None:
    store = tmp_path / "runs.sqlite"
    with bk.Workspace(target_at(endpoint.url), store=store) as ws:
        csv = "\n".join(["client,amount", *(f"c,{number}" for number in range(120))])
        batch = ws.create_batch(checked(ws, csv), NOW)
        batch.join()
        assert batch.progress.executions.succeeded == 0
    endpoint.going.set()
    with bk.Workspace(target_at(endpoint.url), store=store) as ws:
        again = ws.batch(batch.id)
        again.take_over()
        again.join("finished")
        results = again.results()
    assert [row["double"] for row in results["result"] if row is not None] == [2 * n for n in range(120) if n != 13]
    assert len(endpoint.bodies) == 120


def test_a_lost_answer_is_looked_up_and_the_row_not_sent_twice(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.going.set()
    short = {"total_timeout": 0.6, "connect_timeout": 0.5}
    with bk.Workspace(target_at(endpoint.url, **short), store=tmp_path / "runs.sqlite") as ws:
        batch = ws.create_batch(checked(ws, "client,amount\na,1\nlost,2\nb,3"), NOW)
        batch.join("finished")
        assert [row["double"] for row in batch.results()["result"]] == [2, 4, 6]
    assert [body["client"] for body in endpoint.bodies].count("lost") == 1


def test_a_changed_template_does_not_go_on_with_the_batch(endpoint: Endpoint, tmp_path: Path) -> None:
    store = tmp_path / "runs.sqlite"
    with bk.Workspace(target_at(endpoint.url), store=store) as ws:
        batch = ws.create_batch(checked(ws, "client,amount\na,1"), NOW)
        batch.join()
    changed = target_at(endpoint.url, body='{"client": {{client}}, "amount": {{amount}}, "note": "{{note}}"}')
    with (
        bk.Workspace(changed, store=store) as ws,
        pytest.raises(bk.ConfigError, match=r"was made for .*template \w{6}\).*sends to .*template"),
    ):
        ws.batch(batch.id).take_over()


def test_the_first_row_is_shown_and_tested_before_a_batch(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.going.set()
    target = target_at(endpoint.url)
    with bk.Workspace(target, store=tmp_path / "runs.sqlite") as ws:
        validation = checked(ws, "client,amount,note\nAda,7,x\nBob,8,y")
        shown = target.dry_run(validation)
        assert endpoint.bodies == []
        assert json.loads(shown.content or b"") == {"client": "Ada", "amount": 7, "note": "Note: x"}
        trial = target.send_test(validation)
        assert trial.result == {"double": 14}
        assert len(endpoint.bodies) == 1
        nothing = checked(ws, "client,amount\nAda,x")
        with pytest.raises(bk.ConfigError, match="None of the checked rows is valid"):
            target.dry_run(nothing)


def test_values_of_a_declared_type_are_checked_before_anything_is_sent(endpoint: Endpoint, tmp_path: Path) -> None:
    with bk.Workspace(target_at(endpoint.url), store=tmp_path / "runs.sqlite") as ws:
        validation = checked(ws, "client,amount\nAda,many\n,3")
        assert sorted(validation.issues["field"]) == ["amount", "client"]
    assert endpoint.bodies == []


def test_the_store_keeps_the_reference_and_not_the_secret(endpoint: Endpoint, tmp_path: Path) -> None:
    store = tmp_path / "runs.sqlite"
    with bk.Workspace(target_at(endpoint.url), store=store) as ws:
        batch = ws.create_batch(checked(ws, "client,amount\na,1"), NOW)
        batch.join()
        assert batch.record.target.secret == "env:JOBS_TOKEN"
    with sqlite3.connect(store) as connection:
        dump = "\n".join(connection.iterdump())
    connection.close()
    assert "env:JOBS_TOKEN" in dump
    assert TOKEN not in dump
