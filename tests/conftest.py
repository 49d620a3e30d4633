"""For all tests."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# The modules beside the tests.
sys.path.insert(0, str(Path(__file__).parent))

from long_form import examples
from postgres_server import FollowingDatabase, PostgresServer

# What a machine is busy with decides how long an example takes, not what is tested.
settings.register_profile("batchkit", deadline=None, max_examples=examples(100))
settings.load_profile("batchkit")

# A shell's background job ignores Ctrl-C, and so would every process under test that is sent one.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: one process runs all of such a folder: their servers are started once, and they do not disturb one another
_TOGETHER = ("acceptance", "browser")
#: these take so long that they are groups of their own
_APART = {
    "test_cluster_faults": "cluster",
    "test_cluster_functions": "cluster",
    "test_cluster_limits": "cluster",
    "test_engine_contract": "cluster",
    "test_postgres_faults": "cluster",
    "test_wizard_in_browser": "wizard",
}


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the tests of this process."""
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def _following(postgres: PostgresServer) -> Iterator[FollowingDatabase]:
    with postgres.database() as name:
        database = FollowingDatabase(postgres, name)
        yield database
        database.close()


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path | str:
    """Where an empty store is, once of each kind; leases follow the test's FakeClock."""
    if request.param == "SQLite":
        return tmp_path / "folder" / "runs.sqlite"
    database: FollowingDatabase = request.getfixturevalue("_following")
    database.empty()
    database.follow(monkeypatch)
    return database.url


# Before pytest-xdist's own, which looks for the marks.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests belong to one process, where several run."""
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if folder in _TOGETHER:
            item.add_marker(pytest.mark.xdist_group(_APART.get(item.path.stem, folder)))
