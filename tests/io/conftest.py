"""Fixtures of the tests of reading and keeping."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# The module beside the tests.
sys.path.insert(0, str(Path(__file__).parent))

from postgres_server import PostgresServer
from site_of_stores import Site

_NOBODY = 65534


@pytest.fixture
def folder_of_anybody() -> Iterator[Path]:
    """A folder, for a test that runs with the rights of an ordinary user: root may read and write everything."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        is_root = os.geteuid() == 0
        if is_root:
            os.setresuid(_NOBODY, _NOBODY, 0)
        try:
            yield Path(folder)
        finally:
            if is_root:
                os.setresuid(0, 0, 0)


@pytest.fixture
def site(postgres: PostgresServer) -> Iterator[Site]:
    with postgres.database() as name:
        made = Site(postgres, name)
        yield made
        made.close()
