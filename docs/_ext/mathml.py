r"""Formulas as MathML, which browsers draw themselves: no script, no font and no image is loaded.

docutils translates LaTeX; a ``\tag{…}`` becomes the number beside a display.
"""

from __future__ import annotations

import re
from html import escape

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

LOG = logging.getLogger(__name__)
SPELLINGS = {
    r"\\dots\b": r"\\ldots",  # what docutils does not know, and what it does
    r"\\big(?![a-zA-Z])": r"\\bigl",
    r"(\\(?:bar|hat) ?(?:\\[a-zA-Z]+|[a-zA-Z]))(?=[_^])": r"\1{}",  # else the index stands below the letter
}
TAG = re.compile(r"\s*\\tag\{([^}]*)\}")


def translated(text: str, node: nodes.Element, display: bool) -> str:
    """The MathML of a formula; one that cannot be translated is shown as it was written, with a warning."""
    for pattern, known in SPELLINGS.items():
        text = re.sub(pattern, known, text)
    try:
        return tex2mathml(text, as_block=display)
    except MathError as error:
        LOG.warning("no MathML for %r: %s", text, error, location=node, type="mathml")
        return f"<code>{escape(text)}</code>"


def inline(self: HTML5Translator, node: nodes.math) -> None:
    """A formula in running text."""
    self.body.append(f'<span class="math">{translated(node.astext(), node, False)}</span>')
    raise nodes.SkipNode


def display(self: HTML5Translator, node: nodes.math_block) -> None:
    """A formula on a line of its own, with its number where it has one."""
    text = node.astext()
    found = TAG.search(text)
    number = f'<span class="eqno">({escape(found[1])})</span>' if found else ""
    formula = translated(TAG.sub("", text).strip(), node, True)
    self.body.append(f'<div class="math-display"><div class="math">{formula}</div>{number}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Offers the renderer ``mathml``."""
    app.add_html_math_renderer("mathml", (inline, None), (display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
