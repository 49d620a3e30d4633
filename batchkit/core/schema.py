"""What an input variable's JSON Schema asks of its cells, sorted by how it can be checked.

The simple keywords are checked for a whole column at once (`batchkit.core.rules`); whatever else the schema says is
left to jsonschema, per distinct value. Nothing is ever fetched: a `$ref` must point into the schema itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingLike
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft3Validator, Draft4Validator, Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from batchkit.core.agent import InputVariable
from batchkit.core.cells import Json, Kind
from batchkit.errors import ConfigError

__all__ = ["ValueSchema", "read_schema"]

#: what `batchkit.core.rules` checks column-wise
_SIMPLE = frozenset(
    {
        "const",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "maxLength",
        "maximum",
        "minLength",
        "minimum",
        "multipleOf",
        "pattern",
    }
)
#: what may stand beside `anyOf: [..., {"type": "null"}]` without meaning anything for a value
_ANNOTATIONS = frozenset({"default", "description", "examples", "title"})
_KIND_OF = {str: Kind.STRING, bool: Kind.BOOLEAN, int: Kind.INTEGER, float: Kind.NUMBER, list: Kind.ARRAY}
#: keywords that would say something of a null too
_ABOUT_NULL = frozenset({"$ref", "allOf", "anyOf", "const", "enum", "if", "not", "oneOf"})
#: how far types are looked for along references
_DEEPEST = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ValueSchema:
    """A schema ready to check cells with."""

    variable: InputVariable
    #: the types a cell is tried under, in this order
    kinds: tuple[Kind, ...]
    #: the schema, an optional type written with two types
    keywords: MappingLike[str, Any]
    #: those of its keywords that are checked column-wise
    simple: MappingLike[str, Any]
    #: everything
    whole: Validator
    #: what is not simple; None: nothing
    rest: Validator | None
    #: checks the formats of its draft
    formats: FormatChecker

    def errors(self, value: Json, validator: Validator) -> list[ValidationError]:
        """What `validator` says against `value`. Raises ConfigError where the schema cannot be followed."""
        try:
            return list(validator.iter_errors(value))
        except (Unresolvable, RecursionError, re.error) as error:
            raise _unusable(self.variable, str(error) or type(error).__name__) from error


def read_schema(variable: InputVariable) -> ValueSchema:
    """Return the variable's schema, sorted.

    Without a `type`, the types are those of its `enum` or `const` members or of its `anyOf`, `oneOf`, `allOf` or local
    `$ref`; a schema that names none is for text. Raises ConfigError for what is not a JSON Schema.
    """
    schema = _without_null_branch(dict(variable.schema))
    draft = validator_for(schema, default=Draft202012Validator)
    fault = best_match(draft(draft.META_SCHEMA).iter_errors(schema))
    if fault is not None:
        raise _unusable(variable, f"at {fault.json_path}, {fault.message}")
    simple_here = frozenset() if draft in (Draft3Validator, Draft4Validator) else _SIMPLE
    others = {key: value for key, value in schema.items() if key not in simple_here and key != "type"}
    return ValueSchema(
        variable=variable,
        kinds=_in_order(_kinds(schema, schema, 0) or {Kind.STRING}),
        keywords=schema,
        simple={key: value for key, value in schema.items() if key in simple_here},
        whole=_validator(draft, schema),
        rest=_validator(draft, others) if draft.VALIDATORS.keys() & others.keys() else None,
        formats=draft.FORMAT_CHECKER,
    )


def _validator(draft: type[Validator], schema: dict[str, Any]) -> Validator:
    return draft(schema, registry=Registry(), format_checker=draft.FORMAT_CHECKER)


def _unusable(variable: InputVariable, reason: str) -> ConfigError:
    return ConfigError(
        f"The schema of input {variable.name!r} cannot be used: {reason[:300]}. Its values cannot be checked; "
        "correct the schema in the agent's workflow."
    )


def _without_null_branch(schema: dict[str, Any]) -> dict[str, Any]:
    """`anyOf: [X, {"type": "null"}]`, as for `int | None`, written as X with two types: the same, and simple."""
    branches = schema.get("anyOf")
    around = {key: value for key, value in schema.items() if key != "anyOf"}
    if not isinstance(branches, list) or len(branches) != 2 or not around.keys() <= _ANNOTATIONS:
        return schema
    others = [branch for branch in branches if branch != {"type": "null"}]
    if len(others) != 1 or not isinstance(others[0], dict):
        return schema
    kind = others[0].get("type")
    if not isinstance(kind, str) or others[0].keys() & _ABOUT_NULL:
        return schema
    return {**around, **others[0], "type": [kind, "null"]}


def _in_order(kinds: set[Kind]) -> tuple[Kind, ...]:
    """In the order of `Kind`; a number reads integers too, as exactly."""
    wanted = kinds - {Kind.INTEGER} if Kind.NUMBER in kinds else kinds
    return tuple(kind for kind in Kind if kind in wanted)


def _kinds(schema: Any, root: dict[str, Any], depth: int) -> set[Kind]:
    """The JSON types a valid schema names, directly or through what it is made of; empty: none."""
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return set()
    if "type" in schema:
        names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        return {Kind(name) for name in names if isinstance(name, str) and name in set(Kind)}
    if "enum" in schema or "const" in schema:
        members = schema["enum"] if "enum" in schema else [schema["const"]]
        return {_kind_of(member) for member in members}
    if str(schema.get("$ref", "")).startswith("#"):
        return _kinds(_pointed(root, schema["$ref"]), root, depth + 1)
    for key in ("anyOf", "oneOf"):
        branches = [_kinds(branch, root, depth + 1) or {Kind.STRING} for branch in schema.get(key, [])]
        if branches:
            return set().union(*branches)
    return next((kinds for part in schema.get("allOf", []) if (kinds := _kinds(part, root, depth + 1))), set())


def _kind_of(value: Json) -> Kind:
    if value is None:
        return Kind.NULL
    return _KIND_OF.get(type(value), Kind.OBJECT)


def _pointed(root: dict[str, Any], reference: str) -> Any:
    """What a local JSON Pointer names, None for nothing."""
    place: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        place = place.get(key) if isinstance(place, dict) else None
    return place
