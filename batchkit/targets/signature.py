"""Signature: a Python function's parameters as input variables, and a row's values as its arguments."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchkit.core.agent import InputVariable
from batchkit.errors import ConfigError
from batchkit.targets.hint import Hint, read_hint
from batchkit.targets.jsonable import json_value

__all__ = ["Signature"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The parameters of one function."""

    #: in the function's order
    inputs: tuple[InputVariable, ...]
    hints: Mapping[str, Hint]
    #: passed as None where there is no value, for want of a default
    nullable: frozenset[str]

    @classmethod
    def of(cls, function: Callable[..., Any], name: str) -> Signature:
        """Read a function's signature and hints. `*args` and `**kwargs` stay empty.

        Raises ConfigError for a function that cannot be called with named values, and for hints without a meaning here.
        """
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError) as exc:
            raise ConfigError(f"{name} does not tell its parameters ({exc}). Wrap it in a function that does.") from exc
        named = [each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
        if parameters and not named:
            raise ConfigError(f"{name} takes only *args and **kwargs. Wrap it in a function that names its inputs.")
        for each in named:
            if each.kind is each.POSITIONAL_ONLY:
                raise ConfigError(
                    f"{name}: {each.name} is positional-only, but inputs are passed by name. Remove the /."
                )
        annotations = _resolved(function, named, name)
        hints = {each.name: read_hint(annotations.get(each.name, Any), f"{name}: {each.name}") for each in named}
        without_default = {each.name for each in named if each.default is each.empty}
        return cls(
            inputs=tuple(
                InputVariable(
                    each.name,
                    schema=hints[each.name].schema,
                    required=each.name in without_default and not hints[each.name].optional,
                    default=None if each.name in without_default else _shown(each.default),
                    description=hints[each.name].description,
                )
                for each in named
            ),
            hints=hints,
            nullable=frozenset(each for each in without_default if hints[each].optional),
        )

    def arguments(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A row's values as keyword arguments. Raises ValueError, naming the input."""
        unknown = sorted(set(values) - set(self.hints))
        if unknown:
            raise ValueError(f"there is no parameter {', '.join(unknown)}")
        missing = [each.name for each in self.inputs if each.required and each.name not in values]
        if missing:
            raise ValueError(f"there is no value for {', '.join(missing)}")
        found: dict[str, Any] = {name: None for name in self.nullable if name not in values}
        for name, value in values.items():
            try:
                found[name] = self.hints[name].convert(value)
            except ValueError as exc:
                raise ValueError(f"{name}: {exc}") from exc
        return found


def _resolved(function: Callable[..., Any], named: Sequence[inspect.Parameter], name: str) -> dict[str, Any]:
    """The parameters' hints as types, not as text; the hint of what is returned is not looked at."""
    source = function.func if isinstance(function, functools.partial) else function
    if inspect.isclass(source):
        source = source.__init__
    elif not inspect.isroutine(source):
        source = type(source).__call__
    source = inspect.unwrap(source)
    written = types.SimpleNamespace(
        __annotations__={each.name: each.annotation for each in named if each.annotation is not each.empty}
    )
    try:
        return typing.get_type_hints(written, globalns=getattr(source, "__globals__", {}), include_extras=True)
    except (NameError, TypeError, SyntaxError, AttributeError) as exc:
        raise ConfigError(
            f"{name}: a type hint cannot be resolved ({exc}). Import the type where the function is, or leave it out."
        ) from exc


def _shown(default: Any) -> Any:
    """A default as it is shown; None where JSON has no form for it."""
    try:
        return json_value(default)
    except ValueError:
        return None
