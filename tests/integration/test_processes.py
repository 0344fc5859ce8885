"""The course of training does not depend on how its batch is divided: two processes, one, and accumulation, both stages.

Everything random derives from (seed, step, row of the global batch), dropout and revived codes included, and the sums that move the
codebook are float64, so what is left between the runs is the rounding of float32 gradients. AdamW keeps it that small; torch's Muon
works in bf16, where the last bit of a gradient can show in the eighth of an update, so Muon is only asked to resume exactly here
(test_training_steps compares its losses on one and two processes).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from helpers.paths import ROOT
from helpers.tiny import TINY_DIFFUSION, TINY_TOKENIZER, free_port, options
from safetensors.torch import load_file

from d3pm_image.cli import train_diffusion, train_tokenizer
from d3pm_image.config import ConfigError, TrainConfig
from d3pm_image.training.checkpoint import checkpoints

pytest.importorskip("sklearn")
STEPS = 50
LOOP = options(
    "train", {"steps": STEPS, "log_every": 1, "preview_every": 0, "checkpoint_every": 25, "keep": 9}
)
MUON = [*TINY_DIFFUSION, *LOOP, "--denoiser.dropout", "0.1"]
STAGES = {
    "train_tokenizer": [*TINY_TOKENIZER, *LOOP],
    "train_diffusion": [*MUON, *options("train", {"optimizer": "adamw"})],
}


SCRIPT = """
import json, shutil, sys
from pathlib import Path
from accelerate import Accelerator, PartialState
from d3pm_image.cli import train_diffusion, train_tokenizer

Accelerator.end_training = lambda self: None  # the process group serves all runs: starting from the beginning takes longer than the runs
for stage, arguments in json.load(open(sys.argv[1])):
    if stage == "break":  # a run, as if it had been killed after its first checkpoint
        if PartialState().is_main_process:
            shutil.rmtree(sorted(Path(arguments, "checkpoints").iterdir())[-1])
            shutil.rmtree(Path(arguments, "model"))
        PartialState().wait_for_everyone()
    else:
        {"train_tokenizer": train_tokenizer, "train_diffusion": train_diffusion}[stage].main(arguments)
PartialState().destroy_process_group()
"""


def train_in_two(runs: list[tuple[str, list[str] | str]], folder: Path) -> None:
    """Runs one after the other in two processes that torchrun starts: (stage, arguments), or ("break", folder of a run)."""
    (folder / "runs.json").write_text(json.dumps(runs))
    (folder / "script.py").write_text(SCRIPT)
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "--master_port",
        free_port(),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [*launch, str(folder / "script.py"), str(folder / "runs.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-6000:]


def train(stage: str, arguments: list[str]) -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    (train_tokenizer if stage == "train_tokenizer" else train_diffusion).main(arguments)


def logged(folder: Path) -> list[dict]:
    return [
        line for line in map(json.loads, (folder / "log.jsonl").read_text().splitlines()) if "loss" in line
    ]


def state(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(checkpoints(folder / "checkpoints")[-1] / f"{name}.safetensors")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of both stages: in one process, in four parts, in two processes, and in two that stop half-way and go on."""
    folder = tmp_path_factory.mktemp("runs")
    train(
        "train_tokenizer",
        [
            *TINY_TOKENIZER,
            "--train.steps",
            "20",
            "--train.preview_every",
            "0",
            "--out",
            str(folder / "codes"),
        ],
    )
    together = []
    for course, base in {**STAGES, "muon": MUON}.items():
        stage = "train_diffusion" if course == "muon" else course
        arguments = [*base, *(["--tokenizer", str(folder / "codes")] if stage == "train_diffusion" else [])]
        out = {name: ["--out", str(folder / course / name)] for name in ("one", "parts", "two", "resumed")}
        if course != "muon":
            train(stage, [*arguments, *out["one"]])
            train(stage, [*arguments, *out["parts"], "--train.accumulate", "4"])
        again = [*arguments, *out["resumed"]]
        together += [
            (stage, [*arguments, *out["two"]]),
            (stage, again),
            ("break", out["resumed"][1]),
            (stage, [*again, "--resume", "true"]),
        ]
    train_in_two(together, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", ["parts", "two"])
def test_the_division_of_the_batch_does_not_show(stage, name, runs):
    """Losses of 50 steps to 1e-5; weights, averaged weights and the codebook after them."""
    one, other = logged(runs / stage / "one"), logged(runs / stage / name)
    assert [line["step"] for line in one] == list(range(1, STEPS + 1))
    assert sum(line["loss"] for line in one[-5:]) < sum(line["loss"] for line in one[:5])
    assert {line["processes"] for line in other} == {2 if name == "two" else 1}
    assert [line["loss"] for line in other] == pytest.approx([line["loss"] for line in one], rel=1e-5)
    for part in ("model", "ema"):
        expected, found = state(runs / stage / "one", part), state(runs / stage / name, part)
        assert expected.keys() == found.keys()
        far = {
            k: float((found[k] - v).abs().max() / v.abs().max().clamp(min=1e-3))
            for k, v in expected.items()
            if v.is_floating_point()
        }
        assert max(far.values()) < 1e-3, far
        assert max((v for k, v in far.items() if "codebook" in k), default=0.0) < 1e-5, far


@pytest.mark.slow
@pytest.mark.parametrize("stage", [*STAGES, "muon"])
def test_two_processes_that_stopped_go_on_as_if_they_had_not(stage, runs):
    whole, resumed = runs / stage / "two", runs / stage / "resumed"
    assert [line["loss"] for line in logged(resumed)] == [line["loss"] for line in logged(whole)]
    for part in ("model", "ema", "optimizer"):
        expected, found = state(whole, part), state(resumed, part)
        assert expected.keys() == found.keys() and all(
            torch.equal(found[k], v) for k, v in expected.items()
        ), part


SHARDED = [
    *options(
        "train",
        {"fsdp": "true", "optimizer": "adamw", "steps": 20, "checkpoint_every": 10, "preview_every": 10},
    )
]


@pytest.fixture(scope="module")
def sharded(runs, tmp_path_factory):
    """Denoisers of 20 steps: in one process, and split over two, whole, resumed and in parts."""
    folder = tmp_path_factory.mktemp("sharded")
    base = [*STAGES["train_diffusion"], *SHARDED, "--tokenizer", str(runs / "codes")]
    train("train_diffusion", [*base, "--train.fsdp", "false", "--out", str(folder / "one")])
    parts = [
        "--train.accumulate",
        "2",
        "--train.mixed_precision",
        "bf16",
        "--loss.fused",
        "true",
        "--train.ema",
        "0",
    ]
    together = [("train_diffusion", [*base, *parts, "--out", str(folder / "parts")])]
    for name in ("split", "resumed", "moved"):
        together.append(("train_diffusion", [*base, "--out", str(folder / name)]))
    together += [("break", str(folder / "resumed")), ("break", str(folder / "moved"))]
    train_in_two(
        [*together, ("train_diffusion", [*base, "--out", str(folder / "resumed"), "--resume", "true"])],
        folder,
    )
    train(
        "train_diffusion",
        [*base, "--train.fsdp", "false", "--out", str(folder / "moved"), "--resume", "true"],
    )
    return folder


@pytest.mark.slow
def test_a_split_denoiser_trains_as_a_whole_one(sharded):
    """Losses, validation, checkpoints and the exported model of two processes with half of the network each are those of one."""
    one, split = logged(sharded / "one"), logged(sharded / "split")
    assert [line["loss"] for line in split] == pytest.approx([line["loss"] for line in one], rel=1e-5)
    assert [line["grad_norm"] for line in split] == pytest.approx(
        [line["grad_norm"] for line in one], rel=1e-4
    )
    validated = [
        [json.loads(line) for line in (f / "log.jsonl").read_text().splitlines() if "val_score" in line]
        for f in (sharded / "one", sharded / "split")
    ]
    assert [line["val_score"] for line in validated[1]] == pytest.approx(
        [line["val_score"] for line in validated[0]], rel=1e-5
    )
    for part in ("model", "ema", "optimizer"):
        expected, found = state(sharded / "one", part), state(sharded / "split", part)
        assert {k: v.shape for k, v in expected.items()} == {k: v.shape for k, v in found.items()}
        far = {
            k: float((found[k] - v).abs().max() / v.abs().max().clamp(min=1e-3)) for k, v in expected.items()
        }
        assert max(far.values()) < 1e-3, far
    exported = [
        load_file(next((f / "model" / "denoiser").glob("*.safetensors")))
        for f in (sharded / "one", sharded / "split")
    ]
    assert exported[0].keys() == exported[1].keys()
    for key, value in exported[0].items():
        torch.testing.assert_close(exported[1][key], value, atol=1e-4, rtol=1e-3)


@pytest.mark.slow
def test_a_split_run_goes_on_split_or_whole(sharded):
    whole = logged(sharded / "split")
    for name, exact in (("resumed", 0.0), ("moved", 1e-5)):
        assert [line["loss"] for line in logged(sharded / name)] == pytest.approx(
            [line["loss"] for line in whole], rel=exact, abs=0.0
        )
    for part in ("model", "ema", "optimizer"):
        expected, found = state(sharded / "split", part), state(sharded / "resumed", part)
        assert expected.keys() == found.keys() and all(
            torch.equal(found[k], v) for k, v in expected.items()
        ), part


@pytest.mark.slow
def test_a_split_denoiser_in_parts_with_bf16_and_the_fused_loss(sharded):
    one, parts = logged(sharded / "one"), logged(sharded / "parts")
    assert [line["loss"] for line in parts] == pytest.approx([line["loss"] for line in one], rel=0.03)
    assert "ema.safetensors" not in {
        f.name for f in checkpoints(sharded / "parts" / "checkpoints")[-1].iterdir()
    }


@pytest.mark.parametrize(
    "change, words",
    [
        ({"optimizer": "muon"}, "train.optimizer='muon': fsdp splits matrices"),
        ({"mixed_precision": "fp16"}, "train.mixed_precision='fp16': with train.fsdp"),
        ({"compile": True}, "train.compile=True: cannot be combined with train.fsdp"),
    ],
)
def test_what_cannot_be_split_is_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        TrainConfig(fsdp=True, **change)


def test_a_split_network_needs_processes_and_a_denoiser(tmp_path):
    with pytest.raises(ConfigError, match=r"train\.fsdp=True: is supported for the denoiser only"):
        train(
            "train_tokenizer",
            [*STAGES["train_tokenizer"], "--train.fsdp", "true", "--out", str(tmp_path / "run")],
        )
    with pytest.raises(ConfigError, match=r"train\.fsdp=True: needs more than one process"):
        train("train_diffusion", [*STAGES["train_diffusion"], *SHARDED, "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()
