"""Fixtures of the interface's tests without a browser."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import comm
import pytest

# The module beside the tests.
sys.path.insert(0, str(Path(__file__).parent))

from desk import CLERK, Desk
from page_comms import Messages

import batchkit as bk


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> Messages:
    """What views send to the page."""
    kept = Messages()
    monkeypatch.setattr(comm, "create_comm", kept)
    return kept


@pytest.fixture
def demo() -> Iterator[bk.DemoPlatform]:
    with bk.DemoPlatform(agents=[CLERK], duration=0.05, failure_share=0) as platform:
        yield platform


@pytest.fixture
def desk(demo: bk.DemoPlatform, tmp_path: Path, messages: Messages) -> Iterator[Desk]:
    one = Desk(demo, tmp_path / "runs.sqlite")
    yield one
    one.close()
