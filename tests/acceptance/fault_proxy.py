"""FaultProxy: stands between client and platform on loopback and breaks what passes, each time in a way of its own."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

__all__ = ["LATE", "WAYS", "FaultProxy", "Passage"]

#: what can happen to an execute request, and whether the platform gets it
WAYS = {
    "pass": True,
    "slow body": True,
    "reset before the body": False,
    "reset after the body": False,
    "reset once accepted": True,
    "stall": False,
    "stall once accepted": True,
    "late": True,
    "half the head": True,
    "half the body": True,
    "endless body": True,
    "502": False,
    "502 once accepted": True,
}
#: seconds after the client has given up until a request that comes late is passed on
LATE = 0.3
_GAP = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """One execute request that came by."""

    way: str
    #: empty where its body was not read
    metadata: Mapping[str, str]


class Refusal(Exception):
    """The connection is to be reset."""


class FaultProxy:
    """Listens until `close`; `passages` says what came by."""

    def __init__(
        self,
        port: int,
        *,
        shares: Mapping[str, float] | None = None,
        others: float = 0.0,
        seed: int = 0,
        refuse_at: frozenset[int] = frozenset(),
        refuse_seconds: float = 0.2,
        change: Callable[[bytes], bytes] = lambda answer: answer,
    ) -> None:
        """port: the platform's.

        shares: of the ways among execute requests, the rest passes. others: share of other requests that are reset.
        seed: which request gets which. refuse_at: at these running numbers of execute requests it stops listening for
        `refuse_seconds`. change: what becomes of a whole answer on its way back.
        """
        self._platform = port
        self._shares = dict(shares or {})
        self._others = others
        self._dice = random.Random(seed)
        self._refuse_at = refuse_at
        self._refuse_seconds = refuse_seconds
        self._change = change
        #: every execute request, in the order of arrival
        self.passages: list[Passage] = []
        self.refusals = 0
        self._connections: set[asyncio.StreamWriter] = set()
        #: of all connections that were taken
        self._transports: WeakSet[asyncio.WriteTransport] = WeakSet()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._listening: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)
        self._thread.start()
        self.port: int = asyncio.run_coroutine_threadsafe(self._listen(0), self._loop).result(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ways(self) -> Counter[str]:
        """How often each way was taken."""
        return Counter(passage.way for passage in self.passages)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self, port: int) -> int:
        self._listening = await asyncio.start_server(self._accepted, "127.0.0.1", port, backlog=512)
        return int(self._listening.sockets[0].getsockname()[1])

    async def _close(self) -> None:
        if self._listening is not None:
            self._listening.close()
        # A connection that was being accepted has its task a moment later, and a closed one its end.
        for _ in range(3):
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            # What its task has left may still have something to write to somebody who does not read it.
            for transport in self._transports:
                transport.abort()
            await asyncio.sleep(0.05)

    async def _refuse(self) -> None:
        """Be gone for a while: nothing listens, and idle connections are closed."""
        assert self._listening is not None
        self.refusals += 1
        self._listening.close()
        for writer in list(self._connections):
            _reset(writer)
        await asyncio.sleep(self._refuse_seconds)
        await self._listen(self.port)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._transports.add(writer.transport)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._connections.add(writer)
        try:
            while await self._serve(reader, writer):
                pass
        except Refusal:
            _reset(writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(writer)
            self._tasks.discard(task)
            if self._listening is not None and not self._listening.is_serving():
                # Nobody reads what is left to be written.
                writer.transport.abort()
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection is kept."""
        head = await reader.readuntil(b"\r\n\r\n")
        is_execute = head.startswith(b"POST") and b"/execute " in head.partition(b"\r\n")[0]
        way = self._choose() if is_execute else "pass"
        if is_execute and len(self.passages) in self._refuse_at:
            self._refuse_at -= {len(self.passages)}
            self._keep(self._refuse())
        if not is_execute and self._dice.random() < self._others:
            raise Refusal
        if way == "reset before the body":
            self.passages.append(Passage(way=way, metadata={}))
            raise Refusal
        request = head + await reader.readexactly(_length(head))
        if is_execute:
            body = json.loads(request[len(head) :])
            self.passages.append(Passage(way=way, metadata=body["metadata"]))
        return await self._treat(way, request, reader, writer)

    async def _treat(
        self, way: str, request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        if way in ("stall", "late"):
            await reader.read()
        if way == "late":
            # On its way somewhere while the client has given up: it arrives all the same.
            await asyncio.sleep(LATE)
        answer = self._change(await self._ask(request)) if WAYS[way] else b""
        head, separator, body = answer.partition(b"\r\n\r\n")
        match way:
            case "pass":
                writer.write(answer)
                await writer.drain()
                return True
            case "slow body" | "endless body":
                writer.write(head + separator)
                for byte in body[:-1] if way == "endless body" else body:
                    writer.write(bytes([byte]))
                    await asyncio.sleep(_GAP if way == "endless body" else 0.002)
                if way == "endless body":
                    await reader.read()
                return way == "slow body"
            case "half the head":
                writer.write(head[: len(head) // 2])
            case "half the body":
                writer.write(head + separator + body[: len(body) // 2])
            case "502" | "502 once accepted":
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 11\r\n\r\nBad Gateway")
                await writer.drain()
                return True
            case "stall once accepted":
                await reader.read()
            case "reset after the body" | "reset once accepted":
                raise Refusal
        await writer.drain()
        return False

    def _choose(self) -> str:
        point = self._dice.random()
        for way, share in self._shares.items():
            point -= share
            if point < 0:
                return way
        return "pass"

    async def _ask(self, request: bytes) -> bytes:
        """The platform's whole answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._platform)
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            return head + await reader.readexactly(_length(head))
        finally:
            writer.close()

    def _keep(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    assert b"transfer-encoding" not in head.lower()
    return 0


def _reset(writer: asyncio.StreamWriter) -> None:
    """Drop the connection with a RST."""
    connected = writer.get_extra_info("socket")
    with suppress(OSError):
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
