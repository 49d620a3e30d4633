"""The wizard in a real browser: from a dropped file to a running batch, and what must never happen on the way."""

from __future__ import annotations

import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from accessibility import axe_faults
from front_ends import FrontEnd, JupyterLab, Voila
from playwright.sync_api import Locator, expect
from tabs import NARROW, WIDE, Tab

import batchkit as bk

PAYLOAD = '<img src=x onerror="alert(1)"><script>alert(2)</script>'
ROWS = [
    "Client,Address,Permit type,Start date,Floor area,Reference",
    "Altmann Bakery,Lindenstrasse 4,signage,2026-03-02,,LE-0071",
    "Brenner & Sons,Hafenweg 18,building,2026-03-09,420.5,HH-0412",
    "Cordes Garage,Am Markt 7,electrical,2026-03-04,85,HB-0009",
    "Dahl Pharmacy,Ringstrasse 22,plumbing,2026-03-11,60,K-1180",
    "Ehlers Brewery,Kellergasse 3,building,2026-04-01,1250,WUE-0033",
]
PERMITS = "\n".join(ROWS).encode()
WRONG = PERMITS.replace(b"2026-03-09", b"9 March").replace(b"electrical", b"electric")
FILER = "Permit filer"


class Office:
    """A demo platform and a store; pages open workspaces on them."""

    def __init__(self, folder: Path) -> None:
        self.demo = bk.DemoPlatform(duration=0.3, failure_share=0)
        self.store = folder / "runs.sqlite"
        self.folder = folder

    @property
    def cell(self) -> str:
        """What a page's first cell does."""
        environment = {"BATCHKIT_URL": self.demo.url, "BATCHKIT_API_KEY": self.demo.api_key}
        return (
            f"import os\nos.environ.update({environment!r})\nimport batchkit as bk\n"
            f"ws = bk.Workspace(store={str(self.store)!r})"
        )

    def batches(self) -> list[bk.Batch]:
        with bk.Workspace(bk.AsteroidTarget(self.demo.url, self.demo.api_key), store=self.store) as ws:
            return ws.batches()

    def file(self, content: bytes, name: str = "permits.csv") -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    place = Office(tmp_path)
    yield place
    place.demo.close()


def eventually(check: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


def button(tab: Tab, name: str | re.Pattern[str]) -> Locator:
    return tab.view.get_by_role("button", name=name, exact=True)


def label(tab: Tab, name: str) -> Locator:
    return tab.view.get_by_label(name, exact=True)


def choose(tab: Tab, content: bytes, name: str = "permits.csv") -> None:
    """Choose a file, as by browsing."""
    with tab.page.expect_file_chooser() as chooser:
        tab.view.get_by_role("button", name=re.compile("^Choose")).click()
    chooser.value.set_files([{"name": name, "mimeType": "text/csv", "buffer": content}])


def drop(tab: Tab, content: bytes, name: str = "permits.csv") -> None:
    """Drop a file onto the zone."""
    data = tab.page.evaluate_handle(
        """([text, name]) => {
          const data = new DataTransfer();
          const bytes = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
          data.items.add(new File([bytes], name, { type: "text/csv" }));
          return data;
        }""",
        [b64encode(content).decode(), name],
    )
    zone = tab.view.locator(".bk-drop-zone")
    for event in ("dragenter", "dragover", "drop"):
        zone.dispatch_event(event, {"dataTransfer": data})


def go(tab: Tab, step: str) -> None:
    following = button(tab, f"Continue to {step}")
    expect(following).to_have_attribute("aria-disabled", "false")
    following.click()
    expect(tab.view.get_by_role("heading", name=step, exact=True)).to_be_visible()


def pictured(tab: Tab, name: str, *, of: Locator | None = None) -> None:
    """A picture wide and narrow."""
    for size, word in ((WIDE, "wide"), (NARROW, "narrow")):
        tab.resize(size)
        tab.page.wait_for_timeout(300)
        tab.picture(f"{name} {word}", of=of)
    tab.resize(WIDE)


def test_from_a_dropped_file_to_a_batch_that_ran(tab: Tab, front_end: FrontEnd, office: Office) -> None:
    front_end.open(tab, office.cell, "ws.wizard()")
    label(tab, "Agent").select_option(label=FILER)
    drop(tab, WRONG)
    expect(tab.view.get_by_text("5 rows", exact=True)).to_be_visible()
    go(tab, "Map Columns")
    expect(tab.view.get_by_text("All 4 required input variables are mapped.")).to_be_visible()
    label(tab, "Type of Reference").select_option(label="Metadata")
    expect(label(tab, "Metadata name of Reference")).to_have_value("Reference")
    go(tab, "Preview & Validate")
    expect(tab.view.get_by_text("2 invalid", exact=True)).to_be_visible()
    expect(tab.view.get_by_text(re.compile("'9 March' is not a date")).first).to_be_visible()
    expect(button(tab, "Continue to Configure Batch")).to_have_attribute("aria-disabled", "true")
    button(tab, "Page through the invalid rows").click()
    expect(tab.view.get_by_role("table", name="Invalid rows")).to_contain_text("Brenner")
    with tab.page.expect_download() as download:
        button(tab, "Download the invalid rows with their errors").click()
    assert b"batchkit_errors" in Path(download.value.path()).read_bytes()
    button(tab, "Upload a corrected file").click()
    choose(tab, PERMITS)
    expect(button(tab, "Continue to Map Columns")).to_have_attribute("aria-disabled", "false")
    tab.view.get_by_role("navigation", name="Steps").get_by_role("button", name=re.compile("Preview")).click()
    expect(tab.view.get_by_text("Every row can be sent.")).to_be_visible()
    go(tab, "Configure Batch")
    label(tab, "Batch Name").fill("March permits")
    label(tab, "Max Concurrent").fill("2")
    label(tab, "Batch Interval").fill("0.5")
    expect(tab.view.get_by_text("5 executions in 3 groups of up to 2, the first at once.")).to_be_visible()
    button(tab, "Start March permits").dblclick()
    dialog = tab.view.get_by_role("dialog")
    expect(dialog).to_contain_text("5 executions will be triggered from now on: Permit filer, version 3")
    dialog.get_by_role("button", name="Trigger 5 executions").click()
    card = tab.view.get_by_role("article", name="March permits")
    expect(card).to_contain_text("5 of 5 triggered, 100 %")
    expect(card).to_contain_text("Completed")
    assert len(office.demo.executions()) == 5
    assert len(office.batches()) == 1
    button(tab, "Show as Python").click()
    expect(tab.view.get_by_role("region", name="The same as a cell")).to_contain_text(
        "ws.create_batch(checked, config)"
    )
    assert office.demo.api_key not in tab.view.inner_html()
    tab.assert_quiet()


def test_the_first_rows_are_tried_before_the_rest(tab: Tab, voila: Voila, office: Office) -> None:
    voila.open(tab, office.cell, f"ws.wizard(agent={FILER!r})")
    choose(tab, PERMITS)
    for step in ("Map Columns", "Preview & Validate", "Configure Batch"):
        go(tab, step)
    label(tab, "Batch Interval").fill("0")
    label(tab, "Batch Name").fill("Trial")
    expect(button(tab, "Start Trial")).to_be_visible()
    button(tab, "Try the first 3 rows…").click()
    tab.view.get_by_role("dialog").get_by_role("button", name="Trigger 3 executions").click()
    onward = button(tab, "Go on with the other 2 rows")
    expect(onward).to_be_visible(timeout=30_000)
    expect(tab.view.get_by_text("They have ended.")).to_be_visible(timeout=30_000)
    assert len(office.demo.executions()) == 3
    pictured(tab, "trial")
    assert axe_faults(tab) == []
    onward.dblclick()
    expect(tab.view.get_by_text("5 of 5 triggered, 100 %")).to_be_visible(timeout=30_000)
    assert len(office.demo.executions()) == 5
    tab.assert_quiet()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_step_looks_right_and_has_no_fault_of_accessibility(
    tab: Tab, voila: Voila, office: Office, dark: bool
) -> None:
    word = "dark" if dark else "light"

    def look(name: str) -> None:
        pictured(tab, f"{name} {word}")
        assert axe_faults(tab) == [], name

    voila.open(tab, office.cell, "ws.wizard()", dark=dark)
    expect(label(tab, "Agent")).to_be_enabled()
    look("1 empty")
    choose(tab, WRONG + b"\nFink,too short\n\n", "a file with problems.csv")
    label(tab, "Agent").select_option(label=FILER)
    expect(tab.view.get_by_text(re.compile("must be corrected"))).to_be_visible()
    look("1 problems")
    choose(tab, WRONG.replace(b"Permit type", b"Permit-Type").replace(b"Client", b"Agent profile"))
    expect(tab.view.get_by_text(re.compile("must be corrected"))).to_have_count(0)
    look("1 uploaded")
    go(tab, "Map Columns")
    label(tab, "Type of Reference").select_option(label="Metadata")
    label(tab, "Metadata name of Reference").fill("")
    expect(tab.view.get_by_text("Give the metadata a name.")).to_be_visible()
    look("2 open")
    button(tab, "Back to Upload CSV").click()
    choose(tab, WRONG)
    go(tab, "Map Columns")
    label(tab, "Metadata name of Reference").fill("reference")
    expect(button(tab, "Continue to Preview & Validate")).to_have_attribute("aria-disabled", "false")
    look("2 mapped")
    go(tab, "Preview & Validate")
    expect(tab.view.get_by_text("2 invalid", exact=True)).to_be_visible()
    look("3 preview")
    button(tab, "Page through the invalid rows").click()
    tab.view.get_by_label(re.compile("^Leave them out")).check()
    expect(tab.view.get_by_role("table", name="Invalid rows")).to_contain_text("Brenner")
    look("3 invalid")
    go(tab, "Configure Batch")
    label(tab, "Max Concurrent").fill("1")
    expect(tab.view.get_by_text(re.compile("in 3 groups"))).to_be_visible()
    look("4 configure")
    label(tab, "Batch Name").fill("")
    label(tab, "Batch Interval").fill("-1")
    label(tab, "At a date and time").check()
    expect(tab.view.get_by_text("This must be a number of seconds")).to_be_visible()
    look("4 wrong")
    label(tab, "Batch Name").fill("March permits")
    label(tab, "Batch Interval").fill("0")
    label(tab, "Now").check()
    button(tab, "Start March permits").click()
    expect(tab.view.get_by_role("dialog")).to_be_visible()
    look("4 question")
    tab.view.get_by_role("dialog").get_by_role("button", name="Trigger 3 executions").click()
    expect(tab.view.get_by_text("3 of 3 triggered, 100 %")).to_be_visible(timeout=30_000)
    button(tab, "Show as Python").click()
    expect(tab.view.get_by_role("region", name="The same as a cell")).to_be_visible()
    look("5 batch")
    tab.assert_quiet()


def test_nothing_a_file_says_is_run(tab: Tab, front_end: FrontEnd, office: Office) -> None:
    quoted = '"' + PAYLOAD.replace('"', '""') + '"'
    rows = f"client,address,{quoted}\n{quoted},{quoted},{quoted}\n=1+1,{quoted},x\n"
    front_end.open(tab, office.cell, f"ws.wizard(agent={FILER!r})")
    choose(tab, rows.encode(), f"{PAYLOAD.replace('/', '')}.csv")
    go(tab, "Map Columns")
    label(tab, f"Type of {PAYLOAD}").select_option(label="Metadata")
    for column, variable in (("client", "permit_type"), ("address", "start_date")):
        label(tab, f"Input Variable of {column}").select_option(value=variable)
    button(tab, "Undo").click()
    button(tab, "Undo").click()
    label(tab, f"Type of {PAYLOAD}").select_option(label="Input Variable")
    expect(tab.view.get_by_text(re.compile("start_date")).first).to_be_visible()
    tab.view.get_by_role("navigation", name="Steps").get_by_role("button", name=re.compile("Upload")).click()
    choose(
        tab,
        (
            f"client,address,permit_type,start_date,{quoted}\n"
            + f"{quoted},{quoted},signage,2026-01-01,x\n" * 2
            + f"{quoted},{quoted},{quoted},2026-01-01,x\n"
        ).encode(),
        f"{PAYLOAD.replace('/', '')}.csv",
    )
    go(tab, "Map Columns")
    label(tab, f"Type of {PAYLOAD}").select_option(label="Metadata")
    go(tab, "Preview & Validate")
    tab.view.get_by_label(re.compile("^Leave it out")).check()
    button(tab, "Page through the invalid rows").click()
    go(tab, "Configure Batch")
    label(tab, "Batch Name").fill(PAYLOAD)
    label(tab, "Batch Interval").fill("0")
    button(tab, f"Start {PAYLOAD}").click()
    tab.view.get_by_role("dialog").get_by_role("button", name="Trigger 2 executions").click()
    expect(tab.view.get_by_text("2 of 2 triggered, 100 %")).to_be_visible(timeout=30_000)
    button(tab, "Show as Python").click()
    expect(tab.view.get_by_role("region", name="The same as a cell")).to_be_visible()
    assert tab.view.locator("img, script").count() == 0
    tab.assert_quiet()


def test_without_a_platform_a_banner_says_so_and_a_sample_is_at_hand(tab: Tab, voila: Voila, tmp_path: Path) -> None:
    store = str(tmp_path / "runs.sqlite")
    voila.open(tab, f"import batchkit as bk\nws = bk.Workspace(store={store!r})", f"ws.wizard(agent={FILER!r})")
    expect(tab.view.get_by_text(re.compile("this is the demo platform on this machine"))).to_be_visible()
    button(tab, "Use the sample file").click()
    go(tab, "Map Columns")
    pictured(tab, "demo map")
    go(tab, "Preview & Validate")
    go(tab, "Configure Batch")
    label(tab, "Default Agent Profile").select_option(label="Clerks")
    label(tab, "At a date and time").check()
    expect(tab.view.get_by_text(re.compile(r"the first (at|on) .*\."))).to_be_visible()
    pictured(tab, "demo configure")
    label(tab, "Now").check()
    label(tab, "Batch Name").fill("Sample")
    label(tab, "Batch Interval").fill("0")
    button(tab, "Start Sample").click()
    tab.view.get_by_role("dialog").get_by_role("button", name="Trigger 10 executions").click()
    expect(tab.view.get_by_text("10 of 10 triggered, 100 %")).to_be_visible(timeout=30_000)
    button(tab, "Make another batch").click()
    button(tab, "Use the sample file").click()
    for step in ("Map Columns", "Preview & Validate", "Configure Batch"):
        go(tab, step)
    expect(tab.view.get_by_role("heading", name="This file already ran for this agent")).to_be_visible()
    pictured(tab, "demo again")
    assert axe_faults(tab) == []
    tab.assert_quiet()


def test_rows_with_times_of_their_own_more_options_and_a_page_loaded_anew(
    tab: Tab, voila: Voila, office: Office
) -> None:
    timed = [
        f"{line},{more}" for line, more in zip(ROWS, ["Not before", "2037-03-02T09:00", "", "", "", ""], strict=True)
    ]
    voila.open(tab, office.cell, "ws.wizard(dashboard='dashboard.ipynb')")
    label(tab, "Agent").select_option(label=FILER)
    choose(tab, "\n".join(timed).encode())
    go(tab, "Map Columns")
    label(tab, "Type of Not before").select_option(label="Not Before Time")
    zone = label(tab, "Time zone of Not before")
    zone.fill("Nowhere")
    expect(tab.view.get_by_text(re.compile("Say in which time zone"))).to_be_visible()
    expect(zone).to_have_attribute("aria-invalid", "true")
    pictured(tab, "times wrong")
    zone.fill("America/New_York")
    expect(tab.view.locator("time[datetime='2037-03-02T14:00:00+00:00']")).to_be_visible()
    pictured(tab, "times", of=tab.view.locator(".bk-columns"))
    assert axe_faults(tab) == []
    go(tab, "Preview & Validate")
    go(tab, "Configure Batch")
    expect(label(tab, "Max In Flight")).to_have_count(0)
    tab.view.get_by_text("More options").click()
    more = tab.view.locator(".bk-options")
    pictured(tab, "options", of=more)
    label(tab, "Max In Flight").fill("many")
    label(tab, "Send in working hours only").check()
    label(tab, "Mon").uncheck()
    label(tab, "From").fill("")
    expect(tab.view.get_by_text("This must be a time of day, like 08:00.")).to_be_visible()
    expect(
        tab.view.get_by_text(re.compile("^This must be a whole number of executions, 1 or more, or"))
    ).to_be_visible()
    pictured(tab, "options wrong", of=more)
    assert axe_faults(tab) == []
    label(tab, "Max In Flight").fill("2")
    label(tab, "% failed").fill("20")
    label(tab, "From").fill("09:00")
    label(tab, "Batch Interval").fill("7200")
    label(tab, "Max Concurrent").fill("1")
    expect(tab.view.get_by_text(re.compile("working hours included"))).to_be_visible()
    expect(tab.view.get_by_text("3 set")).to_be_visible()
    pictured(tab, "options set")
    tab.page.reload()
    onward = tab.view.get_by_role("button", name=re.compile("^Go on with permits.csv"))
    expect(onward).to_be_visible(timeout=60_000)
    # Voila refuses what its own page says when it is left.
    tab.console_errors.clear()
    pictured(tab, "left")
    assert axe_faults(tab) == []
    onward.click()
    expect(tab.view.get_by_role("heading", name="Configure Batch")).to_be_visible()
    expect(label(tab, "Batch Interval")).to_have_value("7200")
    tab.view.get_by_text("More options").click()
    expect(label(tab, "Max In Flight")).to_have_value("2")
    label(tab, "Send in working hours only").uncheck()
    label(tab, "Batch Interval").fill("3600")
    label(tab, "Batch Name").fill("First")
    button(tab, "Start First").click()
    tab.view.get_by_role("dialog").get_by_role("button", name="Trigger 5 executions").click()
    expect(tab.view.get_by_role("article", name="First")).to_be_visible(timeout=30_000)
    button(tab, "Make another batch").click()
    choose(tab, "\n".join(timed).encode())
    for step in ("Map Columns", "Preview & Validate", "Configure Batch"):
        go(tab, step)
    button(tab, "Show it: batch First").click()
    expect(tab.view.get_by_role("article", name="First")).to_be_visible()
    pictured(tab, "earlier")
    assert axe_faults(tab) == []
    tab.assert_quiet()


def test_a_notebook_saved_with_its_widgets_holds_no_rows_and_shows_them_again(
    tab: Tab, lab: JupyterLab, office: Office
) -> None:
    lab.open(tab, office.cell, f"wizard = ws.wizard(agent={FILER!r})\nwizard", "wizard")
    choose(tab, PERMITS)
    go(tab, "Map Columns")
    second = tab.page.locator(".bk-root").nth(1)
    expect(second.get_by_text("Lindenstrasse 4").first).to_be_visible()
    tab.page.evaluate(
        """async (command) => {
          if (!jupyterapp.commands.isToggled(command)) await jupyterapp.commands.execute(command);
        }""",
        "@jupyter-widgets/jupyterlab-manager:saveWidgetState",
    )
    tab.page.evaluate("jupyterapp.commands.execute('docmanager:save')")
    [notebook] = (path for path in lab.notebooks.glob("*.ipynb") if "wizard = ws" in path.read_text("utf-8"))
    eventually(lambda: "widget-state" in notebook.read_text("utf-8"))
    assert "Lindenstrasse" not in notebook.read_text("utf-8")
    tab.page.reload()
    expect(tab.view.get_by_text("Lindenstrasse 4").first).to_be_visible(timeout=60_000)
    expect(tab.view.get_by_role("heading", name="Map Columns", exact=True)).to_be_visible()
    assert not tab.page_errors


def tab_to(tab: Tab, wanted: Locator, *, back: bool = False) -> None:
    """Press Tab until `wanted` has the focus, which is to be seen."""
    for _ in range(80):
        if wanted.evaluate("element => element === document.activeElement"):
            assert wanted.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
            return
        tab.page.keyboard.press("Shift+Tab" if back else "Tab")
    raise AssertionError(f"Tab does not lead to {wanted}")


def test_the_whole_way_is_gone_by_keyboard_alone(tab: Tab, front_end: FrontEnd, office: Office) -> None:
    front_end.open(tab, office.cell, "ws.wizard()")
    press, view = tab.page.keyboard.press, tab.view
    path = office.file(WRONG.replace(b"9 March", b"2026-03-09"))
    agent = label(tab, "Agent")
    expect(agent).to_be_enabled()
    agent.focus()
    tab.page.keyboard.type("Permit")
    expect(view.get_by_text(re.compile("^Version 3 on "))).to_be_visible()
    tab_to(tab, label(tab, "Or the path of a file on the server"))
    tab.page.keyboard.type(str(path))
    press("Enter")

    def follow(step: str) -> None:
        """Go on, and read on where the next step begins."""
        following = button(tab, f"Continue to {step}")
        expect(following).to_have_attribute("aria-disabled", "false")
        tab_to(tab, following)
        press("Enter")
        title = view.get_by_role("heading", name=step, exact=True)
        expect(title).to_be_focused()
        expect(title).to_be_in_viewport()

    follow("Map Columns")
    tab_to(tab, label(tab, "Type of Reference"))
    tab.page.keyboard.type("Metadata")
    expect(label(tab, "Metadata name of Reference")).to_have_value("Reference")
    follow("Preview & Validate")
    expect(view.get_by_text("1 invalid", exact=True)).to_be_visible()
    tab_to(tab, view.get_by_label(re.compile("^Block the batch")))
    press("ArrowDown")
    expect(view.get_by_label(re.compile("^Leave it out"))).to_be_checked()
    follow("Configure Batch")
    tab_to(tab, label(tab, "Batch Interval"))
    press("Control+A")
    tab.page.keyboard.type("3600")
    start = view.get_by_role("button", name=re.compile("^Start "))
    tab_to(tab, start)
    press("Enter")
    tab_to(tab, button(tab, "Trigger 4 executions"))
    press("Enter")
    expect(view.get_by_role("heading", name="The batch was made")).to_be_focused()
    tab_to(tab, view.get_by_role("button", name=re.compile("^View Scheduled Executions of ")))
    press("Enter")
    expect(view.get_by_role("table", name=re.compile("^Scheduled executions of "))).to_contain_text("Triggered")
    expect(view.get_by_text("4 of 4 triggered, 100 %")).to_be_visible()
    assert len(office.batches()) == 1
    assert not axe_faults(tab)
    tab.assert_quiet()
