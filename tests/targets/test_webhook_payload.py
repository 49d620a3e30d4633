"""What the platform's webhooks say, in both spellings, and what nobody can make of the rest."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.core.execution import ExecutionOutcome, ExecutionStatus
from batchkit.core.heard import Heard
from batchkit.targets.webhook_payload import read_webhook

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
METADATA = {"batchkit_batch": "b1", "batchkit_item": "7", "batchkit_attempt": "2", "region": "north"}


def webhook(event: str = "EXECUTION_COMPLETED", *, payload: Any = None, **changes: Any) -> bytes:
    info = {
        "event": event,
        "execution_id": "x-1",
        "execution_url": "https://platform.example/x-1",
        "agent_id": "a-1",
        "agent_name": "Filer",
        "metadata": METADATA,
        "payload": {} if payload is None else payload,
    }
    document = {"type": "execution", "event_id": "e-1", "timestamp": "2026-03-01T11:59:00Z", "info": info}
    info.update({key: value for key, value in changes.items() if key in info})
    document.update({key: value for key, value in changes.items() if key not in info})
    return json.dumps(document).encode()


def read(body: bytes) -> Heard:
    heard = read_webhook(body, NOW)
    assert heard is not None
    return heard


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ("STARTED", ExecutionStatus.RUNNING),
        ("RESUMED", ExecutionStatus.RUNNING),
        ("PAUSED", ExecutionStatus.PAUSED),
        ("PAUSED_BY_AGENT", ExecutionStatus.PAUSED_BY_AGENT),
        ("AWAITING_CONFIRMATION", ExecutionStatus.AWAITING_CONFIRMATION),
        ("COMPLETED", ExecutionStatus.COMPLETED),
        ("FAILED", ExecutionStatus.FAILED),
        ("CANCELLED", ExecutionStatus.CANCELLED),
    ],
)
def test_both_spellings_of_an_event_mean_the_same(event: str, status: ExecutionStatus) -> None:
    one, other = f"EXECUTION_{event}", f"Execution{event.title().replace('_', '')}"
    assert read(webhook(one)) == read(webhook(other))
    assert read(webhook(one)).execution.status is status
    assert read(webhook(one)).began == (event == "STARTED")


def test_what_a_webhook_tells_is_kept() -> None:
    payload = {"result": {"permit": 4}, "reasoning": "Filed.", "outcome": "failure", "later": [1]}
    heard = read(webhook(payload=payload))
    assert (heard.event_id, heard.batch_id, heard.item, heard.attempt) == ("e-1", "b1", 7, 2)
    assert heard.at == datetime(2026, 3, 1, 11, 59, tzinfo=UTC)
    execution = heard.execution
    assert (execution.id, execution.outcome) == ("x-1", ExecutionOutcome.FAILURE)
    assert (execution.reasoning, execution.result, execution.url) == (
        "Filed.",
        {"permit": 4},
        "https://platform.example/x-1",
    )


@pytest.mark.parametrize("payload", [{"reason": "No form."}, {"error": "No form."}, {"reasoning": "No form."}])
def test_a_failed_execution_says_why(payload: dict[str, str]) -> None:
    assert read(webhook("EXECUTION_FAILED", payload=payload)).execution.error == "No form."


@pytest.mark.parametrize("event", ["EXECUTION_STEP_COMPLETED", "ExecutionFileAdded", "BATCH_COMPLETED", "", "💥"])
def test_events_of_other_kinds_are_about_something_else(event: str) -> None:
    assert read_webhook(webhook(event), NOW) is None
    assert read_webhook(webhook(type="agent"), NOW) is None


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        [],
        "b1",
        {},
        METADATA | {"batchkit_item": "-1"},
        METADATA | {"batchkit_item": "7.0"},
        METADATA | {"batchkit_item": "٧"},
        METADATA | {"batchkit_item": 7},
        METADATA | {"batchkit_item": "9" * 5000},
        METADATA | {"batchkit_attempt": "4294967296"},
        METADATA | {"batchkit_batch": {"$ne": ""}},
        {"batchkit_batch": "b1"},
    ],
)
def test_metadata_that_is_not_ours_names_no_item(metadata: Any) -> None:
    heard = read(webhook(metadata=metadata))
    assert (heard.batch_id, heard.item, heard.attempt) == ("", -1, -1)


@pytest.mark.parametrize("time", [None, 5, "soon", "2027-01-01T00:00:00Z", "9999-12-31T23:59:59-23:00", "0001-01-01"])
def test_a_time_that_cannot_be_is_now_or_harmless(time: Any) -> None:
    at = read(webhook(timestamp=time)).at
    assert at == NOW or at < NOW - timedelta(days=365_00)


@pytest.mark.parametrize("link", ["javascript:alert(1)", "file:///etc/passwd", 5, None])
def test_a_link_that_is_no_web_address_is_dropped(link: Any) -> None:
    assert read(webhook(execution_url=link)).execution.url == ""


NUMBER = "1" * 5000
DEEP = '{"a":' * 400 + "1" + "}" * 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"type": 1}',
        b'{"type": "execution"}',
        b'{"type": "execution", "info": []}',
        webhook(event_id=""),
        webhook(event_id=7),
        webhook(event_id="e" * 201),
        webhook(event_id="e\n1"),
        webhook(event_id="e\ud800"),
        webhook(execution_id=["x"]),
        webhook(execution_id="x\x00"),
        webhook(event=["EXECUTION_COMPLETED"]),
        webhook(payload={"result": 0}).replace(b'"result": 0', b'"result": ' + NUMBER.encode()),
        webhook(payload={"result": 0}).replace(b'"result": 0', b'"result": ' + DEEP.encode()),
    ],
    ids=range(20),
)
def test_what_is_no_webhook_is_refused_with_a_reason(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w{3}"):
        read_webhook(body, NOW)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
KEYS = ("event", "execution_id", "execution_url", "metadata", "payload", "type", "event_id", "timestamp", "info")


@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4))
def test_whatever_stands_in_a_webhook_it_is_read_or_refused(changes: dict[str, Any]) -> None:
    try:
        heard = read_webhook(webhook(**changes), NOW)
    except ValueError:
        return
    if heard is not None:
        json.dumps(heard.execution.result)
        assert heard.at <= NOW + timedelta(minutes=5)
        assert 0 <= heard.item < 2**31 or heard.item == heard.attempt == -1
