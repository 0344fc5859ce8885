"""The course of training does not depend on how its batch is divided: two processes, one, and accumulation, both stages.

Everything random derives from (seed, step, row of the global batch), dropout and revived codes included, and the sums that move the
codebook are float64, so what is left between the runs is the rounding of float32 gradients.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from conftest import ROOT, TINY_DIFFUSION, TINY_TOKENIZER, options
from safetensors.torch import load_file

from d3pm_image.commands import train_diffusion, train_tokenizer
from d3pm_image.training.checkpoint import checkpoints

pytest.importorskip("sklearn")
STEPS = 50
LOOP = options("train", {"steps": STEPS, "log_every": 1, "preview_every": 0, "checkpoint_every": 25, "keep": 9})
STAGES = {
    "train_tokenizer": [*TINY_TOKENIZER, *LOOP],
    "train_diffusion": [*TINY_DIFFUSION, *LOOP, "--denoiser.dropout", "0.1"],
}


@pytest.fixture(autouse=True)
def one_accelerator_a_test():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def train(stage: str, arguments: list[str], processes: int = 1) -> None:
    """Run a stage, in this process or in two that torchrun starts."""
    if processes == 1:
        AcceleratorState._reset_state(reset_partial_state=True)
        (train_tokenizer if stage == "train_tokenizer" else train_diffusion).main(arguments)
        return
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--master_port", "29577"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    script = str(ROOT / "scripts" / f"{stage}.py")
    done = subprocess.run([*launch, script, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def logged(folder: Path) -> list[dict]:
    return [line for line in map(json.loads, (folder / "log.jsonl").read_text().splitlines()) if "loss" in line]


def state(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(checkpoints(folder / "checkpoints")[-1] / f"{name}.safetensors")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """A tokenizer of a few steps, whose codes stage two learns."""
    folder = tmp_path_factory.mktemp("tokenizer")
    train("train_tokenizer", [*TINY_TOKENIZER, "--train.steps", "20", "--train.preview_every", "0", "--out", str(folder)])
    return folder


@pytest.mark.parametrize("stage", STAGES)
def test_the_division_of_the_batch_does_not_show(stage, tokenizer, tmp_path):
    base = [*STAGES[stage], *(["--tokenizer", str(tokenizer)] if stage == "train_diffusion" else [])]
    runs = {"one": ([], 1), "accumulated": (["--train.accumulate", "4"], 1), "two": ([], 2)}
    for name, (extra, processes) in runs.items():
        train(stage, [*base, *extra, "--out", str(tmp_path / name)], processes)
    one = logged(tmp_path / "one")
    assert [line["step"] for line in one] == list(range(1, STEPS + 1)) and one[-1]["loss"] < 0.9 * one[0]["loss"]
    for name in ("accumulated", "two"):
        other = logged(tmp_path / name)
        assert [line["loss"] for line in other] == pytest.approx([line["loss"] for line in one], rel=1e-5), name
        for part in ("model", "ema"):
            expected = state(tmp_path / "one", part)
            for key, value in state(tmp_path / name, part).items():
                torch.testing.assert_close(
                    value, expected[key], atol=1e-4, rtol=1e-4, msg=lambda m, name=name, part=part, k=key: f"{name} {part} {k}: {m}"
                )
    assert [line["processes"] for line in logged(tmp_path / "two")] == [2] * STEPS
    resumed = tmp_path / "resumed"
    shutil.copytree(tmp_path / "two", resumed)
    shutil.rmtree(checkpoints(resumed / "checkpoints")[-1])
    shutil.rmtree(resumed / "model")
    train(stage, [*base, "--out", str(resumed), "--resume", "true"], 2)
    assert [line["loss"] for line in logged(resumed)] == [line["loss"] for line in logged(tmp_path / "two")]
    for part in ("model", "ema", "optimizer"):
        expected = state(tmp_path / "two", part)
        assert all(torch.equal(value, expected[key]) for key, value in state(resumed, part).items()), part
