"""The figures and tables of the pages come out of their scripts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import ROOT
from PIL import Image


def inked(path: Path) -> np.ndarray:
    """How much is drawn in each of 48 by 64 cells of a figure."""
    with Image.open(path) as image:
        return 255 - np.asarray(image.convert("L").resize((64, 48), Image.Resampling.BOX), dtype=float)


@pytest.mark.slow
def test_the_script_draws_the_figures_of_the_page(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "scripts.figures", "--out", str(tmp_path / "figures")]
    subprocess.run(command, check=True, capture_output=True, env=environment, cwd=ROOT)
    for name in ("marginals.png", "weights.png", "samplers.png"):
        made, kept = inked(tmp_path / "figures" / name), inked(ROOT / "docs" / "figures" / name)
        assert np.corrcoef(made.ravel(), kept.ravel())[0, 1] > 0.9, (
            name
        )  # another Matplotlib sets letters a little elsewhere
        assert np.corrcoef(made.ravel(), kept[:, ::-1].ravel())[0, 1] < 0.9, (
            name
        )  # and another figure would not pass


def test_tables_say_what_their_figures_say():
    command = [sys.executable, "-m", "scripts.results", "--check"]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
