"""For all tests."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import settings

# What a machine is busy with decides how long an example takes, not what is tested.
settings.register_profile("batchkit", deadline=None)
settings.load_profile("batchkit")

# A shell's background job ignores Ctrl-C, and so would every process under test that is sent one.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: one process runs all of such a folder: their servers are started once, and they do not disturb one another
_TOGETHER = ("acceptance", "browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests belong to one process, where several run."""
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if folder in _TOGETHER:
            item.add_marker(pytest.mark.xdist_group(folder))
