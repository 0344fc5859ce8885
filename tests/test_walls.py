"""The walls of the house: imports run downward only, torch stays out of the command line, no long rooms."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "d3pm_image"
LEVELS = [
    {"config", "contracts", "seeds", "storage"},
    {"imaging", "labels"},
    {"data", "tokenizer", "diffusion", "denoiser", "training"},
    {"sampling", "metrics", "bundle", "doctor", "provenance"},
    {"editing"},
    {"pipeline", "trajectory"},
    {"app"},
    {"commands"},
]
LEVEL = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}


def imports(path: Path) -> set[str]:
    """Rooms of this package that a module imports, wherever in it the import stands."""
    depth = len(path.relative_to(PACKAGE).parts)
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            rooms |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").startswith("d3pm_image"):
            rooms |= {(node.module + ".").split(".")[1]} - {""}
    return rooms


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p.name not in ("__init__.py", "__main__.py") or len(p.relative_to(PACKAGE).parts) > 1)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_downward(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for other in imports(path) - {"__version__"}:
        assert LEVEL[other] < LEVEL[room] or other == room, f"{room} imports {other}"


def test_only_the_process_makes_mask_tokens():
    allowed = {"process.py"}
    for path in modules():
        if path.name not in allowed:
            assert "mask_id" not in path.read_text(encoding="utf-8"), path


def test_modules_have_a_docstring_and_stay_short():
    for path in modules():
        text = path.read_text(encoding="utf-8")
        assert ast.get_docstring(ast.parse(text)), f"{path}: no module docstring"
        assert text.count("\n") <= 300, f"{path}: longer than 300 lines"


def test_importing_the_package_does_not_import_torch():
    code = "import sys, d3pm_image, d3pm_image.config, d3pm_image.commands; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
