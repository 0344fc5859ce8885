"""Tables of the pages, out of the figures in docs/results: no figure of a table is typed.

    python scripts/results.py            # writes every table into the page that has its markers
    python scripts/results.py --check    # fails where a page says something else than its figures

A page marks the place of a table with ``<!-- table NAME -->`` and ``<!-- end of table -->``; NAME is a key of TABLES in scripts/tables.
docs/tutorial.md marks a picture of scripts/tutorial.sh with ``<!-- picture NAME -->``, which stays empty until docs/tutorial/NAME.jpg is there.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from tables import TABLES
from tables.layout import ROOT

PICTURE = re.compile(r"<!-- picture (\w+) -->\n(?:!\[.*\n)?")
PLACE = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def picture(found: re.Match[str]) -> str:
    """The marker of a picture, and the picture below it if there is one."""
    name = found[1]
    there = (ROOT / "docs" / "tutorial" / f"{name}.jpg").is_file()
    return f"<!-- picture {name} -->\n" + (f"![{name}](tutorial/{name}.jpg)\n" if there else "")


def written(page: Path) -> str:
    """The page's text with its tables and pictures made anew."""
    text = PLACE.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], page.read_text(encoding="utf-8"))
    return PICTURE.sub(picture, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page differs from its figures")
    check = parser.parse_args().check
    for page in pages():
        new = written(page)
        if new == page.read_text(encoding="utf-8"):
            continue
        print(f"{'differs from its figures' if check else 'written'}: {page.relative_to(ROOT)}")
        if check:
            sys.exit(1)
        page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
