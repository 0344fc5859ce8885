"""The order of the package: which folder or module may import which, and the tables of it.

    python -m scripts.architecture           writes them into CONTRIBUTING.md
    python -m scripts.architecture --check   says whether they are as they should be

``LEVELS`` is the one list; ``tests/repository/test_dependencies.py`` reads every import against it. What a
folder is for stands in the first paragraph of its docstring."""

from __future__ import annotations

import argparse
import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "d3pm_image"
LEVELS = [
    ["former_names", "lazy", "printable", "types"],
    ["errors", "locks", "pixel_range", "seeds", "system"],
    [
        "devices",
        "documents",
        "recompute",
        "registry",
        "storage",
        "tokenizer/bits",
        "tokenizer/codebook",
        "tokenizer/ema_codebook",
    ],
    ["tokenizer/quantizers"],
    ["config", "outputs"],
    ["cache_folder"],
    ["image_io", "label_sets"],
    ["compiler", "hub", "imaging", "labels", "tensor_cache", "torus"],
    ["data", "tokenizer", "diffusion", "denoiser", "training"],
    ["local_notes"],
    ["sampling", "metrics"],
    ["unfinished"],
    ["bundle", "provenance"],
    ["editing"],
    ["keywords", "visualization"],
    ["edits"],
    ["tiling"],
    ["model_card", "model_list", "pipeline", "testing"],
    ["recipes"],
    ["evaluation", "estimate", "diagnostics"],
    ["app", "export", "packaging"],
    ["parser"],
    ["cli"],
]
"""From what imports nothing of the package to what may import everything above it in this list. Entries of
one line do not import each other."""


def purpose(name: str) -> str:
    """The first paragraph of the docstring of a folder or module."""
    place = PACKAGE / name
    source = (place / "__init__.py" if place.is_dir() else place.with_suffix(".py")).read_text(
        encoding="utf-8"
    )
    words = " ".join((ast.get_docstring(ast.parse(source)) or "").split("\n\n")[0].split())
    return re.sub(r":\w+:`~?([\w.]+)`", r"`\1`", words).replace("``", "`")


def folders() -> str:
    """The table of the folders of the package."""
    names = [name for level in LEVELS for name in level if (PACKAGE / name).is_dir()]
    rows = [f"| `d3pm_image/{name}/` | {purpose(name)} |" for name in names]
    return "\n".join(["| folder | what is there |", "|---|---|", *rows])


def order() -> str:
    """The list of every folder and module, in the order of imports."""
    return "\n".join(
        f"  {number}. {', '.join(f'`{name}`' for name in level)}" for number, level in enumerate(LEVELS, 1)
    )


PAGES = {"CONTRIBUTING.md": (folders, order)}
"""Pages with the tables that stand there, in their order."""
BEGIN, END = "<!-- from scripts/architecture.py -->", "<!-- end -->"


def written(page: str) -> str:
    """A page's text with its tables as they should be."""
    text, *parts = (ROOT / page).read_text(encoding="utf-8").split(BEGIN)
    for make, part in zip(PAGES[page], parts, strict=True):
        text += f"{BEGIN}\n{make()}\n{END}{part.split(END, 1)[1]}"
    return text


def main() -> None:
    """Write the tables, or check them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit with 1 where a table is old"
    )
    check, old = parser.parse_args().check, []
    for page in PAGES:
        text = written(page)
        if text != (ROOT / page).read_text(encoding="utf-8"):
            old.append(page)
            if not check:
                (ROOT / page).write_text(text, encoding="utf-8")
    if check and old:
        sys.exit(f"old: {', '.join(old)}; run python -m scripts.architecture")


if __name__ == "__main__":
    main()
