"""Findings of checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..printable import printable


@dataclass(frozen=True)
class Finding:
    """Args:
    name: The check, a word or two in snake_case.
    text: The finding, with its numbers.
    hint: What to do about it; empty for nothing.
    wrong: Something to fix; otherwise a note.
    """

    name: str
    text: str
    hint: str = ""
    wrong: bool = True


def listed(found: Sequence[Finding]) -> list[str]:
    """Findings in words: what was read, then what is wrong, then notes."""
    lines = [printable(finding.text, 0) for finding in found if finding.name == "read"]
    for finding in sorted((f for f in found if f.wrong or f.name != "read"), key=lambda f: not f.wrong):
        lines.append(f"{'wrong' if finding.wrong else 'note'}: {printable(finding.text, 0)}")
        lines += [f"       {printable(finding.hint, 0)}"] if finding.hint else []
    return lines
