"""A tab of the browser which remembers what went wrong in it and what it asked of other machines."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Locator,
    Page,
    Request,
    Route,
    ViewportSize,
)

__all__ = ["NARROW", "WIDE", "Tab"]

NARROW = (600, 900)
WIDE = (1400, 900)
#: what the front-ends themselves fetch from elsewhere, or complain of, whatever the notebook does
_FRONT_END_FETCHES = ("https://cdn.jsdelivr.net/npm/@fortawesome/",)
_FRONT_END_COMPLAINTS = re.compile(r"net::ERR_FAILED|ERR_BLOCKED_BY_CLIENT|favicon|status of 404|jupyterlab_widgets")


class Tab:
    """A page in a browser context of its own; nothing it asks of another machine leaves this one.

    console_errors, page_errors, dialogs: what was said, in order. strangers: addresses on other machines that were
    asked for, save those of the front-end itself.
    """

    def __init__(self, browser: Browser, pictures: Path, name: str) -> None:
        self.console_errors: list[str] = []
        self.page_errors: list[str] = []
        self.dialogs: list[str] = []
        self.strangers: list[str] = []
        self._pictures = pictures
        self._name = name
        self._ends: list[Callable[[], object]] = []
        self.context: BrowserContext = browser.new_context(viewport=_size(WIDE), locale="en-GB")
        self.context.set_default_timeout(60_000)
        self.context.set_default_navigation_timeout(120_000)
        self.context.route(lambda address: not _is_here(address), self._refuse)
        self.page: Page = self.context.new_page()
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.page_errors.append(str(error)))
        self.page.on("request", self._notice)
        self.page.on("dialog", self._dismiss)

    @property
    def view(self) -> Locator:
        """The first view of batchkit's in the page."""
        return self.page.locator(".bk-root").first

    def resize(self, size: tuple[int, int]) -> None:
        self.page.set_viewport_size(_size(size))

    def picture(self, label: str, *, of: Locator | None = None) -> Path:
        """A picture of the page, kept in the folder that BATCHKIT_SCREENSHOTS names."""
        folder = Path(os.environ.get("BATCHKIT_SCREENSHOTS") or self._pictures)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{re.sub(r'[^A-Za-z0-9]+', '-', f'{self._name} {label}').strip('-')}.png"
        if of is None:
            self.page.screenshot(path=path, full_page=True)
        else:
            of.screenshot(path=path)
        return path

    def at_end(self, end: Callable[[], object]) -> None:
        """Have `end` called before the tab is closed."""
        self._ends.append(end)

    def close(self) -> None:
        for end in self._ends:
            end()
        self.context.close()

    def assert_quiet(self) -> None:
        """Nothing failed in the page, no script of a stranger's ran, and no other machine was asked for anything."""
        assert not self.page_errors
        assert not self.console_errors, self.console_errors
        assert not self.dialogs
        assert not self.strangers

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not _FRONT_END_COMPLAINTS.search(f"{message.text} {message.location}"):
            self.console_errors.append(message.text)

    def _notice(self, request: Request) -> None:
        if not _is_here(request.url) and not request.url.startswith(_FRONT_END_FETCHES):
            self.strangers.append(request.url)

    def _refuse(self, route: Route) -> None:
        route.abort()

    def _dismiss(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()


def _size(size: tuple[int, int]) -> ViewportSize:
    return {"width": size[0], "height": size[1]}


def _is_here(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme not in ("http", "https", "ws", "wss") or parts.hostname == "127.0.0.1"
