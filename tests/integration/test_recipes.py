"""CONTRIBUTING's recipes, followed to the letter on a copy of the repository: what a reader pastes works, and the laws of all hold for it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from helpers.paths import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def snippet(first: str) -> str:
    """The Python block of a recipe that holds these words."""
    found = [
        textwrap.dedent(body) for body in re.findall(r"```py\n(.*?)```", TEXT, re.DOTALL) if first in body
    ]
    assert len(found) == 1, f"{len(found)} snippets with {first!r} in CONTRIBUTING.md"
    return found[0]


def line(first: str) -> str:
    """A line that a recipe names in its text, between backticks."""
    (found,) = re.findall(r"`(" + re.escape(first) + r"[^`]*)`", TEXT)
    return found


def put(path: Path, before: str, text: str) -> None:
    """Insert text before the one place that opens with these words."""
    whole = path.read_text(encoding="utf-8")
    assert whole.count(before) == 1, f"{path.name}: {whole.count(before)} × {before!r}"
    path.write_text(whole.replace(before, text + before), encoding="utf-8")


def put_first(path: Path, opening: str, text: str) -> None:
    """Insert text as the first entry of a list that opens with these words."""
    whole = path.read_text(encoding="utf-8")
    assert whole.count(opening) == 1, f"{path.name}: {whole.count(opening)} × {opening!r}"
    path.write_text(whole.replace(opening, opening + text), encoding="utf-8")


@pytest.fixture
def copy(tmp_path):
    """The package and its tests, without the models."""
    for name in ("d3pm_image", "tests"):
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def passes(copy: Path, *arguments: str) -> None:
    """The copy's own tests of the new entry; none at all would be an error too."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "not slow and not gpu", *arguments]
    done = subprocess.run(
        command,
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.mark.slow
def test_a_noise_schedule(copy):
    put(copy / "d3pm_image/diffusion/curve.py", "SHAPES: dict", snippet("SQUARED_SINE = ") + "\n")
    put(
        copy / "d3pm_image/diffusion/curve.py",
        '    "vq_diffusion": Shape',
        f"    {line(chr(34) + 'squared_sine')}\n",
    )
    put_first(copy / "d3pm_image/config/diffusion.py", "\nCURVES = (", '"squared_sine", ')
    passes(copy, "tests/diffusion/test_schedule.py", "-k", "squared_sine")
    passes(copy, "tests/diffusion/test_schedule.py", "tests/diffusion/test_diffusion.py")


def test_a_sampler(copy):
    """One file and one row of tests."""
    (copy / "d3pm_image/sampling/samplers/left_to_right.py").write_text(
        snippet("class LeftToRight"), encoding="utf-8"
    )
    put_first(copy / "tests/helpers/samplers.py", "\nSAMPLERS = [", '{"sampler": "left_to_right"}, ')
    passes(copy, "tests/sampling/test_sampling.py", "-k", "left_to_right or every_sampler or own_settings")
    command = [
        sys.executable,
        "-m",
        "d3pm_image",
        "generate",
        str(ROOT / "d3pm_image/models/fashion-mnist"),
        "--sampler",
        "left_to_right",
        "--reveal",
        "square",
    ]
    arguments = [*command, "--steps", "3", "--out", str(copy / "drawn.png")]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    done = subprocess.run(arguments, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and (copy / "drawn.png").is_file(), done.stderr


@pytest.mark.slow
def test_a_quantizer(copy):
    """One file and one row of tests."""
    (copy / "d3pm_image/tokenizer/quantizers/learned.py").write_text(
        snippet("class Learned"), encoding="utf-8"
    )
    put(copy / "tests/helpers/quantizers.py", '    "fsq": {', f"    {line(chr(34) + 'learned')}\n")
    passes(
        copy,
        "tests/tokenizer/test_quantizers.py",
        "tests/integration/test_export.py",
        "tests/metrics/test_health.py",
        "-k",
        "learned or row",
    )
    passes(copy, "tests/integration/test_help.py", "-k", "help_shows")


def test_every_recipe_says_what_to_paste():
    """A recipe that was renamed would leave the tests above without their text."""
    assert all(snippet(first) for first in ("SQUARED_SINE = ", "class LeftToRight", "class Learned"))
    assert line('"squared_sine') and line('"learned')
