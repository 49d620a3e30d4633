"""What a function returned, as a JSON value."""

from __future__ import annotations

import collections
import enum
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import pandas as pd
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.targets.jsonable import json_value


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Point(NamedTuple):
    x: int
    y: float


@dataclass
class Person:
    name: str
    born: date


class Model(pydantic.BaseModel):
    amount: Decimal
    day: date


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (10**40, 10**40),
        (1.5, 1.5),
        ("Łódź", "Łódź"),
        (float("nan"), None),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (Text("a"), "a"),
        (Colour.RED, "red"),
        (Level.LOW, 1),
        (date(2026, 3, 1), "2026-03-01"),
        (datetime(2026, 3, 1, tzinfo=UTC), "2026-03-01T00:00:00+00:00"),
        (time(10, 30), "10:30:00"),
        (timedelta(minutes=1), 60.0),
        (Decimal("1.10"), "1.10"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Path("a/b"), "a/b"),
        ((1, [2, {3}]), [1, [2, [3]]]),
        (range(3), [0, 1, 2]),
        (collections.deque([1]), [1]),
        ({"a": 1}.keys(), ["a"]),
        (collections.Counter("aa"), {"a": 2}),
        (Point(1, 2.0), {"x": 1, "y": 2.0}),
        (Person("Ada", date(1815, 12, 10)), {"name": "Ada", "born": "1815-12-10"}),
        (Model(amount=Decimal("1.10"), day=date(2026, 3, 1)), {"amount": "1.10", "day": "2026-03-01"}),
        (
            {1: "a", None: "b", False: "c", date(2026, 3, 1): "d", Colour.RED: "e", 2.5: "f"},
            {"1": "a", "null": "b", "false": "c", "2026-03-01": "d", "red": "e", "2.5": "f"},
        ),
        (np.int64(5), 5),
        (np.float64(2.5), 2.5),
        (np.float32(0.5), 0.5),
        (np.float64("nan"), None),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array([[1, 2]]), [[1, 2]]),
        (np.array(7), 7),
        (np.array(["2026-03-01"], dtype="datetime64[ns]"), ["2026-03-01T00:00:00.000000000"]),
        (np.datetime64("NaT"), None),
        (np.timedelta64(1500, "ms"), 1.5),
        (pd.NA, None),
        (pd.NaT, None),
        (pd.Timestamp("2026-03-01", tz="UTC"), "2026-03-01T00:00:00+00:00"),
        (pd.Timedelta("1min"), 60.0),
        (pd.Period("2026-03"), "2026-03"),
        (pd.Series([1, 2]), [1, 2]),
        (pd.Series([1, None], index=["a", "b"]), {"a": 1.0, "b": None}),
        (pd.Index(["a"]), ["a"]),
        (pd.DataFrame({"a": [1, 2], "b": ["x", None]}), [{"a": 1, "b": "x"}, {"a": 2, "b": None}]),
        (pd.array([1, None], dtype="Int64"), [1, None]),
    ],
)
def test_a_result_becomes_plain_json(value: Any, expected: Any) -> None:
    found = json_value(value)
    assert found == expected
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), "the result is of type object"),
        ({"a": [1, {2: b"x"}]}, r"the result\['a'\]\[1\]\[2\] is of type bytes"),
        ((number for number in range(3)), "of type generator"),
        (open, "of type builtin_function"),
        (Person, "of type type"),
        (1j, "of type complex"),
        ({(1, 2): 3}, "has the key"),
        pytest.param(10**5000, "more than 4,000 digits", id="huge"),
    ],
)
def test_what_json_cannot_hold_is_named_with_its_place(value: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        json_value(value)


def test_what_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ValueError, match="contains itself"):
        json_value(value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_stays_as_it_is(value: Any) -> None:
    assert json_value(value) == value
