"""The user of a wizard without a browser: what is seen, and what is done at the page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import batchkit as bk
from batchkit.ui.wizard import Wizard

__all__ = ["FILER", "PERMITS", "User", "at_the_office", "until"]

FILER = "Permit filer"
PERMITS = (
    b"Client,Address,Permit type,Start date,Reference\n"
    b"Altmann,Lindenstrasse 4,signage,2026-03-02,A-1\n"
    b"Brenner,Hafenweg 18,building,2026-03-09,A-2\n"
    b"Cordes,Am Markt 7,plumbing,2026-03-04,A-3\n"
    b"Dahl,Ringstrasse 22,electrical,2026-03-11,A-4\n"
    b"Ehlers,Kellergasse 3,building,2026-04-01,A-5\n"
)


class User:
    """A wizard, and what its user does at the page."""

    def __init__(self, ws: bk.Workspace, *given: Any, **options: Any) -> None:
        self.ws = ws
        self.wizard = Wizard(ws, *given, **options)
        self.view = self.wizard.view

    @property
    def sees(self) -> dict[str, Any]:
        return self.view.drawn()

    def do(self, intent: str, *buffers: bytes, **details: Any) -> Any:
        return self.view.intend(intent, details, *buffers).result(60)

    def settled(self) -> dict[str, Any]:
        """What is shown once nothing is under way."""
        until(lambda: not self.wizard._background.running)
        return self.sees

    def choose(self, name: str) -> dict[str, Any]:
        agents = self.settled()["agents"]
        self.do("choose_agent", id=next(one["id"] for one in agents if one["name"] == name))
        return self.settled()

    def upload(self, content: bytes, name: str = "permits.csv") -> dict[str, Any]:
        upload = self.do("upload_begin", name=name, size=len(content))["upload"]
        for offset in range(0, len(content), 100):
            self.do("upload_chunk", content[offset : offset + 100], upload=upload, offset=offset)
        self.do("upload_end", upload=upload)
        return self.settled()

    def column(self, name: str) -> dict[str, Any]:
        return next(one for one in self.sees["map"]["columns"] if one["column"] == name)

    def confirm(self, **details: Any) -> None:
        """Start, as it was asked for."""
        shown = self.sees
        self.do("start", rows=shown["configure"]["rows"], round=shown["preview"]["round"], **details)

    def batch(self) -> bk.Batch:
        until(lambda: self.sees["batch"])
        return self.ws.batch(self.sees["batch"]["card"]["id"])


def until(check: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


@contextmanager
def at_the_office(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[bk.Workspace]:
    """A workspace on a demo platform behind HTTP, with its store in `folder`."""
    with bk.DemoPlatform(duration=0.05, failure_share=0.0) as platform:
        monkeypatch.setenv("BATCHKIT_URL", platform.url)
        monkeypatch.setenv("BATCHKIT_API_KEY", platform.api_key)
        with bk.Workspace(store=folder / "runs.sqlite") as workspace:
            yield workspace
