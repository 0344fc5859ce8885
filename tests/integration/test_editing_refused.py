"""Wrong requests to the editing commands: one line each, and nothing is written."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import fails, run
from helpers.odd_images import make_image as random_image
from PIL import Image

BOX = (3, 2, 5, 4)
HIDDEN = np.zeros((9, 13), bool)
HIDDEN[BOX[1] : BOX[1] + BOX[3], BOX[0] : BOX[0] + BOX[2]] = True
AREA = "--box=" + ",".join(map(str, BOX))
COMMANDS = {
    "inpaint": [AREA],
    "edit": [AREA, "--label", "3"],
    "vary": [AREA, "--variants", "1"],
    "outpaint": ["--left", "3", "--bottom", "2"],
    "tile": [],
}


def broken_models(folder: Path, trained: Path) -> dict[str, Path]:
    """A folder without a model, a tokenizer alone, and a model whose tokenizer is missing."""
    (folder / "empty").mkdir()
    half = folder / "half"
    shutil.copytree(trained / "diffusion" / "model", half)
    shutil.rmtree(half / "tokenizer")
    return {
        "empty": folder / "empty",
        "tokenizer": trained / "tokenizer",
        "half": half,
        "none": folder / "none",
    }


WRONG = {
    "wrong label": (["--labels", "12"], "label"),
    "two labels": (["--labels", "1,2"], "give one class"),
    "negative seed": (["--seed", "-1"], "seed=-1"),
    "ring": (["--ring", "-1"], "ring=-1"),
    "feather": (["--feather", "-2"], "feather=-2"),
    "window": (["--window", "tile"], "window"),
    "variants": (["--variants", "0"], "variants=0"),
    "steps": (["--steps", "500"], "steps=500"),
    "unknown option": (["--boxx", "1,2,3,4"], "no such option"),
    "option without value": (["--seed"], "seed"),
    "one image too many": (["a.png", "b.png"], "one word too many"),
    "unknown ending": (["--out", "o.xyz"], "use an ending such as .png"),
    "no ending": (["--out", "o"], "use an ending such as .png"),
    "out is the input": (["--out", "RGB.png"], "would overwrite an image that is read"),
    "out is the input by another way": (
        ["--out", "../{here}/RGB.png"],
        "would overwrite an image that is read",
    ),
    "trajectory over the input": (["--trajectory", "in.gif"], "would overwrite an image that is read"),
    "trajectory over the output": (["--trajectory", "o.webp", "--out", "o.webp"], "would overwrite out"),
    "trajectory ending": (["--trajectory", "o.mp4"], "use an ending of .gif or .webp"),
    "device": (["--device", "tpu"], "device='tpu'"),
}
AREAS = {
    "bad box": (["--box", "1,2,3"], "box='1,2,3': give x,y,width,height"),
    "box without height": (["--box", "1,2,3,0"], "box='1,2,3,0'"),
    "box outside": (["--box", "13,0,5,5"], "lies outside the image, which is 13x9 pixels"),
    "bad polygon": (["--polygon", "1,2 3,4"], "polygon='1,2 3,4': give three corners"),
    "polygon outside": (["--polygon", "50,50 60,50 55,60"], "lies outside the image"),
    "mask of another size": (["small.png"], "must have the image's size 13x9"),
    "missing mask": (["no-mask.png"], "mask='no-mask.png': no such file"),
    "mask that is text": (["text.png"], "mask='text.png': not a readable image"),
    "black mask": (["black.png"], "marks no pixel"),
    "alpha of an opaque image": (["alpha"], "has no transparency"),
    "out is the mask": (["mask.png", "--out", "mask.png"], "would overwrite an image that is read"),
    "a variant is the mask": (
        ["v-2.png", "--out", "v.png", "--variants", "3"],
        "would overwrite an image that is read",
    ),
}
OWN = {
    "inpaint": {"no region": ([], "give a mask image, --box, --polygon, or the word alpha")},
    "edit": {
        "no region": (["--label", "3"], "give a mask image"),
        "no label": ([AREA], "label='': name one class"),
        "label none": ([AREA, "--label", "none"], "name the class"),
        "strength": ([AREA, "--label", "3", "--strength", "1.5"], "strength=1.5"),
    },
    "vary": {"strength": (["--strength", "-0.1"], "strength=-0.1")},
    "tile": {
        "axis": (["--axis", "z"], "axis"),
        "band too wide": (["--width", "8"], "width=8"),
        "band too narrow": (["--width", "1"], "width=1"),
        "preview over the image": (["--preview", "RGB.png"], "would overwrite an image that is read"),
        "preview over the output": (["--preview", "o.png", "--out", "o.png"], "would overwrite out"),
        "preview ending": (["--preview", "o.xyz"], "use an ending such as .png"),
        "no mask": (["--box", "1,2,3,4"], "no such option"),
    },
    "outpaint": {
        "nothing to add": ([], "give pixels to add"),
        "negative": (["--left", "-4"], "left=-4"),
        "far too much": (["--left", "20000"], "left=20000"),
        "too much": (["--left", "10000", "--right", "10000", "--top", "9000"], "pixels are too many"),
    },
}
CASES = [(c, n, [*COMMANDS[c], *words], text) for c in COMMANDS for n, (words, text) in WRONG.items()]
CASES += [(c, n, [*(["--label", "3"] if c == "edit" else []), *words], text) for c in ("inpaint", "edit", "vary") for n, (words, text) in AREAS.items()]  # fmt: skip
CASES += [(c, n, words, text) for c in OWN for n, (words, text) in OWN[c].items()]


@pytest.fixture
def wrong_place(tmp_path, monkeypatch):
    """A folder to stand in, with good and bad images."""
    random_image("RGB").save(tmp_path / "RGB.png")
    random_image("RGB").save(tmp_path / "in-sheet.png")
    Image.new("L", (7, 7), 255).save(tmp_path / "small.png")
    Image.new("L", (13, 9)).save(tmp_path / "black.png")
    for name in ("mask.png", "v-2.png"):
        Image.new("L", (13, 9), 255).save(tmp_path / name)
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "cut.png").write_bytes((tmp_path / "RGB.png").read_bytes()[:150])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(("command", "case", "words", "text"), CASES, ids=[f"{c}-{n}" for c, n, *_ in CASES])
def test_wrong_requests_are_one_line_and_write_nothing(
    model, wrong_place, capsys, command, case, words, text
):
    if command == "edit" and "--labels" in words:
        words = [w.replace("--labels", "--label") for w in words]
    image = "in-sheet.png" if case == "trajectory over the input" else "RGB.png"
    before = contents(wrong_place)
    assert text in fails(capsys, command, model, image, *(w.format(here=wrong_place.name) for w in words))
    assert contents(wrong_place) == before


@pytest.mark.parametrize("command", [*COMMANDS, "interpolate"])
def test_bad_files_and_models_are_one_line_and_write_nothing(trained, wrong_place, capsys, command):
    model, words = trained / "diffusion", COMMANDS.get(command, ["RGB.png"])
    models = broken_models(wrong_place, trained)
    before = contents(wrong_place)
    for name, text in (
        ("none.png", "no such file"),
        ("text.png", "not a readable image"),
        ("cut.png", "not a readable image"),
    ):
        assert text in fails(capsys, command, model, name, *words)
    for name, path in models.items():
        line = fails(capsys, command, path, "RGB.png", *words)
        assert {"half": "tokenizer", "none": "no such folder"}.get(name, "holds no trained pipeline") in line
    assert contents(wrong_place) == before


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["none.png"], "b='none.png': no such file"),
        (["mask.png", "--frames", "1"], "frames=1"),
        (["mask.png", "--strength", "2"], "strength=2"),
        (["mask.png", "--labels", "1,2,3"], "labels='1,2,3'"),
        (["mask.png", "--labels", "12"], "labels=12"),
        (["mask.png", "--frame-ms", "1"], "frame_ms=1"),
        (["mask.png", "--out", "mask.png"], "would overwrite an image that is read"),
        (["mask.png", "--out", "o.xyz"], "use an ending"),
        (["mask.png", "--trajectory", "a.gif", "--out", "a.gif"], "would overwrite out"),
    ],
)
def test_wrong_interpolations_are_one_line_and_write_nothing(model, wrong_place, capsys, words, text):
    before = contents(wrong_place)
    assert text in fails(capsys, "interpolate", model, "RGB.png", *words)
    assert contents(wrong_place) == before


def test_reconstruct_reads_like_the_others(model, wrong_place, capsys):
    for words, text in (
        (["RGB.png", "--out", "RGB.png"], "would overwrite"),
        (["text.png"], "images='text.png': not a readable image"),
    ):
        assert text in fails(capsys, "reconstruct", model, *words)
    exif = Image.Exif()
    exif[0x0112] = 6
    random_image("I;16").save("deep.tif", exif=exif)
    run("reconstruct", model, "deep.tif,RGB.png", "--out", "r.png")
    assert Image.open("r.png").width > 128
