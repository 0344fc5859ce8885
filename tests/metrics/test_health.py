"""What is measured of a tokenizer, what is said about it, and which weights are kept."""

from __future__ import annotations

import re

import pytest
import torch

from d3pm_image.config import DataConfig, TokenizerConfig, TokenizerLossConfig, TokenizerRun
from d3pm_image.metrics.reconstruction import reconstruction_error
from d3pm_image.metrics.tokenizer_diagnostics import warnings_of
from d3pm_image.recipes import tokenizer as tokenizer_recipe
from d3pm_image.tokenizer.quantizers import QUANTIZERS

HEALTHY = {
    "codes_used": 400.0,
    "perplexity": 250.0,
    "codes_per_image": 49.0,
    "contrast": 0.95,
    "clipped": -0.1,
}
CONFIGS = {
    **{name: {} for name in QUANTIZERS},
    "ema without reviving": {"revive_below": 0.0}, "ema, narrow": {"code_dim": 4}, "simvq, rotated": {"rotation_trick": True},
}  # fmt: skip


def settings(name: str) -> TokenizerConfig:
    return TokenizerConfig(quantizer=QUANTIZERS[name.split()[0].strip(",")](**CONFIGS[name]))


class Rounds:
    """A tokenizer of 4 codes that keeps the mean of every image, in quarters; ``gain`` spoils what it gives back."""

    num_codes, downsampling, channels = 4, 8, 1

    def __init__(self, gain: float = 1.0):
        self.gain = gain

    def eval(self):
        return self

    def encode(self, images):
        return (images.mean((1, 2, 3)) * 4).long().clamp(0, 3).view(-1, 1, 1)

    def decode(self, codes):
        return ((codes / 3 - 0.5) * self.gain + 0.5).clamp(0, 1).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)


def flat_images(levels: list[float]) -> torch.Tensor:
    return torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)


def test_the_measures_by_hand():
    images = flat_images([0.1, 0.3, 0.8, 0.9])  # codes 0 1 3 3, given back as 0 1/3 1 1
    values = reconstruction_error(
        Rounds(), lambda i: images[i], 4, batch_size=3, criterion=lambda a, b: (a - b).abs().mean()
    )
    errors = torch.tensor([0.01, (1 / 3 - 0.3) ** 2, 0.04, 0.01], dtype=torch.float64)
    assert values["mse"] == pytest.approx(float(errors.mean()), rel=1e-5)
    assert values["psnr_db"] == pytest.approx(-10 * float(errors.mean().log10()), rel=1e-5)
    for p in (10, 50, 90, 99):
        assert values[f"mse_p{p}"] == pytest.approx(float(errors.quantile(p / 100)), rel=1e-4)
    assert (values["codes_used"], values["dead_codes"], values["codes_per_image"]) == (3, 1, 1)
    assert values["perplexity"] == pytest.approx(2**1.5)
    assert values["reconstruction_loss"] == pytest.approx((0.1 + 1 / 30 + 0.2 + 0.1) / 4, rel=1e-5)
    assert values["clipped"] == pytest.approx(0.75)  # three of four come back pure, none was
    std = lambda x: float(torch.tensor(x, dtype=torch.float64).std(correction=0))  # noqa: E731
    assert values["contrast"] == pytest.approx(std([0, 1 / 3, 1, 1]) / std([0.1, 0.3, 0.8, 0.9]), rel=1e-4)


def test_measures_do_not_depend_on_the_batch():
    images = torch.rand(7, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    one, many = (
        reconstruction_error(Rounds(), lambda i: images[i], 7, size, lambda a, b: (a - b).square().mean())
        for size in (1, 250)
    )
    assert one == pytest.approx(many, rel=1e-6)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_healthy_tokenizer_gets_no_finding_and_a_collapsed_one_a_hint_that_it_reads(name):
    config = settings(name)
    assert warnings_of(HEALTHY, config, 2000) == []
    for values in ({"codes_used": 90.0}, {"perplexity": 20.0}):
        (text,) = warnings_of({**HEALTHY, **values}, config, 2000)
        assert text.startswith("the codebook has collapsed: ") and "\n" not in text
        advised = set(re.findall(r"tokenizer\.quantizer\.(\w+)", text))
        assert advised and advised <= {*config.quantizer.types(), "name"}


def test_few_images_cannot_use_many_codes():
    """20 images of 4 cells reach at most 80 codes: 15 of 512 is no collapse then, but it is with 2,000 images."""
    values = {**HEALTHY, "codes_per_image": 4.0, "codes_used": 15.0, "perplexity": 10.0}
    assert (
        warnings_of(values, TokenizerConfig(), 20) == []
        and len(warnings_of(values, TokenizerConfig(), 2000)) == 1
    )


def test_flat_and_clipped_reconstructions_are_named():
    (flat,) = warnings_of({**HEALTHY, "contrast": 0.2}, TokenizerConfig(), 2000)
    (clipped,) = warnings_of({**HEALTHY, "clipped": 0.4}, TokenizerConfig(), 2000)
    assert "flat" in flat and "learning_rate" in flat and "clipped" in clipped and "learning_rate" in clipped


class Held:
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def read(self, indices, device):
        return self.images[indices]


def run_settings(**loss) -> TokenizerRun:
    return TokenizerRun(data=DataConfig(image_size=8, channels=1), loss=TokenizerLossConfig(**loss))


def test_a_warning_is_printed_when_two_validations_agree(capsys):
    held = Held(flat_images([0.1, 0.3, 0.6, 0.9] * 8))
    validate = tokenizer_recipe.make_validation(held, "cpu", run_settings())
    flat, healthy = Rounds(0.1), Rounds(0.9)
    said = []
    for model in (flat, healthy, flat, flat, healthy):
        validate(model)
        said.append("warning: reconstructions are flat" in capsys.readouterr().err)
    assert said == [False, False, False, True, False]


def test_the_score_is_the_loss_that_is_trained():
    held = Held(flat_images([0.1, 0.3, 0.6, 0.9]))
    plain, both = (
        tokenizer_recipe.make_validation(held, "cpu", run_settings(**loss))(Rounds())
        for loss in ({}, {"l1": 3.0, "ssim": 2.0})
    )
    assert plain["score"] == plain["mse"]
    l1 = (0.1 + 1 / 30 + abs(2 / 3 - 0.6) + 0.1) / 4
    assert both["score"] == pytest.approx(10 * both["mse"] + 3 * l1 + 2 * (1 - both["ssim"]), rel=1e-4)
