"""Links that leave the folder of pages, which GitHub follows. On the site they lead to the page that shows
the file, or to a copy of it; where a folder is meant, the words alone stay."""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
}
LINK = re.compile(r"(?<!!)\[((?:[^\[\]`]|`[^`]*`)+)\]\((?!\w+:|#)([^)\s#]+)(#[^)\s]*)?\)")


def rewritten(text: str, page: Path, docs: Path) -> str:
    """A page with its links as the site has them."""

    def replace(found: re.Match[str]) -> str:
        words, target, anchor = found[1], found[2], found[3] or ""
        place = (page.parent / target).resolve()
        if place.is_dir():
            return words
        if place.is_relative_to(docs.parent) and not place.is_relative_to(docs):
            name = place.relative_to(docs.parent).as_posix()
            if name in PAGES:
                return f"[{words}](/{PAGES[name]}{anchor})"
            return f"{{download}}`{words.replace('`', '')} </../{name}>`"
        if place.is_relative_to(docs) and not page.is_relative_to(docs):
            return f"[{words}](/{place.relative_to(docs).as_posix()}{anchor})"
        return found[0]

    return LINK.sub(replace, text)


def read(app: Sphinx, name: str, source: list[str]) -> None:
    """Rewrites a Markdown page when it is read."""
    page = Path(app.env.doc2path(name))
    if page.suffix == ".md":
        source[0] = rewritten(source[0], page, Path(app.srcdir))


def included(app: Sphinx, relative_path: Path, parent: str, content: list[str]) -> None:
    """Rewrites a file of the repository that a page shows."""
    page = (Path(app.srcdir) / relative_path).resolve()
    if page.suffix == ".md":
        content[0] = rewritten(content[0], page, Path(app.srcdir))


def setup(app: Sphinx) -> dict[str, bool]:
    """Listens for pages and for what they include."""
    app.connect("source-read", read)
    app.connect("include-read", included)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
