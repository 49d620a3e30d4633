"""A workspace on a demo platform, its dashboard, and what a user at the page can do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import batchkit as bk
from batchkit.ui.dashboard import Dashboard

__all__ = ["CLERK", "SLOW", "Desk", "chosen", "eventually", "everything"]

CLERK = bk.Agent(name="Permit filer", inputs=[bk.InputVariable("client", required=True)])
SLOW = {"max_concurrent": 2, "batch_interval": 3600}


class Desk:
    """A workspace, its dashboard, and what a user at the page can do."""

    def __init__(self, demo: bk.DemoPlatform, store: Path) -> None:
        self.demo = demo
        self.store = store
        self.ws = bk.Workspace(bk.AsteroidTarget(url=demo.url, api_key=demo.api_key), store=store)
        self.dashboard = Dashboard(self.ws)
        self.view = self.dashboard.view

    def close(self) -> None:
        self.dashboard.close()
        self.ws.close()

    def make(self, rows: int = 6, *, name: str = "March permits", **config: Any) -> bk.Batch:
        path = self.store.with_name("permits.csv")
        path.write_text("client\n" + "".join(f"client {n}\n" for n in range(rows)), "utf-8")
        table = bk.read_csv(path)
        agent = self.ws.agent()
        checked = self.ws.validate(table, self.ws.suggest_mapping(table, agent), agent)
        return self.ws.create_batch(checked, bk.BatchConfig(name=name, **(SLOW | config)))

    def do(self, intent: str, batch: bk.Batch | None = None, **details: Any) -> Any:
        if batch is not None:
            details["batch"] = batch.id
        return self.view.intend(intent, details).result(30)

    @property
    def snapshot(self) -> dict[str, Any]:
        return self.view.drawn()

    def card(self, batch: bk.Batch) -> dict[str, Any]:
        self.do("seen")
        self.dashboard._look()
        [card] = [card for card in self.snapshot["cards"] if card["id"] == batch.id]
        return card

    def note(self, batch: bk.Batch) -> dict[str, str]:
        """What is said of the last command, once that is done."""
        eventually(lambda: not self.snapshot["jobs"])
        note = self.snapshot["notes"][batch.id]
        return {name: text for name, text in note.items() if name != "token"}

    def rows(self, batch: bk.Batch, **request: Any) -> list[dict[str, Any]]:
        chosen = {"table": "executions", "offset": 0, "limit": 100, "filter": {"batch": batch.id}} | request
        return self.do("table_page", **chosen)["rows"]


def eventually(check: Callable[[], Any], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def chosen(*keys: int) -> dict[str, Any]:
    return {"all": False, "keys": list(keys), "except": [], "filter": {}}


def everything(*except_for: int, **filters: str) -> dict[str, Any]:
    return {"all": True, "keys": [], "except": list(except_for), "filter": filters}
