"""Rules of the package: imports run downward only, torch stays out of the command line, no long files."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from helpers.paths import ROOT

from scripts.architecture import LEVELS, PAGES, written

PACKAGE = ROOT / "d3pm_image"
LEVEL = {package: number for number, packages in enumerate(LEVELS) for package in packages}


def package_of(parts: tuple[str, ...]) -> str:
    """The entry of the list that a module belongs to: its first folder, or a part of it that has an entry of its own."""
    inner = "/".join(parts[:2])
    return inner if inner in LEVEL else parts[0]


def imports(path: Path) -> set[str]:
    """Subpackages that a module imports, wherever in it the import stands."""
    above, packages = path.relative_to(PACKAGE).parts, set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not (
            node.level or (node.module or "").startswith("d3pm_image")
        ):
            continue
        module = tuple((node.module or "").split(".")) if node.module else ()
        place = (*above[: len(above) - node.level], *module) if node.level else module[1:]
        packages |= {package_of((*place, alias.name)) for alias in node.names}
    return packages


def modules() -> list[Path]:
    return sorted(
        p
        for p in PACKAGE.rglob("*.py")
        if p.name not in ("__init__.py", "__main__.py") or len(p.relative_to(PACKAGE).parts) > 1
    )


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_downward(path):
    package = package_of(path.relative_to(PACKAGE).with_suffix("").parts)
    for other in imports(path) - {"__version__"}:
        assert LEVEL[other] < LEVEL[package] or other == package, f"{package} imports {other}"


def missing(path: Path) -> list[str]:
    """What a file imports from this package, wherever in it the import stands, and that does not exist."""
    root, absent = PACKAGE.parent, []
    above = path.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            parts = ([*above[: len(above) - node.level + 1]] if node.level else []) + (
                node.module or ""
            ).split(".")
            wanted = [(parts, alias.name) for alias in node.names]
            absent += [f"{path.name}:{node.lineno}"] if node.level > len(above) else []
        else:
            wanted = (
                [(alias.name.split("."), "") for alias in node.names] if isinstance(node, ast.Import) else []
            )
        for parts, name in wanted:
            place = root.joinpath(*parts)
            source = next((f for f in (place.with_suffix(".py"), place / "__init__.py") if f.is_file()), None)
            if (
                parts[0] == "d3pm_image"
                and not (place / f"{name}.py").is_file()
                and not (name and (place / name).is_dir())
            ):
                found = source is not None and re.search(rf"\b{name}\b", source.read_text(encoding="utf-8"))
                absent += [] if found else [f"{path.name}:{node.lineno}"]
    return absent


def test_what_is_imported_exists():
    """Also inside functions, where a moved module is missed only when the function runs; mypy ignores missing imports."""
    root = PACKAGE.parent
    assert [
        m
        for folder in ("d3pm_image", "tests", "scripts", "benchmarks")
        for p in (root / folder).rglob("*.py")
        for m in missing(p)
    ] == []


def mask_numbers(source: str) -> list[int]:
    """Lines that know the number of the mask: by its name, or by comparing tokens with the number of codes, which it equals."""

    def is_count(node: ast.expr) -> bool:
        return getattr(node, "attr", getattr(node, "id", "")) in {"num_codes", *aliases}

    tree = ast.parse(source)
    given = [node for node in ast.walk(tree) if isinstance(node, ast.Assign) and len(node.targets) == 1]
    pairs = [(node.targets[0], node.value) for node in given]
    pairs += [
        pair
        for t, v in pairs
        if isinstance(t, ast.Tuple) and isinstance(v, ast.Tuple)
        for pair in zip(t.elts, v.elts)
    ]
    aliases = {t.id for t, v in pairs if isinstance(t, ast.Name) and getattr(v, "attr", "") == "num_codes"}
    lines = [
        n.lineno
        for n in ast.walk(tree)
        if "mask_id" in (getattr(n, "attr", ""), getattr(n, "id", ""), getattr(n, "arg", ""))
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
            sides = [node.left, *node.comparators]
            counted = [side for side in sides if is_count(side)]
            lines += (
                [node.lineno]
                if len(counted) == 1 and not any(isinstance(side, ast.Constant) for side in sides)
                else []
            )
    return lines


def test_only_the_process_knows_the_number_of_the_mask():
    """Settings compare numbers of codes with one another; where tokens are, nothing but the process may."""
    tokens = {"diffusion", "denoiser", "sampling", "editing", "recipes", "training", "visualization"}
    for path in modules():
        where = path.relative_to(PACKAGE)
        if where.parts[0] in tokens and where.as_posix() != "diffusion/process.py":
            assert mask_numbers(path.read_text(encoding="utf-8")) == [], path


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("hidden = process.mask_id", True),
        ("hidden = x == process.num_codes", True),
        ("w, k = share, process.num_codes\nhidden = x != k", True),
        ("# mask_id", False),
        ("if process.num_codes == 1: pass", False),
        ("codes = x < process.num_codes", False),
        ("hidden = process.is_masked(x)", False),
    ],
)
def test_the_number_of_the_mask_is_seen_in_code_alone(source, found):
    assert bool(mask_numbers(source)) == found


def test_modules_have_a_docstring_and_stay_short():
    for path in modules():
        text = path.read_text(encoding="utf-8")
        assert ast.get_docstring(ast.parse(text)), f"{path}: no module docstring"
        assert text.count("\n") <= 400, f"{path}: longer than 400 lines"


def test_the_command_line_stays_thin():
    lines = {
        path.name: path.read_text(encoding="utf-8").count("\n") for path in (PACKAGE / "cli").glob("*.py")
    }
    assert sum(lines.values()) <= 2000, lines


def test_one_place_knows_the_range_of_pixels():
    for path in modules():
        text = path.read_text(encoding="utf-8")
        assert path.name == "pixel_range.py" or not re.search(r"float\(\) / 255|\* 2 - 1\)", text), path


def inherits_words(name: str, owner: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> bool:
    """Whether a class of the package that this one is made from documents the method."""
    for base in owner.bases:
        above = classes.get(getattr(base, "id", ""))
        if above is None:
            continue
        if any(
            isinstance(m, ast.FunctionDef) and m.name == name and ast.get_docstring(m) for m in above.body
        ):
            return True
        if inherits_words(name, above, classes):
            return True
    return False


def test_what_is_public_says_what_it_is():
    """Classes, functions and methods have a docstring, their own or that of what they override; a network's forward has its class's."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}
    classes = {
        node.name: node
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    silent = []
    for path, tree in trees.items():
        silent += [] if ast.get_docstring(tree) else [str(path)]
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            silent += [] if ast.get_docstring(node) else [f"{path.name}: {node.name}"]
            for method in node.body if isinstance(node, ast.ClassDef) else ():
                known = (
                    not isinstance(method, ast.FunctionDef)
                    or method.name.startswith("_")
                    or method.name == "forward"
                )
                known = known or "overload" in {
                    getattr(d, "id", "") for d in method.decorator_list
                }  # its last one says it
                if (
                    not known
                    and not ast.get_docstring(method)
                    and not inherits_words(method.name, node, classes)
                ):
                    silent.append(f"{path.name}: {node.name}.{method.name}")
    assert silent == []


@pytest.mark.parametrize("page", PAGES)
def test_tables_of_the_package_are_those_of_the_list(page):
    """``python -m scripts.architecture`` writes them."""
    assert (ROOT / page).read_text(encoding="utf-8") == written(page)
