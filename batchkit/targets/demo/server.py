"""An ASGI app served on loopback by a thread with a loop of its own, quietly, started and stopped by plain calls."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread
from weakref import WeakSet

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from batchkit.errors import ConfigError

__all__ = ["LoopbackServer"]

_HOST = "127.0.0.1"
#: longer than clients keep a connection, so that none is closed under a request
_KEEP_ALIVE = 75
#: seconds an unfinished answer has when the server stops
_GRACE = 1.0
_BACKLOG = 2048

# without a handler of its own, warnings about malformed requests would be printed
logging.getLogger("uvicorn").addHandler(logging.NullHandler())


class LoopbackServer:
    """A server that accepts connections from the moment it is made until `close`."""

    def __init__(self, app: ASGIApp, port: int, on_close: Callable[[], None]) -> None:
        """port: 0 takes a free one. on_close: called on the server's loop when it stops.

        Raises ConfigError if the port cannot be had.
        """
        self._socket = _bind(port)
        _listening.add(self._socket)
        self.port: int = self._socket.getsockname()[1]
        self._server = _Server(app, on_close)
        self._loop: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = Thread(target=self._run, name=f"demo platform :{self.port}", daemon=True)
        self._thread.start()
        self._loop.result()

    def close(self) -> None:
        """Stop accepting, finish what is being answered, and return when all connections are closed."""
        if self._thread.is_alive():
            self._loop.result().call_soon_threadsafe(self._server.leaving.set)
            self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            self._loop.set_result(runner.get_loop())
            runner.run(self._server.serve(sockets=[self._socket]))


class _Protocol(H11Protocol):
    """Tells the app the connection's transport."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _Server(uvicorn.Server):
    """uvicorn's server, told to stop by an event, and without its pauses of a tenth of a second."""

    def __init__(self, app: ASGIApp, on_close: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_keep_alive=_KEEP_ALIVE,
            )
        )
        self.leaving = asyncio.Event()
        self._on_close = on_close

    async def main_loop(self) -> None:
        while not self.leaving.is_set():
            # renews the Date header
            await self.on_tick(0)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.leaving.wait(), 1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        self._on_close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=_GRACE)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        # connections learn on the loop's next round that they are closed
        await asyncio.sleep(0)


_listening: WeakSet[socket.socket] = WeakSet()


def _close_all() -> None:
    for listener in list(_listening):
        listener.close()


if hasattr(os, "register_at_fork"):
    # a forked child would otherwise keep the port when its parent is gone, and never answer
    os.register_at_fork(after_in_child=_close_all)


def _bind(port: int) -> socket.socket:
    # asyncio turns Nagle's algorithm off, which costs 40 ms an answer, only where the protocol is named
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":
            # a restarted server gets its port back at once; elsewhere it would share it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, port))
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as exc:
        listener.close()
        raise ConfigError(
            f"The demo platform cannot have port {port} of {_HOST}: {exc}. Choose another, or 0 for a free one."
        ) from exc
    return listener
