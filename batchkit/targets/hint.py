"""Hint: what a parameter's type hint declares as JSON Schema, and what the function then receives.

str, int, float, bool         string, integer, number, boolean
Decimal                       string in decimal notation, so that no digit is lost; a Decimal
date, datetime, time, UUID    string in the format of that name; the object itself
Path                          string; a Path
Literal, Enum                 enum; the literal, or the member by its value (by its name where a value is not JSON)
list, tuple, set, Sequence…   array, of what the hint says; that kind of collection
dict, Mapping, TypedDict      object; a dict
X | None                      as X, and not required: None where there is neither a value nor a default
X | Y                         anyOf; the first that fits
Annotated[X, "words"]         as X, with the words as description
Any, object, none             anything, as it is
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import Path, PurePath
from typing import Any, Literal
from uuid import UUID

from batchkit.errors import ConfigError

__all__ = ["Hint", "read_hint"]

_Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """What one type hint means."""

    #: JSON Schema of the value
    schema: dict[str, Any]
    #: JSON value to argument; raises ValueError
    convert: _Convert
    #: whether None will do
    optional: bool = False
    description: str = ""


def read_hint(hint: Any, place: str) -> Hint:
    """What a hint means. Raises ConfigError, naming the place."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in (Any, object, inspect.Parameter.empty) or isinstance(hint, typing.TypeVar):
        return Hint(schema={}, convert=_as_it_is)
    if origin is typing.Annotated:
        inner = read_hint(arguments[0], place)
        words = next((each for each in arguments[1:] if isinstance(each, str)), inner.description)
        return Hint(schema=inner.schema, convert=inner.convert, optional=inner.optional, description=words)
    if isinstance(hint, typing.NewType):
        return read_hint(hint.__supertype__, place)
    if origin in (typing.Union, types.UnionType):
        return _read_union(arguments, place)
    if origin is Literal:
        return _choice({each: each for each in arguments})
    if hint in _SIMPLE:
        return _SIMPLE[hint]
    kind = origin or hint
    if isinstance(kind, type):
        if issubclass(kind, Enum):
            return _read_enum(kind)
        if issubclass(kind, Mapping) or typing.is_typeddict(kind):
            return _read_mapping(kind, arguments, place)
        if kind in _COLLECTIONS:
            return _read_collection(kind, arguments, place)
    raise ConfigError(
        f"{place} is hinted {inspect.formatannotation(hint)}, which no cell of a table can become. "
        "Hint str, int, float, bool, date, Literal, list or dict, and convert it in the function."
    )


def _read_union(options: Sequence[Any], place: str) -> Hint:
    hints = [read_hint(each, place) for each in options if each is not types.NoneType]
    optional = len(hints) < len(options) or any(each.optional for each in hints)
    convert = hints[0].convert if len(hints) == 1 else _first_of([each.convert for each in hints])
    return Hint(
        schema=hints[0].schema if len(hints) == 1 else {"anyOf": [each.schema for each in hints]},
        convert=(lambda value: None if value is None else convert(value)) if optional else convert,
        optional=optional,
        description=next((each.description for each in hints if each.description), ""),
    )


def _first_of(converts: Sequence[_Convert]) -> _Convert:
    def convert(value: Any) -> Any:
        reasons = []
        for each in converts:
            try:
                return each(value)
            except ValueError as exc:
                reasons.append(str(exc))
        raise ValueError("; ".join(reasons))

    return convert


def _read_enum(kind: type[Enum]) -> Hint:
    """By value where all values are JSON's own, by name otherwise."""
    by_value = all(isinstance(member.value, str | int | float) for member in kind)
    return _choice({member.value if by_value else member.name: member for member in kind})


def _choice(choices: Mapping[Any, Any]) -> Hint:
    """One of the keys; the function receives what stands behind it."""
    kinds = {_JSON_TYPES.get(type(each), "") for each in choices}
    schema: dict[str, Any] = {"enum": list(choices)}
    if len(kinds) == 1 and "" not in kinds:
        schema["type"] = kinds.pop()

    def convert(value: Any) -> Any:
        for each, meant in choices.items():
            if value == each and isinstance(value, bool) == isinstance(each, bool):
                return meant
        raise ValueError(f"{value!r} is none of {', '.join(map(str, choices))}")

    return Hint(schema=schema, convert=convert)


def _read_mapping(kind: type, arguments: Sequence[Any], place: str) -> Hint:
    if len(arguments) < 2 or arguments[0] is not str:
        return Hint(schema={"type": "object"}, convert=_expect(dict))
    inner = read_hint(arguments[1], place)
    expect = _expect(dict)
    schema = {"type": "object"} | ({"additionalProperties": inner.schema} if inner.schema else {})
    return Hint(schema=schema, convert=lambda value: {key: inner.convert(each) for key, each in expect(value).items()})


def _read_collection(kind: type, arguments: Sequence[Any], place: str) -> Hint:
    make, expect = _COLLECTIONS[kind], _expect(list)
    if kind is tuple and arguments and arguments[-1] is not Ellipsis:
        members = [read_hint(each, place) for each in arguments]
        schema = {"type": "array", "minItems": len(members), "maxItems": len(members)}
        schema["prefixItems"] = [each.schema for each in members]

        def convert(value: Any) -> Any:
            if len(expect(value)) != len(members):
                raise ValueError(f"{len(members)} values are needed, not {len(value)}")
            return tuple(member.convert(each) for member, each in zip(members, value, strict=True))

        return Hint(schema=schema, convert=convert)
    inner = read_hint(arguments[0], place) if arguments else Hint(schema={}, convert=_as_it_is)
    schema = {"type": "array"} | ({"items": inner.schema} if inner.schema else {})
    return Hint(schema=schema, convert=lambda value: make([inner.convert(each) for each in expect(value)]))


def _as_it_is(value: Any) -> Any:
    return value


def _expect(kind: type) -> _Convert:
    """What refuses values of another JSON type; a bool is no number."""

    def convert(value: Any) -> Any:
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ValueError(f"{value!r} is not of type {_JSON_TYPES[kind]}")
        return value

    return convert


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is not of type number")
    return float(value)


def _from_text(parse: Callable[[str], Any], what: str) -> _Convert:
    def convert(value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not of type string")
        try:
            return parse(value.strip())
        except (ValueError, InvalidOperation):
            raise ValueError(f"{value!r} is not a {what}") from None

    return convert


_JSON_TYPES = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
}
_SIMPLE: dict[Any, Hint] = {
    str: Hint(schema={"type": "string"}, convert=_expect(str)),
    int: Hint(schema={"type": "integer"}, convert=_expect(int)),
    float: Hint(schema={"type": "number"}, convert=_number),
    bool: Hint(schema={"type": "boolean"}, convert=_expect(bool)),
    types.NoneType: Hint(schema={"type": "null"}, convert=_as_it_is, optional=True),
    Decimal: Hint(
        schema={"type": "string", "pattern": r"^\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*$"},
        convert=_from_text(Decimal, "decimal number"),
    ),
    date: Hint(schema={"type": "string", "format": "date"}, convert=_from_text(date.fromisoformat, "date")),
    datetime: Hint(
        schema={"type": "string", "format": "date-time"}, convert=_from_text(datetime.fromisoformat, "date with a time")
    ),
    time: Hint(schema={"type": "string", "format": "time"}, convert=_from_text(time.fromisoformat, "time")),
    UUID: Hint(schema={"type": "string", "format": "uuid"}, convert=_from_text(UUID, "UUID")),
    Path: Hint(schema={"type": "string"}, convert=_from_text(Path, "path")),
    PurePath: Hint(schema={"type": "string"}, convert=_from_text(PurePath, "path")),
}
_COLLECTIONS: dict[type, Callable[[list[Any]], Any]] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    Sequence: list,
    Collection: list,
    Iterable: list,
    Set: frozenset,
}
