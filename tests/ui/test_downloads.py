"""Files made for the browser: their names, and what is left of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchkit.errors import ExportError
from batchkit.ui.downloads import Downloads, file_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("March permits results.csv", "March permits results.csv"),
        ("../../etc/passwd results.xlsx", "etc_passwd results.xlsx"),
        (f"{'long ' * 50}results.parquet", f"{('long ' * 50)[:92]}.parquet"),
        ("..", "batch"),
        ("v1.2 of everything there is", "v1.2 of everything there is"),
    ],
)
def test_a_name_is_one_for_any_system_and_keeps_its_ending(text: str, name: str) -> None:
    assert file_name(text) == name
    assert len(file_name(text)) <= 100


def test_what_is_written_has_the_ending_of_the_name_and_is_gone_in_the_end() -> None:
    changes: list[int] = []
    downloads = Downloads(lambda: changes.append(1))
    written: list[Path] = []
    downloads.make("here", "March results.jsonl", lambda path: written.append(path) or path.write_text("{}"), of="b1")
    [path] = written
    [ready] = downloads.snapshot
    assert (path.suffix, ready["name"], ready["size"], ready["of"]) == (".jsonl", "March results.jsonl", 2, "b1")
    downloads.intents["download_end"]({"id": ready["id"]}, [])
    assert (path.exists(), downloads.snapshot, len(changes)) == (False, [], 2)
    downloads.close()


def test_a_file_that_cannot_be_written_leaves_nothing() -> None:
    downloads = Downloads(lambda: None)

    def fail(path: Path) -> None:
        path.write_text("half")
        raise ExportError("The disk is full.")

    with pytest.raises(ExportError):
        downloads.make("here", "March.csv", fail)
    assert downloads.snapshot == []
    downloads.close()
