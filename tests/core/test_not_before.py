from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import batchkit as bk
from batchkit.core.not_before import in_zone, with_times
from batchkit.core.validation import validate
from batchkit.errors import ConfigError

AGENT = bk.Agent(name="Filer", inputs=[bk.InputVariable("value", schema={"type": "string"})])


def checked(times: list[str]) -> bk.Validation:
    table = bk.read_csv(pd.DataFrame({"value": [str(n) for n in range(len(times))], "when": times}))
    mapping = bk.Mapping(table.columns).set("value", bk.Input("value")).set("when", bk.NotBefore())
    return validate(table, mapping, AGENT)


def test_a_cell_that_is_no_time_is_an_issue_of_its_row() -> None:
    found = checked(["2026-03-01T09:00", "", "tomorrow", "2026-13-01", "2026-03-01T09:00+01:00"])
    assert found.issues["row"].tolist() == [4, 5]
    assert set(found.issues["code"]) == {"time"}
    assert "'tomorrow' is no time" in found.issues["message"][0]


def test_times_with_an_offset_mean_that_moment_and_others_are_read_in_the_zone() -> None:
    [items] = checked(["2026-07-01T09:00", "2026-07-01T09:00-03:00", ""]).items()
    times = [item.not_before for item in with_times(items, "Europe/Berlin")]
    assert times == [datetime(2026, 7, 1, 7, tzinfo=UTC), datetime(2026, 7, 1, 12, tzinfo=UTC), None]


def test_a_time_without_an_offset_needs_a_zone() -> None:
    [items] = checked(["2026-07-01T09:00"]).items()
    with pytest.raises(ConfigError, match=r"Row 2 .* has no time zone"):
        with_times(items, None)


def test_a_skipped_time_is_the_end_of_the_gap_and_one_shown_twice_the_first() -> None:
    zone = ZoneInfo("Europe/Berlin")
    assert in_zone(datetime.fromisoformat("2026-03-29T02:30"), zone) == datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert in_zone(datetime.fromisoformat("2026-10-25T02:30"), zone) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


@given(
    st.datetimes(datetime.fromisoformat("2026-03-28"), datetime.fromisoformat("2026-11-02")),
    st.sampled_from(["Europe/Berlin", "UTC"]),
)
def test_it_is_the_first_moment_when_the_clock_shows_that_time_or_later(moment: datetime, name: str) -> None:
    zone = ZoneInfo(name)
    found = in_zone(moment, zone)
    assert found.astimezone(zone).replace(tzinfo=None) >= moment
    before = (found - timedelta(microseconds=2)).astimezone(zone).replace(tzinfo=None)
    assert before < moment
