"""What can be wrong with a table, in words: each kind with its severity and its message."""

from __future__ import annotations

from collections import Counter

from batchkit.core.table import Problem, Severity

__all__ = ["LISTED", "Problems", "excerpt"]

#: problems of one kind that are listed one by one; the rest is counted in a last one
LISTED = 1000

_E, _W = Severity.ERROR, Severity.WARNING

#: the messages are filled with where, expected, actual
_KINDS: dict[str, tuple[Severity, str]] = {
    "empty_file": (_E, "There is nothing in it. A table needs a header row and at least one row below it."),
    "no_rows": (_E, "There is no row below the header, so there is nothing to run. Add at least one row."),
    "row_too_short": (
        _E,
        "{where} is too short: the header has {expected} columns, the row {actual}. It was left out; "
        "add the missing cells and read the file again.",
    ),
    "row_too_long": (
        _E,
        "{where} is too long: the header has {expected} columns, the row {actual}. It was left out; "
        "put cells that contain the delimiter in quotes, or remove the surplus.",
    ),
    "empty_header": (
        _E,
        "Column {expected} has no name; it is shown as {actual}. Name it in the header row, or remove the column.",
    ),
    "duplicate_header": (
        _E,
        "The name {expected} is in the header more than once; here it is shown as {actual}. Give each column a name "
        "of its own.",
    ),
    "nul_bytes": (
        _E,
        "{where} contains a NUL byte. The file may be damaged or in another encoding (UTF-16?); "
        "choose the encoding, or save it again as CSV UTF-8.",
    ),
    "undecodable_bytes": (
        _E,
        "{where} contains bytes that are no text in {expected}; they are shown as \ufffd. "
        "Choose another encoding, or save the file again as CSV UTF-8.",
    ),
    "undecodable_text": (
        _E,
        "{where} contains half a character (a lone surrogate) in column {expected}; it is shown as ?. "
        "Correct the cell.",
    ),
    "unclosed_quote": (
        _E,
        "{where} opens a quote that is never closed, at {actual}. It and everything below it was left out; "
        "close the quote, or double it if it belongs to the text.",
    ),
    "text_after_quote": (
        _E,
        "{where} has text after a closing quote: {actual}. Double the quotes that belong to the text, "
        'as in "say ""hi""", and put the whole cell in quotes.',
    ),
    "quote_after_space": (
        _W,
        "{where} has a space before an opening quote: {actual}. Such a quote is taken as text; "
        "remove the space if it was meant to enclose the cell.",
    ),
    "cell_with_many_lines": (
        _W,
        "{where} has a cell of {actual} lines: {expected}. If that is not meant, a quote is missing at its end.",
    ),
    "cell_with_rows": (
        _W,
        "{where} has a cell of {actual} lines that look like rows of the table: {expected}. "
        "If that is not meant, a quote is missing at its end.",
    ),
    "blank_line": (_W, "{where} is blank; it was left out."),
    "blank_lines_at_end": (
        _W,
        "{actual} blank lines at the end were left out. If they are meant as empty cells, "
        'write each as two quotes ("").',
    ),
    "sep_line": (_W, 'The first line, "sep={actual}", was taken as a note of the delimiter, not as the header.'),
    "float_with_missing": (
        _W,
        "Column {expected} holds floats and missing values, which turns whole numbers like ids into text such as "
        "{actual}. Read it as text or as Int64 if that is not meant.",
    ),
    "own_export": (
        _W,
        "This is an export of invalid rows, so the column {expected} was left out{actual}.",
    ),
}


class Problems:
    """The problems of one table, in the order found."""

    def __init__(self) -> None:
        self._found: list[Problem] = []
        self._counts: Counter[str] = Counter()

    def add(
        self, kind: str, *, row: int | None = None, line: int | None = None, expected: object = "", actual: object = ""
    ) -> None:
        """Note a problem; past `LISTED` of its kind it is only counted."""
        self._counts[kind] += 1
        if self._counts[kind] > LISTED:
            return
        severity, template = _KINDS[kind]
        where = "Somewhere a cell" if row is None else f"Row {row}"
        if line is not None and line != row:
            where += f" (line {line} of the file)"
        message = template.format(where=where, expected=expected, actual=actual)
        self._found.append(
            Problem(
                kind=kind,
                severity=severity,
                message=message,
                line=line,
                row=row,
                expected=str(expected),
                actual=str(actual),
            )
        )

    def count(self, kind: str, number: int) -> None:
        """Count `number` more of a kind without listing them."""
        self._counts[kind] += number

    def __contains__(self, kind: str) -> bool:
        return self._counts[kind] > 0

    def listed(self) -> tuple[Problem, ...]:
        """The problems by row, those of the table as a whole first, and one for each kind that was cut short."""
        found = sorted(self._found, key=lambda problem: problem.row or 0)
        listed = Counter(problem.kind for problem in found)
        for kind, count in self._counts.items():
            if rest := count - listed[kind]:
                severity, _ = _KINDS[kind]
                message = f"There are {rest:,} more problems of this kind ({kind}), {count:,} in all."
                found.append(Problem(kind=kind, severity=severity, message=message, actual=str(rest)))
        return tuple(found)


def excerpt(text: str, length: int = 40) -> str:
    """The beginning of `text` as it can be shown within a message, in quotes."""
    return repr(text if len(text) <= length else text[: length - 1] + "…")
