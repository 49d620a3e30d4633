"""The drop zone's half in Python: a file comes in chunks and lies in a private folder until it is replaced."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from batchkit.errors import BatchkitError, ExportError, StateError

if TYPE_CHECKING:
    from batchkit.ui.view import Intent

__all__ = ["Uploads"]

logger = logging.getLogger("batchkit")

#: characters of a file's name that are kept: it is shown, and never part of a path
_LONGEST_NAME = 255

State = Literal["receiving", "done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Upload:
    """One file on its way."""

    id: str
    name: str
    #: bytes, as announced
    size: int
    path: Path
    received: int = 0
    state: State = "receiving"
    error: str = ""


class Uploads:
    """Receives one file at a time from the browser's `dropZone`; merge `intents` into the view's.

    on_file(name, path): a file is complete. It is kept until another is, or until `close`. If it raises, the upload has
    failed with that error, and the file before is kept.
    on_change(): `snapshot` is another.
    folder: where files are kept; None means a new one, of the user's alone, in the system's temporary folder.
    A new file takes the place of one that is still on its way.
    """

    def __init__(
        self, on_file: Callable[[str, Path], object], on_change: Callable[[], object], folder: Path | None = None
    ) -> None:
        self._on_file = on_file
        self._on_change = on_change
        self._folder = folder
        self._lock = threading.RLock()
        self._upload: _Upload | None = None
        self._kept: Path | None = None
        self._closed = False
        #: also when the interpreter ends
        self._remove: Callable[[], object] = lambda: None
        self.intents: dict[str, Intent] = {
            "upload_begin": self._begin,
            "upload_chunk": self._chunk,
            "upload_end": self._end,
            "upload_cancel": self._cancel,
        }

    @property
    def snapshot(self) -> dict[str, Any]:
        """What the browser draws under `upload`: {} before the first; then id, name, size, received, state, error."""
        upload = self._upload
        if upload is None:
            return {}
        names = ("id", "name", "size", "received", "state", "error")
        return {name: getattr(upload, name) for name in names}

    def settle(self) -> None:
        """Another file is in use: nothing is said any longer of an upload that failed or was cancelled before."""
        with self._lock:
            if self._upload is not None and self._upload.state in ("failed", "cancelled"):
                self._upload = None

    def close(self) -> None:
        """Take nothing more, and remove the files."""
        with self._lock:
            self._closed = True
            self._drop()
            if self._kept is not None:
                self._kept.unlink(missing_ok=True)
                self._kept = None
            self._remove()

    # What the browser asks for

    def _begin(self, details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> dict[str, str]:
        name, size = _name(details.get("name")), max(int(details.get("size") or 0), 0)
        with self._lock:
            if self._closed:
                raise StateError("This page takes no more files. Run the cell again.")
            self._drop()
            folder = self._room()
            token = secrets.token_hex(8)
            upload = _Upload(id=token, name=name, size=size, path=folder / f"{token}.upload")
            self._upload = upload
            self._guarded(upload, lambda: _make(upload))
        self._on_change()
        return {"upload": upload.id}

    def _chunk(self, details: Mapping[str, Any], buffers: Sequence[memoryview]) -> dict[str, int]:
        with self._lock:
            upload = self._current(details)
            if details.get("offset") != upload.received or len(buffers) != 1:
                raise self._failed(upload, "A part of the file was lost on the way. Choose the file again.")
            received = upload.received + buffers[0].nbytes
            if received > upload.size:
                raise self._failed(upload, "The file became longer while it was read. Choose it again.")
            self._guarded(upload, lambda: _append(upload, buffers[0]))
            self._upload = replace(upload, received=received)
        self._on_change()
        return {"received": received}

    def _end(self, details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> None:
        with self._lock:
            upload = self._current(details)
            if upload.received != upload.size:
                raise self._failed(
                    upload, f"Only {upload.received:,} of {upload.size:,} bytes came through. Choose the file again."
                )
            # Before anybody hears of it: a later file must not take this one away.
            self._upload = replace(upload, state="done")
        try:
            self._on_file(upload.name, upload.path)
        except BatchkitError as error:
            raise self._failed(upload, str(error)) from error
        except Exception as error:
            logger.error("an upload failed", exc_info=error)
            text = f"This did not work, through a fault of batchkit's own: {type(error).__name__}: {error}"
            raise self._failed(upload, text) from error
        with self._lock:
            kept, self._kept = self._kept, upload.path
            if kept is not None:
                kept.unlink(missing_ok=True)
        self._on_change()

    def _cancel(self, details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> None:
        """With an `error`: the browser could not read the file."""
        with self._lock:
            upload = self._upload
            if upload is None or upload.state != "receiving" or upload.id != details.get("upload"):
                return
            self._drop()
            error = str(details.get("error") or "")
            self._upload = replace(upload, state="failed" if error else "cancelled", error=error)
        self._on_change()

    # Within

    def _current(self, details: Mapping[str, Any]) -> _Upload:
        upload = self._upload
        if upload is None or upload.id != details.get("upload") or upload.state != "receiving":
            raise StateError("This upload was ended: it was cancelled, failed, or another file took its place.")
        return upload

    def _failed(self, upload: _Upload, text: str) -> BatchkitError:
        """What to raise, after the upload was marked as failed and its file removed."""
        with self._lock:
            upload.path.unlink(missing_ok=True)
            if self._upload is not None and self._upload.id == upload.id:
                self._upload = replace(self._upload, state="failed", error=text)
        self._on_change()
        return ExportError(text)

    def _drop(self) -> None:
        """Remove what came so far of a file that is on its way."""
        if self._upload is not None and self._upload.state == "receiving":
            self._upload.path.unlink(missing_ok=True)

    def _guarded(self, upload: _Upload, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError as error:
            reason = error.strerror or str(error)
            text = (
                f"The file could not be kept in {upload.path.parent}: {reason}. Make room there, or set TMPDIR to a "
                "folder that has some and restart the kernel."
            )
            raise self._failed(upload, text) from error

    def _room(self) -> Path:
        """The folder, made if need be."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="batchkit-"))
            self._remove = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._folder


def _name(value: object) -> str:
    return str(value or "file")[:_LONGEST_NAME]


def _make(upload: _Upload) -> None:
    if upload.size > shutil.disk_usage(upload.path.parent).free:
        raise OSError(f"there is no room for its {upload.size:,} bytes")
    os.close(os.open(upload.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _append(upload: _Upload, chunk: memoryview) -> None:
    # Not made anew, should somebody have cleaned up: it would begin in the middle.
    with upload.path.open("r+b") as file:
        file.seek(upload.received)
        file.write(chunk)
