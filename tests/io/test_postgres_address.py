"""The URL of a PostgreSQL database, and a password nobody is shown."""

from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from batchkit.errors import ConfigError, StoreError
from batchkit.io.address import address_of, label_of, spelled
from batchkit.io.backup import copy_store
from batchkit.io.clock import SystemClock
from batchkit.io.opening import database_at
from batchkit.io.store import SqlStore

PASSWORD = "hunter2-and-more"


def test_the_password_is_shown_nowhere() -> None:
    address = address_of(f"postgresql+psycopg://ada:{PASSWORD}@db.example.org:5433/runs?sslmode=require")
    database = database_at(address)
    shown = [repr(address), str(address), label_of(address), repr(database), repr(SqlStore(address, SystemClock()))]
    assert PASSWORD not in "".join(shown)
    assert label_of(address) == "postgresql://ada@db.example.org:5433/runs"
    assert address_of(spelled(address)) == address
    assert PASSWORD in spelled(address)
    with pytest.raises(StoreError, match="pg_dump") as told:
        copy_store(address, Path("copy"))
    assert PASSWORD not in str(told.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (f"mysql://ada:{PASSWORD}@db/runs", "SQLite file or a PostgreSQL database, not 'mysql'"),
        (f"postgresql://ada:{PASSWORD}@db", "names no database"),
        (f"postgresql://ada:{PASSWORD}@db:port/runs", "cannot be read"),
        (f"://{PASSWORD}", "cannot be read"),
    ],
)
def test_an_address_that_is_none_is_refused_without_being_shown(given: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as told:
        address_of(given)
    # What it came from, too: some tools show that of any error.
    assert PASSWORD not in "".join(traceback.format_exception(told.value)) + repr(told.value.__context__)


def test_without_its_driver_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "import batchkit as bk\n"
        "from batchkit.testing import ScriptedTarget\n"
        "try: bk.Workspace(ScriptedTarget(), store='postgresql://127.0.0.1/runs')\n"
        "except bk.ConfigError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'batchkit[cluster]'" in done.stdout
