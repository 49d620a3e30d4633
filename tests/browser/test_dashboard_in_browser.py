"""The dashboard in a real browser: everything its user does there, and what must never happen there."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from accessibility import axe_faults
from front_ends import FrontEnd, Voila
from playwright.sync_api import Browser, Locator, expect
from tabs import NARROW, WIDE, Tab

import batchkit as bk
from batchkit.core.outcome import Refused
from batchkit.testing import ScriptedTarget

PAYLOAD = '<img src=x onerror="alert(1)"><script>alert(2)</script>'
CLERK = bk.Agent(name="Permit filer", inputs=[bk.InputVariable("client", required=True)])
SLOW = {"max_concurrent": 2, "batch_interval": 3600}


class Office:
    """A demo platform, a store, and a workspace in this process; pages open others on the same store."""

    def __init__(self, folder: Path, **platform: Any) -> None:
        behaviour = {"duration": 0.05, "failure_share": 0} | platform
        self.demo = bk.DemoPlatform(agents=[CLERK], **behaviour)
        self.store = folder / "runs.sqlite"
        self.folder = folder
        self.ws = self.workspace()

    def workspace(self) -> bk.Workspace:
        return bk.Workspace(bk.AsteroidTarget(url=self.demo.url, api_key=self.demo.api_key), store=self.store)

    def close(self) -> None:
        self.ws.close()
        self.demo.close()

    def make(
        self,
        rows: int = 6,
        *,
        name: str = "March permits",
        file: str = "permits.csv",
        ws: bk.Workspace | None = None,
        **config: Any,
    ) -> bk.Batch:
        ws = ws or self.ws
        path = self.folder / file
        path.write_text("client\n" + "".join(f"client {n}\n" for n in range(rows)), "utf-8")
        table = bk.read_csv(path)
        agent = ws.agent()
        checked = ws.validate(table, ws.suggest_mapping(table, agent), agent)
        return ws.create_batch(checked, bk.BatchConfig(name=name, **(SLOW | config)))

    @property
    def cell(self) -> str:
        """What a page's first cell does."""
        target = f"bk.AsteroidTarget(url={self.demo.url!r}, api_key={self.demo.api_key!r})"
        return f"import batchkit as bk\nws = bk.Workspace({target}, store={str(self.store)!r})"


def eventually(check: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


def button(place: Tab | Locator, name: str) -> Locator:
    return (place.view if isinstance(place, Tab) else place).get_by_role("button", name=name, exact=True)


def confirm(tab: Tab, name: str) -> None:
    tab.page.get_by_role("dialog").get_by_role("button", name=name, exact=True).click()
    expect(tab.page.get_by_role("dialog")).to_have_count(0)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    one = Office(tmp_path)
    yield one
    one.close()


def test_a_batch_is_steered_from_the_page(front_end: FrontEnd, tab: Tab, office: Office) -> None:
    batch = office.make(200, max_concurrent=1, batch_interval=0.3)
    front_end.open(tab, office.cell, "ws.dashboard()")
    card = tab.view.get_by_role("article", name="March permits")
    expect(card).to_contain_text("Running")
    eventually(lambda: office.demo.requests.count >= 2)

    button(card, "Pause March permits").click()
    expect(card).to_contain_text("Paused")
    # The batch runs in this process, which hears of the pause when it looks, every second.
    began, sent = time.monotonic(), 0
    while office.demo.requests.count != sent:
        assert time.monotonic() - began < 12
        sent = office.demo.requests.count
        time.sleep(1)
    assert sent < 200
    button(card, "Resume March permits").click()
    expect(card).to_contain_text("Running")
    eventually(lambda: office.demo.requests.count > sent)
    button(card, "Pause March permits").click()
    expect(card).to_contain_text("Paused")

    button(card, "View Scheduled Executions of March permits").click()
    row = card.get_by_role("row").filter(has_text="201")
    last = card.get_by_role("button", name="Last page")
    last.click()
    button(row, "Cancel row 201").click()
    expect(tab.page.get_by_role("dialog")).to_contain_text("cannot be undone")
    confirm(tab, "Cancel it")
    expect(card).to_contain_text("1 scheduled execution cancelled.")
    assert batch.items(after=198)["status"].tolist() == ["cancelled"]

    moved = card.get_by_role("row").filter(has_text="200")
    button(moved, "Reschedule row 200").click()
    later = (datetime.now().astimezone() + timedelta(days=40)).replace(microsecond=0)
    card.get_by_label("New time for row 200").fill(f"{later:%Y-%m-%dT%H:%M:%S}")
    button(card, "Reschedule").click()
    expect(card).to_contain_text("1 scheduled execution rescheduled.")
    tab.picture(f"steered {front_end.name}")
    assert batch.items(after=197, limit=1)["execute_at"][0] == pd.Timestamp(later)

    button(card, "Cancel March permits").click()
    expect(tab.page.get_by_role("dialog")).to_contain_text("Executions that are running go on.")
    confirm(tab, "Cancel the batch")
    # The row that was cancelled says so before the batch does.
    eventually(lambda: batch.status == "cancelled")
    expect(button(card, "Cancel March permits")).to_be_disabled()
    tab.assert_quiet()
    if isinstance(front_end, Voila):
        tab.page.reload()
        expect(card).to_contain_text("Cancelled", timeout=60_000)
        assert not tab.page_errors


def test_two_tabs_and_another_process_see_one_batch(voila: Voila, tab: Tab, browser: Browser, office: Office) -> None:
    batch = office.make()
    second = Tab(browser, office.folder, "second")
    try:
        for each in (tab, second):
            voila.open(each, office.cell, "ws.dashboard()")
        expect(second.view).to_contain_text("Running")
        button(tab, "Pause March permits").click()
        began = time.monotonic()
        expect(second.view.get_by_role("article")).to_contain_text("Paused")
        assert time.monotonic() - began < 12
        batch.cancel()
        for each in (tab, second):
            expect(each.view.get_by_role("article")).to_contain_text("Cancelled")
            each.assert_quiet()
    finally:
        second.close()


def test_a_double_click_does_nothing_twice(voila: Voila, tab: Tab, office: Office) -> None:
    batch = office.make()
    voila.open(tab, office.cell, "ws.dashboard()")
    eventually(lambda: batch.progress.triggered == 2)
    button(tab, "Pause March permits").dblclick()
    expect(tab.view.get_by_role("article")).to_contain_text("Paused")
    button(tab, "Resume March permits").dblclick()
    expect(tab.view.get_by_role("article")).to_contain_text("Running")
    time.sleep(1)
    button(tab, "Change limits of March permits").click()
    form = tab.view.get_by_role("form", name="Limits of March permits")
    form.get_by_label("Max In Flight").fill("3")
    expect(button(form, "Change limits")).to_have_attribute("aria-disabled", "false")
    button(form, "Change limits").dblclick()
    expect(tab.view.get_by_role("article")).to_contain_text("The limits were changed.")
    button(tab, "View Scheduled Executions of March permits").click()
    button(tab, "Reschedule row 7").click()
    button(tab, "Reschedule").dblclick()
    expect(tab.view.get_by_role("article")).to_contain_text("1 scheduled execution rescheduled.")
    time.sleep(1)
    kinds = ["created", "paused", "resumed", "limits", "item_rescheduled"]
    assert batch.events()["kind"].tolist() == kinds
    expect(tab.view.locator(".bk-error")).to_have_count(0)
    tab.assert_quiet()


def test_all_that_match_are_selected_and_cancelled(voila: Voila, tab: Tab, office: Office) -> None:
    batch = office.make(120)
    eventually(lambda: batch.progress.triggered == 2)
    voila.open(tab, office.cell, "ws.dashboard()")
    card = tab.view.get_by_role("article", name="March permits")
    button(card, "View Scheduled Executions of March permits").click()
    expect(card).to_contain_text("1–50 of 120")
    button(card, "Scheduled").click()
    button(card, "Scheduled").click()
    expect(card.get_by_role("row").nth(1)).to_contain_text("121")
    card.get_by_label("Status", exact=True).select_option("Pending")
    expect(card).to_contain_text("1–50 of 118")
    button(card, "Select all 118 matching").click()
    card.get_by_role("checkbox", name="Select row 120", exact=True).uncheck()
    expect(card).to_contain_text("117 selected")
    button(card, "Cancel selected…").click()
    confirm(tab, "Cancel them")
    expect(card).to_contain_text("117 scheduled executions cancelled.")
    expect(card).to_contain_text("1–1 of 1")
    assert (batch.progress.pending, batch.progress.cancelled) == (1, 117)
    tab.assert_quiet()


def test_more_batches_are_shown_on_demand_and_found_by_name(voila: Voila, tab: Tab, office: Office) -> None:
    for number in range(23):
        office.make(1, name=f"Batch {number}", start_at="2099-01-01T09:00+01:00")
    voila.open(tab, office.cell, "ws.dashboard()")
    expect(tab.view.get_by_role("article")).to_have_count(20)
    button(tab, "Show more").click()
    expect(tab.view.get_by_role("article")).to_have_count(23)
    tab.view.get_by_label("Name, file or ID").fill("batch 22")
    expect(tab.view.get_by_role("article")).to_have_count(1)
    tab.view.get_by_label("Status", exact=True).select_option("Completed")
    expect(tab.view).to_contain_text("No batch matches the filter.")
    button(tab, "Clear the filter").click()
    expect(tab.view.get_by_role("article")).to_have_count(20)


def test_an_interrupted_batch_is_continued_from_the_page(voila: Voila, tab: Tab, office: Office) -> None:
    with office.workspace() as gone:
        batch = office.make(4, ws=gone, max_concurrent=2, batch_interval=3)
        eventually(lambda: batch.progress.triggered == 2)
    voila.open(tab, office.cell, "ws.dashboard()")
    card = tab.view.get_by_role("article", name="March permits")
    expect(card).to_contain_text("Whoever ran it is gone")
    button(card, "Continue here March permits").click()
    expect(card).to_contain_text("Completed", timeout=60_000)
    assert len(office.demo.executions()) == 4
    button(card, "Archive March permits").click()
    expect(tab.view).to_contain_text("The only batch is archived.")
    button(tab, "Show the archived ones").click()
    button(card, "Delete March permits").click()
    confirm(tab, "Delete the batch")
    expect(tab.view).to_contain_text("ws.wizard()")
    assert office.ws.batches(archived=True) == []


def test_the_results_are_downloaded(front_end: FrontEnd, tab: Tab, office: Office) -> None:
    office.make(30, name="Äpfel", max_concurrent=30).join("finished")
    front_end.open(tab, office.cell, "ws.dashboard()")
    button(tab, "Download results of Äpfel").click()
    with tab.page.expect_download() as coming:
        button(tab, "Download").click()
    assert coming.value.suggested_filename == "Äpfel results.csv"
    path = office.folder / "got.csv"
    coming.value.save_as(path)
    got = pd.read_csv(path, dtype=str, encoding="utf-8-sig")
    assert got["client"].tolist() == [f"client {n}" for n in range(30)]
    assert set(got["execution_status"]) == {"completed"}
    tab.assert_quiet()


def test_failed_rows_run_again_under_other_limits_and_the_results_merge(voila: Voila, tab: Tab, tmp_path: Path) -> None:
    office = Office(tmp_path, failure_share=1, attention_share=0)
    try:
        first = office.make(6, max_concurrent=6).join("finished")
        held = office.make(5, name="Held", max_in_flight=3)
        eventually(lambda: held.progress.triggered == 2)
        voila.open(tab, office.cell, "ws.dashboard()")
        card = tab.view.get_by_role("article", name="March permits", exact=True)

        button(card, "Run rows of March permits again").click()
        dialog = tab.page.get_by_role("dialog")
        box = dialog.get_by_role("checkbox", name="Failed executions (6)")
        expect(box).to_be_checked()
        expect(dialog).to_contain_text("6 executions will be triggered from now on: Permit filer, version 1, on ")
        tab.picture("run again")
        assert axe_faults(tab) == []
        box.uncheck()
        expect(dialog).to_contain_text("Choose at least one kind of rows.")
        box.check()
        button(dialog, "Run 6 rows again").click()
        again = tab.view.get_by_role("article", name="March permits, again", exact=True)
        expect(again).to_contain_text("Rerun of March permits", timeout=60_000)
        expect(again).to_contain_text("6 failed", timeout=60_000)
        assert len(office.demo.executions()) == 6 + 6 + 2

        again.get_by_role("button", name=re.compile("^6 failed")).click()
        expect(again).to_contain_text("1–6 of 6")
        expect(again.get_by_label("Execution", exact=True)).to_have_value("failed")
        again.get_by_label("Search", exact=True).fill("client 4")
        expect(again).to_contain_text("1–1 of 1")
        tab.picture("failed rows")
        assert axe_faults(tab) == []

        waiting = tab.view.get_by_role("article", name="Held", exact=True)
        button(waiting, "Change limits of Held").click()
        waiting.get_by_label("Max Concurrent", exact=True).fill("0")
        expect(waiting).to_contain_text("This must be a whole number of executions, 1 or more.")
        waiting.get_by_label("Max Concurrent", exact=True).fill("1")
        waiting.get_by_label("Max In Flight", exact=True).fill("")
        expect(waiting).to_contain_text("3 pending rows in 3 groups; the last one starts about")
        tab.picture("limits")
        assert axe_faults(tab) == []
        button(waiting, "Change limits").click()
        expect(waiting).to_contain_text("The limits were changed. Pending rows have new times.")
        assert (held.record.pace.max_concurrent, held.record.flow.max_in_flight) == (1, None)
        # Enter right after the last key: before it is known what follows.
        button(waiting, "Change limits of Held").click()
        interval = waiting.get_by_label("Batch Interval", exact=True)
        expect(interval).to_have_value("3600")
        expect(waiting).to_contain_text("As it is now")
        interval.fill("1800")
        interval.press("Enter")
        expect(waiting.get_by_role("form")).to_have_count(0)
        eventually(lambda: held.record.pace.batch_interval == 1800)

        button(card, "Download results of March permits").click()
        card.get_by_label("Format", exact=True).select_option("Parquet")
        with tab.page.expect_download() as coming:
            button(card, "Download").click()
        assert coming.value.suggested_filename == "March permits merged results.parquet"
        path = tmp_path / "got.parquet"
        coming.value.save_as(path)
        assert pd.read_parquet(path)["attempts"].tolist() == [2] * 6
        assert first.status == "completed"
        tab.assert_quiet()
    finally:
        office.close()


def test_no_script_of_a_strangers_runs(front_end: FrontEnd, tab: Tab, office: Office) -> None:
    refusing = ScriptedTarget(
        [replace(CLERK, id="a1")], answer=lambda _request, _number: Refused(code="400", message=PAYLOAD)
    )
    with bk.Workspace(refusing, store=office.store) as ws:
        batch = office.make(3, name=PAYLOAD, file="<img src=x onerror=alert(3)>.csv", ws=ws)
        eventually(lambda: batch.progress.refused == 2)
        batch.pause()
    front_end.open(tab, office.cell, "ws.dashboard()")
    card = tab.view.get_by_role("article")
    expect(card).to_contain_text("<script>alert(2)</script>")
    card.get_by_role("button", name=re.compile("^View Scheduled")).click()
    card.get_by_role("button", name=re.compile("^Details of")).first.click()
    expect(card).to_contain_text("History")
    card.get_by_role("button", name=re.compile("^Cancel <img")).click(force=True)
    time.sleep(0.5)
    tab.picture(f"payloads {front_end.name}")
    assert tab.page.locator(".bk-root img, .bk-root script").count() == 0
    tab.assert_quiet()


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Office]:
    """Batches in every state."""
    one = Office(tmp_path, failure_share=0.3, attention_share=0.1)
    with one.workspace() as gone:
        one.make(8, name="Interrupted one", ws=gone, batch_interval=600)
    one.make(5, name="Completed one", max_concurrent=5, batch_interval=0).join()
    one.make(9, name="Cancelled one").cancel()
    one.make(4, name="A name that is far too long for a card " * 5, start_at="2099-01-01T09:00+01:00")
    one.make(1234, name="March permits", max_concurrent=50, batch_interval=20)
    paused = one.make(60, name="Paused one", max_concurrent=20, batch_interval=60)
    eventually(lambda: paused.progress.triggered == 20)
    paused.pause()
    yield one
    one.close()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_dashboard_has_no_serious_fault_of_accessibility(voila: Voila, tab: Tab, full: Office, dark: bool) -> None:
    voila.open(tab, full.cell, "ws.dashboard()", dark=dark)
    expect(tab.view).to_contain_text("Whoever ran it is gone")
    tab.picture("cards")
    assert axe_faults(tab) == []
    button(tab, "View Scheduled Executions of March permits").click()
    card = tab.view.get_by_role("article", name="March permits")
    expect(card).to_contain_text("1–50 of 1,234")
    button(card, "Details of row 2").click()
    expect(card).to_contain_text("History")
    card.get_by_role("checkbox", name="Select row 9", exact=True).check()
    button(card, "Reschedule selected…").click()
    tab.picture("executions")
    tab.picture("executions whole", of=card)
    assert axe_faults(tab) == []
    tab.resize(NARROW)
    tab.picture("executions narrow")
    button(card, "Hide Scheduled Executions of March permits").click()
    tab.picture("cards narrow")
    tab.resize(WIDE)
    button(tab, "Cancel March permits").click()
    expect(tab.page.get_by_role("dialog")).to_be_visible()
    tab.picture("question")
    assert axe_faults(tab) == []
    tab.assert_quiet()


def test_an_empty_store_says_what_to_do(voila: Voila, tab: Tab, office: Office) -> None:
    voila.open(tab, office.cell, "ws.dashboard()")
    expect(tab.view).to_contain_text("No batches yet")
    tab.picture("empty")
    assert axe_faults(tab) == []
