"""Training on transparent images: losses, random backgrounds and runs."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from helpers.tensors import equal
from helpers.transparent import folder, icons
from torch import nn

from d3pm_image import Pipeline, train_diffusion, train_tokenizer
from d3pm_image.config import AdversarialConfig, ConfigError, TokenizerLossConfig, TokenizerRun
from d3pm_image.pixel_range import from_levels
from d3pm_image.recipes.tokenizer_parts import background, make_loss
from d3pm_image.tokenizer.discriminator import Discriminator
from d3pm_image.training.random import StepRandom

SMALL = {
    "downsampling": 2,
    "multipliers": [1],
    "width": 8,
    "quantizer": {"name": "ema", "num_codes": 16, "code_dim": 4},
}
LOOP = {"steps": 3, "batch_size": 4, "preview_every": 3, "checkpoint_every": 2, "warmup_steps": 1}


def random(step: int = 0, rows: slice = slice(0, 4), total: int = 4) -> StepRandom:
    return StepRandom(7, step, total, rows, torch.device("cpu"))


class Distance(nn.Module):
    """Stands for a perceptual network: notes what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, output: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        self.seen.append((output, images))
        return (output - images).square().mean()


class Echo(nn.Module):
    """A tokenizer whose reconstructions are the images plus a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(0.0))

    def forward(self, images: torch.Tensor, share: object) -> tuple[torch.Tensor, ...]:
        return images + self.shift, torch.zeros(len(images), 4, 4, dtype=torch.int64), images.new_zeros(())


def levels(hidden: int = 0, mode: str = "RGBA") -> torch.Tensor:
    return torch.from_numpy(np.stack([np.asarray(i) for i in icons(4, hidden=hidden, mode=mode)])).permute(
        0, 3, 1, 2
    )


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_networks_that_know_no_alpha_see_one_background_each(mode):
    perceptual, images = Distance(), levels(mode=mode)
    config = TokenizerRun(loss=TokenizerLossConfig(perceptual=1.0))
    make_loss(config, None, perceptual)(Echo(), {"images": images}, random())
    (output, shown), alpha = perceptual.seen[0], images[:, -1:] / 255
    assert shown.shape[1] == images.shape[1] - 1 and torch.equal(output, shown)
    corners = shown[:, :, 0, 0]
    assert (alpha[:, :, 0, 0] == 0).all() and len(corners.flatten().unique()) == corners.numel()
    straight = images[:, :-1] / 255
    assert torch.allclose(shown, straight * alpha + corners[:, :, None, None] * (1 - alpha), atol=1e-6)


def test_backgrounds_follow_the_step_and_not_the_processes():
    images = from_levels(levels())
    whole = background(images, random())
    parts = [background(images[rows], random(rows=rows)) for rows in (slice(0, 2), slice(2, 4))]
    assert torch.equal(whole, torch.cat(parts)) and whole.dtype == torch.float32
    assert not torch.equal(whole, background(images, random(1)))


def test_images_without_alpha_draw_no_background():
    drawn = random()
    assert background(torch.rand(4, 3, 8, 8), drawn) == 0.0 and drawn.stream == 0


def test_hidden_colour_changes_no_loss():
    config = TokenizerRun(loss=TokenizerLossConfig(l1=1.0, gradient=1.0, ssim=1.0, perceptual=1.0))
    clean, garbage = (
        make_loss(config, None, Distance())(Echo(), {"images": levels(hidden)}, random()) for hidden in (0, 5)
    )
    assert torch.equal(clean[0], garbage[0])


def test_the_discriminator_judges_the_same_backgrounds():
    adversarial = AdversarialConfig(weight=0.5, warmup_steps=0, ramp_steps=0, width=8, layers=2)
    config = TokenizerRun(loss=TokenizerLossConfig(perceptual=1.0, adversarial=adversarial))
    discriminator, perceptual, model = Discriminator(adversarial, 3), Distance(), Echo()
    total, values, (images, output) = make_loss(config, None, perceptual, discriminator)(
        model, {"images": levels()}, random(10)
    )
    total.backward()
    assert "adversarial" in values and model.shift.grad is not None
    assert torch.equal(images, perceptual.seen[0][1]) and torch.equal(output, perceptual.seen[0][0])


@pytest.mark.parametrize("channels, mode", [(4, "RGBA"), (2, "LA")])
def test_a_model_of_transparent_images_is_trained_and_generates_them(tmp_path, channels, mode):
    data, runs = {"image_size": 16, "channels": channels}, {}
    for name, hidden in (("garbage", 1), ("clean", 0)):
        data["root"] = str(folder(tmp_path / name, hidden, mode))
        runs[name] = train_tokenizer(data, out=tmp_path / f"{name}_run", tokenizer=SMALL, train=LOOP)
    assert equal(*(run.state_dict() for run in runs.values()))  # hidden colour changes nothing of a training
    pipe = train_diffusion(
        data, tokenizer=runs["clean"], out=tmp_path / "diffusion", cache=str(tmp_path / "codes"), train=LOOP,
        denoiser={"width": 16, "depth": 1, "heads": 1},
    )  # fmt: skip
    assert isinstance(pipe, Pipeline) and pipe.tokenizer.channels == channels
    images = pipe.generate(2, seed=1)
    assert [image.mode for image in images] == [mode] * 2
    array = pipe.generate(2, seed=1, output_type="np")
    assert array.shape == (2, 16, 16, channels)
    # what Python gets is straight, as what it gives: going back changes nothing but rounding
    assert torch.equal(pipe.tensors(array), pipe.tensors(images))


def test_a_run_goes_on_exactly(tmp_path):
    """The backgrounds that the discriminator sees come from the step's own random numbers."""
    loss = {"adversarial": {"weight": 0.5, "warmup_steps": 0, "ramp_steps": 1, "width": 8, "layers": 2}}
    asked = {
        "data": {"root": str(folder(tmp_path / "icons")), "image_size": 16, "channels": 4},
        "tokenizer": SMALL,
        "loss": loss,
        "train": LOOP | {"steps": 4},
    }
    whole = train_tokenizer(**asked, out=tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "part")
    shutil.rmtree(tmp_path / "part" / "model")
    shutil.rmtree(tmp_path / "part" / "checkpoints" / "step-00000004")
    resumed = train_tokenizer(**asked, out=tmp_path / "part", resume=True)
    assert equal(whole.state_dict(), resumed.state_dict())


def test_a_training_that_lays_alpha_on_white_says_so(tmp_path, capsys):
    place = str(folder(tmp_path / "icons"))
    train_tokenizer(place, image_size=16, channels=3, out=tmp_path / "white", tokenizer=SMALL, train=LOOP)
    assert "--data.channels 4 keeps them" in capsys.readouterr().err
    train_tokenizer(place, image_size=16, channels=4, out=tmp_path / "alpha", tokenizer=SMALL, train=LOOP)
    assert "--data.channels" not in capsys.readouterr().err


def test_weights_without_alpha_are_no_start_for_it(tmp_path):
    place = str(folder(tmp_path / "icons"))
    with pytest.raises(
        ConfigError, match=r"data\.channels=4: start_from eurosat has 3.* alpha needs new weights"
    ):
        train_tokenizer(place, channels=4, start_from="eurosat", out=tmp_path / "run", train=LOOP)
    assert not (tmp_path / "run" / "model").exists()
