"""The header of a table: every column with a name of its own, whatever the file says, or a refusal."""

from __future__ import annotations

from collections.abc import Sequence

from batchkit.errors import TableError
from batchkit.io.problems import Problems, excerpt

__all__ = ["MAX_NAME", "name_columns", "refuse_long_names"]

#: characters; what is longer is no name, and would be compared with every input letter by letter
MAX_NAME = 10_000


def refuse_long_names(names: Sequence[str]) -> None:
    """Raise TableError if one of them is longer than `MAX_NAME`, before anything is done with it."""
    for position, name in enumerate(names, start=1):
        if len(name) > MAX_NAME:
            raise TableError(
                f"The name of column {position}, {excerpt(name)}, is {len(name):,} characters long, more than "
                f"{MAX_NAME:,}. Is a quote in the header never closed, or is this no table?"
            )


def name_columns(names: Sequence[str], problems: Problems, *, row: int | None, line: int | None) -> list[str]:
    """The names to show: as they are, except for empty ones ("column 3") and repeated ones ("name (2)").

    Each exception is added to `problems` as an error of the header. Spaces around a name are kept. NUL, an error
    already, is shown as ␀: names go where text with NUL cannot.
    """
    names = [name.replace("\0", "␀") for name in names]
    taken = set(names)
    seen: set[str] = set()
    numbers: dict[str, int] = {}
    shown: list[str] = []
    for position, name in enumerate(names, start=1):
        final = name
        if not name.strip():
            final = f"column {position}"
            if final in taken:
                final = _numbered(final, taken, numbers)
            problems.add("empty_header", row=row, line=line, expected=position, actual=excerpt(final))
        elif name in seen:
            final = _numbered(name, taken, numbers)
            problems.add("duplicate_header", row=row, line=line, expected=excerpt(name), actual=excerpt(final))
        seen.add(name)
        taken.add(final)
        shown.append(final)
    return shown


def _numbered(name: str, taken: set[str], numbers: dict[str, int]) -> str:
    """`name` with the first number from 2 that makes it a new one; linear however often it comes."""
    number = numbers.get(name, 1)
    while True:
        number += 1
        if f"{name} ({number})" not in taken:
            numbers[name] = number
            return f"{name} ({number})"
