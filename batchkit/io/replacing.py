"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable
from typing import IO

from batchkit.errors import ExportError

__all__ = ["replace_file"]


def replace_file(path: str | os.PathLike[str], write: Callable[[IO[bytes]], object]) -> None:
    """Have `write` write beside `path`, and move it into place; a file that is replaced keeps its permissions.

    On failure the old file stays and nothing of the new one does. Raises ExportError where it cannot be written.
    """
    path = os.path.expanduser(os.fspath(path))
    if "\0" in path:
        raise ExportError(f"{path!r} is no file name: it contains a NUL character.")
    final = os.path.realpath(path)
    temporary = os.path.join(os.path.dirname(final), f".batchkit-{secrets.token_hex(8)}.tmp")
    try:
        permissions = _permissions(final)
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if permissions is not None:
            os.chmod(temporary, permissions)
        os.replace(temporary, final)
    except BaseException as exc:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(exc, OSError):
            raise ExportError(_refusal(path, exc)) from exc
        raise


def _permissions(path: str) -> int | None:
    """Those of the file to be replaced, None if there is none. Raises OSError if it must not be."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError
    if not stat.S_ISREG(mode):
        raise OSError("it is not a regular file")
    if not os.access(path, os.W_OK):
        raise PermissionError
    return stat.S_IMODE(mode)


def _refusal(path: str, error: OSError) -> str:
    match error:
        case IsADirectoryError():
            return f"{path!r} is a folder. Give the name of a file in it."
        case FileNotFoundError() | NotADirectoryError():
            return f"{path!r} cannot be written: there is no folder {os.path.dirname(path)!r}. Create it first."
        case PermissionError():
            return f"{path!r} cannot be written: permission denied. Choose another folder or name."
    return f"{path!r} cannot be written: {error.strerror or error}."
