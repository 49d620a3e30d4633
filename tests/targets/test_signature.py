"""A function's parameters as inputs, and values as its arguments."""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, Optional, TypedDict, TypeVar, Union
from uuid import UUID

import jsonschema
import pytest

from batchkit.errors import ConfigError
from batchkit.targets.signature import Signature

Anything = TypeVar("Anything")
CustomerId = NewType("CustomerId", int)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Corner(enum.Enum):
    NORTH = (0, 1)
    SOUTH = (0, -1)


class Address(TypedDict):
    street: str


@dataclass
class Person:
    name: str


def takes(hint: Any, *, default: Any = ...) -> Callable[..., Any]:
    """A function with one parameter `x` of that hint."""
    if default is ...:

        def function(x):  # type: ignore[no-untyped-def]
            return x
    else:

        def function(x=default):  # type: ignore[no-untyped-def]
            return x

    function.__annotations__["x"] = hint
    return function


@pytest.mark.parametrize(
    ("hint", "schema", "value", "argument"),
    [
        (str, {"type": "string"}, "007", "007"),
        (int, {"type": "integer"}, 10**30, 10**30),
        (float, {"type": "number"}, 3, 3.0),
        (bool, {"type": "boolean"}, True, True),
        (None, {"type": "null"}, None, None),
        (Any, {}, [1], [1]),
        (object, {}, {"a": 1}, {"a": 1}),
        (Anything, {}, 1, 1),
        (CustomerId, {"type": "integer"}, 5, 5),
        (date, {"type": "string", "format": "date"}, "2026-03-01", date(2026, 3, 1)),
        (
            datetime,
            {"type": "string", "format": "date-time"},
            "2026-03-01T10:00:00Z",
            datetime(2026, 3, 1, 10, tzinfo=UTC),
        ),
        (time, {"type": "string", "format": "time"}, "10:00:00", time(10)),
        (UUID, {"type": "string", "format": "uuid"}, str(UUID(int=7)), UUID(int=7)),
        (Path, {"type": "string"}, "a/b", Path("a/b")),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}, "b", "b"),
        (Literal[1, 2], {"type": "integer", "enum": [1, 2]}, 2, 2),
        (Literal["a", 1], {"enum": ["a", 1]}, 1, 1),
        (Colour, {"type": "string", "enum": ["red", "blue"]}, "blue", Colour.BLUE),
        (Level, {"type": "integer", "enum": [1, 2]}, 2, Level.HIGH),
        (Corner, {"type": "string", "enum": ["NORTH", "SOUTH"]}, "SOUTH", Corner.SOUTH),
        (list, {"type": "array"}, [1, "a"], [1, "a"]),
        (list[int], {"type": "array", "items": {"type": "integer"}}, [1, 2], [1, 2]),
        (Sequence[str], {"type": "array", "items": {"type": "string"}}, ["a"], ["a"]),
        (Iterable[str], {"type": "array", "items": {"type": "string"}}, ["a"], ["a"]),
        (Collection, {"type": "array"}, ["a"], ["a"]),
        (set[int], {"type": "array", "items": {"type": "integer"}}, [1, 1], {1}),
        (AbstractSet[int], {"type": "array", "items": {"type": "integer"}}, [1, 1], frozenset({1})),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}, [1, 2], (1, 2)),
        (
            list[date],
            {"type": "array", "items": {"type": "string", "format": "date"}},
            ["2026-03-01"],
            [date(2026, 3, 1)],
        ),
        (dict, {"type": "object"}, {"a": 1}, {"a": 1}),
        (dict[str, Any], {"type": "object"}, {"a": 1}, {"a": 1}),
        (
            Mapping[str, Colour],
            {"type": "object", "additionalProperties": {"type": "string", "enum": ["red", "blue"]}},
            {"a": "red"},
            {"a": Colour.RED},
        ),
        (Address, {"type": "object"}, {"street": "Main"}, {"street": "Main"}),
        (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}, "5", "5"),
        (
            Union[date, str],  # noqa: UP007
            {"anyOf": [{"type": "string", "format": "date"}, {"type": "string"}]},
            "2026-03-01",
            date(2026, 3, 1),
        ),
        (Annotated[int, "how many", 7], {"type": "integer"}, 5, 5),
    ],
)
def test_a_hint_declares_a_schema_and_the_function_gets_what_it_says(
    hint: Any, schema: dict[str, Any], value: Any, argument: Any
) -> None:
    signature = Signature.of(takes(hint), "f")
    (variable,) = signature.inputs
    assert variable.schema == schema
    jsonschema.validate(value, variable.schema)
    (found,) = signature.arguments({"x": value}).values()
    assert found == argument
    assert type(found) is type(argument)


def test_a_fixed_tuple_takes_as_many_values() -> None:
    signature = Signature.of(takes(tuple[int, date]), "f")
    assert signature.arguments({"x": [1, "2026-03-01"]}) == {"x": (1, date(2026, 3, 1))}
    with pytest.raises(ValueError, match="x: 2 values are needed, not 1"):
        signature.arguments({"x": [1]})


@pytest.mark.parametrize("text", ["12.340", "-7", "1E-30", ".5", "5."])
def test_a_decimal_keeps_every_digit(text: str) -> None:
    signature = Signature.of(takes(Decimal), "f")
    jsonschema.validate(text, signature.inputs[0].schema)
    assert str(signature.arguments({"x": text})["x"]) == str(Decimal(text))


@pytest.mark.parametrize("text", ["NaN", "sNaN", "Infinity", "1,5", "1_000", "", "x"])
def test_what_is_no_decimal_notation_does_not_validate(text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(text, Signature.of(takes(Decimal), "f").inputs[0].schema)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (str, 5),
        (int, "5"),
        (int, 5.5),
        (int, True),
        (float, "5"),
        (float, False),
        (bool, 1),
        (date, "01.03.2026"),
        (date, 5),
        (Decimal, 5),
        (Decimal, "five"),
        (UUID, "x"),
        (Colour, "green"),
        (Level, True),
        (Literal[1], True),
        (list[int], ["a"]),
        (list, "abc"),
        (dict, []),
        (dict[str, int], {"a": "b"}),
        (int | date, "x"),
        (Optional[int], "x"),  # noqa: UP045
    ],
)
def test_a_value_of_another_kind_is_a_value_error_that_names_the_input(hint: Any, value: Any) -> None:
    with pytest.raises(ValueError, match=r"\Ax: "):
        Signature.of(takes(hint), "f").arguments({"x": value})


def test_what_has_a_default_is_optional_and_shows_it() -> None:
    def function(
        client: str,
        amount: float = 2.5,
        colour: Colour = Colour.RED,
        day: date = date(2026, 3, 1),
        note: str | None = None,
        hook: Any = print,
        *,
        limit: int | None,
    ) -> None: ...

    signature = Signature.of(function, "f")
    assert [(each.name, each.required, each.default) for each in signature.inputs] == [
        ("client", True, None),
        ("amount", False, 2.5),
        ("colour", False, "red"),
        ("day", False, "2026-03-01"),
        ("note", False, None),
        ("hook", False, None),
        ("limit", False, None),
    ]
    assert signature.arguments({"client": "Ada"}) == {"client": "Ada", "limit": None}
    assert signature.arguments({"client": "Ada", "limit": 3, "note": None})["limit"] == 3


def test_annotated_words_are_the_description() -> None:
    def function(client: Annotated[str, "Who it is for."], note: Annotated[str, "Why."] | None = None) -> None: ...

    assert [each.description for each in Signature.of(function, "f").inputs] == ["Who it is for.", "Why."]


def test_arguments_name_what_is_missing_and_what_is_unknown() -> None:
    def function(a: int, b: int, c: int = 0) -> None: ...

    signature = Signature.of(function, "f")
    with pytest.raises(ValueError, match="there is no value for a, b"):
        signature.arguments({"c": 1})
    with pytest.raises(ValueError, match="there is no parameter x, y"):
        signature.arguments({"a": 1, "b": 2, "y": 3, "x": 4})


class Callable1:
    def __call__(self, x: int) -> int:
        return x

    def method(self, x: int) -> int:
        return x

    @classmethod
    def of_class(cls, x: int) -> int:
        return x

    @staticmethod
    def of_none(x: int) -> int:
        return x


class Constructed:
    def __init__(self, x: int) -> None:
        self.x = x


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    "function",
    [
        Callable1(),
        Callable1().method,
        Callable1.of_class,
        Callable1.of_none,
        Constructed,
        decorated(Callable1.of_none),
        functools.partial(Callable1.of_none),
    ],
)
def test_every_kind_of_callable_is_read(function: Callable[..., Any]) -> None:
    signature = Signature.of(function, "f")
    assert [(each.name, each.schema) for each in signature.inputs] == [("x", {"type": "integer"})]
    function(**signature.arguments({"x": 5}))


def test_a_partials_given_argument_is_a_default() -> None:
    def function(a: int, b: int) -> int:
        return a + b

    signature = Signature.of(functools.partial(function, b=5), "f")
    assert [(each.name, each.required, each.default) for each in signature.inputs] == [
        ("a", True, None),
        ("b", False, 5),
    ]


def test_a_function_without_parameters_has_no_inputs() -> None:
    assert Signature.of(lambda: 1, "f").inputs == ()


def test_star_arguments_beside_named_ones_stay_empty() -> None:
    def function(a: int, *more: int, **options: int) -> None: ...

    assert [each.name for each in Signature.of(function, "f").inputs] == ["a"]


def positional(a: int, /) -> None: ...


def starred(*args: int, **kwargs: int) -> None: ...


def unresolved(a: NoSuchType) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (positional, "a is positional-only"),
        (starred, r"only \*args and \*\*kwargs"),
        (unresolved, "NoSuchType"),
        (takes(bytes), "x is hinted bytes"),
        (takes(Person), "x is hinted .*Person"),
        (takes(list[Person]), "Person"),
        (takes(Callable[[], int]), "x is hinted"),
        (takes(int | bytes), "bytes"),
        (dict, "does not tell its parameters|only"),
    ],
)
def test_a_function_that_cannot_be_called_by_name_or_from_cells_is_refused(
    function: Callable[..., Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        Signature.of(function, "f")


def returning(a: int) -> NoSuchResult:  # type: ignore[name-defined]  # noqa: F821
    return a


def test_the_hint_of_the_result_is_not_looked_at() -> None:
    assert Signature.of(returning, "f").inputs[0].schema == {"type": "integer"}
