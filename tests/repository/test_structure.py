"""Tests lie where the package's folders say, and take what they share from tests/helpers alone."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace

from helpers.paths import ROOT

TESTS = ROOT / "tests"
OF_NO_FOLDER = {"gpu", "benchmarks", "golden", "helpers", "integration", "repository"}


def imported(tree: ast.AST) -> set[str]:
    """Modules that a module imports, wherever in it the import stands; also those named in programs that it runs."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "import " in node.value:
            try:
                program = ast.parse(node.value)
            except SyntaxError:
                continue
            found |= imported(program)
    return found


def from_tests(path: Path) -> set[str]:
    """Test modules, and conftest, that a test module imports."""
    names = {name.rsplit(".", 1)[-1] for name in imported(ast.parse(path.read_text(encoding="utf-8")))}
    return {name for name in names if name.startswith("test_") or name == "conftest"} & (
        {p.stem for p in TESTS.rglob("*.py")}
    )


def test_no_test_module_imports_another():
    found = {path.name: from_tests(path) - {path.stem} for path in TESTS.rglob("*.py")}
    assert {name: others for name, others in found.items() if others} == {}


def test_an_import_of_a_test_module_is_seen(tmp_path):
    for text in (
        "import test_structure",
        "def f():\n    from test_structure import TESTS",
        "P = 'import test_structure as t; t.f()'",
    ):
        (tmp_path / "x.py").write_text(text, encoding="utf-8")
        assert from_tests(tmp_path / "x.py") == {"test_structure"}, text


def test_folders_are_those_of_the_package():
    package = {path.name for path in (ROOT / "d3pm_image").iterdir() if path.is_dir()}
    assert {
        path.parent.name for path in TESTS.rglob("*.py") if path.parent != TESTS
    } <= package | OF_NO_FOLDER


def test_names_are_unique_and_modules_short():
    """pytest imports test modules by their names alone."""
    paths = sorted(TESTS.rglob("test_*.py"))
    assert len({path.name for path in paths}) == len(paths)
    assert [path.name for path in paths if len(path.read_text(encoding="utf-8").splitlines()) > 400] == []


def test_what_lies_in_integration_is_marked_by_its_folder(request):
    marks = {
        "integration/test_x.py": [],
        "integration/deep/test_x.py": [],
        "data/test_x.py": [],
        "test_integration.py": [],
    }
    items = [SimpleNamespace(path=TESTS / name, add_marker=given.append) for name, given in marks.items()]
    request.config.pluginmanager.get_plugin(str(TESTS / "conftest.py")).pytest_collection_modifyitems(items)
    assert list(marks.values()) == [["integration"], ["integration"], [], []]
