"""Both stages on images that repeat, from the setting to images that repeat."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.periodic import periodic
from helpers.tiny import DENOISER, LOOP, TOKENIZER
from PIL import Image

from d3pm_image import ConfigError, Pipeline, train_diffusion, train_tokenizer
from d3pm_image.config import DenoiserConfig, ProcessConfig, wraps
from d3pm_image.data.codes import CodeSet
from d3pm_image.denoiser import Transformer
from d3pm_image.evaluation.report import border_seams
from d3pm_image.metrics.seam import border_seam
from d3pm_image.recipes.finetune import same_codes
from d3pm_image.tokenizer import Pixels, load_tokenizer

SIDE = 16


def trained(place: Path, tile: str, steps: int = 3, patch: int = 1, pixels: bool = False) -> Pipeline:
    """A model of periodic images, of the whole command's parts: cache, checkpoints, previews."""
    data = {"images": periodic(400, SIDE), "tile": tile}
    loop = {**LOOP, "steps": steps, "preview_every": steps, "checkpoint_every": steps, "batch_size": 16}
    tokenizer: str | Path = "pixels:4"
    if not pixels:
        tokenizer = place / "tokenizer"
        train_tokenizer(data, image_size=SIDE, out=tokenizer, tokenizer=TOKENIZER, train=loop)
        data = {"images": data["images"]}  # stage two takes the tokenizer's axes
    return train_diffusion(
        data,
        image_size=SIDE if pixels else None,
        tokenizer=tokenizer,
        out=place / "diffusion",
        denoiser={**DENOISER, "patch": patch},
        train=loop,
        cache=place / "codes",
    )


@pytest.mark.parametrize(
    ("tile", "patch", "pixels"), [("both", 1, False), ("x", 2, False), ("y", 2, True), ("none", 1, False)]
)
def test_a_model_of_images_that_repeat_is_one_wherever_it_is_read(tmp_path, tile, patch, pixels):
    pipe = trained(tmp_path, tile, patch=patch, pixels=pixels)
    assert pipe.repeats == tile and pipe.metadata["data"]["tile"] == tile
    assert (tmp_path / "diffusion" / "previews" / "repeated-00000003.png").is_file() == (tile != "none")
    stored = [json.loads(p.read_text()).get("tile") for p in (tmp_path / "diffusion").rglob("config.json")]
    assert stored.count(tile) == (0 if tile == "none" else 1 if pixels else 2)
    (tmp_path / "diffusion" / "model").rename(tmp_path / "gone")  # as a run that has not ended
    unfinished = Pipeline.from_pretrained(tmp_path / "diffusion")
    pipe.save_pretrained(tmp_path / "again")
    for other in (unfinished, Pipeline.from_pretrained(tmp_path / "again")):
        assert (
            other.repeats == tile and other.denoiser.state_dict().keys() == pipe.denoiser.state_dict().keys()
        )
        assert torch.equal(other.generate_codes(2, steps=3), pipe.generate_codes(2, steps=3))
    if not pixels:
        assert load_tokenizer(tmp_path / "again")[1].tile == tile
    codes = pipe.generate_codes(2, steps=3)
    images = pipe.tokenizer_decode(codes)
    for axis, periodic_axis in enumerate(wraps(tile), 1):
        if periodic_axis:
            moved = pipe.tokenizer_decode(codes.roll(1, axis))
            away = moved - images.roll(pipe.tokenizer.downsampling, axis + 1)
            assert away.abs().max() < 1e-4


@pytest.mark.parametrize("tile", ["x", "y", "both"])
def test_codes_are_rolled_where_a_token_covers_several_and_only_then(tmp_path, tile):
    trained(tmp_path, tile)
    (place,) = (p for p in (tmp_path / "codes").iterdir() if len(CodeSet(p)) > 100)
    plain, turned = (CodeSet(place, seed=3, tile=t) for t in ("none", tile))
    keys = list(range(360)) + list(range(720, 760))
    keys = [key for key in keys if key < 3 * len(plain)]
    before, after = (one.__getitems__(keys)["codes"].view(-1, *plain.grid) for one in (plain, turned))
    assert torch.equal(after, turned.__getitems__(keys)["codes"].view(-1, *plain.grid))
    found = set()
    for one, other in zip(before, after, strict=True):
        moves = [
            (down, right)
            for down in range(plain.grid[0])
            for right in range(plain.grid[1])
            if torch.equal(one.roll((down, right), (0, 1)), other)
        ]
        assert moves
        found |= set(moves[:1])
    rows, columns = ({move[i] for move in found} for i in (0, 1))
    assert (len(rows) > 1, len(columns) > 1) == wraps(tile)
    assert torch.equal(
        CodeSet(place, augment=False, tile=tile).__getitems__(keys)["codes"], before.flatten(1)
    )
    assert turned.on_device(torch.device("cpu")) is None


def test_other_axes_than_the_tokenizers_are_one_line(tmp_path):
    trained(tmp_path, "x")
    data = {"images": periodic(40, SIDE), "tile": "both"}
    more = {"out": tmp_path / "other", "cache": tmp_path / "codes"}
    with pytest.raises(ConfigError, match=r"^data.tile='both': the tokenizer was trained with x"):
        train_diffusion(data, tokenizer=tmp_path / "tokenizer", **more)
    trained(tmp_path / "pixels", "y", pixels=True)
    begun = {"tokenizer": "pixels:4", "image_size": SIDE, "start_from": tmp_path / "pixels" / "diffusion"}
    with pytest.raises(ConfigError, match=r"^data.tile='both': start_from .* has y"):
        train_diffusion(data, denoiser=DENOISER, **begun, **more)
    with pytest.raises(ConfigError, match=r"^data.tile='sideways'"):
        train_tokenizer({"images": data["images"], "tile": "sideways"}, out=tmp_path / "third")
    assert not (tmp_path / "other").exists() and not (tmp_path / "third").exists()


@pytest.mark.slow
def test_a_training_that_starts_from_a_torus_stays_on_it(tmp_path):
    """The axes come with the weights; other ones are refused before anything is trained."""
    trained(tmp_path, "both")
    own, loop = {"images": periodic(40, SIDE)}, {**LOOP, "steps": 2, "batch_size": 8}
    begun = {"start_from": tmp_path / "tokenizer", "learn": "decoder", "train": loop}
    train_tokenizer(own, out=tmp_path / "decoder", **begun)
    found, info = load_tokenizer(tmp_path / "decoder")
    assert info.tile == "both" and same_codes(found, load_tokenizer(tmp_path / "tokenizer")[0])
    with pytest.raises(ConfigError, match=r"^data.tile='x': start_from .* has both"):
        train_tokenizer({**own, "tile": "x"}, out=tmp_path / "other", **begun)
    pixels = trained(tmp_path / "pixels", "y", pixels=True)
    again = train_diffusion(
        own, tokenizer="pixels:4", image_size=SIDE, start_from=tmp_path / "pixels" / "diffusion",
        out=tmp_path / "again", cache=tmp_path / "codes", train=loop,
    )  # fmt: skip
    assert again.repeats == pixels.repeats == "y"


def test_an_edit_of_a_larger_image_sees_what_lies_beyond_its_border(tmp_path):
    """A hole at the right border is painted as the same hole in the rolled image is; known pixels stay."""
    pipe = trained(tmp_path, "x")
    image = Image.fromarray(np.tile(periodic(1, SIDE, seed=7)[0], (1, 3)))
    mask = np.zeros((SIDE, 3 * SIDE), bool)
    mask[4:12, -3:] = mask[4:12, :2] = True
    (one,) = pipe.inpaint(image, mask, window="tiles", seed=2, steps=3)
    turned = Image.fromarray(np.roll(np.asarray(image), 10, 1))
    (other,) = pipe.inpaint(turned, np.roll(mask, 10, 1), window="tiles", seed=2, steps=3)
    assert np.array_equal(np.roll(np.asarray(one), 10, 1), np.asarray(other))
    assert np.array_equal(np.asarray(one)[~mask], np.asarray(image)[~mask])


class Stack:
    """Images in memory, as an evaluation reads them."""

    def __init__(self, images: np.ndarray):
        self.images = torch.from_numpy(images)[:, None]

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, indices: list[int]) -> dict[str, torch.Tensor]:
        return {"images": self.images[indices]}


def test_evaluate_says_how_visible_the_border_is():
    """Of samples and of real images, against the borders of tokens inside."""
    denoiser = Transformer(DenoiserConfig(width=16, depth=1, heads=1, patch=4), 4, 0, "x")
    pipe = Pipeline(Pixels(4, 1), denoiser, ProcessConfig(), (SIDE, SIDE))
    samples = torch.from_numpy(periodic(300, SIDE, seed=3))[:, None, :, :12]
    found = border_seams(pipe, samples, Stack(periodic(400, SIDE, seed=4)))
    assert found["samples"] == round(border_seam(samples / 255, "x", 4), 4)
    assert found["real_images"] == pytest.approx(1, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("tile", ["both", "x"])
def test_the_border_of_samples_is_a_place_like_any_other(tmp_path, tile):
    """Within 5 % along the tiled axes, after a short training on periodic images."""
    pipe = trained(tmp_path, tile, steps=120)
    images = pipe.generate(1000, output_type="pt", seed=1, steps=8)
    assert border_seam(images, tile, pipe.tokenizer.downsampling) == pytest.approx(1, abs=0.05)
