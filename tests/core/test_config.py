"""The parameters of a batch, each with its own message, all reported together."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkit.core.config import BatchConfig, aware, resolve_profile
from batchkit.core.profile import AgentProfile, ProfilePool, ProfileRef
from batchkit.core.schedule import Pace
from batchkit.errors import ConfigError, NotFoundError

CLERK_A = AgentProfile(name="Clerk A", id="p1")
CLERK_B = AgentProfile(name="Clerk B", id="p2")
CLERKS = ProfilePool(name="Clerks", id="g1")


def test_the_defaults_are_conservative() -> None:
    config = BatchConfig(name="March permits")
    assert (config.version, config.default_profile, config.start_at, config.timezone) == (None, None, None, None)
    assert config.pace == Pace(max_concurrent=5, batch_interval=60.0)
    assert isinstance(config.batch_interval, float)


@pytest.mark.parametrize(
    ("parameter", "value", "message"),
    [
        ("name", "", "name must be a text .*, not ''"),
        ("name", " \t", "name must be a text"),
        ("name", 7, "name must be a text .*, not 7"),
        ("version", 0, "version must be .*, not 0"),
        ("version", True, "version must be .*, not True"),
        ("version", "3", "version must be .*, not '3'"),
        ("version", 3.0, "version must be .*, not 3.0"),
        ("default_profile", "", "default_profile must be .*, not ''"),
        ("default_profile", 7, "default_profile must be .*, not 7"),
        ("max_concurrent", 0, "max_concurrent must be a whole number .*, not 0"),
        ("max_concurrent", True, "max_concurrent must be .*, not True"),
        ("max_concurrent", 2.5, "max_concurrent must be .*, not 2.5"),
        ("max_concurrent", 2**31, "max_concurrent must be at most 2,147,483,647, not 2147483648"),
        ("trial", 2**31, "trial must be at most 2,147,483,647, not"),
        ("version", 2**31, "version must be at most 2,147,483,647, not"),
        ("max_concurrent", None, "max_concurrent must be .*, not None"),
        ("batch_interval", -1, "batch_interval must be a number of seconds.*, not -1"),
        ("batch_interval", float("nan"), "batch_interval must be .*, not nan"),
        ("batch_interval", float("inf"), "batch_interval must be .*, not inf"),
        ("batch_interval", 10**400, "batch_interval must be"),
        ("batch_interval", False, "batch_interval must be .*, not False"),
        ("batch_interval", "60", "batch_interval must be .*, not '60'"),
        ("batch_interval", timedelta(minutes=1), "batch_interval must be a number of seconds"),
        ("batch_interval", 86_400_000, "longer than a year; it is in seconds"),
        ("batch_interval", 1e-9, "shorter than a microsecond; use 0"),
        ("timezone", "Berlin", "timezone 'Berlin' is not known; use an IANA name"),
        ("timezone", "Europe", "timezone 'Europe' is not known"),
        ("timezone", "../etc", "timezone '../etc' is not known"),
        ("timezone", 1, "timezone 1 is not known"),
        ("start_at", "2026-03-01T09:00", "has no time zone; add an offset, like '.*', or timezone='Europe/Berlin'"),
        ("start_at", datetime.fromisoformat("2026-03-01T09:00"), "has no time zone; give it one: datetime"),
        ("start_at", pd.NaT, "start_at NaT has no time zone"),
        ("start_at", "tomorrow", "start_at 'tomorrow' is not a date and time"),
        ("start_at", "", "start_at '' is not a date and time"),
        ("start_at", 1772355600, "start_at must be a datetime or text .*, not 1772355600"),
        ("start_at", "0001-01-01T00:00+05:00", "out of range"),
    ],
)  # fmt: skip
def test_each_wrong_parameter_has_its_own_message(parameter: str, value: object, message: str) -> None:
    arguments: dict[str, Any] = {"name": "x", parameter: value}
    with pytest.raises(ConfigError, match=message) as caught:
        BatchConfig(**arguments)
    assert "\n" not in str(caught.value)


def test_everything_that_is_wrong_is_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        BatchConfig(name="", version=0, max_concurrent=0, batch_interval=-1, start_at="x")
    assert [line.split()[0] for line in str(caught.value).splitlines()] == [
        "name",
        "version",
        "start_at",
        "max_concurrent",
        "batch_interval",
    ]


def test_an_unknown_time_zone_is_reported_once() -> None:
    with pytest.raises(ConfigError) as caught:
        BatchConfig(name="x", start_at="2026-03-01T09:00", timezone="Nowhere")
    assert str(caught.value).count("Nowhere") == 1


def test_numbers_as_numpy_and_other_libraries_have_them_are_taken() -> None:
    version: Any = np.int64(3)
    config = BatchConfig(
        name=" x ", version=version, max_concurrent=int(np.int32(2)), batch_interval=float(Fraction(1, 2))
    )
    assert (config.name, config.version, config.max_concurrent, config.batch_interval) == ("x", 3, 2, 0.5)
    assert type(config.version) is int


@pytest.mark.parametrize(
    ("start_at", "zone", "expected"),
    [
        ("2026-03-01T09:00", "Europe/Berlin", datetime(2026, 3, 1, 8, tzinfo=UTC)),
        ("2026-07-01T09:00", "Europe/Berlin", datetime(2026, 7, 1, 7, tzinfo=UTC)),
        (" 2026-07-01 09:00 ", "Europe/Berlin", datetime(2026, 7, 1, 7, tzinfo=UTC)),
        ("2026-03-01T09:00+05:30", None, datetime(2026, 3, 1, 3, 30, tzinfo=UTC)),
        ("2026-03-01T09:00Z", "Europe/Berlin", datetime(2026, 3, 1, 9, tzinfo=UTC)),
        (datetime(2026, 3, 1, 9, tzinfo=timezone(timedelta(hours=-3))), None, datetime(2026, 3, 1, 12, tzinfo=UTC)),
        (datetime(2026, 3, 1, 9, tzinfo=ZoneInfo("Asia/Tokyo")), None, datetime(2026, 3, 1, tzinfo=UTC)),
        (pd.Timestamp("2026-03-01 09:00", tz="Europe/Berlin"), None, datetime(2026, 3, 1, 8, tzinfo=UTC)),
    ],
)
def test_a_start_time_ends_as_utc(start_at: datetime | str, zone: str | None, expected: datetime) -> None:
    config = BatchConfig(name="x", start_at=start_at, timezone=zone)
    assert config.start_at == expected
    assert type(config.start_at) is datetime
    assert config.start_at.tzinfo is UTC


def test_a_local_time_the_clocks_skip_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"2026-03-29 02:30 does not exist in Europe/Berlin.*Use 2026-03-29 03:30"):
        BatchConfig(name="x", start_at="2026-03-29T02:30", timezone="Europe/Berlin")


def test_of_a_local_time_the_clocks_pass_twice_the_first_is_meant() -> None:
    config = BatchConfig(name="x", start_at="2026-10-25T02:30", timezone="Europe/Berlin")
    assert config.start_at == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_a_config_can_be_changed_by_replace_and_compared() -> None:
    config = BatchConfig(name="x", start_at="2026-03-01T09:00", timezone="Europe/Berlin")
    assert replace(config, max_concurrent=7).start_at == config.start_at
    assert replace(config) == config
    with pytest.raises(ConfigError, match="max_concurrent"):
        replace(config, max_concurrent=0)


@settings(deadline=None)
@given(
    st.datetimes(datetime.fromisoformat("0002-01-02"), datetime.fromisoformat("9000-12-30")),
    st.sampled_from(["UTC", "America/New_York", "Asia/Kathmandu"]),
)
def test_local_text_means_that_time_in_that_zone_or_is_refused(moment: datetime, name: str) -> None:
    zone = ZoneInfo(name)
    try:
        found = aware(moment.isoformat(), name)
    except ConfigError:
        skipped = moment.replace(tzinfo=zone).astimezone(UTC).astimezone(zone)
        assert skipped.replace(tzinfo=None) != moment
        return
    assert found.astimezone(zone).replace(tzinfo=None, fold=0) == moment


def test_a_default_profile_is_found_by_name_or_by_value() -> None:
    profiles, pools = [CLERK_A, CLERK_B], [CLERKS]
    assert resolve_profile(None, profiles, pools) is None
    assert resolve_profile(" Clerk B ", profiles, pools) == ProfileRef(id="p2", name="Clerk B")
    assert resolve_profile(CLERK_A, profiles, pools) == ProfileRef(id="p1", name="Clerk A")
    assert resolve_profile("Clerks", profiles, pools) == ProfileRef(id="g1", name="Clerks", is_pool=True)
    assert resolve_profile(CLERKS, profiles, pools) == ProfileRef(id="g1", name="Clerks", is_pool=True)


@pytest.mark.parametrize("name", ["clerk a", "Clerk  A", "Klerk A"])
def test_an_unknown_default_profile_is_refused_with_near_matches(name: str) -> None:
    with pytest.raises(NotFoundError, match=r"Did you mean 'Clerk A'\?"):
        resolve_profile(name, [CLERK_A], [CLERKS])


def test_without_a_near_match_the_known_ones_are_listed() -> None:
    with pytest.raises(NotFoundError, match="It has: 'Clerk A', 'Clerks'"):
        resolve_profile("Zebra", [CLERK_A], [CLERKS])
    with pytest.raises(NotFoundError, match="It has: none"):
        resolve_profile("Zebra", None, None)


@pytest.mark.parametrize("gone", [AgentProfile(name="Clerk A", id="g1"), ProfilePool(name="Clerks", id="p1")])
def test_a_profile_the_target_no_longer_has_is_refused(gone: AgentProfile | ProfilePool) -> None:
    with pytest.raises(NotFoundError, match="with id"):
        resolve_profile(gone, [CLERK_A], [CLERKS])


def test_a_name_that_is_both_a_profile_and_a_pool_is_refused_but_not_the_value() -> None:
    pool = ProfilePool(name="Clerk A", id="g2")
    with pytest.raises(ConfigError, match="several agent profiles or pools"):
        resolve_profile("Clerk A", [CLERK_A], [pool])
    assert resolve_profile(pool, [CLERK_A], [pool]) == ProfileRef(id="g2", name="Clerk A", is_pool=True)
