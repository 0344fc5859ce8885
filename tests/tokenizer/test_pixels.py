"""Pixels as codes: exact levels, packed colours, and a model trained, saved and used without a stage one."""

from __future__ import annotations

import json

import pytest
import torch
from helpers.tiny import TOKENIZER

from d3pm_image.config import ConfigError, DataConfig, DenoiserConfig, DiffusionRun, TokenizerConfig
from d3pm_image.tokenizer import Autoencoder, Pixels, load_tokenizer, pixel_tokenizer, save_tokenizer
from d3pm_image.types import Tokenizer


def every_level(channels: int) -> torch.Tensor:
    """Eight-bit images (1, C, 16, 16) that hold every intensity in every channel, as floats in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    return (
        torch.stack([torch.randperm(256, generator=generator).view(16, 16) for _ in range(channels)])[
            None
        ].float()
        / 255
    )


def test_they_are_a_tokenizer():
    model = Pixels(8, 3)
    assert isinstance(model, Tokenizer)
    assert (model.num_codes, model.downsampling, model.channels, model.levels) == (512, 1, 3, 8)
    assert model.grid(16) == (16, 16) and model.grid((4, 6)) == (4, 6)
    codes = model.encode(every_level(3))
    assert (
        codes.shape == (1, 16, 16)
        and codes.dtype == torch.int64
        and 0 <= int(codes.min()) <= int(codes.max()) < 512
    )


def test_256_grey_levels_keep_8_bit_images_exactly():
    images = every_level(1)
    model = Pixels(256, 1)
    assert torch.equal(model.encode(images), (images[:, 0] * 255).round().long())
    assert torch.equal(model.decode(model.encode(images)), images)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("levels", [2, 3, 8, 40])
def test_codes_come_back_and_pixels_to_the_nearest_level(levels, channels):
    model, images = Pixels(levels, channels), every_level(channels)
    outputs = model.decode(model.encode(images))
    assert outputs.shape == images.shape and outputs.dtype == torch.float32
    assert float((outputs - images).abs().max()) <= 0.5 / (levels - 1) + 1e-6
    codes = torch.randint(levels**channels, (2, 3, 5))
    assert torch.equal(model.encode(model.decode(codes)), codes)
    assert set(outputs.unique().tolist()) <= set(model.intensities.tolist())


def test_colours_are_packed_red_first():
    model = Pixels(4, 3)
    colour = torch.tensor([1 / 3, 2 / 3, 1.0]).view(1, 3, 1, 1)
    assert int(model.encode(colour)) == 1 * 16 + 2 * 4 + 3
    assert torch.equal(model.decode(torch.tensor([[[27]]])), colour)
    assert model.decode(torch.tensor([[[16, 4, 1]]]))[0, :, 0].T.tolist() == [
        [pytest.approx(float(i == j) / 3) for j in range(3)] for i in range(3)
    ]


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (1, 4, 4), (2, 2, 4, 4)])
def test_images_of_other_channels_are_refused(shape):
    with pytest.raises(ConfigError, match=r"^images=.*give \(B, 1, h, w\)"):
        Pixels(4, 1).encode(torch.zeros(shape))


@pytest.mark.parametrize("code", [-1, 64, 1000])
def test_codes_out_of_range_are_refused(code):
    with pytest.raises(ConfigError, match=rf"^codes={code}: codes must lie in 0..63"):
        Pixels(4, 3).decode(torch.tensor([[[0, code]]]))


def test_no_images_are_no_error():
    model = Pixels(4, 1)
    assert model.decode(model.encode(torch.zeros(0, 1, 3, 5))).shape == (0, 1, 3, 5)


@pytest.mark.parametrize(
    "levels, channels, most", [(1, 1, 65535), (0, 3, 40), (41, 3, 40), (65536, 1, 65535)]
)
def test_impossible_numbers_of_levels_name_what_works(levels, channels, most):
    with pytest.raises(
        ConfigError, match=rf"^tokenizer='pixels:{levels}': must be pixels:2 to pixels:{most} "
    ):
        Pixels(levels, channels)
    Pixels(most, channels)


@pytest.mark.parametrize(
    "tokenizer, data, denoiser, words",
    [
        ("pixels:", {}, {}, r"^tokenizer='pixels:': .*such as pixels:8"),
        ("pixels:many", {}, {}, r"^tokenizer='pixels:many': .*such as pixels:8"),
        ("pixels:-4", {}, {}, r"^tokenizer='pixels:-4': .*such as pixels:8"),
        ("pixels:1", {}, {}, r"^tokenizer='pixels:1': give 2"),
        ("pixels:8", {"image_size": 0}, {}, r"^data.image_size=0: give the side"),
        ("pixels:8", {"channels": 0}, {}, r"^data.channels=0: give 1"),
        (
            "pixels:70",
            {"channels": 3},
            {},
            r"^tokenizer='pixels:70': must be pixels:2 to pixels:40 for 3 colour channels",
        ),
        (
            "pixels:8",
            {"image_size": (8, 6)},
            {"patch": 4},
            r"^denoiser.patch=4: does not divide the 8x6 grid",
        ),
    ],
)
def test_impossible_runs_are_refused_by_the_configuration(tokenizer, data, denoiser, words):
    with pytest.raises(ConfigError, match=words):
        DiffusionRun(
            tokenizer=tokenizer,
            data=DataConfig(**{"image_size": 8, "channels": 1, **data}),
            denoiser=DenoiserConfig(**denoiser),
        )


@pytest.mark.parametrize("name", ["pixels", "runs/pixels:8", "./pixels:8", "pixels/model"])
def test_folders_may_be_called_pixels(name):
    assert DiffusionRun(tokenizer=name).tokenizer == name


@pytest.mark.parametrize("levels, channels", [(4, 1), (8, 3)])
def test_a_saved_tokenizer_is_the_same(tmp_path, levels, channels):
    model, before = pixel_tokenizer(levels, channels, (6, 8), {"note": "Ü"})
    save_tokenizer(model, tmp_path / "tok", before.image_size, before.metadata)
    again, info = load_tokenizer(tmp_path / "tok")
    assert (
        isinstance(again, Pixels)
        and not again.training
        and (again.levels, again.channels) == (levels, channels)
    )
    assert info == before and info.image_size == (6, 8) and info.metadata == {"note": "Ü"}


def test_the_hash_tells_numbers_of_levels_apart():
    assert len({pixel_tokenizer(levels, 1, 8)[1].sha256 for levels in (2, 3, 4, 256)}) == 4
    assert pixel_tokenizer(4, 1, 8)[1].sha256 == pixel_tokenizer(4, 1, 16)[1].sha256


def edited(place, change):
    raw = json.loads((place / "config.json").read_text())
    change(raw)
    (place / "config.json").write_text(json.dumps(raw))


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.update(kind="wavelets"),
        lambda raw: raw.update(kind="vqvae"),
        lambda raw: raw.pop("kind"),
        lambda raw: raw["tokenizer"].update(levels=5),
        lambda raw: raw["tokenizer"].update(levels=1),
        lambda raw: raw["tokenizer"].update(colour=1),
        lambda raw: raw["tokenizer"].pop("levels"),
        lambda raw: raw.pop("channels"),
        lambda raw: raw.update(channels=2),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(tmp_path, change):
    save_tokenizer(Pixels(4, 1), tmp_path, 8)
    edited(tmp_path, change)
    with pytest.raises(ConfigError, match=r"^(tokenizer|data\.channels)") as caught:
        load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


def test_folders_without_a_kind_are_vq_vaes(tmp_path):
    model = Autoencoder(TokenizerConfig.from_values(TOKENIZER), 1).eval()
    save_tokenizer(model, tmp_path, 8)
    edited(tmp_path, lambda raw: raw.pop("kind"))
    again, _ = load_tokenizer(tmp_path)
    assert isinstance(again, Autoencoder) and again.config == model.config and again.grid(8) == (4, 4)
