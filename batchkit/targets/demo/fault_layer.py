"""The ASGI layer that lets faults strike, on real connections, and keeps the log of execute requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from batchkit.targets.demo.app import API_PREFIX
from batchkit.targets.demo.execute import parse_json_object
from batchkit.targets.demo.faults import Fault, FaultKind, Faults, FaultScope, Moment
from batchkit.targets.demo.problem import HttpProblem
from batchkit.targets.demo.request_log import RequestLog

__all__ = ["FaultLayer"]

#: what a garbled answer says
_GARBLED = b'<html>\n"executionId":'


class FaultLayer:
    """Wraps the platform's app. `scope["state"]["transport"]` must be the connection's transport."""

    def __init__(self, app: ASGIApp, faults: Faults, log: RequestLog, clock: Callable[[], int]) -> None:
        """clock: microseconds since 1970."""
        self._app = app
        self._faults = faults
        self._log = log
        self._clock = clock
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End every delay by closing its connection. To be called on the server's loop."""
        self._closing.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not scope["path"].startswith(f"{API_PREFIX}/"):
            await self._app(scope, receive, send)
        elif scope["method"] == "POST" and scope["path"].endswith("/execute"):
            await self._serve_execute(scope, receive, send)
        else:
            fault = self._faults.take(FaultScope.OTHER)
            if fault is None and not self._faults.other_latency:
                await self._app(scope, receive, send)
            else:
                visit = _Visit(self._closing, scope, receive, send)
                await visit.serve(self._app, fault, before=self._faults.other_latency)

    async def _serve_execute(self, scope: Scope, receive: Receive, send: Send) -> None:
        agent_id = scope["path"].rsplit("/", 2)[1]
        number = self._log.arrived(agent_id, self._clock(), time.monotonic())
        scope["state"]["request_number"] = number

        async def noting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._log.note_status(number, message["status"])
            await send(message)

        faults = self._faults
        fault = faults.take(FaultScope.EXECUTE)
        if fault is None and not (faults.latency or faults.answer_delay or faults.body_delay):
            await self._app(scope, receive, noting_send)
            return
        visit = _Visit(self._closing, scope, receive, noting_send, partial(self._note_body, number))
        await visit.serve(self._app, fault, before=faults.latency, after=faults.answer_delay, between=faults.body_delay)

    def _note_body(self, number: int, body: bytes) -> None:
        with suppress(HttpProblem):
            self._log.note_body(number, parse_json_object(body))


class _Visit:
    """One request on which a fault strikes or a delay lies."""

    def __init__(
        self,
        closing: asyncio.Event,
        scope: Scope,
        receive: Receive,
        send: Send,
        note_body: Callable[[bytes], None] | None = None,
    ) -> None:
        self._closing = closing
        self._scope = scope
        self._receive = receive
        self._send = send
        self._note_body = note_body

    async def serve(
        self, app: ASGIApp, fault: Fault | None, *, before: float = 0, after: float = 0, between: float = 0
    ) -> None:
        """Serve the request by `app`, with the fault and the delays (seconds)."""
        if fault is not None and fault.moment is Moment.BEFORE and fault.kind is FaultKind.DROP:
            await self._abort()
            return
        body = await self._read_body()
        if not await self._delay(before):
            return
        if fault is not None and fault.moment is Moment.BEFORE:
            await self._answer_error(fault)
            return
        start, content = await self._collect(app, body)
        if not await self._delay(after):
            return
        if fault is None:
            await self._answer(start, content, between)
        elif fault.kind is FaultKind.ANSWER:
            await self._answer_error(fault)
        elif fault.kind is FaultKind.GARBLE:
            await self._answer(_resized(start, _GARBLED), _GARBLED, between)
        else:
            if fault.moment is Moment.HALF:
                await self._begin_answer(start, content)
            await self._abort()

    async def _read_body(self) -> bytes:
        body = bytearray()
        while True:
            message = await self._receive()
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        if self._note_body is not None:
            self._note_body(bytes(body))
        return bytes(body)

    async def _collect(self, app: ASGIApp, body: bytes) -> tuple[Message, bytes]:
        """The start and the body of what `app` answers, nothing of which is sent yet."""
        messages: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            messages.append(message)

        await app(self._scope, receive, send)
        content: bytes = b"".join(message.get("body", b"") for message in messages[1:])
        return messages[0], content

    async def _delay(self, seconds: float) -> bool:
        """Wait, and say whether to go on: not if the server closes meanwhile."""
        if seconds <= 0:
            return True
        try:
            await asyncio.wait_for(self._closing.wait(), seconds)
        except TimeoutError:
            return True
        await self._abort()
        return False

    async def _answer_error(self, fault: Fault) -> None:
        problem = HttpProblem(
            fault.status,
            f"A fault of the demo platform: {fault.status}.",
            headers={} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"},
        )
        await problem.response(self._scope["path"])(self._scope, self._receive, self._send)

    async def _answer(self, start: Message, content: bytes, between: float) -> None:
        if between:
            await self._begin_answer(start, content)
            if not await self._delay(between):
                return
            content = content[len(content) // 2 :]
        else:
            await self._send(start)
        await self._send({"type": "http.response.body", "body": content})

    async def _begin_answer(self, start: Message, content: bytes) -> None:
        await self._send(start)
        half = content[: len(content) // 2]
        await self._send({"type": "http.response.body", "body": half, "more_body": True})

    async def _abort(self) -> None:
        """Close the connection without another byte, and wait until the server has noticed."""
        self._scope["state"]["transport"].abort()
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _resized(start: Message, content: bytes) -> Message:
    """The start of an answer, with the length of another body."""
    headers = [(name, value) for name, value in start["headers"] if name != b"content-length"]
    return {**start, "headers": [*headers, (b"content-length", b"%d" % len(content))]}
