"""Reading against an independent reader: Python's csv module, on generated tables, texts and bytes."""

from __future__ import annotations

import csv
import io

import pandas as pd
from hypothesis import example, given, settings
from hypothesis import strategies as st
from long_form import examples

from batchkit.core.table import Severity, Table
from batchkit.errors import TableError
from batchkit.io.problems import LISTED
from batchkit.io.tables import read_csv

RAGGED = ("row_too_short", "row_too_long")

nasty = st.text(alphabet=list("a1 ,;|\t\"'\n\r=+-\u00e9\u20ac\u4e2d\U0001f600\u2028\x0b\x0c\x1c\x85\ufeff"), max_size=6)
cells = st.one_of(
    nasty,
    st.sampled_from(["", "NA", "null", "007", "1e5", "+49 30", "2026-01-02", " x ", '"', '""', "\n\n", "\r", "True"]),
    st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    """A header of unique names, and rows that fit it."""
    names = draw(
        st.lists(
            cells.filter(lambda name: name.strip() and not name.startswith("\ufeff")),
            min_size=1,
            max_size=4,
            unique=True,
        )
    )
    row = st.lists(cells, min_size=len(names), max_size=len(names))
    return names, draw(st.lists(row, min_size=1, max_size=8))


def written(names: list[str], rows: list[list[str]], delimiter: str, newline: str, quoting: int) -> str:
    """The table as csv.writer puts it."""
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator=newline, quoting=quoting).writerows([names, *rows])
    return out.getvalue()


def records(table: Table) -> list[list[str]]:
    """The cells, row by row."""
    return [list(row) for row in zip(*(column.to_pylist() for column in table.data.columns), strict=True)]


def unexpected(table: Table) -> list[str]:
    """The kinds of its problems, but for cells that happen to look like rows."""
    return [problem.kind for problem in table.problems if problem.kind != "cell_with_rows"]


def suspected(table: Table) -> list[tuple[int | None, str]]:
    """The rows with cells that look like rows."""
    return [(problem.row, problem.actual) for problem in table.problems if problem.kind == "cell_with_rows"]


# csv.writer leaves a lone CR unquoted unless it is part of the line terminator
dialects = st.one_of(
    st.tuples(st.sampled_from(",;\t|"), st.just("\r\n"), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
    st.tuples(st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r"]), st.just(csv.QUOTE_ALL)),
)


@given(tables(), dialects, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gb18030"]))
@settings(deadline=None, max_examples=examples(400))
def test_every_cell_comes_back_from_what_csv_writer_wrote(
    table: tuple[list[str], list[list[str]]], dialect: tuple[str, str, int], encoding: str
) -> None:
    names, rows = table
    content = written(names, rows, *dialect).encode(encoding)
    result = read_csv(content, encoding=encoding, delimiter=dialect[0])
    assert result.columns == tuple(names)
    assert records(result) == rows
    assert unexpected(result) == []
    assert result.frame.to_numpy().tolist() == rows


@given(tables(), dialects)
@settings(deadline=None, max_examples=examples(300))
def test_both_ways_of_reading_give_the_same_cells_and_places(
    table: tuple[list[str], list[list[str]]], dialect: tuple[str, str, int]
) -> None:
    names, rows = table
    content = written(names, rows, *dialect)
    plain = read_csv(content.encode(), delimiter=dialect[0])
    # the note of the delimiter sends the same content through the careful reading, a line further down
    noted = read_csv(f"sep={dialect[0]}{dialect[1]}{content}".encode())
    assert unexpected(noted) == ["sep_line"]
    assert suspected(noted) == suspected(plain)
    assert noted.data.equals(plain.data)
    assert noted.dialect is not None
    assert plain.dialect is not None
    assert noted.dialect.newline == plain.dialect.newline
    for position in range(len(plain)):
        assert noted.row_number(position) == plain.row_number(position) == position + 2
        assert noted.line_number(position) == (plain.line_number(position) or 0) + 1
    assert noted.fingerprint == plain.fingerprint


texts = st.text(alphabet=list('ab,"\n\r \u00e9;\0'), max_size=60)


@given(texts)
@example('a,b\r\n"1\n2",3\r\n\r\n4\r\n5,6\r\n\r\n')
@example("a\n\n1\n\n\n2\n\n")
@example('a\n5" pipe, 6" pipe\n')
@settings(deadline=None, max_examples=examples(500))
def test_well_formed_text_is_counted_and_placed_as_csv_reader_does(text: str) -> None:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    lines: list[tuple[int, list[str]]] = []
    before = 0
    try:
        for cells_of_row in reader:
            lines.append((before + 1, cells_of_row))
            before = reader.line_num
    except csv.Error:
        read_csv(text.encode(), encoding="utf-8", delimiter=",")  # it may say what it likes, but does not raise
        return
    while lines and not lines[-1][1]:
        lines.pop()
    numbered = [(row, line, found) for row, (line, found) in enumerate(lines, start=1)]
    while numbered and not numbered[0][2]:
        numbered.pop(0)
    result = read_csv(text.encode(), encoding="utf-8", delimiter=",")
    if not numbered or not text.strip():
        assert [problem.kind for problem in result.errors] == ["empty_file"]
        return
    width = len(numbered[0][2])
    body = [(row, line, found or [""] * (width == 1)) for row, line, found in numbered[1:]]
    fitting = [(row, line, found) for row, line, found in body if len(found) == width]
    assert len(result.columns) == width
    assert records(result) == [found for _, _, found in fitting]
    assert [result.row_number(i) for i in range(len(result))] == [row for row, _, _ in fitting]
    assert [result.line_number(i) for i in range(len(result))] == [line for _, line, _ in fitting]
    ragged = [(p.row, p.line, int(p.actual)) for p in result.problems if p.kind in RAGGED]
    assert ragged == [(row, line, len(found)) for row, line, found in body if found and len(found) != width]
    blank = [
        problem.row for problem in result.problems if problem.kind == "blank_line" and problem.row > numbered[0][0]
    ]
    assert blank == [row for row, _, found in body if not found]


@given(st.one_of(st.binary(max_size=200), texts.map(str.encode), texts.map(lambda text: text.encode("utf-16"))))
@settings(deadline=None, max_examples=examples(500))
def test_any_bytes_are_a_table_with_problems_or_refused(content: bytes) -> None:
    try:
        table = read_csv(content)
    except TableError:
        return
    assert len(set(table.columns)) == len(table.columns)
    assert all(table.columns)
    assert table.frame.shape == (len(table), len(table.columns))
    assert table.data.num_rows == 0 or table.data.validate(full=True) is None
    assert not table.frame.isna().any(axis=None)
    assert len(table) or not table.ok
    rows = [table.row_number(position) for position in range(len(table))]
    assert rows == sorted(set(rows))
    for problem in table.problems:
        assert problem.message
        assert "{" not in problem.message.replace(problem.actual, "").replace(problem.expected, "")


@given(
    texts.map(str.encode), st.sampled_from(["ascii", "cp1252", "utf-16", "utf-16-be", "shift_jis", "utf-7", "utf-32"])
)
@settings(deadline=None, max_examples=examples(300))
def test_any_bytes_in_any_given_encoding_are_a_table_or_refused(content: bytes, encoding: str) -> None:
    try:
        table = read_csv(content, encoding=encoding)
    except TableError:
        return
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        assert "undecodable_bytes" in {problem.kind for problem in table.problems} or "empty_file" in {
            problem.kind for problem in table.problems
        }


@given(
    st.lists(st.lists(st.one_of(st.none(), st.integers(), st.booleans(), nasty, st.floats()), min_size=2, max_size=2))
)
@settings(deadline=None, max_examples=examples(200))
def test_a_frame_of_objects_becomes_the_text_of_each_cell(rows: list[list[object]]) -> None:
    frame = pd.DataFrame(rows, columns=["x", "y"], dtype=object)
    table = read_csv(frame)
    expected = [["" if cell is None or cell != cell else str(cell) for cell in row] for row in rows]
    assert records(table) == expected
    assert {problem.severity for problem in table.problems} <= {Severity.ERROR}


@given(st.integers(LISTED - 2, LISTED + 3))
@settings(deadline=None, max_examples=examples(6))
def test_ragged_rows_beyond_those_listed_are_counted(count: int) -> None:
    table = read_csv(b"a,b\n1,2\n" + b"x\n" * count)
    listed = [problem for problem in table.problems if problem.row is not None]
    rest = [int(problem.actual) for problem in table.problems if problem.row is None]
    assert len(table) == 1
    assert len(listed) == min(count, LISTED)
    assert sum(rest) == count - len(listed)
    assert not table.ok
