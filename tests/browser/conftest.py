"""Fixtures of the browser tests: Debian's chromium, a Voila server, a JupyterLab server.

BATCHKIT_SCREENSHOTS names a folder in which pictures are kept. BATCHKIT_IPYKERNEL names the version of ipykernel under
test, where it is not the one installed: for version in 6.31.0 7.3.0 7.4.0
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The modules beside the tests.
sys.path.insert(0, str(Path(__file__).parent))

from front_ends import FrontEnd, JupyterLab, Voila
from playwright.sync_api import Browser, expect, sync_playwright
from tabs import Tab

# A page on a busy machine may take a while.
expect.set_options(timeout=60_000)

_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip


# One for a module, not for the session: Playwright's loop would be running in every test that comes after.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        missing = "chromium is not installed: apt-get install chromium"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def tab(browser: Browser, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Tab]:
    """A fresh tab; `Tab(browser, …)` makes a second one."""
    one = Tab(browser, tmp_path, request.node.name)
    yield one
    one.close()


@pytest.fixture(scope="session")
def voila(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Voila]:
    server = Voila(tmp_path_factory.mktemp("voila"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterLab]:
    server = JupyterLab(tmp_path_factory.mktemp("lab"))
    yield server
    server.close()


@pytest.fixture(params=["voila", "lab"])
def front_end(request: pytest.FixtureRequest) -> FrontEnd:
    """Each of the two."""
    return request.getfixturevalue(request.param)
