"""Fixtures of the target tests: the fault server, and a target that points at it."""

from __future__ import annotations

import importlib.util
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from batchkit.core.request import TriggerRequest
from batchkit.targets.asteroid import AsteroidTarget

KEY = "key-0123456789abcdef-never-shown"


@pytest.fixture(scope="session")
def faults() -> ModuleType:
    """The module fault_server, which importlib mode does not put on the path."""
    spec = importlib.util.spec_from_file_location("fault_server", Path(__file__).with_name("fault_server.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def key() -> str:
    return KEY


@pytest.fixture
def target_for() -> Callable[..., AsteroidTarget]:
    """An AsteroidTarget with the test's key and short timeouts."""

    def make(url: str, **changes: Any) -> AsteroidTarget:
        settings: dict[str, Any] = {"total_timeout": 5.0, "connect_timeout": 2.0, "retry_delays": (0.0, 0.0)}
        return AsteroidTarget(url, KEY, **(settings | changes))

    return make


@pytest.fixture
def request_for() -> Callable[..., TriggerRequest]:
    """A request for item `item`."""

    def make(item: int = 0, **changes: Any) -> TriggerRequest:
        settings: dict[str, Any] = {
            "agent_id": "a-1",
            "version": 3,
            "inputs": {"client": "Ada", "amount": 12.5},
            "metadata": {"region": "north"},
            "batch_id": "b-1",
            "item": item,
            "attempt": 1,
        }
        return TriggerRequest(**(settings | changes))

    return make


@pytest.fixture
def closed_port() -> int:
    """A port nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port that listens and accepts nobody: its backlog is full, so that connecting never ends."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = []
    for _ in range(4):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
        waiting.append(client)
    yield int(listener.getsockname()[1])
    for each in (*waiting, listener):
        each.close()
