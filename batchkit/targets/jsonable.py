"""What a Python function returned, as a JSON value."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd

__all__ = ["json_value"]

#: Python refuses to write longer integers as text
_INTEGER_BITS = 13_000


def json_value(value: Any) -> Any:
    """`value` in terms of None, bool, int, float, str, list and dict.

    NaN, NaT and NA become None, an infinite number its name. Dates and times become ISO text, a timedelta its seconds,
    a Decimal, UUID or path its text, an Enum its value; a DataFrame its records, a Series a list or, with an index of
    its own, a dict; dataclasses, named tuples and pydantic models dicts; other mappings dicts, collections lists.
    Raises ValueError, naming the place, for anything else and for what contains itself.
    """
    try:
        return _convert(value, "the result")
    except RecursionError:
        raise ValueError("the result contains itself, or is nested too deeply for JSON") from None


def _convert(value: Any, place: str) -> Any:
    if value is None or type(value) in (bool, str):
        return value
    if value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, Enum):
        return _convert(value.value, place)
    if isinstance(value, float):
        return _number(float(value))
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        if value.bit_length() > _INTEGER_BITS:
            raise ValueError(f"{place} is an integer of more than 4,000 digits. Return it as text.")
        return int(value)
    for kinds, form in _SCALARS:
        if isinstance(value, kinds):
            return form(value)
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return _convert(value.item(), place)
    members = _members(value)
    if isinstance(members, Mapping):
        return {_key(key, place): _convert(each, f"{place}[{key!r}]") for key, each in members.items()}
    if members is not None:
        return [_convert(each, f"{place}[{index}]") for index, each in enumerate(members)]
    raise ValueError(
        f"{place} is of type {type(value).__qualname__}, which JSON cannot hold. Return text, numbers, lists or dicts."
    )


def _members(value: Any) -> Mapping[Any, Any] | Collection[Any] | None:
    """What a value is made of: a mapping, a collection, or None for what cannot be taken apart."""
    if isinstance(value, pd.DataFrame):
        return value.to_dict("records")
    if isinstance(value, pd.Series):
        own_index = not isinstance(value.index, pd.RangeIndex)
        return value.to_dict() if own_index else value.tolist()
    if isinstance(value, np.ndarray):
        return list(value)
    if isinstance(value, pd.Index | pd.api.extensions.ExtensionArray):
        return list(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if hasattr(value, "model_dump") and hasattr(type(value), "model_fields"):
        dumped: Mapping[Any, Any] = value.model_dump(mode="json")
        return dumped
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        named: Mapping[Any, Any] = value._asdict()
        return named
    if isinstance(value, Mapping):
        return value
    if isinstance(value, Collection) and not isinstance(value, bytes | bytearray | memoryview):
        return value
    return None


def _key(key: Any, place: str) -> str:
    if isinstance(key, str) and not isinstance(key, Enum):
        return str(key)
    plain = _convert(key, f"a key of {place}")
    if isinstance(plain, list | dict):
        raise ValueError(f"{place} has the key {key!r}, and JSON has only text as keys. Make the keys text.")
    return plain if isinstance(plain, str) else json.dumps(plain)


def _number(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")


_SCALARS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    ((datetime, date, time), lambda value: value.isoformat()),
    (timedelta, lambda value: value.total_seconds()),
    ((Decimal, UUID, PurePath), str),
    (np.datetime64, lambda value: None if np.isnat(value) else str(value)),
    (np.timedelta64, lambda value: None if np.isnat(value) else value / np.timedelta64(1, "s")),
    (pd.Period, str),
)
