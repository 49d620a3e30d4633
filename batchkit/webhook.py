"""The receiver of the platform's webhooks: an ASGI app, to be served by itself or mounted in another one.

    app = bk.webhook_app("runs.sqlite", public_key)      # uvicorn module:app

It answers 200 for what was written down, and for what is not for this store; 400, 401, 405, 408 and 413 for what will
never be right; and 503 where the store cannot be written at the moment, so that the platform sends it again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os

from starlette.types import Receive, Scope, Send

from batchkit.core.heard import Heard, Hearing
from batchkit.core.ports import Clock
from batchkit.errors import ConfigError, StoreError
from batchkit.io.address import Address, address_of
from batchkit.io.clock import SystemClock
from batchkit.io.store import SqlStore
from batchkit.targets.webhook_key import SIGNATURE_HEADER, WebhookKey
from batchkit.targets.webhook_payload import read_webhook
from batchkit.workspace import Workspace

__all__ = ["KEY_VARIABLE", "WebhookReceiver", "webhook_app"]

logger = logging.getLogger("batchkit")

KEY_VARIABLE = "BATCHKIT_WEBHOOK_KEY"
#: bytes of a body
_LARGEST = 64 * 1024
#: seconds a sender has for its body
_PATIENCE = 10.0
#: webhooks written down with one commit
_MOST_AT_ONCE = 200
_HEADER = SIGNATURE_HEADER.lower().encode()


def webhook_app(store: Workspace | str | os.PathLike[str] | Address, public_key: str | None = None) -> WebhookReceiver:
    """An ASGI app that writes the platform's webhooks into the store of a workspace, or the store at a path or URL.

    public_key: the platform's, Base64 of DER; None means the environment's BATCHKIT_WEBHOOK_KEY. Raises ConfigError.
    """
    text = public_key or os.environ.get(KEY_VARIABLE, "")
    if not text.strip():
        raise ConfigError(f"Which key signs the webhooks? Set {KEY_VARIABLE}, or pass public_key=.")
    if isinstance(store, Workspace):
        return WebhookReceiver(store.store_address, WebhookKey(text), store.clock)
    return WebhookReceiver(address_of(store), WebhookKey(text))


class WebhookReceiver:
    """Takes POST requests at any path. It writes through a connection of its own, in whatever process it is served."""

    def __init__(
        self, store: Address, key: WebhookKey, clock: Clock | None = None, *, patience: float = _PATIENCE
    ) -> None:
        """patience: seconds a sender has for its body."""
        self._clock = clock or SystemClock()
        self._key = key
        self._patience = patience
        self._store = SqlStore(store, self._clock)
        self._waiting: list[tuple[Heard, asyncio.Future[Hearing]]] = []
        self._writing: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<WebhookReceiver for {self._store.label}>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the app."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            try:
                answer = await self._answer(scope, receive)
            except _GoneError:
                return
            except Exception:  # whatever it is, the sender is to try again
                logger.exception("A webhook could not be taken")
                answer = _Answer(503, "The webhook could not be taken. Send it again later.")
            await answer(scope, receive, send)

    def close(self) -> None:
        """Close the store; no request may follow."""
        self._store.shutdown()

    async def _live(self, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        self.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Scope, receive: Receive) -> _Answer:
        if scope["method"] != "POST":
            return _Answer(405, "Webhooks come with POST.")
        signatures = [value for name, value in scope["headers"] if name == _HEADER]
        try:
            async with asyncio.timeout(self._patience):
                body = await _body(scope, receive)
        except TimeoutError:
            return _Answer(408, f"The body did not come within {self._patience:g} s.")
        if body is None:
            return _Answer(413, f"A webhook has at most {_LARGEST:,} bytes.")
        if len(signatures) != 1 or not self._key.verifies(signatures[0].decode("latin-1"), body):
            return _Answer(401, f"{SIGNATURE_HEADER} is missing or is not the platform's signature of this body.")
        try:
            heard = read_webhook(body, self._clock.now())
        except ValueError as error:
            return _Answer(400, str(error))
        if heard is None:
            return _Answer(200, Hearing.IGNORED)
        try:
            return _Answer(200, await self._write(heard))
        except StoreError as error:
            logger.warning("A webhook could not be written down: %s", error)
            return _Answer(503, "The store cannot be written at the moment. Send it again later.")

    async def _write(self, heard: Heard) -> Hearing:
        """What was done with it, once it is on the disk; those that come meanwhile share the next commit."""
        future: asyncio.Future[Hearing] = asyncio.get_running_loop().create_future()
        self._waiting.append((heard, future))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write_all())
        return await future

    async def _write_all(self) -> None:
        while self._waiting:
            some, self._waiting = self._waiting[:_MOST_AT_ONCE], self._waiting[_MOST_AT_ONCE:]
            try:
                await self._write_together(some)
            except StoreError as error:
                _fail(some, error)
            except Exception:  # nothing that one of them does is to hold up the others
                for each in some:
                    try:
                        await self._write_together([each])
                    except Exception as error:  # told to its own sender
                        _fail([each], error)

    async def _write_together(self, some: list[tuple[Heard, asyncio.Future[Hearing]]]) -> None:
        done = await self._store.hear([heard for heard, _ in some])
        for (_, future), what in zip(some, done, strict=True):
            if not future.done():
                future.set_result(what)


def _fail(some: list[tuple[Heard, asyncio.Future[Hearing]]], error: Exception) -> None:
    for _, future in some:
        if not future.done():
            future.set_exception(error)


class _GoneError(Exception):
    """The sender has closed the connection."""


class _Answer:
    """A short JSON answer; one to a body that was not read to its end closes the connection."""

    def __init__(self, status: int, said: str) -> None:
        self._status = status
        document = {"status": said} if status == 200 else {"error": said}
        self._content = json.dumps(document).encode()

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(self._content))]
        if self._status == 405:
            headers.append((b"allow", b"POST"))
        if self._status in (405, 408, 413):
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        await send({"type": "http.response.body", "body": self._content})


async def _body(scope: Scope, receive: Receive) -> bytes | None:
    """The body, None as soon as it is seen to be too large. Raises _GoneError."""
    said = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if not said.isdigit() or int(said[:20]) > _LARGEST:
        return None
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _GoneError
        body += message.get("body", b"")
        if len(body) > _LARGEST:
            return None
        if not message.get("more_body", False):
            return bytes(body)
