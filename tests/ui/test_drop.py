"""A file arrives in chunks, whole or not at all, whatever interrupts it."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import tempfile
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.errors import BatchkitError, ExportError, StateError, TableError
from batchkit.ui.drop import Uploads


class Received:
    """Uploads into a folder of the test's, with what came of them."""

    def __init__(self, folder: Path | None) -> None:
        self.files: list[tuple[str, Path, bytes]] = []
        self.changes: list[dict[str, Any]] = []
        self.refusal: Exception | None = None
        self.uploads = Uploads(self._keep, lambda: self.changes.append(self.uploads.snapshot), folder)

    def _keep(self, name: str, path: Path) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.files.append((name, path, path.read_bytes()))

    def ask(self, intent: str, *buffers: bytes, **details: Any) -> Any:
        return self.uploads.intents[f"upload_{intent}"](details, [memoryview(each) for each in buffers])

    def begin(self, name: str, size: int) -> str:
        return self.ask("begin", name=name, size=size)["upload"]

    def send(self, name: str, *chunks: bytes) -> None:
        upload, offset = self.begin(name, sum(map(len, chunks))), 0
        for chunk in chunks:
            self.ask("chunk", chunk, upload=upload, offset=offset)
            offset += len(chunk)
        self.ask("end", upload=upload)

    @property
    def state(self) -> str:
        return self.uploads.snapshot["state"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "uploads"


@pytest.fixture
def received(folder: Path) -> Received:
    return Received(folder)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8))
def test_what_is_received_is_what_was_sent(chunks: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        received = Received(Path(folder))
        received.send("a.csv", *chunks)
        assert [(name, data) for name, _, data in received.files] == [("a.csv", b"".join(chunks))]
        assert received.state == "done"
        received.uploads.close()


def test_progress_shows_and_the_end_is_said(received: Received) -> None:
    assert received.uploads.snapshot == {}
    received.send("a.csv", b"abc", b"de")
    shown = [(each["name"], each["size"], each["received"], each["state"], each["error"]) for each in received.changes]
    assert shown == [
        ("a.csv", 5, 0, "receiving", ""), ("a.csv", 5, 3, "receiving", ""), ("a.csv", 5, 5, "receiving", ""),
        ("a.csv", 5, 5, "done", ""),
    ]  # fmt: skip


def test_files_are_the_users_alone(received: Received, folder: Path) -> None:
    received.send("a.csv", b"abc")
    assert stat.S_IMODE(received.files[0][1].stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "a\0b", "..", "", "x" * 9_000, '"><img src=x onerror=alert(1)>', "a\nb"]
)
def test_a_name_is_shown_and_never_a_path(received: Received, folder: Path, name: str) -> None:
    received.send(name, b"abc")
    shown, path, _ = received.files[0]
    assert shown == (name[:255] or "file")
    assert path.parent == folder
    assert len(os.listdir(folder)) == 1
    assert path.name.removesuffix(".upload").isalnum()


def test_a_complete_file_is_kept_until_the_next_is_complete(received: Received, folder: Path) -> None:
    received.send("a.csv", b"first")
    first = received.files[0][1]
    upload = received.begin("b.csv", 6)
    received.ask("chunk", b"sec", upload=upload, offset=0)
    assert first.read_bytes() == b"first"
    received.ask("chunk", b"ond", upload=upload, offset=3)
    received.ask("end", upload=upload)
    assert [path.read_bytes() for path in folder.iterdir()] == [b"second"]


def test_cancelling_removes_what_came_and_keeps_the_file_before(received: Received, folder: Path) -> None:
    received.send("a.csv", b"first")
    upload = received.begin("b.csv", 6)
    received.ask("chunk", b"sec", upload=upload, offset=0)
    received.ask("cancel", upload=upload)
    assert (received.uploads.snapshot["name"], received.state) == ("b.csv", "cancelled")
    assert [path.read_bytes() for path in folder.iterdir()] == [b"first"]
    with pytest.raises(StateError, match="was ended"):
        received.ask("chunk", b"ond", upload=upload, offset=3)
    assert received.state == "cancelled"


def test_a_file_the_browser_cannot_read_has_failed_with_its_words(received: Received, folder: Path) -> None:
    upload = received.begin("b.csv", 6)
    received.ask("cancel", upload=upload, error="It was changed meanwhile.")
    assert (received.state, received.uploads.snapshot["error"]) == ("failed", "It was changed meanwhile.")
    assert list(folder.iterdir()) == []


def test_nothing_is_said_of_a_failed_upload_once_another_file_is_in_use(received: Received) -> None:
    upload = received.begin("b.csv", 6)
    received.uploads.settle()
    assert received.state == "receiving"
    received.ask("cancel", upload=upload, error="It was changed meanwhile.")
    received.uploads.settle()
    assert received.uploads.snapshot == {}


def test_cancelling_what_is_over_changes_nothing(received: Received) -> None:
    received.ask("cancel", upload=None)
    received.send("a.csv", b"abc")
    received.ask("cancel", upload=received.uploads.snapshot["id"], error="late")
    assert received.state == "done"
    assert received.files[0][1].exists()


def test_a_second_file_takes_the_place_of_one_on_its_way(received: Received, folder: Path) -> None:
    old = received.begin("old.csv", 6)
    received.ask("chunk", b"old", upload=old, offset=0)
    new = received.begin("new.csv", 3)
    with pytest.raises(StateError, match="another file took its place"):
        received.ask("chunk", b"old", upload=old, offset=3)
    with pytest.raises(StateError):
        received.ask("end", upload=old)
    received.ask("cancel", upload=old)
    received.ask("chunk", b"new", upload=new, offset=0)
    received.ask("end", upload=new)
    assert [(name, data) for name, _, data in received.files] == [("new.csv", b"new")]
    assert len(os.listdir(folder)) == 1


@pytest.mark.parametrize(
    ("offset", "chunks"), [(0, [b"abc"]), (5, [b"abc"]), (None, [b"abc"]), (3, []), (3, [b"a", b"b"])]
)
def test_a_part_out_of_order_fails_the_upload(
    received: Received, folder: Path, offset: int | None, chunks: list[bytes]
) -> None:
    upload = received.begin("a.csv", 9)
    received.ask("chunk", b"abc", upload=upload, offset=0)
    with pytest.raises(BatchkitError, match="lost on the way"):
        received.ask("chunk", *chunks, upload=upload, offset=offset)
    assert received.state == "failed"
    assert list(folder.iterdir()) == []


def test_a_file_that_grew_or_shrank_fails(received: Received, folder: Path) -> None:
    upload = received.begin("a.csv", 4)
    with pytest.raises(BatchkitError, match="became longer"):
        received.ask("chunk", b"abcde", upload=upload, offset=0)
    upload = received.begin("a.csv", 4)
    received.ask("chunk", b"abc", upload=upload, offset=0)
    with pytest.raises(BatchkitError, match="Only 3 of 4 bytes"):
        received.ask("end", upload=upload)
    assert "Only 3 of 4" in received.uploads.snapshot["error"]
    assert (received.files, list(folder.iterdir())) == ([], [])


def test_a_file_that_is_refused_has_failed_and_the_one_before_is_kept(received: Received, folder: Path) -> None:
    received.send("a.csv", b"first")
    received.refusal = TableError("b.csv is no table.")
    with pytest.raises(BatchkitError, match=r"b\.csv is no table\."):
        received.send("b.csv", b"second")
    assert (received.state, received.uploads.snapshot["error"]) == ("failed", "b.csv is no table.")
    assert [path.read_bytes() for path in folder.iterdir()] == [b"first"]


def test_a_fault_of_our_own_is_said(received: Received, caplog: pytest.LogCaptureFixture) -> None:
    received.refusal = ZeroDivisionError("a slip")
    with caplog.at_level(logging.CRITICAL, "batchkit"), pytest.raises(BatchkitError, match="ZeroDivisionError: a slip"):
        received.send("a.csv", b"abc")
    assert received.state == "failed"


def test_no_room_is_said_before_anything_is_sent(received: Received, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(100, 90, 10))
    with pytest.raises(ExportError, match=r"no room for its 11 bytes.*Make room there"):
        received.begin("a.csv", 11)
    assert received.state == "failed"
    assert received.begin("a.csv", 10)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here to be the full disk")
def test_a_disk_that_is_full_meanwhile_is_said(received: Received, folder: Path) -> None:
    upload = received.begin("a.csv", 9)
    part = next(folder.iterdir())
    part.unlink()
    part.symlink_to("/dev/full")
    with pytest.raises(ExportError, match="No space left on device"):
        received.ask("chunk", b"abc", upload=upload, offset=0)
    assert received.state == "failed"
    assert list(folder.iterdir()) == []


def test_a_file_cleaned_away_meanwhile_is_not_begun_in_the_middle(received: Received, folder: Path) -> None:
    upload = received.begin("a.csv", 6)
    received.ask("chunk", b"abc", upload=upload, offset=0)
    next(folder.iterdir()).unlink()
    with pytest.raises(ExportError, match="could not be kept"):
        received.ask("chunk", b"def", upload=upload, offset=3)
    assert list(folder.iterdir()) == []


def test_closing_removes_the_files_and_takes_no_more(received: Received, folder: Path) -> None:
    received.send("a.csv", b"abc")
    upload = received.begin("b.csv", 6)
    received.uploads.close()
    received.uploads.close()
    assert list(folder.iterdir()) == []
    with pytest.raises(BatchkitError):
        received.ask("chunk", b"abc", upload=upload, offset=0)
    with pytest.raises(StateError, match="no more files"):
        received.begin("c.csv", 1)


def test_a_folder_of_its_own_is_private_and_goes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    received = Received(None)
    assert list(tmp_path.iterdir()) == []
    received.send("a.csv", b"abc")
    (folder,) = tmp_path.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    received.uploads.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_its_own_goes_with_the_last_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    uploads = Uploads(lambda _name, _path: None, lambda: None)
    uploads.intents["upload_begin"]({"name": "a.csv", "size": 0}, [])
    assert len(list(tmp_path.iterdir())) == 1
    uploads.intents.clear()
    del uploads
    assert list(tmp_path.iterdir()) == []
