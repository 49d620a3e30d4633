"""What axe-core finds in a page."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from tabs import Tab

__all__ = ["axe_faults"]

_GRAVE = ("serious", "critical")


def axe_faults(tab: Tab, within: str = ".bk-root") -> list[str]:
    """The serious and critical faults inside `within`, each in a line with the elements concerned."""
    if not tab.page.evaluate("() => Boolean(window.axe)"):
        tab.page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text("utf-8"))
    found = tab.page.evaluate("within => axe.run({include: [[within]]}, {resultTypes: ['violations']})", within)
    return [
        f"{fault['id']} ({fault['impact']}): {fault['help']}: {_places(fault)}"
        for fault in found["violations"]
        if fault["impact"] in _GRAVE
    ]


def _places(fault: dict[str, Any]) -> str:
    return "; ".join(node["html"][:200] for node in fault["nodes"])
