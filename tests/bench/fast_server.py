"""A small, fast stand-in for a platform's execute call, for benchmarks: one process, counts what it is sent.

    python tests/bench/fast_server.py PORT

Answers POST with 202 and an executionId, GET with an empty page that also says the number of POSTs so far, how many
bodies were new, and when each POST arrived (seconds since 1970). GET /rows says, for each POST that names its row in
the metadata, [batch, item, seconds since 1970].
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import ClassVar


class Platform(asyncio.Protocol):
    """HTTP/1.1 with keep-alive and Content-Length bodies; enough for clients that behave."""

    posts = 0
    bodies: ClassVar[set[bytes]] = set()
    arrivals: ClassVar[list[float]] = []
    rows: ClassVar[list[tuple[str, int, float]]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (head_end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:head_end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            end = head_end + 4 + length
            if len(self.buffer) < end:
                return
            body, self.buffer = self.buffer[head_end + 4 : end], self.buffer[end:]
            self.answer(head.startswith(b"post"), body, rows=head.startswith(b"get /rows"))

    def answer(self, is_post: bool, body: bytes, *, rows: bool) -> None:
        if is_post:
            Platform.posts += 1
            Platform.bodies.add(body)
            Platform.arrivals.append(time.time())
            named = json.loads(body).get("metadata") or {}
            if "batchkit_batch" in named:
                Platform.rows.append((named["batchkit_batch"], int(named["batchkit_item"]), Platform.arrivals[-1]))
            status, text = b"202 Accepted", b'{"executionId":"execution-%d","status":"queued"}' % Platform.posts
        elif rows:
            status, text = b"200 OK", json.dumps(Platform.rows).encode()
        else:
            said = {"items": [], "page": 1, "pageSize": 100, "total": 0, "posts": Platform.posts}
            said |= {"distinct": len(Platform.bodies), "arrivals": Platform.arrivals}
            status, text = b"200 OK", json.dumps(said).encode()
        self.transport.write(
            b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (status, len(text), text)
        )


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Platform, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
