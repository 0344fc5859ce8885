"""Data that lies on the GPU as a whole: the same images in the same order, half of them mirrored."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.code_caches import build
from helpers.image_sets import image_set, noisy

from d3pm_image.config import ConfigError
from d3pm_image.data import on_device
from d3pm_image.data.codes import CodeSet
from d3pm_image.data.order import BatchOrder, batches

CPU = torch.device("cpu")
COUNT = 23


@pytest.fixture
def held(monkeypatch):
    """Data lie on the processor as they would on a GPU."""
    monkeypatch.setattr(on_device, "DEVICES", ("cpu",))


def images(flip: bool = False, labels: bool = True):
    return image_set(noisy(COUNT), np.arange(COUNT) % 3 if labels else None, flip=flip)


def order(first: int = 0, last: int = 12, rank: int = 0, world: int = 1) -> BatchOrder:
    return BatchOrder(COUNT, 8, 5, first, last, rank, world)


def same(a: dict, b: dict) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("labels", [True, False])
def test_images_are_those_of_every_other_run(monkeypatch, labels):
    plain = images(labels=labels)
    expected = list(batches(plain, order(), 0, CPU))
    monkeypatch.setattr(on_device, "DEVICES", ("cpu",))
    found = list(batches(plain, order(), 0, CPU))
    assert len(found) == 12 and all(set(f) == {"images", "labels"} for f in found)
    assert all(same(f, e) for f, e in zip(found, expected, strict=True))


def test_codes_are_those_of_every_other_run(monkeypatch, tmp_path):
    place = build(tmp_path)
    codes = CodeSet(place, 5)
    own = BatchOrder(len(codes), 4, 5, 0, 9)
    expected = list(batches(codes, own, 0, CPU))
    monkeypatch.setattr(on_device, "DEVICES", ("cpu",))
    found = list(batches(codes, own, 0, CPU))
    assert found[0]["codes"].dtype == torch.int64
    assert all(same(f, e) for f, e in zip(found, expected, strict=True))


def test_half_the_images_are_mirrored_and_others_in_each_epoch(held):
    plain, flipped = images(), images(flip=True)
    flipped.flip = True
    epochs = []
    for batch, keys in zip(batches(flipped, order(last=23), 0, CPU), order(last=23), strict=True):
        for image, key in zip(batch["images"], keys, strict=True):
            own = plain.pixels[key % COUNT]
            mirrored = torch.equal(image, own.flip(-1))
            assert mirrored or torch.equal(image, own)
            epochs.append((key // COUNT, key % COUNT, mirrored))
    share = np.mean([m for *_, m in epochs])
    first, second = (sorted((i, m) for e, i, m in epochs if e == n) for n in (0, 1))
    assert 0.3 < share < 0.7 and len(first) == len(second) == COUNT and first != second


def test_mirrored_codes_are_those_of_the_mirrored_image(held, tmp_path):
    place = build(tmp_path, flip=True, shard=COUNT)
    codes = CodeSet(place, 5)
    files = np.load(place / "codes.npy").reshape(2, len(codes), -1)
    own = BatchOrder(len(codes), 4, 5, 0, 12)
    seen = set()
    for batch, keys in zip(batches(codes, own, 0, CPU), own, strict=True):
        for row, key in zip(batch["codes"].numpy(), keys, strict=True):
            which = [np.array_equal(row, files[v, key % len(codes)]) for v in (0, 1)]
            assert any(which)
            seen.add(tuple(which))
    assert {(True, False), (False, True)} <= seen
    plain = CodeSet(place, 5, augment=False)
    for batch, keys in zip(batches(plain, own, 0, CPU), own, strict=True):
        assert np.array_equal(batch["codes"].numpy(), files[0, np.array(keys) % len(plain)])


def test_a_resumed_run_and_several_processes_see_the_same(held):
    flipped = images(flip=True)
    flipped.flip = True
    whole = list(batches(flipped, order(), 0, CPU))
    assert all(same(a, b) for a, b in zip(whole[5:], batches(flipped, order(first=5), 0, CPU), strict=True))
    halves = [list(batches(flipped, order(rank=r, world=2), 0, CPU)) for r in (0, 1)]
    for batch, left, right in zip(whole, *halves, strict=True):
        assert same(batch, {k: torch.cat([left[k], right[k]]) for k in left})


def test_a_code_that_the_tokenizer_does_not_have_is_refused(held, tmp_path):
    codes = CodeSet(build(tmp_path), 5, num_codes=2)
    with pytest.raises(ConfigError, match="holds code"):
        next(batches(codes, BatchOrder(len(codes), 4, 5, 0, 9), 0, CPU))


def test_data_without_room_and_those_that_are_read_from_files_stay_where_they_are(monkeypatch, held):
    plain = images()
    assert plain.on_device(CPU) is not None
    monkeypatch.setattr(on_device, "SHARE", 0.0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**6, 10**9))
    monkeypatch.setattr(on_device, "DEVICES", ("cuda",))
    assert plain.on_device(torch.device("cuda")) is None
    assert plain.on_device(torch.device("cpu")) is None
    monkeypatch.setattr(on_device, "DEVICES", ("cpu",))
    plain.pixels = None
    assert plain.on_device(CPU) is None


def test_the_choice_of_mirror_images_follows_the_seed_and_the_epoch():
    def chosen(seed: int, epoch: int) -> np.ndarray:
        return on_device.Held("images", torch.zeros(64), torch.zeros(64), seed, "left-right").mirrored(epoch)

    assert np.array_equal(chosen(0, 0), chosen(0, 0))
    assert not np.array_equal(chosen(0, 0), chosen(1, 0)) and not np.array_equal(chosen(0, 0), chosen(0, 1))
