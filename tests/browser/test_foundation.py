"""The parts that wizard and dashboard share, in a real browser: what only a browser shows."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from accessibility import axe_faults
from front_ends import FrontEnd, JupyterLab, Voila
from parts_view import PAYLOAD
from playwright.sync_api import Browser, Locator, expect
from tabs import NARROW, Tab

CELL = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from parts_view import Parts; parts = Parts()"
CELLS = (CELL, "parts.view")
#: makes a DataTransfer of files whose name, type and parts are given
TRANSFER = """files => {
  const transfer = new DataTransfer();
  for (const [name, text] of files) transfer.items.add(new File([text], name));
  return transfer;
}"""


def button(tab: Tab, name: str | re.Pattern[str]) -> Locator:
    return tab.view.get_by_role("button", name=name, exact=True)


def choose(tab: Tab, path: Path, name: str | re.Pattern[str] = "Choose a CSV file") -> None:
    with tab.page.expect_file_chooser() as chooser:
        button(tab, name).click()
    chooser.value.set_files(str(path))


def drop(tab: Tab, *files: tuple[str, str]) -> None:
    transfer = tab.page.evaluate_handle(TRANSFER, [list(each) for each in files])
    for event in ("dragenter", "dragover", "drop"):
        tab.view.locator(".bk-drop-zone").dispatch_event(event, {"dataTransfer": transfer})


def files(tab: Tab) -> Locator:
    return tab.view.locator(".parts-files li")


def listed(name: str, data: bytes) -> str:
    return f"{name} {len(data)} {hashlib.sha256(data).hexdigest()}"


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of 60 MB, no two of whose megabytes are alike."""
    path = tmp_path_factory.mktemp("big") / "big.csv"
    with path.open("wb") as file:
        for part in range(60):
            file.write(f"{part:07},{'x' * 91}\n".encode() * 10_000)
    return path


def test_a_large_file_arrives_and_the_view_works_in_both_front_ends(front_end: FrontEnd, tab: Tab, big: Path) -> None:
    front_end.open(tab, *CELLS)
    choose(tab, big)
    bar = tab.view.get_by_role("progressbar", name="Upload of big.csv")
    expect(bar).to_have_attribute("aria-valuetext", re.compile(r"of 60\.0 MB"))
    # Meanwhile the rest works: Enter and Space press a button, also in JupyterLab.
    expect(tab.view.get_by_label("Field b", exact=True)).to_be_visible()
    button(tab, "turn").focus()
    tab.page.keyboard.press("Enter")
    expect(tab.view.locator("ul li").first).to_have_text("Field b")
    tab.page.keyboard.press("Space")
    expect(tab.view.locator("ul li").first).to_have_text("Field c")
    expect(files(tab)).to_have_text([listed("big.csv", big.read_bytes())], timeout=90_000)
    expect(bar).to_have_count(0)
    for name, words in (("refuse", "Max Concurrent must be 1 or more"), ("slip", "ZeroDivisionError: a slip")):
        button(tab, name).click()
        expect(tab.view.locator(".bk-notices")).to_contain_text(words)
    button(tab, "Details of row 0").click()
    button(tab, "confirm").click()
    dialog = tab.view.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Back")).to_be_focused()
    # The payload stands in header, title, cell, detail, message and question, as text.
    assert tab.view.get_by_text(PAYLOAD, exact=False).count() >= 6
    assert axe_faults(tab) == []
    tab.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button(tab, "confirm")).to_be_focused()
    assert tab.view.get_by_text("A bad link").get_attribute("href") is None
    tab.page.wait_for_timeout(200)
    tab.assert_quiet()


@pytest.fixture(scope="module")
def parts(voila: Voila, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """One page for the tests that leave it as they found it."""
    tab = Tab(browser, tmp_path_factory.mktemp("pictures"), "parts")
    yield voila.open(tab, *CELLS)
    tab.assert_quiet()
    tab.close()


def test_focus_caret_and_typed_text_stay_while_everything_changes(parts: Tab) -> None:
    field = parts.view.get_by_label("Field b", exact=True)
    field.fill("hello")
    field.evaluate("field => field.setSelectionRange(2, 3)")
    orders = []
    for _ in range(3):
        before = parts.view.locator("ul").inner_text()
        parts.view.get_by_role("button", name="turn").evaluate("button => button.click()")
        parts.page.wait_for_function("before => document.querySelector('.bk-root ul').innerText !== before", arg=before)
        orders.append(parts.view.locator("ul").inner_text())
        expect(field).to_be_focused()
        assert field.evaluate("field => [field.value, field.selectionStart]") == ["hello", 2]
    assert len(set(orders)) == 3
    name = parts.view.get_by_label("Name", exact=True)
    button(parts, "tick").click()
    name.click()
    parts.page.keyboard.type("typed while a bar moves", delay=20)
    button(parts, "ask").click()
    expect(parts.view).to_contain_text("Answer: 23")
    expect(name).to_have_value("typed while a bar moves")


def test_a_picture_is_drawn_as_svg(parts: Tab) -> None:
    box = parts.view.locator("svg[aria-label='A picture'] rect").bounding_box()
    assert box is not None
    assert box["width"] == pytest.approx(50)


def test_bars_and_tables_are_redrawn_no_more_often_than_is_good(parts: Tab) -> None:
    expect(parts.view.get_by_role("table", name="Rows").locator("tbody tr")).to_have_count(50)
    parts.page.wait_for_timeout(600)
    parts.page.evaluate(
        """() => {
          window.seen = {bar: new Set(), table: new Set()};
          const bar = document.querySelector("[role=progressbar][aria-label=Progress]");
          const cell = document.querySelector(".bk-paged-table tbody tr td:nth-last-child(2)");
          window.watching = new MutationObserver(() => {
            window.seen.bar.add(bar.getAttribute("aria-valuenow"));
            window.seen.table.add(cell.textContent);
          });
          const everything = {subtree: true, childList: true, characterData: true, attributes: true};
          window.watching.observe(document.querySelector(".bk-root"), everything);
        }"""
    )
    button(parts, "tick").click()
    bar = parts.view.get_by_role("progressbar", name="Progress")
    parts.page.wait_for_function("() => window.seen.bar.size > 2")
    expect(bar).to_have_attribute("aria-valuenow", "100")
    parts.page.wait_for_timeout(1200)
    drawn, pages = parts.page.evaluate("() => [window.seen.bar.size, window.seen.table.size]")
    parts.page.evaluate("() => window.watching.disconnect()")
    # It takes two seconds, more on a busy machine, and has 200 steps.
    assert 3 < drawn <= 100
    assert 1 < pages <= drawn / 2
    last = parts.view.get_by_role("table", name="Rows").locator("tbody tr").first.locator("td").nth(-2)
    expect(last).not_to_have_text("0")


def test_a_table_is_paged_sorted_filtered_and_selected_by_keyboard_alone(parts: Tab) -> None:
    page, table = parts.page, parts.view.get_by_role("table", name="Rows")
    pager = parts.view.get_by_role("navigation", name="Pages of Rows")
    expect(pager).to_contain_text("1–50 of 1,234")
    top = pager.evaluate("pager => pager.offsetTop")
    button(parts, "Next page").focus()
    page.keyboard.press("Enter")
    expect(pager).to_contain_text("51–100 of 1,234")
    expect(parts.view.locator(".bk-paged > [role=status]")).to_have_text("51–100 of 1,234")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(pager).to_contain_text("1,201–1,234 of 1,234")
    expect(button(parts, "Last page")).to_be_focused()
    assert pager.evaluate("pager => pager.offsetTop") == top
    number = parts.view.get_by_label("Page, of 25")
    number.focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("300")
    page.keyboard.press("Enter")
    expect(number).to_have_value("25")
    page.keyboard.press("Control+A")
    page.keyboard.type("2")
    page.keyboard.press("Enter")
    expect(pager).to_contain_text("51–100 of 1,234")

    header = table.get_by_role("columnheader", name="Row", exact=True)
    expect(header).to_have_attribute("aria-sort", "none")
    header.get_by_role("button").focus()
    for direction, first in (("ascending", "0"), ("descending", "1233")):
        page.keyboard.press("Enter")
        expect(header).to_have_attribute("aria-sort", direction)
        expect(table.locator("tbody tr").first.locator("td").nth(2)).to_have_text(first)
    expect(pager).to_contain_text("1–50 of 1,234")

    parts.view.get_by_label("Select row 1233", exact=True).focus()
    page.keyboard.press("Space")
    expect(parts.view.get_by_text("1 selected")).to_be_visible()
    expect(table.get_by_label("Select all rows of this page")).to_have_js_property("indeterminate", True)
    button(parts, "Select all 1,234").focus()
    page.keyboard.press("Enter")
    expect(parts.view.locator(".parts-selection")).to_contain_text('"count":1234')
    parts.view.get_by_label("Select row 1232", exact=True).focus()
    page.keyboard.press("Space")
    selection = parts.view.locator(".parts-selection")
    expect(selection).to_have_text('{"all":true,"keys":[],"except":[1232],"filter":{},"count":1233}')
    parts.view.get_by_label("Status", exact=True).select_option("Pending")
    expect(selection).to_have_text('{"all":false,"keys":[],"except":[],"filter":{"status":"Pending"},"count":0}')
    expect(pager).to_contain_text("of 412")
    table.get_by_label("Select all rows of this page").check()
    expect(parts.view.get_by_text("50 selected")).to_be_visible()
    parts.view.get_by_label("Search").fill("99999")
    expect(parts.view.get_by_text("No row matches the filter.")).to_be_visible()
    button(parts, "Clear the filter").click()
    expect(pager).to_contain_text("1–50 of 1,234")


def test_a_long_text_is_cut_and_opens(parts: Tab) -> None:
    cell = parts.view.locator(".bk-cell-more").first
    height = cell.evaluate("cell => cell.offsetHeight")
    assert cell.get_attribute("title") == PAYLOAD
    parts.resize(NARROW)
    cell.press("Enter")
    expect(cell).to_have_attribute("aria-expanded", "true")
    assert cell.evaluate("cell => cell.offsetHeight") > 1.5 * height
    # Only the table scrolls sideways in a narrow window.
    assert parts.view.evaluate("view => view.scrollWidth <= view.clientWidth")
    cell.press("Enter")
    expect(cell).to_have_attribute("aria-expanded", "false")
    parts.resize((1400, 900))


def test_a_page_that_cannot_be_read_says_so_and_can_be_tried_again(parts: Tab) -> None:
    button(parts, "mend").click()
    error = parts.view.get_by_role("alert")
    expect(error).to_contain_text(f"The store cannot be read. {PAYLOAD}")
    expect(parts.view.locator(".bk-notices")).not_to_contain_text("The store cannot be read")
    button(parts, "Try again").click()
    expect(error).to_contain_text("The store cannot be read.")
    button(parts, "mend").click()
    expect(parts.view.get_by_text("The store is broken.")).to_have_count(0)
    button(parts, "Try again").click()
    expect(error).to_have_count(0)


def test_files_are_dropped_one_at_a_time_and_the_same_one_again(parts: Tab) -> None:
    before = files(parts).count()
    drop(parts, ("a.csv", "a"), ("b.csv", "b"))
    alert = parts.view.locator(".bk-drop").get_by_role("alert")
    expect(alert).to_contain_text("2 files were dropped, and one is taken at a time.")
    for count in (1, 2):
        drop(parts, (f"{PAYLOAD}.csv", "x,y\n1,2\n"))
        expect(files(parts)).to_have_count(before + count)
    expect(alert).to_have_count(0)
    expect(files(parts).last).to_have_text(listed(f"{PAYLOAD}.csv", b"x,y\n1,2\n"))
    drop(parts, ("empty.csv", ""))
    expect(files(parts).last).to_have_text(listed("empty.csv", b""))
    drop(parts, ("bad.csv", "x"))
    expect(alert).to_have_text("bad.csv is no table.")
    drop(parts, ("again.csv", "x"))
    expect(files(parts).last).to_have_text(listed("again.csv", b"x"))
    expect(alert).to_have_count(0)


def test_an_interrupted_upload_leaves_a_clear_state(parts: Tab, big: Path, tmp_path: Path) -> None:
    before = files(parts).count()
    bar = parts.view.get_by_role("progressbar", name="Upload of big.csv")
    # Another test may have left a file there.
    choose(parts, big, re.compile("^Choose (a CSV|another) file$"))
    expect(bar).to_be_visible()
    button(parts, "Cancel the upload of big.csv").click()
    expect(bar).to_have_count(0)
    expect(parts.view.locator(".bk-drop")).to_contain_text("The upload of big.csv was cancelled.")

    # Another file meanwhile takes its place.
    choose(parts, big)
    expect(bar).to_be_visible()
    drop(parts, ("small.csv", "x"))
    expect(files(parts)).to_have_count(before + 1)
    expect(bar).to_have_count(0)

    # The file changes while it is read.
    changing = tmp_path / "changing.csv"
    changing.write_bytes(b"x" * 30_000_000)
    choose(parts, changing, "Choose another file")
    bar = parts.view.get_by_role("progressbar", name="Upload of changing.csv")
    expect(bar).not_to_have_attribute("aria-valuenow", "0")
    changing.write_bytes(b"y")
    alert = parts.view.locator(".bk-drop").get_by_role("alert")
    expect(alert).to_contain_text("“changing.csv” could not be read. It was changed")
    choose(parts, changing)
    expect(files(parts).last).to_have_text(listed("changing.csv", b"y"))


def run(tab: Tab, code: str) -> None:
    """Begin to run code in the kernel of the notebook in sight."""
    tab.page.evaluate(
        "code => void jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute({code})", code
    )


def test_a_view_shown_twice_and_closed(lab: JupyterLab, tab: Tab) -> None:
    lab.open(tab, CELL, "from IPython.display import display; display(parts.view, parts.view)")
    views = tab.page.locator(".bk-root")
    expect(views).to_have_count(2)
    views.nth(1).get_by_role("button", name="turn", exact=True).click()
    for view in (views.nth(0), views.nth(1)):
        expect(view.locator("ul li").first).to_have_text("Field b")
    ids = tab.page.eval_on_selector_all(".bk-root [id]", "all => all.map(each => each.id)")
    assert len(ids) == len(set(ids)) > 2
    views.nth(0).get_by_label("Status", exact=True).select_option("Pending")
    expect(views.nth(0)).to_contain_text("of 412")
    expect(views.nth(1)).to_contain_text("of 1,234")
    run(tab, "parts.view.close()")
    expect(views).to_have_count(0)
    tab.assert_quiet()


def test_clicks_work_after_a_cell_raised_while_one_runs_and_a_dead_kernel_is_noticed(
    lab: JupyterLab, tab: Tab, tmp_path: Path
) -> None:
    lab.open(tab, CELL, "parts.view", "1 / 0")
    # Until that has failed and the kernel rests, it drops what else it is asked to run.
    expect(tab.page.locator(".jp-OutputArea-output").last).to_contain_text("ZeroDivisionError")
    tab.page.wait_for_function("() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'")
    # A page that began to send a file and is gone.
    run(tab, "parts.uploads.intents['upload_begin']({'name': 'gone.csv', 'size': 100}, [])")
    expect(tab.view.locator(".bk-drop")).to_contain_text("Another page is uploading gone.csv")
    first = tab.view.locator("ul li").first
    button(tab, "turn").click()
    expect(first).to_have_text("Field b")
    gate, over = tmp_path / "gate", tmp_path / "over"
    run(
        tab,
        f"import ipykernel, pathlib, time\n"
        f"pathlib.Path({str(tmp_path / 'version')!r}).write_text(ipykernel.__version__)\n"
        f"while not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.05)\n"
        f"pathlib.Path({str(over)!r}).touch()",
    )
    version = _text_of(tmp_path / "version", tab)
    button(tab, "turn").click()
    if int(version.partition(".")[0]) >= 7:
        expect(first).to_have_text("Field c")
        assert not over.exists()
    else:
        # This kernel hears nothing before the cell ends, and the page says so.
        expect(tab.view.locator(".bk-notices")).to_contain_text("The kernel does not answer.", timeout=20_000)
    gate.touch()
    expect(first).to_have_text("Field c")
    expect(tab.view.locator(".bk-notices")).not_to_contain_text("does not answer")
    tab.assert_quiet()
    tab.page.evaluate("jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    button(tab, "turn").click()
    expect(tab.view.locator(".bk-notices")).to_contain_text("The kernel does not answer.", timeout=20_000)
    expect(tab.view.locator(".bk-drop")).to_contain_text("gone.csv was interrupted", timeout=20_000)


def _text_of(path: Path, tab: Tab) -> str:
    """The text of a file, once the kernel has written it."""
    for _ in range(300):
        if path.exists() and (text := path.read_text("utf-8")):
            return text
        tab.page.wait_for_timeout(100)
    raise AssertionError(f"the kernel did not write {path}")
