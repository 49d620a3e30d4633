"""Cells become typed values, and rows become items."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkit.core.agent import InputVariable
from batchkit.core.cells import READERS, Kind
from batchkit.core.mapping import Input, Metadata, ProfileName
from batchkit.core.payload import NOT_SENT, cells_at, new_items, typed
from batchkit.core.profile import ProfileRef
from batchkit.core.rules import ColumnRules, compile_rules
from batchkit.core.table import Dialect, Table


def rules(schema: dict[str, Any]) -> ColumnRules:
    return compile_rules(InputVariable("value", schema=schema))


def table(**columns: list[str]) -> Table:
    return Table(data=pa.table(columns), dialect=Dialect(encoding="utf-8", delimiter=","))


@pytest.mark.parametrize(
    ("schema", "cells", "values"),
    [
        ({"type": "integer"}, ["007", "5"], [7, 5]),
        ({"type": "integer"}, ["007", " 5 ", "-3", "+4", "5.0", "1" * 30], [7, 5, -3, 4, 5, int("1" * 30)]),
        ({"type": "number"}, ["5", "0.1", "5."], [5, 0.1, 5.0]),
        ({"type": "number"}, ["5", "-0.1", "1e5", " .5"], [5, -0.1, 1e5, 0.5]),
        ({"type": "boolean"}, ["yes", "0"], [True, False]),
        ({"type": "string"}, ["007", " a ", "null"], ["007", " a ", "null"]),
        ({}, ["007", "1.50"], ["007", "1.50"]),
        ({"type": "array"}, ["[1]"], [[1]]),
        ({"type": "object"}, ['{"a": null}'], [{"a": None}]),
        ({"type": ["integer", "null"]}, ["7", "null"], [7, None]),
        ({"type": ["string", "null", "integer"]}, ["7", "null"], ["7", "null"]),
        ({"type": ["boolean", "integer", "array"]}, ["1", "true", "[1]"], [1, True, [1]]),
        ({"enum": [1, "a", True]}, ["1", "a", "true"], [1, "a", True]),
    ],
)
def test_a_cell_is_sent_as_its_type_says(schema: dict[str, Any], cells: list[str], values: list[object]) -> None:
    assert json.dumps(typed(cells, rules(schema))) == json.dumps(values)


@pytest.mark.parametrize("schema", [{"type": "integer"}, {"type": "string"}, {"type": ["number", "null"]}, {}])
def test_a_missing_cell_is_not_sent(schema: dict[str, Any]) -> None:
    assert typed(["", "  ", "7"], rules(schema))[:2] == [NOT_SENT, NOT_SENT]


def test_metadata_is_text_and_missing_cells_are_not_sent() -> None:
    assert typed(["007", " a ", "", "\t"], None) == ["007", " a ", NOT_SENT, NOT_SENT]


def test_a_cell_that_is_not_valid_is_refused() -> None:
    with pytest.raises(ValueError):
        typed(["7", "x"], rules({"type": "integer"}))


CELLS = st.builds(
    "{}{}{}".format, st.sampled_from(["", "-", " "]), st.integers(0, 10**20), st.sampled_from(["", ".0", ".5"])
)


@settings(deadline=None)
@given(st.lists(CELLS | st.sampled_from(["", " ", "1e5", ".5"])))
def test_values_are_the_same_whichever_way_they_are_read(cells: list[str]) -> None:
    one_by_one = [READERS[Kind.NUMBER](cell) if cell.strip() else NOT_SENT for cell in cells]
    assert list(map(repr, typed(cells, rules({"type": "number"})))) == list(map(repr, one_by_one))


def test_items_carry_row_line_cells_inputs_metadata_and_profile() -> None:
    source = table(
        Client=["Anna", "Bob"], Amount=["12.5", ""], Region=["", "north"], Clerk=[" Clerk A ", ""], Notes=["x", "y"]
    )
    ref = ProfileRef(id="p1", name="Clerk A")
    first, second = new_items(
        source,
        np.array([0, 1]),
        {"Client": Input("client"), "Amount": Input("amount"), "Region": Metadata("region"), "Clerk": ProfileName()},
        {"Client": rules({"type": "string"}), "Amount": rules({"type": "number"})},
        {"Clerk A": ref},
    )
    assert (first.row, first.line, first.cells) == (2, 2, ("Anna", "12.5", "", " Clerk A ", "x"))
    assert (first.inputs, first.metadata, first.profile) == ({"client": "Anna", "amount": 12.5}, {}, ref)
    assert (second.inputs, second.metadata, second.profile) == ({"client": "Bob"}, {"region": "north"}, None)


def test_the_cells_of_chosen_rows_come_by_column() -> None:
    source = table(a=["1", "2", "3", "4"], b=["5", "6", "7", "8"])
    assert cells_at(source, np.array([1, 3])) == {"a": ["2", "4"], "b": ["6", "8"]}
