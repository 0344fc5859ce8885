"""The baselines learn, and the whole command on digits."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from baselines import entries, training
from baselines.problem import Problem
from helpers.paths import ROOT
from helpers.tiny import DENOISER, TINY_TOKENIZER

from d3pm_image.config import DenoiserConfig, DiffusionRun, ProcessConfig, TrainConfig

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
        self.codes = torch.where(torch.rand(count, problem.tokens, generator=g) < 0.1, noise, means[self.labels])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, keys):
        index = torch.tensor(keys) % len(self)
        return {"codes": self.codes[index], "labels": self.labels[index]}


@pytest.mark.parametrize("name", [name for name in entries.ENTRIES if name in entries.GROUPS["peers"]])
def test_an_entry_learns_and_draws_what_it_learnt(name):
    torch.manual_seed(0)
    entry, patterns = entries.ENTRIES[name], Patterns(PROBLEM)
    baseline = entry.make(PROBLEM, RUN)
    steps = 240 if name == "argmax_flow" else 80  # a flow is slow to learn which places are certain
    weights, facts = training.train(baseline, patterns, RECIPE, training.Budget(steps=steps), 0.1)
    assert facts["steps"] == steps and facts["skipped"] == 0
    assert facts["loss_last_tenth"] < 0.8 * facts["loss_first_tenth"]
    baseline.model.load_state_dict(weights)
    baseline.model.eval()
    labels = torch.arange(40) % 2
    drawings = entries.peers(name, [6], PROBLEM.tokens, [1.0, 1.5])
    assert {d.guidance for d in drawings} == ({1.0, 1.5} if entry.guided else {1.0})
    clean = [patterns.codes[patterns.labels == c].mode(0).values for c in (0, 1)]
    for drawing in drawings:
        drawn = baseline.sample(labels, drawing.calls, 3, drawing.guidance, **drawing.settings)
        assert drawn.shape == (40, 9) and drawn.min() >= 0 and drawn.max() < 8
        assert torch.equal(drawn, baseline.sample(labels, drawing.calls, 3, drawing.guidance, **drawing.settings))
        agree = torch.stack([(drawn[labels == c] == clean[c]).double().mean() for c in (0, 1)]).mean()
        assert agree > 0.3, (drawing, float(agree))  # 0.125 by chance


def test_the_command_trains_judges_and_writes_and_does_nothing_twice(tmp_path):
    pytest.importorskip("sklearn")
    from d3pm_image.cli import train_tokenizer

    train_tokenizer.main([*TINY_TOKENIZER, "--out", str(tmp_path / "tokenizer")])
    page = tmp_path / "page.md"
    page.write_text("\n".join(f"<!-- table {n} -->\n<!-- end of table -->" for n in ("baselines", "baselines_times", "uniform_share")))
    only = ["--only", "maskgit", "argmax_flow", "share_0.2"]
    base = [sys.executable, str(ROOT / "scripts" / "baselines.py")]
    place = [str(tmp_path / "figures.json"), str(page)]
    length = [
        "--tokenizer",
        str(tmp_path / "tokenizer"),
        "--work",
        str(tmp_path / "work"),
        "--data.source=digits",
        "--denoiser.heads=2",
        "--seconds",
    ]
    size = ["--width", str(DENOISER["width"]), "--depth", str(DENOISER["depth"])]
    judged = ["--calls", "4", "--samples", "40"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def run(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run([*base, *words], capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)

    first = run("run", *place, *length, "1", *size, *only, *judged)
    assert first.returncode == 0, first.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert {r["entry"] for r in figures["rows"]} == {"maskgit", "argmax_flow", "share_0.2"}
    assert {r["calls"] for r in figures["rows"] if r["group"] == "peers"} == {1, 4}
    for facts in figures["training"].values():
        assert facts["wall_seconds"] >= 1 and facts["steps"] >= 1
    text = page.read_text()
    assert "| MaskGIT: τ 4.5 |" in text and "ancestral, 8 calls, 2 of them correct" in text
    weights = (tmp_path / "work" / "maskgit.safetensors").stat().st_mtime_ns
    again = run("run", *place, *length, "1", *size, *only, *judged)
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "figures.json").read_text()) == figures and page.read_text() == text
    assert (tmp_path / "work" / "maskgit.safetensors").stat().st_mtime_ns == weights
    timed = run("time", place[0], "--work", str(tmp_path / "work"), *only, "--calls", "4", "--samples", "10")
    assert timed.returncode == 0, timed.stderr
    retimed = json.loads((tmp_path / "figures.json").read_text())["rows"]
    different = {row["entry"] for row, old in zip(retimed, figures["rows"], strict=True) if row != old}
    assert different <= {"maskgit", "argmax_flow"} and all(row["seconds_per_1000"] > 0 for row in retimed)
    other = run("run", *place, *length, "3", *size, *only, *judged)
    assert other.returncode != 0 and "another budget" in other.stderr
