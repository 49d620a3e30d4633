"""`batchkit webhook`: the receiver of the platform's webhooks as a process of its own."""

from __future__ import annotations

import logging
import signal
import socket
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from batchkit.defaults import store_address
from batchkit.errors import ConfigError
from batchkit.io.address import label_of
from batchkit.terminal import SIGNALS, Exit, say
from batchkit.webhook import webhook_app

__all__ = ["webhook"]

#: requests at a time; whoever comes beyond that is told to try again
_MOST_REQUESTS = 500
#: seconds a connection without a request is kept
_KEEP_ALIVE = 30


def webhook(args: Namespace) -> Exit:
    """Receive until a signal."""
    store = store_address(args.store)
    where = label_of(store)
    app = webhook_app(store, args.public_key)
    logging.getLogger("uvicorn").addHandler(logging.NullHandler())
    with _listener(args.host, args.port) as listener:
        host, port = listener.getsockname()[:2]
        address = f"[{host}]" if ":" in host else host
        say(
            f"Webhooks are taken at http://{address}:{port}/ until Ctrl-C, for the batches in {where}.",
            wrap=False,
        )
        if args.host != "127.0.0.1":
            say("It listens beyond this machine: put a server that speaks https in front of it.")
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_MOST_REQUESTS,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=5,
        )
        server = _Server(config)
        for number in SIGNALS:
            signal.signal(number, lambda *_: setattr(server, "should_exit", True))
        server.run(sockets=[listener])
    return Exit.OK


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves the signals to the command."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listener(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as exc:
        raise ConfigError(f"Port {port} of {host} cannot be had: {exc}. Name another, or 0 for a free one.") from exc
