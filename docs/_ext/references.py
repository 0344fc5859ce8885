"""Cross-links by the names that the code uses, where a page documents the same thing under another one.

``d3pm_image.recipes.diffusion.train_diffusion`` has its entry as ``d3pm_image.train_diffusion``, and
docstrings name their neighbours without the module. A name that means no entry, or several, stays
unresolved, which fails a strict build.
"""

from __future__ import annotations

import contextlib
import pkgutil
from collections.abc import Iterable
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode


def named(path: str) -> Any:
    """The object of a full name; None where there is none."""
    with contextlib.suppress(AttributeError, ImportError):
        return pkgutil.resolve_name(path)
    return None


def meant(target: str, entries: Iterable[str]) -> str | None:
    """The one entry that a name means. A full name means the entry of the same object; of a short one, the
    last words count."""
    ending = target.lstrip(".")
    if not target.startswith("d3pm_image."):
        found = {name for name in entries if name.endswith("." + ending)}
    else:
        word, wanted = "." + target.rpartition(".")[2], named(target)
        found = {name for name in entries if name.endswith(word) and wanted is not None}
        found = {name for name in found if named(name) is wanted}
    return found.pop() if len(found) == 1 else None


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """A link for a name of Python that no entry has as it stands."""
    if node.get("refdomain") != "py" or "refdoc" not in node:
        return None
    entries = {
        name: entry
        for name, entry in env.domains.python_domain.objects.items()
        if not entry.aliased and name.startswith("d3pm_image")
    }
    name = meant(node["reftarget"], entries)
    if name is None:
        return None
    entry = entries[name]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, [content], name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Is asked after Sphinx's own look-up."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
