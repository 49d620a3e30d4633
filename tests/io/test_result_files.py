"""Frames as CSV, Excel, Parquet and JSON Lines: what is read back is what was written, and nothing is run."""

from __future__ import annotations

import json
import math
import warnings
from datetime import UTC, datetime
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from long_form import examples

from batchkit.errors import ExportError
from batchkit.io import workbook
from batchkit.io.result_files import SUFFIXES, write_results

AT = datetime(2026, 3, 1, 6, 30, 15, 250_000, tzinfo=UTC)


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "client": pd.Series(["Ada", "=1+1", None], dtype="str"),
            "row": pd.array([2, 3, 4], dtype="int64"),
            "result": pd.Series([{"fee": 95, "tags": ["a"]}, "plain", None], dtype=object),
            "result.fee": pd.array([95, None, 2**60], dtype="Int64"),
            "result.share": pd.Series([0.5, math.nan, math.inf]),
            "result.filed": pd.array([True, None, False], dtype="boolean"),
            "finished_at": pd.to_datetime(pd.Series([AT, None, AT]), utc=True).astype("datetime64[us, UTC]"),
        }
    )


def sheet_of(path: Path) -> list[list[object]]:
    book = openpyxl.load_workbook(path)
    return [[cell.value for cell in row] for row in book.active.iter_rows()]  # type: ignore[union-attr]


def test_parquet_keeps_types_and_has_json_for_what_nests(tmp_path: Path) -> None:
    write_results(frame(), tmp_path / "r.parquet")
    back = pd.read_parquet(tmp_path / "r.parquet", dtype_backend="numpy_nullable")
    assert back["finished_at"].tolist()[0] == pd.Timestamp(AT)
    assert str(back["finished_at"].dtype) == "datetime64[us, UTC]"
    assert back["result.fee"].tolist() == [95, pd.NA, 2**60]
    assert back["result.filed"].tolist() == [True, pd.NA, False]
    assert json.loads(back["result"][0]) == {"fee": 95, "tags": ["a"]}
    assert back["result"][1] == "plain"
    assert back["client"].tolist() == ["Ada", "=1+1", pd.NA]


def test_json_lines_have_results_as_they_came(tmp_path: Path) -> None:
    write_results(frame(), tmp_path / "r.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text("utf-8").splitlines()]
    assert lines[0]["result"] == {"fee": 95, "tags": ["a"]}
    assert datetime.fromisoformat(lines[0]["finished_at"]) == AT
    assert lines[0]["result.filed"] is True
    assert [line["result.fee"] for line in lines] == [95, None, 2**60]
    assert lines[1]["finished_at"] is None
    assert lines[2]["result.share"] == "inf"
    assert list(lines[0]) == list(frame().columns)


def test_a_workbook_holds_texts_numbers_and_times_and_no_formula(tmp_path: Path) -> None:
    write_results(frame(), tmp_path / "r.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "r.xlsx").active
    assert sheet is not None
    rows = list(sheet.iter_rows())
    assert [cell.value for cell in rows[0]] == list(frame().columns)
    first = rows[2][0]
    assert (first.data_type, first.value, first.quotePrefix) == ("s", "=1+1", True)
    assert rows[1][6].value == AT.replace(tzinfo=None)
    assert "UTC" in rows[1][6].number_format
    assert [rows[n][3].value for n in (1, 2, 3)] == [95, None, str(2**60)]
    assert [rows[n][5].value for n in (1, 2, 3)] == [True, None, False]
    assert rows[3][4].value == "inf"
    assert json.loads(str(rows[1][2].value)) == {"fee": 95, "tags": ["a"]}
    assert sheet.freeze_panes == "A2"


@settings(max_examples=examples(60))
@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"]), max_size=12), min_size=1, max_size=6))
def test_any_text_comes_back_from_a_workbook_as_text(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("book") / "r.xlsx"
    write_results(pd.DataFrame({"a": pd.Series(texts, dtype=object)}), path)
    book = openpyxl.load_workbook(path)
    cells = [row[0] for row in book.active.iter_rows(min_row=2, max_row=1 + len(texts))]  # type: ignore[union-attr]
    assert all(cell.data_type in "sn" for cell in cells)
    expected = [text.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd") for text in texts]
    assert [cell.value or "" for cell in cells] == expected


@pytest.mark.parametrize("text", ["=1+1", "=HYPERLINK(1)", "@x", "+cmd|'x'!A0", "-2+3", "#N/A", "#REF!", "\t=1", " ="])
def test_what_looks_like_a_formula_or_an_error_is_text(tmp_path: Path, text: str) -> None:
    write_results(pd.DataFrame({text: [text]}), tmp_path / "r.xlsx")
    book = openpyxl.load_workbook(tmp_path / "r.xlsx")
    for row in book.active.iter_rows():  # type: ignore[union-attr]
        assert (row[0].data_type, row[0].value) == ("s", text)


def test_what_excel_would_read_as_a_code_is_written_as_its_own_characters(tmp_path: Path) -> None:
    write_results(pd.DataFrame({"a": ["_x0041_", "a_x_b"]}), tmp_path / "r.xlsx")
    assert sheet_of(tmp_path / "r.xlsx") == [["a"], ["_x005F_x0041_"], ["a_x_b"]]


def test_what_no_workbook_holds_is_replaced_or_cut_and_told(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"1 texts were cut.*40,000"):
        write_results(pd.DataFrame({"a": ["x" * 40_000, "b\x00\x07\ud800"]}, dtype=object), tmp_path / "r.xlsx")
    [_, [long], [control]] = sheet_of(tmp_path / "r.xlsx")
    assert (len(str(long)), str(long)[-1]) == (32_767, "…")
    assert control == "b\ufffd\ufffd\ufffd"


def test_more_rows_than_a_sheet_holds_are_refused_before_anything_is_written(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(workbook, "_MOST_ROWS", 3)
    with pytest.raises(ExportError, match=r"3 rows .* do not fit a sheet.*\.parquet"):
        write_results(frame(), tmp_path / "r.xlsx")
    assert list(tmp_path.iterdir()) == []
    write_results(frame().head(2), tmp_path / "r.xlsx")


@pytest.mark.parametrize("name", ["r.xls", "r", "r.json", "r.pickle", ".csv"])
def test_another_ending_is_refused_with_those_there_are(tmp_path: Path, name: str) -> None:
    with pytest.raises(ExportError, match=r"Use \.csv or \.xlsx"):
        write_results(frame(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
class TestEveryKind:
    def test_the_old_file_stays_when_the_new_one_fails(self, tmp_path: Path, suffix: str) -> None:
        class Nasty:
            def __str__(self) -> str:
                raise ZeroDivisionError

        path = tmp_path / f"r{suffix}"
        path.write_bytes(b"old")
        with pytest.raises(ZeroDivisionError):
            write_results(pd.DataFrame({"a": pd.Series([Nasty()], dtype=object)}), path)
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    def test_permissions_are_kept_and_folders_are_refused(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"r{suffix.upper()}"
        path.write_bytes(b"")
        path.chmod(0o600)
        write_results(frame(), path)
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(ExportError, match="no folder"):
            write_results(frame(), tmp_path / "none" / f"r{suffix}")

    def test_empty_frames_and_frames_with_an_index_are_written(self, tmp_path: Path, suffix: str) -> None:
        write_results(frame().head(0), tmp_path / f"empty{suffix}")
        write_results(pd.DataFrame(), tmp_path / f"nothing{suffix}")
        labelled = frame().set_axis(pd.Index(["x", "y", "z"], name="id"))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            write_results(labelled, tmp_path / f"r{suffix}", index=True)
        assert b"id" in (tmp_path / f"r{suffix}").read_bytes() or suffix == ".xlsx"

    def test_two_columns_of_one_name(self, tmp_path: Path, suffix: str) -> None:
        twice = pd.DataFrame([[1, 2]], columns=["a", "a"])
        if suffix in (".csv", ".xlsx"):
            write_results(twice, tmp_path / f"r{suffix}")
        else:
            with pytest.raises(ExportError, match="'a'"):
                write_results(twice, tmp_path / f"r{suffix}")
