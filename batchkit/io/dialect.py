"""How a file's bytes are to be understood: its encoding and its delimiter, given or found out."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from batchkit.errors import TableError
from batchkit.io.grammar import Grammar, read_record
from batchkit.io.legacy import guess_encoding

__all__ = ["Text", "decode", "find_delimiter", "separator_line"]

#: undecodable places whose position is kept; the rest is counted
_KEPT = 1000
_CHUNK = 1 << 20
_SAMPLE = 1 << 16
_DELIMITERS = ",;\t|"

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: codecs that take a byte order mark away themselves; a second one is text
_TAKES_MARK = {"utf-8-sig", "utf-16", "utf-32"}
#: text codecs of Python that are escapes within other text, not the encoding of a file
_NOT_OF_FILES = {"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"}

_SEP_LINE = re.compile(rb'"?sep=([!-~\t])"?(?:\r\n|\r|\n)', re.IGNORECASE)
_SURROGATE = re.compile("[\ud800-\udfff]")
_BEYOND = re.compile("[^\0-\x7f]+")
_UNDECODABLE = "batchkit_undecodable"
# a lone surrogate cannot come out of sound text, so it marks the place until it becomes U+FFFD
codecs.register_error(_UNDECODABLE, lambda error: ("\udcff", error.end))  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A file as UTF-8, and how it came to be."""

    #: UTF-8 throughout
    data: bytes
    #: where the text begins, past a byte order mark
    start: int
    #: of the file, not of `data`
    encoding: str
    guessed: bool = False
    #: where in `data` U+FFFD stands for what was no text, ascending; only the first thousand
    undecodable: tuple[int, ...] = ()
    undecodable_count: int = 0


def decode(data: bytes, encoding: str | None = None) -> Text:
    """The file's bytes as UTF-8: unchanged where they are that already.

    encoding: a codec's name, or None to find it out: byte order mark, UTF-8, UTF-16, then a guess.
    Raises TableError for an unknown codec, and where more than a tenth is no text in the codec.
    """
    name = _codec(encoding) if encoding is not None else _bom(data)
    if name is None:
        name = _utf16(data[:_SAMPLE])
        if name is not None:
            return _transcode(data, name, guessed=True)
        if _is_utf8(data):
            return Text(data=data, start=0, encoding="utf-8")
        return _transcode(data, _guess(data), guessed=True)
    utf8 = name in ("utf-8", "utf-8-sig")
    if (utf8 and _is_utf8(data)) or (name == "ascii" and data.isascii()):
        marked = data.startswith(codecs.BOM_UTF8)
        return Text(data=data, start=3 if marked else 0, encoding="utf-8-sig" if marked else name)
    return _transcode(data, name, guessed=False)


def find_delimiter(data: bytes, start: int, end: int) -> tuple[str, bool]:
    """The delimiter, and whether it is a guess: the one that divides the records at the top most like the header.

    Of several that do, the one with the most columns; a comma if none does. Looks at 64 KB, at most 100 records.
    """
    scores = {delimiter: _consistency(data, start, end, delimiter) for delimiter in _DELIMITERS}
    best = max(scores, key=lambda delimiter: scores[delimiter])  # the first of equals: the comma
    rivals = sum(columns > 1 for _, columns in scores.values())
    return best, best != "," or rivals > 1


def separator_line(data: bytes, start: int) -> re.Match[bytes] | None:
    """The line `sep=;` some spreadsheets put before the header, its delimiter as group 1."""
    return _SEP_LINE.match(data, start)


def _codec(encoding: str) -> str:
    try:
        info = codecs.lookup(encoding)
        codecs.getincrementaldecoder(encoding)
        text = info._is_text_encoding
    except (LookupError, TypeError, ValueError):
        text = False
    if not text or info.name in _NOT_OF_FILES:
        raise TableError(f"{encoding!r} is no text encoding. Try 'utf-8', 'cp1252' or 'utf-16', or leave it out.")
    return info.name


def _bom(data: bytes) -> str | None:
    return next((name for mark, name in _BOMS if data.startswith(mark)), None)


def _is_utf8(data: bytes) -> bool:
    """Strict, and at the speed of memory: arrow checks the file as if it were one cell."""
    bounds = pa.py_buffer(np.array([0, len(data)], dtype=np.int64).tobytes())
    cell = pa.Array.from_buffers(pa.large_string(), 1, [None, bounds, pa.py_buffer(data)])
    try:
        cell.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _utf16(sample: bytes) -> str | None:
    """UTF-16 without a mark: every other byte of its line ends is NUL, always on the same side."""
    if b"\0" not in sample:
        return None
    sample = sample[: len(sample) // 2 * 2]
    newlines = sample.count(b"\n") + sample.count(b"\r")
    for name in ("utf-16-le", "utf-16-be"):
        text = sample.decode(name, "replace")
        ends = text.count("\n") + text.count("\r")
        if "\0" not in text and (ends * 2 > newlines or (not newlines and text.isascii())):
            return name
    return None


def _guess(data: bytes) -> str:
    """The encoding of what is not all UTF-8: UTF-8 with some damage, or an older one."""
    sample = _telling_lines(data)
    return "utf-8" if _is_damaged_utf8(sample) else guess_encoding(sample)


def _is_damaged_utf8(sample: bytes) -> bool:
    """Whether UTF-8 outweighs what is none: by characters, or by stretches beyond ASCII that are UTF-8 as a whole.

    Such a stretch seldom comes about in an older encoding, and a few bad bytes in a row are one place only.
    """
    text = sample.decode("utf-8", "replace")
    stretches = _BEYOND.findall(text)
    sound = sum("\ufffd" not in stretch for stretch in stretches)
    return sum(map(len, stretches)) > 2 * text.count("\ufffd") or (sound > 1 and 2 * sound > len(stretches))


def _telling_lines(data: bytes) -> bytes:
    """Up to 64 KB of lines that are not plain ASCII, from the first of them on."""
    high = next(offset + int(np.argmax(chunk > 127)) for offset, chunk in _views(data) if chunk.max() > 127)
    near = max(0, high - _SAMPLE)
    begin = max(data.rfind(b"\n", near, high), data.rfind(b"\r", near, high), near - 1) + 1
    lines = (line for line in data[begin : begin + _CHUNK].splitlines() if not line.isascii())
    sample = io.BytesIO()
    for line in lines:
        sample.write(line + b"\n")
        if sample.tell() > _SAMPLE:
            break
    return sample.getvalue()[: 2 * _SAMPLE]


def _views(data: bytes) -> Iterator[tuple[int, np.ndarray]]:
    view = np.frombuffer(data, np.uint8)
    for offset in range(0, len(view), _CHUNK):
        yield offset, view[offset : offset + _CHUNK]


def _transcode(data: bytes, encoding: str, *, guessed: bool) -> Text:
    """`data` decoded and written again as UTF-8, with the places that were no text."""
    decoder = codecs.getincrementaldecoder(encoding)(_UNDECODABLE)
    out = io.BytesIO()
    places: list[int] = []
    count = 0
    for offset in range(0, len(data), _CHUNK):
        chunk = data[offset : offset + _CHUNK]
        try:
            text = decoder.decode(chunk, offset + _CHUNK >= len(data))
        except UnicodeError as exc:
            raise TableError(f"The file cannot be read as {encoding}: {exc}. Choose another encoding.") from exc
        if offset == 0 and encoding not in _TAKES_MARK:
            text = text.removeprefix("\ufeff")
        pieces = _SURROGATE.split(text)
        count += len(pieces) - 1
        if len(pieces) * 10 > len(text) and count > _KEPT:
            raise TableError(
                f"The file does not look like text in {encoding}: {count:,} places in its first "
                f"{offset + len(chunk):,} bytes cannot be read. Choose another encoding, or save it as CSV UTF-8."
            )
        for piece in pieces[:-1]:
            out.write(piece.encode("utf-8"))
            if len(places) < _KEPT:
                places.append(out.tell())
            out.write(b"\xef\xbf\xbd")
        out.write(pieces[-1].encode("utf-8"))
    return Text(
        data=out.getvalue(),
        start=0,
        encoding=encoding,
        guessed=guessed,
        undecodable=tuple(places),
        undecodable_count=count,
    )


def _consistency(data: bytes, start: int, end: int, delimiter: str) -> tuple[float, int]:
    """The share of the records at the top that have as many cells as the header, and how many it has."""
    grammar = Grammar.of(delimiter)
    limit = min(end, start + _SAMPLE)
    sizes: list[int] = []
    while start < limit and len(sizes) < 100:
        record = read_record(data, start, limit, grammar)
        start = record.end
        if record.cells != [b""] and (start < limit or limit == end or not sizes):
            sizes.append(len(record.cells))
    if not sizes or sizes[0] == 1:
        return 0, 1
    return sum(size == sizes[0] for size in sizes) / len(sizes), sizes[0]
