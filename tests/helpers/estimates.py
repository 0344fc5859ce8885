"""The estimate command, and a run of stage two whose cost is estimated."""

from __future__ import annotations

import pytest

from d3pm_image.config import (
    DenoiserConfig,
    DiffusionRun,
)
from helpers.command_line import run


def stage_two(**changes) -> DiffusionRun:
    return DiffusionRun(denoiser=DenoiserConfig(64, 2, 2), **changes)


def fails(capsys, *arguments: object) -> str:
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err
