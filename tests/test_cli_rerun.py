"""`batchkit rerun` and `batchkit results`, against a real demo platform."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

import batchkit as bk
from batchkit.cli import main
from batchkit.terminal import Exit

FILER = bk.Agent(
    name="Filer", inputs=[bk.InputVariable("client", schema={"type": "string", "minLength": 2}, required=True)]
)


@pytest.fixture
def demo() -> Iterator[bk.DemoPlatform]:
    with bk.DemoPlatform(agents=[FILER], duration=0.02, failure_share=0.4) as platform:
        yield platform


@pytest.fixture(autouse=True)
def home(tmp_path: Path, demo: bk.DemoPlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "permits.csv").write_text("client\n" + "".join(f"Client {n}\n" for n in range(20)) + "X\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCHKIT_STORE", str(tmp_path / "store.sqlite"))
    monkeypatch.setenv("BATCHKIT_URL", demo.url)
    monkeypatch.setenv("BATCHKIT_API_KEY", demo.api_key)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*argv: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(argv)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def first(cli) -> str:
    """A batch of 20 rows of which some failed; one was left out."""
    code, out, _ = cli(
        "run",
        "permits.csv",
        "--agent",
        "Filer",
        "--batch-interval",
        "0",
        "--invalid",
        "drop",
        "--wait",
        "finished",
        "--quiet",
    )
    assert code == Exit.OK
    return str(out.split()[0])


def test_failed_rows_run_again_with_a_corrected_file_and_all_rows_come_out(
    cli, first: str, demo: bk.DemoPlatform
) -> None:
    assert cli("results", first, "--output", "r.xlsx")[0] == Exit.OK
    assert cli("results", first, "--output", "r.csv")[0] == Exit.OK
    assert len(pd.read_excel("r.xlsx")) == 21
    rows = pd.read_csv("r.csv", dtype=str, keep_default_na=False)
    rows["client"] += " Ltd"
    rows.to_csv("corrected.csv", index=False)
    code, out, _ = cli("rerun", first, "--failed", "--dropped", "--inputs", "corrected.csv", "--output", "all.parquet")
    assert code == Exit.OK
    found = re.search(r"as batch (b\w+)", out.replace("\n", " "))
    assert found is not None
    assert f"batchkit results {found[1]} --wait --output results.csv --merged" in out.replace("\n", " ")
    merged = pd.read_parquet("all.parquet")
    assert merged["row"].tolist() == list(range(2, 23))
    again = merged["batch"] == found[1]
    failed = rows["execution_status"] == "failed"
    assert again.tolist() == (failed | (rows["status"] == "left_out")).tolist()
    sent = Counter(each["inputs"]["client"] for each in demo.executions())
    assert max(sent.values()) == 1
    assert sum(sent.values()) == 20 + int(again.sum())
    assert cli("results", first, "--merged")[1].count("Ltd") == int(again.sum())


def test_what_cannot_be_run_again_is_explained(cli, first: str, demo: bk.DemoPlatform) -> None:
    count = len(demo.executions())
    code, _, err = cli("rerun", first)
    assert (code, "--failed" in err) == (Exit.WRONG, True)
    code, _, err = cli("rerun", first, "--refused")
    assert (code, "is refused by now" in err) == (Exit.STOPPED, True)
    code, _, err = cli("rerun", first, "--dropped")
    assert (code, "1 of 1 rows are invalid" in err) == (Exit.WRONG, True)
    code, _, err = cli("rerun", first, "--failed", "--output", "r.doc")
    assert (code, "'.doc'" in err) == (Exit.WRONG, True)
    code, _, err = cli("results", first, "--output", "r.doc")
    assert (code, "'.doc'" in err) == (Exit.WRONG, True)
    code, _, err = cli("run", "permits.csv", "--agent", "Filer", "--output", "r.doc")
    assert (code, "'.doc'" in err) == (Exit.WRONG, True)
    assert len(demo.executions()) == count
