"""The discriminator: its losses by hand, a calm start, and a second network that is saved, resumed, split and shared like the first."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from accelerate.state import AcceleratorState
from helpers.paths import ROOT
from helpers.tensors import equal
from helpers.tiny import TINY_TOKENIZER, free_port, options
from safetensors.torch import load_file

from d3pm_image.cli import train_tokenizer
from d3pm_image.config import AdversarialConfig, ConfigError, DataConfig, TokenizerLossConfig, TokenizerRun, TrainConfig
from d3pm_image.tokenizer.discriminator import Discriminator, balanced, discriminator_loss, lecam, trust, verdict
from d3pm_image.training.checkpoint import checkpoints

pytestmark = pytest.mark.usefixtures("one_accelerator_a_test")

TINY = AdversarialConfig(weight=0.1, width=8, layers=1)
# fsq: its result does not depend on how a step is split; ema's codebook moves once a part
LOOP = {"steps": 20, "log_every": 1, "checkpoint_every": 5, "preview_every": 0, "keep": 9}
SETTINGS = {"weight": 0.2, "start_step": 2, "warmup_steps": 4, "ramp_steps": 4, "width": 8, "layers": 1}
BASE = [
    *TINY_TOKENIZER,
    *options("train", LOOP),
    *options("tokenizer", {"quantizer": "fsq", "num_codes": 60, "levels": [4, 5, 3], "code_dim": 32}),
]
# a weight as it is: a discriminator of a few steps is hardly trusted
AGAINST = [*BASE, *options("loss.adversarial", {**SETTINGS, "adaptive": "false"})]
ADAPTIVE = [*BASE, *options("loss.adversarial", {**SETTINGS, "rate": 5.0})]


def run(folder, *arguments):
    AcceleratorState._reset_state(reset_partial_state=True)
    train_tokenizer.main([*arguments, "--out", str(folder)])
    return folder


def at(folder, step: int, name: str = "model") -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoints" / f"step-{step:08d}" / f"{name}.safetensors")


def lines(folder) -> list[dict]:
    return [line for line in map(json.loads, (folder / "log.jsonl").read_text().splitlines()) if "loss" in line]


class Scores(torch.nn.Module):
    """A discriminator that says what it is told: the mean of a picture."""

    def __init__(self):
        super().__init__()
        self.register_buffer("anchors", torch.tensor([0.5, -0.25]))

    def forward(self, images):
        return images.mean((1, 2, 3), keepdim=True)


def test_the_losses_by_hand():
    network, values = Scores(), torch.tensor([0.25, 1.5, 0.5, -2.0]).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    images, output = values[:2], values[2:]
    loss, logs = discriminator_loss(network, network, images, output, AdversarialConfig(weight=1, lecam=0))
    hinge = ((0.75 + 0) / 2 + (1.5 + 0) / 2) / 2
    assert float(loss) == pytest.approx(hinge)
    assert float(logs["score_real"]) == pytest.approx(0.875) and float(logs["score_fake"]) == pytest.approx(-0.75)
    torch.testing.assert_close(network.anchors, torch.tensor([0.99 * 0.5 + 0.01 * 0.875, -0.99 * 0.25 - 0.01 * 0.75]))
    expected = ((0.25 + 0.3) ** 2 + (1.5 + 0.3) ** 2) / 2 + (0 + (0.4 + 2) ** 2) / 2
    assert float(lecam(images.mean((2, 3)), output.mean((2, 3)), torch.tensor([0.4, -0.3]))) == pytest.approx(expected)
    network.anchors.copy_(torch.tensor([0.5, -0.25]))
    more, logs = discriminator_loss(network, network, images, output, AdversarialConfig(weight=1, lecam=0.5))
    assert float(more) == pytest.approx(hinge + 0.5 * float(logs["lecam"]))


def test_the_verdict_teaches_the_output_and_not_the_discriminator():
    torch.manual_seed(0)
    network = Discriminator(TINY, 3)
    output = torch.rand(2, 3, 8, 8, requires_grad=True)
    score = network(output).mean()
    loss = verdict(network, output)
    assert float(loss.detach()) == pytest.approx(-float(score.detach()))
    loss.backward()
    assert float(output.grad.abs().sum()) > 0 and all(p.grad is None for p in network.parameters())
    before, output.grad = output.grad, None
    (-score).backward()
    torch.testing.assert_close(before, output.grad)


def pixels_and_losses(rows: int = 3):
    torch.manual_seed(0)
    network, images, output = Discriminator(TINY, 3), torch.rand(rows, 3, 8, 8), torch.rand(rows, 3, 8, 8, requires_grad=True)
    return output, (output - images).square().mean(), verdict(network, output)


def test_a_balanced_verdict_pulls_as_hard_as_it_was_told_on_every_image():
    output, wanted, against = pixels_and_losses()
    (pull,) = torch.autograd.grad(wanted, output, retain_graph=True)
    loss, factor = balanced(output, wanted, against, 0.25)
    assert float(loss.detach()) == pytest.approx(float(wanted.detach())) and float(factor) > 0
    loss.backward()
    lengths = (output.grad - pull).flatten(1).norm(dim=1) / pull.flatten(1).norm(dim=1)
    torch.testing.assert_close(lengths, torch.full((3,), 0.25))
    assert bool(((output.grad * pull).flatten(1).sum(1) > 0).all())  # a step still lowers the error of every image


@pytest.mark.parametrize("real, fake, expected", [(0.0, 0.0, 0.0), (0.2, 0.3, 0.0), (1.0, 0.0, 0.5), (1.0, -1.0, 1.0), (3.0, -2.0, 1.0)])
def test_a_discriminator_is_trusted_as_far_as_it_can_tell(real, fake, expected):
    network = Scores()
    network.anchors.copy_(torch.tensor([real, fake]))
    assert trust(network) == expected


def test_an_image_is_balanced_by_itself():
    output, wanted, against = pixels_and_losses()
    balanced(output, wanted, against, 0.25)[0].backward()
    alone = output.detach()[1:2].clone().requires_grad_()
    torch.manual_seed(0)
    network, images = Discriminator(TINY, 3), torch.rand(3, 3, 8, 8)
    balanced(alone, (alone - images[1:2]).square().mean(), verdict(network, alone), 0.25)[0].backward()
    torch.testing.assert_close(alone.grad / 3, output.grad[1:2])  # losses are means over images


def test_a_reconstruction_without_error_is_left_alone():
    output = torch.rand(2, 3, 8, 8, requires_grad=True)
    loss, factor = balanced(output, (output - output.detach()).square().mean(), verdict(Discriminator(TINY, 3), output), 0.25)
    loss.backward()
    assert float(factor) == 0 and float(output.grad.abs().max()) == 0


@pytest.mark.parametrize("layers, size", [(1, (8, 8)), (2, (28, 28)), (3, (32, 48))])
def test_scores_are_one_a_patch_and_pictures_do_not_touch(layers, size):
    network = Discriminator(AdversarialConfig(width=8, layers=layers), 1)
    images = torch.rand(3, 1, *size)
    scores = network(images)
    assert scores.shape == (3, 1, size[0] // 2**layers, size[1] // 2**layers)
    torch.testing.assert_close(network(images[1:2]), scores[1:2])


def test_a_discriminator_learns_to_tell():
    torch.manual_seed(0)
    network = Discriminator(TINY, 1)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    for _ in range(60):
        real = (torch.rand(16, 1, 8, 8) > 0.5).float()
        loss, logs = discriminator_loss(network, network, real, 0.5 * real + 0.25, TINY)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(logs["score_real"]) > 0.5 > -0.5 > float(logs["score_fake"])


def test_the_verdict_counts_after_the_warm_up_and_rises_evenly():
    config = AdversarialConfig(weight=0.5, start_step=10, warmup_steps=5, ramp_steps=4)
    weights = [config.verdict_weight(step) for step in range(30)]
    assert weights[:15] == [0.0] * 15
    assert weights[15:20] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5]) and weights[19:] == [0.5] * 11
    assert AdversarialConfig(weight=0.5, warmup_steps=0, ramp_steps=0).verdict_weight(0) == 0.5
    assert not any(AdversarialConfig().verdict_weight(step) for step in range(2000))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return run(tmp_path_factory.mktemp("against"), *AGAINST)


def test_until_its_verdict_counts_the_tokenizer_trains_as_if_alone(unbroken, tmp_path):
    """Bit for bit through the warm-up, which ends at step 6; then it differs."""
    alone = run(tmp_path / "alone", *BASE)
    assert equal(at(alone, 5), at(unbroken, 5)) and not equal(at(alone, 10), at(unbroken, 10))
    assert not (alone / "checkpoints" / "step-00000005" / "rival.safetensors").exists()
    logged = lines(unbroken)
    assert ["discriminator" in line for line in logged] == [False] * 2 + [True] * 18
    assert ["verdict" in line for line in logged] == [False] * 6 + [True] * 14
    assert not equal(at(unbroken, 5, "rival"), at(unbroken, 10, "rival"))


@pytest.mark.parametrize("kept", [5, 10])
def test_a_killed_run_goes_on_exactly_with_both_networks(unbroken, tmp_path, kept):
    """From the middle of the warm-up and of the ramp."""
    folder = tmp_path / "broken"
    shutil.copytree(unbroken, folder)
    for late in checkpoints(folder / "checkpoints"):
        if int(late.name[-8:]) > kept:
            shutil.rmtree(late)
    shutil.rmtree(folder / "model")
    run(folder, *AGAINST, "--resume", "true")
    for name in ("model", "ema", "optimizer", "rival", "rival_optimizer"):
        assert equal(at(folder, 20, name), at(unbroken, 20, name)), name
    assert [line["loss"] for line in lines(folder)] == [line["loss"] for line in lines(unbroken)]


def test_a_discriminator_can_join_a_run_but_not_one_that_it_should_have_joined_before(tmp_path):
    folder = run(tmp_path / "run", *BASE, "--train.steps", "10")
    late = [*BASE, *options("loss.adversarial", {**SETTINGS, "start_step": 12}), "--resume", "true"]
    with pytest.raises(ConfigError, match=r"loss\.adversarial\.start_step=2: the checkpoint of step 10 holds no second network"):
        run(folder, *AGAINST, "--resume", "true")
    run(folder, *late)
    assert ["discriminator" in line for line in lines(folder)] == [False] * 12 + [True] * 8


def test_accumulation_equals_the_large_batch(unbroken, tmp_path):
    parts = run(tmp_path / "parts", *AGAINST, "--train.accumulate", "4", "--loss.adversarial.lecam", "0")
    whole = run(tmp_path / "whole", *AGAINST, "--loss.adversarial.lecam", "0")
    for name in ("loss", "discriminator", "score_fake"):
        assert [line.get(name, 0.0) for line in lines(parts)] == pytest.approx(
            [line.get(name, 0.0) for line in lines(whole)], rel=2e-3, abs=1e-4
        )
    assert [line["loss"] for line in lines(unbroken)] != [line["loss"] for line in lines(whole)]  # LeCam is in the first


def test_two_processes_train_both_networks_as_one(unbroken, tmp_path):
    folder = tmp_path / "two"
    script = str(ROOT / "scripts" / "train_tokenizer.py")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", free_port(), script]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*launch, *AGAINST, "--out", str(folder)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [line["processes"] for line in lines(folder)] == [2] * 20
    for name in ("loss", "discriminator", "lecam", "score_real", "score_fake"):
        ours, theirs = ([line.get(name, 0.0) for line in lines(f)] for f in (folder, unbroken))
        assert ours == pytest.approx(theirs, rel=5e-3, abs=1e-4), name
    torch.testing.assert_close(at(folder, 20, "rival")["anchors"], at(unbroken, 20, "rival")["anchors"], rtol=5e-3, atol=1e-4)


def test_switching_a_discriminator_on_costs_less_than_a_decibel(tmp_path):
    """Digits, 60 steps alone and 100 against a discriminator that learns fast and counts at once."""
    alone = run(tmp_path / "run", *BASE, "--train.steps", "60", "--train.preview_every", "60", "--train.ema", "0.9")
    fast = {"weight": 0.5, "start_step": 60, "warmup_steps": 10, "ramp_steps": 10, "rate": 2.0, "width": 32, "layers": 2}
    more = ["--train.steps", "160", "--train.preview_every", "10", "--train.ema", "0.9", "--resume", "true"]
    run(alone, *BASE, *options("loss.adversarial", fast), *more)
    judged = [line for line in map(json.loads, (alone / "log.jsonl").read_text().splitlines()) if "val_psnr_db" in line]
    before = next(line["val_psnr_db"] for line in judged if line["step"] == 60)
    assert min(line["val_psnr_db"] for line in judged) > before - 1
    assert max(line.get("verdict_weight", 0.0) for line in lines(alone)) > 0  # it did count
    assert any(line.get("score_real", 0.0) > line.get("score_fake", 0.0) + 0.5 for line in lines(alone))


def test_an_adaptive_verdict_is_the_same_in_parts_and_after_a_kill(tmp_path):
    whole = run(tmp_path / "whole", *ADAPTIVE)
    weights = [line.get("verdict_weight", 0.0) for line in lines(whole)]
    assert weights[:6] == [0.0] * 6 and max(weights) > 0
    parts = run(tmp_path / "parts", *ADAPTIVE, "--train.accumulate", "4", "--loss.adversarial.lecam", "0")
    assert [line["loss"] for line in lines(parts)] == pytest.approx([line["loss"] for line in lines(whole)], rel=5e-3)
    for late in checkpoints(whole / "checkpoints")[-2:]:
        shutil.rmtree(late)
    shutil.rmtree(whole / "model")
    before = [line["loss"] for line in lines(whole)]
    run(whole, *ADAPTIVE, "--resume", "true")
    assert [line["loss"] for line in lines(whole)] == before


@pytest.mark.parametrize("settings", [ADAPTIVE, AGAINST], ids=["adaptive", "fixed weight"])
def test_bf16_trains_both_networks(tmp_path, settings):
    folder = run(tmp_path / "half", *settings, "--train.mixed_precision", "bf16", "--train.steps", "10")
    assert all(v.dtype == torch.float32 for v in at(folder, 10, "rival").values())
    assert all(torch.isfinite(torch.tensor(line["loss"])) for line in lines(folder))
    assert ["verdict_weight" in line for line in lines(folder)] == [False] * 6 + [settings is ADAPTIVE] * 4


def test_a_discriminator_too_deep_for_the_pictures_is_refused():
    data, loss = DataConfig(image_size=16, channels=1), TokenizerLossConfig(adversarial=AdversarialConfig(weight=1, layers=4))
    with pytest.raises(ConfigError, match=r"loss\.adversarial\.layers=4: too many for a side of 16 pixels; use at most 3"):
        TokenizerRun(data=data, loss=loss)
    TokenizerRun(data=data, loss=TokenizerLossConfig(adversarial=AdversarialConfig(weight=1, layers=3)))
    with pytest.raises(ConfigError, match="the discriminator has its own"):
        TokenizerRun(data=data, loss=TokenizerLossConfig(adversarial=TINY), train=TrainConfig(mixed_precision="fp16"))


@pytest.mark.parametrize(
    "changes",
    [
        {"weight": -1.0},
        {"lecam": -1.0},
        {"start_step": -1},
        {"warmup_steps": -1},
        {"ramp_steps": -1},
        {"rate": 0.0},
        {"width": 12},
        {"layers": 0},
    ],
)
def test_impossible_discriminators_are_refused(changes):
    with pytest.raises(ConfigError, match=rf"loss\.adversarial\.{next(iter(changes))}="):
        AdversarialConfig(**changes)
