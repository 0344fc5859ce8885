"""Tables of the pages, out of the results in docs/results: no number of a table is typed.

    python -m scripts.results            # writes every table into the page that has its markers
    python -m scripts.results --check    # fails where a page says something else than its results

A page marks a table with ``<!-- table NAME -->`` and ``<!-- end of table -->``; NAME is a key of TABLES in
scripts/tables. docs/tutorial.md marks an image of scripts/tutorial.sh with ``<!-- image NAME -->``, which
stays empty until docs/tutorial/NAME.jpg is there."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from .tables import TABLES
from .tables.layout import ROOT

IMAGE = re.compile(r"<!-- image (\w+) -->\n(?:!\[.*\n)?")
TABLE = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def pages() -> list[Path]:
    found = sorted((ROOT / "docs").rglob("*.md"))
    return [ROOT / "README.md", *(path for path in found if "_build" not in path.parts)]


def image(found: re.Match[str]) -> str:
    """The marker of an image, and the image below it if there is one."""
    name = found[1]
    there = (ROOT / "docs" / "tutorial" / f"{name}.jpg").is_file()
    return f"<!-- image {name} -->\n" + (f"![{name}](tutorial/{name}.jpg)\n" if there else "")


def written(page: Path) -> str:
    """The page's text with its tables and images rebuilt."""
    text = page.read_text(encoding="utf-8")
    text = TABLE.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], text)
    return IMAGE.sub(image, text)


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--check", action="store_true", help="fail where a page differs from its results")
    check = parser.parse_args().check
    for page in pages():
        new = written(page)
        if new == page.read_text(encoding="utf-8"):
            continue
        print(f"{'differs from its results' if check else 'written'}: {page.relative_to(ROOT)}")
        if check:
            sys.exit(1)
        page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
