"""Inpainting of held-out images, with untrained models of every kind: nothing leaks, nothing known changes, and faults are counted."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from helpers.edits import build, make_image, model
from PIL import Image

from d3pm_image.config import ConfigError, DataConfig
from d3pm_image.config.editing import HIDDEN
from d3pm_image.data.image_source import Arrays, ImageSource
from d3pm_image.data.images import ImageSet
from d3pm_image.evaluation import inpainting
from d3pm_image.evaluation.options import Evaluation
from d3pm_image.evaluation.samples import SampleEvaluator
from d3pm_image.metrics.feature_extractor import FeatureSpace
from d3pm_image.tokenizer import Palette

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
CLASSES = ("class 0", "class 1", "class 2")


def held_out(pipe, count: int = 24, classes: tuple[str, ...] = CLASSES) -> ImageSet:
    """Images of a model's size and channels; those of a class are of one brightness."""
    (height, width), channels = pipe.image_size, pipe.tokenizer.channels
    labels = np.arange(count) % 3
    arrays = [np.asarray(make_image(width, height, MODES[channels], n)) for n in range(count)]
    pixels = np.stack([a // 4 + 60 * label for a, label in zip(arrays, labels, strict=True)]).astype(np.uint8)
    source = ImageSource([f"{n}" for n in range(count)], labels, classes, Arrays(pixels), f"made {channels}")
    return ImageSet(source, DataConfig(image_size=pipe.image_size, channels=channels))


def evaluator_of(images: ImageSet, classifier: bool = True) -> SampleEvaluator:
    """Features are pixels; the classifier, of small images, a support vector machine."""
    space = FeatureSpace(lambda x: x.flatten(1)[:, ::7].float(), "pixels", "0" * 64, "as they are")
    names = images.source.class_names if classifier else ()
    return SampleEvaluator(images.source, images.config, images, names, space)


def found_by(pipe, images: ImageSet, classifier: bool = True, **settings) -> dict:
    args = Evaluation(model="m", **{"inpaint": ",".join(HIDDEN), "num_samples": 20, "seed": 3, **settings})
    inpainting.check_inpainting(args, pipe, images)
    return inpainting.evaluate_inpainting(args, pipe, images, evaluator_of(images, classifier))


def test_the_bar_counts_the_calls_that_are_made():
    """Without a label there is no guidance, but away from a class there is."""
    pipe = model("pixels")
    for settings, calls in (({}, 1), ({"guidance": 3.0}, 1), ({"guidance": 3.0, "negative_label": 1}, 2)):
        sampler = {"steps": 4, **settings}
        args = Evaluation(model="m", inpaint="half,box", num_samples=20, seed=3, sampler=sampler)
        with inpainting.progress(args, pipe, 36) as bar:
            assert bar.total == 4 * calls * 36 * 2


def without_times(found: dict) -> dict:
    regions = {
        name: {k: v for k, v in region.items() if k != "seconds"} for name, region in found["regions"].items()
    }
    return {**found, "regions": regions}


def palette_model():
    colours = [[0, 0, 0, 255], [250, 40, 10, 255], [20, 200, 90, 255], [90, 90, 90, 255]]
    return build(Palette(torch.tensor(colours, dtype=torch.uint8)), 8)


MODELS = {
    "pixels": lambda: model("pixels"),
    "colour pixels": lambda: model("pixels", 3),
    "grey and alpha": lambda: model(4, 2),
    "colour and alpha": lambda: model(4, 4),
    "codes": lambda: model(4, 3),
    "palette": palette_model,
}


@pytest.mark.parametrize("kind", MODELS)
def test_models_of_every_kind_keep_what_is_known_and_see_nothing_of_what_is_hidden(kind):
    pipe = MODELS[kind]()
    found = found_by(pipe, held_out(pipe), classifier=False, batch_size=8)
    assert list(found["regions"]) == list(HIDDEN) and found["num_images"] == 20 and found["labels"] == "none"
    for region in found["regions"].values():
        assert (region["known_pixels_changed"], region["leaks"], region["leaks_checked"]) == (0, 0, 16)
        assert region["frechet_distance"] > 0 and region["mse"] > 0 and 0 < region["hidden_share"] < 1
        assert "label_accuracy" not in region  # without a classifier
    if "pixels" in kind:  # a few levels give an image back but for rounding
        assert found["regions"]["box"]["reconstruction"]["mse"] < 0.05


@pytest.mark.parametrize("size", [1, 5, 64])
def test_batches_and_other_regions_change_nothing(size):
    pytest.importorskip("sklearn")
    pipe = model("pixels")
    whole = without_times(found_by(pipe, held_out(pipe)))
    part = without_times(found_by(pipe, held_out(pipe), inpaint="box", batch_size=size))
    assert part["regions"] == {"box": whole["regions"]["box"]}
    assert {**part, "regions": 0} == {**whole, "regions": 0}
    other = without_times(found_by(pipe, held_out(pipe), inpaint="box", seed=4))
    assert other["held_out"] == whole["held_out"] and other["regions"] != part["regions"]


def test_a_model_that_sees_hidden_pixels_is_found_out(monkeypatch):
    monkeypatch.setattr("d3pm_image.editing.canvas.fill_hidden", lambda pixels, hidden: pixels)
    pipe = model(4, 3)
    found = found_by(pipe, held_out(pipe), classifier=False, inpaint="half")
    assert found["regions"]["half"]["leaks"] > 0 and found["regions"]["half"]["known_pixels_changed"] == 0


def test_known_pixels_that_change_are_counted(monkeypatch):
    monkeypatch.setattr("d3pm_image.editing.repaint.paste", lambda original, painted, weight: painted)
    pipe = model(4, 3)
    found = found_by(pipe, held_out(pipe), classifier=False, inpaint="half")
    assert found["regions"]["half"]["known_pixels_changed"] > 100


def test_perfect_completions_have_the_figures_of_the_images_themselves(monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.setattr(inpainting, "complete", lambda args, pipe, images, *_: images)
    pipe = model("pixels")
    found = found_by(pipe, held_out(pipe))
    for region in found["regions"].values():
        assert {name: region[name] for name in found["held_out"]} == found["held_out"]
        assert (region["mse"], region["psnr_db"], region["seam_ratio"]) == (0, 120, 1)
        assert region["leaks"] == 16  # what was hidden is what came back
    assert found["held_out"]["label_accuracy"] == 1 and found["held_out"]["frechet_distance"] > 0
    all_of_them = found_by(pipe, held_out(pipe), num_samples=24)
    assert all_of_them["held_out"]["frechet_distance"] == pytest.approx(0, abs=1e-3)


def test_images_are_completed_without_a_label_each_with_its_own_number(monkeypatch):
    asked, requests, real = [], [], inpainting.repaint

    def noted(*given, **named):
        requests.append(given[1])
        asked.append(list(given[5]))
        return real(*given, **named)

    monkeypatch.setattr(inpainting, "repaint", noted)
    pipe = model("pixels")
    found_by(pipe, held_out(pipe), classifier=False, inpaint="half")
    assert asked == [[pipe.no_label] * 16, [pipe.no_label] * 16, [pipe.no_label] * 4]  # the second: leaks
    assert [(request.seed, request.first) for request in requests] == [(3, 0), (3, 0), (3, 16)]


def test_images_without_a_label_are_left_out_of_the_accuracy(monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.setattr(inpainting, "complete", lambda args, pipe, images, *_: images)
    pipe = model("pixels")
    images = held_out(pipe)
    images.source = dataclasses.replace(
        images.source, labels=np.where(np.arange(24) < 12, -1, np.arange(24) % 3)
    )
    found = found_by(pipe, images, inpaint="half")
    assert found["regions"]["half"]["label_accuracy"] == found["held_out"]["label_accuracy"] == 1


def test_other_content_differs_in_every_hidden_pixel_and_nowhere_else():
    images = torch.randint(0, 256, (3, 4, 8, 8), dtype=torch.uint8)
    masks = torch.rand(3, 8, 8) < 0.5
    changed = inpainting.replaced(images, masks) != images
    assert torch.equal(changed, masks[:, None].expand_as(images))


def test_pixels_of_results_are_those_of_the_images():
    images = [Image.fromarray(np.full((4, 6, 3), n, np.uint8)) for n in (3, 9)]
    found = inpainting.levels_of(images)
    assert found.shape == (2, 3, 4, 6) and found[1].unique().tolist() == [9]


# what is refused


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"inpaint": "halves"}, "inpaint.*halves.*half"),
        ({"inpaint": "half,"}, "inpaint"),
        ({"inpaint": "half;box"}, "inpaint.*half;box"),
        ({"inpaint": "half", "num_samples": 0}, "inpaint.*num_samples"),
    ],
)
def test_wrong_options_are_refused(given, told):
    with pytest.raises(ConfigError, match=told):
        Evaluation(model="m", **given)


def test_regions_are_listed_once_and_none_without_the_option():
    assert Evaluation(model="m", inpaint=" box, half ,box").regions() == ["box", "half"]
    assert Evaluation(model="m").regions() == []


def test_images_too_small_or_too_few_and_samplers_that_do_not_fit_are_refused():
    pipe = model("pixels")
    args = Evaluation(model="m", inpaint="half")
    with pytest.raises(ConfigError, match=r"inpaint.*2 held-out"):
        inpainting.check_inpainting(args, pipe, held_out(pipe, 1))
    tiny = held_out(pipe)
    tiny.size = (3, 8)
    with pytest.raises(ConfigError, match=r"inpaint.*8x3"):
        inpainting.check_inpainting(args, pipe, tiny)
    wrong = dataclasses.replace(args, sampler={"sampler": "confidence"})
    with pytest.raises(ConfigError, match="sampler"):
        inpainting.check_inpainting(wrong, build(pipe.tokenizer, 8, share=1.0), held_out(pipe))
