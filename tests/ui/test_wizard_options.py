"""Rows with times of their own, and "More options": from the page to the batch, and to the cell that makes it again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from wizard_user import FILER, PERMITS, User, at_the_office

import batchkit as bk

#: a time in a zone, one with an offset, none, and one that the clocks skip
TIMED = b"\n".join(
    line + more
    for line, more in zip(
        PERMITS.splitlines(),
        [b",Not before", b",2037-03-02T09:00", b",2037-03-02T09:00Z", b",", b",2037-03-29T02:30", b",2037-03-02"],
        strict=True,
    )
)


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[bk.Workspace]:
    with at_the_office(tmp_path, monkeypatch) as workspace:
        yield workspace


@pytest.fixture
def user(ws: bk.Workspace) -> Iterator[User]:
    someone = User(ws)
    yield someone
    someone.wizard.close()


def not_before(user: User, content: bytes = TIMED, zone: str = "Europe/Berlin") -> dict[str, Any]:
    """With a file whose column says before when its rows are not sent."""
    user.choose(FILER)
    user.do("seen_from", zone=zone)
    user.upload(content)
    user.do("set_field", column="Not before", kind="not_before")
    return user.settled()


def test_a_column_of_times_is_shown_as_it_will_be_understood(user: User) -> None:
    shown = not_before(user)
    assert user.column("Not before")["kind"] == "not_before"
    assert shown["preview"]["labels"][-1] == "not before"
    cells = [row["cells"][-1] for row in shown["preview"]["rows"]]
    assert [cell.get("time") for cell in cells] == [
        "2037-03-02T08:00:00+00:00", "2037-03-02T09:00:00+00:00", None, "2037-03-29T01:00:00+00:00",
        "2037-03-01T23:00:00+00:00",
    ]  # fmt: skip
    assert [cell["sent"] for cell in cells] == [True, True, False, True, True]
    user.do("set_timezone", zone="America/New_York")
    cells = [row["cells"][-1] for row in user.settled()["preview"]["rows"]]
    assert cells[0]["time"] == "2037-03-02T14:00:00+00:00"
    assert cells[1]["time"] == "2037-03-02T09:00:00+00:00"
    assert user.sees["map"]["undo"] == "Not before: Skip → Not Before Time"


def test_what_is_no_time_is_told_in_its_row(user: User) -> None:
    shown = not_before(user, TIMED.replace(b",2037-03-02T09:00Z", b",2 March"))
    [bad] = [row for row in shown["preview"]["rows"] if row["status"] == "invalid"]
    assert "'2 March' is no time; write it like 2026-03-01T09:00" in bad["issues"][0]
    assert "time" not in bad["cells"][-1]


@pytest.mark.parametrize("zone", ["", "Berlin", "../etc/passwd"])
def test_a_zone_that_is_not_known_is_told_at_the_column(user: User, zone: str) -> None:
    not_before(user)
    user.do("set_timezone", zone=zone)
    shown = user.settled()
    assert "Say in which time zone" in user.column("Not before")["problems"][0]
    assert shown["preview"]["counts"] is None
    with pytest.raises(bk.StateError):
        user.do("go_to", step="preview")
    user.do("set_timezone", zone="Europe/Berlin")
    assert user.settled()["preview"]["counts"]["valid"] == 5


def test_two_columns_of_times_are_one_too_many(user: User) -> None:
    not_before(user)
    user.do("set_field", column="Reference", kind="not_before")
    told = user.column("Reference")["problems"]
    assert told == ["Not Before Time is mapped by column 'Not before', too. Change one of the two."]


def test_the_zone_of_the_page_is_meant_until_another_one_is_chosen(user: User) -> None:
    user.do("seen_from", zone="Nowhere/Else")
    assert user.sees["configure"]["options"]["hours_zone"] == ""
    user.do("seen_from", zone="Europe/Berlin")
    user.do("configure", options={"hours_zone": "Asia/Tokyo"})
    user.do("seen_from", zone="Europe/Paris")
    configure = user.sees["configure"]
    assert (configure["timezone"], configure["options"]["hours_zone"]) == ("Europe/Berlin", "Asia/Tokyo")


def test_a_wrong_option_is_told_at_its_field_and_keeps_the_batch_from_starting(user: User) -> None:
    user.choose(FILER)
    user.upload(PERMITS)
    user.do("configure", options={"max_in_flight": "none"})
    configure = user.settled()["configure"]
    assert list(configure["problems"]) == ["max_in_flight"]
    assert configure["obstacle"] == "Correct what is marked in the configuration."
    assert configure["outlook"] is None
    user.do("configure", options={"max_in_flight": "3", "hours": True, "hours_zone": "Europe/Berlin"})
    configure = user.sees["configure"]
    assert (configure["problems"], configure["options_set"]) == ({}, 2)
    assert configure["options"]["hours_days"] == ["mon", "tue", "wed", "thu", "fri"]


def test_days_are_chosen_one_by_one_whatever_the_page_has_drawn(user: User) -> None:
    for day, on in (("sat", True), ("sun", True), ("mon", False), ("mon", False), ("tue", True)):
        user.do("configure", day=day, on=on)
    assert user.sees["configure"]["options"]["hours_days"] == ["tue", "wed", "thu", "fri", "sat", "sun"]


def test_hours_that_make_it_last_for_years_are_told(user: User) -> None:
    user.choose(FILER)
    user.upload(PERMITS[:49] + PERMITS[49:] * 500)
    user.settled()
    user.do("configure", max_concurrent="1", batch_interval="86400", options={"hours": True, "hours_zone": "UTC"})
    configure = user.sees["configure"]
    assert "takes about 2,5" in configure["problems"]["batch_interval"]
    assert configure["outlook"] is None
    with pytest.raises(bk.StateError, match="Correct what is marked"):
        user.confirm()


def test_the_cell_says_all_options_and_makes_the_same_batch(user: User, ws: bk.Workspace, tmp_path: Path) -> None:
    not_before(user)
    options = {
        "max_in_flight": "2", "on_capacity_limit": "queue", "item_deadline": "1.5",
        "failure_count": "4", "failure_share": "50", "failure_minimum": "10",
        "hours": True, "hours_days": ["mon", "wed"], "hours_start": "09:30", "hours_end": "17:00",
    }  # fmt: skip
    user.do("configure", name="All of it", max_concurrent="2", batch_interval="30", options=options)
    user.confirm()
    first = user.batch()
    user.do("show_python")
    cell = user.sees["python"]
    for line in (
        "    timezone='Europe/Berlin',",
        "    max_in_flight=2,",
        "    on_capacity_limit='queue',",
        "    working_hours=bk.WorkingHours(days=['mon', 'wed'], start='09:30', end='17:00', zone='Europe/Berlin'),",
        "    failure_threshold=bk.FailureThreshold(share=0.5, count=4, minimum=10),",
        "    item_deadline=90,",
        "    .set('Not before', bk.NotBefore())",
    ):
        assert line in cell.splitlines(), cell
    first.cancel()
    done = subprocess.run(
        [sys.executable, "-c", f"{cell}\nbatch.cancel()\nws.close()"],
        capture_output=True, text=True, timeout=120, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 0, f"{cell}\n{done.stderr}"
    second, one = ws.batches()
    assert one.id == first.id
    for name in ("pace", "flow", "mapping", "fingerprint"):
        assert getattr(second.record, name) == getattr(one.record, name), name
    assert second.record.flow.failure_threshold == bk.FailureThreshold(share=0.5, count=4, minimum=10)
    own = [
        [item.not_before for item in ws.engine.call(ws.store.items(batch.id, limit=10))] for batch in (first, second)
    ]
    assert own[0] == own[1]
    assert own[0][0] == datetime(2037, 3, 2, 8, 0, tzinfo=UTC)
