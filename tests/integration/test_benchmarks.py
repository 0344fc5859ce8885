"""The benchmarks run, at toy sizes, and their dense loss is ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from helpers.marks import slow
from helpers.paths import ROOT

from benchmarks.speed.loss import dense_bound, make_pass
from benchmarks.speed.timing import peak_megabytes
from d3pm_image.diffusion import ConstantShare, Process, bound_terms

SMALL = {
    "data": [
        "--images",
        "8",
        "--size",
        "16",
        "--batch",
        "4",
        "--width",
        "8",
        "--cached",
        "50",
        "--large",
        "500",
        "--reads",
        "5",
    ],
    "end_to_end": ["--steps", "3", "--precisions", "float32"],
    "growth": [
        "--width",
        "64",
        "--depth",
        "1",
        "--tokens",
        "4",
        "16",
        "--codes",
        "16",
        "32",
        "--batch",
        "2",
        "4",
        "--steps",
        "2",
        "4",
        "--precisions",
        "float32",
        "--skip-memory",
    ],
    "loss": ["--codes", "16", "--batch", "2", "--tokens", "8", "--width", "8", "--skip-memory"],
    "attention": ["--tokens", "4", "9", "--total", "18", "--heads", "1", "--head-width", "8"],
    "nearest": ["--codes", "16", "--size", "16", "--images", "2", "--compared", "4", "--width", "8"],
    "peers": [
        "--width",
        "64",
        "--depth",
        "1",
        "--codes",
        "16",
        "--side",
        "4",
        "--batch",
        "2",
        "--calls",
        "1",
        "2",
        "--steps",
        "4",
        "--precisions",
        "float32",
    ],
    "sampling": [
        "--codes",
        "16",
        "--side",
        "4",
        "--width",
        "64",
        "--depth",
        "1",
        "--batch",
        "2",
        "--steps",
        "4",
    ],
    "tokenizer": [
        "--batch",
        "2",
        "--tokenizer.width",
        "8",
        "--tokenizer.quantizer.num_codes",
        "16",
        "--data.image_size",
        "8",
    ],
    "training": [
        "--width",
        "64",
        "--depth",
        "1",
        "--codes",
        "16",
        "--side",
        "4",
        "--batch",
        "2",
        "--square",
        "64",
        "--precisions",
        "float32",
    ],
}


@pytest.mark.parametrize(
    "name",
    ["sampling", "data", *map(slow, sorted(SMALL.keys() - {"sampling", "data"}))],
)
def test_a_benchmark_prints_its_table(name, tmp_path):
    out = tmp_path / "figures.json"
    command = [
        sys.executable,
        "-m",
        "benchmarks.speed",
        name,
        "--repeats",
        "1",
        "--json",
        str(out),
        *SMALL[name],
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())
    assert figures["rows"] and figures["machine"]["torch"] == torch.__version__
    assert "processor" in done.stdout


def test_the_dense_loss_of_the_benchmark_is_the_same_bound():
    process = Process(5, ConstantShare("linear", 0.1), 50)
    x_0, t = torch.randint(5, (4, 9)), torch.tensor([0.1, 0.3, 0.6, 0.9], dtype=torch.float64)
    x_t = process.corrupt(x_0, t, torch.rand(4, 9, 3, dtype=torch.float64))
    logits = torch.randn(4, 9, 5)
    torch.testing.assert_close(
        dense_bound(process, logits, x_0, x_t, t),
        bound_terms(process, logits, x_0, x_t, t).bound.mean(),
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.slow
def test_peak_memory_is_that_of_the_call():
    """A call that holds 64 MB for a moment is seen to, in a process of its own."""
    shape = (4, 256, 32)
    plain, fused = (peak_megabytes(make_pass, name, 8192, shape, True) for name in ("cross-entropy", "fused"))
    assert plain > 2 * 4 * 256 * 8192 * 4 / 2**20 * 0.9  # logits and their gradient
    assert fused < plain / 2
