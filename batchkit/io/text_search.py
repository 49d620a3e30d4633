"""Looking for a text as a person types it: in capitals or not, on SQLite and PostgreSQL alike."""

from __future__ import annotations

import json
import re
import sqlite3

from sqlalchemy import JSON, ColumnElement, Connection, and_, cast, exists, func, or_

__all__ = ["add_functions", "any_cell_holds", "holds"]

#: what stands around the cells of a row that is kept as JSON, and may be all of a text
_AROUND = ("[", ",", "]")
_ASCII = re.compile(r"[\x00-\x7f]+")


def holds(connection: Connection, column: ColumnElement[str], part: str) -> ColumnElement[bool]:
    """Whether the column has that text in it, in capitals or not."""
    if connection.dialect.name == "postgresql":
        return column.icontains(part, autoescape=True)
    as_written = column.contains(part, autoescape=True)
    if not any(letter.lower() != letter.upper() for letter in part if not letter.isascii()):
        # SQLite's LIKE knows the capitals of ASCII, and asks no function of Python, which costs much more.
        return as_written
    lowered: ColumnElement[str] = func.batchkit_lower(column)
    likely = [column.contains(each, autoescape=True) for each in _ASCII.findall(part)]
    return or_(as_written, and_(*likely, lowered.contains(part.lower(), autoescape=True)))


def any_cell_holds(connection: Connection, cells: ColumnElement[str], part: str) -> ColumnElement[bool]:
    """Whether a cell of the row, which is kept as JSON, has that text in it, in capitals or not."""
    exact = _any_cell_holds(connection, cells, part)
    if part in _AROUND:
        return exact
    # To take the JSON apart costs much more. What is written there is the text, unless it begins within an escape.
    written = json.dumps(part, ensure_ascii=False)[1:-1]
    unclear = or_(holds(connection, cells, "\\" + written), cells.contains(r"\u00", autoescape=True))
    return holds(connection, cells, written) & or_(~unclear, exact)


def _any_cell_holds(connection: Connection, cells: ColumnElement[str], part: str) -> ColumnElement[bool]:
    if connection.dialect.name != "postgresql":
        found: ColumnElement[int] = func.batchkit_any_cell_holds(cells, part.lower())
        return found == 1
    # PostgreSQL reads JSON with NUL, but makes no text of it.
    readable = cast(func.replace(cells, r"\u0000", r"\ufffd"), JSON)
    cell: ColumnElement[str] = func.json_array_elements_text(readable).column_valued("cell")
    return exists().where(cell.icontains(part, autoescape=True))


def add_functions(connection: sqlite3.Connection) -> None:
    """Bring into a SQLite connection what the conditions ask for; SQLite's own `lower` knows only ASCII."""
    connection.create_function("batchkit_lower", 1, _lower, deterministic=True)
    connection.create_function("batchkit_any_cell_holds", 2, _any_of_cells_holds, deterministic=True)


def _lower(value: str | None) -> str | None:
    return None if value is None else value.lower()


def _any_of_cells_holds(cells: str, part: str) -> bool:
    return any(part in cell.lower() for cell in json.loads(cells))
