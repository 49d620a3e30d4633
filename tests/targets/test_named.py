"""Targets by name, as a worker is told them."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

import batchkit as bk
from batchkit.errors import ConfigError
from batchkit.targets.named import target_named


def greet(client: str) -> str:
    return f"Hello, {client}"


def broken() -> bk.FunctionTarget:
    raise OSError("no such file")


@pytest.fixture(autouse=True)
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("users_targets")
    module.ready = bk.FunctionTarget(greet)
    module.make = lambda: bk.FunctionTarget(greet, name="Greeter")
    module.greet, module.broken, module.number = greet, broken, 5
    monkeypatch.setitem(sys.modules, "users_targets", module)
    return module


def test_a_target_or_what_makes_one_is_found_by_its_name(module: ModuleType) -> None:
    assert target_named("users_targets:ready") is module.ready
    assert "Greeter" in target_named("users_targets:make").info.label


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("users_targets:nothing", "no target .* to import"),
        ("no_such_module:x", "no target .* to import: No module"),
        ("users_targets", "no target"),
        ("users_targets:number", "is no target but 'int'"),
        ("users_targets:greet", "made no target: .*--function"),
        ("users_targets:broken", "made no target: .*no such file"),
    ],
)
def test_what_is_no_target_is_refused_with_what_to_do(reference: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        target_named(reference)


def test_a_module_that_fails_while_it_is_imported_is_told_of(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("modules")
    (folder / "broken_module.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(folder)
    with pytest.raises(ConfigError, match="ZeroDivisionError"):
        target_named("broken_module:target")
