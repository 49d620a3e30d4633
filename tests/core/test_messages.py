"""The sentence for every kind of issue."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from batchkit.core.agent import InputVariable
from batchkit.core.messages import about_cell, about_profile
from batchkit.core.rules import Code, compile_rules


def said(schema: dict[str, Any], cell: str) -> str:
    """The one sentence there is against the cell."""
    rules = compile_rules(InputVariable("value", schema=schema, required=True))
    ((code, _),) = rules.check(pa.chunked_array([[cell]], pa.large_string()))
    return about_cell(code, rules)(cell)


def test_a_missing_cell() -> None:
    assert said({}, "") == "the cell is empty, but input 'value' is required; fill it in."
    assert said({}, " \t") == "the cell holds only spaces, but input 'value' is required; fill it in."


NO_NUMBER = "is not a number; use digits and a decimal point, like 12.5."
COMMA = "has a comma; write a decimal point and no separator between thousands, like 1234.5."
NO_INTEGER = "is not a whole number; use digits only, like 12."


@pytest.mark.parametrize(
    ("kind", "cell", "sentence"),
    [
        ("number", "abc", f"'abc' {NO_NUMBER}"),
        ("number", "-", f"'-' {NO_NUMBER}"),
        ("number", ".", f"'.' {NO_NUMBER}"),
        ("number", "12,5", f"'12,5' {COMMA}"),
        ("number", "-1,234.50", f"'-1,234.50' {COMMA}"),
        ("number", "a,b", f"'a,b' {NO_NUMBER}"),
        ("number", "NaN", "'NaN' stands for no number; leave the cell empty, or fill in a number."),
        ("number", "-inf", "'-inf' stands for no number; leave the cell empty, or fill in a number."),
        ("number", "1e999", "'1e999' is too large for a number."),
        ("integer", "7.5", f"'7.5' {NO_INTEGER}"),
        ("integer", "+", f"'+' {NO_INTEGER}"),
        ("integer", "1,000", f"'1,000' {COMMA}"),
        (
            "integer",
            "1E+05",
            "'1E+05' is in scientific notation, in which digits may be lost; write out the whole number.",
        ),
        ("integer", "9" * 641, f"'{'9' * 60}…' is too large for a number."),
        (["integer", "null"], "x", f"'x' {NO_INTEGER}"),
        (["integer", "boolean"], "x", "'x' is of none of the types this input takes: integer, boolean."),
        ("boolean", "maybe", "'maybe' is neither true nor false; use true or false, yes or no, 1 or 0."),
        ("null", "x", "'x' is not null; leave the cell empty."),
        ("array", "a,b", '\'a,b\' is not a JSON array; write it like [1, 2] or ["a", "b"].'),
        ("object", "[]", '\'[]\' is not a JSON object; write it like {"key": "value"}.'),
    ],
)
def test_a_cell_of_the_wrong_type(kind: str | list[str], cell: str, sentence: str) -> None:
    assert said({"type": kind}, cell) == sentence


@pytest.mark.parametrize(
    ("schema", "cell", "sentence"),
    [
        ({"maximum": 2.5}, "3", "'3' is too large; it must be at most 2.5."),
        ({"minimum": 4}, "3", "'3' is too small; it must be at least 4."),
        ({"exclusiveMinimum": 3}, "3", "'3' is too small; it must be greater than 3."),
        ({"exclusiveMaximum": 3}, "3", "'3' is too large; it must be less than 3."),
        ({"multipleOf": 5}, "3", "'3' is between the steps allowed; it must be a multiple of 5."),
        ({"enum": [1, 2.5]}, "3", "'3' is not allowed here; use one of '1', '2.5'."),
    ],
)
def test_a_number_out_of_bounds(schema: dict[str, Any], cell: str, sentence: str) -> None:
    assert said({"type": "number", **schema}, cell) == sentence


@pytest.mark.parametrize(
    ("schema", "cell", "sentence"),
    [
        ({"minLength": 3}, "ab", "'ab' has 2 characters; it must have at least 3."),
        ({"maxLength": 3}, "abcd", "'abcd' has 4 characters; it must have at most 3."),
        ({"maxLength": 3}, "x" * 61, f"'{'x' * 60}…' has 61 characters; it must have at most 3."),
        ({"pattern": "^PX"}, "a\nb", "'a\\nb' does not match the pattern ^PX; write it that way."),
        ({"format": "date"}, "1.3.26", "'1.3.26' is not a date; write one that exists, year first, like 2026-03-01."),
        ({"format": "uuid"}, "1", "'1' is not of the format 'uuid'."),
        ({"const": "a"}, "b", "'b' is not allowed here; it must be 'a'."),
        ({"enum": ["new", "to do"]}, "x", "'x' is not allowed here; use one of 'new', 'to do'."),
        (
            {"enum": ["new", "to do"]},
            "To-Do",
            "'To-Do' is not allowed here; use one of 'new', 'to do'. Did you mean 'to do'?",
        ),
        (
            {"enum": [f"v{n}" for n in range(12)]},
            "x",
            "'x' is not allowed here; use one of 'v0', 'v1', 'v2', 'v3', 'v4', 'v5', 'v6', 'v7', 'v8', 'v9' "
            "or one of 2 more.",
        ),
    ],
)
def test_a_text_that_is_not_allowed(schema: dict[str, Any], cell: str, sentence: str) -> None:
    assert said({"type": "string", **schema}, cell) == sentence


def test_an_imprecise_number_is_shown_as_it_would_be_sent() -> None:
    assert said({"type": "number"}, "0.12345678901234567890") == (
        "'0.12345678901234567890' would be sent as 0.12345678901234568, the nearest number there is; "
        "use fewer digits if that matters."
    )


def test_the_rest_of_a_schema_speaks_in_jsonschemas_words_with_the_place() -> None:
    assert said({"type": "array", "items": {"type": "integer"}}, '["a"]') == (
        "'[\"a\"]' does not fit the input's schema: at [0], 'a' is not of type 'integer'."
    )
    assert said({"allOf": [{"maxLength": 1}]}, "ab") == "'ab' does not fit the input's schema: 'ab' is too long."


def test_a_long_objection_is_cut() -> None:
    sentence = said({"type": "string", "not": {"minLength": 1}}, "x" * 1_000)
    assert len(sentence) < 350
    assert sentence.endswith("….")


def test_a_keyword_behind_a_reference_is_told_as_part_of_the_schema() -> None:
    schema = {"type": "string", "$ref": "#/$defs/short", "$defs": {"short": {"maxLength": 1}}}
    assert said(schema, "ab") == "'ab' does not fit the input's schema: 'ab' is too long."


def test_an_unknown_profile_is_told_the_names_where_they_are_few() -> None:
    tell = about_profile(Code.UNKNOWN_PROFILE, ["Clerk A", "Clerk B"])
    assert tell(" clerk-a ") == (
        "' clerk-a ' is no agent profile or pool; use the exact name of one, or leave the cell empty. "
        "There are: 'Clerk A', 'Clerk B'. Did you mean 'Clerk A'?"
    )
    many = about_profile(Code.UNKNOWN_PROFILE, [f"Clerk {n}" for n in range(11)])
    assert many("x") == "'x' is no agent profile or pool; use the exact name of one, or leave the cell empty."
