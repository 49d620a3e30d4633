"""The demo platform's webhooks: signed, sent by a thread of their own, tried again, and going wrong as asked."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import uuid
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import cached_property
from sqlite3 import Row
from threading import Thread

import httpx
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from batchkit.core.execution import ExecutionStatus
from batchkit.targets.connection import Answer, Connection
from batchkit.targets.demo.documents import Document, execution_document
from batchkit.targets.demo.executions import from_micros
from batchkit.targets.demo.faults import Faults, WebhookFaults
from batchkit.targets.demo.organization import Organization, wall_clock
from batchkit.targets.webhook_key import SIGNATURE_HEADER

__all__ = ["Webhooks", "new_key", "public_key_of"]

_TRIES = 8
#: seconds before the second try, and twice as many before each further one
_FIRST_PAUSE = 0.2
#: seconds an execute request waits for its early webhook
_EARLY_PATIENCE = 5.0
#: seconds between two looks at an execution that waits for room or is paused
_LOOK = 0.2
_HELD = (ExecutionStatus.PAUSED, ExecutionStatus.PAUSED_BY_AGENT, ExecutionStatus.AWAITING_CONFIRMATION)


def new_key() -> RSAPrivateKey:
    """A key pair to sign with."""
    return generate_private_key(public_exponent=65537, key_size=2048)


def public_key_of(key: RSAPrivateKey) -> str:
    """Its public key as the platform shows it: Base64 of DER."""
    return base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


class Webhooks:
    """Follows executions and tells one address of every change. Nothing is sent before `start`."""

    def __init__(
        self,
        organization: Organization,
        faults: Faults,
        key: Callable[[], RSAPrivateKey],
        link: Callable[[str], str],
        seed: int,
    ) -> None:
        """key: gives the key to sign with; called once, when it is needed, since making one takes a while.

        link: from an execution's id to where a person can look at it."""
        self._organization = organization
        self._faults = faults
        self._give_key = key
        self._link = link
        self._dice = random.Random(seed)
        self._url: httpx.URL | None = None
        self._connection: Connection | None = None
        self._loop: Future[asyncio.AbstractEventLoop] = Future()
        self._thread: Thread | None = None
        self._leaving = asyncio.Event()
        self._pokes: dict[str, asyncio.Event] = {}
        #: executions whose request is answered after their first webhook, and whether that came
        self._early: dict[str, Future[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @cached_property
    def key(self) -> RSAPrivateKey:
        """What webhooks are signed with."""
        return self._give_key()

    def start(self, url: str) -> None:
        """Send to that address from now on, also about what runs already."""
        _ = self.key  # here, and not while the first execution waits for it
        self._url = httpx.URL(url)
        self._connection = Connection(
            self._url, secrets=(), total_timeout=10.0, connect_timeout=2.0, max_connections=20
        )
        if self._thread is None:
            self._thread = Thread(target=self._run, name="demo platform webhooks", daemon=True)
            self._thread.start()
            for row in self._organization.every_execution():
                if not ExecutionStatus(row["status"]).terminal:
                    self.changed(row["id"])

    def changed(self, execution_id: str) -> None:
        """An execution was created or acted upon. From any thread."""
        if self._thread is not None:
            share = self._faults.webhook.early
            if share and execution_id not in self._pokes and self._dice.random() < share:
                self._early[execution_id] = Future()
            self._loop.result().call_soon_threadsafe(self._look_at, execution_id)

    async def precede(self, execution_id: str) -> None:
        """Return when the execution's first webhook was answered, if it is to come early; else at once."""
        first = self._early.get(execution_id)
        if first is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.wrap_future(first), _EARLY_PATIENCE)

    def close(self) -> None:
        """Send nothing more."""
        if self._thread is not None and self._thread.is_alive():
            self._loop.result().call_soon_threadsafe(self._leaving.set)
            self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            self._loop.set_result(runner.get_loop())
            runner.run(self._until_closed())

    async def _until_closed(self) -> None:
        await self._leaving.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._connection is not None:
            await self._connection.aclose()

    def _look_at(self, execution_id: str) -> None:
        if execution_id in self._pokes:
            self._pokes[execution_id].set()
        else:
            self._pokes[execution_id] = asyncio.Event()
            self._start(self._follow(execution_id, self._pokes[execution_id]))

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, execution_id: str, poke: asyncio.Event) -> None:
        """Tell every change of one execution until its end."""
        told: ExecutionStatus | None = None
        while told is None or not told.terminal:
            poke.clear()
            row = self._organization.execution(execution_id)
            status = ExecutionStatus(row["status"])
            for event in _events(told, status):
                self._tell(event, row)
            told = status
            if not status.terminal:
                with suppress(TimeoutError):
                    await asyncio.wait_for(poke.wait(), _seconds_to_change(row))

    def _tell(self, event: str, row: Row) -> None:
        """Send one event, as the faults say."""
        faults, dice = self._faults.webhook, self._dice
        first = self._early.get(row["id"])
        early = first is not None and not first.done()
        if not early and dice.random() < faults.lost:
            return
        body = json.dumps(self._document(event, row), separators=(",", ":")).encode()
        self._start(self._send(body, row["id"], faults, early))

    async def _send(self, body: bytes, execution_id: str, faults: WebhookFaults, early: bool) -> None:
        if faults.shuffle and not early:
            await asyncio.sleep(self._dice.uniform(0, faults.shuffle))
        signature = base64.b64encode(self.key.sign(body, PKCS1v15(), SHA256()))
        if self._dice.random() < faults.forged:
            await self._post(_altered(body), signature)
        for _ in range(2 if self._dice.random() < faults.duplicate else 1):
            await self._deliver(body, signature)
        if early and not self._early[execution_id].done():
            self._early[execution_id].set_result(None)

    async def _deliver(self, body: bytes, signature: bytes) -> None:
        pause = _FIRST_PAUSE
        for _ in range(_TRIES):
            status = await self._post(body, signature)
            if status is not None and status < 500 and status not in (408, 429):
                return
            await asyncio.sleep(pause)
            pause *= 2

    async def _post(self, body: bytes, signature: bytes) -> int | None:
        assert self._connection is not None
        assert self._url is not None
        headers = [(b"content-type", b"application/json"), (SIGNATURE_HEADER.encode(), signature)]
        answer = await self._connection.send("POST", self._url, body, headers)
        return answer.status if isinstance(answer, Answer) else None

    def _document(self, event: str, row: Row) -> Document:
        """The webhook, in one of the two spellings of events."""
        document = execution_document(row, self._organization.catalog)
        moments = {"STARTED": row["starting_at"], "COMPLETED": row["terminal_at"], "FAILED": row["terminal_at"]}
        name = f"EXECUTION_{event}"
        info: Document = {
            "event": name if self._dice.random() < 0.5 else name.title().replace("_", ""),
            "execution_id": row["id"],
            "execution_url": self._link(row["id"]),
            "agent_id": row["agent_id"],
            "agent_name": row["agent_name"],
            "payload": _payload(event, document),
        }
        if document["metadata"]:
            info["metadata"] = document["metadata"]
        return {
            "type": "execution",
            "event_id": str(uuid.UUID(int=self._dice.getrandbits(128), version=4)),
            "timestamp": from_micros(moments.get(event) or wall_clock()).isoformat(),
            "info": info,
        }


def _events(before: ExecutionStatus | None, now: ExecutionStatus) -> Iterator[str]:
    """The names of the events between two looks."""
    if before in (None, ExecutionStatus.QUEUED) and now is not ExecutionStatus.QUEUED:
        yield "STARTED"
    if now.terminal:
        yield now.name
    elif now in _HELD and now is not before:
        yield "AWAITING_CONFIRMATION" if now is ExecutionStatus.AWAITING_CONFIRMATION else "PAUSED"
    elif before in _HELD and now not in _HELD:
        yield "RESUMED"


def _payload(event: str, document: Document) -> Document:
    result = document.get("executionResult", {})
    if event == "COMPLETED":
        return {key: result.get(key) for key in ("result", "reasoning", "outcome")}
    if event == "FAILED":
        return {"reason": result.get("reasoning", "")}
    return {"reason": "Cancelled by a user."} if event == "CANCELLED" else {}


def _altered(body: bytes) -> bytes:
    """The same event with another id and another end."""
    document = json.loads(body)
    document["event_id"] = f"forged-{document['event_id']}"
    document["info"]["event"] = "EXECUTION_CANCELLED"
    return json.dumps(document).encode()


def _seconds_to_change(row: Row) -> float:
    """Until the execution's next planned change."""
    now = wall_clock()
    planned = (row[name] for name in ("running_at", "attention_at", "attention_until", "terminal_at"))
    ahead: list[int] = [moment - now for moment in planned if moment is not None and moment > now]
    if row["starting_at"] is None or row["paused_at"] is not None or not ahead:
        return _LOOK
    return max(0.0, min(ahead) / 1_000_000)
