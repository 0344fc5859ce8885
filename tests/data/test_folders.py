"""What image folders and sets by name hold: classes, broken files, training and held-out parts."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from helpers.damage import truncate
from helpers.image_files import HELD, LAZY, config, everything, noise, noisy_folder

from d3pm_image.config import ConfigError, DataConfig
from d3pm_image.data.images import ImageSet
from d3pm_image.data.sources import open_source
from d3pm_image.data.torchvision_sets import TORCHVISION


@pytest.mark.parametrize("where", ["{i}.png", "deep/er/{i}.png", "{c}/{i}.png", "{c}/more/{i}.png"])
def test_nested_and_flat_folders_hold_the_same_images(tmp_path, where):
    """Class labels exactly where every image lies in a subfolder, named by its first level."""
    source = everything(noisy_folder(tmp_path, where=where)).source
    assert len(source) == 12
    assert all(
        np.array_equal(source.load(i), noise(int(name.split("/")[-1].split(".")[0])))
        for i, name in enumerate(source.names)
    )
    if where == "{i}.png":
        assert source.labels is None and source.class_names == ()
    else:
        assert [source.class_names[c] for c in source.labels] == [name.split("/")[0] for name in source.names]
        assert list(source.class_names) == sorted({name.split("/")[0] for name in source.names})


def test_an_image_outside_the_class_folders_does_not_take_their_classes(tmp_path):
    """It is left out and reported; as many outside as inside mean that there are no classes."""
    noisy_folder(tmp_path, where="{c}/{i}.png")
    noise(99).save(tmp_path / "loose.png")
    source = everything(tmp_path).source
    assert (
        source.class_names == ("a", "b", "c")
        and len(source) == 12
        and "1 image beside the class folders" in source.unused.summary()
    )
    assert len(everything(tmp_path, labels=False)) == 13
    noisy_folder(tmp_path, 13, "loose{i}.png")
    assert everything(tmp_path).source.labels is None and len(everything(tmp_path)) == 26


def test_labels_can_be_ignored(tmp_path):
    images = ImageSet(
        open_source(config(noisy_folder(tmp_path, where="{c}/{i}.png"), labels=False)), config(tmp_path)
    )
    assert images.source.class_names == ()
    assert images.__getitems__([0, 1])["labels"].tolist() == [-1, -1]


def broken_folder(root):
    """Twelve good images, eight in class a and four in b, and five broken ones, two of which have a readable header."""
    (root / "b").mkdir(parents=True)
    noisy_folder(root, 8, "a/{i}.png")
    for i in range(8, 12):
        noise(i).save(root / "b" / f"{i}.png")
    (root / "a" / "text.png").write_text("not an image")
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
    """Every image that comes out is that of a readable file, with the label of that file."""
    with pytest.warns(UserWarning) as seen:
        images = everything(broken_folder(tmp_path), memory_mb=memory_mb)
        batch = images.__getitems__(list(range(len(images))))
    assert all(any(name in str(w.message) for w in seen) for name in BROKEN)
    label_of = {noise(i).tobytes(): int(i >= 8) for i in range(12)}
    for image, label in zip(batch["images"], batch["labels"].tolist(), strict=True):
        assert label == label_of[image.permute(1, 2, 0).numpy().tobytes()]
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
    (tmp_path / "text" / "a.png").write_text("no image")
    (tmp_path / "text" / "b.txt").write_text("no image")
    for name in ("none", "empty", "text", "text/a.png"):
        with pytest.raises(ConfigError, match=rf"data\.root='.*{name}'"):
            open_source(config(tmp_path / name))
    with pytest.raises(ConfigError, match=r"data\.source='imagenet': use one of digits, folder"):
        open_source(DataConfig("imagenet"))


@pytest.mark.parametrize("share", [0.01, 0.1, 0.25, 0.5])
def test_split_is_disjoint_complete_and_stable(tmp_path, share):
    noisy_folder(tmp_path, 40)
    train, held = (open_source(config(tmp_path, val_share=share), held_out=h) for h in (False, True))
    assert len(held) == max(1, round(40 * share))
    assert sorted(train.names + held.names) == sorted(f"{i}.png" for i in range(40))
    assert open_source(config(tmp_path, val_share=share), held_out=True).names == held.names
    assert all(np.array_equal(held.load(i), noise(int(name[:-4]))) for i, name in enumerate(held.names))


def test_one_image_cannot_be_split(tmp_path):
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
    with pytest.raises(
        ConfigError, match=rf"data\.root='{tmp_path}': {name} is not there; add --data\.download true"
    ):
        open_source(DataConfig(name, root=str(tmp_path)))


def test_fashion_mnist_loads(fashion_mnist):
    """From the four archives alone: torchvision unpacks what is there and fetches nothing."""
    train, held = (
        open_source(DataConfig("fashion_mnist", root=str(fashion_mnist), download=True), held_out=h)
        for h in (False, True)
    )
    assert (len(train), len(held)) == (60000, 10000)
    assert (
        np.bincount(train.labels).tolist() == [6000] * 10 and np.bincount(held.labels).tolist() == [1000] * 10
    )
    assert train.class_names[0] == "T-shirt/top" and train.fingerprint != held.fingerprint
    assert train.load(59999).size == (28, 28) and train.load(0).mode == "L"
