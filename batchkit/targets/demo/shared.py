"""The demo platform that processes share: what a Workspace uses where nothing else is configured.

Its state lies in a data folder, and whichever process needs it first serves it. The others use it, stand by, and
serve it again when that process is gone: at the same port if that is free, with the same key and executions.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Self

from batchkit.errors import BatchkitError, ConfigError, StoreError, UnreachableError
from batchkit.targets.demo.access import ApiKey
from batchkit.targets.demo.control import PROOF_PATH
from batchkit.targets.demo.lock import FileLock
from batchkit.targets.demo.platform import DemoPlatform

__all__ = ["SharedDemo"]

_LOCK_FILE = "demo-platform.lock"
_ADDRESS_FILE = "demo-platform.json"
_STATE_FILE = "demo-platform.sqlite"

#: seconds
_PATIENCE = 20.0
_ANSWER_TIMEOUT = 2.0
_BETWEEN_TRIES = 0.05
_BETWEEN_WATCHES = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Address:
    """Where the platform was last served, and the key that opens it."""

    port: int
    #: no traceback or log shows it
    api_key: str = field(repr=False)


class SharedDemo:
    """The demo platform of one data folder, running when the constructor returns. A context manager."""

    def __init__(self, folder: Path) -> None:
        """folder: created 0700 if missing.

        Raises UnreachableError if another process holds it but does not answer, StoreError if its state is unusable.
        """
        self._folder = folder
        self._make_folder()
        self._file_lock = FileLock(folder / _LOCK_FILE)
        self._lock = Lock()
        self._platform: DemoPlatform | None = None
        self._address: _Address
        self.ensure()
        self._stop = Event()
        self._watch = Thread(target=self._stand_by, name="demo platform stand-by", daemon=True)
        self._watch.start()

    @property
    def url(self) -> str:
        """Where it was when last seen; `ensure` looks again."""
        return f"http://127.0.0.1:{self._address.port}"

    @property
    def api_key(self) -> str:
        """What a client must send in a header. The same as long as the folder lives."""
        return self._address.api_key

    @property
    def serving(self) -> bool:
        """Whether it is this object that serves."""
        return self._platform is not None

    def ensure(self) -> None:
        """Return when the platform runs, here or in another process. Raises like the constructor."""
        deadline = time.monotonic() + _PATIENCE
        while not self._is_running() and not self._serve_if_free():
            if time.monotonic() > deadline:
                raise UnreachableError(
                    f"Another process holds the demo platform in {self._folder}, but it does not answer. "
                    "End that process, or name a platform with BATCHKIT_URL and BATCHKIT_API_KEY."
                )
            time.sleep(_BETWEEN_TRIES)

    def close(self) -> None:
        """Stop standing by, and serving if it is this object that does."""
        self._stop.set()
        self._watch.join()
        with self._lock:
            if self._platform is not None:
                self._platform.close()
                self._platform = None
            self._file_lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<SharedDemo {self.url}: {'served here' if self.serving else 'served by another process'}>"

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise StoreError(
                f"The data folder {self._folder} cannot be made: {exc}. Choose another data folder."
            ) from exc

    def _is_running(self) -> bool:
        if self.serving:
            return True
        address = _read_address(self._folder / _ADDRESS_FILE)
        if address is None or not _proves_itself(address):
            return False
        self._address = address
        return True

    def _serve_if_free(self) -> bool:
        """Serve it if nobody does, and say whether it is served here now."""
        with self._lock:
            if self._platform is None:
                try:
                    if self._file_lock.acquire():
                        self._serve()
                except OSError as exc:
                    raise StoreError(
                        f"The demo platform cannot use the folder {self._folder}: {exc}. "
                        "Make it writable, or choose another data folder."
                    ) from exc
            return self._platform is not None

    def _serve(self) -> None:
        """Start the platform and tell where it is; the lock is held, and let go of if this fails."""
        try:
            platform = self._start()
            try:
                address = _Address(port=platform.port, api_key=platform.api_key)
                _write_address(self._folder / _ADDRESS_FILE, address)
            except BaseException:
                platform.close()
                raise
        except BaseException:
            self._file_lock.release()
            raise
        self._platform, self._address = platform, address

    def _start(self) -> DemoPlatform:
        last = _read_address(self._folder / _ADDRESS_FILE)
        try:
            return self._platform_at(last.port if last is not None else 0)
        except ConfigError:
            # another program has the port by now
            return self._platform_at(0)

    def _platform_at(self, port: int) -> DemoPlatform:
        return DemoPlatform(
            duration=(2.0, 8.0),
            failure_share=0.1,
            unsuccessful_share=0.05,
            attention_share=0.05,
            listing_delay=0.5,
            port=port,
            state=self._folder / _STATE_FILE,
        )

    def _stand_by(self) -> None:
        while not self._stop.wait(_BETWEEN_WATCHES):
            try:
                self._serve_if_free()
            except BatchkitError:
                # nobody waits for an answer here; whoever calls `ensure` next is told
                continue


def _read_address(path: Path) -> _Address | None:
    """What the file says, None where it is missing or not as agreed."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        port, api_key = content["port"], content["api_key"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if not isinstance(port, int) or not 0 < port < 65536 or not isinstance(api_key, str):
        return None
    return _Address(port=port, api_key=api_key)


def _write_address(path: Path, address: _Address) -> None:
    """Replace the file in one step, so that nobody reads half of it."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        json.dump({"port": address.port, "api_key": address.api_key}, file)
    os.replace(draft, path)


def _proves_itself(address: _Address) -> bool:
    """Whether a demo platform with that key listens there; the key itself is not sent."""
    challenge = secrets.token_hex(16)
    connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=_ANSWER_TIMEOUT)
    try:
        connection.request("GET", f"{PROOF_PATH}?challenge={challenge}")
        answer = json.loads(connection.getresponse().read(10_000))
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return isinstance(answer, dict) and answer.get("proof") == ApiKey(address.api_key).proof(challenge)
