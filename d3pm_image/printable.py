"""Text that comes from a file, such as a class name or a PNG text, made safe to print: one line, no control
characters."""

from __future__ import annotations

import html
import unicodedata
from typing import Any

_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that are escaped: controls (terminal escapes, newlines), formats (such as right-to-left
overrides), halves of surrogate pairs, private use, unassigned, and line and paragraph separators."""


def printable(text: Any, limit: int = 200) -> str:
    """A text as one line that a terminal, a log or a page can show: unsafe characters as backslash escapes,
    cut to ``limit`` characters.

    Ordinary letters of every script stay. Surrogates that stand for bytes of a file name that is not UTF-8
    become ``\\xNN``.

    Args:
        text: Anything; its ``str()`` is used.
        limit: Largest number of characters, of which the last is an ellipsis if the text is longer; 0 for no
            limit.
    """
    shown = []
    text = str(text)
    for character in text[: limit * 4] if limit else text:
        number = ord(character)
        if unicodedata.category(character) not in _UNSAFE:
            shown.append(character)
        elif 0xDC80 <= number <= 0xDCFF:
            shown.append(f"\\x{number - 0xDC00:02x}")
        else:
            shown.append(character.encode("unicode_escape", "surrogatepass").decode("ascii"))
    line = "".join(shown)
    cut = limit and (len(line) > limit or len(text) > limit * 4)
    return line[: limit - 1] + "…" if cut else line


def dashed(name: str) -> str:
    """The name of a setting as an option has it: ``num-images`` for ``num_images``."""
    return name.replace("_", "-")


def printable_html(text: Any, limit: int = 200) -> str:
    """The same for HTML and Markdown: tags, entities and Markdown's own marks lose their meaning."""
    line = html.escape(printable(text, limit))
    return "".join(f"&#{ord(c)};" if c in "|[]`*_!\\" else c for c in line)
