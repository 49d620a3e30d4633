"""Files of sizes and shapes nobody plans for: each is used or refused in plain words, soon, and within a memory that is
a multiple of the file, which the system enforces. What is read without a word is what is in the file.
"""

from __future__ import annotations

import csv
import io
import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from file_user import STEPS
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from long_form import FULL

import batchkit as bk

MEGABYTE = 1 << 20
#: seconds for one file; on a quiet machine none takes a quarter of it
PATIENCE = 240 if FULL else 60
#: of the large file, bytes
LARGE = 1000 * MEGABYTE if FULL else 60 * MEGABYTE
#: of a file of one character
MONOTONOUS = 50 * MEGABYTE if FULL else 2 * MEGABYTE
UNITS = (
    b"\n",
    b"\r\n",
    b"\0",
    b'"\n',
    b",\n",
    b"a",
    b'"',
    b'a"',
    b",",
    b'"",',
    b"\xff",
)
MORE_UNITS = (b"\r", b" ", b";", b',"', b"=")
EXAMPLES = 5000 if FULL else 150

CELLS = ("", "a", " b", "=1", "é", "\u2028", "NA", "007", "1\x1c2", 'c"d', '""', '"x\r\ny"', '"a,b;c"', '"say ""hi"""')
PIECES = [*'abc,;|\t" \n\r=1\0é€\u2028\ufeff\ud83d', "\r\n", "a,b\n", "a;b\r\n", '"\n"', '""', "sep=;\n"]


@st.composite
def sound_texts(draw: st.DrawFn) -> str:
    """A table of which most readers make the same."""
    delimiter, newline = draw(st.sampled_from(",;\t|")), draw(st.sampled_from(["\n", "\r\n", "\r"]))
    width = draw(st.integers(1, 3))
    rows = draw(st.lists(st.lists(st.sampled_from(CELLS), min_size=width, max_size=width), min_size=1, max_size=6))
    header = [f"name {number}" for number in range(width)]
    return newline.join(delimiter.join(row) for row in (header, *rows)) + draw(st.sampled_from(["", newline]))


hostile_texts = sound_texts() | st.lists(st.sampled_from(PIECES) | st.text(max_size=3)).map("".join)
hostile_bytes = st.binary() | hostile_texts.flatmap(
    lambda text: st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"]).map(
        lambda encoding: text.encode(encoding, "replace")
    )
)


class Used:
    """What became of a file."""

    def __init__(self, answer: dict[str, object]) -> None:
        self.reached = str(answer["reached"])
        self.refusal = str(answer["refusal"])
        self.multiple = float(str(answer["multiple"]))
        self.seconds = float(str(answer["seconds"]))


Use = Callable[..., Used]


@pytest.fixture(scope="module")
def process() -> Iterator[subprocess.Popen[str]]:
    here = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    with subprocess.Popen(
        [sys.executable, "-m", "file_user"],
        env={**os.environ, "PYTHONPATH": here},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


@pytest.fixture
def use(process: subprocess.Popen[str], tmp_path: Path, record_property: Callable[[str, object], None]) -> Use:
    def use(write: Callable[[Path], None], *, last: str, multiple: float) -> Used:
        """Use the file that `write` makes up to the step `last`, in at most `multiple` times its size of memory."""
        path = tmp_path / "file.csv"
        write(path)
        assert process.stdin is not None
        assert process.stdout is not None
        steps = STEPS[: STEPS.index(last) + 1]
        print(json.dumps({"path": str(path), "steps": steps, "multiple": multiple}), file=process.stdin, flush=True)
        answered, _, _ = select.select([process.stdout], [], [], PATIENCE)
        if not answered:
            process.kill()
        assert answered, f"nothing within {PATIENCE} s"
        answer = json.loads(process.stdout.readline())
        path.unlink()
        print(answer)
        used = Used(answer)
        assert answer["crash"] == ""
        assert used.multiple <= multiple
        return used

    return use


def test_a_cell_of_ten_megabytes_runs_to_its_result(use: Use) -> None:
    def write(path: Path) -> None:
        path.write_bytes(
            b'value,b\n1,2\n"' + b"y,\n" * (10 * MEGABYTE // 3) + b'",3\n' + b"x" * 10 * MEGABYTE + b",4\n"
        )

    used = use(write, last="export", multiple=35)
    assert (used.reached, used.refusal) == ("export", "")


def test_twenty_thousand_columns_become_a_batch(use: Use) -> None:
    def write(path: Path) -> None:
        path.write_text(
            ",".join(f"column {number}" for number in range(20_000))
            + "\n"
            + (",".join(["123456"] * 20_000) + "\n") * 200
        )

    used = use(write, last="export" if FULL else "create", multiple=50)
    assert used.refusal == ""


def test_a_large_file_is_checked(use: Use) -> None:
    lines = [
        f"{row},Name {row % 1000},Street {row % 77} 1a,50667,Köln,DE,2026-01-0{row % 9 + 1},{row * 3.7:.2f},a note,x\n"
        for row in range(20_000)
    ]
    block = "".join(lines).encode()

    def write(path: Path) -> None:
        with path.open("wb") as file:
            file.write(b"value,name,street,postcode,city,country,date,amount,note,flag\n")
            for _ in range(LARGE // len(block)):
                file.write(block)

    used = use(write, last="validate", multiple=6)
    assert (used.reached, used.refusal) == ("validate", "")


@pytest.mark.parametrize("unit", [*UNITS, *(MORE_UNITS if FULL else ())], ids=repr)
def test_a_file_of_one_thing_alone_is_refused_in_plain_words(use: Use, unit: bytes) -> None:
    used = use(lambda path: path.write_bytes(unit * (MONOTONOUS // len(unit))), last="create", multiple=35)
    assert used.refusal
    assert used.reached != "create"
    assert len(used.refusal) < 2000


def assert_nothing_is_changed_without_a_word(source: bytes | io.StringIO, content: bytes) -> None:
    """A file is refused, or something is said of it, or it reads as Python's csv module reads it."""
    try:
        table = bk.read_csv(source)
    except bk.TableError:
        return
    if table.problems:
        return
    assert table.dialect is not None
    text = content.decode(table.dialect.encoding)
    header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=table.dialect.delimiter)
    while rows and not rows[-1]:
        rows.pop()
    assert list(table.columns) == header
    assert table.frame.to_numpy().tolist() == [row or [""] for row in rows]


@given(hostile_texts)
@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
def test_no_text_is_changed_without_a_word(text: str) -> None:
    assert_nothing_is_changed_without_a_word(io.StringIO(text, newline=""), text.encode("utf-8", "replace"))


@given(hostile_bytes)
@example("\ufeff\ufeffname\n1\n".encode())
@example("\ufeff\ufeffname\n1\n".encode("utf-16-le"))
@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
def test_no_bytes_are_changed_without_a_word(content: bytes) -> None:
    assert_nothing_is_changed_without_a_word(content, content)
