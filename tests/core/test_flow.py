from __future__ import annotations

import pytest

from batchkit.core.config import BatchConfig
from batchkit.core.flow import LONGEST_DEADLINE, FailureThreshold, Flow
from batchkit.core.hours import WorkingHours
from batchkit.core.limits import Limits, moved_gate
from batchkit.core.schedule import Pace
from batchkit.errors import ConfigError
from batchkit.testing import FakeClock


def test_a_flow_is_kept_and_read_back() -> None:
    flow = Flow(
        max_in_flight=3,
        on_capacity_limit="queue",
        working_hours=WorkingHours(days="mon", zone="Europe/Berlin"),
        failure_threshold=FailureThreshold(share=0.5, count=9),
        item_deadline=60,
        timezone="Europe/Berlin",
    )
    assert Flow.from_dict(flow.to_dict()) == flow
    assert Flow.from_dict(Flow().to_dict()) == Flow()


def test_a_configuration_names_every_limit_that_is_wrong() -> None:
    with pytest.raises(ConfigError) as caught:
        BatchConfig(name="b", max_in_flight=0, on_capacity_limit="drop", item_deadline=-1, working_hours="9 to 5")
    for name in ("max_in_flight", "on_capacity_limit", "item_deadline", "working_hours"):
        assert name in str(caught.value)


def test_a_deadline_beyond_what_time_can_be_reckoned_with_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"longer than a year; it is in seconds"):
        BatchConfig(name="b", item_deadline=1e12)


def test_a_deadline_that_an_older_version_kept_is_read_as_the_longest_one() -> None:
    assert Flow.from_dict({"item_deadline": 1e9}) == Flow(item_deadline=LONGEST_DEADLINE)


def test_hours_in_a_zone_that_is_not_known_here_are_read_and_only_asking_for_times_fails() -> None:
    kept = {"working_hours": {"days": ["mon"], "start": "08:00:00", "end": "18:00:00", "zone": "Mars/Olympus"}}
    flow = Flow.from_dict(kept)
    assert flow.to_dict() == kept
    hours = flow.working_hours
    assert hours is not None
    for ask in (hours.is_open, hours.next_open, hours.next_close):
        with pytest.raises(ConfigError, match=r"Mars/Olympus.* Install .*tzdata"):
            ask(FakeClock().now())


@pytest.mark.parametrize(
    "wrong",
    [{}, {"share": 0}, {"share": "a"}, {"share": True}, {"share": 1.1}, {"count": 0}, {"count": 1, "minimum": 0}],
)
def test_a_threshold_that_means_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        FailureThreshold(**wrong)


def test_a_share_counts_from_the_minimum_on_and_a_number_at_once() -> None:
    threshold = FailureThreshold(share=0.5, minimum=4, count=6)
    assert not threshold.crossed(3, 3)
    assert not threshold.crossed(1, 4)
    assert "2 of 4" in threshold.crossed(2, 4)
    assert "6 executions failed" in threshold.crossed(6, 100)


def test_limits_change_only_what_they_name() -> None:
    pace, flow = Pace(max_concurrent=5, batch_interval=60), Flow(max_in_flight=3, item_deadline=9)
    limits = Limits(batch_interval=1)
    assert limits.pace(pace) == Pace(max_concurrent=5, batch_interval=1)
    assert limits.flow(flow) == flow
    assert Limits(max_in_flight=None).flow(flow) == Flow(item_deadline=9)
    assert limits.told(pace, flow) == "batch_interval from 60 s to 1 s"


def test_limits_leave_a_pace_alone_that_an_older_version_allowed() -> None:
    before = Pace(max_concurrent=5, batch_interval=1e-9)
    assert Limits(max_concurrent=6).pace(before) == Pace(max_concurrent=6, batch_interval=1e-9)
    assert Limits(max_in_flight=6).pace(before) == before


@pytest.mark.parametrize("wrong", [{}, {"max_concurrent": 0}, {"batch_interval": -1}, {"max_in_flight": 0}])
def test_limits_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        Limits(**wrong)


def test_the_next_group_stays_one_interval_from_the_last() -> None:
    last = FakeClock().now()
    slow, quick = Pace(max_concurrent=1, batch_interval=60), Pace(max_concurrent=1, batch_interval=1)
    assert moved_gate(last + slow.interval, slow, quick) == last + quick.interval
    assert moved_gate(last + quick.interval, quick, slow) == last + slow.interval
    assert moved_gate(None, slow, quick) is None
