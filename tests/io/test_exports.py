"""What `write_csv` leaves on disk, and that nothing in it is run by a spreadsheet."""

from __future__ import annotations

import csv
import io
import os
import re
import stat
import string
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from long_form import examples

from batchkit.core.table import ERRORS_COLUMN
from batchkit.errors import ExportError
from batchkit.io.exports import neutralize, restore, write_csv
from batchkit.io.tables import read_csv

risky = st.text(alphabet=list("'=+-@\t\r\n 1e.,()/%a\u00a0\u200b＝＋\x00"), max_size=6)


def written(frame: pd.DataFrame, *, index: bool = False) -> str:
    """What is written, as text without the mark."""
    buffer = io.BytesIO()
    write_csv(frame, buffer, index=index)
    return buffer.getvalue().decode("utf-8-sig")


class TestNeutralize:
    @pytest.mark.parametrize(
        "text",
        [
            "=1+1",
            "@SUM(A1)",
            "+cmd|' /C calc'!A0",
            "-2+3+cmd|' /C calc'!A0",
            "\t=1",
            "\tx",
            "\rx",
            "\nx",
            " =1",
            "\u00a0@x",
            "\x00=1",
            "＝1+1",
            "- item",
            "+A1",
            "-1e",
            "-%",
            "+1;2",
            "-1\n",
            "--x",
            "'=1",
            "''''@x",
        ],
    )
    def test_what_begins_like_a_formula_gets_a_quote(self, text: str) -> None:
        assert neutralize(text) == f"'{text}"

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "x",
            "a=b",
            "x@example.com",
            "-",
            "-5",
            "+1.5",
            "-1,234.50",
            "-1e5",
            "+1.5E-10",
            "-5%",
            "+49 (0)30 / 123-45",
            "-.5",
            "2-3",
            "'quoted'",
            "''",
            "'-5",
            "'+49 30",
            "it's",
            "2026-01-02",
        ],
    )
    def test_everything_else_stays(self, text: str) -> None:
        assert neutralize(text) == text

    @given(st.one_of(risky, st.text()))
    @example("'=")
    @example("''=")
    @settings(max_examples=examples(500))
    def test_restore_undoes_it_exactly(self, text: str) -> None:
        assert restore(neutralize(text)) == text
        assert restore(neutralize(neutralize(text))) == neutralize(text)

    @given(st.one_of(risky, st.text()))
    @settings(max_examples=examples(500))
    def test_nothing_it_returns_is_a_formula(self, text: str) -> None:
        safe = neutralize(text)
        assert not safe.startswith(("=", "@", "\t", "\r", "\n"))
        if safe.startswith(("+", "-")):
            harmless = string.digits + " ().-/,"
            body = re.sub(r"([0-9])([eE][+-]?[0-9]+|%)$", r"\1", safe[1:])
            assert set(body) <= set(harmless)
        assert safe in (text, f"'{text}")

    def test_a_long_cell_is_decided_at_once(self) -> None:
        for text in ("'" * 1_000_000, " " * 1_000_000, "+" + "1 " * 500_000, "'" * 500_000 + "=" + " " * 500_000):
            assert restore(neutralize(text)) == text


class TestContent:
    def test_it_is_utf8_with_a_mark_and_crlf(self) -> None:
        buffer = io.BytesIO()
        write_csv(pd.DataFrame({"ä": ["é", 'a "b", c']}), buffer)
        assert buffer.getvalue() == b'\xef\xbb\xbf\xc3\xa4\r\n\xc3\xa9\r\n"a ""b"", c"\r\n'

    def test_missing_cells_are_empty_objects_json_and_others_their_text(self) -> None:
        frame = pd.DataFrame(
            {
                "n": pd.array([1, None], dtype="Int64"),
                "f": [-1.5, float("nan")],
                "t": pd.to_datetime(["2026-01-02", None], utc=True),
                "o": [{"a": [1]}, None],
                "b": [True, False],
            }
        )
        row = '1,-1.5,2026-01-02 00:00:00+00:00,"{""a"": [1]}",True'
        assert written(frame) == f"n,f,t,o,b\r\n{row}\r\n,,,,False\r\n"

    def test_names_are_neutralized_too(self) -> None:
        assert written(pd.DataFrame({"=x": ["@y"], 3: ["z"]})) == "'=x,3\r\n'@y,z\r\n"

    def test_the_index_is_written_when_asked_for(self) -> None:
        frame = pd.DataFrame({"a": ["x"]}, index=pd.Index(["=k"], name="key"))
        assert written(frame) == "a\r\nx\r\n"
        assert written(frame, index=True) == "key,a\r\n'=k,x\r\n"
        assert list(frame.columns) == ["a"]

    def test_an_empty_cell_alone_in_its_row_is_not_a_blank_line(self) -> None:
        assert written(pd.DataFrame({"a": ["", "x", ""]})) == 'a\r\n""\r\nx\r\n""\r\n'

    def test_half_a_character_is_written_as_its_code(self) -> None:
        assert written(pd.DataFrame({"a": ["x\ud83d"]}, dtype=object)) == "a\r\nx\\ud83d\r\n"

    def test_open_text_gets_no_mark(self) -> None:
        buffer = io.StringIO()
        write_csv(pd.DataFrame({"a": ["é"]}), buffer)
        assert buffer.getvalue() == "a\r\né\r\n"
        with tempfile.NamedTemporaryFile("w+", encoding="utf-16", newline="") as file:
            write_csv(pd.DataFrame({"a": ["é"]}), file)
            file.seek(0)
            assert file.read() == "a\r\né\r\n"

    def test_many_rows_are_all_written_in_order(self) -> None:
        frame = pd.DataFrame({"a": [str(number) for number in range(50_001)]})
        assert written(frame).split("\r\n") == ["a", *map(str, range(50_001)), ""]

    cell = st.one_of(
        risky, st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)
    )

    @given(st.lists(st.tuples(cell, cell), min_size=1, max_size=5))
    @settings(deadline=None, max_examples=examples(300))
    def test_an_export_of_invalid_rows_is_read_back_as_it_was(self, cells: list[tuple[str, str]]) -> None:
        frame = pd.DataFrame(cells, columns=["=a", "b"])
        frame[ERRORS_COLUMN] = "=bad"
        text = written(frame)
        table = read_csv(text.encode("utf-8-sig"))
        assert table.columns == ("=a", "b")
        assert [tuple(row) for row in table.frame.to_numpy().tolist()] == cells
        for row in csv.reader(io.StringIO(text, newline="")):
            assert not any(value.startswith(("=", "@", "\t", "\r", "\n")) for value in row)


class TestFile:
    FRAME = pd.DataFrame({"a": ["1"]})

    def test_it_is_written_whole_with_the_usual_permissions(self, tmp_path: Path) -> None:
        path = tmp_path / "out.csv"
        write_csv(self.FRAME, path)
        assert path.read_bytes() == b"\xef\xbb\xbfa\r\n1\r\n"
        (tmp_path / "other").touch()
        assert path.stat().st_mode == (tmp_path / "other").stat().st_mode
        assert sorted(os.listdir(tmp_path)) == ["other", "out.csv"]

    def test_an_existing_file_keeps_its_permissions(self, tmp_path: Path) -> None:
        path = tmp_path / "out.csv"
        path.write_text("old")
        path.chmod(0o600)
        write_csv(self.FRAME, str(path))
        assert path.read_bytes() == b"\xef\xbb\xbfa\r\n1\r\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_a_link_keeps_pointing_to_its_file(self, tmp_path: Path) -> None:
        real, link = tmp_path / "real.csv", tmp_path / "link.csv"
        real.write_text("old")
        link.symlink_to(real)
        write_csv(self.FRAME, link)
        assert link.is_symlink()
        assert real.read_bytes() == b"\xef\xbb\xbfa\r\n1\r\n"

    def test_a_failure_leaves_the_old_file_and_nothing_else(self, tmp_path: Path) -> None:
        class Mute:
            def __str__(self) -> str:
                raise RuntimeError("no text")

        path = tmp_path / "out.csv"
        path.write_text("old")
        frame = pd.DataFrame({"a": ["x"] * 30_000 + [Mute()]})
        with pytest.raises(RuntimeError, match="no text"):
            write_csv(frame, path)
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == ["out.csv"]

    def test_what_cannot_be_written_is_refused_in_plain_words(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        os.mkfifo(tmp_path / "pipe")
        for path, message in (
            (tmp_path, "is a folder"),
            (tmp_path / "none" / "out.csv", "there is no folder"),
            (tmp_path / "file" / "out.csv", "there is no folder"),
            (tmp_path / "pipe", "not a regular file"),
            (tmp_path / ("x" * 300), "cannot be written"),
            ("a\0b", "is no file name"),
        ):
            with pytest.raises(ExportError, match=message):
                write_csv(self.FRAME, path)
        assert sorted(os.listdir(tmp_path)) == ["file", "pipe"]

    def test_a_write_protected_file_is_refused(self, folder_of_anybody: Path) -> None:
        path = folder_of_anybody / "out.csv"
        path.write_text("old")
        path.chmod(0o400)
        with pytest.raises(ExportError, match="permission denied"):
            write_csv(self.FRAME, path)
        assert path.read_text() == "old"
