"""The table of presets is written by its script."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from helpers.paths import ROOT


def test_a_table_of_figures_is_written_between_the_markers(tmp_path):
    row = {
        "group": "quantizers",
        "data": "eurosat",
        "psnr_db": 21.5,
        "ssim": 0.7,
        "codes_used": 500.0,
        "perplexity": 99.0,
        "seconds": 12.0,
    }
    budget = {"steps": 5, "batch_size": 2, "width": 8, "learning_rate": 0.002, "bf16": True, "images": 10}
    figures, page = tmp_path / "f.json", tmp_path / "page.md"
    figures.write_text(
        json.dumps(
            {"budget": budget, "rows": [{**row, "entry": "lfq"}, {**row, "entry": "ema", "psnr_db": 22.0}]}
        )
    )
    page.write_text("before\n<!-- tables begin -->\nold\n<!-- tables end -->\nafter\n")
    command = [sys.executable, str(ROOT / "scripts" / "tokenizer_table.py"), "write", str(figures), str(page)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| ema | 22.00 | 0.700 | 500 | 99 | 12 |\n| lfq | 21.50 |" in text  # in the order of the script
