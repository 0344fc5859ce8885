"""Every finding from a made-up log, file or image; and silence over a healthy run."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import transparent
from helpers.doctor import doctor, names
from PIL import Image

from d3pm_image.config import DataConfig
from d3pm_image.data.facing import facing
from d3pm_image.data.sources import open_source
from d3pm_image.diagnostics import examine, examine_images
from d3pm_image.diagnostics.log import Log, examine_log
from d3pm_image.diagnostics.run import read_log

TRAIN = {"steps": 1000, "warmup_steps": 50, "log_every": 20, "clip": 1.0, "checkpoint_every": 500, "keep": 2}
CODES = 512


def step_lines(
    loss: Callable[[float], float], steps: int = 1000, **columns: Callable[[float], float]
) -> list[dict]:
    """Lines of a run whose loss is a function of its progress in [0, 1], with 5 % noise."""
    random = np.random.default_rng(0)
    lines = []
    for step in (1, *range(20, steps + 1, 20)):
        share = step / 1000
        line = {
            "step": step,
            "loss": loss(share) * (1 + 0.05 * random.standard_normal()),
            "grad_norm": 0.5,
            "data_wait": 0.01,
        }
        lines.append(line | {name: value(share) for name, value in columns.items()})
    return lines


def falling(share: float) -> float:
    return 2.5 + 3.5 * math.exp(-4 * share)


def validations(*scores: float, **columns: float) -> list[dict]:
    return [{"step": (i + 1) * 1000 // len(scores), "val_score": s, **columns} for i, s in enumerate(scores)]


def look(
    lines: list[dict],
    vals: list[dict] | None = None,
    codes: int = CODES,
    damaged: list[int] | None = None,
    **train,
) -> set[str]:
    return names(examine_log(Log(lines, vals or [], damaged or []), {**TRAIN, **train}, codes))


def test_a_healthy_log_is_silent():
    bound = {"bound_nats": lambda share: 6.2 - 2 * share}
    assert look(step_lines(falling, **bound), validations(5.5, 5.2, 5.1, 5.1)) == set()
    assert look(step_lines(falling), validations(0.1, 0.09, val_codes_used=500, val_perplexity=380)) == set()
    assert look(step_lines(lambda share: 3.0)) == set()  # noise about a level is no trend


def test_a_run_that_is_mostly_warm_up():
    assert look(step_lines(falling, 60), steps=60, warmup_steps=100) == {"short"}
    assert look(step_lines(falling, 60), steps=60, warmup_steps=31) == {"short"}
    assert look(step_lines(falling, 60), steps=60, warmup_steps=30) == set()


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["loss", "grad_norm"])
def test_a_loss_that_is_no_number(name, value):
    lines = step_lines(falling)
    lines[20][name] = value
    assert look(lines) == {"not_finite"}


def test_a_rising_loss():
    found = examine_log(Log(step_lines(lambda share: 3 + 4 * (share - 0.4) ** 2 * 4), [], []), TRAIN, CODES)
    assert (
        names(found) == {"rising_loss"}
        and 300 <= int(found[0].text.split("about step ")[1].split(",")[0]) <= 500
    )


def test_a_loss_that_still_guesses():
    guess = math.log(CODES)
    assert look(step_lines(lambda share: 5.2, bound_nats=lambda share: guess)) == {"not_learning"}
    assert look(step_lines(lambda share: 5.2, bound_nats=lambda share: 0.9 * guess)) == set()
    assert (
        look(
            step_lines(lambda share: 5.2, steps=80, bound_nats=lambda share: guess), steps=80, warmup_steps=20
        )
        == set()
    )  # too early to say


def test_overfitting_is_validation_that_rises_while_training_falls():
    assert look(step_lines(falling), validations(5.5, 5.0, 5.2, 5.4)) == {"overfitting"}
    assert look(step_lines(falling), validations(5.5, 5.0, 5.02, 5.01)) == set()  # noise
    worse = step_lines(lambda share: 3.0 + share / 2)  # training gets worse too: that is something else
    assert "overfitting" not in look(worse, validations(5.5, 5.0, 5.2, 5.4))


def test_a_collapsed_codebook():
    assert look(step_lines(falling), validations(0.1, 0.1, val_codes_used=100, val_perplexity=80)) == {
        "codebook_collapse"
    }
    assert look(step_lines(falling), validations(0.1, 0.1, val_codes_used=500, val_perplexity=20)) == {
        "codebook_collapse"
    }


def test_waiting_for_data():
    assert look(step_lines(falling, data_wait=lambda share: 0.4)) == {"data_wait"}
    assert (
        look(step_lines(falling, data_wait=lambda share: 0.4 if share < 0.2 else 0.01)) == set()
    )  # workers that start


def test_gradients_that_are_always_clipped():
    assert look(step_lines(falling, grad_norm=lambda share: 50.0)) == {"always_clipped"}
    slightly = examine_log(Log(step_lines(falling, grad_norm=lambda share: 2.0), [], []), TRAIN, CODES)
    assert names(slightly) == set() and "always_clipped" in names(slightly, wrong=False)
    assert look(step_lines(falling, grad_norm=lambda share: 50.0), clip=0.0) == set()


def test_gaps_repeats_and_other_runs_in_the_log():
    lines = step_lines(falling)
    assert look(lines[:10] + lines[12:]) == {"log_gap"}
    assert look(lines[:10] + lines[8:]) == {"log_repeats"}
    assert look(lines, steps=500) == {"log_past_end"}
    assert look(lines, damaged=[7]) == {"log_damaged"}


def test_a_run_that_could_go_on():
    found = examine_log(Log(step_lines(falling), validations(6, 5.5, 5.0), []), TRAIN, CODES)
    assert names(found) == set() and "could_go_on" in names(found, wrong=False)


def test_half_lines_count_only_before_the_end(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(
        '{"step": 1, "loss": 2}\nxx\n{"step": 20, "loss": NaN}\n{"step": 20, "val_score": 3}\n{"st',
        encoding="utf-8",
    )
    log = read_log(path)
    assert [line["step"] for line in log.steps] == [1, 20] and math.isnan(log.steps[1]["loss"])
    assert len(log.validations) == 1 and log.damaged == [2]


def make_image(path: Path, seed: int, size: tuple[int, int] = (40, 40), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)).convert(
        mode
    ).save(path)


@pytest.fixture
def images(tmp_path):
    """120 colour images of 40 pixels in two classes."""
    for i in range(120):
        make_image(tmp_path / "photos" / "ab"[i % 2] / f"{i}.png", i)
    return tmp_path / "photos"


def test_good_images_are_silent_and_get_a_command(images):
    found = examine_images(images)
    assert names(found) == set()
    begin = found[-1]
    assert (
        "--data.image_size 40 --data.channels 3 --data.flip true" in begin.hint and str(images) in begin.hint
    )


def test_faults_of_images_are_found(images):
    def after(change: Callable[[], None]) -> set[str]:
        before = names(examine_images(images), wrong=False)
        change()
        return names(examine_images(images), wrong=False) - before

    assert after(lambda: (images / "a/broken.png").write_bytes(b"no image")) == {"unreadable"}
    assert after(
        lambda: [shutil.copy(images / "a/0.png", images / f"b/copy{i}.png") for i in range(5)] and None
    ) == {"duplicates"}
    assert after(
        lambda: [make_image(images / f"a/small{i}.png", 500 + i, (9, 9)) for i in range(9)] and None
    ) == {"tiny", "mixed_sizes"}
    assert after(lambda: make_image(images / "a/grey.png", 900, mode="L")) == {"mixed_colour"}
    assert after(lambda: make_image(images / "a/opaque.png", 901, mode="RGBA")) == set()
    assert after(lambda: transparent.icons(1, 40)[0].save(images / "a/clear.png")) == {"transparency"}
    assert after(lambda: [make_image(images / f"c/{i}.png", 600 + i) for i in range(3)] and None) == {
        "imbalance"
    }
    assert after(lambda: make_image(images / "loose.png", 700)) == {"loose_files"}
    assert after(
        lambda: [make_image(images / f"a/wide{i}.png", 800 + i, (400, 40)) for i in range(200)] and None
    ) == {"far_from_square"}


@pytest.mark.parametrize("mode, channels", [("RGBA", 4), ("LA", 2)])
def test_images_with_transparent_parts_are_suggested_alpha(tmp_path, mode, channels):
    begin = examine_images(transparent.folder(tmp_path, mode=mode, count=30, side=40))[-1]
    assert f"--data.channels {channels} " in begin.hint


def test_few_grey_images_without_classes(tmp_path):
    for i in range(30):
        make_image(tmp_path / f"{i}.png", i, mode="L")
    found = examine_images(tmp_path)
    assert names(found) == {"too_few"} and "no_classes" in names(found, wrong=False)
    assert "--data.channels 1" in found[-1].hint


def test_one_class_is_none(tmp_path):
    for i in range(101):
        make_image(tmp_path / "only" / f"{i}.png", i)
    assert "one_class" in names(examine_images(tmp_path), wrong=False)


def test_facing_tells_digits_from_images_without_a_side():
    """Digits change their meaning in the mirror; digits of which every second one is mirrored do not."""
    source = open_source(DataConfig(source="digits", image_size=8, channels=1))
    thumbs = np.stack([np.asarray(source.load(i), np.float32) for i in range(1000)])
    classes = [str(label) for label in source.labels[:1000]]
    assert facing(thumbs, classes) > 0.2
    mixed = thumbs.copy()
    mixed[::2] = mixed[::2, :, ::-1]
    assert facing(mixed, classes) < 0.03
    assert facing(np.ones((5, 4, 4), np.float32), None) == 0


def test_exit_codes_and_words(images, tmp_path, capsys):
    assert doctor(images, "--out", tmp_path / "found.json") == 0
    assert "no problems found" in capsys.readouterr().out
    assert json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))["kind"] == "images"
    (images / "a/broken.png").write_bytes(b"no image")
    assert doctor(images) == 1
    printed = capsys.readouterr().out
    assert "1 problem found" in printed and "a/broken.png" in printed
    assert doctor(images, "--limit", 40) in (0, 1) and "40 of 121" in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    assert doctor(tmp_path / "empty") == 2 and doctor(tmp_path / "nowhere") == 2
    assert "neither a run nor images" in capsys.readouterr().err


def test_a_training_of_both_stages_is_a_run_from_its_beginning(tmp_path):
    """Not a folder of images, though previews lie in it."""
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "log.jsonl").write_text("")
    make_image(tmp_path / "tokenizer" / "preview.png", 0)
    assert examine(str(tmp_path))[0] == "images"
    (tmp_path / "chosen.json").write_text("{}")
    assert examine(str(tmp_path))[0] == "run"
