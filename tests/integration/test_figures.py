"""The figures and tables of the pages come out of their scripts."""

from __future__ import annotations

import os
import subprocess
import sys

from helpers.paths import ROOT
from PIL import Image


def test_the_script_draws_the_figures_of_the_page(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "scripts" / "figures.py"), "--out", str(tmp_path / "figures")]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    for name in ("marginals.png", "weights.png", "samplers.png"):
        path = tmp_path / "figures" / name
        assert path.stat().st_size < 120_000
        with Image.open(path) as made, Image.open(ROOT / "docs" / "figures" / name) as kept:
            assert made.size[0] >= 1200
            assert abs(made.size[0] - kept.size[0]) < 40 and abs(made.size[1] - kept.size[1]) < 40
            assert len(made.getcolors()) > 8


def test_tables_say_what_their_figures_say():
    subprocess.run([sys.executable, str(ROOT / "scripts" / "results.py"), "--check"], check=True, capture_output=True)
