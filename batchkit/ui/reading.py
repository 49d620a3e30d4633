"""How the wizard comes by its table: a file by upload or by its path, or what the notebook gave, read in background."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from batchkit.core.table import Table
from batchkit.errors import BatchkitError, TableError
from batchkit.io.tables import read_csv
from batchkit.ui.background import Background, Task
from batchkit.ui.state import Source

if TYPE_CHECKING:
    from batchkit.ui.view import Intent

__all__ = ["Reading", "read_source"]

#: another table, or none; None for the source, too: no file
Take = Callable[[Source | None, Table | None], object]


class Reading:
    """Reads one table after the other; merge `intents` into the view's.

    source: the one in use. take: is given what was read, and where it came from.
    """

    def __init__(self, background: Background, source: Callable[[], Source | None], take: Take) -> None:
        self._background = background
        self._source = source
        self._take = take
        #: why the file could not be read; empty: it could
        self.failure = ""
        self.intents: dict[str, Intent] = {
            "read_path": lambda details, _: self._path(str(details.get("path") or "")),
            "sample": lambda _details, _: self._path(str(files("batchkit") / "sample.csv")),
            "read_again": self._again,
            "remove_file": self._remove,
        }

    def upload(self, name: str, path: Path) -> None:
        """Read a file that was uploaded."""
        self._read(Source(kind="upload", name=name, path=str(path)))

    def given(self, given: Table | pd.DataFrame) -> None:
        """Read what the notebook gave."""

        def work(task: Task) -> None:
            table = given if isinstance(given, Table) else read_csv(given)
            if task.is_current:
                self._take(Source(kind="frame", name=table.source or "DataFrame"), table)

        self._background.start("read", "Reading the DataFrame", work)

    def _path(self, path: str) -> None:
        if not path.strip():
            raise TableError("Type the path of a CSV file on the server.")
        whole = Path(path.strip()).expanduser().absolute()
        self._read(Source(kind="path", name=whole.name, path=str(whole)))

    def _again(self, details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> None:
        """With another encoding or delimiter."""
        source = self._source()
        if source is None or source.kind == "frame":
            return
        self._read(
            replace(
                source,
                encoding=details.get("encoding", source.encoding) or None,
                delimiter=details.get("delimiter", source.delimiter) or None,
            )
        )

    def _remove(self, _details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> None:
        self._background.cancel("read")
        self.failure = ""
        self._take(None, None)

    def _read(self, source: Source) -> None:
        def work(task: Task) -> None:
            table = read_source(source)
            if task.is_current:
                self._take(source, table)

        def failed(error: BatchkitError) -> None:
            self.failure = str(error)
            # A path that leads nowhere is a slip of the pen: what was there stays.
            if source.kind != "path" or Path(source.path).is_file():
                self._take(source, None)

        self.failure = ""
        self._background.start("read", f"Reading {source.name}", work, failed)


def read_source(source: Source) -> Table:
    """The table in the file of `source`. Raises TableError, which calls an upload by the name its user knows."""
    try:
        table = read_csv(source.path, encoding=source.encoding, delimiter=source.delimiter)
    except TableError as error:
        if source.kind != "upload":
            raise
        text = str(error).replace(source.path, source.name).replace(Path(source.path).name, source.name)
        raise TableError(text) from error
    return replace(table, source=source.name)
