"""Files that the browser fetches piece by piece, because no server has to know of them."""

from __future__ import annotations

import base64
import re
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchkit.errors import NotFoundError

if TYPE_CHECKING:
    from batchkit.ui.view import Intent

__all__ = ["Download", "Downloads"]

#: bytes of a piece, a megabyte once they are base64
_PIECE = 750_000
#: characters of a file's name, and of its ending, which is kept
_NAME, _ENDING = 100, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A file ready to be fetched."""

    id: str
    #: the place in the page that asked for it
    place: str
    #: the batch it is of; empty: none
    of: str
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
        return [asdict(each) for each in self._now()]

    def make(self, place: str, name: str, write: Callable[[Path], object], *, of: str = "") -> None:
        """Have `write` write a file, and offer it to `place` under `name`, whose ending the written one has, too."""
        key = secrets.token_hex(8)
        download = Download(id=key, place=place, of=of, name=file_name(name), size=0)
        path = self._path(download)
        try:
            write(path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._ready[key] = replace(download, size=path.stat().st_size)
        self._on_change()

    def close(self) -> None:
        """Remove the files."""
        self._ready.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _now(self) -> list[Download]:
        return list(self._ready.values())

    def _path(self, download: Download) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="batchkit-"))
            # At the latest when the process ends.
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder / f"{download.id}{Path(download.name).suffix}"

    def _piece(self, details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> str:
        """The bytes from `offset` on, as base64."""
        download = self._ready.get(str(details.get("id")))
        if download is None:
            raise NotFoundError("This download is no longer at hand. Ask for it again.")
        with self._path(download).open("rb") as file:
            file.seek(max(int(details.get("offset") or 0), 0))
            return base64.b64encode(file.read(_PIECE)).decode("ascii")

    def _end(self, details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> None:
        download = self._ready.pop(str(details.get("id")), None)
        if download is not None:
            self._path(download).unlink(missing_ok=True)
            self._on_change()


def file_name(text: str) -> str:
    """`text` as the name of a file on any system: letters, digits, blanks, dots and dashes."""
    plain = re.sub(r"[^\w .()-]+", "_", text).strip(" ._")
    suffix = Path(plain).suffix
    ending = suffix if len(suffix) <= _ENDING else ""
    return f"{plain.removesuffix(ending)[: _NAME - len(ending)]}{ending}" or "batch"
