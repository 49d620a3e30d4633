"""How long the dashboard takes to show a page of scheduled executions: of 1,000,000 items, against one of 1,000.

Run by hand: python tests/bench/bench_dashboard.py [rows] [--browser]. The kernel's time is that of an intent and its
answer; with --browser also the time in chromium under Voila, from the click until the new page is drawn.
Wanted: the first page of the large batch within 3 times that of the small one; a page turned within 150 ms.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

import batchkit as bk
from batchkit.testing import ScriptedTarget
from batchkit.ui.dashboard import Dashboard

ROUNDS = 15
SMALL = 1_000
PAGE = 50


def main() -> None:
    """Make both batches, ask for their pages in turns, print the medians."""
    numbers = [each for each in sys.argv[1:] if each.isdigit()]
    large = int(numbers[0]) if numbers else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "runs.sqlite")
        with bk.Workspace(ScriptedTarget(), store=store) as ws:
            batches = {rows: make(ws, rows) for rows in (SMALL, large)}
            by_kernel(Dashboard(ws), batches)
        if "--browser" in sys.argv:
            by_browser(store, batches)


def make(ws: bk.Workspace, rows: int) -> str:
    """A batch of so many rows, whose first is due in a year."""
    agent = ws.agent()
    table = bk.read_csv(pd.DataFrame({"value": [f"value {n}" for n in range(rows)]}))
    checked = ws.validate(table, ws.suggest_mapping(table, agent), agent)
    start = pd.Timestamp.now("UTC") + pd.Timedelta(days=365)
    config = bk.BatchConfig(name=f"{rows} rows", start_at=start, max_concurrent=50, batch_interval=1)
    return ws.create_batch(checked, config).id


def by_kernel(dashboard: Dashboard, batches: dict[int, str]) -> None:
    """The time an intent takes until it is answered."""
    requests: dict[str, dict[str, Any]] = {
        "first page, by row": {"offset": 0},
        "first page, by time": {"offset": 0, "sort": "time"},
        "first page, by status": {"offset": 0, "sort": "status", "descending": True},
        "first page, pending": {"offset": 0, "sort": "time", "filter": {"status": "pending"}},
        "page in the middle": {"offset": 0.5},
        "in the middle, by time": {"offset": 0.5, "sort": "time"},
        "last page, by time": {"offset": 1.0, "sort": "time"},
    }
    print(f"{'kernel':<28}" + "".join(f"{rows:>12,} rows" for rows in batches) + f"{'ratio':>8}")
    for name, request in requests.items():
        taken: dict[int, list[float]] = {rows: [] for rows in batches}
        for _ in range(ROUNDS):
            for rows, batch_id in batches.items():
                details = {"table": "executions", "limit": PAGE} | request
                details["offset"] = int(request["offset"] * (rows - PAGE))
                details["filter"] = {"batch": batch_id} | request.get("filter", {})
                taken[rows].append(_seconds(lambda asked=details: dashboard.view.intend("table_page", asked).result()))
        _print(name, taken)
    dashboard.close()


def by_browser(store: Path, batches: dict[int, str]) -> None:
    """The time from a click in chromium until the page it asked for is drawn."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "browser"))
    # Here and not above: without --browser neither Playwright nor Voila is needed.
    from front_ends import Voila
    from playwright.sync_api import sync_playwright
    from tabs import Tab

    cell = (
        "import batchkit as bk\nfrom batchkit.testing import ScriptedTarget\n"
        f"ws = bk.Workspace(ScriptedTarget(), store={str(store)!r}, engine='worker')"
    )
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
    voila = Voila(store.parent / "voila")
    taken: dict[str, dict[int, list[float]]] = {"first page": {}, "page turned": {}}
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=arguments)
            tab = voila.open(Tab(browser, store.parent, "bench"), cell, "ws.dashboard()")
            for rows in batches:
                shown = [_turn(tab, rows) for _ in range(ROUNDS)]
                taken["first page"][rows] = [first for first, _ in shown]
                taken["page turned"][rows] = [turned for _, turned in shown]
            tab.close()
            browser.close()
    finally:
        voila.close()
    print(f"\n{'browser':<28}" + "".join(f"{rows:>12,} rows" for rows in batches) + f"{'ratio':>8}")
    for name, found in taken.items():
        _print(name, found)


#: resolves with the milliseconds from the click on a button until `row` is in the first line of the table
_CLICK = """
([name, row]) => new Promise((resolve) => {
  const view = document.querySelector(".bk-root");
  const button = [...view.querySelectorAll("button")].find((each) => each.getAttribute("aria-label") === name);
  const begin = performance.now();
  const look = () => {
    const cell = view.querySelector(".bk-paged-table tbody .bk-cell");
    if (cell?.textContent === row) resolve(performance.now() - begin);
    else requestAnimationFrame(look);
  };
  button.click();
  look();
})
"""


def _turn(tab: Any, rows: int) -> tuple[float, float]:
    """Seconds until the first page of that batch is there, and until the second is."""
    name = f"Scheduled Executions of {rows} rows"
    first = tab.page.evaluate(_CLICK, [f"View {name}", "2"])
    turned = tab.page.evaluate(_CLICK, ["Next page", f"{PAGE + 2}"])
    tab.view.get_by_role("button", name=f"Hide {name}").click()
    tab.view.get_by_role("button", name=f"View {name}").wait_for()
    return first / 1000, turned / 1000


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _print(name: str, taken: dict[int, list[float]]) -> None:
    medians = [statistics.median(each) for each in taken.values()]
    cells = "".join(f"{1000 * each:>14.1f} ms" for each in medians)
    print(f"{name:<28}{cells}{medians[-1] / medians[0]:>8.2f}")


if __name__ == "__main__":
    main()
