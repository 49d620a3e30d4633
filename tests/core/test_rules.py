"""Column-wise rules, each by example and all of them against jsonschema, cell by cell."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from long_form import examples

from batchkit.core.agent import InputVariable
from batchkit.core.cells import READERS, Kind
from batchkit.core.formats import conforming
from batchkit.core.rules import Code, compile_rules
from batchkit.core.schema import read_schema
from batchkit.core.table import Severity
from batchkit.errors import ConfigError


def column(cells: list[str], chunk: int = 10_000) -> pa.ChunkedArray[Any]:
    parts = [cells[at : at + chunk] for at in range(0, len(cells), chunk)]
    return pa.chunked_array(parts, pa.large_string())


def check(schema: dict[str, Any], *cells: str, **more: Any) -> dict[str, list[str]]:
    """Code to the cells it is against, in order; each cell is checked under the schema."""
    rules = compile_rules(InputVariable("value", schema=schema, **more))
    return {code.value: [cells[at] for at in where.tolist()] for code, where in rules.check(column(list(cells)))}


def kinds(schema: dict[str, Any]) -> tuple[Kind, ...]:
    return read_schema(InputVariable("value", schema=schema)).kinds


def test_a_missing_cell_is_against_a_required_input_only() -> None:
    assert check({"type": "integer"}, "1", "", "  ") == {}
    assert check({"type": "integer"}, "1", "", "  ", required=True) == {"required": ["", "  "]}
    assert check({"type": "string", "minLength": 9}, "") == {}


def test_a_default_stands_in_for_a_missing_cell() -> None:
    assert check({"type": "string"}, "", required=True, default="x") == {}


def test_without_a_schema_every_cell_is_text() -> None:
    assert check({}, "7", "NaN", "[") == {}
    assert kinds({}) == (Kind.STRING,)
    assert kinds({"minimum": 5}) == (Kind.STRING,)


def test_an_empty_column_has_nothing_against_it() -> None:
    assert check({"type": "integer", "minimum": 3}) == {}


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "string", "minLength": 2}, ["éé", "abc"], ["a", "é"]),
        ({"type": "string", "maxLength": 2}, ["😀😀"], ["😀😀😀"]),
        ({"type": "string", "enum": ["a", "b ", 1]}, ["a", "b "], ["b", "A", "1"]),
        ({"type": "string", "const": "x"}, ["x"], ["X", " x"]),
        ({"type": "string", "pattern": "[0-9]{2}"}, ["a12b"], ["a1b2"]),
        ({"type": "string", "pattern": "^a$"}, ["a"], ["a\n", "ab"]),
        ({"type": "string", "pattern": r"^\p{L}+$"}, ["éa"], ["a1"]),
        ({"type": "string", "pattern": r"^(?=.*[0-9])\w+$"}, ["a1"], ["ab"]),
        ({"type": "string", "pattern": r"^\u00e9$"}, ["é"], ["e"]),
        ({"type": "integer", "minimum": 5}, ["5", "5.0", "9" * 30], ["4", "-" + "9" * 30]),
        ({"type": "integer", "minimum": 4.5}, ["5"], ["4"]),
        ({"type": "integer", "exclusiveMinimum": 5}, ["6"], ["5"]),
        ({"type": "integer", "maximum": 2**63}, [str(2**63)], [str(2**63 + 1), "9" * 30]),
        ({"type": "integer", "maximum": 9007199254740992.0}, ["9007199254740992"], ["9007199254740993"]),
        ({"type": "number", "maximum": 0.1}, ["0.1", "0"], ["0.10000000000000002", "1"]),
        ({"type": "number", "exclusiveMaximum": 1}, ["0.999"], ["1", "1.0", "1e0"]),
        ({"type": "number", "minimum": 2**53 + 1}, [str(2**53 + 1)], [str(2**53), "9007199254740992.0"]),
        ({"type": "number", "minimum": 10**16 + 1}, ["1e17"], ["1e16"]),
        ({"type": "integer", "multipleOf": 5}, ["10", "0", "5" + "0" * 30], ["11", "5" + "0" * 29 + "1"]),
        ({"type": "integer", "multipleOf": 0.5}, ["1"], []),
        ({"type": "integer", "multipleOf": 2**70}, [str(2**71)], ["4"]),
        ({"type": "number", "multipleOf": 0.1}, ["0.3", "1.1", "7", "1e300"], ["0.35", "1e-5"]),
        ({"type": "number", "multipleOf": 0.01}, ["0.29", "12.35", "-4.02"], ["0.291"]),
        ({"type": "integer", "enum": [1, 2.0, "3", True]}, ["1", "01", "2"], ["3"]),
        ({"type": "number", "const": 1}, ["1", "1.0", "1e0"], ["1.1"]),
        ({"type": "boolean", "const": True}, ["yes", "1"], ["no"]),
        ({"type": "boolean", "enum": [False]}, ["0"], ["1"]),
        ({"type": "array", "enum": [[1], ["a"]]}, ["[1]", '[ "a" ]', "[1.0]"], ["[2]"]),
    ],
)
def test_a_keyword_is_against_the_cells_that_break_it(schema: dict[str, Any], good: list[str], bad: list[str]) -> None:
    keyword = next(key for key in schema if key != "type")
    expected = {keyword: bad} if bad else {}
    found = check(schema, *good, *bad)
    found.pop("imprecise", None)
    assert found == expected


def test_a_cell_is_told_everything_it_breaks() -> None:
    schema = {"type": "string", "minLength": 5, "pattern": "^a", "enum": ["abcde"]}
    assert check(schema, "b") == {"minLength": ["b"], "pattern": ["b"], "enum": ["b"]}


def test_a_cell_of_the_wrong_type_is_told_only_that() -> None:
    assert check({"type": "integer", "minimum": 5, "multipleOf": 2}, "x") == {"type": ["x"]}


def test_an_imprecise_number_is_a_warning_and_checked_all_the_same() -> None:
    cell = "12345678901234567890.123"
    assert check({"type": "number", "maximum": 5}, cell) == {"imprecise": [cell], "maximum": [cell]}
    assert Code.IMPRECISE.severity is Severity.WARNING
    assert Code.MAXIMUM.severity is Severity.ERROR


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"anyOf": [{"minLength": 5}, {"const": "a"}]}, ["abcde", "a"], ["b"]),
        ({"type": "string", "not": {"const": "x"}}, ["y"], ["x"]),
        ({"type": "integer", "anyOf": [{"maximum": 3}, {"minimum": 9}]}, ["3", "9", "9" * 30], ["5"]),
        ({"type": "array", "items": {"type": "integer"}}, ["[]", "[1]", "[1.0]"], ['["a"]', "[1.5]"]),
        ({"type": "array", "minItems": 2}, ["[1, 2]"], ["[1]"]),
        ({"type": "object", "required": ["a"]}, ['{"a": 1}'], ['{"b": 1}']),
        ({"type": "object", "properties": {"a": {"minimum": 3}}}, ['{"a": 3}', "{}"], ['{"a": 2}']),
        ({"type": "string", "allOf": [{"pattern": "^a"}]}, ["ab"], ["b"]),
        ({"type": "string", "$ref": "#/$defs/x", "$defs": {"x": {"maxLength": 1}}}, ["a"], ["ab"]),
    ],
)
def test_what_is_not_simple_is_left_to_jsonschema(schema: dict[str, Any], good: list[str], bad: list[str]) -> None:
    assert check(schema, *good, *bad) == {"schema": bad}


def test_the_objection_is_jsonschemas_own() -> None:
    rules = compile_rules(InputVariable("tags", schema={"type": "array", "items": {"type": "integer"}, "enum": [[1]]}))
    (objection,) = rules.objections('["a"]')
    assert (objection.json_path, objection.message) == ("$[0]", "'a' is not of type 'integer'")


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": ["null", "string"]}, (Kind.STRING, Kind.NULL)),
        ({"type": ["integer", "number"]}, (Kind.NUMBER,)),
        ({"enum": [1, 2]}, (Kind.INTEGER,)),
        ({"enum": [1, 2.5, True]}, (Kind.NUMBER, Kind.BOOLEAN)),
        ({"const": "a"}, (Kind.STRING,)),
        ({"const": {}}, (Kind.OBJECT,)),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, (Kind.INTEGER, Kind.NULL)),
        ({"oneOf": [{"type": "array"}, {"minLength": 3}]}, (Kind.STRING, Kind.ARRAY)),
        ({"allOf": [{"title": "x"}, {"type": "boolean"}]}, (Kind.BOOLEAN,)),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "object"}}}, (Kind.OBJECT,)),
        ({"$ref": "#/$defs/none"}, (Kind.STRING,)),
        ({"$ref": "#"}, (Kind.STRING,)),
    ],
)
def test_the_types_are_found_where_the_schema_names_them(schema: dict[str, Any], expected: tuple[Kind, ...]) -> None:
    assert kinds(schema) == expected


def test_an_optional_type_as_libraries_write_it_is_checked_column_wise() -> None:
    schema = read_schema(
        InputVariable(
            "value", schema={"anyOf": [{"type": "integer", "minimum": 3}, {"type": "null"}], "title": "Value"}
        )
    )
    assert schema.kinds == (Kind.INTEGER, Kind.NULL)
    assert schema.simple == {"minimum": 3}
    assert schema.rest is None


def test_keywords_that_bind_null_too_stay_with_jsonschema() -> None:
    schema = {"anyOf": [{"type": "integer", "enum": [1]}, {"type": "null"}]}
    assert check(schema, "1", "null", "2") == {"schema": ["2"]}


def test_of_several_types_a_cell_has_the_first_that_takes_it() -> None:
    assert check({"type": ["integer", "boolean"]}, "1", "true", "x") == {"type": ["x"]}
    assert check({"type": ["string", "integer"], "minLength": 2, "maximum": 5}, "7", "3", "77") == {"minLength": ["7"]}
    assert check({"type": ["number", "null"], "minimum": 2}, "null", "1", "x") == {"type": ["x"], "minimum": ["1"]}
    assert check({"enum": [1, "a", None]}, "1", "a", "null", "b") == {"enum": ["b"]}


def test_the_kind_a_cell_is_read_as_can_be_asked() -> None:
    rules = compile_rules(InputVariable("value", schema={"type": ["integer", "boolean", "array"]}))
    assert rules.accepted_kinds(pa.array(["1", "yes", "[1]", "0"], pa.large_string())).tolist() == [0, 1, 2, 0]


def test_draft_4_means_its_own_by_its_keywords() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "type": "integer",
        "minimum": 3,
        "exclusiveMinimum": True,
    }
    assert check(schema, "4", "3") == {"minimum": ["3"]}


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "text"}, r"at \$\.type"),
        ({"minimum": "3"}, r"at \$\.minimum"),
        ({"exclusiveMinimum": True}, r"at \$\.exclusiveMinimum"),
        ({"pattern": "("}, "not a regular expression"),
    ],
)
def test_a_schema_that_is_none_is_refused_by_name(schema: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=f"'value'.*{reason}|{reason}.*'value'"):
        compile_rules(InputVariable("value", schema=schema))


@pytest.mark.parametrize("reference", ["http://127.0.0.1:9/schema.json", "#/$defs/none", "#"])
def test_a_reference_is_never_fetched_and_must_lead_somewhere(reference: str) -> None:
    with pytest.raises(ConfigError, match=r"'value' cannot be used"):
        check({"allOf": [{"$ref": reference}]}, "x")


def test_positions_count_through_chunks_and_blocks() -> None:
    cells = ["7"] * 300_000
    for at in (0, 9_999, 10_000, 131_071, 131_072, 262_144, 299_999):
        cells[at] = "x"
    rules = compile_rules(InputVariable("value", schema={"type": "integer"}))
    ((code, where),) = rules.check(column(cells))
    assert code is Code.TYPE
    assert where.tolist() == [0, 9_999, 10_000, 131_071, 131_072, 262_144, 299_999]


@pytest.mark.parametrize("schema", [{"pattern": "^a"}, {"format": "date"}, {"not": {"const": "b1"}}])
def test_a_column_that_repeats_itself_is_checked_like_one_that_does_not(schema: dict[str, Any]) -> None:
    values = ["a1", "b1", "2026-03-01", "2026-02-29", "", "  "]
    rules = compile_rules(InputVariable("value", schema={"type": "string", **schema}, required=True))
    once = {code: set(where.tolist()) for code, where in rules.check(column(values))}
    often = rules.check(column(values * 3_000))
    assert {code: {at % 6 for at in where.tolist()} for code, where in often} == once
    assert {code: len(where) for code, where in often} == {code: 3_000 * len(places) for code, places in once.items()}


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        (
            "date",
            ["2026-03-01", "2024-02-29"],
            ["2023-02-29", "1.3.2026", "2026-3-1", "20260301", " 2026-03-01", "0000-01-01"],
        ),
        (
            "date-time",
            ["2026-03-01T09:00:00Z", "2026-03-01t09:00:00.5+01:00"],
            ["2026-03-01T09:00:00", "2026-03-01 09:00:00Z"],
        ),
        (
            "email",
            ["a@b.c", "ä.b+c@d-e.co.uk"],
            ["a", "a@b", "a@@b.c", "a b@c.d", "a@b.c ", "a\u00a0@b.c", "Anna <a@b.c>", "a@b..c"],
        ),
        (
            "uri",
            ["https://x.de/a%20b?c=[1]#d", "mailto:a@b.c"],
            ["x.de", "/a", "https://x y", "https://ä.de", "http:", "http://%zz"],
        ),
        ("uuid", ["123e4567-e89b-12d3-a456-426614174000"], ["123"]),
        ("no-such-format", ["anything"], []),
    ],
)
def test_formats(name: str, good: list[str], bad: list[str]) -> None:
    assert check({"type": "string", "format": name}, *good, *bad) == ({"format": bad} if bad else {})


@settings(deadline=None)
@given(st.dates() | st.tuples(st.integers(0, 9999), st.integers(0, 13), st.integers(0, 32)))
def test_the_date_format_knows_every_day_that_exists(day: datetime.date | tuple[int, int, int]) -> None:
    text = day.isoformat() if isinstance(day, datetime.date) else "{:04d}-{:02d}-{:02d}".format(*day)
    agreed = conforming(pa.array([text]), "date", FormatChecker()).tolist()
    moment = conforming(pa.array([f"{text}T23:59:59Z"]), "date-time", FormatChecker()).tolist()
    assert agreed == moment == [Draft202012Validator.FORMAT_CHECKER.conforms(text, "date")]


WORDS = st.text("ab1é ", max_size=4)
TEXT_KEYWORDS = st.fixed_dictionaries(
    {},
    optional={
        "minLength": st.integers(0, 4),
        "maxLength": st.integers(0, 4),
        "pattern": st.sampled_from(["a", "^a", "b$", "[0-9]", "^(a|b)*$", "é.", "^$", r"a\.b"]),
        "enum": st.lists(WORDS | st.integers(0, 3) | st.booleans() | st.none(), min_size=1, max_size=4),
        "const": WORDS,
        "not": st.just({"const": "ab"}),
        "anyOf": st.just([{"minLength": 2}, {"const": "a"}]),
    },
)
BOUNDS = st.integers(-5, 5) | st.floats(-5, 5) | st.sampled_from([10**20, 2**53 + 1, 0.1])
NUMBER_KEYWORDS = st.fixed_dictionaries(
    {},
    optional={
        "minimum": BOUNDS,
        "maximum": BOUNDS,
        "exclusiveMinimum": BOUNDS,
        "exclusiveMaximum": BOUNDS,
        "multipleOf": st.integers(1, 5) | st.sampled_from([0.1, 0.5, 1.5, 0.01, 3.0]),
        "enum": st.lists(st.integers(0, 3) | st.sampled_from([0.5, 1.0, True, "1"]), min_size=1, max_size=3),
        "const": st.integers(0, 3),
        "not": st.just({"const": 2}),
    },
)
TYPES = st.sampled_from(["string", "integer", "number", "boolean", "null", "array", "object"])
SCHEMAS = st.builds(
    lambda types, text, number: {**text, **number, "type": types},
    TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
    TEXT_KEYWORDS,
    NUMBER_KEYWORDS,
)
NUMERALS = st.builds("{}{}".format, st.integers(-6, 6), st.sampled_from(["", ".0", ".5", ".10", "e1", "0" * 20]))
NASTY = [
    "007",
    "+5",
    " 7 ",
    "1e5",
    "1,5",
    "NaN",
    "inf",
    "null",
    "true",
    "Yes",
    "0",
    "[]",
    "[1]",
    "{}",
    "['",
    "９",
    "1" * 30,
]
CELLS = st.lists(
    NUMERALS | WORDS | st.sampled_from([*NASTY, "0.1", "0.30000000000000004", "9007199254740993", " ", ""]), max_size=15
)


@settings(max_examples=examples(300), suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(SCHEMAS, CELLS, st.booleans())
@example({"type": ["integer", "boolean"], "maximum": 5}, ["7", "1", "yes", "x"], True)
@example({"type": ["number", "null"], "multipleOf": 0.1}, ["0.3", "null", "0.35", "12345678901234567890.5"], False)
def test_column_wise_rules_agree_with_jsonschema_cell_by_cell(
    schema: dict[str, Any], cells: list[str], required: bool
) -> None:
    rules = compile_rules(InputVariable("value", schema=schema, required=required))
    found: list[set[str]] = [set() for _ in cells]
    for code, where in rules.check(column(cells, chunk=4)):
        assert where.tolist() == sorted(set(where.tolist()))
        for at in where.tolist():
            found[at].add(code.value)
    assert found == [expected(schema, cell, required) for cell in cells]


def expected(schema: dict[str, Any], cell: str, required: bool) -> set[str]:
    """What is against the cell under its first type, unless a later one takes it."""
    if not cell.strip():
        return {"required"} if required else set()
    named = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    wanted = [kind for kind in Kind if kind in named and not (kind == "integer" and "number" in named)]
    against = [against_kind(schema, cell, kind) for kind in wanted]
    return next((codes for codes in against if codes <= {"imprecise"}), against[0])


def against_kind(schema: dict[str, Any], cell: str, kind: Kind) -> set[str]:
    try:
        value = READERS[kind](cell)
    except ValueError:
        return {"type"}
    rest = {key: part for key, part in schema.items() if key != "multipleOf"}
    codes = {str(error.validator) for error in Draft202012Validator(rest).iter_errors(value)}
    codes = {"schema" if code in ("not", "anyOf") else code for code in codes}
    if kind in ("integer", "number") and "multipleOf" in schema and not is_multiple(value, schema["multipleOf"]):
        codes.add("multipleOf")
    if isinstance(value, float) and Decimal(json.dumps(value)) != Decimal(cell.strip()):
        codes.add("imprecise")
    return codes


def is_multiple(value: Any, step: int | float) -> bool:
    return (Fraction(json.dumps(value)) / Fraction(json.dumps(step))).denominator == 1
