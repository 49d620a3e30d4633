"""What a cell's text means under a JSON type: every decision, once."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchkit.core.cells import READERS, Kind, Numbers, missing, read_integers, read_numbers, texts


def column(cells: list[str]) -> pa.StringArray:
    return pa.array(cells, pa.large_string())


def read_back(read: Numbers) -> dict[int, object]:
    found = dict(zip(read.at.tolist(), read.values.tolist(), strict=True))
    return found | dict(zip(read.others_at.tolist(), read.others.tolist(), strict=True))


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("7", 7),
        ("007", 7),
        ("+5", 5),
        ("-3", -3),
        ("-0", 0),
        (" 7 ", 7),
        ("\u00a07\n", 7),
        ("5.0", 5),
        ("5.000", 5),
        ("5.", 5),
        ("12345678901234567890", 12345678901234567890),
        ("-99999999999999999999.0", -99999999999999999999),
        ("9" * 640, int("9" * 640)),
    ],
)
def test_an_integer_is_exact_at_any_size(cell: str, value: int) -> None:
    read = READERS[Kind.INTEGER](cell)
    assert read == value
    assert type(read) is int
    assert read_back(read_integers(column([cell]))) == {0: value}


@pytest.mark.parametrize(
    "cell",
    [
        *("1e5", "1E+05", "1,000", "1.000,0", "1_000", "1 000", "7.5", ".0", "--7", "+-7", "- 7", "+", ".", "5€"),
        *("７", "٣", "²", "½", "0x1F", "NaN", "inf", "abc", "true", "12\x00", "9" * 641),
    ],
)
def test_what_is_not_an_integer(cell: str) -> None:
    with pytest.raises(ValueError):
        READERS[Kind.INTEGER](cell)
    read = read_integers(column([cell]))
    assert read.unreadable.tolist() == [0]
    assert read_back(read) == {}


@pytest.mark.parametrize(
    ("cell", "sent"),
    [
        ("0.1", "0.1"),
        ("5", "5"),
        ("5.0", "5.0"),
        ("007", "7"),
        ("+5", "5"),
        ("-2.50", "-2.5"),
        (".5", "0.5"),
        ("5.", "5.0"),
        ("1e5", "100000.0"),
        ("1E-2", "0.01"),
        (" 12.5\t", "12.5"),
        ("12345678901234567890", "12345678901234567890"),
        ("0.8444218515250481", "0.8444218515250481"),
        ("-0", "0"),
        ("0.0", "0.0"),
        ("0e5", "0.0"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
    ],
)
def test_a_number_is_sent_as_it_is_written(cell: str, sent: str) -> None:
    assert json.dumps(READERS[Kind.NUMBER](cell)) == sent
    read = read_numbers(column([cell]))
    assert list(read_back(read)) == [0]
    assert not len(read.imprecise)


@pytest.mark.parametrize(
    "cell",
    [
        *("NaN", "nan", "inf", "-Infinity", "1e999", "-1e999", "9" * 400, "9" * 641, "0." + "1" * 640),
        *("12,5", "1,000.5", "1_000", "1 000", "1.2.3", "1e", "e5", ".", "-", "+", "5%", "$5", "−5", "７", "0x1p3"),
        *("abc", "1d5", "1.5f", "12\x00"),
    ],
)
def test_what_is_not_a_number(cell: str) -> None:
    with pytest.raises(ValueError):
        READERS[Kind.NUMBER](cell)
    assert read_numbers(column([cell])).unreadable.tolist() == [0]


@pytest.mark.parametrize(
    "cell",
    [
        "12345678901234567890.123",
        "0.1000000000000000055511151231257827",
        "9007199254740993.0",
        "3e-324",
        "1e-400",
        "1e-99999999999999999999",
    ],
)
def test_a_number_a_double_cannot_carry_is_imprecise(cell: str) -> None:
    read = read_numbers(column([cell]))
    assert read.imprecise.tolist() == [0]
    assert not len(read.unreadable)


@pytest.mark.parametrize("cell", ["0", "-0.00", "0e99999999999999999999", "1e-307", "5e-324", "9007199254740992.0"])
def test_a_number_a_double_carries_is_not_imprecise(cell: str) -> None:
    assert not len(read_numbers(column([cell])).imprecise)


@pytest.mark.parametrize(
    ("cell", "value"),
    [("true", True), ("TRUE", True), ("Yes", True), ("1", True), ("false", False), ("NO", False), (" 0 ", False)],
)
def test_a_boolean_has_three_spellings_in_any_case(cell: str, value: bool) -> None:
    assert READERS[Kind.BOOLEAN](cell) is value


@pytest.mark.parametrize("cell", ["t", "y", "on", "2", "1.0", "truth", "ja", "null"])
def test_what_is_not_a_boolean(cell: str) -> None:
    with pytest.raises(ValueError):
        READERS[Kind.BOOLEAN](cell)


def test_null_is_one_word() -> None:
    assert READERS[Kind.NULL](" null ") is None
    for cell in ("NULL", "None", "0"):
        with pytest.raises(ValueError):
            READERS[Kind.NULL](cell)


def test_arrays_and_objects_are_json_text() -> None:
    assert READERS[Kind.ARRAY](' [1, "a", null] ') == [1, "a", None]
    assert READERS[Kind.OBJECT]('{"a": {"b": 12345678901234567890}}') == {"a": {"b": 12345678901234567890}}
    assert READERS[Kind.ARRAY]('["\\ud83d\\ude00"]') == ["😀"]


@pytest.mark.parametrize(
    "cell",
    ["1", "{}", "[1", "[NaN]", "[1e999]", "['a']", '["\\ud800"]', "[" * 100_000, f"[{'9' * 5_000}]", "a,b"],
)
def test_what_is_not_an_array(cell: str) -> None:
    with pytest.raises(ValueError):
        READERS[Kind.ARRAY](cell)


def test_a_string_is_sent_exactly_as_it_is() -> None:
    for cell in (" 007 ", "NaN", "null", "a\nb", "É"):
        assert READERS[Kind.STRING](cell) == cell


def test_a_cell_is_missing_where_it_is_empty_or_whitespace_as_python_sees_it() -> None:
    every = [chr(point) for point in range(0x110000) if not 0xD800 <= point <= 0xDFFF]
    assert missing(column(every)).tolist() == [character.isspace() for character in every]
    assert missing(column(["", " \t\u3000", " a "])).tolist() == [True, True, False]


def test_long_columns_of_full_doubles_are_read_without_looking_at_each() -> None:
    numbers = np.random.default_rng(1).random(10_000)
    read = read_numbers(column([repr(number) for number in numbers.tolist()]))
    assert len(read.others) < 100
    assert [value for _, value in sorted(read_back(read).items())] == numbers.tolist()


DIGITS = st.text("0123456789", max_size=24)
NUMBERISH = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["", "", " ", "\u00a0"]),
        st.sampled_from(["", "", "+", "-"]),
        DIGITS,
        st.sampled_from(["", "", ".", ",", "_"]),
        DIGITS,
        st.sampled_from(["", "", "", "e5", "E-3", "e+400", "e-330", "e"]),
        st.sampled_from(["", "", " ", "\n"]),
    ),
)
CELLS = st.lists(
    NUMBERISH | st.sampled_from(["nan", "inf", "７", "0x1F", "٣", "1e5"]) | st.text(max_size=5), max_size=20
)


@settings(deadline=None)
@given(CELLS)
@example(["1", "x", "1e5"])
def test_a_block_of_integers_reads_as_its_cells_one_by_one(cells: list[str]) -> None:
    check_block(cells, Kind.INTEGER, read_integers(column(cells)))


@settings(deadline=None)
@given(CELLS)
@example(["1", "x", "1e5", "0.30000000000000004", "12345678901234567890.5"])
def test_a_block_of_numbers_reads_as_its_cells_one_by_one(cells: list[str]) -> None:
    check_block(cells, Kind.NUMBER, read_numbers(column(cells)))


def check_block(cells: list[str], kind: Kind, read: Numbers) -> None:
    expected: dict[int, object] = {}
    imprecise = []
    for at, cell in enumerate(cells):
        try:
            value = READERS[kind](cell)
        except ValueError:
            continue
        expected[at] = value
        if isinstance(value, float) and Fraction(*float_ratio(value)) != exact(cell):
            imprecise.append(at)
    assert read_back(read) == expected
    assert read.imprecise.tolist() == imprecise
    assert read.unreadable.tolist() == [at for at in range(len(cells)) if at not in expected]


def float_ratio(value: float) -> tuple[int, int]:
    """The ratio of the shortest decimal that reads as `value`: what JSON carries."""
    return Decimal(repr(value)).as_integer_ratio()


def exact(cell: str) -> Fraction:
    return Fraction(Decimal(cell.strip()))


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_survives_as_json_writes_it(value: float) -> None:
    read = READERS[Kind.NUMBER](json.dumps(value))
    assert isinstance(read, float)
    assert math.copysign(1, read) == math.copysign(1, value)
    assert read == value
    assert not len(read_numbers(column([json.dumps(value)])).imprecise)


def test_texts_are_python_strings() -> None:
    assert texts(column(["a", ""])) == ["a", ""]
