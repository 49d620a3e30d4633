"""The house plan, checked: who may import whom, that core is pure, and that the public names are all there."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import batchkit

ROOT = Path(batchkit.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))

#: from whom each part may import, beside itself
ARROWS = {
    "errors": set(),
    "core": {"errors"},
    "io": {"errors", "core"},
    "targets": {"errors", "core"},
    "engine": {"errors", "core"},
    "testing": {"errors", "core"},
    "joining": {"errors", "core"},
    "rerun": {"errors", "core", "io", "joining"},
    "batch": {"errors", "core", "io", "joining", "rerun"},
    "defaults": {"errors", "core", "io", "targets"},
    "making": {"errors", "core"},
    "workspace": {"errors", "core", "io", "targets", "engine", "defaults", "making", "notices", "batch", "ui"},
    "notices": {"errors", "core", "io", "targets"},
    "webhook": {"errors", "core", "io", "targets", "workspace"},
    "worker": {"errors", "core", "workspace"},
    "ui": {"errors", "core", "io"},
    "terminal": {"errors", "core"},
    "cli_parser": {"core"},
    "cli": {"errors", "cli_parser", "terminal"},
    "cli_watch": {"errors", "core", "defaults", "workspace", "batch", "terminal"},
    "cli_batches": {"errors", "core", "io", "workspace", "batch", "terminal", "cli_watch"},
    "cli_rerun": {"errors", "core", "io", "batch", "terminal", "cli_batches", "cli_watch"},
    "cli_run": {"errors", "core", "io", "targets", "workspace", "batch", "terminal", "cli_watch", "cli_batches"},
    "serve": {"errors"},
    "cli_serve": {"errors", "io", "workspace", "terminal", "cli_run", "cli_watch", "serve", "worker"},
    "cli_worker": {"errors", "core", "engine", "defaults", "targets", "workspace", "terminal", "cli_watch", "worker"},
    "doctor": {"errors", "core", "targets", "workspace"},
    "cli_doctor": {"errors", "terminal", "cli_watch", "doctor"},
    "cli_webhook": {"errors", "io", "defaults", "terminal", "webhook"},
    "__main__": {"cli"},
}
#: what thinks must not look around or wait
IMPURE = {
    "asyncio", "concurrent", "getpass", "http", "httpx", "io", "logging", "multiprocessing", "os", "pathlib",
    "platformdirs", "secrets", "shutil", "signal", "socket", "sqlalchemy", "sqlite3", "subprocess", "sys", "tempfile",
    "threading", "time", "urllib", "uuid",
}  # fmt: skip
IMPURE_CALLS = {
    "datetime.now", "datetime.today", "datetime.utcnow", "date.today", "pd.Timestamp.now", "open", "print", "input",
    "np.random.default_rng", "__import__", "eval", "exec",
}  # fmt: skip


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imports_of(path: Path) -> list[tuple[str, bool]]:
    """(module, whether only for type checking) of every import in a file."""
    tree = ast.parse(path.read_text("utf-8"))
    guarded = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in guarded) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(name, id(node) in guarded) for name in names]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrows(path: Path) -> None:
    part = part_of(path)
    if part == "__init__":
        return
    for name, only_types in imports_of(path):
        pieces = name.split(".")
        if not only_types and pieces[0] == "batchkit" and len(pieces) > 1 and pieces[1] != part:
            assert pieces[1] in ARROWS[part], f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("path", sorted((ROOT / "core").glob("*.py")), ids=lambda path: path.name)
def test_core_is_pure(path: Path) -> None:
    for name, _ in imports_of(path):
        assert name.split(".")[0] not in IMPURE, f"core/{path.name} imports {name}"
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in IMPURE_CALLS, f"core/{path.name}:{node.lineno}: {ast.unparse(node)}"
            is_global_random = (
                isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "random"
                and node.func.attr != "Random"
            )
            assert not is_global_random, f"core/{path.name}:{node.lineno} uses the global random"


def test_no_module_imports_itself_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    names = {".".join(["batchkit", *path.relative_to(ROOT).with_suffix("").parts]): path for path in MODULES}
    for module, path in names.items():
        used = {name for name, guarded in imports_of(path) if not guarded}
        graph[module] = {
            target for target in names for name in used if name == target or name.rpartition(".")[0] == target
        } - {module}
    for start in graph:
        seen, reach = set(), set(graph[start])
        while reach:
            module = reach.pop()
            seen.add(module)
            reach |= graph.get(module, set()) - seen
        assert start not in seen, f"{start} imports itself in a circle"


def test_folders_go_one_level_deep() -> None:
    nested = {path.parent.relative_to(ROOT) for path in MODULES if len(path.relative_to(ROOT).parts) > 2}
    assert nested <= {Path("targets/demo"), Path("ui/static")}


def test_every_public_name_is_there_and_no_other_is_promised() -> None:
    assert sorted(batchkit.__all__) == batchkit.__all__
    for name in batchkit.__all__:
        assert getattr(batchkit, name) is not None
    assert set(batchkit._HOME_OF) | {"__version__"} == set(batchkit.__all__)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_lives_there_and_what_it_offers(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(tree), f"{path.name} has no docstring"


def test_importing_batchkit_loads_no_widgets_and_no_server() -> None:
    code = (
        "import sys, batchkit; batchkit.Workspace, batchkit.read_csv;"
        "print([m for m in ('ipywidgets', 'anywidget', 'matplotlib', 'IPython') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
