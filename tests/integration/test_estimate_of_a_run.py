"""Estimates against the files of a run."""

from __future__ import annotations

import json

import pytest
from helpers.command_line import run
from safetensors.torch import load_file

from d3pm_image.estimate.flops import size


def test_estimates_of_a_trained_run_are_its_files(trained, tmp_path, capsys):
    """Checkpoint, cache and parameters as the training left them."""
    for stage in ("tokenizer", "diffusion"):
        out = tmp_path / f"{stage}.json"
        run("estimate", trained / stage / "config.yaml", "--seconds", 0, "--out", out)
        figures = json.loads(out.read_text(encoding="utf-8"))
        checkpoint = sorted((trained / stage / "checkpoints").iterdir())[-1]
        files = {file.stem: load_file(file) for file in checkpoint.glob("*.safetensors")}
        assert figures["stage"] == stage and figures["images"] == 1617
        assert figures["checkpoint_bytes"] == pytest.approx(
            sum(size(tensors.values()) for tensors in files.values()), rel=1e-3
        )
        assert figures["optimizer_bytes"] == size(files["optimizer"].values())
        assert "measured" not in figures
    assert f"{figures['parameters']:,}" in capsys.readouterr().out
