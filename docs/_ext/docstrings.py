"""Docstrings as people read them, where reStructuredText or napoleon would take them otherwise.

- Formulas, diagrams and code that are set in after an empty line are shown as they stand. Without the ``::``
  that readers of the code do not need, they would be quotations, with their lines joined.
- Of a property or a constant, what stands before a colon is a part of the sentence, and not a type.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

LISTED = re.compile(r"\s*([-*•]|\d+\.)\s|\S+:$")


def set_apart(lines: list[str]) -> list[str]:
    """Lines with ``::`` before every block set in by four after an empty line, lists and sections aside."""
    made: list[str] = []
    last = ""  # the last line of running text
    for number, line in enumerate(lines):
        opens = line.startswith("    ") and number > 1 and not lines[number - 1].strip()
        if opens and last and not last.startswith(" ") and not LISTED.match(last) and not last.endswith("::"):
            made += ["::", ""]
        made.append(line)
        last = line if line.strip() else last
    return made


def sentence(lines: list[str]) -> list[str]:
    """Lines whose first breaks behind its first colon, which napoleon then leaves alone."""
    before, colon, after = lines[0].partition(": ")
    return [before + colon.strip(), after, *lines[1:]] if colon else lines


def process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Changes a docstring before napoleon reads its sections."""
    lines[:] = set_apart(lines)
    if what in ("attribute", "data", "property") and lines:
        lines[:] = sentence(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Is asked before napoleon."""
    app.connect("autodoc-process-docstring", process, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
