"""The demo platform as a process of its own: what `batchkit demo-platform` calls."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from batchkit.core.agent import Agent
from batchkit.targets.demo.platform import DemoPlatform

__all__ = ["serve_forever"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: seconds; where a wait cannot be interrupted by a signal, this is how long it goes unnoticed
_WATCH_INTERVAL = 0.5


def serve_forever(
    *,
    ready: Callable[[DemoPlatform], object],
    agents: Iterable[Agent] | None = None,
    port: int = 0,
    state: str | Path | None = None,
    api_key: str | None = None,
    duration: float | tuple[float, float] = (1.0, 3.0),
    failure_share: float = 0.1,
    attention_share: float = 0.0,
    capacity: int | None = None,
    listing_delay: float = 0.0,
    seed: int = 0,
    webhook_url: str | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Serve until SIGINT, SIGTERM or `stop`. Prints nothing.

    ready: called once with the running platform, whose `url` and `api_key` it may tell.
    stop: needed outside the main thread, where signals cannot be heard.
    The rest, and what is raised, as for `DemoPlatform`.
    """
    stop = stop or threading.Event()
    with (
        _signals_set(stop),
        DemoPlatform(
            agents=agents,
            port=port,
            state=state,
            api_key=api_key,
            duration=duration,
            failure_share=failure_share,
            attention_share=attention_share,
            capacity=capacity,
            listing_delay=listing_delay,
            seed=seed,
            webhook_url=webhook_url,
        ) as platform,
    ):
        ready(platform)
        while not stop.wait(_WATCH_INTERVAL):
            pass


@contextmanager
def _signals_set(stop: threading.Event) -> Iterator[None]:
    """While inside, the two signals that end a process set `stop` instead."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
