"""What `read_csv` makes of files as people have them."""

from __future__ import annotations

import csv
import datetime as dt
import io
import os
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from batchkit.core.table import ERRORS_COLUMN, TEXT, Problem, Severity, Table
from batchkit.errors import TableError
from batchkit.io.header import MAX_NAME
from batchkit.io.tables import MAX_COLUMNS, read_csv


def rows(table: Table) -> list[list[str]]:
    """The cells, row by row."""
    return [list(row) for row in zip(*(column.to_pylist() for column in table.data.columns), strict=True)]


def kinds(table: Table) -> list[str]:
    """What is wrong, in order."""
    return [problem.kind for problem in table.problems]


def only(table: Table, kind: str) -> Problem:
    """The one problem of a kind."""
    (problem,) = [problem for problem in table.problems if problem.kind == kind]
    return problem


class TestText:
    @pytest.mark.parametrize(
        "cell",
        ["007", "12345678901234567890", "+49 30 123", "1e5", "NA", "null", "NaN", "2026-01-02", " x ", "True", "-"],
    )
    def test_a_cell_stays_as_it_is_written(self, cell: str) -> None:
        table = read_csv(f"a,b\n{cell},{cell}\n".encode())
        assert rows(table) == [[cell, cell]]
        assert table.problems == ()

    def test_the_frame_is_pandas_own_text_on_arrow_memory(self) -> None:
        table = read_csv(b"a,b\n1,\n")
        assert list(table.frame.dtypes) == [TEXT, TEXT]
        assert table.frame.loc[0, "b"] == ""
        assert isinstance(table.frame["a"].array, pd.arrays.ArrowStringArray)

    def test_spaces_around_names_are_kept(self) -> None:
        assert read_csv(b" a ,b\n1,2\n").columns == (" a ", "b")

    def test_quotes_hold_delimiters_quotes_and_line_ends(self) -> None:
        table = read_csv(b'a,b\r\n"x, ""y""\r\nz",2\r\n3,4\r\n')
        assert rows(table) == [['x, "y"\r\nz', "2"], ["3", "4"]]
        assert table.problems == ()
        assert [table.line_number(i) for i in range(2)] == [2, 4]
        assert [table.row_number(i) for i in range(2)] == [2, 3]

    def test_a_quote_within_a_cell_is_text(self) -> None:
        table = read_csv(b'a,b\n5" pipe,6" pipe\n')
        assert rows(table) == [['5" pipe', '6" pipe']]
        assert table.problems == ()

    @pytest.mark.parametrize(
        ("content", "newline"),
        [
            (b"a,b\n1,2\n3,4", "\n"),
            (b"a,b\r\n1,2\r\n3,4\r\n", "\r\n"),
            (b"a,b\r1,2\r3,4\r", "\r"),
            (b"a,b\r\n1,2\n3,4\r", "mixed"),
            (b"a,b\n1,2\r\n3,4\n", "mixed"),
            (b'a,b\r\n"1",2\r\n3,4\n\n\n', "\r\n"),
        ],
    )
    def test_every_line_end_ends_a_record(self, content: bytes, newline: str) -> None:
        table = read_csv(content)
        assert rows(table) == [["1", "2"], ["3", "4"]]
        assert table.problems == ()
        assert table.dialect is not None
        assert table.dialect.newline == newline

    def test_line_ends_within_cells_do_not_count_as_the_files(self) -> None:
        table = read_csv(b'a,b\r\n"1\n1",2\r\n')
        assert table.dialect is not None
        assert table.dialect.newline == "\r\n"


class TestEncoding:
    TEXT = "Größe;Ort\r\n7 €;Zürich\r\n"

    @pytest.mark.parametrize(
        ("encoding", "named", "guessed"),
        [
            ("utf-8", "utf-8", False),
            ("utf-8-sig", "utf-8-sig", False),
            ("utf-16", "utf-16", False),
            ("utf-16-le", "utf-16-le", True),
            ("utf-16-be", "utf-16-be", True),
            ("utf-32", "utf-32", False),
            ("cp1252", "cp1252", True),
        ],
    )
    def test_it_is_found_out(self, encoding: str, named: str, guessed: bool) -> None:
        table = read_csv(self.TEXT.encode(encoding))
        assert table.columns == ("Größe", "Ort")
        assert rows(table) == [["7 €", "Zürich"]]
        assert table.problems == ()
        assert table.dialect is not None
        assert (table.dialect.encoding, table.dialect.encoding_guessed) == (named, guessed)

    @pytest.mark.parametrize(
        ("encoding", "text"),
        [
            ("cp1250", "Imię,Miasto\nŁukasz,Gdańsk\nŻaneta,Świdnica\n"),
            ("cp1250", "Jméno,Město\nJiří Dvořák,Plzeň\nŽofie,České Budějovice\n"),
            ("cp1251", "Имя,Город\nИван Петров,Москва\nМария Сидорова,Санкт-Петербург\n"),
            ("cp1252", "nom,ville\nRenée,Besançon\nSøren,Ærø\nJosé Muñoz,Cádiz\n"),
            ("cp1254", "İsim,Şehir\nAyşe Yılmaz,İstanbul\nIşık Öğüt,Muğla\n"),
            ("mac-roman", "Name,Ort\nMüller,Zürich\nJosé,Málaga\nWeiß,Genève\n"),
            ("shift_jis", "名前,市\n山田太郎,東京\n佐藤花子,大阪市\n鈴木一郎,横浜市\n"),
        ],
    )
    def test_an_old_one_is_guessed_and_says_so(self, encoding: str, text: str) -> None:
        table = read_csv(text.encode(encoding))
        assert ["".join(row) for row in rows(table)] == text.replace(",", "").splitlines()[1:]
        assert table.dialect is not None
        assert table.dialect.encoding_guessed

    def test_it_can_be_given(self) -> None:
        table = read_csv("a,b\nŽ,š\n".encode("cp1250"), encoding="windows-1250")
        assert rows(table) == [["Ž", "š"]]
        assert table.dialect is not None
        assert (table.dialect.encoding, table.dialect.encoding_guessed) == ("cp1250", False)

    def test_bytes_that_are_no_text_in_it_are_shown_and_named_by_row(self) -> None:
        table = read_csv("a,b\näöü,1\n".encode() + b'"x\ny",2\n\xff\xfe,3\n')
        assert rows(table) == [["äöü", "1"], ["x\ny", "2"], ["\ufffd\ufffd", "3"]]
        problem = only(table, "undecodable_bytes")
        assert (problem.row, problem.line, problem.severity) == (4, 5, Severity.ERROR)
        assert "utf-8" in problem.message
        assert table.dialect is not None
        assert table.dialect.encoding_guessed

    @pytest.mark.parametrize(
        ("content", "line"),
        [
            ("a,b\nMüller,ö\n".encode() + b"x,\xff\xfe\n", 3),
            ("a,b\nMüller,Zürich\nx,1\n".encode() + b"M\xfcller,\xfc\xfc\xfc\xfc\xfc\n" + "é,è\n".encode(), 4),
            ("a,b\n名前,東京\n".encode() + "大阪,x\n".encode()[1:], 3),
        ],
    )
    def test_some_bad_bytes_in_a_small_file_do_not_make_the_rest_another_encoding(
        self, content: bytes, line: int
    ) -> None:
        table = read_csv(content)
        assert only(table, "undecodable_bytes").line == line
        assert table.dialect is not None
        assert (table.dialect.encoding, table.dialect.encoding_guessed) == ("utf-8", True)

    @pytest.mark.parametrize(
        ("encoding", "text"),
        [
            ("cp1252", "nom,ville\n«CAFÉ»,Besançon\n«CINÉ»,Orléans\n"),
            ("gb18030", "姓名,城市\n王伟,北京\n李娜,联通\n张敏,广州\n"),
            ("cp874", "ชื่อ,เมือง\nสมชาย ใจดี,กรุงเทพ\nสมหญิง,เชียงใหม่\n"),
        ],
    )
    def test_an_old_encoding_in_which_some_bytes_look_like_utf_8_is_not_taken_for_it(
        self, encoding: str, text: str
    ) -> None:
        table = read_csv(text.encode(encoding))
        assert "undecodable_bytes" not in kinds(table)
        assert table.dialect is not None
        assert table.dialect.encoding != "utf-8"

    def test_bytes_that_are_no_text_in_the_given_one_are_problems(self) -> None:
        table = read_csv("a,b\nü,1\n".encode("cp1252"), encoding="utf-8")
        assert rows(table) == [["\ufffd", "1"]]
        assert only(table, "undecodable_bytes").row == 2

    def test_an_unknown_one_is_refused(self) -> None:
        for name in ("utf-99", "rot13", "hex", "idna", "unicode_escape", "utf\0"):
            with pytest.raises(TableError, match="is no text encoding"):
                read_csv(b"a\n1\n", encoding=name)
        with pytest.raises(TableError, match="3 is no text encoding"):
            read_csv(b"a\n1\n", encoding=3)  # type: ignore[arg-type]

    def test_what_is_no_text_at_all_is_refused(self) -> None:
        noise = random.Random(1).randbytes(100_000).replace(b"\0", b"\x01")
        with pytest.raises(TableError, match="does not look like text in utf-8"):
            read_csv(noise, encoding="utf-8")

    def test_characters_across_chunks_stay_whole(self) -> None:
        text = "a,b\r\n" + "".join(f"{number} \U0001f600,é\r\n" for number in range(150_000))
        for encoding in ("utf-16", "utf-16-le", "utf-32", "gb18030"):
            table = read_csv(text.encode(encoding), encoding=encoding)
            assert table.problems == ()
            assert table.data.column(0).to_pylist() == [f"{number} \U0001f600" for number in range(150_000)]


class TestDelimiter:
    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    def test_it_is_found_out(self, delimiter: str) -> None:
        table = read_csv(f"a{delimiter}b\n1{delimiter}2\n".encode())
        assert rows(table) == [["1", "2"]]
        assert table.dialect is not None
        assert table.dialect.delimiter == delimiter
        assert table.dialect.delimiter_guessed == (delimiter != ",")

    def test_decimal_commas_do_not_mislead(self) -> None:
        assert rows(read_csv(b"name;price;net\nx;1,50;1,20\ny;2,50;2\n")) == [["x", "1,50", "1,20"], ["y", "2,50", "2"]]

    def test_delimiters_within_quotes_do_not_mislead(self) -> None:
        assert rows(read_csv(b'a;"b,c,d"\n1;"2,3\n;;;"\n')) == [["1", "2,3\n;;;"]]

    def test_it_can_be_given(self) -> None:
        table = read_csv(b"a;b,c\n1;2,3\n", delimiter=",")
        assert rows(table) == [["1;2", "3"]]
        assert table.dialect is not None
        assert not table.dialect.delimiter_guessed

    def test_two_that_fit_are_a_guess(self) -> None:
        dialect = read_csv(b"a;b,c\n1;2,3\n").dialect
        assert dialect is not None
        assert dialect.delimiter_guessed

    def test_a_note_of_it_is_not_the_header(self) -> None:
        table = read_csv(b"sep=;\r\na;b,c\r\n1;2\r\n3\r\n")
        assert table.columns == ("a", "b,c")
        assert kinds(table) == ["sep_line", "row_too_short"]
        assert (table.row_number(0), table.line_number(0)) == (2, 3)
        assert (table.problems[1].row, table.problems[1].line) == (3, 4)

    @pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n", "\r", "\0", "§"])
    def test_what_cannot_be_one_is_refused(self, delimiter: str) -> None:
        with pytest.raises(TableError, match="cannot be a delimiter"):
            read_csv(b"a\n1\n", delimiter=delimiter)

    @pytest.mark.parametrize("delimiter", [3, b",", [","], True])
    def test_what_is_not_even_text_is_refused_in_words(self, delimiter: object) -> None:
        with pytest.raises(TableError, match="cannot be a delimiter"):
            read_csv(b"a\n1\n", delimiter=delimiter)  # type: ignore[arg-type]

    @pytest.mark.parametrize("delimiter", ["tab", "TAB", "\\t", "\t"])
    def test_a_tab_can_be_named(self, delimiter: str) -> None:
        table = read_csv(b"a,b\tc\n1,2\t3\n", delimiter=delimiter)
        assert table.columns == ("a,b", "c")
        assert table.dialect is not None
        assert table.dialect.delimiter == "\t"


class TestProblems:
    def test_ragged_rows_are_left_out_and_named_by_row_and_line(self) -> None:
        table = read_csv(b'a,b,c\n1,2,3\n"4\n4",5\n6,7,8\n9,10,11,12\n13,14,15\n')
        assert rows(table) == [["1", "2", "3"], ["6", "7", "8"], ["13", "14", "15"]]
        short, long = table.problems
        assert (short.kind, short.row, short.line, short.expected, short.actual) == ("row_too_short", 3, 3, "3", "2")
        assert (long.kind, long.row, long.line, long.expected, long.actual) == ("row_too_long", 5, 6, "3", "4")
        assert not table.ok
        assert [table.row_number(i) for i in range(3)] == [2, 4, 6]
        assert [table.line_number(i) for i in range(3)] == [2, 5, 7]

    def test_a_message_names_the_line_only_where_it_differs_from_the_row(self) -> None:
        table = read_csv(b'a,b\n1\n"2\n2",3\n4\n')
        assert [problem.message.split(" is ")[0] for problem in table.problems] == [
            "Row 2",
            "Row 4 (line 5 of the file)",
        ]

    def test_empty_and_repeated_names_are_errors_and_shown_with_names_of_their_own(self) -> None:
        table = read_csv(b"a,,a, ,a (2),a,column 2\n1,2,3,4,5,6,7\n")
        assert table.columns == ("a", "column 2 (2)", "a (3)", "column 4", "a (2)", "a (4)", "column 2")
        assert kinds(table) == ["empty_header", "duplicate_header", "empty_header", "duplicate_header"]
        assert all(problem.row == 1 and problem.severity is Severity.ERROR for problem in table.problems)
        assert rows(table) == [["1", "2", "3", "4", "5", "6", "7"]]

    def test_nul_bytes_are_errors_and_stay_visible(self) -> None:
        table = read_csv(b"a,b\n1,2\n3,\x004\n")
        assert rows(table) == [["1", "2"], ["3", "\x004"]]
        assert (only(table, "nul_bytes").row, only(table, "nul_bytes").severity) == (3, Severity.ERROR)

    def test_a_quote_never_closed_takes_nothing_along_silently(self) -> None:
        table = read_csv(b'a,b\n1,2\n3,"4\n5,6\n')
        assert rows(table) == [["1", "2"]]
        problem = only(table, "unclosed_quote")
        assert (problem.row, problem.line, problem.severity) == (3, 3, Severity.ERROR)

    def test_text_after_a_closing_quote_is_an_error_and_kept_as_it_stands(self) -> None:
        table = read_csv(b'a,b\n"x"y,1\n"x" ,"2"\n')
        assert rows(table) == [['"x"y', "1"], ['"x" ', "2"]]
        assert [(problem.kind, problem.row) for problem in table.errors] == [
            ("text_after_quote", 2),
            ("text_after_quote", 3),
        ]

    def test_a_space_before_a_quote_is_a_warning(self) -> None:
        table = read_csv(b'a,b\n1, "2"\n')
        assert rows(table) == [["1", ' "2"']]
        assert kinds(table) == ["quote_after_space"]
        assert table.ok

    def test_a_cell_of_very_many_lines_is_a_warning(self) -> None:
        assert read_csv(b'a,b\n1,"' + b"x\n" * 99 + b'"\n').problems == ()
        table = read_csv(b'a,b\n1,"' + b"x\n" * 100 + b'"\n')
        assert kinds(table) == ["cell_with_many_lines"]
        assert only(table, "cell_with_many_lines").actual == "101"
        assert table.ok

    @pytest.mark.parametrize(
        ("content", "row", "line", "lines"),
        [
            (b'id,name\n1,"Ann\n2,Bob\n3,Cid"\n4,Eve\n', 2, 2, "3"),
            (b'id,name\n0,"x\ny"\n1,"Ann\n2,Bob\n3,Cid\n"\n4,Eve\n', 3, 4, "4"),
            (b'id,name\r\n1,"Ann\r\n2,Bob\r\n3,Cid"\r\n4,Eve\r\n', 2, 2, "3"),
            (b'id;name;x\n1;"Ann;a\n2;Bob;b\n3;Cid";c\n4;Eve;d\n', 2, 2, "3"),
            (b'id,name\n"1,Ann\n2,Bob\n3",Cid\n4,Eve\n', 2, 2, "3"),
            (b'id,"name\n1,Ann\n2,Bob"\n4,Eve\n', 1, 1, "3"),
        ],
    )
    def test_a_cell_of_what_look_like_rows_is_a_warning(self, content: bytes, row: int, line: int, lines: str) -> None:
        # the note of the delimiter sends the same content through the careful reading
        for prefix, more in ((b"", 0), (b"sep=%s\n" % (b";" if b";" in content else b","), 1)):
            table = read_csv(prefix + content)
            problem = only(table, "cell_with_rows")
            assert (problem.row, problem.line, problem.actual) == (row, line + more, lines)
            assert "a quote is missing" in problem.message
            assert set(kinds(table)) <= {"cell_with_rows", "sep_line"}
            assert table.ok

    def test_a_cell_of_rows_in_a_row_left_out_is_named_as_well(self) -> None:
        table = read_csv(b'id,name,x\n1,"Ann,a\n2,Bob,b\n3,Cid,c"\n4,Eve,d\n')
        assert kinds(table) == ["cell_with_rows", "row_too_short"]

    def test_a_cell_of_rows_as_of_many_lines_is_named_once(self) -> None:
        table = read_csv(b'a,b\n1,"' + b"x,y\n" * 100 + b'"\n')
        assert kinds(table) == ["cell_with_many_lines"]

    @pytest.mark.parametrize(
        "cell",
        [
            "Ann\n2,Bob",
            "Street 5\n1010 Vienna, Austria\nEurope",
            "Dear Sir,\nI write, once, again, to you\nYours, Bob",
            '{""a"": 1,\n""b"": 2,\n""c"": 3\n}',
            "one\ntwo\nthree",
        ],
    )
    @pytest.mark.parametrize("prefix", ["", "sep=,\n"])
    def test_other_cells_of_some_lines_are_not_suspected(self, prefix: str, cell: str) -> None:
        table = read_csv(f'{prefix}id,text\n1,"{cell}"\n2,x\n'.encode())
        assert "cell_with_rows" not in kinds(table)

    def test_lines_in_a_file_of_one_column_are_not_suspected(self) -> None:
        assert read_csv(b'a\n"1\n2\n3\n4"\n5\n').problems == ()

    def test_blank_lines_count_as_rows_and_are_warnings(self) -> None:
        table = read_csv(b"\na,b\n\n1,2\n\n\n3,4\n\n\n")
        assert rows(table) == [["1", "2"], ["3", "4"]]
        assert [(problem.kind, problem.row) for problem in table.problems] == [
            ("blank_line", row) for row in (1, 3, 5, 6)
        ]
        assert [table.row_number(i) for i in range(2)] == [4, 7]
        assert table.row_numbers is not None
        assert table.line_numbers is None
        assert table.ok

    def test_in_a_file_of_one_column_blank_lines_are_empty_cells(self) -> None:
        table = read_csv(b"a\n1\n\n2\n")
        assert rows(table) == [["1"], [""], ["2"]]
        assert table.problems == ()

    def test_in_a_file_of_one_column_blank_lines_at_the_end_are_left_out_with_a_warning(self) -> None:
        table = read_csv(b"a\n1\n\n\n")
        assert rows(table) == [["1"]]
        assert kinds(table) == ["blank_lines_at_end"]
        assert only(table, "blank_lines_at_end").actual == "2"

    @pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\r\n"])
    def test_an_empty_file_is_a_table_with_an_error(self, content: bytes) -> None:
        table = read_csv(content)
        assert "empty_file" in kinds(table)
        assert (len(table), table.columns, table.ok) == (0, (), False)
        assert table.frame.empty

    @pytest.mark.parametrize("content", [b"\n\n", b" \n  \n", b"\t\t\r\n\t\r\n", b"\n \n\n", b"\xef\xbb\xbf \n", b" "])
    def test_of_a_file_of_blank_lines_is_only_said_that_there_is_nothing_in_it(self, content: bytes) -> None:
        table = read_csv(content)
        assert kinds(table) == ["empty_file"]
        assert table.columns == ()

    @pytest.mark.parametrize("content", [b"a,b", b"a,b\n", b"a,b\r\n\r\n", b'"a\nx",b\n'])
    def test_a_header_alone_is_an_error(self, content: bytes) -> None:
        table = read_csv(content)
        assert kinds(table) == ["no_rows"]
        assert (len(table), len(table.columns), table.ok) == (0, 2, False)

    def test_several_problems_are_listed_by_row(self) -> None:
        table = read_csv(b'a,a\n"x"y\n\n1\x00,2\n "q",2\n1,2,3\n')
        assert [(problem.kind, problem.row) for problem in table.problems] == [
            ("duplicate_header", 1),
            ("text_after_quote", 2),
            ("row_too_short", 2),
            ("blank_line", 3),
            ("nul_bytes", 4),
            ("quote_after_space", 5),
            ("row_too_long", 6),
        ]


class TestSize:
    def test_a_cell_of_ten_megabytes_is_a_cell(self) -> None:
        big = "x\n, ü" * 2_000_000
        table = read_csv(f'a,b\n1,2\n3,"{big}"\n'.encode())
        assert table.data.column("b").to_pylist() == ["2", big]
        big = big.replace("\n", " ").replace(",", ";")
        assert read_csv(f"a,b\n1,2\n3,{big}\n".encode()).data.column("b").to_pylist() == ["2", big]

    def test_twenty_thousand_columns_are_read(self) -> None:
        header = ",".join(f"c{number}" for number in range(20_000))
        row = ",".join(map(str, range(20_000)))
        table = read_csv(f"{header}\n{row}\n{row}\n1,2\n".encode())
        assert (len(table), len(table.columns)) == (2, 20_000)
        assert kinds(table) == ["row_too_short"]
        assert table.data.column(19_999).to_pylist() == ["19999", "19999"]

    def test_twenty_thousand_equal_names_are_numbered(self) -> None:
        table = read_csv(b"a," * 19_999 + b"a\n" + b"1," * 19_999 + b"1\n")
        assert table.columns[-1] == "a (20000)"
        assert table.problems[-1].actual == "18999"

    def test_more_columns_than_any_table_has_are_refused(self) -> None:
        with pytest.raises(TableError, match="Is the delimiter right"):
            read_csv(b"a," * MAX_COLUMNS + b"a\n")

    def test_a_name_no_column_has_is_refused(self) -> None:
        assert read_csv(b"a" * MAX_NAME + b"\n1\n").ok
        with pytest.raises(TableError, match=r"column 2, 'aaa.*10,001 characters"):
            read_csv(b"b," + b"a" * (MAX_NAME + 1) + b"\n1,2\n")
        with pytest.raises(TableError, match="never closed"):
            read_csv(b'a,"b\n' + b"1,2\n" * MAX_NAME)
        with pytest.raises(TableError, match="column 1"):
            read_csv(pd.DataFrame({"a" * (MAX_NAME + 1): ["1"]}))

    @pytest.mark.parametrize("name", ["a", "aa"])
    @pytest.mark.parametrize("quote", ["", '5" '])
    def test_line_ends_within_cells_survive_where_blocks_meet(self, name: str, quote: str) -> None:
        cell = "x\r\n" * 40
        rows_of_file = "".join(f'{quote}{number},"{cell}"\r\n' for number in range(80_000))
        table = read_csv(f"{name},b\r\n{rows_of_file}".encode())
        assert table.problems == ()
        assert set(table.data.column("b").to_pylist()) == {cell}
        assert table.data.column(0).to_pylist() == [f"{quote}{number}" for number in range(80_000)]
        assert table.line_number(79_999) == 2 + 79_999 * 41

    def test_a_large_file_with_everything_odd_is_read_as_csv_reads_it(self) -> None:
        rng = random.Random(7)
        pieces = [
            "plain,1,2",
            '"q,""q""",1,2',
            '5" x,1,2',
            '"two\nlines",1,"\r\n"',
            "short,1",
            "",
            "long,1,2,3",
            "é€,,",
        ]
        weights = [50, 20, 5, 5, 1, 1, 1, 17]
        content = "a,b,c\n" + "".join(
            piece + rng.choice(["\n", "\r\n", "\r"]) for piece in rng.choices(pieces, weights, k=200_000)
        )
        content = content.rstrip("\r\n")
        expected = list(csv.reader(io.StringIO(content, newline=""), strict=True))[1:]
        table = read_csv(content.encode())
        assert rows(table) == [row for row in expected if len(row) == 3]
        assert [table.row_number(i) for i in range(len(table))] == [
            number for number, row in enumerate(expected, start=2) if len(row) == 3
        ]


class TestSource:
    CONTENT = b"a,b\n1,2\n"

    def test_a_path_is_read_and_named(self, tmp_path: Path) -> None:
        path = tmp_path / "permits.csv"
        path.write_bytes(self.CONTENT)
        for source in (path, str(path)):
            table = read_csv(source)
            assert rows(table) == [["1", "2"]]
            assert table.source == "permits.csv"
        with path.open("rb") as file:
            assert read_csv(file).source == "permits.csv"
        with path.open(encoding="utf-8") as text:
            assert read_csv(text).source == "permits.csv"

    @pytest.mark.parametrize(
        "source", [CONTENT, bytearray(CONTENT), memoryview(CONTENT), io.BytesIO(CONTENT), io.StringIO(CONTENT.decode())]
    )
    def test_content_is_read_from_memory(self, source: bytes) -> None:
        assert rows(read_csv(source)) == [["1", "2"]]

    def test_open_text_with_half_a_character_is_an_error_by_row(self) -> None:
        table = read_csv(io.StringIO("a,b\n1,\ud83d\n"))
        assert only(table, "undecodable_bytes").row == 2

    def test_what_cannot_be_read_is_refused_in_plain_words(self, tmp_path: Path) -> None:
        closed = io.BytesIO()
        closed.close()
        latin = tmp_path / "latin.csv"
        latin.write_bytes(b"a\n\xff\n")
        with latin.open(encoding="utf-8") as wrong:
            for source, message in (
                (tmp_path / "missing.csv", "There is no file"),
                (tmp_path, "is a folder"),
                (os.devnull, "is a device"),
                ("a,b\n1,2\n", "the text of a CSV, not a path"),
                ("a\0b", "cannot be read"),
                ("x" * 5000, "cannot be read"),
                (closed, "closed file"),
                (wrong, "wrong encoding"),
                (3, "cannot be read from int"),
                (None, "cannot be read from NoneType"),
            ):
                with pytest.raises(TableError, match=message):
                    read_csv(source)  # type: ignore[arg-type]

    def test_a_file_without_permission_is_refused(self, folder_of_anybody: Path) -> None:
        path = folder_of_anybody / "secret.csv"
        path.write_bytes(self.CONTENT)
        path.chmod(0)
        with pytest.raises(TableError, match=r"permission denied\. Ask its owner"):
            read_csv(path)

    @pytest.mark.parametrize(
        "beginning", [b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"\x1f\x8b", b"%PDF-1.7"]
    )
    def test_files_often_taken_for_csv_are_refused_by_name(self, beginning: bytes) -> None:
        with pytest.raises(TableError, match=r"not a CSV\. Save the table as CSV UTF-8"):
            read_csv(beginning + b"...")

    @pytest.mark.parametrize(
        ("content", "what"),
        [
            (b"<!DOCTYPE html>\n<html><body>a,b</body></html>\n", "an HTML page"),
            (b"\n  <html lang='en'>\n<p>1,2</p>\n", "an HTML page"),
            ("<!doctype HTML>\n<title>ü</title>\n".encode("utf-16"), "an HTML page"),
            (b"\xef\xbb\xbf<?xml version='1.0'?>\n<a>1</a>\n", "XML"),
            (b'[{"a": 1, "b": 2},\n {"a": 3, "b": 4}]\n', "JSON"),
            (b'\n{\n  "a": [1, 2],\n  "b": 3\n}\n', "JSON"),
            (b'{"a": 1}\n{"a": 2}\n', "JSON"),
            (b'[\n  ["a", "b"],\n  [1, 2]\n]\n', "JSON"),
            (b"{\\rtf1 a,b\n1,2\n}", "a rich text document"),
            (b"\x89PNG\r\n\x1a\n\0\0", "a PNG image"),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG image"),
            (b"GIF89a\x01\0", "a GIF image"),
            (b"PAR1\x15\x04", "a Parquet file"),
            (b"SQLite format 3\0", "an SQLite database"),
            (b"\xfd7zXZ\0\0", "compressed with xz"),
            (b"BZh91AY&SY", "compressed with bzip2"),
            (b"\x28\xb5\x2f\xfd\x04", "compressed with Zstandard"),
            (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
        ],
    )
    def test_what_is_not_a_table_is_refused_by_what_it_looks_like(self, content: bytes, what: str) -> None:
        with pytest.raises(TableError, match=rf"bytes is {what}, not a CSV\."):
            read_csv(content)

    def test_open_text_that_is_not_a_table_is_refused_as_well(self) -> None:
        with pytest.raises(TableError, match="an HTML page"):
            read_csv(io.StringIO("<html>\n1,2\n</html>\n"))

    @pytest.mark.parametrize(
        "header",
        ["{id},{name}", "[id],[name]", '{"id"},b', "<htmlish>,b", "[1],b", "PAR1,PAR2", "BZh,b", "{},[]", "<b>,<i>"],
    )
    def test_odd_names_do_not_make_a_table_something_else(self, header: str) -> None:
        assert rows(read_csv(f"{header}\n1,2\n".encode())) == [["1", "2"]]

    def test_parameters_that_cannot_apply_are_refused(self) -> None:
        with pytest.raises(TableError, match="decoded already"):
            read_csv(io.StringIO("a\n1\n"), encoding="utf-8")
        with pytest.raises(TableError, match="neither encoding nor delimiter"):
            read_csv(pd.DataFrame({"a": ["1"]}), delimiter=";")


DAY = dt.datetime.fromisoformat("2026-01-01")
NOON = dt.datetime.fromisoformat("2026-01-01T12:00")


class TestFrame:
    def test_everything_becomes_text(self) -> None:
        frame = pd.DataFrame(
            {
                "text": ["007", None],
                "int": [1, -2],
                "bool": [True, False],
                "time": pd.to_datetime(["2026-01-02 03:04:05", None]),
                "id": pd.array([12345678901234567, None], dtype="Int64"),
                "small": np.array([0.1, 1e16], dtype="float32"),
                "kind": pd.Categorical(["x", None]),
                "any": [{"k": 1}, pd.NA],
                "arrow": pd.array(["é", None], dtype=TEXT),
            }
        )
        before = frame.copy(deep=True)
        table = read_csv(frame)
        assert rows(table) == [
            ["007", "1", "True", "2026-01-02T03:04:05", "12345678901234567", "0.1", "x", "{'k': 1}", "é"],
            ["", "-2", "False", "", "", "1e+16", "", "", ""],
        ]
        assert table.problems == ()
        assert (table.dialect, table.source) == (None, "DataFrame")
        assert (table.row_number(1), table.line_number(1)) == (3, None)
        pd.testing.assert_frame_equal(frame, before)

    @pytest.mark.parametrize(
        ("values", "texts"),
        [
            (pd.DatetimeIndex(["2026-01-01", "NaT", "2026-01-02"]), ["2026-01-01", "", "2026-01-02"]),
            (pd.to_datetime(["2026-01-01 00:00", "2026-01-02 12:30"]), ["2026-01-01T00:00:00", "2026-01-02T12:30:00"]),
            (pd.to_datetime(["2026-01-01"]).tz_localize("Europe/Vienna"), ["2026-01-01T00:00:00+01:00"]),
            (pd.to_datetime(["2026-01-01 00:00:00.000000001"]), ["2026-01-01T00:00:00.000000001"]),
            (pd.Categorical(pd.to_datetime(["2026-01-01"])), ["2026-01-01"]),
            (pa.array([DAY.date(), None]).to_pandas(types_mapper=pd.ArrowDtype), ["2026-01-01", ""]),
            (pa.array([NOON]).to_pandas(types_mapper=pd.ArrowDtype), ["2026-01-01T12:00:00"]),
            (np.array([DAY.date(), pd.NaT, None], dtype=object), ["2026-01-01", "", ""]),
            (np.array([DAY, DAY.date(), "soon", 7], dtype=object), ["2026-01-01", "2026-01-01", "soon", "7"]),
            (np.array([DAY, NOON], dtype=object), ["2026-01-01T00:00:00", "2026-01-01T12:00:00"]),
            (np.array([DAY.replace(tzinfo=dt.UTC)], dtype=object), ["2026-01-01T00:00:00+00:00"]),
        ],
    )
    def test_dates_and_times_become_iso_text(self, values: object, texts: list[str]) -> None:
        table = read_csv(pd.DataFrame({"when": values}))
        assert rows(table) == [[text] for text in texts]
        assert table.problems == ()

    def test_a_float_column_with_missing_values_is_a_warning(self) -> None:
        table = read_csv(pd.DataFrame({"id": [12345, None], "price": [1.5, 2.0], "none": [None, float("nan")]}))
        assert rows(table) == [["12345.0", "1.5", ""], ["", "2.0", ""]]
        assert kinds(table) == ["float_with_missing"]
        assert "'id'" in table.problems[0].message
        assert "'12345.0'" in table.problems[0].message
        assert table.ok

    def test_the_index_comes_along(self) -> None:
        index = pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["k", "n"])
        table = read_csv(pd.DataFrame({"a": ["1", "2"]}, index=index))
        assert table.index is not None
        assert table.index.equals(index)
        assert table.frame.index.equals(index)

    def test_labels_become_names(self) -> None:
        frame = pd.DataFrame([["1", "2", "3", "4", "5"]], columns=[7, "7", None, ("x", 1), "\ud800"])
        table = read_csv(frame)
        assert table.columns == ("7", "7 (2)", "column 3", "('x', 1)", "?")
        assert kinds(table) == ["duplicate_header", "empty_header"]
        assert all(problem.line is None for problem in table.problems)

    def test_text_columns_of_every_kind_are_text(self) -> None:
        for dtype in (object, TEXT, "string[python]", "string[pyarrow]", pd.ArrowDtype(pa.string())):
            frame = pd.DataFrame({"a": pd.Series(["x", None, "é"], dtype=dtype)}).iloc[1:]
            assert rows(read_csv(frame)) == [[""], ["é"]]
        half = pd.DataFrame({"a": pd.Series(["\ud83d"], dtype="string[python]")})
        assert rows(read_csv(half)) == [["?"]]

    def test_an_empty_frame_is_a_table_with_an_error(self) -> None:
        assert kinds(read_csv(pd.DataFrame())) == ["empty_file"]
        assert kinds(read_csv(pd.DataFrame({"a": []}, dtype=str))) == ["no_rows"]

    def test_nul_and_half_characters_are_errors_by_row(self) -> None:
        table = read_csv(pd.DataFrame({"a": ["x", "\0", "\ud83d"]}, dtype=object))
        assert [(problem.kind, problem.row) for problem in table.problems] == [
            ("nul_bytes", 3),
            ("undecodable_text", 4),
        ]
        assert rows(table) == [["x"], ["\0"], ["?"]]
        named = read_csv(pd.DataFrame({"a\0": pd.Series(["\0x"], dtype=TEXT)}))
        assert [(problem.kind, problem.row) for problem in named.problems] == [("nul_bytes", 1), ("nul_bytes", 2)]
        assert named.columns == ("a␀",)

    def test_a_value_without_a_text_is_refused(self) -> None:
        class Mute:
            def __str__(self) -> str:
                raise RuntimeError("no")

        with pytest.raises(TableError, match=r"Column 'a' .* RuntimeError"):
            read_csv(pd.DataFrame({"a": [Mute()]}))


class TestOwnExport:
    def test_it_is_read_back_as_it_was(self) -> None:
        content = f"'=a,b,{ERRORS_COLUMN}\n'=1+1,''=x,bad\n'plain,+49 30,bad\n".encode()
        table = read_csv(content)
        assert table.columns == ("=a", "b")
        assert rows(table) == [["=1+1", "'=x"], ["'plain", "+49 30"]]
        assert kinds(table) == ["own_export"]
        assert table.ok

    def test_without_the_column_a_quote_stays(self) -> None:
        assert rows(read_csv(b"a,b\n'=1+1,2\n")) == [["'=1+1", "2"]]

    def test_a_frame_only_loses_the_column(self) -> None:
        table = read_csv(pd.DataFrame({"a": ["'=1"], ERRORS_COLUMN: ["bad"]}))
        assert rows(table) == [["'=1"]]
        assert kinds(table) == ["own_export"]


class TestFingerprint:
    def test_it_is_the_same_for_the_same_cells_however_they_came(self) -> None:
        prints = {
            read_csv(source).fingerprint
            for source in (
                b"a,b\n1,\xc3\xbc\n",
                b'a;b\r\n"1";\xc3\xbc\r\n',
                "a\tb\n1\tü\n".encode("utf-16"),
                pd.DataFrame({"a": [1], "b": ["ü"]}),
            )
        }
        assert len(prints) == 1
        assert len(prints.pop()) == 64

    def test_it_differs_where_anything_differs(self) -> None:
        contents = [
            b"a,b\n1,2\n",
            b"a,b\n1,3\n",
            b"a,c\n1,2\n",
            b"b,a\n1,2\n",
            b"a,b\n12,\n",
            b"a,b\n,12\n",
            b"a,b\n1,2\n1,2\n",
        ]
        assert len({read_csv(content).fingerprint for content in contents}) == len(contents)

    def test_it_does_not_depend_on_how_the_data_lies_in_memory(self) -> None:
        table = read_csv(b"a,b\n" + b"".join(b"%d,x\n" % number for number in range(1000)))
        pieces = pa.concat_tables([table.data.slice(0, 400), table.data.slice(400)])
        short = pieces.cast(pa.schema([("a", pa.string()), ("b", pa.string())]))
        for data in (pieces, short):
            assert Table(data=data, dialect=None).fingerprint == table.fingerprint


class TestValue:
    def test_it_refuses_names_and_numbers_that_do_not_fit(self) -> None:
        data = pa.table({"a": ["1", "2"]})
        with pytest.raises(ValueError, match="unique"):
            Table(data=pa.Table.from_arrays([data["a"], data["a"]], names=["a", "a"]), dialect=None)
        with pytest.raises(ValueError, match="for 2 records"):
            Table(data=data, dialect=None, row_numbers=np.array([1]))

    def test_its_repr_shows_no_cells(self) -> None:
        assert repr(read_csv(b"a,b\nsecret\n")) == "<Table 'bytes': 0 rows × 2 columns, 1 problems>"
