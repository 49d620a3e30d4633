"""Files that are often taken for CSV and are something else, told by how they begin."""

from __future__ import annotations

import re

__all__ = ["foreign_bytes", "foreign_text"]

_MAGIC = (
    (b"PK\x03\x04", "an Excel workbook or a ZIP archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook"),
    (b"%PDF-", "a PDF document"),
    (b"{\\rtf", "a rich text document"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF87a", "a GIF image"),
    (b"GIF89a", "a GIF image"),
    (b"PAR1\x15", "a Parquet file"),
    (b"ARROW1\0\0", "an Arrow file"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"BZh91AY&SY", "compressed with bzip2"),
    (b"\xfd7zXZ\0", "compressed with xz"),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x7fELF", "a program"),
)

#: what no header row looks like: a name like {id}, [1] or <b> is one
_MARKUP = (
    (re.compile(rb"<!doctype\s+html|<html[\s>]", re.IGNORECASE), "an HTML page"),
    (re.compile(rb"<\?xml\s", re.IGNORECASE), "XML"),
    (
        re.compile(rb'(?:\[\s*)?\{\s*"(?:[^"\\]|\\.)*"\s*:|\[\s*\{\s*\}\s*[,\]]|\[\s*\[\s*(?:"|-?\d)'),
        "JSON",
    ),
)

_BLANKS = re.compile(rb"\s*")
#: enough for a mark, or for the first name within JSON
_BEGINNING = 4096


def foreign_bytes(data: bytes) -> str | None:
    """What the bytes of a file are that is no text at all; None if nothing speaks against it."""
    return next((what for magic, what in _MAGIC if data.startswith(magic)), None)


def foreign_text(data: bytes, start: int) -> str | None:
    """What UTF-8 text is that is no table, by what follows the blanks at `start`; None if nothing speaks against it."""
    blanks = _BLANKS.match(data, start)
    begin = blanks.end() if blanks else start
    beginning = data[begin : begin + _BEGINNING]
    return next((what for pattern, what in _MARKUP if pattern.match(beginning)), None)
