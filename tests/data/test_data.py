"""Images, their order and their cached codes: what comes out is what the files hold, whatever the batch, process or path."""

from __future__ import annotations

import dataclasses
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from helpers.damage import truncate
from helpers.image_files import noise, noisy_folder
from PIL import Image

from d3pm_image.config import ConfigError, DataConfig
from d3pm_image.data.codes import CodeSet, Team, build_cache, cache_key
from d3pm_image.data.images import ImageSet, fit
from d3pm_image.data.order import BatchOrder, batches
from d3pm_image.data.sources import open_source
from d3pm_image.data.torchvision_sets import TORCHVISION

LAZY, HELD = 0, 2048  # memory_mb: decode at every access, or once
COLOURS = np.array([[200, 40, 90], [20, 160, 60]], np.uint8)


def two_colours(size: int = 16) -> Image.Image:
    """Left half and right half in different colours, whose greys differ too."""
    return Image.fromarray(np.repeat(COLOURS, size // 2, 0)[None].repeat(size, 0))


def config(root, **changes) -> DataConfig:
    return DataConfig("folder", str(root), **{"image_size": 16, "channels": 3, **changes})


def everything(root, **changes) -> ImageSet:
    """All images of a folder, training and held-out part alike."""
    from d3pm_image.data.sources import folder

    chosen = config(root, **changes)
    return ImageSet(folder(root, chosen.labels), chosen)


def pixels(images: ImageSet) -> torch.Tensor:
    return images.__getitems__(list(range(len(images))))["images"]


# what a folder holds


@pytest.mark.parametrize("where", ["{i}.png", "deep/er/{i}.png", "{c}/{i}.png", "{c}/more/{i}.png"])
def test_nested_and_flat_folders_hold_the_same_pictures(tmp_path, where):
    """Class labels exactly where every picture lies in a subfolder, named by its first level."""
    source = everything(noisy_folder(tmp_path, where=where)).source
    assert len(source) == 12
    assert all(np.array_equal(source.load(i), noise(int(name.split("/")[-1].split(".")[0]))) for i, name in enumerate(source.names))
    if where == "{i}.png":
        assert source.labels is None and source.class_names == ()
    else:
        assert [source.class_names[c] for c in source.labels] == [name.split("/")[0] for name in source.names]
        assert list(source.class_names) == sorted({name.split("/")[0] for name in source.names})


def test_a_picture_outside_the_class_folders_does_not_take_their_classes(tmp_path):
    """It is left out and reported; as many outside as inside mean that there are no classes."""
    noisy_folder(tmp_path, where="{c}/{i}.png")
    noise(99).save(tmp_path / "loose.png")
    source = everything(tmp_path).source
    assert source.class_names == ("a", "b", "c") and len(source) == 12 and "1 image beside the class folders" in source.unused.summary()
    assert len(everything(tmp_path, labels=False)) == 13
    noisy_folder(tmp_path, 13, "loose{i}.png")
    assert everything(tmp_path).source.labels is None and len(everything(tmp_path)) == 26


def test_labels_can_be_ignored(tmp_path):
    images = ImageSet(open_source(config(noisy_folder(tmp_path, where="{c}/{i}.png"), labels=False)), config(tmp_path))
    assert images.source.class_names == ()
    assert images.__getitems__([0, 1])["labels"].tolist() == [-1, -1]


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
    stored = two_colours().quantize(2, dither=Image.Dither.NONE) if mode == "P" else two_colours().convert(mode)
    stored.save(
        tmp_path / f"a.{ending}",
        **({"lossless": True} if ending == "webp" else {"quality": 100, "subsampling": 0} if ending == "jpg" else {}),
    )
    seen = pixels(everything(tmp_path, channels=channels))[0].int()
    expected = torch.from_numpy(
        np.array(stored.convert("RGB").convert("L" if channels == 1 else "RGB"), np.int32).reshape(16, 16, channels)
    ).permute(2, 0, 1)
    assert (seen - expected).abs().max() <= (6 if ending in LOSSY else 1)


@pytest.mark.parametrize("top", [65535, 30000, 200])
def test_sixteen_bit_grey_is_scaled_by_its_range_not_by_its_content(tmp_path, top):
    """A dark 16-bit picture stays dark: level v of 65535 becomes v / 257."""
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
def test_pictures_are_turned_upright(tmp_path, orientation, stored, ending):
    upright, exif = noise(0, 24, 16), Image.Exif()
    exif[0x0112] = orientation
    (upright.transpose(stored) if stored is not None else upright).save(
        tmp_path / f"a.{ending}", exif=exif, **({"lossless": True} if ending == "webp" else {})
    )
    assert np.array_equal(everything(tmp_path).source.load(0), upright)


# broken files


def broken_folder(root):
    """Twelve good pictures, eight in class a and four in b, and five broken ones, two of which have a readable header."""
    (root / "b").mkdir(parents=True)
    noisy_folder(root, 8, "a/{i}.png")
    for i in range(8, 12):
        noise(i).save(root / "b" / f"{i}.png")
    (root / "a" / "text.png").write_text("not a picture")
    (root / "a" / "empty.jpg").touch()
    (root / "b" / "zeros.webp").write_bytes(bytes(100))
    noise(20).save(root / "a" / "zz-cut.png")
    noise(21, 99, 99).save(root / "b" / "0-cut.jpg")
    truncate(root / "a" / "zz-cut.png")
    truncate(root / "b" / "0-cut.jpg")
    return root


BROKEN = ["text.png", "empty.jpg", "zeros.webp", "a/zz-cut.png", "b/0-cut.jpg"]


@pytest.mark.parametrize("memory_mb", [HELD, LAZY])
def test_broken_files_are_reported_by_name_and_left_out(tmp_path, memory_mb):
    """Every picture that comes out is that of a readable file, with the label of that file."""
    with pytest.warns(UserWarning) as seen:
        images = everything(broken_folder(tmp_path), memory_mb=memory_mb)
        batch = images.__getitems__(list(range(len(images))))
    assert all(any(name in str(w.message) for w in seen) for name in BROKEN)
    label_of = {noise(i).tobytes(): int(i >= 8) for i in range(12)}
    for picture, label in zip(batch["images"], batch["labels"].tolist(), strict=True):
        assert label == label_of[picture.permute(1, 2, 0).numpy().tobytes()]
    if memory_mb == HELD:
        assert len(images) == 12


@pytest.mark.parametrize("memory_mb", [HELD, LAZY])
def test_nothing_decodable_is_a_configuration_error(tmp_path, memory_mb):
    noisy_folder(tmp_path, 2)
    for path in tmp_path.iterdir():
        truncate(path)
    with warnings.catch_warnings(), pytest.raises(ConfigError, match=r"data\.root"):
        warnings.simplefilter("ignore")
        everything(tmp_path, memory_mb=memory_mb).__getitems__([0])


@pytest.mark.filterwarnings("ignore:.*not a readable image")
def test_missing_empty_and_unreadable_folders_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.png").write_text("no picture")
    (tmp_path / "text" / "b.txt").write_text("no picture")
    for name in ("none", "empty", "text", "text/a.png"):
        with pytest.raises(ConfigError, match=rf"data\.root='.*{name}'"):
            open_source(config(tmp_path / name))
    with pytest.raises(ConfigError, match=r"data\.source='imagenet': use one of digits, folder"):
        open_source(DataConfig("imagenet"))


# training and held-out parts


@pytest.mark.parametrize("share", [0.01, 0.1, 0.25, 0.5])
def test_split_is_disjoint_complete_and_stable(tmp_path, share):
    noisy_folder(tmp_path, 40)
    train, held = (open_source(config(tmp_path, val_share=share), held_out=h) for h in (False, True))
    assert len(held) == max(1, round(40 * share))
    assert sorted(train.names + held.names) == sorted(f"{i}.png" for i in range(40))
    assert open_source(config(tmp_path, val_share=share), held_out=True).names == held.names
    assert all(np.array_equal(held.load(i), noise(int(name[:-4]))) for i, name in enumerate(held.names))


def test_one_picture_cannot_be_split(tmp_path):
    with pytest.raises(ConfigError, match="too few images"):
        open_source(config(noisy_folder(tmp_path, 1)))


def test_own_held_out_folder_is_used_whole(tmp_path):
    noisy_folder(tmp_path / "train", 5)
    noisy_folder(tmp_path / "val", 3)
    chosen = config(tmp_path / "train", val_root=str(tmp_path / "val"))
    assert len(open_source(chosen)) == 5
    assert len(open_source(chosen, held_out=True)) == 3


def test_a_class_has_the_same_number_in_the_held_out_folder(tmp_path):
    """Also where the held-out folder lacks a class."""
    noisy_folder(tmp_path / "train", 9, "{c}/{i}.png")
    noise(0).save(tmp_path / "train" / "a" / "x.png")
    (tmp_path / "val" / "b").mkdir(parents=True)
    noise(1).save(tmp_path / "val" / "b" / "0.png")
    chosen = config(tmp_path / "train", val_root=str(tmp_path / "val"))
    train, held = open_source(chosen), open_source(chosen, held_out=True)
    assert held.labels.tolist() == [train.class_names.index("b")]


@pytest.mark.parametrize("limit", [1, 2, 7, 35, 36, 100])
def test_limit_spreads_over_the_training_part(tmp_path, limit):
    noisy_folder(tmp_path, 40)
    full, held = open_source(config(tmp_path)), open_source(config(tmp_path, limit=limit), held_out=True)
    some = open_source(config(tmp_path, limit=limit)).names
    assert len(set(some)) == len(some) == min(limit, 36)
    assert set(some) <= set(full.names)
    assert len(held) == 4
    if limit > 1:
        assert some[0] == full.names[0] and some[-1] == full.names[-1]


def test_digits_are_all_there():
    pytest.importorskip("sklearn")
    train, held = (open_source(DataConfig("digits"), held_out=h) for h in (False, True))
    assert len(train) + len(held) == 1797 and not set(train.names) & set(held.names)
    assert train.class_names == tuple("0123456789") and set(train.labels.tolist()) == set(range(10))
    images = ImageSet(train, DataConfig("digits", image_size=8, channels=1))
    batch = images.__getitems__(list(range(len(images))))["images"]
    assert batch.shape == (len(train), 1, 8, 8) and batch.dtype == torch.uint8
    assert int(batch.min()) == 0 and int(batch.max()) == 255 and len(batch.unique()) == 17


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_missing_torchvision_set_says_what_to_do(name, tmp_path):
    with pytest.raises(ConfigError, match=rf"data\.root='{tmp_path}': {name} is not there; add --data\.download true"):
        open_source(DataConfig(name, root=str(tmp_path)))


def test_fashion_mnist_loads(fashion_mnist):
    """From the four archives alone: torchvision unpacks what is there and fetches nothing."""
    train, held = (open_source(DataConfig("fashion_mnist", root=str(fashion_mnist), download=True), held_out=h) for h in (False, True))
    assert (len(train), len(held)) == (60000, 10000)
    assert np.bincount(train.labels).tolist() == [6000] * 10 and np.bincount(held.labels).tolist() == [1000] * 10
    assert train.class_names[0] == "T-shirt/top" and train.fingerprint != held.fingerprint
    assert train.load(59999).size == (28, 28) and train.load(0).mode == "L"


# shape, crop and flip


@pytest.mark.parametrize("target", [(8, 8), (28, 28), (12, 20)])
@pytest.mark.parametrize("crop", ["center", "stretch"])
def test_every_picture_shape_can_be_fitted(target, crop):
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
    assert np.array_equal(pixels(everything(tmp_path, image_size=10, crop="random"))[0], middle)  # not augmented
    assert np.array_equal(pixels(everything(tmp_path, image_size=10, crop="stretch"))[0], whole)


def test_mixed_sizes_come_out_in_the_given_shape(tmp_path):
    for i, (w, h) in enumerate([(1, 1), (5, 90), (90, 5), (16, 12), (33, 17), (300, 200)]):
        noise(i, w, h).save(tmp_path / f"{i}.png")
    assert pixels(everything(tmp_path, image_size=(12, 16))).shape == (6, 3, 12, 16)


def test_random_crops_move_over_the_whole_spare_width_and_keep_the_scale(tmp_path):
    """On a ramp of 8 levels a pixel, a crop is the same ramp at another offset; a key always gives the same crop."""
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


def test_lazy_and_held_pictures_are_the_same(tmp_path):
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
        assert sorted(keys[epoch * length : (epoch + 1) * length]) == list(range(epoch * length, (epoch + 1) * length))


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
    loaded = list(batches(images, order, workers, pin=False))
    assert len(loaded) == 4
    for batch, keys in zip(loaded, order, strict=True):
        assert batch["index"].tolist() == [k % 6 for k in keys]
        assert torch.equal(batch["images"], images.__getitems__(keys)["images"])


# code cache


class Encoder:
    """A stand-in for a tokenizer: the code of a cell is the red value of its first pixel, times 200."""

    def __init__(self):
        self.batches = 0

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.batches += 1
        return images[:, 0, ::4, ::4].long() * 200


def cached(root, store, sha: str = "t", encode=None, **changes):
    images = everything(root, **changes)
    return build_cache(images, encode or Encoder(), cache_key(sha, images), store, batch_size=5, quiet=True)


def test_cache_is_built_once(tmp_path):
    noisy_folder(tmp_path / "in", where="{c}/{i}.png")
    encode = Encoder()
    place = cached(tmp_path / "in", tmp_path / "out", encode=encode)
    assert encode.batches == 4  # three batches, and one image to learn the size of the grid
    assert cached(tmp_path / "in", tmp_path / "out", encode=encode) == place
    assert encode.batches == 4
    images, codes = everything(tmp_path / "in"), CodeSet(place)
    batch = codes.__getitems__(list(range(12)))
    assert codes.grid == (4, 4) and len(codes) == 12
    assert batch["codes"].dtype == torch.int64 and batch["codes"].max() > 2**15
    assert torch.equal(batch["codes"], Encoder()(pixels(images)).flatten(1))
    assert batch["labels"].tolist() == images.source.labels.tolist()


def test_cache_depends_on_all_that_the_codes_depend_on(tmp_path):
    noisy_folder(tmp_path / "in", where="{c}/{i}.png", width=24)
    store = tmp_path / "out"
    places = [
        cached(tmp_path / "in", store),
        cached(tmp_path / "in", store, sha="other"),
        cached(tmp_path / "in", store, flip=True),
        cached(tmp_path / "in", store, crop="stretch"),
        cached(tmp_path / "in", store, channels=1),
        cached(tmp_path / "in", store, image_size=12),
    ]
    noise(50).save(tmp_path / "in" / "a" / "0.png")
    os.utime(tmp_path / "in" / "a" / "0.png", (1, 1))
    places.append(cached(tmp_path / "in", store))
    (tmp_path / "in" / "a" / "0.png").unlink()
    places.append(cached(tmp_path / "in", store))
    assert len(set(places)) == len(places)


def test_cached_labels_are_those_asked_for(tmp_path):
    """A run without labels leaves no cache that a later run with labels would read, nor the other way round."""
    noisy_folder(tmp_path / "in", where="{c}/{i}.png")
    for labels in (False, True, False):
        images = ImageSet(open_source(config(tmp_path / "in", labels=labels)), config(tmp_path / "in", labels=labels))
        place = build_cache(images, Encoder(), cache_key("t", images), tmp_path / "out", quiet=True)
        assert (CodeSet(place).labels >= 0).all() == labels


def test_mirrored_variant_is_the_code_of_the_mirrored_picture(tmp_path):
    noisy_folder(tmp_path / "in")
    place, images = cached(tmp_path / "in", tmp_path / "out", flip=True), everything(tmp_path / "in")
    plain, mirrored = Encoder()(pixels(images)).flatten(1), Encoder()(pixels(images).flip(-1)).flatten(1)
    keys = list(range(20 * 12))
    augmented = CodeSet(place, seed=4).__getitems__(keys)["codes"].view(20, 12, 16)
    is_plain, is_mirrored = (augmented == plain).all(-1), (augmented == mirrored).all(-1)
    assert (is_plain ^ is_mirrored).all() and 80 < int(is_mirrored.sum()) < 160
    assert torch.equal(CodeSet(place, augment=False).__getitems__(keys)["codes"].view(20, 12, 16), plain.expand(20, 12, 16))
    shuffled = np.random.default_rng(0).permutation(keys).tolist()
    assert torch.equal(CodeSet(place, seed=4).__getitems__(shuffled)["codes"], augmented.view(-1, 16)[shuffled])
    assert not torch.equal(CodeSet(place, seed=5).__getitems__(keys)["codes"], augmented.view(-1, 16))


def test_a_failed_encoding_leaves_nothing_that_looks_complete(tmp_path):
    noisy_folder(tmp_path / "in")
    good = Encoder()

    def breaks(images):
        if good.batches == 2:
            raise RuntimeError("out of memory")
        return good(images)

    with pytest.raises(RuntimeError, match="out of memory"):
        cached(tmp_path / "in", tmp_path / "out", encode=breaks)
    assert all(p.name.endswith(".part") for p in (tmp_path / "out").iterdir())
    assert len(CodeSet(cached(tmp_path / "in", tmp_path / "out"))) == 12


class Broken(Encoder):
    """Fails at the third batch."""

    def __call__(self, batch):
        if self.batches == 3:
            raise OSError("no space left")
        return super().__call__(batch)


def test_an_encoding_that_was_stopped_goes_on(tmp_path):
    noisy_folder(tmp_path / "in", 23)
    images = everything(tmp_path / "in")
    with pytest.raises(OSError, match="no space"):
        build_cache(images, Broken(), "k", tmp_path / "out", batch_size=5, quiet=True)
    encoder = Encoder()
    place = build_cache(images, encoder, "k", tmp_path / "out", batch_size=5, quiet=True)
    assert encoder.batches < 5  # not all five batches again
    unbroken = build_cache(images, Encoder(), "other", tmp_path / "out", batch_size=5, quiet=True)
    for name in ("codes.npy", "labels.npy", "meta.json"):
        assert (place / name).read_bytes() == (unbroken / name).read_bytes()
    assert sorted(p.name for p in place.iterdir()) == ["codes.npy", "labels.npy", "meta.json"]


def test_several_processes_make_one_cache(tmp_path):
    """As threads here: each does its share, and the files are those of one process."""
    noisy_folder(tmp_path / "in", 23)
    images, barrier = everything(tmp_path / "in"), threading.Barrier(3)
    encoders = [Encoder() for _ in range(3)]

    def work(rank: int):
        team = Team(rank, 3, lambda: barrier.wait(30))
        return build_cache(images, encoders[rank], "k", tmp_path / "out", batch_size=5, quiet=True, team=team)

    with ThreadPoolExecutor(3) as pool:
        places = list(pool.map(work, range(3)))
    assert len(set(places)) == 1 and all(e.batches for e in encoders)
    alone = build_cache(images, Encoder(), "other", tmp_path / "out", batch_size=5, quiet=True)
    for name in ("codes.npy", "labels.npy", "meta.json"):
        assert (places[0] / name).read_bytes() == (alone / name).read_bytes()


@pytest.mark.parametrize("left_over", [".{key}.{pid}.part", ".{key}.part", "{key}"])
def test_a_partial_folder_is_never_taken_for_complete(tmp_path, left_over):
    """Left by a killed process, without its meta.json, the folder is built anew."""
    noisy_folder(tmp_path / "in")
    images = everything(tmp_path / "in")
    key = cache_key("t", images)
    partial = tmp_path / "out" / left_over.format(key=key, pid=os.getpid())
    partial.mkdir(parents=True)
    np.save(partial / "codes.npy", np.zeros((1, 12, 4, 4), np.uint16))
    np.save(partial / "labels.npy", np.zeros(12, np.int64))
    place = build_cache(images, Encoder(), key, tmp_path / "out", quiet=True)
    assert torch.equal(CodeSet(place).__getitems__([3])["codes"], Encoder()(pixels(images)[3:4]).flatten(1))
    assert [p.name for p in (tmp_path / "out").iterdir() if not p.name.startswith(".")] == [key]


def test_default_cache_lies_in_the_cache_folder(tmp_path):
    noisy_folder(tmp_path)
    images = everything(tmp_path)
    place = build_cache(images, Encoder(), cache_key("t", images), quiet=True)
    assert str(place).startswith(os.environ["D3PM_IMAGE_CACHE"])


def test_cached_codes_do_not_depend_on_memory(tmp_path):
    noisy_folder(tmp_path / "in")
    held, lazy = (CodeSet(cached(tmp_path / "in", tmp_path / str(mb), memory_mb=mb)) for mb in (HELD, LAZY))
    assert torch.equal(*(codes.__getitems__(list(range(len(held))))["codes"] for codes in (held, lazy)))


def test_a_configuration_is_not_changed(tmp_path):
    chosen = config(noisy_folder(tmp_path), flip=True)
    before = dataclasses.asdict(chosen)
    ImageSet(open_source(chosen), chosen, augment=True).__getitems__([0, 5])
    assert dataclasses.asdict(chosen) == before
