"""The baselines learn, and the whole command on digits."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import pytest
import torch
from helpers.paths import ROOT
from helpers.tiny import DENOISER, TINY_TOKENIZER

from benchmarks.baselines import entries, training
from benchmarks.baselines.problem import Problem
from d3pm_image.config import DenoiserConfig, DiffusionRun, ProcessConfig, TrainConfig
from scripts.tables import baselines as tables

NETWORK = DenoiserConfig(width=32, depth=2, heads=2)
PROBLEM = Problem(8, 2, (3, 3), NETWORK)
RUN = DiffusionRun(process=ProcessConfig(steps=50))
RECIPE = TrainConfig(batch_size=32, optimizer="muon", ema=0.9, mixed_precision="bf16", learning_rate=3e-3)


class Patterns:
    """Two classes of grids: a pattern each, with a tenth of the codes at random."""

    def __init__(self, problem: Problem, count: int = 256):
        g = torch.Generator().manual_seed(0)
        self.labels = torch.arange(count) % problem.num_classes
        means = torch.randint(problem.num_codes, (problem.num_classes, problem.tokens), generator=g)
        noise = torch.randint(problem.num_codes, (count, problem.tokens), generator=g)
        self.codes = torch.where(
            torch.rand(count, problem.tokens, generator=g) < 0.1, noise, means[self.labels]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, keys):
        index = torch.tensor(keys) % len(self)
        return {"codes": self.codes[index], "labels": self.labels[index]}


PEERS = [name for name in entries.ENTRIES if name in entries.GROUPS["peers"]]
QUICK = ("absorbing", "multinomial")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in PEERS]
)
def test_an_entry_learns_and_draws_what_it_learnt(name):
    torch.manual_seed(0)
    entry, patterns = entries.ENTRIES[name], Patterns(PROBLEM)
    baseline = entry.make(PROBLEM, RUN)
    steps = 240 if name == "argmax_flow" else 80  # a flow is slow to learn which places are certain
    weights, record = training.train(baseline, patterns, RECIPE, training.Budget(steps=steps), 0.1)
    assert record["steps"] == steps and record["skipped"] == 0
    assert record["loss_last_tenth"] < 0.8 * record["loss_first_tenth"]
    baseline.model.load_state_dict(weights)
    baseline.model.eval()
    labels = torch.arange(40) % 2
    cases = entries.peers(name, [6], PROBLEM.tokens, [1.0, 1.5])
    assert {c.guidance for c in cases} == ({1.0, 1.5} if entry.guided else {1.0})
    clean = [patterns.codes[patterns.labels == c].mode(0).values for c in (0, 1)]
    for case in cases:
        drawn = baseline.sample(labels, case.calls, 3, case.guidance, **case.settings)
        assert drawn.shape == (40, 9) and drawn.min() >= 0 and drawn.max() < 8
        assert torch.equal(drawn, baseline.sample(labels, case.calls, 3, case.guidance, **case.settings))
        agree = torch.stack([(drawn[labels == c] == clean[c]).double().mean() for c in (0, 1)]).mean()
        assert agree > 0.3, (case, float(agree))  # 0.125 by chance


@pytest.mark.slow
def test_the_command_trains_evaluates_and_does_nothing_twice(tmp_path):
    pytest.importorskip("sklearn")
    from d3pm_image.cli import train_tokenizer

    train_tokenizer.main([*TINY_TOKENIZER, "--out", str(tmp_path / "tokenizer")])
    kept, work = tmp_path / "results.json", tmp_path / "work"
    entry = ["--only", "maskgit", "argmax_flow", "share_0.2", "nearest", "--work", str(work)]
    data = ["--tokenizer", str(tmp_path / "tokenizer"), "--data.source=digits", "--denoiser.heads=2"]
    size = ["--width", str(DENOISER["width"]), "--depth", str(DENOISER["depth"])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def command(*words: str) -> subprocess.CompletedProcess:
        line = [sys.executable, "-m", "benchmarks.baselines", *words]
        return subprocess.run(
            line, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path
        )

    def both(seconds: str) -> subprocess.CompletedProcess:
        words = [*data, "--seconds", seconds, *size, *entry, "--calls", "4", "--samples", "40"]
        return command("run", str(kept), *words)

    first = both("1")
    assert first.returncode == 0, first.stderr
    results = json.loads(kept.read_text())
    assert {r["entry"] for r in results["rows"]} == {"maskgit", "argmax_flow", "share_0.2", "nearest"}
    held_out = results["training"]["nearest"]["held_out"]
    assert 0 < held_out["bits"] < 1.5 * math.log2(results["network"]["codes"]) and held_out["images"] > 100
    assert {r["calls"] for r in results["rows"] if r["group"] == "peers"} == {1, 4}
    for record in results["training"].values():
        assert record["wall_seconds"] >= 1 and record["steps"] >= 1
    weights = (work / "maskgit.safetensors").stat().st_mtime_ns
    again = both("1")
    assert again.returncode == 0, again.stderr
    assert json.loads(kept.read_text()) == results
    assert (work / "maskgit.safetensors").stat().st_mtime_ns == weights
    timed = command("time", str(kept), *entry, "--calls", "4", "--samples", "10")
    assert timed.returncode == 0, timed.stderr
    retimed = json.loads(kept.read_text())["rows"]
    different = {row["entry"] for row, old in zip(retimed, results["rows"], strict=True) if row != old}
    assert different <= {"maskgit", "argmax_flow"} and all(row["seconds_per_1000"] > 0 for row in retimed)
    other = both("3")
    assert other.returncode != 0 and "another budget" in other.stderr
    table = tables.table("baselines", kept)
    assert "| MaskGIT: τ 4.5 |" in table and "1 call |" in table
    assert "ancestral, 8 calls, 2 of them correct" in tables.table("uniform_share", kept)
    found = tables.kernels(json.loads(kept.read_text()))
    steps = results["training"]["nearest"]["steps"]
    assert f"| random codes alone, nearest | {steps} | **{held_out['bits']:.3f}** |" in found
