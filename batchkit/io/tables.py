"""Reading a table: from a file, bytes, or a DataFrame to text under a header.

A file goes through in this order: its bytes become UTF-8 (`dialect`), every byte is looked at once (`survey`), and
what is beyond doubt goes straight to the fast reader. Anything odd is first read carefully (`careful`), which
names every problem and passes on the sound records.
"""

from __future__ import annotations

import os
import re
import stat
from codecs import BOM_UTF8
from dataclasses import dataclass
from typing import IO, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from batchkit.core.table import ERRORS_COLUMN, Dialect, Table
from batchkit.errors import TableError
from batchkit.io.careful import Place, read_carefully
from batchkit.io.dialect import Text, decode, find_delimiter, separator_line
from batchkit.io.exports import restore
from batchkit.io.foreign import foreign_bytes, foreign_text
from batchkit.io.frames import table_of_frame
from batchkit.io.grammar import Grammar, count_lines, end_of_text, read_record
from batchkit.io.header import name_columns, refuse_long_names
from batchkit.io.problems import Problems
from batchkit.io.survey import Survey, survey
from batchkit.io.swallowed import note_swallowed, swallowed_lines

__all__ = ["MAX_COLUMNS", "Source", "read_csv"]

File: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | IO[str]
Source: TypeAlias = File | pd.DataFrame

#: a header of more columns is taken for a mistake
MAX_COLUMNS = 100_000

_BLOCK = 1 << 23
_MAX_BLOCK = (1 << 31) - 1

_ANYTHING = re.compile(rb"\S")
_TAB_NAMES = ("tab", "\\t")


def read_csv(source: Source, *, encoding: str | None = None, delimiter: str | None = None) -> Table:
    """The rows of a CSV or DataFrame as text, with everything the user should know about them in `problems`.

    source: a path, the content as bytes, an open file (read from where it stands), or a DataFrame.
    encoding, delimiter: to override what is found out; "tab" is a delimiter as well. A header row is required.
    No cell of a file is converted or trimmed. In a DataFrame missing cells become empty, dates and times ISO text
    (2026-01-31 where a column has only days, else 2026-01-31T12:30:00, with its offset if any), all else `str()`.
    Raises TableError if there is nothing to read: no such file, an unknown encoding, a file that is no text or
    that is something else, such as an HTML page, JSON or an image, or a header beyond all bounds.
    """
    if delimiter is not None:
        delimiter = _delimiter(delimiter)
    if isinstance(source, pd.DataFrame):
        if encoding is not None or delimiter is not None:
            raise TableError("A DataFrame has neither encoding nor delimiter. Leave them out.")
        return table_of_frame(source)
    content, name = _content(source)
    if isinstance(content, str):
        if encoding is not None:
            raise TableError("The file is open as text, so it is decoded already. Open it in binary mode ('rb').")
        text = decode(content.encode("utf-8", "surrogatepass"), "utf-8")
    else:
        _refuse(foreign_bytes(content), name)
        text = decode(content, encoding)
    _refuse(foreign_text(text.data, text.start), name)
    return _table(text, delimiter, name)


def _delimiter(given: object) -> str:
    """The delimiter someone gave, as a character."""
    if isinstance(given, str):
        if given.lower() in _TAB_NAMES:
            return "\t"
        if len(given) == 1 and given.isascii() and given not in '"\r\n\0':
            return given
    raise TableError(f'{given!r} cannot be a delimiter. Use one ASCII character, such as "," or ";", or "tab".')


def _refuse(what: str | None, name: str) -> None:
    if what is not None:
        raise TableError(f"{name} is {what}, not a CSV. Save the table as CSV UTF-8 and read that.")


def _content(source: File) -> tuple[bytes | str, str]:
    """What there is to read, and a name for it."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), "bytes"
    if isinstance(source, (str, os.PathLike)):
        return _file_content(os.path.expanduser(os.fspath(source)))
    if not hasattr(source, "read"):
        raise TableError(
            f"A table cannot be read from {type(source).__name__}. Give a path, bytes, an open file or a DataFrame."
        )
    name = getattr(source, "name", None)
    name = os.path.basename(name) if isinstance(name, str) else "file"
    try:
        content = source.read()
    except UnicodeDecodeError as exc:
        raise TableError(f"{name} is open as text in the wrong encoding. Open it in binary mode ('rb').") from exc
    except (OSError, ValueError) as exc:
        raise TableError(f"{name} cannot be read: {exc}.") from exc
    if not isinstance(content, (str, bytes)):
        raise TableError(f"{name}.read() gave {type(content).__name__} where bytes or str were expected.")
    return content, name


def _file_content(path: str) -> tuple[bytes, str]:
    """A file's bytes. Read, not mapped into memory: a map dies with the process when the file is cut short."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise TableError(f"{path!r} is a folder. Give the name of a file in it.")
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise TableError(f"{path!r} is a device, not a file.")
        with open(path, "rb") as file:
            return file.read(), os.path.basename(path)
    except FileNotFoundError as exc:
        if "\n" in path:
            raise TableError("This is the text of a CSV, not a path. Give it as bytes: text.encode().") from exc
        raise TableError(
            f"There is no file {path!r} (looked in {os.getcwd()}). Check the name and the folder."
        ) from exc
    except PermissionError as exc:
        raise TableError(
            f"{path!r} cannot be read: permission denied. Ask its owner to let you read it, or for a copy."
        ) from exc
    except (OSError, ValueError) as exc:
        raise TableError(f"{path[:200]!r} cannot be read: {getattr(exc, 'strerror', None) or exc}.") from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class _Body:
    """The records that fit the header, with columns named by their numbers."""

    data: pa.Table
    newline: str = "\n"
    rows: np.ndarray | None = None
    lines: np.ndarray | None = None


def _table(text: Text, delimiter: str | None, name: str) -> Table:
    problems = Problems()
    start, line = text.start, 1
    noted = separator_line(text.data, start)
    if noted:
        problems.add("sep_line", line=1, actual=noted[1].decode())
        start, line = noted.end(), 2
    # of a file of blank lines there is one thing to say
    end = end_of_text(text.data, start) if _ANYTHING.search(text.data, start) else start
    first = start
    while first < end and text.data[first] in b"\r\n":
        first += 2 if text.data[first : first + 2] == b"\r\n" else 1
    blank = count_lines(text.data, start, first)
    for number in range(blank):
        problems.add("blank_line", row=1 + number, line=line + number)
    guessed = False
    if delimiter is None and noted:
        delimiter = noted[1].decode()
    elif delimiter is None:
        delimiter, guessed = find_delimiter(text.data, first, end)
    header = Place(offset=first, row=1 + blank, line=line + blank)
    names, body = _read(text, header, end, delimiter, problems)
    dialect = Dialect(
        encoding=text.encoding,
        delimiter=delimiter,
        newline=body.newline,
        encoding_guessed=text.guessed,
        delimiter_guessed=guessed,
    )
    return Table(
        data=_named(body.data, names, header, problems),
        dialect=dialect,
        problems=problems.listed(),
        source=name,
        row_numbers=body.rows,
        line_numbers=body.lines,
    )


def _read(text: Text, header: Place, end: int, delimiter: str, problems: Problems) -> tuple[list[str], _Body]:
    """The header as it stands, and the records."""
    if header.offset >= end:
        problems.add("empty_file")
        return [], _Body(data=pa.table({}))
    record = read_record(text.data, header.offset, end, Grammar.of(delimiter), most=MAX_COLUMNS)
    columns = len(record.cells)
    if columns > MAX_COLUMNS:
        raise TableError(f"The header has more than {MAX_COLUMNS:,} columns. Is the delimiter right?")
    names = [cell.decode("utf-8") for cell in record.cells]
    refuse_long_names(names)
    body = None
    mark = delimiter.encode()
    odd = any(swallowed_lines(cell, position, columns, mark) for position, cell in enumerate(record.cells))
    if header == Place(offset=text.start, row=1, line=1) and not text.undecodable and not odd:
        surveyed = survey(text.data, header.offset, end, delimiter)
        if surveyed is not None:
            body = _fast(text.data, record.end, end, columns, delimiter, surveyed)
        if body is not None and surveyed is not None and surveyed.lines is not None:
            note_swallowed(body.data, surveyed.lines, delimiter, problems)
    if body is None:
        body = _careful(text, header, end, columns, delimiter, problems)
    after = count_lines(text.data, end, len(text.data)) - 1
    if columns == 1 and after > 0:
        problems.add("blank_lines_at_end", actual=after)
    if record.end == end:
        problems.add("no_rows")
    return names, body


def _fast(data: bytes, start: int, end: int, columns: int, delimiter: str, known: Survey) -> _Body | None:
    """The records of a file beyond doubt, or None: not all of them fit the header."""
    content = pa.py_buffer(data).slice(start, end - start)
    try:
        table = _parse(content, columns, delimiter, quoted=known.quoted, multiline=known.lines is not None)
    except pa.ArrowInvalid:
        return None
    if table.num_rows != known.records:
        return None
    return _Body(data=table, newline=known.newline, lines=_unless(known.lines, _rows_from_two(table.num_rows)))


def _careful(text: Text, header: Place, end: int, columns: int, delimiter: str, problems: Problems) -> _Body:
    sound = read_carefully(text, header, end, delimiter, problems)
    try:
        table = _parse(pa.py_buffer(sound.data), columns, delimiter, quoted=True, multiline=True)
    except pa.ArrowInvalid as exc:
        raise TableError(f"The records cannot be made a table: {exc}. Is a single one larger than 2 GB?") from exc
    return _Body(
        data=table,
        newline=sound.newline,
        rows=_unless(sound.rows, _rows_from_two(table.num_rows)),
        lines=_unless(sound.lines, sound.rows),
    )


def _parse(content: pa.Buffer, columns: int, delimiter: str, *, quoted: bool, multiline: bool) -> pa.Table:
    """All cells as text under the column names "0", "1", ... Raises ArrowInvalid if the records do not fit."""
    names = [str(position) for position in range(columns)]
    if not content.size:
        return pa.table({name: pa.array([], pa.large_string()) for name in names})
    if bytes(memoryview(content)[:3]) == BOM_UTF8:
        # arrow drops one as a mark; here it is the text of the first cell
        content = pa.py_buffer(BOM_UTF8 + content.to_pybytes())
    parse = pa_csv.ParseOptions(
        delimiter=delimiter,
        quote_char='"' if quoted else False,
        newlines_in_values=multiline,
        ignore_empty_lines=False,
    )
    convert = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.large_string()), strings_can_be_null=False, check_utf8=False
    )
    block = _BLOCK
    while True:
        read = pa_csv.ReadOptions(column_names=names, block_size=_block_size(content, block) if multiline else block)
        try:
            return pa_csv.read_csv(pa.BufferReader(content), read, parse, convert)  # type: ignore[arg-type]
        except pa.ArrowInvalid as exc:
            # a record longer than a block
            if "straddl" not in str(exc) or block == _MAX_BLOCK:
                raise
            block = min(block * 8, _MAX_BLOCK)


def _block_size(content: pa.Buffer, wanted: int) -> int:
    """A size near the wanted one with no CR at the end of a block.

    Arrow takes the LF at the beginning of the next for the rest of a line end, and drops it even within quotes.
    """
    view = np.frombuffer(memoryview(content), np.uint8)
    for size in range(wanted, wanted - min(wanted, 64), -1):
        if not (view[size - 1 : -1 : size] == ord("\r")).any():
            return size
    return min(len(view), _MAX_BLOCK)


def _named(data: pa.Table, names: list[str], header: Place, problems: Problems) -> pa.Table:
    """The table under its header; one of our own exports becomes again what was exported."""
    if ERRORS_COLUMN in names:
        kept = [position for position, name in enumerate(names) if name != ERRORS_COLUMN]
        data = data.select(kept)
        names = [restore(names[position]) for position in kept]
        columns = [_restored(column) for column in data.columns]
        data = pa.Table.from_arrays(columns, names=data.column_names)
        problems.add("own_export", expected=ERRORS_COLUMN, actual=" and the quotes it put before formulas were removed")
    return data.rename_columns(name_columns(names, problems, row=header.row, line=header.line))


def _restored(column: pa.ChunkedArray[pa.LargeStringScalar]) -> pa.ChunkedArray[pa.LargeStringScalar]:
    quoted = pc.starts_with(column, "'")
    if not pc.any(quoted).as_py():
        return column
    cells = [restore(str(cell)) for cell in column.to_pylist()]
    return pa.chunked_array([pa.array(cells, pa.large_string())])


def _rows_from_two(count: int) -> np.ndarray:
    return np.arange(2, count + 2, dtype=np.int64)


def _unless(numbers: np.ndarray | None, usual: np.ndarray) -> np.ndarray | None:
    return None if numbers is None or np.array_equal(numbers, usual) else numbers
