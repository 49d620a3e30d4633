"""FaultServer: a raw server on loopback that misbehaves on purpose, one scripted way each."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

ACCEPTED = json.dumps({"executionId": "e-1", "status": "starting"}).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRequest:
    """One whole request as it came over the wire."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> list[tuple[str, str]]:
        return parse_qsl(self.target.partition("?")[2])

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Peer:
    """One accepted connection, in the hands of a script."""

    def __init__(self, server: FaultServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer

    async def request(self) -> SeenRequest | None:
        """The next whole request, None once the client has left."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").rstrip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        method, target, _ = first.split(" ")
        seen = SeenRequest(method=method, target=target, headers=headers, body=body)
        self._server.requests.append(seen)
        return seen

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A whole answer; header names with _ for -."""
        lines = [f"HTTP/1.1 {status} Scripted", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def reset(self) -> None:
        """Drop the connection with a RST."""
        connected = self._writer.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def until_client_leaves(self) -> None:
        """Say nothing more."""
        while await self._reader.read(65536):
            pass


Script = Callable[[Peer], Awaitable[None]]


class FaultServer:
    """Runs `script` for every connection; `requests` are those that arrived whole."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._peers: set[asyncio.Task[None]] = set()
        self.requests: list[SeenRequest] = []
        self.connections = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> FaultServer:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, backlog=1024)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for peer in self._peers:
            peer.cancel()
        await asyncio.gather(*self._peers, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._peers.add(task)
        self.connections += 1
        try:
            await self._script(Peer(self, reader, writer))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._peers.discard(task)
            writer.close()


def answering(status: int, body: bytes | object = b"", **headers: str) -> Script:
    """Answers every request so, and keeps the connection."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.answer(status, content, **headers)

    return script


def routed(answers: Callable[[SeenRequest], tuple[int, object]]) -> Script:
    """Answers every request with the (status, JSON) that `answers` gives for it."""

    async def script(peer: Peer) -> None:
        while request := await peer.request():
            status, body = answers(request)
            await peer.answer(status, json.dumps(body).encode())

    return script


async def reset_before_reading(peer: Peer) -> None:
    peer.reset()


async def close_before_reading(peer: Peer) -> None:
    """Leaves at once, with a FIN."""


async def reset_after_reading(peer: Peer) -> None:
    await peer.request()
    peer.reset()


async def close_after_reading(peer: Peer) -> None:
    await peer.request()


async def half_the_status_line(peer: Peer) -> None:
    await peer.request()
    await peer.write(b"HTTP/1.1 20")


async def half_the_headers_then_reset(peer: Peer) -> None:
    await peer.request()
    await peer.write(b"HTTP/1.1 202 Accepted\r\nContent-Le")
    peer.reset()


async def half_the_body(peer: Peer) -> None:
    await peer.request()
    await peer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 500\r\n\r\n" + ACCEPTED)


async def half_the_body_then_reset(peer: Peer) -> None:
    await peer.request()
    await peer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 500\r\n\r\n" + ACCEPTED)
    peer.reset()


async def half_a_chunk(peer: Peer) -> None:
    await peer.request()
    await peer.write(b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{")


async def half_a_refusal(peer: Peer) -> None:
    await peer.request()
    await peer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 500\r\n\r\n{")


async def broken_gzip(peer: Peer) -> None:
    while await peer.request():
        await peer.answer(202, ACCEPTED, Content_Encoding="gzip")


async def silent(peer: Peer) -> None:
    await peer.until_client_leaves()


async def stall_after_reading(peer: Peer) -> None:
    await peer.request()
    await peer.until_client_leaves()


async def stall_after_headers(peer: Peer) -> None:
    await peer.request()
    await peer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 42\r\n\r\n")
    await peer.until_client_leaves()


async def drip(peer: Peer) -> None:
    """Sends its body a byte at a time, far too slowly, and never falls silent for long."""
    await peer.request()
    await peer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(100_000):
        await peer.write(b" ")
        await asyncio.sleep(0.02)


async def garbage(peer: Peer) -> None:
    await peer.request()
    await peer.write(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n\x00\xff\xfe\r\n\r\n")


async def garbage_at_once(peer: Peer) -> None:
    await peer.write(b"220 mail.example.org ESMTP\r\n")
    await peer.until_client_leaves()


async def two_content_lengths(peer: Peer) -> None:
    await peer.request()
    await peer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\nContent-Length: 42\r\n\r\n" + ACCEPTED)


async def switching_protocols(peer: Peer) -> None:
    await peer.request()
    await peer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n")
    await peer.until_client_leaves()


def chaos(seed: int, accepted: list[str]) -> Script:
    """Treats each request in a way the dice choose, and notes in `accepted` the items it would run."""
    dice = random.Random(seed)

    async def script(peer: Peer) -> None:
        if dice.random() < 0.05:
            return peer.reset()
        while request := await peer.request():
            way = dice.choice(
                ["run", "run", "run", "run, drop", "run, half", "drop", "reset", "refuse", "wait", "fail"]
            )
            if way.startswith("run"):
                accepted.append(request.json["metadata"]["batchkit_item"])
            await asyncio.sleep(dice.random() * 0.003)
            match way:
                case "run":
                    await peer.answer(202, ACCEPTED)
                case "refuse":
                    await peer.answer(400, b"{}")
                case "wait":
                    await peer.answer(429, b"{}")
                case "fail":
                    await peer.answer(502)
                case "run, half":
                    return await peer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 500\r\n\r\n{")
                case "reset":
                    return peer.reset()
                case _:
                    return None
        return None

    return script


async def answer_then_drop_the_next(peer: Peer) -> None:
    """Answers the first request of a connection and closes when it has read the second: a keep-alive ending then."""
    await peer.request()
    await peer.answer(202, ACCEPTED)
    await peer.request()


async def answer_then_reset_the_next(peer: Peer) -> None:
    await peer.request()
    await peer.answer(202, ACCEPTED)
    await peer.request()
    peer.reset()
