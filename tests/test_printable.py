"""Text from files is shown as one harmless line."""

from __future__ import annotations

import pytest

from d3pm_image.printable import printable, printable_html


@pytest.mark.parametrize(
    "text, shown",
    [
        ("Größe 猫 é", "Größe 猫 é"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("a\u202egnp.exe", "a\\u202egnp.exe"),
        ("\x9b31m", "\\x9b31m"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), "caf\\xe9"),
        ("\u2028", "\\u2028"),
        (7, "7"),
    ],
)
def test_unsafe_characters_are_escaped(text, shown):
    assert printable(text) == shown


def test_long_texts_are_cut():
    assert printable("x" * 10**6) == "x" * 199 + "…" and printable("x" * 300, limit=0) == "x" * 300
    assert len(printable("\x00" * 10**6)) == 200


def test_html_and_markdown_lose_their_meaning():
    shown = printable_html("<img src=x onerror=alert(1)> **b** [l](javascript:1) `c` | \n")
    assert not set("<>*[]`|\n") & set(shown)
