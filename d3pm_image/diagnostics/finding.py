"""A thing that a check has seen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Args:
    name: The check that speaks, a word or two in snake_case.
    text: What was seen, with its numbers.
    mend: What to do about it; empty for nothing.
    wrong: Something to mend; otherwise a note.
    """

    name: str
    text: str
    mend: str = ""
    wrong: bool = True
