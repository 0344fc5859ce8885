"""The command line, called in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from d3pm_image import cli as commands


def run(*arguments: str) -> None:
    commands.main([str(a) for a in arguments])


def fails(capsys, *arguments: str) -> str:
    """The one line that a wrong request prints; exit code 2."""
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    errors = [line for line in lines if "error:" in line]
    assert len(errors) == 1, lines
    return errors[0]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
