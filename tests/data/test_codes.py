"""Cached codes are those of the images, whatever the batch, process or path."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from helpers.image_files import HELD, LAZY, config, everything, noise, noisy_folder

from d3pm_image.data.codes import CodeSet, Team, build_cache, cache_key
from d3pm_image.data.images import ImageSet
from d3pm_image.data.sources import open_source


def pixels(images: ImageSet) -> torch.Tensor:
    return images.__getitems__(list(range(len(images))))["images"]


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
        images = ImageSet(
            open_source(config(tmp_path / "in", labels=labels)), config(tmp_path / "in", labels=labels)
        )
        place = build_cache(images, Encoder(), cache_key("t", images), tmp_path / "out", quiet=True)
        assert (CodeSet(place).labels >= 0).all() == labels


def test_mirrored_variant_is_the_code_of_the_mirrored_image(tmp_path):
    noisy_folder(tmp_path / "in")
    place, images = cached(tmp_path / "in", tmp_path / "out", flip=True), everything(tmp_path / "in")
    plain, mirrored = Encoder()(pixels(images)).flatten(1), Encoder()(pixels(images).flip(-1)).flatten(1)
    keys = list(range(20 * 12))
    augmented = CodeSet(place, seed=4).__getitems__(keys)["codes"].view(20, 12, 16)
    is_plain, is_mirrored = (augmented == plain).all(-1), (augmented == mirrored).all(-1)
    assert (is_plain ^ is_mirrored).all() and 80 < int(is_mirrored.sum()) < 160
    assert torch.equal(
        CodeSet(place, augment=False).__getitems__(keys)["codes"].view(20, 12, 16), plain.expand(20, 12, 16)
    )
    shuffled = np.random.default_rng(0).permutation(keys).tolist()
    assert torch.equal(
        CodeSet(place, seed=4).__getitems__(shuffled)["codes"], augmented.view(-1, 16)[shuffled]
    )
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
