"""The editing commands as a user meets them: pictures of every mode in and out, one-line errors, nothing half-written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import fails, run
from helpers.pictures import FILES, seen
from helpers.pictures import picture as random_picture
from PIL import Image

from d3pm_image import Box, Pipeline
from d3pm_image import cli as commands
from d3pm_image.editing.image_files.files import read_picture

BOX = (3, 2, 5, 4)
HIDDEN = np.zeros((9, 13), bool)
HIDDEN[BOX[1] : BOX[1] + BOX[3], BOX[0] : BOX[0] + BOX[2]] = True
AREA = "--box=" + ",".join(map(str, BOX))
COMMANDS = {
    "inpaint": [AREA],
    "edit": [AREA, "--label", "3"],
    "vary": [AREA, "--variants", "1"],
    "outpaint": ["--left", "3", "--bottom", "2"],
}


def notes(capsys) -> list[str]:
    """What a command said on stderr, but for the colours that its grey model does not know."""
    return [line for line in capsys.readouterr().err.strip().splitlines() if "grey pictures only" not in line]


@pytest.fixture
def place(tmp_path):
    """A folder with a picture of every kind of file."""
    for name, (image, options) in FILES.items():
        image.save(tmp_path / name, **options)
    return tmp_path


def known(command: str, array: np.ndarray) -> np.ndarray:
    """The pixels of a result that must be the original's."""
    return array[:9, 3:].reshape(-1, *array.shape[2:]) if command == "outpaint" else array[~HIDDEN]


@pytest.mark.parametrize("name", FILES)
def test_inpainting_keeps_mode_format_size_and_every_known_pixel(model, place, name, capsys):
    run("inpaint", model, place / name, AREA)
    assert not notes(capsys)
    before = read_picture(place / name)
    after = read_picture(place / f"{Path(name).stem}-inpainted{Path(name).suffix}")
    assert (after.kind, after.image.mode, after.image.size) == (
        before.kind,
        before.image.mode,
        before.image.size,
    )
    one, other = np.asarray(before.image), np.asarray(after.image)
    assert (
        one.dtype == other.dtype
        and np.array_equal(one[~HIDDEN], other[~HIDDEN])
        and not np.array_equal(one[HIDDEN], other[HIDDEN])
    )


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["1.png", "P key.png", "RGBA.png", "I16.tif", "P.gif"])
def test_every_command_keeps_the_known_pixels(model, place, command, name):
    run(command, model, place / name, *COMMANDS[command], "--out", place / f"out{Path(name).suffix}")
    before, after = read_picture(place / name), read_picture(place / f"out{Path(name).suffix}")
    assert after.image.mode == before.image.mode
    assert after.image.size == ((16, 11) if command == "outpaint" else (13, 9))
    whole = np.ones((9, 13), bool) if command == "outpaint" else ~HIDDEN
    assert np.array_equal(np.asarray(before.image)[whole], known(command, np.asarray(after.image)))
    if before.image.mode[0] != "I":
        assert np.array_equal(seen(before.image)[whole], known(command, seen(after.image)))


def test_shell_and_python_give_the_same_pixels(model, place):
    run(
        "inpaint",
        model,
        place / "RGB.png",
        AREA,
        "--labels",
        4,
        "--seed",
        8,
        "--steps",
        3,
        "--feather",
        1,
        "--out",
        place / "o.png",
    )
    pipe = Pipeline.from_pretrained(model)
    result = pipe.inpaint(Image.open(place / "RGB.png"), Box(*BOX), 4, seed=8, steps=3, feather=1)[0]
    assert np.array_equal(np.asarray(result), np.asarray(Image.open(place / "o.png")))


def test_the_union_of_mask_box_and_polygon_is_repainted(model, place):
    mask = np.zeros((9, 13), np.uint8)
    mask[0, 0] = 255
    Image.fromarray(mask).save(place / "mask.png")
    run(
        "inpaint",
        model,
        place / "RGB.png",
        place / "mask.png",
        "--box",
        "11,7,10,10",
        "--polygon",
        "5,3 8,3 5,6",
        "--out",
        place / "o.png",
    )
    changed = (np.asarray(Image.open(place / "RGB.png")) != np.asarray(Image.open(place / "o.png"))).any(-1)
    y, x = np.indices((9, 13))
    expected = (mask > 0) | ((x >= 11) & (y >= 7)) | ((x >= 5) & (y >= 3) & (x + y <= 11))
    assert np.array_equal(changed, expected)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_what_is_transparent_is_repainted(model, tmp_path, mode):
    image = random_picture("RGBA")
    alpha = np.where(HIDDEN, 20, 255).astype(np.uint8)
    image.putalpha(Image.fromarray(alpha))
    ending = "tif" if mode == "PA" else "png"
    if mode == "P":
        image = random_picture("P")
        indices = np.where(HIDDEN, 200, np.asarray(image))
        image.frombytes(indices.astype(np.uint8).tobytes())
        image.info["transparency"] = 200
    elif mode == "PA":
        image = random_picture("P")
        image.putalpha(Image.fromarray(alpha))
    else:
        image = image.convert(mode)
    image.save(tmp_path / f"a.{ending}")
    run("inpaint", model, tmp_path / f"a.{ending}", "alpha")
    result = Image.open(tmp_path / f"a-inpainted.{ending}")
    assert result.mode == mode and (seen(result)[..., 3] == 255).all()
    assert np.array_equal(seen(result)[~HIDDEN], seen(image)[~HIDDEN])


@pytest.mark.parametrize("command", COMMANDS)
def test_variants_are_a_sheet_and_files(model, place, command, capsys):
    words = [w for w in COMMANDS[command] if w not in ("--variants", "1")]
    run(command, model, place / "RGB.png", *words, "--variants", 3, "--seed", 4, "--out", place / "v.png")
    assert sorted(p.name for p in place.glob("v*")) == ["v-1.png", "v-2.png", "v-3.png", "v.png"]
    results = [np.asarray(Image.open(place / f"v-{n}.png")) for n in (1, 2, 3)]
    assert not np.array_equal(results[0], results[1]) and Image.open(place / "v.png").width > 5 * 96
    facts = json.loads(Image.open(place / "v-2.png").text["d3pm_image"])
    assert facts["command"] == command and facts["seed"] == 4 and facts["variant"] == 1 and facts["sampler"]
    assert not any(str(place) in str(value) for key, value in facts.items() if key != "model")
    assert "3 results: " in capsys.readouterr().out
    run(command, model, place / "RGB.png", *words, "--variants", 1, "--seed", 4, "--out", place / "w.png")
    assert np.array_equal(np.asarray(Image.open(place / "w.png")), results[0])


def test_varying_without_a_region_is_of_the_whole_picture(model, place):
    run("vary", model, place / "RGB.png", "--variants", 1, "--strength", 0.7)
    before, after = (np.asarray(Image.open(place / n)).astype(int) for n in ("RGB.png", "RGB-varied.png"))
    assert (before != after).any(-1).mean() > 0.9


def test_strength_0_is_the_reconstruction(model, place):
    run("vary", model, place / "RGB.png", "--variants", 2, "--strength", 0, "--out", place / "s.png")
    assert np.array_equal(*(np.asarray(Image.open(place / f"s-{n}.png")) for n in (1, 2)))


def test_the_class_that_is_asked_for_is_painted(model, place):
    """The same seed and region under two classes."""
    results = []
    for label in ("3", "8"):
        run(
            "edit",
            model,
            place / "L.png",
            "--box",
            "0,0,13,9",
            "--label",
            label,
            "--out",
            place / f"{label}.png",
            "--guidance",
            3,
        )
        results.append(np.asarray(Image.open(place / f"{label}.png")))
    assert not np.array_equal(*results)


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "webp"])
def test_interpolation_is_a_strip_or_an_animation(model, place, ending):
    out = place / f"i.{ending}"
    run(
        "interpolate",
        model,
        place / "L.png",
        place / "RGB.png",
        "--frames",
        5,
        "--labels",
        "3,none",
        "--frame-ms",
        40,
        "--out",
        out,
    )
    with Image.open(out) as result:
        if ending in ("gif", "webp"):
            assert result.n_frames >= 2 and result.width == result.height >= 256
        else:
            assert result.width > 7 * 96 and result.height < 2 * 96
        if ending == "png":
            assert json.loads(result.text["d3pm_image"])["frames"] == 5


def test_interpolation_stands_beside_the_first_picture(model, place):
    run("interpolate", model, place / "RGB.webp", place / "L.png", "--frames", 2)
    assert Image.open(place / "RGB-interpolated.png").format == "PNG"


def test_a_jpeg_comes_back_as_a_jpeg_with_a_warning(model, tmp_path, capsys):
    random_picture("RGB").resize((40, 30)).save(tmp_path / "photo.jpg", quality=80)
    run("inpaint", model, tmp_path / "photo.jpg", "--box", "4,4,9,9")
    error = notes(capsys)
    assert error == [
        "d3pm-image inpaint: note: photo-inpainted.jpg: JPEG does not give back every pixel of this picture as it was; PNG, TIFF and WebP do"
    ]
    assert Image.open(tmp_path / "photo-inpainted.jpg").format == "JPEG"
    run("inpaint", model, tmp_path / "photo.jpg", "--box", "4,4,9,9", "--out", tmp_path / "exact.png")
    assert not notes(capsys)
    one, other = (np.asarray(Image.open(tmp_path / n)) for n in ("photo.jpg", "exact.png"))
    assert np.array_equal(one[15:], other[15:])


def test_a_note_says_that_the_first_frame_was_taken(model, tmp_path, capsys):
    frames = [random_picture("RGB", seed) for seed in range(2)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    run("inpaint", model, tmp_path / "a.webp", AREA)
    assert notes(capsys) == ["d3pm-image inpaint: note: a.webp: the first of 2 frames is used"]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_box_counts_from_the_upright_picture(model, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    random_picture("RGB").save(tmp_path / "a.png", exif=exif)
    run("inpaint", model, tmp_path / "a.png", "--box", "0,0,4,2")
    before, after = read_picture(tmp_path / "a.png").image, Image.open(tmp_path / "a-inpainted.png")
    assert after.getexif().get(0x0112, 1) == 1
    changed = (np.asarray(before) != np.asarray(after)).any(-1)
    assert changed[:2, :4].any() and not changed[2:].any() and not changed[:, 4:].any()


@pytest.mark.parametrize("window", ["whole", "crop", "tiles"])
def test_a_large_picture_and_its_trajectory(model, tmp_path, window):
    random_picture("RGB").resize((60, 45)).save(tmp_path / "a.png")
    show = ["--trajectory", tmp_path / "t.gif", "--steps", 3]
    run(
        "inpaint",
        model,
        tmp_path / "a.png",
        "--box",
        "20,20,16,12",
        "--window",
        window,
        "--feather",
        2,
        "--ring",
        1,
        *show,
    )
    before, after = (np.asarray(Image.open(tmp_path / n)) for n in ("a.png", "a-inpainted.png"))
    far = np.ones((45, 60), bool)
    far[16:36, 16:40] = False
    assert np.array_equal(before[far], after[far]) and (tmp_path / "t-sheet.png").is_file()


def test_options_and_pictures_may_stand_in_any_order(model, place):
    Image.fromarray((HIDDEN * 255).astype(np.uint8)).save(place / "mask.png")
    orders = [
        [model, place / "RGB.png", place / "mask.png", "--box=-3,-3,4,4", "--seed", 3],
        [model, "--seed=3", place / "RGB.png", "--box", "-3,-3,4,4", place / "mask.png"],
    ]
    results = []
    for number, words in enumerate(orders):
        run("inpaint", *words, "--out", place / f"o{number}.png")
        results.append(np.asarray(Image.open(place / f"o{number}.png")))
    assert np.array_equal(*results) and not np.array_equal(
        results[0][0, 0], np.asarray(Image.open(place / "RGB.png"))[0, 0]
    )


def test_options_come_from_a_file(model, place):
    (place / "options.yaml").write_text("box: 3,2,5,4\nseed: 9\nfeather: 1\n")
    run("inpaint", model, place / "RGB.png", "--config", place / "options.yaml", "--out", place / "o.png")
    facts = json.loads(Image.open(place / "o.png").text["d3pm_image"])
    assert facts["box"] == "3,2,5,4" and facts["seed"] == 9 and facts["feather"] == 1


# wrong requests


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
    "one picture too many": (["a.png", "b.png"], "no such option"),
    "unknown ending": (["--out", "o.xyz"], "use an ending such as .png"),
    "no ending": (["--out", "o"], "use an ending such as .png"),
    "out is the input": (["--out", "RGB.png"], "would overwrite a picture that is read"),
    "out is the input by another way": (
        ["--out", "../{here}/RGB.png"],
        "would overwrite a picture that is read",
    ),
    "trajectory over the input": (["--trajectory", "in.gif"], "would overwrite a picture that is read"),
    "trajectory over the output": (["--trajectory", "o.webp", "--out", "o.webp"], "would overwrite out"),
    "trajectory ending": (["--trajectory", "o.mp4"], "use an ending of .gif or .webp"),
    "device": (["--device", "tpu"], "device='tpu'"),
}
AREAS = {
    "bad box": (["--box", "1,2,3"], "box='1,2,3': give x,y,width,height"),
    "box without height": (["--box", "1,2,3,0"], "box='1,2,3,0'"),
    "box outside": (["--box", "13,0,5,5"], "lies outside the picture, which is 13x9 pixels"),
    "bad polygon": (["--polygon", "1,2 3,4"], "polygon='1,2 3,4': give three corners"),
    "polygon outside": (["--polygon", "50,50 60,50 55,60"], "lies outside the picture"),
    "mask of another size": (["small.png"], "must have the image's size 13x9"),
    "missing mask": (["no-mask.png"], "mask='no-mask.png': no such file"),
    "mask that is text": (["text.png"], "mask='text.png': not a readable image"),
    "black mask": (["black.png"], "marks no pixel"),
    "alpha of an opaque picture": (["alpha"], "has no transparency"),
    "out is the mask": (["mask.png", "--out", "mask.png"], "would overwrite a picture that is read"),
    "a variant is the mask": (
        ["v-2.png", "--out", "v.png", "--variants", "3"],
        "would overwrite a picture that is read",
    ),
}
OWN = {
    "inpaint": {"no region": ([], "give a mask picture, --box, --polygon, or the word alpha")},
    "edit": {
        "no region": (["--label", "3"], "give a mask picture"),
        "no label": ([AREA], "label='': is needed: one class"),
        "label none": ([AREA, "--label", "none"], "name the class"),
        "strength": ([AREA, "--label", "3", "--strength", "1.5"], "strength=1.5"),
    },
    "vary": {"strength": (["--strength", "-0.1"], "strength=-0.1")},
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
    """A folder to stand in, with good and bad pictures."""
    random_picture("RGB").save(tmp_path / "RGB.png")
    random_picture("RGB").save(tmp_path / "in-sheet.png")
    Image.new("L", (7, 7), 255).save(tmp_path / "small.png")
    Image.new("L", (13, 9)).save(tmp_path / "black.png")
    for name in ("mask.png", "v-2.png"):
        Image.new("L", (13, 9), 255).save(tmp_path / name)
    (tmp_path / "text.png").write_text("no picture")
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
    picture = "in-sheet.png" if case == "trajectory over the input" else "RGB.png"
    before = contents(wrong_place)
    assert text in fails(capsys, command, model, picture, *(w.format(here=wrong_place.name) for w in words))
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
        (["mask.png", "--out", "mask.png"], "would overwrite a picture that is read"),
        (["mask.png", "--out", "o.xyz"], "use an ending"),
        (["mask.png", "--trajectory", "a.gif", "--out", "a.gif"], "would overwrite out"),
    ],
)
def test_wrong_interpolations_are_one_line_and_write_nothing(model, wrong_place, capsys, words, text):
    before = contents(wrong_place)
    assert text in fails(capsys, "interpolate", model, "RGB.png", *words)
    assert contents(wrong_place) == before


@pytest.mark.parametrize("command", [*COMMANDS, "interpolate"])
def test_the_commands_are_listed_and_explained(command, capsys):
    with pytest.raises(SystemExit) as stop:
        commands.main([command, "--help"])
    text = capsys.readouterr().out
    assert (
        stop.value.code == 0 and "--out" in text and "--trajectory" in text and command in commands.COMMANDS
    )
    assert "Unvalidated" not in text, "types that the parser cannot find"


def test_reconstruct_reads_like_the_others(model, wrong_place, capsys):
    for words, text in (
        (["RGB.png", "--out", "RGB.png"], "would overwrite"),
        (["text.png"], "images='text.png': not a readable image"),
    ):
        assert text in fails(capsys, "reconstruct", model, *words)
    exif = Image.Exif()
    exif[0x0112] = 6
    random_picture("I;16").save("deep.tif", exif=exif)
    run("reconstruct", model, "deep.tif,RGB.png", "--out", "r.png")
    assert Image.open("r.png").width > 128
