"""Where a store is: the path of a SQLite file, or the URL of a PostgreSQL database. No password is ever shown."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from batchkit.errors import ConfigError

__all__ = ["Address", "address_of", "conninfo_of", "data_folder", "label_of", "spelled"]

#: a URL hides its password wherever it is printed
Address = Path | URL

_DRIVER = "postgresql+psycopg"
_NAMES = frozenset({"postgres", "postgresql", _DRIVER})
_EXAMPLE = "postgresql+psycopg://user@host/database"


def data_folder() -> Path:
    """Where this user's files are, unless told otherwise."""
    return Path(platformdirs.user_data_dir("batchkit", appauthor=False))


def address_of(given: str | os.PathLike[str] | URL) -> Address:
    """The store that is meant. Raises ConfigError for the URL of anything but PostgreSQL; it is not shown."""
    if isinstance(given, URL):
        url = given
    elif "://" in os.fspath(given):
        url = _parsed(os.fspath(given))
    else:
        return Path(given).expanduser().absolute()
    if url.drivername not in _NAMES:
        raise ConfigError(
            f"A store is a SQLite file or a PostgreSQL database, not {url.drivername!r}. "
            f"Give the file's path, or a URL like {_EXAMPLE}."
        )
    if not url.database:
        raise ConfigError(f"The store's URL names no database. It looks like {_EXAMPLE}.")
    return url.set(drivername=_DRIVER)


def label_of(address: Address) -> str:
    """How the store is named in messages."""
    if isinstance(address, Path):
        return str(address)
    shown = URL.create(
        "postgresql", username=address.username, host=address.host, port=address.port, database=address.database
    )
    return shown.render_as_string()


def conninfo_of(address: URL) -> str:
    """The database as libpq takes it, password included. Never to be shown."""
    return address.set(drivername="postgresql").render_as_string(hide_password=False)


def spelled(address: Address) -> str:
    """The address as another process is given it in its environment, password included. Never to be shown."""
    return str(address) if isinstance(address, Path) else address.render_as_string(hide_password=False)


def _parsed(text: str) -> URL:
    try:
        return make_url(text)
    except (ArgumentError, ValueError):
        raise ConfigError(f"The store's URL cannot be read. It looks like {_EXAMPLE}.") from None
