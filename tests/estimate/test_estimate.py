"""Estimates are those of real training: operations, parameters, memory, checkpoints and caches against the things themselves."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from helpers.command_line import run
from helpers.estimates import fails, stage_two
from helpers.tiny import DENOISER
from torch.utils.flop_counter import FlopCounterMode

from d3pm_image.config import (
    ConfigError,
    DataConfig,
    DenoiserConfig,
    DiffusionLossConfig,
    TokenizerConfig,
    TokenizerRun,
    TrainConfig,
)
from d3pm_image.denoiser import Transformer
from d3pm_image.estimate.flops import count, diffusion_loss, imagined, size, tokenizer_loss, tokenizer_model
from d3pm_image.estimate.report import cache_bytes
from d3pm_image.estimate.subject import stage_of
from d3pm_image.tokenizer.quantizers import EMA
from d3pm_image.training.ema import make_average
from d3pm_image.training.timing import line

STAGE_ONE = TokenizerRun(
    data=DataConfig(image_size=16, channels=1),
    tokenizer=TokenizerConfig(width=16, quantizer=EMA(num_codes=64, code_dim=8)),
)


def test_head_and_loss_in_one_operation_are_counted_too():
    """The fused loss hides its products from the counter; there are as many as in the plain way."""
    totals = []
    for fused in (False, True):
        config = stage_two(loss=DiffusionLossConfig(fused=fused), train=TrainConfig(optimizer="adamw"))
        with imagined():
            totals.append(
                count(
                    Transformer(config.denoiser, 50, 10),
                    diffusion_loss(config, 50, (8, 8), 10, 6),
                    config.train,
                ).flops
            )
    assert totals[0] == totals[1]


def test_a_step_of_the_tokenizer_on_fake_tensors_costs_what_a_real_one_does():
    with imagined():
        guessed = count(tokenizer_model(STAGE_ONE), tokenizer_loss(STAGE_ONE, 6), STAGE_ONE.train)
    real = count(tokenizer_model(STAGE_ONE), tokenizer_loss(STAGE_ONE, 6), STAGE_ONE.train)
    assert dataclasses.replace(guessed, peak_bytes=0) == dataclasses.replace(real, peak_bytes=0)
    assert guessed.peak_bytes == pytest.approx(real.peak_bytes, rel=0.01)


def test_operations_are_those_of_the_counter_on_the_real_network():
    """An independent count: torch's counter over forward and backward pass, and the layers' products written out."""
    config = stage_two(train=TrainConfig(optimizer="adamw"))
    images, tokens, codes, width = 3, 64, 50, 64
    with imagined():
        guessed = count(
            Transformer(config.denoiser, codes, 10),
            diffusion_loss(config, codes, (8, 8), 10, images),
            config.train,
        )
    network = Transformer(config.denoiser, codes, 10)
    with FlopCounterMode(display=False) as counter:
        network(
            torch.zeros(images, tokens, dtype=torch.long),
            torch.rand(images),
            torch.zeros(images, dtype=torch.long),
            (8, 8),
        ).sum().backward()
    assert guessed.forward_flops + guessed.backward_flops == counter.get_total_flops()
    hidden = network.blocks[0].feed_forward.out.in_features
    a_block = 2 * tokens * (4 * width**2 + 3 * width * hidden) + 4 * tokens**2 * width + 2 * 6 * width**2
    level = 2 * (64 * width + width**2)
    places = 2 * tokens * (32 * width + width**2)  # once for all images
    assert guessed.forward_flops == places + images * (
        2 * a_block + level + 2 * 2 * width**2 + 2 * tokens * width * codes
    )


def test_parameters_and_memory_are_those_of_the_real_tensors():
    config = stage_two(train=TrainConfig(optimizer="muon"))
    with imagined():
        costs = count(
            Transformer(config.denoiser, 50, 10), diffusion_loss(config, 50, (8, 8), 10, 4), config.train
        )
    network = Transformer(config.denoiser, 50, 10)
    average = make_average(network, 0.99)
    assert costs.parameters == sum(p.numel() for p in network.parameters())
    assert costs.weights_bytes == size((*network.parameters(), *network.buffers()))
    assert costs.gradient_bytes == 4 * costs.parameters
    assert costs.ema_bytes == size((*average.module.parameters(), *average.module.buffers()))
    assert (
        4 * costs.parameters < costs.optimizer_bytes < 8 * costs.parameters
    )  # Muon keeps one number a weight, AdamW two
    least = costs.weights_bytes + costs.optimizer_bytes + costs.ema_bytes + costs.activation_bytes
    assert least < costs.peak_bytes < least + costs.gradient_bytes + costs.activation_bytes


def test_line_through_two_batch_sizes():
    assert line({2: 1.4, 10: 3.0}) == pytest.approx((1.0, 0.2))
    assert line({4: 2.0}) == pytest.approx((0.0, 0.5))
    assert line({2: 3.0, 10: 2.0}) == pytest.approx((2.0, 0.0))  # noise: larger steps are not faster
    assert line({2: 1.0, 10: 9.0})[0] >= 0


def test_cache_bytes_are_those_of_a_cache(tmp_path):
    from d3pm_image.data.codes import build_cache
    from d3pm_image.data.images import ImageSet
    from d3pm_image.data.sources import open_source

    for flip in (False, True):
        data = DataConfig(image_size=8, channels=1, flip=flip, limit=500)
        images = ImageSet(open_source(data), data)
        place = build_cache(
            images,
            lambda batch: torch.zeros(len(batch), 4, 4, dtype=torch.long),
            f"key{flip}",
            tmp_path,
            quiet=True,
        )
        files = sum((place / name).stat().st_size for name in ("codes.npy", "labels.npy"))
        assert 0 <= files - cache_bytes(data, (4, 4), 500) < 512  # headers


def test_options_of_the_run_override_and_hours_of_another_device(plans):
    def figures(*more: object) -> dict:
        out = plans / "figures.json"
        run(
            "estimate",
            plans / "tokenizer.yaml",
            "--images",
            1000,
            "--seconds",
            0,
            "--out",
            out,
            "--overwrite",
            *more,
        )
        return json.loads(out.read_text(encoding="utf-8"))

    plain, larger = figures(), figures("--train.batch_size", 16, "--peak-tflops=2", "--reached", 0.5)
    assert larger["forward_flops"] == 2 * plain["forward_flops"] and "assumed" not in plain
    assert larger["assumed"]["hours"] == pytest.approx(larger["flops_a_step"] * 60 / 1e12 / 3600)


def test_images_that_repeat_and_known_regions_are_counted(plans, capsys):
    """Positions along tiled axes have no weights; the level of known tokens has some."""

    def parameters(*more: object) -> int:
        out = plans / "figures.json"
        line = ("--images", 1000, "--classes", 3, "--seconds", 0, "--out", out, "--overwrite", *more)
        run("estimate", plans / "diffusion.yaml", *line)
        return json.loads(out.read_text(encoding="utf-8"))["parameters"]

    tokenizer = json.loads((plans / "tokenizer.yaml").read_text(encoding="utf-8"))
    tokenizer["data"]["tile"] = "both"
    (plans / "tokenizer.yaml").write_text(json.dumps(tokenizer), encoding="utf-8")
    codes = TokenizerConfig.from_values(tokenizer["tokenizer"]).num_codes
    told = DenoiserConfig(**DENOISER, known_share=0.5)
    for config, options in ((DenoiserConfig(**DENOISER), ()), (told, ("--denoiser.known_share", 0.5))):
        network = Transformer(config, codes, 3, "both")
        assert parameters(*options) == sum(p.numel() for p in network.parameters())
    assert "trained with both" in fails(
        capsys, "estimate", plans / "diffusion.yaml", "--images", 5, "--data.tile", "x"
    )


def test_a_level_per_token_is_counted():
    """Its operations are a map of the level's embedding, once for each image and for a clean token."""
    found = []
    for share in (0.0, 0.5):
        config = stage_two(train=TrainConfig(optimizer="adamw"))
        config = dataclasses.replace(config, denoiser=dataclasses.replace(config.denoiser, known_share=share))
        with imagined():
            network, loss = Transformer(config.denoiser, 50, 10), diffusion_loss(config, 50, (8, 8), 10, 6)
            found.append(count(network, loss, config.train).forward_flops)
    assert found[1] > found[0]


def test_wrong_requests_name_field_value_and_hint(plans, tmp_path, capsys):
    assert "file" in fails(capsys, "estimate", tmp_path / "nothing.yaml")
    assert "--images" in fails(
        capsys,
        "estimate",
        plans / "tokenizer.yaml",
        "--data.source",
        "folder",
        "--data.root",
        tmp_path / "none",
    )
    assert "did you mean" in fails(capsys, "estimate", plans / "tokenizer.yaml", "--tokenizer.widht", 3)
    assert "devices" in fails(capsys, "estimate", plans / "tokenizer.yaml", "--images", 5, "--devices", 3)
    assert "will train it" in fails(
        capsys, "estimate", plans / "diffusion.yaml", "--images", 5, "--tokenizer", tmp_path / "nowhere"
    )
    assert "trained at 8x8" in fails(
        capsys, "estimate", plans / "diffusion.yaml", "--images", 5, "--data.image_size", 16
    )
    assert "trained with 1" in fails(
        capsys, "estimate", plans / "diffusion.yaml", "--images", 5, "--data.channels", 3
    )
    (tmp_path / "both.yaml").write_text("train: {steps: 3}", encoding="utf-8")
    assert "--stage" in fails(capsys, "estimate", tmp_path / "both.yaml")
    with pytest.raises(ConfigError, match="reached"):
        run_options(reached=0)


def run_options(**values):
    from d3pm_image.cli.estimate import Estimate

    return Estimate(file="x", **values)


def test_the_stage_is_read_off_the_file(plans):
    assert stage_of(str(plans / "tokenizer.yaml"), "auto") == "tokenizer"
    assert stage_of(str(plans / "diffusion.yaml"), "auto") == "diffusion"
    (plans / "part.yaml").write_text("sampling: {steps: 8}", encoding="utf-8")
    assert stage_of(str(plans / "part.yaml"), "auto") == "diffusion"
