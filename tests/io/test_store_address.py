"""Where a store is: whatever it is given as is checked, and no password is shown."""

from __future__ import annotations

import traceback

import pytest
from sqlalchemy import URL, make_url

from batchkit.errors import ConfigError
from batchkit.io.address import address_of, conninfo_of

PASSWORD = "open-sesame"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (f"mysql+pymysql://ada:{PASSWORD}@db/runs", "SQLite file or a PostgreSQL database, not 'mysql"),
        ("sqlite:///runs.sqlite", "Give the file's path"),
        (f"postgresql+asyncpg://ada:{PASSWORD}@db/runs", "asyncpg"),
        (f"postgresql://ada:{PASSWORD}@db", "names no database"),
    ],
)
def test_a_url_of_sqlalchemy_is_checked_like_a_text(given: str, said: str) -> None:
    for each in (given, make_url(given)):
        with pytest.raises(ConfigError, match=said) as told:
            address_of(each)
        assert PASSWORD not in "".join(traceback.format_exception(told.value, limit=0))


@pytest.mark.parametrize("driver", ["postgres", "postgresql", "postgresql+psycopg"])
def test_a_url_of_sqlalchemy_is_spoken_to_with_the_driver_there_is(driver: str) -> None:
    url = URL.create(driver, username="ada", password=PASSWORD, host="db", database="runs")
    address = address_of(url)
    assert isinstance(address, URL)
    assert address.drivername == "postgresql+psycopg"
    assert conninfo_of(address) == f"postgresql://ada:{PASSWORD}@db/runs"
