"""Results as columns: which there are, in what order, of what type, and that nothing is lost on the way."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.core.flattening import fields_of

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def columns(values: list[Any], taken: set[str] = frozenset(), most: int = 100) -> dict[str, pd.Series]:  # type: ignore[assignment]
    return fields_of(values, taken, most)[0]


@pytest.mark.parametrize(
    ("values", "dtype", "cells"),
    [
        ([1, None, 3], "Int64", [1, pd.NA, 3]),
        ([1, 2.5], "float64", [1.0, 2.5]),
        ([True, None], "boolean", [True, pd.NA]),
        ([True, 1], "str", ["true", "1"]),
        (["a", "b"], "str", ["a", "b"]),
        (["a", 1], "str", ["a", "1"]),
        ([[1, "ü"], []], "str", ['[1, "ü"]', "[]"]),
        ([2**63, 1], "str", ["9223372036854775808", "1"]),
        ([2**53 + 1, 0.5], "str", ["9007199254740993", "0.5"]),
    ],
)
def test_each_field_has_the_type_that_fits_all_its_values(values: list[Any], dtype: str, cells: list[Any]) -> None:
    column = columns([{"x": value} for value in values])["result.x"]
    assert str(column.dtype) == dtype
    assert column.tolist() == cells


def test_objects_within_objects_are_named_by_their_path_in_a_stable_order() -> None:
    one, other = {"b": 1, "a": {"y": 2, "x": {"z": 3}}}, {"c": 1, "a": 5}
    expected = ["result.a", "result.a.x.z", "result.a.y", "result.b", "result.c"]
    assert list(columns([one, other])) == list(columns([other, one, None, "text", [1]])) == expected


def test_a_name_that_is_taken_gets_another() -> None:
    made = columns([{"x": 1, "a.b": 2, "a": {"b": 3}}], {"result.x", "batchkit_result.x"})
    assert list(made) == ["result.a.b", "batchkit_result.a.b", "batchkit_result.x_2"]


def test_of_too_many_fields_those_filled_most_often_are_kept() -> None:
    values = [{f"k{n:03}": n for n in range(150)}, {"k149": 1, "k000": 1}]
    made, missing = fields_of(values, set(), 2)
    assert (list(made), missing) == (["result.k000", "result.k149"], 148)
    assert fields_of(values, set(), 0) == ({}, 150)


def test_what_is_nested_deep_stays_json() -> None:
    value: Any = 1
    for _ in range(500):
        value = {"k": value}
    [(name, column)] = columns([value]).items()
    assert name == "result" + ".k" * 8
    assert json.loads(column[0])["k"]


def test_fields_that_are_always_missing_and_half_characters_have_a_column() -> None:
    made = columns([{"gone": None, "half": "a\ud800"}])
    assert made["result.gone"].isna().all()
    assert made["result.half"].tolist() == ["a\\ud800"]
    assert columns([]) == columns([None, "x", 3]) == columns([{}]) == {}


@given(st.lists(json_values, max_size=6))
def test_any_json_becomes_columns_of_one_length(values: list[Any]) -> None:
    made, missing = fields_of(values, set())
    assert missing == 0
    assert all(len(column) == len(values) for column in made.values())
    for row, value in enumerate(values):
        if isinstance(value, dict):
            for key, inner in value.items():
                if isinstance(inner, str) and "." not in key:
                    assert made[f"result.{key}"][row] == inner
