"""Images in every form in memory: the same pixels and labels, known by their contents, or refused in words."""

from __future__ import annotations

import types

import numpy as np
import pytest
import torch
from helpers.from_python import toy
from PIL import Image

from d3pm_image import (
    ConfigError,
    DataConfig,
    train_tokenizer,
)
from d3pm_image.data.objects import given_images, source_of


class Pairs(torch.utils.data.Dataset):
    """A torch data set of (image, label)."""

    classes = ("a", "b", "c")

    def __init__(self, form, channels=1):
        self.form, (self.images, self.labels) = form, toy(channels=channels)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.form(self.images[index]), int(self.labels[index])


def as_tensor(image):
    image = torch.from_numpy(image)
    return (image[None] if image.ndim == 2 else image.permute(2, 0, 1)).float() / 255


def noisy(image):
    return image ^ np.random.default_rng().integers(0, 255, image.shape, np.uint8)


FORMS = {
    "array": lambda images, labels: (images, labels),
    "tensor": lambda images, labels: (torch.stack([as_tensor(i) for i in images]), torch.from_numpy(labels)),
    "list of Pillow images": lambda images, labels: ([Image.fromarray(i) for i in images], labels.tolist()),
    "pairs in a list": lambda images, labels: list(zip(images, labels, strict=True)),
    "torch set of arrays": lambda images, labels: Pairs(np.asarray, 3 if images.ndim == 4 else 1),
    "torch set of tensors": lambda images, labels: Pairs(as_tensor, 3 if images.ndim == 4 else 1),
    "torch set of images": lambda images, labels: Pairs(Image.fromarray, 3 if images.ndim == 4 else 1),
    "dictionaries": lambda images, labels: [
        {"image": i, "label": k} for i, k in zip(images, labels, strict=True)
    ],
    "texts as labels": lambda images, labels: (images, ["abc"[k] for k in labels]),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_images_gives_the_same_pixels_and_labels(form, channels):
    images, labels = toy(channels=channels)
    source = source_of(FORMS[form](images, labels))
    assert len(source) == 60 and source.labels.tolist() == labels.tolist() and len(source.class_names) == 3
    for index in (0, 7, 59):
        assert np.array_equal(np.asarray(source.load(index)), images[index])


def test_an_object_is_known_by_its_contents():
    images, labels = toy()
    same, other = images.copy(), images.copy()
    other[-1, -1, -1] ^= 1
    for form in ("array", "torch set of arrays", "pairs in a list"):
        first = source_of(FORMS[form](images, labels)).fingerprint
        assert source_of(FORMS[form](same, labels)).fingerprint == first
        if not form.startswith("torch"):
            assert source_of(FORMS[form](other, labels)).fingerprint != first


@pytest.mark.parametrize(
    "data, text",
    [
        (np.zeros((5, 8, 8), np.float32) - 1, r"\[0, 1\]"),
        (np.full((5, 8, 8), 300), "uint8"),
        (np.zeros((5, 8)), "n, h, w"),
        (np.zeros((5, 8, 8, 5), np.uint8), "channels"),
        (np.zeros((0, 8, 8), np.uint8), "no image"),
        ((toy()[0], [1, 2]), "labels of 60 images"),
        ((toy()[0], [0.5] * 60), "whole numbers or texts"),
        (iter([1]), "length"),
        (5, "give a path"),
        (Pairs(noisy), "another image each time"),
    ],
    ids=["negative", "large", "two_axes", "five_channels", "empty", "few_labels", "odd_labels", "iterator", "number", "random"],
)  # fmt: skip
def test_images_that_cannot_be_used_are_refused(data, text, tmp_path):
    with pytest.raises(ConfigError, match=text):
        train_tokenizer(data, image_size=8, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_images_that_cannot_be_looked_at_say_neither_grey_nor_a_size(tmp_path):
    """Shards, or a Hugging Face data set, whose images looked at are all damaged: as from a folder, colour, and no size."""
    from d3pm_image.data.image_source import ImageSource
    from d3pm_image.data.objects import GivenImages
    from d3pm_image.recipes.arguments import with_sizes

    def damaged(index):
        raise Image.UnidentifiedImageError

    given = GivenImages(ImageSource(["a", "b"], None, (), damaged, "digest"))
    config = with_sizes(DataConfig("python", image_size=0, channels=0), given)
    assert (config.channels, config.image_size) == (3, 0)
    (tmp_path / "a.png").write_bytes(b"no image")
    assert with_sizes(DataConfig("folder", str(tmp_path), image_size=8, channels=0), None).channels == 3


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", 1), ("LA", 1), ("I;16", 1), ("F", 1), ("RGB", 3), ("P", 3)]
)
def test_channels_that_are_left_out_are_those_of_a_folder_s_images(tmp_path, mode, channels):
    from d3pm_image.recipes.arguments import with_sizes

    for name in "ab":
        Image.new(mode, (4, 4)).save(tmp_path / f"{name}.tif" if mode == "F" else tmp_path / f"{name}.png")
    assert (
        with_sizes(DataConfig("folder", str(tmp_path), image_size=8, channels=0), None).channels == channels
    )


class Column:
    """What is used of a Hugging Face data set, without that package."""

    def __init__(self, seed=0):
        self.images, self.labels = toy(seed=seed)
        self.features = {"img": object(), "fine_label": types.SimpleNamespace(names=["x", "y", "z"])}
        self.column_names = list(self.features)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, key):
        return (
            self.labels.tolist()
            if key == "fine_label"
            else {"img": Image.fromarray(self.images[key]), "fine_label": self.labels[key]}
        )


def test_a_hugging_face_set_is_known_by_its_columns():
    found = given_images({"train": Column(), "test": Column(1)})
    assert (
        found.training.class_names == ("x", "y", "z") and found.training.labels.tolist() == toy()[1].tolist()
    )
    assert np.array_equal(np.asarray(found.training.load(5)), toy()[0][5])
    assert np.array_equal(np.asarray(found.part(held_out=True).load(5)), toy(seed=1)[0][5])


@pytest.mark.parametrize(
    "options",
    [{"source": "huggingface"}, {"name": "user/set"}, {"source": "huggingface", "name": "x", "root": "y"}],
)
def test_settings_of_the_hub_source(options):
    with pytest.raises(ConfigError, match=r"data\.(name|root)"):
        DataConfig(**options)
