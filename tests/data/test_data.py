"""Images, their order and their cached codes: what comes out is what the files hold, whatever the batch, process or path."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from helpers.image_files import HELD, LAZY, config, everything, noise, noisy_folder
from PIL import Image

from d3pm_image.config import DataConfig
from d3pm_image.data.images import ImageSet, fit
from d3pm_image.data.order import BatchOrder, batches
from d3pm_image.data.sources import open_source

COLOURS = np.array([[200, 40, 90], [20, 160, 60]], np.uint8)


def two_colours(size: int = 16) -> Image.Image:
    """Left half and right half in different colours, whose greys differ too."""
    return Image.fromarray(np.repeat(COLOURS, size // 2, 0)[None].repeat(size, 0))


def pixels(images: ImageSet) -> torch.Tensor:
    return images.__getitems__(list(range(len(images))))["images"]


# what a folder holds


LOSSLESS = {
    "png": ["L", "RGB", "RGBA", "LA", "P", "1"],
    "bmp": ["L", "RGB", "P", "1"],
    "gif": ["L", "P"],
    "tiff": ["L", "RGB", "RGBA", "LA", "P", "1", "CMYK"],
    "webp": ["RGB", "RGBA"],
}
LOSSY = {"jpg": ["L", "RGB", "CMYK"]}


@pytest.mark.parametrize("ending, mode", [(e, m) for e, modes in (LOSSLESS | LOSSY).items() for m in modes])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_format_and_mode_gives_the_same_colours(tmp_path, ending, mode, channels):
    stored = (
        two_colours().quantize(2, dither=Image.Dither.NONE) if mode == "P" else two_colours().convert(mode)
    )
    stored.save(
        tmp_path / f"a.{ending}",
        **(
            {"lossless": True}
            if ending == "webp"
            else {"quality": 100, "subsampling": 0}
            if ending == "jpg"
            else {}
        ),
    )
    seen = pixels(everything(tmp_path, channels=channels))[0].int()
    expected = torch.from_numpy(
        np.array(stored.convert("RGB").convert("L" if channels == 1 else "RGB"), np.int32).reshape(
            16, 16, channels
        )
    ).permute(2, 0, 1)
    assert (seen - expected).abs().max() <= (6 if ending in LOSSY else 1)


@pytest.mark.parametrize("top", [65535, 30000, 200])
def test_sixteen_bit_grey_is_scaled_by_its_range_not_by_its_content(tmp_path, top):
    """A dark 16-bit image stays dark: level v of 65535 becomes v / 257."""
    levels = np.linspace(0, top, 256).reshape(16, 16).astype(np.uint16)
    Image.fromarray(levels).save(tmp_path / "a.png")
    seen = pixels(everything(tmp_path, channels=1))[0, 0].double()
    assert (seen - torch.from_numpy(levels / 257)).abs().max() <= 0.51


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P", "L with transparency", "RGB with transparency"])
def test_transparent_pixels_become_white(tmp_path, kind):
    """The left half is transparent, the right half opaque and unchanged."""
    image, extra = two_colours(), {}
    alpha = Image.fromarray(np.repeat([[0, 255]], 8, 1).repeat(16, 0).astype(np.uint8))
    if kind in ("RGBA", "LA"):
        image = image.convert(kind)
        image.putalpha(alpha)
    elif kind == "P":
        image = image.quantize(2, dither=Image.Dither.NONE)
        extra = {"transparency": image.getpixel((0, 0))}
    else:
        image = image.convert(kind.split()[0])
        extra = {"transparency": image.getpixel((0, 0))}
    opaque = image.convert("RGB").getpixel((15, 0))
    image.save(tmp_path / "a.png", **extra)
    seen = pixels(everything(tmp_path))[0]
    assert (seen[:, :, :8] == 255).all()
    assert (seen[:, :, 8:].int() - torch.tensor(opaque, dtype=torch.int32)[:, None, None]).abs().max() <= 1


def test_half_transparent_pixels_are_mixed_with_white(tmp_path):
    Image.new("RGBA", (16, 16), (100, 0, 200, 128)).save(tmp_path / "a.png")
    expected = torch.tensor([round(255 + (c - 255) * 128 / 255) for c in (100, 0, 200)])
    assert (pixels(everything(tmp_path))[0, :, 0, 0].int() - expected).abs().max() <= 1


@pytest.mark.parametrize(
    "orientation, stored",
    [
        (1, None),
        (3, Image.Transpose.ROTATE_180),
        (6, Image.Transpose.ROTATE_90),
        (8, Image.Transpose.ROTATE_270),
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
    ],
)
@pytest.mark.parametrize("ending", ["png", "tiff", "webp"])
def test_images_are_turned_upright(tmp_path, orientation, stored, ending):
    upright, exif = noise(0, 24, 16), Image.Exif()
    exif[0x0112] = orientation
    (upright.transpose(stored) if stored is not None else upright).save(
        tmp_path / f"a.{ending}", exif=exif, **({"lossless": True} if ending == "webp" else {})
    )
    assert np.array_equal(everything(tmp_path).source.load(0), upright)


# broken files


# training and held-out parts


# shape, crop and flip


@pytest.mark.parametrize("target", [(8, 8), (28, 28), (12, 20)])
@pytest.mark.parametrize("crop", ["center", "stretch"])
def test_every_image_shape_can_be_fitted(target, crop):
    for width in range(1, 240, 7):
        for height in range(1, 240, 11):
            image = Image.new("L", (width, height))
            for place in ((0.0, 0.0), (0.5, 0.5), (0.999, 0.999)):
                assert fit(image, target, crop, place).size == (target[1], target[0])


def test_center_crop_cuts_the_middle_and_stretch_keeps_everything(tmp_path):
    noise(0, 20, 10).save(tmp_path / "a.png")
    middle = np.array(noise(0, 20, 10).crop((5, 0, 15, 10))).transpose(2, 0, 1)
    whole = np.array(noise(0, 20, 10).resize((10, 10), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert np.array_equal(pixels(everything(tmp_path, image_size=10))[0], middle)
    assert np.array_equal(
        pixels(everything(tmp_path, image_size=10, crop="random"))[0], middle
    )  # not augmented
    assert np.array_equal(pixels(everything(tmp_path, image_size=10, crop="stretch"))[0], whole)


def test_mixed_sizes_come_out_in_the_given_shape(tmp_path):
    for i, (w, h) in enumerate([(1, 1), (5, 90), (90, 5), (16, 12), (33, 17), (300, 200)]):
        noise(i, w, h).save(tmp_path / f"{i}.png")
    assert pixels(everything(tmp_path, image_size=(12, 16))).shape == (6, 3, 12, 16)


def test_random_crops_move_over_the_whole_spare_width_and_keep_the_scale(tmp_path):
    """On a ramp of 8 levels per pixel, a crop is the same ramp at another offset; a key always gives the same crop."""
    Image.fromarray((np.arange(30)[None].repeat(10, 0) * 8).astype(np.uint8)).save(tmp_path / "a.png")
    chosen = config(tmp_path, image_size=10, channels=1, crop="random")
    images = ImageSet(everything(tmp_path).source, chosen, augment=True, seed=1)
    crops = images.__getitems__(list(range(200)))["images"][:, 0].int()
    assert (crops[:, :, 2:-2].diff(dim=2) - 8).abs().max() <= 1
    offsets = crops[:, 5, 5] / 8 - 5
    assert offsets.min() < 1 and offsets.max() > 19 and 8 < offsets.mean() < 12
    assert torch.equal(images.__getitems__([7])["images"][0, 0].int(), crops[7])


@pytest.mark.parametrize("memory_mb", [HELD, LAZY])
@pytest.mark.parametrize("crop", ["center", "random"])
def test_augmentation_depends_on_seed_epoch_and_index_alone(tmp_path, memory_mb, crop):
    chosen = config(noisy_folder(tmp_path, 12, width=24), flip=True, crop=crop, memory_mb=memory_mb)
    source = everything(tmp_path).source
    images = ImageSet(source, chosen, augment=True, seed=5)
    keys = list(range(3 * 12))
    batch = images.__getitems__(keys)["images"]
    shuffled = np.random.default_rng(0).permutation(keys).tolist()
    assert torch.equal(images.__getitems__(shuffled)["images"], batch[shuffled])
    assert torch.equal(torch.cat([images.__getitems__([k])["images"] for k in keys]), batch)
    assert torch.equal(ImageSet(source, chosen, augment=True, seed=5).__getitems__(keys)["images"], batch)
    assert not torch.equal(ImageSet(source, chosen, augment=True, seed=6).__getitems__(keys)["images"], batch)
    assert not torch.equal(batch[:12], batch[12:24])


def test_flips_are_fair_and_only_on_request(tmp_path):
    noisy_folder(tmp_path, 12)
    plain = pixels(everything(tmp_path))
    images = ImageSet(everything(tmp_path).source, config(tmp_path, flip=True), augment=True)
    batch = images.__getitems__(list(range(600)))["images"].view(50, 12, 3, 16, 16)
    same, mirrored = ((batch == p).flatten(2).all(2) for p in (plain, plain.flip(-1)))
    assert (same ^ mirrored).all()
    assert 240 < int(mirrored.sum()) < 360
    assert torch.equal(pixels(everything(tmp_path, flip=True)), plain)  # not augmented


def test_lazy_and_held_images_are_the_same(tmp_path):
    noisy_folder(tmp_path, 6, width=31, height=20)
    lazy, held = everything(tmp_path, memory_mb=LAZY), everything(tmp_path, memory_mb=HELD)
    assert lazy.pixels is None and held.pixels is not None
    assert torch.equal(pixels(lazy), pixels(held))


# order


@pytest.mark.parametrize("length, batch_size", [(10, 4), (10, 5), (7, 1), (3, 8), (1, 5), (4, 12)])
def test_every_epoch_is_a_permutation(length, batch_size):
    """Also where batches cross epochs and where a batch is larger than the set."""
    order = BatchOrder(length, batch_size, 3, 0, length * 3)
    steps = list(order)
    assert len(steps) == len(order) == length * 3 and all(len(s) == batch_size for s in steps)
    keys = [k for s in steps for k in s]
    for epoch in range(len(keys) // length):
        assert sorted(keys[epoch * length : (epoch + 1) * length]) == list(
            range(epoch * length, (epoch + 1) * length)
        )


def test_epochs_and_seeds_differ():
    first, second = (np.array(list(BatchOrder(50, 50, seed, 0, 2))) % 50 for seed in (0, 1))
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("k", [0, 1, 4, 11, 12])
def test_resuming_continues_exactly(k):
    assert list(BatchOrder(10, 4, 7, k, 12)) == list(BatchOrder(10, 4, 7, 0, 12))[k:]


@pytest.mark.parametrize("world", [1, 2, 3, 4, 6])
def test_ranks_share_the_same_global_batch(world):
    whole = list(BatchOrder(10, 12, 7, 2, 9))
    shares = [list(BatchOrder(10, 12, 7, 2, 9, rank, world)) for rank in range(world)]
    assert [[key for part in parts for key in part] for parts in zip(*shares, strict=True)] == whole


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_yields_the_order_whatever_the_workers(tmp_path, workers):
    images = everything(noisy_folder(tmp_path, 6), memory_mb=LAZY)
    order = BatchOrder(6, 4, 0, 1, 5)
    loaded = list(batches(images, order, workers))
    assert len(loaded) == 4
    for batch, keys in zip(loaded, order, strict=True):
        assert batch["index"].tolist() == [k % 6 for k in keys]
        assert torch.equal(batch["images"], images.__getitems__(keys)["images"])


# code cache


def test_a_configuration_is_not_changed(tmp_path):
    chosen = config(noisy_folder(tmp_path), flip=True)
    before = dataclasses.asdict(chosen)
    ImageSet(open_source(chosen), chosen, augment=True).__getitems__([0, 5])
    assert dataclasses.asdict(chosen) == before


def test_headers_of_a_source_are_read_once(tmp_path):
    """The level of white, the line of what is read, and what is prepared all ask for them."""
    from d3pm_image.data.image_source import ImageSource
    from d3pm_image.data.objects import GivenImages
    from d3pm_image.recipes.images import open_images

    asked = []

    def load(index):
        asked.append(index)
        return noise(index)

    source = ImageSource([f"image {i}" for i in range(20)], None, (), load, "digest")
    data, train, _ = open_images(
        DataConfig("python", image_size=16, channels=3), given=GivenImages(source, source)
    )
    ImageSet(train, dataclasses.replace(data, memory_mb=LAZY)).preparation()
    assert sorted(asked) == list(range(20))
