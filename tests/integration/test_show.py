"""Images that say how they were made: read in words, and made again to the same pixels."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers.command_line import fails, run
from PIL import Image

from d3pm_image import Pipeline
from d3pm_image.config import ConfigError
from d3pm_image.imaging import save_image
from d3pm_image.provenance import mask_of, mask_text, origin, read_settings


def pixels(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_mask_comes_back_from_its_text():
    mask = np.random.default_rng(0).random((31, 18)) < 0.3
    assert np.array_equal(np.asarray(mask_of(mask_text(mask))), mask)
    for text in ("", "no base 64", "aGVsbG8=", 5, None):
        with pytest.raises(ConfigError, match="mask="):
            mask_of(text)


def test_weights_are_known_by_their_values(model, tmp_path):
    pipe = Pipeline.from_pretrained(model)
    before = origin(pipe.tokenizer, pipe.denoiser)
    again = Pipeline.from_pretrained(pipe.save_pretrained(tmp_path / "copy"))
    assert origin(again.tokenizer, again.denoiser) == before
    next(again.denoiser.parameters()).data.view(-1)[0] += 1
    assert origin(again.tokenizer, again.denoiser)["weights_sha256"] != before["weights_sha256"]


def test_show_speaks_in_words_and_in_json(model, tmp_path, capsys):
    run(
        "generate",
        model,
        "--num-images",
        2,
        "--labels",
        "4",
        "--seed",
        7,
        "--temperature",
        0.9,
        "--out",
        tmp_path / "many",
    )
    capsys.readouterr()
    run("show", tmp_path / "many" / "0001-seed7-4.png")
    text = capsys.readouterr().out
    for word in (
        "a new image (generate)",
        model.name,
        "weights",
        "7, image number 1",
        "steps",
        "temperature 0.9",
    ):
        assert word in text
    run("show", tmp_path / "many" / "0001-seed7-4.png", "--json")
    metadata = json.loads(capsys.readouterr().out)
    assert metadata["number"] == 1 and metadata["label"] == "4" and len(metadata["weights_sha256"]) == 64


CASES = {
    "grid": [
        "generate",
        "--num-images",
        "3",
        "--labels",
        "2,none",
        "--seed",
        "5",
        "--columns",
        "2",
        "--out",
        "{0}/made.png",
    ],
    "later grid": [
        "generate",
        "--num-images",
        "2",
        "--first",
        "3",
        "--captions",
        "false",
        "--out",
        "{0}/made.png",
    ],
    "box": [
        "inpaint",
        "{0}/image.png",
        "--box",
        "4,4,9,9",
        "--labels",
        "3",
        "--feather",
        "1",
        "--out",
        "{0}/made.png",
    ],
    "mask": [
        "edit",
        "{0}/image.png",
        "{0}/mask.png",
        "--label",
        "3",
        "--strength",
        "0.6",
        "--out",
        "{0}/made.png",
    ],
    "sheet": ["vary", "{0}/image.png", "--variants", "2", "--out", "{0}/made.png"],
    "outpaint": [
        "outpaint",
        "{0}/image.png",
        "--left",
        "5",
        "--seed",
        "2",
        "--sampler",
        "ancestral",
        "--out",
        "{0}/made.png",
    ],
    "interpolation": [
        "interpolate",
        "{0}/image.png",
        "{0}/mask.png",
        "--frames",
        "3",
        "--labels",
        "1,none",
        "--out",
        "{0}/made.png",
    ],
}


@pytest.mark.parametrize("case", CASES)
def test_images_are_made_again_to_the_same_pixels(model, image_file, tmp_path, case, capsys):
    command, *words = CASES[case]
    run(command, model, *(word.format(tmp_path) for word in words))
    if case == "mask":
        image_file[1].unlink()  # the result carries it
    before = sorted(tmp_path.iterdir())
    run("show", tmp_path / "made.png", "--again", "true", "--out", tmp_path / "new" / "again.png")
    assert "every pixel is as in made.png" in capsys.readouterr().out
    assert np.array_equal(pixels(tmp_path / "made.png"), pixels(tmp_path / "new" / "again.png"))
    assert read_settings(tmp_path / "made.png") == read_settings(tmp_path / "new" / "again.png")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["again.png"] and sorted(
        tmp_path.iterdir()
    ) == sorted([*before, tmp_path / "new"])


def test_single_images_and_variants_are_made_again(model, image_file, tmp_path, capsys):
    run("generate", model, "--num-images", 3, "--seed", 5, "--out", tmp_path / "many")
    run(
        "inpaint",
        model,
        image_file[0],
        "--box",
        "4,4,9,9",
        "--variants",
        3,
        "--first",
        2,
        "--out",
        tmp_path / "v.png",
    )
    for made in (tmp_path / "many" / "0002-seed5-2.png", tmp_path / "v-3.png"):
        run("show", made, "--again")
        assert "every pixel is as in" in capsys.readouterr().out
        assert np.array_equal(pixels(made), pixels(made.with_name(f"{made.stem}-again.png")))


def test_what_is_missing_is_said_and_nothing_written(model, trained, image_file, tmp_path, capsys):
    image, _ = image_file
    run("inpaint", model, image, "--box", "4,4,9,9", "--out", tmp_path / "made.png")
    with Image.open(image) as source:
        source.transpose(Image.Transpose.ROTATE_180).save(tmp_path / "other.png")
    image.rename(tmp_path / "moved.png")
    Image.new("L", (4, 4)).save(tmp_path / "bare.png")
    Image.new("L", (4, 4)).save(tmp_path / "a.jpg")
    (tmp_path / "text.png").write_text("no image")
    save_image(Image.new("L", (4, 4)), tmp_path / "foreign.png", {"command": "evaluate"})
    save_image(
        Image.new("L", (4, 4)), tmp_path / "odd.png", {"command": "generate", "model": "m", "steps": [1]}
    )
    pipe = Pipeline.from_pretrained(model)
    next(pipe.denoiser.parameters()).data.view(-1)[0] += 1
    pipe.save_pretrained(tmp_path / "other-model")
    before = sorted(tmp_path.rglob("*"))
    moved = ["--inputs", tmp_path / "moved.png"]
    for words, text in (
        (["made.png", "--again"], "image.png': is an input, and is not beside the image"),
        (["made.png", "--again", "--inputs", tmp_path / "other.png"], "its content differs"),
        (["made.png", "--again", "--inputs", tmp_path / "none.png"], "no such file"),
        (["made.png", "--again", *moved, "--model", tmp_path / "other-model"], "other weights"),
        (["made.png", "--again", *moved, "--model", tmp_path / "nowhere"], "no such folder"),
        (
            ["made.png", "--again", *moved, "--out", tmp_path / "made.png"],
            "would overwrite the image itself",
        ),
        (
            ["made.png", "--again", *moved, "--out", tmp_path / "moved.png"],
            "would overwrite an image that is read",
        ),
        (["made.png", "--again", *moved, "--out", tmp_path / "o.jpg"], "use the ending .png"),
        (["made.png", "--out", tmp_path / "o.png"], "is for --again true only"),
        (["made.png", "--again", "--json"], "leave out one"),
        (["bare.png"], "carries no settings"),
        (["a.jpg"], "only PNGs carry"),
        (["text.png"], "not a readable image"),
        (["none.png"], "no such file"),
        (["foreign.png", "--again"], "cannot be run again"),
        (["odd.png", "--again"], "damaged"),
    ):
        assert text in fails(capsys, "show", tmp_path / words[0], *words[1:])
    assert sorted(tmp_path.rglob("*")) == before
    run("show", tmp_path / "made.png", "--again", *moved)
    assert "every pixel" in capsys.readouterr().out
