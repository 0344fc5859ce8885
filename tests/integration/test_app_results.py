"""The page behind the page with a trained model: its results are those of the pipeline and of the command."""

from __future__ import annotations

import importlib.util
import threading
import zipfile

import numpy as np
import pytest
from helpers.command_line import fails, run
from helpers.masked import layer
from PIL import Image

from d3pm_image import Pipeline
from d3pm_image.app.canvas_mask import displayed, painted
from d3pm_image.app.page_model import Finished, PageModel, PageRequest, Progress, open_upload
from d3pm_image.config import ConfigError
from d3pm_image.editing.image_files.files import open_image_file
from d3pm_image.provenance import read_settings


@pytest.fixture
def page_model(trained, tmp_path):
    (tmp_path / "shelf").mkdir()
    return PageModel(
        Pipeline.from_pretrained(trained / "diffusion"), str(trained / "diffusion"), tmp_path / "shelf"
    )


def finished(seen) -> tuple[list[Progress], Finished]:
    *steps, last = seen
    assert isinstance(last, Finished) and all(isinstance(step, Progress) for step in steps)
    return steps, last


def test_generated_images_are_those_of_the_pipeline_and_carry_their_settings(page_model):
    steps, last = finished(
        page_model.generate(PageRequest("3", 2, 7, {"steps": 3, "sampler": "halton"}), threading.Event())
    )
    wanted = page_model.pipe.generate(2, [3], seed=7, steps=3, sampler="halton")
    assert all(
        np.array_equal(np.asarray(Image.open(p)), np.asarray(w))
        for p, w in zip(last.paths, wanted, strict=True)
    )
    metadata = read_settings(last.paths[1])
    assert (
        metadata["command"] == "generate"
        and metadata["number"] == 1
        and metadata["label"] == "3"
        and metadata["steps"] == 3
    )
    assert steps and steps[-1].steps == 3 and min(steps[-1].image.size) >= 96
    with zipfile.ZipFile(last.download) as bundle:
        assert (
            bundle.namelist() == [p.name for p in last.paths]
            and bundle.read(last.paths[0].name) == last.paths[0].read_bytes()
        )


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16", "P"])
def test_an_inpainted_image_keeps_size_mode_and_all_that_was_not_painted(page_model, tmp_path, mode):
    noise = np.random.default_rng(0).integers(0, 256, (17, 23, 3), np.uint8)
    image = (
        Image.fromarray(noise[..., 0].astype(np.uint16) * 200)
        if mode == "I;16"
        else Image.fromarray(noise).convert(mode)
    )
    image.save(tmp_path / "own.png")
    mask = painted(layer(displayed(image).size, (100, 100, 200, 180)), image.size)
    _, last = finished(
        page_model.inpaint(
            open_upload(str(tmp_path / "own.png")),
            mask,
            0,
            PageRequest("", 1, 3, {"steps": 2}),
            threading.Event(),
        )
    )
    before, after = open_image_file(tmp_path / "own.png").image, Image.open(last.paths[0])
    assert (
        (after.mode, after.size) == (before.mode, before.size)
        and last.download == last.paths[0]
        and not last.notes
    )
    one, other = (
        np.asarray(before.convert("RGBA") if mode == "P" else before),
        np.asarray(after.convert("RGBA") if mode == "P" else after),
    )
    assert np.array_equal(one[~mask], other[~mask]) and not np.array_equal(one[mask], other[mask])


def test_what_the_page_makes_the_command_makes_again(page_model, tmp_path, capsys):
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (17, 23), np.uint8)).save(tmp_path / "own.png")
    source, how = (
        open_upload(str(tmp_path / "own.png")),
        PageRequest("2", 2, 5, {"steps": 3, "guidance": 2.0}),
    )
    mask = painted(layer((230, 170), (50, 50, 120, 100)), (23, 17))
    stop = threading.Event
    made = [
        *finished(page_model.generate(how, stop()))[1].paths,
        finished(page_model.inpaint(source, mask, 1, how, stop()))[1].paths[1],
        finished(page_model.outpaint(source, {"left": 4, "top": 0, "right": 0, "bottom": 3}, how, stop()))[
            1
        ].paths[1],
        finished(page_model.vary(source, 0.6, how, stop()))[1].paths[0],
    ]
    for path in made:
        run(
            "show",
            path,
            "--again",
            "--out",
            tmp_path / "again.png",
            *(["--inputs", tmp_path / "own.png"] if path not in made[:2] else []),
        )
        assert "every pixel is as in" in capsys.readouterr().out, path.name
        assert not any(str(tmp_path) in str(v) for k, v in read_settings(path).items() if k != "model")


def test_the_tokenizer_view_shows_image_codes_and_reconstruction(page_model, tmp_path):
    Image.new("RGB", (40, 30), "white").save(tmp_path / "own.png")
    images, text = page_model.tokens(open_upload(str(tmp_path / "own.png")))
    assert (
        len(images) == 3
        and all(min(p.size) >= 300 for p in images)
        and "4×4 codes" in text
        and "mean squared error" in text
    )


def test_results_of_an_hour_ago_go(page_model, monkeypatch):
    first = page_model.shelf.place()
    second = page_model.shelf.place()
    assert first.is_dir() and first != second
    later = second.stat().st_mtime + 3601
    monkeypatch.setattr("d3pm_image.app.files.time.time", lambda: later)
    third = page_model.shelf.place()
    assert not first.exists() and not second.exists() and third.is_dir()


def test_wrong_input_is_said_without_places_of_this_machine(page_model, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    Image.new("L", (9, 9)).save(tmp_path / "own.png")
    source = open_upload(str(tmp_path / "own.png"))
    for work, text in (
        (lambda: open_upload(None), "choose an image first"),
        (lambda: open_upload(str(tmp_path / "text.png")), "not a readable image"),
        (lambda: PageRequest("", 0), "ask for 1 to 64"),
        (lambda: PageRequest("", 1, -1), "whole number"),
        (lambda: list(page_model.generate(PageRequest("12"), threading.Event())), "use 0 to 9"),
        (
            lambda: list(page_model.generate(PageRequest("", 1, 0, {"steps": 5000}), threading.Event())),
            "steps",
        ),
        (
            lambda: list(
                page_model.outpaint(
                    source,
                    dict.fromkeys(("left", "top", "right", "bottom"), 0),
                    PageRequest(),
                    threading.Event(),
                )
            ),
            "pixels to add",
        ),
        (
            lambda: list(
                page_model.outpaint(
                    source, {"left": -1, "top": 9, "right": 0, "bottom": 0}, PageRequest(), threading.Event()
                )
            ),
            "0 to 10000",
        ),
        (lambda: list(page_model.vary(source, 2.0, PageRequest(), threading.Event())), "noise level"),
    ):
        with pytest.raises(ConfigError, match=text) as error:
            work()
        assert str(tmp_path) not in str(error.value)


@pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="needs the extra app")
def test_wrong_options_are_one_line(trained, tmp_path, capsys):
    for words, text in ((["--port", "70000"], "port=70000"), (["--host", ""], "host"), (["--device", "tpu"], "device"), (["--precision", "x"], "precision")):  # fmt: skip
        assert text in fails(capsys, "app", trained / "diffusion", *words)
    assert "no such folder" in fails(capsys, "app", tmp_path / "none")
