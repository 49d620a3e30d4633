"""Fixtures of the interface's tests without a browser."""

from __future__ import annotations

import sys
from pathlib import Path

import comm
import pytest

# The module beside the tests.
sys.path.insert(0, str(Path(__file__).parent))

from page_comms import Messages


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> Messages:
    """What views send to the page."""
    kept = Messages()
    monkeypatch.setattr(comm, "create_comm", kept)
    return kept
