"""Images with alpha as data: hidden colour counts nowhere, and resizing leaves no fringes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import odd_files as odd
from helpers.transparent import folder, icons
from PIL import Image

from d3pm_image.config import ConfigError, DataConfig
from d3pm_image.data.images import ImageSet
from d3pm_image.data.objects import source_of
from d3pm_image.data.packing import pack
from d3pm_image.data.sources import open_source
from d3pm_image.pixel_range import over, to_levels


def images_of(config: DataConfig) -> torch.Tensor:
    images = ImageSet(open_source(config), config)
    return images.__getitems__(list(range(len(images))))["images"]


@pytest.mark.parametrize("side", [16, 12, (8, 12)])
@pytest.mark.parametrize("channels", [2, 4])
def test_colour_under_alpha_0_changes_nothing(tmp_path, channels, side):
    mode = "LA" if channels == 2 else "RGBA"
    clean, garbage = (
        images_of(
            DataConfig(
                root=str(folder(tmp_path / str(hidden), hidden, mode)), image_size=side, channels=channels
            )
        )
        for hidden in (0, 3)
    )
    assert clean.shape[1] == channels and torch.equal(clean, garbage)
    assert (clean[:, -1] == 0).any() and (clean[:, -1] == 255).any()


def test_a_resized_image_has_no_fringes(tmp_path):
    """A white disc on garbage stays white wherever it is seen: over white nothing shows."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 4), dtype=np.uint8)
    inside = np.hypot(*(np.indices((64, 64)) - 31.5)) < 20
    pixels[inside], pixels[~inside, 3] = 255, 0
    (tmp_path / "d").mkdir()
    for number in range(3):
        Image.fromarray(pixels).save(tmp_path / "d" / f"{number}.png")
    config = DataConfig(root=str(tmp_path / "d"), image_size=15, channels=4)
    images = ImageSet(open_source(config), config).read([0])
    soft = (images[:, 3] > 0.02) & (images[:, 3] < 0.98)
    assert soft.any() and (to_levels(over(images, 1.0)) == 255).all()


def test_shards_arrays_and_lists_keep_alpha(tmp_path):
    place = folder(tmp_path / "images")
    known = images_of(DataConfig(root=str(place), image_size=16, channels=4, labels=False))
    config = DataConfig(root=str(place), image_size=16, channels=4)
    pack(open_source(config), tmp_path / "shards", 5, quiet=True)
    shards = DataConfig(
        root=str(tmp_path / "shards"), image_size=16, channels=4, val_root=str(tmp_path / "shards")
    )
    packed = images_of(shards)
    assert sorted(p.numpy().tobytes() for p in packed) == sorted(p.numpy().tobytes() for p in known)
    given = DataConfig(source="python", image_size=16, channels=4)
    pixels = np.stack([np.asarray(icon) for icon in icons()])
    by_array, by_list = (ImageSet(source_of(data), given).pixels for data in (pixels, icons()))
    assert torch.equal(by_array, by_list) and torch.equal(
        by_array, torch.from_numpy(pixels).permute(0, 3, 1, 2)
    )


def test_grey_and_alpha_from_arrays():
    pixels = np.stack([np.asarray(icon) for icon in icons(mode="LA")])
    given = DataConfig(source="python", image_size=16, channels=2)
    for data in (pixels, torch.from_numpy(pixels).permute(0, 3, 1, 2), pixels.astype(np.float32) / 255):
        assert torch.equal(
            ImageSet(source_of(data), given).pixels, torch.from_numpy(pixels).permute(0, 3, 1, 2)
        )


def test_a_grey_profile_keeps_alpha(tmp_path):
    for number, icon in enumerate(icons(4, mode="LA")):
        icon.save(tmp_path / f"{number}.png", icc_profile=odd.profile(1.8, True))
    found = images_of(DataConfig(root=str(tmp_path), image_size=16, channels=2))
    plain = np.stack([np.asarray(icon) for icon in icons(4, mode="LA")])
    alphas = {a.tobytes() for a in plain[..., 1]}
    assert {a.numpy().tobytes() for a in found[:, 1]} <= alphas
    assert not {c.numpy().tobytes() for c in found[:, 0]} & {c.tobytes() for c in plain[..., 0]}


def test_other_numbers_of_channels_are_refused():
    with pytest.raises(ConfigError, match=r"data\.channels"):
        DataConfig(channels=5)  # type: ignore[arg-type]
