"""Comparing names people wrote: headers, variables, profiles. Scores by rapidfuzz, 0 to 100."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from rapidfuzz import fuzz

__all__ = ["did_you_mean", "free_name", "likeness", "nearest", "normalized", "squeezed"]

#: below this, a name is not offered as what was meant
_CLOSE_ENOUGH = 65.0
#: what sharing all words of the shorter name is worth: "email" and "email_address"
_SUBSET = 0.9


def normalized(header: str) -> str:
    """The header as auto-mapping compares it: trimmed, lower case, each run of whitespace one underscore."""
    return re.sub(r"\s+", "_", header.strip()).lower()


def squeezed(name: str) -> str:
    """Its letters and digits alone, case folded: "Agent Profile-Name" and "agentProfileName" are the same."""
    return re.sub(r"[\W_]+", "", name).casefold()


def likeness(one: str, other: str) -> float:
    """How alike two names are, 0 to 100; 100 where only case, spaces and punctuation differ."""
    if squeezed(one) == squeezed(other) != "":
        return 100.0
    left, right = _words(one), _words(other)
    alike = max(fuzz.token_sort_ratio(left, right), _SUBSET * fuzz.token_set_ratio(left, right))
    return round(min(alike, 99.0), 1)


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like `name`, the first of equals; None where none is close enough to be meant."""
    scored = [(likeness(name, candidate), candidate) for candidate in candidates]
    best = max(scored, key=lambda pair: pair[0], default=(0.0, ""))
    return best[1] if best[0] >= _CLOSE_ENOUGH else None


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """ " Did you mean 'client'?" with its leading space, or nothing; goes at the end of a message."""
    match = nearest(name, candidates)
    return "" if match is None else f" Did you mean {match!r}?"


def free_name(name: str, taken: Collection[str]) -> str:
    """`name` itself, or where it is taken `batchkit_<name>`, then `batchkit_<name>_2` and so on."""
    if name not in taken:
        return name
    own = f"batchkit_{name}"
    return next(each for each in (own, *(f"{own}_{n}" for n in range(2, len(taken) + 3))) if each not in taken)


def _words(name: str) -> str:
    apart = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    return re.sub(r"[\W_]+", " ", apart).strip().casefold()
