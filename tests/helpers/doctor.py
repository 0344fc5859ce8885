"""The doctor command, called in this process."""

from __future__ import annotations

from d3pm_image import cli as commands
from d3pm_image.diagnostics import Finding


def names(found: list[Finding], wrong: bool = True) -> set[str]:
    return {f.name for f in found if f.wrong or not wrong}


def doctor(*arguments: object) -> int:
    try:
        commands.main(["doctor", *map(str, arguments)])
    except SystemExit as stop:
        return int(stop.code)
    return 0
