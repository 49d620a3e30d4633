"""Sentences about what is wrong with a cell: what, which value, and what would do.

They are made for many cells at once, so everything that does not depend on the cell is prepared beforehand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from batchkit.core.cells import Kind
from batchkit.core.formats import EXAMPLES
from batchkit.core.names import squeezed
from batchkit.core.rules import Code, ColumnRules

__all__ = ["Teller", "about_cell", "about_profile", "about_time"]

#: characters of a cell shown in a message
_SHOWN = 60
#: characters of what jsonschema says
_QUOTED = 200
#: allowed values, or profiles, listed in a message
_LISTED = 10
_COMMA = re.compile(r"[+-]?[0-9.\s]*,[0-9.,\s]*[0-9]")
_EXPONENT = re.compile(r"[+-]?[0-9.]+[eE][+-]?[0-9]+")
_DIGITS = re.compile(r"[+-]?[0-9]+(?:\.0*)?")
_NO_NUMBER = frozenset(
    {"nan", "+nan", "-nan", "inf", "+inf", "-inf", "infinity", "-infinity", "na", "n/a", "none", "null"}
)
_WANTED = {
    Kind.INTEGER: "is not a whole number; use digits only, like 12.",
    Kind.NUMBER: "is not a number; use digits and a decimal point, like 12.5.",
    Kind.BOOLEAN: "is neither true nor false; use true or false, yes or no, 1 or 0.",
    Kind.NULL: "is not null; leave the cell empty.",
    Kind.ARRAY: 'is not a JSON array; write it like [1, 2] or ["a", "b"].',
    Kind.OBJECT: 'is not a JSON object; write it like {"key": "value"}.',
}
_BOUNDS = {
    Code.MINIMUM: "is too small; it must be at least",
    Code.MAXIMUM: "is too large; it must be at most",
    Code.EXCLUSIVE_MINIMUM: "is too small; it must be greater than",
    Code.EXCLUSIVE_MAXIMUM: "is too large; it must be less than",
    Code.MULTIPLE_OF: "is between the steps allowed; it must be a multiple of",
}

#: makes the sentence about a cell
Teller = Callable[[str], str]


def about_cell(code: Code, rules: ColumnRules) -> Teller:
    """What tells, of a cell under those rules, what `code` says: "'abc' is not a number; use ..."."""
    keyword = rules.schema.keywords.get(code)
    match code:
        case Code.REQUIRED:
            return partial(_about_missing, rules.schema.variable.name)
        case Code.TYPE:
            return _about_type(rules.schema.kinds)
        case Code.ENUM | Code.CONST:
            members = keyword if isinstance(keyword, list) else [keyword]
            return _about_choice([_as_cell(member) for member in members])
        case Code.MIN_LENGTH | Code.MAX_LENGTH:
            limit = f"it must have at {'least' if code is Code.MIN_LENGTH else 'most'} {keyword:,}."
            return lambda text: f"{_shown(text)} has {len(text):,} characters; {limit}"
        case Code.PATTERN:
            return _constant(f"does not match the pattern {keyword}; write it that way.")
        case Code.FORMAT:
            return _constant(f"is not {EXAMPLES.get(str(keyword), f'of the format {keyword!r}')}.")
        case Code.IMPRECISE:
            return _about_imprecise
        case Code.SCHEMA:
            return partial(_about_schema, rules)
    return _constant(f"{_BOUNDS[code]} {_as_cell(keyword)}.")


def about_profile(code: Code, names: Sequence[str]) -> Teller:
    """What tells, of a cell that should name one of the profiles and pools `names`, what `code` says."""
    if code is Code.AMBIGUOUS_PROFILE:
        return _constant("is the name of several agent profiles or pools; give them different names on the platform.")
    few = f" There are: {', '.join(map(repr, names))}." if 0 < len(names) <= _LISTED else ""
    wanted = f"is no agent profile or pool; use the exact name of one, or leave the cell empty.{few}"
    return _with_likely(wanted, names)


def about_time() -> Teller:
    """What tells, of a cell that should name a moment, that it does not."""
    return _constant("is no time; write it like 2026-03-01T09:00, with an offset or without, or leave the cell empty.")


def _about_missing(name: str, text: str) -> str:
    return f"the cell {'holds only spaces' if text else 'is empty'}, but input {name!r} is required; fill it in."


def _about_type(kinds: Sequence[Kind]) -> Teller:
    wanted: list[Kind] = [kind for kind in kinds if kind is not Kind.NULL] or [Kind.NULL]
    if len(wanted) > 1:
        return _constant(f"is of none of the types this input takes: {', '.join(wanted)}.")
    if wanted[0] in (Kind.INTEGER, Kind.NUMBER):
        return partial(_about_number, wanted[0])
    return _constant(_WANTED[wanted[0]])


def _about_number(kind: Kind, text: str) -> str:
    bare = text.strip()
    if bare.lower() in _NO_NUMBER:
        return f"{_shown(text)} stands for no number; leave the cell empty, or fill in a number."
    why = _WANTED[kind]
    if bare[0] in "+-.,0123456789":
        if _COMMA.fullmatch(bare):
            why = "has a comma; write a decimal point and no separator between thousands, like 1234.5."
        elif _DIGITS.fullmatch(bare) or (kind is Kind.NUMBER and _EXPONENT.fullmatch(bare)):
            why = "is too large for a number."
        elif _EXPONENT.fullmatch(bare):
            why = "is in scientific notation, in which digits may be lost; write out the whole number."
    return f"{_shown(text)} {why}"


def _about_choice(members: Sequence[str]) -> Teller:
    if len(members) == 1:
        return _with_likely(f"is not allowed here; it must be {members[0]!r}.", members)
    listed = ", ".join(map(repr, members[:_LISTED]))
    more = f" or one of {len(members) - _LISTED:,} more" if len(members) > _LISTED else ""
    return _with_likely(f"is not allowed here; use one of {listed}{more}.", members)


def _about_imprecise(text: str) -> str:
    sent = json.dumps(float(text))
    return f"{_shown(text)} would be sent as {sent}, the nearest number there is; use fewer digits if that matters."


def _about_schema(rules: ColumnRules, text: str) -> str:
    """With jsonschema's own words, and the place inside an array or object."""
    said = [(error.json_path.removeprefix("$").lstrip("."), error.message) for error in rules.objections(text)]
    sentences = [f"at {place}, {message}" if place else message for place, message in said]
    shortest = min(sentences, key=len, default="it is not valid")
    return f"{_shown(text)} does not fit the input's schema: {_cut(shortest, _QUOTED)}."


def _constant(said: str) -> Teller:
    return lambda text: f"{_shown(text)} {said}"


def _with_likely(said: str, candidates: Sequence[str]) -> Teller:
    """Adds what was meant where case, spaces or punctuation are all that differs."""
    likely = {squeezed(candidate): candidate for candidate in candidates}

    def tell(text: str) -> str:
        meant = likely.get(squeezed(text))
        return f"{_shown(text)} {said}" if meant is None else f"{_shown(text)} {said} Did you mean {meant!r}?"

    return tell


def _as_cell(value: Any) -> str:
    """A JSON value as one would write it into a cell."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _shown(text: str) -> str:
    return repr(_cut(text, _SHOWN))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}…"
