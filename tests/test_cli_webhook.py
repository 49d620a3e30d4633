"""`batchkit webhook` where it cannot begin; how it runs is among the acceptance tests."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from batchkit.cli import main
from batchkit.targets.demo.webhooks import new_key, public_key_of
from batchkit.terminal import Exit


def test_without_a_key_it_says_where_one_is_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("BATCHKIT_WEBHOOK_KEY", raising=False)
    assert main(["webhook", "--store", str(tmp_path / "runs.sqlite")]) == Exit.WRONG
    assert "BATCHKIT_WEBHOOK_KEY" in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        argv = ["webhook", "--store", str(tmp_path / "runs.sqlite"), "--port", port]
        assert main([*argv, "--public-key", public_key_of(new_key())]) == Exit.WRONG
    assert f"Port {port} of 127.0.0.1" in capsys.readouterr().err


def test_its_help_fits_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["webhook", "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
