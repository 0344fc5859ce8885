"""What is chosen of a training on images of one's own, without training."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
from helpers import transparent
from helpers.image_files import noise, noisy_folder
from PIL import Image

from d3pm_image.config import ConfigError, DataConfig
from d3pm_image.config.own_images import MINUTES, OwnImages
from d3pm_image.data.sources import open_source
from d3pm_image.hub import SHIPPED
from d3pm_image.recipes.arguments import data_settings
from d3pm_image.recipes.own_images import networks
from d3pm_image.recipes.own_images.budget import LEAST_STEPS, SHARE, Budget, Costs
from d3pm_image.recipes.own_images.choice import choose
from d3pm_image.recipes.own_images.memory import Kept, keep, kept
from d3pm_image.recipes.own_images.subject import Seen, look
from d3pm_image.recipes.own_images.train import TimedTraining, commands, in_the_time_left, stopped_early

PHOTOS = Seen(images=450, held_out=50, side=512, grey=False, facing=0.0, classes=0)
MANY = dataclasses.replace(PHOTOS, images=20_000, held_out=2_000)
FASHION = Seen(images=900, held_out=100, side=28, grey=True, facing=0.4, classes=10)
CORE, GPU = 0.02, 0.0002
"""Seconds per image of stage one at 64 pixels: of a processor core, of a GPU."""


def pace(each: float):
    """A machine: time goes with pixels in stage one, with codes and weights in stage two."""

    def seconds(first, second) -> float:
        height, width = first.tokenizer.grid(first.data.image_size)
        if second is None:
            pixels = height * width * first.tokenizer.downsampling**2
            return first.train.batch_size * each * pixels / 64**2 * (first.tokenizer.width / 32) ** 2
        size = second.denoiser.width**2 * second.denoiser.depth / (128**2 * 4)
        return second.train.batch_size * each * 0.3 * size * height * width / 64

    return seconds


def chosen(seen: Seen, each: float = CORE, **asked):
    wanted = OwnImages(**{"minutes": MINUTES, **asked})
    budget = Budget(wanted.minutes, seen, lambda: 5.0)
    return choose(seen, wanted, DataConfig("folder", "photos"), "runs/photos", budget, pace(each))[0]


def values(found) -> dict[str, str]:
    return {reason.option: reason.value for reason in found.reasons}


@pytest.mark.parametrize(
    ("seen", "each", "size", "channels", "flip", "start"),
    [
        (PHOTOS, CORE, "64", "3", "true", "eurosat"),
        (PHOTOS, GPU, "64", "3", "true", "eurosat"),
        (MANY, CORE, "64", "3", "true", "none"),
        (MANY, GPU, "256", "3", "true", "none"),
        (dataclasses.replace(MANY, side=200), GPU, "128", "3", "true", "none"),
        (dataclasses.replace(PHOTOS, side=64, classes=3), CORE, "64", "3", "true", "eurosat"),
        (dataclasses.replace(PHOTOS, side=50), CORE, "48", "3", "true", "none"),
        (FASHION, CORE, "28", "1", "false", "fashion-mnist"),
        (dataclasses.replace(FASHION, images=60_000), CORE, "28", "1", "false", "none"),
        (dataclasses.replace(FASHION, side=8), CORE, "16", "1", "false", "none"),
        (dataclasses.replace(FASHION, side=300), CORE, "64", "1", "false", "none"),
    ],
)
def test_size_colour_mirroring_and_start_follow_the_images(seen, each, size, channels, flip, start):
    found = chosen(seen, each)
    said = values(found)
    assert [said[n] for n in ("image_size", "channels", "flip", "start_from")] == [
        size,
        channels,
        flip,
        start,
    ]
    grid = found.tokenizer.tokenizer.grid(found.tokenizer.data.image_size)
    assert max(grid) <= 16 and found.diffusion.tokenizer == found.tokenizer.out
    few = seen.images < networks.FEW
    assert {run.train.patience > 0 for run in (found.tokenizer, found.diffusion)} == {few}
    assert all(reason.why for reason in found.reasons) and str(found).count("\n") == len(found.reasons) - 1


def test_the_models_to_begin_with_are_those_of_the_package():
    for name, (side, channels) in networks.STARTS.items():
        info = json.loads((SHIPPED / name / "tokenizer" / "config.json").read_text())
        assert (info["image_size"], info["channels"]) == ([side, side], channels)


def test_a_model_whose_codes_stay_gives_both_stages_their_networks():
    assert chosen(PHOTOS).diffusion.start_from == "", "a tokenizer that learns whole gives other codes"
    found = chosen(PHOTOS, learn="decoder")
    assert found.tokenizer.start_from == found.diffusion.start_from == "eurosat"
    assert found.tokenizer.learn == "decoder"
    parts = json.loads((SHIPPED / "eurosat" / "denoiser" / "config.json").read_text())["denoiser"]
    assert (found.diffusion.denoiser.width, found.diffusion.denoiser.depth) == (
        parts["width"],
        parts["depth"],
    )


def test_a_faster_machine_and_more_images_get_a_larger_denoiser():
    work = [
        run.denoiser.width**2 * run.denoiser.depth
        for run in (
            chosen(MANY, CORE, image_size=64).diffusion,
            chosen(dataclasses.replace(MANY, images=4000), GPU, image_size=64).diffusion,
            chosen(MANY, GPU, image_size=64).diffusion,
            chosen(dataclasses.replace(MANY, images=10**6), GPU, image_size=64).diffusion,
        )
    ]
    assert work == sorted(set(work))


def test_what_is_asked_for_holds_and_says_so():
    asked = {
        "image_size": (48, 64), "channels": 1, "flip": False, "downsampling": 4, "tokenizer_width": 16,
        "width": 96, "depth": 3, "tokenizer_steps": 7, "steps": 9, "seed": 5, "precision": "no",
    }  # fmt: skip
    found = chosen(MANY, **asked)
    first, second = found.tokenizer, found.diffusion
    assert (first.data.image_size, first.data.channels, first.data.flip) == ((48, 64), 1, False)
    assert (first.tokenizer.downsampling, first.tokenizer.width) == (4, 16)
    assert (second.denoiser.width, second.denoiser.depth) == (96, 3)
    assert (first.train.steps, second.train.steps) == (7, 9)
    assert {(run.train.seed, run.train.mixed_precision) for run in (first, second)} == {(5, "no")}
    told = {reason.option for reason in found.reasons if reason.why == "as asked"}
    assert told == set(asked) - {"seed"}
    assert values(found)["image_size"] == "[48,64]"
    assert "--image-size [48,64]" in str(found) and "--tokenizer-steps 7" in str(found)
    assert all("_" not in line.split()[0] for line in str(found).splitlines())
    assert values(chosen(PHOTOS, start_from="none"))["start_from"] == "none"
    assert values(chosen(PHOTOS, width=64))["start_from"] == "eurosat"
    assert values(chosen(PHOTOS, tokenizer_width=64))["start_from"] == "none", "the model has another width"


def test_a_model_that_is_named_gives_size_and_channels_and_takes_no_other_network():
    found = chosen(dataclasses.replace(MANY, grey=True), start_from="eurosat", learn="decoder")
    assert values(found)["channels"] == "3" and values(found)["image_size"] == "64"
    assert found.diffusion.start_from == "eurosat"
    with pytest.raises(ConfigError, match=r"channels=1: start_from eurosat has 3"):
        chosen(MANY, start_from="eurosat", channels=1)
    with pytest.raises(ConfigError, match=r"width=64: start_from eurosat brings networks of its own"):
        chosen(MANY, start_from="eurosat", learn="decoder", width=64)
    with pytest.raises(ConfigError, match=r"learn='decoder': goes with a model to begin with"):
        chosen(MANY, learn="decoder")


def test_too_little_time_says_how_much_would_do_and_that_is_enough():
    with pytest.raises(ConfigError, match=r"minutes=0\.5: leave time for \d+ and \d+ steps") as error:
        chosen(MANY, minutes=0.5)
    enough = float(error.value.hint.split("give ")[1].split(" or more")[0])
    assert 0.5 < enough < 5
    found = chosen(MANY, minutes=enough)
    assert min(found.tokenizer.train.steps, found.diffusion.train.steps) >= LEAST_STEPS


@pytest.mark.parametrize("minutes", [2, 10, 60])
def test_both_stages_and_the_end_fill_the_time(minutes):
    """A third is the tokenizer's; once it has ended, the rest is the denoiser's, whatever the tokenizer took."""
    seen, costs = dataclasses.replace(MANY, images=1000, held_out=100, read_s=0.01), Costs(0.01, 0.005)
    budget = Budget(minutes, seen, lambda: 5.0)
    fixed, validated, step = budget.fixed(costs), budget.validating(costs), budget.steps_s(costs)
    parts = budget.parts(costs)
    took = [fixed[i] + (parts[i].previews + 1) * validated[i] + parts[i].steps * step[i] for i in range(2)]
    whole = sum(took) + budget.end(costs)
    assert budget.left() - sum(step) <= whole <= budget.left() < 60 * minutes - 5
    assert took[0] / sum(took) == pytest.approx(SHARE, abs=0.02)
    later = Budget(minutes, seen, lambda: 5.0 + 2 * took[0], first_done=True).parts(costs)[1]
    assert later.steps < parts[1].steps


def test_digits_are_not_mirrored_and_images_without_a_side_are(tmp_path):
    data = DataConfig(source="digits")
    seen = look(open_source(data), open_source(data, True))
    assert seen.grey and seen.side == 8 and seen.classes == 10 and seen.read_s > 0
    assert values(chosen(seen))["flip"] == "false"
    noisy_folder(tmp_path, 40, "{c}/{i}.png", width=80, height=70)
    data = DataConfig("folder", str(tmp_path))
    seen = look(open_source(data), open_source(data, True))
    assert (seen.grey, seen.side, seen.classes) == (False, 70, 3)
    assert values(chosen(seen))["flip"] == "true" and values(chosen(seen))["image_size"] == "64"


def test_grey_images_in_files_of_colour_and_broken_ones(tmp_path):
    for number in range(30):
        noise(number).convert("L").convert("RGB").save(tmp_path / f"{number}.png")
    whole = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(whole[: len(whole) // 2])
    data = DataConfig("folder", str(tmp_path))
    assert look(open_source(data), open_source(data, True)).grey
    Image.fromarray(np.full((16, 16, 3), (255, 0, 0), np.uint8)).save(tmp_path / "red.png")
    assert not look(open_source(data), open_source(data, True)).grey


def test_too_few_images_are_named(tmp_path):
    data = DataConfig("folder", str(noisy_folder(tmp_path, 12)))
    with pytest.raises(ConfigError, match=r"data='12 images': too few; give 20 or more"):
        look(open_source(data), open_source(data, True))


def test_what_was_chosen_is_read_back(tmp_path):
    asked, data = OwnImages(seed=3), DataConfig("folder", "photos")
    state = Kept(asked, data, MANY, Costs(0.1, 0.2), chosen(MANY, seed=3))
    keep(tmp_path, state)
    assert kept(tmp_path, dataclasses.replace(asked, resume=True, minutes=7), data) == state
    with pytest.raises(ConfigError, match=r"out='.*': holds an earlier training; add --resume true"):
        kept(tmp_path, asked, data)
    with pytest.raises(ConfigError, match=r"seed=4: the training in .* was begun with 3"):
        kept(tmp_path, OwnImages(seed=4, resume=True), data)
    with pytest.raises(ConfigError, match=r"data='folder others': the training in .* was begun with folder"):
        kept(tmp_path, OwnImages(resume=True), DataConfig("folder", "others"))
    (tmp_path / "chosen.json").write_text('{"chosen": 1}')
    with pytest.raises(ConfigError, match="does not fit this version"):
        kept(tmp_path, OwnImages(resume=True), data)
    shutil.rmtree(tmp_path)
    assert kept(tmp_path, OwnImages(resume=True), data) is None


def test_minutes_that_come_too_late_are_named(tmp_path, capsys):
    asked = OwnImages(minutes=5)
    state = Kept(asked, DataConfig("folder", "photos"), MANY, Costs(0.1, 0.2), chosen(MANY, minutes=5))
    (tmp_path / "config.yaml").write_text("")
    for minutes in (5, 9):
        training = TimedTraining(dataclasses.replace(asked, minutes=minutes), tmp_path, None, lambda: 0.0, {})
        assert in_the_time_left(training, state) is state
        steps = state.chosen.diffusion.train.steps
        assert (f"begun with {steps} steps" in capsys.readouterr().err) == (minutes == 9)


def test_more_minutes_are_offered_only_where_they_would_help(tmp_path):
    asked = OwnImages(minutes=5)
    state = Kept(asked, DataConfig("folder", "photos"), MANY, Costs(0.1, 0.2), chosen(MANY, minutes=5))
    training = TimedTraining(asked, tmp_path, None, lambda: 0.0, {})
    steps = state.chosen.diffusion.train.steps
    for reached, early in ((steps, False), (steps // 2, True)):
        (tmp_path / "log.jsonl").write_text(json.dumps({"step": reached, "loss": 1.0, "seconds": 3.0}) + "\n")
        (tmp_path / "config.yaml").write_text("denoiser: {}\n")
        assert stopped_early(tmp_path, state.chosen) == early
        again = commands(training, state, early)["To change it"]
        assert any("--minutes 10" in line for line in again) != early and len(again) == 3 - early


def test_a_folder_of_nearly_that_name_is_named(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"data='foto'.*did you mean photos\?"):
        data_settings("foto", DataConfig(), DataConfig(), {})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("minutes", -1), ("minutes", float("nan")), ("image_size", -1), ("channels", 5), ("downsampling", 3),
        ("width", 12), ("tokenizer_width", -8), ("depth", -1), ("seed", -1),
    ],
)  # fmt: skip
def test_impossible_wishes_are_named(field, value):
    with pytest.raises(ConfigError, match=rf"^{field}={value}: "):
        OwnImages(**{field: value})


def test_alpha_that_most_images_use_is_kept(tmp_path):
    seen = dataclasses.replace(PHOTOS, side=64, clear=True)
    found = chosen(seen)
    said = {reason.option: reason for reason in found.reasons}
    assert (said["channels"].value, said["start_from"].value) == ("4", "none")
    assert "transparent" in said["channels"].why
    assert values(chosen(dataclasses.replace(FASHION, clear=True)))["channels"] == "2"
    assert values(chosen(seen, channels=3))["channels"] == "3"
    place = transparent.folder(tmp_path / "clear", count=30)
    data = DataConfig("folder", str(place))
    assert look(open_source(data), open_source(data, True)).clear
    for number in range(40):  # alpha that is 255 everywhere is not used
        noise(number).convert("RGBA").save(place / "a" / f"opaque {number}.png")
    assert not look(open_source(data), open_source(data, True)).clear
