"""Estimates against real steps of training."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest
import torch
from helpers.command_line import run
from helpers.estimates import fails, stage_two
from helpers.marks import slow
from helpers.tiny import TOKENIZER

from d3pm_image.config import (
    DiffusionLossConfig,
    TrainConfig,
)
from d3pm_image.denoiser import Transformer
from d3pm_image.estimate import report
from d3pm_image.estimate.flops import count, diffusion_loss, imagined
from d3pm_image.estimate.grids import Codes
from d3pm_image.estimate.report import Problem, counted
from d3pm_image.training.timing import Timing


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("optimizer", [slow("adamw"), "muon"])
@pytest.mark.parametrize("precision", ["no", slow("bf16")])
def test_a_step_on_fake_tensors_costs_what_a_real_one_does(fused, optimizer, precision):
    """Same code, real tensors: FlopCounterMode, saved tensors and live storages give the same figures."""
    config = stage_two(
        loss=DiffusionLossConfig(fused=fused),
        train=TrainConfig(optimizer=optimizer, mixed_precision=precision),
    )
    with imagined():
        guessed = count(
            Transformer(config.denoiser, 50, 10), diffusion_loss(config, 50, (8, 8), 10, 6), config.train
        )
    real = count(
        Transformer(config.denoiser, 50, 10), diffusion_loss(config, 50, (8, 8), 10, 6), config.train
    )
    assert guessed.peak_bytes == pytest.approx(
        real.peak_bytes, rel=0.01
    )  # when a temporary is let go differs a little
    assert dataclasses.replace(guessed, peak_bytes=0) == dataclasses.replace(real, peak_bytes=0)


def test_accumulation_lowers_memory_and_keeps_the_operations():
    codes = Codes(50, (8, 8), (8, 8), 1)
    whole, parts = (
        counted(Problem(stage_two(train=TrainConfig(batch_size=8, accumulate=accumulate)), codes, 100, 10))
        for accumulate in (1, 4)
    )
    places = 2 * 64 * (32 * 64 + 64**2)  # are computed once a part
    assert (
        parts["forward_flops"] == whole["forward_flops"] + 3 * places
        and parts["activation_bytes"] < whole["activation_bytes"] / 3
    )
    shared = counted(Problem(stage_two(train=TrainConfig(batch_size=8)), codes, 100, 10, devices=4))
    assert shared["activation_bytes"] == parts["activation_bytes"]
    assert (
        shared["forward_flops"] - places == (whole["forward_flops"] - places) / 4
        and shared["optimizer_flops"] == whole["optimizer_flops"]
    )


@pytest.mark.slow
def test_measurement_and_plan_of_an_untrained_tokenizer(plans, capsys):
    before = sorted(plans.rglob("*"))
    run(
        "estimate",
        plans / "diffusion.yaml",
        "--images",
        1000,
        "--classes",
        10,
        "--seconds",
        0.2,
        "--out",
        plans / "figures.json",
    )
    printed = capsys.readouterr().out
    assert sorted(plans.rglob("*")) == sorted(
        [*before, plans / "figures.json"]
    )  # the run's folder is not made
    figures = json.loads((plans / "figures.json").read_text(encoding="utf-8"))
    assert (
        figures["grid"] == [4, 4]
        and figures["num_codes"] == TOKENIZER["quantizer"]["num_codes"]
        and figures["epochs"] == 60 * 8 / 1000
    )
    measured = figures["measured"]
    assert measured["seconds_a_step"] > 0 and max(measured["batches"]) <= 8
    assert measured["hours"] == pytest.approx(measured["seconds_a_step"] * 60 / 3600)
    assert "extrapolated" in printed and "not trained yet" in printed


def test_measuring_under_torchrun_is_refused(plans, capsys, monkeypatch):
    monkeypatch.setitem(os.environ, "WORLD_SIZE", "2")
    assert "torchrun" in fails(capsys, "estimate", plans / "tokenizer.yaml", "--images", 5)


@pytest.mark.parametrize(("given", "expected"), [(0, 3), (2, 2)])
def test_steps_are_timed_on_the_threads_that_a_run_takes(given, expected, monkeypatch):
    found, before = [], torch.get_num_threads()

    def timed(*arguments):
        found.append(torch.get_num_threads())
        return Timing(0.1, 0.01, (1, 2), "cpu", 1.0)

    monkeypatch.setattr(report, "time_steps", timed)
    monkeypatch.setattr(report, "fitting_threads", lambda: (3, "a busy machine"))
    problem = Problem(
        stage_two(train=TrainConfig(batch_size=4, threads=given)), Codes(50, (8, 8), (8, 8), 1), 100, 10
    )
    assert report.measured(problem, 1.0, []) is not None
    assert found == [expected] and torch.get_num_threads() == before
