"""A view of the shared parts alone, for the kernels of the browser tests: a drop zone, a table, and a few buttons."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from batchkit.errors import ConfigError, StoreError
from batchkit.ui.drop import Uploads
from batchkit.ui.table import Page, PagedTable, PageRequest
from batchkit.ui.view import View

__all__ = ["PAYLOAD", "Parts"]

PAYLOAD = '"><img src=x onerror=alert(1)><script>alert(2)</script><svg/onload=alert(3)>{{alert(4)}}'
_WORDS = ("Pending", "Triggered", "Cancelled")


class Parts:
    """What the view shows, and what the tests ask it for."""

    def __init__(self, count: int = 1234) -> None:
        self.count = count
        self.version = 0
        self.broken = False
        self.said = ""
        self.bar = 0.0
        self.order = ["a", "b", "c"]
        self.name = ""
        self.files: list[dict[str, Any]] = []
        self.requests = 0
        self.uploads = Uploads(self._file, self._changed)
        intents = {
            "turn": self._turn, "tick": self._tick, "refuse": self._refuse, "slip": self._slip, "name": self._rename,
            "mend": self._mend, "grow": self._grow,
        }  # fmt: skip
        self.view = View(
            ["drop.js", "table.js", str(Path(__file__).with_suffix(".js"))],
            draw=self._draw,
            intents={**intents, **self.uploads.intents, **PagedTable({"rows": self._page}).intents},
        )

    def _changed(self) -> None:
        self.view.changed()

    def _draw(self) -> dict[str, Any]:
        return {
            "upload": self.uploads.snapshot, "files": list(self.files), "version": self.version, "bar": self.bar,
            "order": list(self.order), "name": self.name, "payload": PAYLOAD, "broken": self.broken,
        }  # fmt: skip

    def _file(self, name: str, path: Path) -> None:
        if name.startswith("bad"):
            raise ConfigError(f"{name} is no table.")
        data = path.read_bytes()
        self.files.append({"name": name, "size": len(data), "digest": hashlib.sha256(data).hexdigest()})

    def _page(self, request: PageRequest) -> Page:
        self.requests += 1
        if self.broken:
            raise StoreError(f"The store cannot be read. {PAYLOAD}")
        status = request.filter.get("status")
        text = request.filter.get("text", "")
        rows = [row for row in range(self.count) if status in (None, _WORDS[row % 3]) and text in str(row)]
        if request.descending:
            rows.reverse()
        shown = rows[request.offset : request.offset + request.limit]
        return Page(rows=[self._row(row) for row in shown], total=len(rows))

    def _row(self, row: int) -> dict[str, Any]:
        error = {0: PAYLOAD, 2: "short"}.get(row % 5, "")
        return {"key": row, "row": row, "status": _WORDS[row % 3], "error": error, "version": self.version}

    def _turn(self, _details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> None:
        self.order = [*self.order[1:], self.order[0]]
        self._changed()

    def _tick(self, _details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> None:
        """Many changes in two seconds."""

        def run() -> None:
            for step in range(200):
                self.bar = (step + 1) / 200
                self.version += 1
                self._changed()
                time.sleep(0.01)

        threading.Thread(target=run, daemon=True).start()

    def _refuse(self, _details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> None:
        raise ConfigError(f"Max Concurrent must be 1 or more, not {PAYLOAD}.")

    def _slip(self, _details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> None:
        raise ZeroDivisionError("a slip")

    def _rename(self, details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> dict[str, Any]:
        self.name = details["name"]
        self._changed()
        return {"length": len(self.name)}

    def _mend(self, _details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> None:
        self.broken = not self.broken
        self._grow(_details, _buffers)

    def _grow(self, _details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> None:
        self.version += 1
        self._changed()
