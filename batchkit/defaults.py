"""What a workspace is made of where its user does not say: platform, store, engine and name, from the environment."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from batchkit.core.viewer import Viewer
from batchkit.errors import ConfigError
from batchkit.io.address import Address, address_of, data_folder
from batchkit.io.store_files import is_private
from batchkit.targets.asteroid import AsteroidTarget
from batchkit.targets.secret import Secret
from batchkit.targets.standard_webhook import StandardWebhook

if TYPE_CHECKING:
    from batchkit.targets.demo import SharedDemo

__all__ = [
    "EngineKind",
    "address_to_tell",
    "data_folder",
    "demo_target",
    "engine_kind",
    "is_configured",
    "shared_demo",
    "store_address",
    "user_name",
    "viewer_of",
]

EngineKind = Literal["kernel", "worker", "cluster"]


def store_address(given: str | os.PathLike[str] | None = None) -> Address:
    """The file or the database of batches: `given`, else BATCHKIT_STORE, else a file in the data folder.

    Raises ConfigError for the URL of anything but PostgreSQL.
    """
    return address_of(given or os.environ.get("BATCHKIT_STORE") or _own_store())


def engine_kind(given: str | None = None) -> EngineKind:
    """Who runs batches: `given`, else BATCHKIT_ENGINE, else "kernel". Raises ConfigError."""
    name = given or os.environ.get("BATCHKIT_ENGINE") or "kernel"
    if name not in get_args(EngineKind):
        raise ConfigError(f"There is no engine {name!r}; there are {', '.join(map(repr, get_args(EngineKind)))}.")
    return cast(EngineKind, name)


def user_name() -> str:
    """The operating system's user."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "user"


def viewer_of(store: Address, owner: str | None = None, admin: bool | None = None) -> Viewer:
    """Who makes batches, and whether he sees those of others. Raises ConfigError for an owner that is no name.

    owner: else BATCHKIT_OWNER, else JupyterHub's user, else the operating system's. admin: else BATCHKIT_ADMIN=1. Where
    neither owner nor BATCHKIT_OWNER names him, all that is in a file which only this user can open is his own, whatever
    he was called when he made it. JupyterHub's users may share one of the operating system's: for them that holds of
    the file in the data folder alone.
    """
    if owner is not None and (not isinstance(owner, str) or not owner.strip()):
        raise ConfigError(f"owner must be a name, not {owner!r}. Leave it out for the operating system's user.")
    named = owner or os.environ.get("BATCHKIT_OWNER")
    if named and not named.strip():
        raise ConfigError(f"BATCHKIT_OWNER must be a name, not {named!r}. Unset it for the operating system's user.")
    of_hub = os.environ.get("JUPYTERHUB_USER")
    if admin is None:
        admin = os.environ.get("BATCHKIT_ADMIN") == "1"
    is_mine = isinstance(store, Path) and is_private(store) and (not of_hub or store == address_of(_own_store()))
    return Viewer(name=named or of_hub or user_name(), sees_all=admin or (is_mine and not named))


def _own_store() -> Path:
    return data_folder() / "batchkit.sqlite"


def is_configured() -> bool:
    """Whether the environment names a platform. Raises ConfigError where it does so by half."""
    # whether, not what: a verbose traceback shows the variables
    has_url, has_key = (bool(os.environ.get(name)) for name in ("BATCHKIT_URL", "BATCHKIT_API_KEY"))
    if has_url != has_key:
        missing = "BATCHKIT_API_KEY" if has_url else "BATCHKIT_URL"
        raise ConfigError(f"Only one of BATCHKIT_URL and BATCHKIT_API_KEY is set; set {missing} too.")
    return has_url


def shared_demo() -> SharedDemo:
    """The demo platform that this user's processes share."""
    # Here and not above: it brings a server, and few need it.
    from batchkit.targets.demo import SharedDemo

    return SharedDemo(data_folder())


def demo_target(demo: SharedDemo) -> AsteroidTarget:
    """The demo platform of this machine as a target."""
    return AsteroidTarget(
        demo.url,
        demo.api_key,
        label="the demo platform",
        listing_delay=2.0,
        total_timeout=10.0,
        connect_timeout=5.0,
    )


def address_to_tell() -> StandardWebhook | None:
    """Where the environment wants notices to be sent. Raises ConfigError where it says so by half."""
    # whether, not what: a verbose traceback shows the variables
    has_url, has_secret = (bool(os.environ.get(f"BATCHKIT_NOTIFY_{name}")) for name in ("URL", "SECRET"))
    if not has_url:
        return None
    if not has_secret:
        raise ConfigError("BATCHKIT_NOTIFY_URL is set without BATCHKIT_NOTIFY_SECRET, which signs what is sent there.")
    secret = Secret.from_reference("env:BATCHKIT_NOTIFY_SECRET")
    private = os.environ.get("BATCHKIT_NOTIFY_PRIVATE") == "1"
    return StandardWebhook(os.environ["BATCHKIT_NOTIFY_URL"], secret, allow_private=private)
