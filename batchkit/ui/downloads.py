"""Files that the browser fetches piece by piece, because no server has to know of them."""

from __future__ import annotations

import base64
import re
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchkit.errors import NotFoundError

if TYPE_CHECKING:
    from batchkit.ui.view import Intent

__all__ = ["Download", "Downloads"]

#: bytes of a piece, a megabyte once they are base64
_PIECE = 750_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A file ready to be fetched."""

    id: str
    #: the place in the page that asked for it
    place: str
    name: str
    size: int


class Downloads:
    """Holds files in a private temporary folder until the browser has them; merge `intents` into the view's."""

    def __init__(self, on_change: Callable[[], object]) -> None:
        self._on_change = on_change
        #: made with the first file, for this user only
        self._folder: Path | None = None
        self._ready: dict[str, Download] = {}
        self.intents: dict[str, Intent] = {"download_piece": self._piece, "download_end": self._end}

    @property
    def snapshot(self) -> list[dict[str, Any]]:
        """What is ready, for the page."""
        return [{"id": each.id, "place": each.place, "name": each.name, "size": each.size} for each in self._now()]

    def make(self, place: str, name: str, write: Callable[[Path], None]) -> None:
        """Have `write` write a file, and offer it to `place` under `name`."""
        key = secrets.token_hex(8)
        path = self._path(key)
        try:
            write(path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._ready[key] = Download(id=key, place=place, name=file_name(name), size=path.stat().st_size)
        self._on_change()

    def close(self) -> None:
        """Remove the files."""
        self._ready.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _now(self) -> list[Download]:
        return list(self._ready.values())

    def _path(self, key: str) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="batchkit-"))
            # At the latest when the process ends.
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder / key

    def _piece(self, details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> str:
        """The bytes from `offset` on, as base64."""
        download = self._ready.get(str(details.get("id")))
        if download is None:
            raise NotFoundError("This download is no longer at hand. Ask for it again.")
        with self._path(download.id).open("rb") as file:
            file.seek(max(int(details.get("offset") or 0), 0))
            return base64.b64encode(file.read(_PIECE)).decode("ascii")

    def _end(self, details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> None:
        key = str(details.get("id"))
        if self._ready.pop(key, None) is not None:
            self._path(key).unlink(missing_ok=True)
            self._on_change()


def file_name(text: str) -> str:
    """`text` as the name of a file on any system: letters, digits, blanks, dots and dashes."""
    plain = re.sub(r"[^\w .()-]+", "_", text).strip(" ._")
    return plain[:100] or "batch"
