"""Steps of training: bad ones, accumulated ones, and those in other precisions, processes and optimizers."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
import torch
from accelerate.state import AcceleratorState
from helpers.marks import slow
from helpers.runs import command, environment, stage_arguments, weights
from helpers.tensors import equal
from helpers.tiny import TINY_DIFFUSION, TINY_TOKENIZER

from d3pm_image.cli import train_diffusion, train_tokenizer
from d3pm_image.tokenizer.quantizers import FSQ
from d3pm_image.training.checkpoint import checkpoints
from d3pm_image.training.loop import TrainingError

pytestmark = pytest.mark.usefixtures("one_accelerator_a_test")


def test_nan_stops_and_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    from d3pm_image.tokenizer import loss

    calls = []

    def poisoned(output, images, config):
        calls.append(1)
        return output.square().mean() * (float("nan") if len(calls) == 30 else 1.0), {}

    monkeypatch.setattr(loss, "reconstruction_loss", poisoned)
    with pytest.raises(TrainingError, match=r"loss=nan at step 29.*step-00000020.*--resume true"):
        train_tokenizer.main([*TINY_TOKENIZER, "--out", str(tmp_path), "--train.max_skips", "0"])
    assert all(torch.isfinite(v).all() for v in weights(tmp_path).values())


def poisoned_loss(monkeypatch, bad: set[int]):
    """The tokenizer's loss is NaN at some calls, by way of its output, so that gradients and codebook are in danger as well."""
    from d3pm_image.tokenizer import loss

    real, calls = loss.reconstruction_loss, []

    def poisoned(output, images, config):
        calls.append(1)
        total, terms = real(output, images, config)
        return total * (float("nan") if len(calls) - 1 in bad else 1.0), terms

    monkeypatch.setattr(loss, "reconstruction_loss", poisoned)


def test_a_bad_step_changes_nothing_and_is_counted(tmp_path, monkeypatch, capsys):
    from d3pm_image.training.trainer import Trainer

    poisoned_loss(monkeypatch, {12, 13, 30})
    states, real = {}, Trainer.step

    def watched(trainer, batch):
        number = trainer.progress.step
        before = {k: v.clone() for k, v in trainer.task.model.state_dict().items()}
        logs = real(trainer, batch)
        states[number] = equal(before, trainer.task.model.state_dict())
        return logs

    monkeypatch.setattr(Trainer, "step", watched)
    train_tokenizer.main([*TINY_TOKENIZER, "--out", str(tmp_path), "--train.log_every", "1"])
    assert [number for number, unchanged in states.items() if unchanged] == [12, 13, 30]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["skipped"] for line in lines if "skipped" in line][-1] == 3
    assert "loss=nan at step 12: skipped (1 so far)" in capsys.readouterr().err
    assert json.loads((checkpoints(tmp_path / "checkpoints")[-1] / "state.json").read_text())["skipped"] == 3


def test_bad_steps_in_a_row_stop(tmp_path, monkeypatch):
    poisoned_loss(monkeypatch, {5, *range(10, 14)})
    with pytest.raises(
        TrainingError, match=r"loss=nan at step 13, 4 in a row: training stopped and no checkpoint"
    ):
        train_tokenizer.main([*TINY_TOKENIZER, "--out", str(tmp_path), "--train.max_skips", "3"])


def test_one_batch_is_learnt_by_heart(trained, tmp_path, capsys):
    base = [
        "--train.overfit_one_batch",
        "true",
        "--train.preview_every",
        "0",
        "--train.ema",
        "0",
        "--train.batch_size",
        "16",
    ]
    tokenizer = [*TINY_TOKENIZER, *base, "--train.steps", "200", "--train.learning_rate", "3e-3"]
    train_tokenizer.main([*tokenizer, "--out", str(tmp_path / "tokenizer")])
    assert "the network learns" in capsys.readouterr().out
    diffusion = [*TINY_DIFFUSION, *base, "--tokenizer", str(trained / "tokenizer")]
    with pytest.raises(TrainingError, match="one batch: loss"):
        train_diffusion.main(
            [
                *diffusion,
                "--train.steps",
                "5",
                "--train.learning_rate",
                "1e-5",
                "--out",
                str(tmp_path / "too-short"),
            ]
        )


def test_accumulation_equals_the_large_batch(trained, tmp_path):
    """4 × 16 equals 64 for the denoiser, to rounding."""
    extra = ["--tokenizer", str(trained / "tokenizer"), "--train.steps", "10", "--train.log_every", "1"]
    losses = []
    for parts in ("1", "4"):
        folder = tmp_path / parts
        train_diffusion.main([*TINY_DIFFUSION, *extra, "--train.accumulate", parts, "--out", str(folder)])
        losses.append(
            [
                json.loads(line)["loss"]
                for line in (folder / "log.jsonl").read_text().splitlines()
                if '"loss"' in line
            ]
        )
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize("discriminator", [None, "a discriminator"])
def test_a_codebook_that_drifts_is_noticed(discriminator):
    """Processes that hold different buffers stop with a message instead of saving one of the two."""
    from types import SimpleNamespace

    from d3pm_image.training.trainer import Progress, Trainer

    trainer = object.__new__(Trainer)
    trainer.progress = Progress(step=3)
    first, second = torch.nn.BatchNorm1d(2), SimpleNamespace(model=torch.nn.BatchNorm1d(2))
    trainer.task = (
        SimpleNamespace(model=first, discriminator=None)
        if discriminator is None
        else SimpleNamespace(model=torch.nn.Linear(2, 2), discriminator=second)
    )
    for drift in (0.0, 1.0):
        trainer.accelerator = SimpleNamespace(
            num_processes=2, device="cpu", gather=lambda x, drift=drift: torch.cat([x, x + drift])
        )
        if drift:
            with pytest.raises(TrainingError, match="differ between processes at step 3"):
                trainer._agree()
        else:
            trainer._agree()


@pytest.mark.parametrize("stage", [slow("train_tokenizer"), "train_diffusion"])
def test_two_processes_train_as_one(stage, trained, tmp_path):
    """Two processes really run, keep one codebook, write one set of files, and follow the losses of one process."""
    folders = {}
    for processes in (1, 2):
        folders[processes] = tmp_path / str(processes)
        extra = [
            *stage_arguments(stage, trained),
            "--out",
            str(folders[processes]),
            "--train.steps",
            "20",
            "--train.log_every",
            "1",
            "--tokenizer.quantizer.revive_below",
            "0",
        ]
        extra = extra if stage == "train_tokenizer" else extra[:-2]
        result = subprocess.run(
            command(stage, *extra, processes=processes),
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr[-2000:]
    lines = [
        [json.loads(line) for line in (f / "log.jsonl").read_text().splitlines() if '"loss"' in line]
        for f in folders.values()
    ]
    losses = [[line["loss"] for line in run] for run in lines]
    assert [run[0]["processes"] for run in lines] == [1, 2]
    assert len(losses[0]) == len(losses[1]) == 20
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)
    assert len(list((folders[2] / "checkpoints").glob("step-*"))) == 1
    config = json.loads((folders[2] / "model" / "config.json").read_text())
    assert config["format"].startswith("d3pm-image")


@pytest.mark.slow
def test_bf16_trains_as_float32_does(trained, tmp_path):
    """Same data and noise: the held-out bound after training differs by less than two percent, and bf16 was really used."""
    scores, losses = [], []
    for precision in ("no", "bf16"):
        AcceleratorState._reset_state(reset_partial_state=True)
        folder = tmp_path / precision
        train_diffusion.main(
            [
                *TINY_DIFFUSION,
                "--tokenizer",
                str(trained / "tokenizer"),
                "--train.mixed_precision",
                precision,
                "--out",
                str(folder),
            ]
        )
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        scores.append([line["val_bits_per_code"] for line in lines if "val_bits_per_code" in line][-1])
        losses.append([line["loss"] for line in lines if "loss" in line])
    assert losses[0] != losses[1]
    assert scores[1] == pytest.approx(scores[0], rel=0.02)


def test_muon_resumes_and_differs_from_adamw(trained, tmp_path):
    """Two optimizers in one checkpoint: killed between, they go on exactly."""
    base = [
        *TINY_DIFFUSION,
        "--tokenizer",
        str(trained / "tokenizer"),
        "--train.optimizer",
        "muon",
        "--train.preview_every",
        "0",
    ]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train_diffusion.main([*base, "--out", str(whole)])
    train_diffusion.main([*base, "--out", str(broken), "--train.keep", "5"])
    for late in checkpoints(broken / "checkpoints")[1:]:
        shutil.rmtree(late)
    train_diffusion.main([*base, "--out", str(broken), "--resume", "true"])
    assert equal(weights(whole), weights(broken)) and equal(
        weights(whole, "optimizer"), weights(broken, "optimizer")
    )
    train_diffusion.main(
        [*base, "--train.optimizer", "adamw", "--train.steps", "10", "--out", str(tmp_path / "adamw")]
    )
    members = [
        {key.split(".")[0] for key in weights(folder, "optimizer")} for folder in (whole, tmp_path / "adamw")
    ]
    assert members == [{"0", "1"}, {"0"}]


def test_raw_weights_are_judged_beside_the_averaged_ones(trained, tmp_path):
    """val_raw_* is what the checkpoint's own weights give; without averaging there is nothing to compare."""
    from d3pm_image.config import TokenizerRun
    from d3pm_image.data.images import ImageSet
    from d3pm_image.data.sources import open_source
    from d3pm_image.parser import parse
    from d3pm_image.recipes.tokenizer import make_validation
    from d3pm_image.tokenizer import Autoencoder

    def validated(folder):
        return [
            line
            for line in map(json.loads, (folder / "log.jsonl").read_text().splitlines())
            if "val_score" in line
        ][-1]

    last = validated(trained / "tokenizer")
    config = parse("train-tokenizer", TokenizerRun, [*TINY_TOKENIZER, "--out", str(tmp_path)])
    model = Autoencoder(config.tokenizer, 1)
    model.load_state_dict(weights(trained / "tokenizer"))
    images = ImageSet(open_source(config.data, held_out=True), config.data)
    values = make_validation(images, torch.device("cpu"), config)(model)
    assert (
        last["val_raw_mse"]
        == pytest.approx(values["mse"], rel=1e-6)
        != pytest.approx(last["val_mse"], rel=1e-6)
    )
    assert (
        "val_raw_score" not in last
        and {"val_raw_bits_per_code", "val_raw_accuracy"} <= validated(trained / "diffusion").keys()
    )
    train_tokenizer.main(
        [*TINY_TOKENIZER, "--train.ema", "0", "--train.steps", "5", "--out", str(tmp_path / "run")]
    )
    assert not [name for name in validated(tmp_path / "run") if name.startswith("val_raw_")]


def test_tf32_is_a_setting_of_cuda_alone():
    from d3pm_image.training.loop import choose_products

    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        choose_products(True, "cuda")
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("high", True)
        choose_products(False, "cuda")
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("highest", False)
        choose_products(True, "cpu")
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("highest", False)
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def test_channels_last_weights_train_and_resume_as_plain_ones():
    """Moments come back in the order of their parameters: the fused optimizer reads both straight through memory."""
    from d3pm_image.config import TokenizerConfig, TrainConfig
    from d3pm_image.tokenizer import Autoencoder
    from d3pm_image.tokenizer.autoencoder import arrange
    from d3pm_image.training.checkpoint import load_optimizer, optimizer_tensors
    from d3pm_image.training.optim import make_optimizers

    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))

    def made(device):
        torch.manual_seed(0)
        model = Autoencoder(
            TokenizerConfig(downsampling=2, multipliers=(1,), width=16, quantizer=FSQ(levels=(4, 5, 3))), 3
        )
        arrange(model, device)
        return model, make_optimizers(model, TrainConfig()).members[0][0]

    def moved(model, optimizer, steps=1):
        for _ in range(steps):
            output, _, own = model(images)
            ((output - images).square().mean() + own).backward()
            optimizer.step()
            optimizer.zero_grad()
        return model

    kernel = "encoder.1.weight"
    (plain, first), (last, second) = made("cpu"), made("cuda")
    assert plain.get_parameter(kernel).is_contiguous() and not last.get_parameter(kernel).is_contiguous()
    moved(plain, first), moved(last, second)
    again, third = made("cuda")
    again.load_state_dict({k: v.contiguous() for k, v in last.state_dict().items()})
    load_optimizer(
        third,
        {k: v.clone(memory_format=torch.contiguous_format) for k, v in optimizer_tensors(second).items()},
    )
    expected, resumed = moved(last, second).state_dict(), moved(again, third).state_dict()
    assert equal(expected, resumed)
    for name, value in moved(plain, first).state_dict().items():
        torch.testing.assert_close(expected[name], value, atol=1e-3, rtol=1e-2)
