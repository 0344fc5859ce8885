"""``d3pm-image train`` and ``d3pm_image.train``: both stages in one call, interrupted and resumed, and the report."""

from __future__ import annotations

import html.parser
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import fails, names, run
from helpers.image_files import noise, noisy_folder
from helpers.runs import environment
from PIL import Image

import d3pm_image
from d3pm_image import DataConfig, Pipeline
from d3pm_image.config.own_images import OwnImages
from d3pm_image.recipes.own_images import budget, choice, report
from d3pm_image.recipes.own_images import train as recipe
from d3pm_image.recipes.own_images.networks import Images, denoiser_run, tokenizer_run
from d3pm_image.recipes.own_images.pace import Measured
from d3pm_image.recipes.own_images.subject import Seen

SMALL = {"width": 16, "depth": 1, "tokenizer_width": 8}


def words(settings: dict) -> list[str]:
    return [word for name, value in settings.items() for word in (f"--{name}", str(value))]


class Page(html.parser.HTMLParser):
    """Tags, addresses and text of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags, self.addresses, self.text = [], [], ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.text += data


def test_a_folder_is_trained_in_the_time_that_is_given(tmp_path, monkeypatch, capsys):
    """Class folders, a file with an odd name; the steps are those that the time holds."""
    monkeypatch.setattr(budget, "START_S", 0.5)
    monkeypatch.setattr(choice, "LEAST_STEPS", 5)
    monkeypatch.setattr(recipe, "Measured", lambda classes, seconds: lambda first, second: 0.2)
    images = noisy_folder(tmp_path / "photos", 24, "{c}/{i}.png")
    for number in range(8):
        noise(number).save(images / "a" / f"<b>{number}&'.png")
    monkeypatch.chdir(tmp_path)
    run("train", "photos", "--minutes", "0.5", *words(SMALL))
    said, out = capsys.readouterr().out, tmp_path / "runs" / "photos"
    assert (
        "chosen for 29 images" in said
        and "of 0.5 minutes" in said
        and "--image-size 16" in said
        and "next:\n  d3pm-image" in said
    )
    assert f"report: {Path('runs/photos/report.html')}" in said and said.count("next:") == 1
    assert {"model", "tokenizer", "grid.png", "inpainting.png", "report.html", "chosen.json"} <= names(out)
    page = Page(out / "report.html")
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert len(page.addresses) == 4 + 2 * 8 and "b" not in page.tags
    assert 'http-equiv="refresh"' not in (out / "report.html").read_text(encoding="utf-8"), "it has ended"
    assert "<b>" in page.text, "the name is shown as it is"
    pipe = Pipeline.from_pretrained(out)
    assert pipe.class_names == ("a", "b", "c") and pipe.metadata["training"]["steps"] >= 5
    run("show", out / "grid.png", "--again", "--out", tmp_path / "again.png")
    assert "every pixel" in capsys.readouterr().out
    line = fails(capsys, "train", "photos")
    assert "out='runs/photos': holds an earlier training; add --resume true" in line
    run("train", "photos", "--resume", "true")
    assert "stage one, the tokenizer: previews" not in capsys.readouterr().out


def test_label_sets_of_a_file_or_of_levels_of_folders(tmp_path, capsys):
    images = noisy_folder(tmp_path / "photos", 24, "{c}/{i}.png")
    (tmp_path / "labels.csv").write_text(
        "file,tone,shape\n"
        + "".join(
            f"{path.relative_to(images)},{('dark', 'light')[i % 2]},round\n"
            for i, path in enumerate(sorted(images.rglob("*.png")))
        )
    )
    steps = ["--tokenizer-steps", "2", "--steps", "2", *words(SMALL)]
    run("train", images, "--labels", f"{tmp_path / 'labels.csv'}:tone,shape", "--out", tmp_path / "a", *steps)
    pipe = Pipeline.from_pretrained(tmp_path / "a")
    assert pipe.label_sets.names == ("tone", "shape")
    assert len(pipe.generate(2, labels="tone=light", steps=1)) == 2
    capsys.readouterr()
    line = fails(capsys, "train", images, "--labels", "group/style", "--out", tmp_path / "b", *steps)
    assert "data.labels='group/style'" in line and not (tmp_path / "b").exists()
    line = fails(
        capsys, "train", images, "--labels", "other/one", "--out", tmp_path / "a", "--resume", "true"
    )
    assert "labels='other/one'" in line


def test_a_pace_is_that_of_real_steps_of_either_stage():
    images = Images.of(Seen(100, 10, 16, True, 0.4, 3), OwnImages(), DataConfig("folder", "photos"))
    first = tokenizer_run(images, OwnImages(tokenizer_width=8), "run")
    second = denoiser_run(images, OwnImages(), "run", (16, 1, 1), {})
    pace = Measured(3, 0.1)
    assert 0 < pace(first, second) < 5 and 0 < pace(first, None) < 5


def test_images_of_a_program_are_trained_and_the_report_is_opened(tmp_path, monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(recipe.webbrowser, "open", shown.append)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 12, 12), np.uint8)
    pixels[7] = pixels[5]
    out = tmp_path / "run"
    pipe = d3pm_image.train(pixels, out=out, tokenizer_steps=3, steps=2, open=True, seed=4, **SMALL)
    assert pipe.tokenizer.channels == 1 and pipe.image_size == (16, 16) and len(pipe.generate(2)) == 2
    assert shown == [(out / "report.html").resolve().as_uri()]
    assert "d3pm_image.train(data, minutes=60" in Page(out / "report.html").text
    assert pipe.metadata["training"]["settings"]["train"]["seed"] == 4
    with pytest.raises(
        TypeError, match=r"train\(\) got an unexpected keyword argument 'widht' \(did you mean"
    ):
        d3pm_image.train(pixels, widht=16)


@pytest.mark.slow
def test_an_interrupted_training_saves_and_goes_on_with_what_was_chosen(tmp_path, capsys):
    pytest.importorskip("sklearn")
    out = tmp_path / "run"
    asked = words({**SMALL, "tokenizer_steps": 40, "steps": 3, "out": out})
    process = subprocess.Popen(
        [sys.executable, "-m", "d3pm_image", "train", "digits", *asked],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    log, deadline = out / "tokenizer" / "log.jsonl", time.monotonic() + 100
    while not (log.is_file() and log.read_text().count("\n")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=100)[1]
    assert process.returncode == 130 and "Traceback" not in errors
    assert "saved, go on with --resume true" in errors.splitlines()[-1]
    page = Page(out / "report.html")
    assert "tokenizer/previews/reconstruction-00000004.png" in page.addresses
    begun = json.loads((out / "chosen.json").read_text())
    line = fails(capsys, "train", "digits", "--out", out, "--resume", "true", "--width", "64")
    assert "width=64: the training in" in line and "was begun with 16" in line
    run("train", "digits", "--out", out, "--resume", "true")
    said = capsys.readouterr().out
    assert "resuming at step" in said and "stage two, the denoiser: 3 steps" in said
    assert (
        json.loads((out / "chosen.json").read_text())["chosen"]["tokenizer"] == begun["chosen"]["tokenizer"]
    )
    assert (out / "model" / "config.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["none"], "data='none': no such folder"),
        (["empty"], "data.root='empty': no readable image among 0 image files"),
        (["few"], "data='12 images': too few; give 20 or more"),
        (["images", "--minutes", "0.01", "--width", "8", "--depth", "1"], "minutes=0.01: leave time for"),
        (["images", "--minutes", "-1"], "minutes=-1.0: give the minutes"),
        (["images", "--image_size", "30", "--downsampling", "4"], "data.image_size=30: not divisible by"),
        (["images", "--start_from", "nothing"], "start_from='nothing': cannot be read"),
        (["images", "--widht", "8"], "widht"),
        (["images", "--out", "other"], "other/tokenizer holds a run that was not begun by this command"),
        (["images", "--out", "other", "--resume"], "holds a run that was not begun by this command"),
    ],
)
def test_wrong_wishes_are_one_line_and_write_nothing(tmp_path, monkeypatch, capsys, arguments, expected):
    (tmp_path / "empty").mkdir()
    noisy_folder(tmp_path / "few", 12)
    noisy_folder(tmp_path / "images", 24)
    (tmp_path / "other" / "tokenizer" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    before = names(tmp_path)
    assert expected in fails(capsys, "train", *arguments)
    assert names(tmp_path) == before


def test_several_processes_are_told_what_to_use(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "use train-tokenizer and train-diffusion" in fails(capsys, "train", noisy_folder(tmp_path, 24))


def test_near_copies_are_marked_and_names_are_text():
    image = Image.new("L", (8, 8))
    one = report.Pair(image, image, "<script>alert(1)</script>", 0.5, near=True)
    found = report.pair(one)
    assert "<script>" not in found and "&lt;script&gt;" in found and '<figure class="near">' in found
    results = report.Results(Path("a"), Path("b"), (one,), 1, 40, 500, 3.0)
    assert "1 of 40 new images is a near-copy of a training image" in report.copies(results)
