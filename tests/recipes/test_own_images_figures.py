"""Rules and figures of a training on own images, each by a value at which it turns."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.image_files import noise
from PIL import Image

from d3pm_image.config import DataConfig
from d3pm_image.config.own_images import OwnImages
from d3pm_image.data.facing import FACING
from d3pm_image.data.images import ImageSet
from d3pm_image.data.sources import open_source
from d3pm_image.imaging import Images as Several
from d3pm_image.recipes.own_images import budget, report, results, subject
from d3pm_image.recipes.own_images.budget import ENCODE, SPARE, START_S, Budget, Costs
from d3pm_image.recipes.own_images.choice import choose, loop
from d3pm_image.recipes.own_images.networks import RUNGS, SEEN, Images, denoiser_run, tokenizer_settings
from d3pm_image.recipes.own_images.subject import LEAST_IMAGES, Seen, look

MANY = Seen(images=20_000, held_out=2_000, side=512, grey=False, facing=0.0, classes=0)
NEW = OwnImages(start_from="none")


def images_of(**changes) -> Images:
    return Images.of(dataclasses.replace(MANY, **changes), NEW, DataConfig("folder", "photos"))


def chosen(seen: Seen, first_s: float, second_s: float, **asked):
    """What is chosen where a step of either stage takes so many seconds."""
    wanted = OwnImages(**{"minutes": 60, "start_from": "none", **asked})
    time = Budget(wanted.minutes, seen, lambda: 0.0)
    data = DataConfig("folder", "photos")
    return choose(
        seen, wanted, data, "runs/x", time, lambda first, second: first_s if second is None else second_s
    )[0]


def test_the_time_for_training_is_what_reading_leaves(monkeypatch):
    """Both stages and the search for near-copies read the images; once stage one has, two are left."""
    monkeypatch.setattr(budget, "own_processors", lambda: range(2))
    seen = dataclasses.replace(MANY, images=900, held_out=100, read_s=0.02)
    one_reading, whole = 0.02 * 1000 / 2, SPARE * 60 * 10 - 7.0
    assert Budget(10, seen, lambda: 7.0).left() == pytest.approx(whole - 3 * one_reading)
    assert Budget(10, seen, lambda: 7.0, first_done=True).left() == pytest.approx(whole - 2 * one_reading)


def test_stage_two_encodes_the_images_and_their_mirror_images_and_guidance_asks_twice():
    seen = dataclasses.replace(MANY, images=900, held_out=100)
    time = Budget(10, seen, lambda: 0.0)
    assert time.fixed(Costs(0.5, 0.1)) == (START_S, START_S + (2 * 900 + 100) * ENCODE * 0.5)
    assert time.calls == 16 and Budget(10, dataclasses.replace(seen, classes=3), lambda: 0.0).calls == 32


@pytest.mark.parametrize("each", [0.02, 0.5])
def test_the_minutes_that_are_said_to_be_enough_are_and_little_less_is_not(each):
    costs, fewest = Costs(each, each), budget.LEAST_STEPS
    enough = Budget(1, MANY, lambda: 5.0).enough_minutes(costs)
    steps = [part.steps for part in Budget(enough, MANY, lambda: 5.0).parts(costs)]
    assert min(steps) >= fewest
    less = [part.steps for part in Budget(0.7 * enough, MANY, lambda: 5.0).parts(costs)]
    assert min(less) < fewest


@pytest.mark.parametrize(("count", "codes"), [(1600, 1024), (1599, 512), (800, 512), (799, 256), (399, 128)])
def test_a_code_has_a_hundred_cells_to_learn_from(count, codes):
    """64 pixels at downsampling 8: 64 cells per image."""
    assert tokenizer_settings(images_of(images=count), NEW)["quantizer"]["num_codes"] == codes


def test_few_images_get_dropout_and_classes_get_guidance():
    def run(**changes):
        return denoiser_run(images_of(**changes), NEW, "x", RUNGS[0], {})

    assert run(images=19_999).denoiser.dropout == 0.1 and run(images=20_000).denoiser.dropout == 0.0
    assert run(classes=0).sampling.guidance == 1.0 and run(classes=2).sampling.guidance == 1.5


def test_a_loop_averages_over_its_end_and_validates_as_often_as_planned():
    assert loop(1000, 10, False)["ema"] == 0.9925 and loop(100_000, 10, False)["ema"] == 0.9995
    assert loop(20, 2, False)["ema"] == 0.9
    assert loop(105, 10, False)["preview_every"] == 11 and loop(100, 10, False)["preview_every"] == 10


def test_a_network_says_whether_images_or_time_limit_it():
    def why(seconds: float) -> str:
        return next(r.why for r in chosen(MANY, 0.001, seconds, image_size=64).reasons if r.option == "width")

    assert why(1e-4) == "for 20000 images" and why(0.5) == "the largest that the time is enough for"


def test_a_larger_size_waits_until_both_stages_see_enough():
    seconds = 60 * 60 * SPARE
    fast, just = 1e-5, 0.9 * seconds * (2 / 3) * 64 / SEEN[1] / 4
    assert chosen(MANY, fast, just).tokenizer.data.image_size == 256
    assert chosen(MANY, fast, 1.3 * just).tokenizer.data.image_size == 64, "stage two would see too few"
    assert chosen(MANY, 1.0, fast).tokenizer.data.image_size == 64, "stage one would see too few"


def test_the_side_is_that_of_nine_in_ten_images_and_the_look_ends(tmp_path, monkeypatch):
    for number in range(60):
        side = 24 if number % 20 == 0 else 40 if number % 20 < 4 else 70
        noise(number, side, side).save(tmp_path / f"{number:02d}.png")
    data = DataConfig("folder", str(tmp_path))
    training, held_out = open_source(data), open_source(data, True)
    sides = sorted(min(training.load(index).size) for index in range(len(training)))
    assert (
        look(training, held_out).side == int(np.quantile(sides, 0.1)) not in (sides[0], int(np.median(sides)))
    )
    opened = []

    class Counted:
        labels, class_names, place = None, (), "x"

        def __len__(self) -> int:
            return len(training)

        def load(self, index: int) -> Image.Image:
            opened.append(index)
            return training.load(index)

    monkeypatch.setattr(subject, "LOOK_S", 0.0)
    look(Counted(), held_out)
    assert len(opened) == LEAST_IMAGES < len(training)


def test_images_face_one_way_within_their_classes(tmp_path):
    """One class is bright on the left, the other on the right: together they have no facing."""
    ramp = np.repeat(np.linspace(0, 255, 32).astype(np.uint8)[None], 32, 0)
    for name, pixels in (("left", ramp[:, ::-1]), ("right", ramp)):
        (tmp_path / name).mkdir()
        for number in range(20):
            Image.fromarray(np.roll(pixels, number, 0)).save(tmp_path / name / f"{number}.png")
    data = DataConfig("folder", str(tmp_path))
    assert look(open_source(data), open_source(data, True)).facing > FACING
    data = dataclasses.replace(data, labels=False)
    assert look(open_source(data), open_source(data, True)).facing < FACING


def test_the_nearest_training_image_is_shown_mirrored_where_that_is_nearest(tmp_path):
    for number in range(30):
        noise(number, 16, 16).save(tmp_path / f"{number:02d}.png")
    data = DataConfig("folder", str(tmp_path), image_size=16, channels=3)
    training, held_out = (ImageSet(open_source(data, part), data) for part in (False, True))
    known = training.source.load(0).convert("RGB")
    new = Several([known.transpose(Image.Transpose.FLIP_LEFT_RIGHT), known, Image.new("RGB", (16, 16))])
    asked = []

    def pipe(of):
        return SimpleNamespace(reconstruct=lambda images: asked.append(len(images)) or Several(of(images)))

    far = pipe(lambda images: [noise(500 + n, 16, 16).convert("RGB") for n in range(len(images))])
    found = results.compare(far, new, training, held_out, tmp_path, flip=True)
    assert asked == [len(held_out)] and found.compared == len(training) and found.drawn == 3
    assert found.near == 2 and [pair.near for pair in found.pairs] == [True, True, False]
    name = training.source.names[0]
    for pair in found.pairs[:2]:
        assert pair.name == name and pair.distance == 0
        assert np.array_equal(np.asarray(pair.training), np.asarray(pair.sample)), "as it is nearest"
    plain = results.compare(far, new, training, held_out, tmp_path, flip=False)
    assert [pair.distance == 0 for pair in plain.pairs] == [True, False, False], "no mirror images are learnt"
    copies = pipe(lambda images: [known] * len(images))
    assert results.compare(copies, new, training, held_out, tmp_path, flip=True).near == 0, (
        "not below the limit"
    )


def test_the_page_of_previews_reloads_itself(tmp_path):
    text = report.ReportText("Trained on x", [], {}, [], {})
    page = report.write_progress(tmp_path, chosen(MANY, 0.1, 0.1), text).read_text(encoding="utf-8")
    assert '<meta http-equiv="refresh" content="15">' in page
