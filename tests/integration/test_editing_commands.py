"""The editing commands as a user meets them: images of every mode in and out, one-line errors, nothing half-written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import run
from helpers.odd_images import FILES, seen
from helpers.odd_images import make_image as random_image
from PIL import Image

from d3pm_image import Box, Pipeline
from d3pm_image import cli as commands
from d3pm_image.editing.image_files.files import open_image_file
from d3pm_image.editing.seamless import cross

BOX = (3, 2, 5, 4)
HIDDEN = np.zeros((9, 13), bool)
HIDDEN[BOX[1] : BOX[1] + BOX[3], BOX[0] : BOX[0] + BOX[2]] = True
AREA = "--box=" + ",".join(map(str, BOX))
COMMANDS = {
    "inpaint": [AREA],
    "edit": [AREA, "--label", "3"],
    "vary": [AREA, "--variants", "1"],
    "outpaint": ["--left", "3", "--bottom", "2"],
    "tile": ["--width", "4"],
}


def notes(capsys) -> list[str]:
    """What a command said on stderr, but for the colours that its grey model does not know."""
    return [line for line in capsys.readouterr().err.strip().splitlines() if "grey images only" not in line]


@pytest.fixture
def place(tmp_path):
    """A folder with an image of every kind of file."""
    for name, (image, options) in FILES.items():
        image.save(tmp_path / name, **options)
    return tmp_path


def kept(command: str) -> np.ndarray:
    """Pixels (h, w) of the images here that a command leaves as they are."""
    if command == "outpaint":
        return np.ones((9, 13), bool)
    return ~cross((9, 13), "both", 4) if command == "tile" else ~HIDDEN


def known(command: str, array: np.ndarray) -> np.ndarray:
    """The pixels of a result that must be the original's."""
    return array[:9, 3:].reshape(-1, *array.shape[2:]) if command == "outpaint" else array[kept(command)]


@pytest.mark.parametrize("name", FILES)
def test_inpainting_keeps_mode_format_size_and_every_known_pixel(model, place, name, capsys):
    run("inpaint", model, place / name, AREA)
    assert not notes(capsys)
    before = open_image_file(place / name)
    after = open_image_file(place / f"{Path(name).stem}-inpainted{Path(name).suffix}")
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
    before, after = open_image_file(place / name), open_image_file(place / f"out{Path(name).suffix}")
    assert after.image.mode == before.image.mode
    assert after.image.size == ((16, 11) if command == "outpaint" else (13, 9))
    whole = kept(command)
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
    image = random_image("RGBA")
    alpha = np.where(HIDDEN, 20, 255).astype(np.uint8)
    image.putalpha(Image.fromarray(alpha))
    ending = "tif" if mode == "PA" else "png"
    if mode == "P":
        image = random_image("P")
        indices = np.where(HIDDEN, 200, np.asarray(image))
        image.frombytes(indices.astype(np.uint8).tobytes())
        image.info["transparency"] = 200
    elif mode == "PA":
        image = random_image("P")
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
    metadata = json.loads(Image.open(place / "v-2.png").text["d3pm_image"])
    assert (
        metadata["command"] == command
        and metadata["seed"] == 4
        and metadata["variant"] == 1
        and metadata["sampler"]
    )
    assert not any(str(place) in str(value) for key, value in metadata.items() if key != "model")
    assert "3 results: " in capsys.readouterr().out
    run(command, model, place / "RGB.png", *words, "--variants", 1, "--seed", 4, "--out", place / "w.png")
    assert np.array_equal(np.asarray(Image.open(place / "w.png")), results[0])


def test_varying_without_a_region_is_of_the_whole_image(model, place):
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


def test_interpolation_stands_beside_the_first_image(model, place):
    run("interpolate", model, place / "RGB.webp", place / "L.png", "--frames", 2)
    assert Image.open(place / "RGB-interpolated.png").format == "PNG"


def test_a_jpeg_comes_back_as_a_jpeg_with_a_warning(model, tmp_path, capsys):
    random_image("RGB").resize((40, 30)).save(tmp_path / "photo.jpg", quality=80)
    run("inpaint", model, tmp_path / "photo.jpg", "--box", "4,4,9,9")
    error = notes(capsys)
    assert error == [
        "d3pm-image inpaint: note: photo-inpainted.jpg: JPEG does not give back every pixel of this image as it was; PNG, TIFF and WebP do"
    ]
    assert Image.open(tmp_path / "photo-inpainted.jpg").format == "JPEG"
    run("inpaint", model, tmp_path / "photo.jpg", "--box", "4,4,9,9", "--out", tmp_path / "exact.png")
    assert not notes(capsys)
    one, other = (np.asarray(Image.open(tmp_path / n)) for n in ("photo.jpg", "exact.png"))
    assert np.array_equal(one[15:], other[15:])


def test_a_note_says_that_the_first_frame_was_taken(model, tmp_path, capsys):
    frames = [random_image("RGB", seed) for seed in range(2)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    run("inpaint", model, tmp_path / "a.webp", AREA)
    assert notes(capsys) == ["d3pm-image inpaint: note: a.webp: the first of 2 frames is used"]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_box_counts_from_the_upright_image(model, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    random_image("RGB").save(tmp_path / "a.png", exif=exif)
    run("inpaint", model, tmp_path / "a.png", "--box", "0,0,4,2")
    before, after = open_image_file(tmp_path / "a.png").image, Image.open(tmp_path / "a-inpainted.png")
    assert after.getexif().get(0x0112, 1) == 1
    changed = (np.asarray(before) != np.asarray(after)).any(-1)
    assert changed[:2, :4].any() and not changed[2:].any() and not changed[:, 4:].any()


@pytest.mark.parametrize("window", ["whole", "crop", "tiles"])
def test_a_large_image_and_its_trajectory(model, tmp_path, window):
    random_image("RGB").resize((60, 45)).save(tmp_path / "a.png")
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


def test_options_and_images_may_stand_in_any_order(model, place):
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
    metadata = json.loads(Image.open(place / "o.png").text["d3pm_image"])
    assert metadata["box"] == "3,2,5,4" and metadata["seed"] == 9 and metadata["feather"] == 1


@pytest.mark.parametrize("command", [*COMMANDS, "interpolate"])
def test_the_commands_are_listed_and_explained(command, capsys):
    with pytest.raises(SystemExit) as stop:
        commands.main([command, "--help"])
    text = capsys.readouterr().out
    assert (
        stop.value.code == 0 and "--out" in text and "--trajectory" in text and command in commands.COMMANDS
    )
    assert "Unvalidated" not in text, "types that the parser cannot find"


def test_a_seamless_result_is_shown_beside_and_below_itself_and_its_border_is_measured(model, place, capsys):
    words = ("tile", model, place / "RGB.png", "--seed", "2", "--out", place / "o.png")
    run(*words, "--preview", place / "nine.png")
    assert "jump across the border" in capsys.readouterr().out
    result, nine = (np.asarray(Image.open(place / name)) for name in ("o.png", "nine.png"))
    assert np.array_equal(nine, np.tile(result, (3, 3, 1)))
    run(*words, "--axis", "x", "--preview", place / "row.png", "--overwrite")
    assert Image.open(place / "row.png").size == (39, 9)
    pipe = Pipeline.from_pretrained(model)
    again = pipe.tile(Image.open(place / "RGB.png"), axis="x", seed=2)[0]
    assert np.array_equal(np.asarray(again), np.asarray(Image.open(place / "o.png")))
