"""A folder of images edited alike: by one process or two the same files, resumed where an interruption left
them, each as its image gets it alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import fails, names, run
from helpers.edits import hole, make_image
from helpers.runs import environment, torchrun
from PIL import Image

from d3pm_image import Pipeline
from d3pm_image import cli as commands
from d3pm_image.config import ConfigError
from d3pm_image.editing.folders import EditItem
from d3pm_image.provenance import read_settings
from d3pm_image.provenance.again import Plan, reasons
from d3pm_image.recipes import edited_files
from d3pm_image.recipes.edited_files import FolderRequest

SIZES = {"a.png": (28, 28), "b.jpg": (20, 24), "c.png": (40, 30), "d.tif": (28, 28), "e.png": (28, 28)}
MODES = {"a.png": "L", "b.jpg": "RGB", "c.png": "RGBA", "d.tif": "L", "e.png": "P"}
FEW = ("--steps", "2", "--seed", "5")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder to stand in, with a folder of images of every kind and one of their masks."""
    for folder in ("photos", "masks"):
        (tmp_path / folder).mkdir()
    for number, (name, size) in enumerate(SIZES.items()):
        make_image(*size, MODES[name], seed=number).save(tmp_path / "photos" / name)
        Image.fromarray(hole(*size, seed=number)).save((tmp_path / "masks" / name).with_suffix(".png"))
    (tmp_path / "photos" / "notes.txt").write_text("mine")
    (tmp_path / "photos" / ".hidden.png").write_text("mine")
    (tmp_path / "photos" / "more").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def without(place: Path, *images: str) -> None:
    """Fewer images."""
    for name in images:
        (place / "photos" / name).unlink()
        (place / "masks" / name).with_suffix(".png").unlink()


def asked(*words: str) -> tuple[str, ...]:
    return ("inpaint", "fashion-mnist", "photos", "masks", *FEW, "--batch-size", "4", *words)


@pytest.mark.slow
def test_two_processes_write_the_files_of_one(place):
    """Bit for bit, sheets and variants; notes are said once."""
    several = asked("--variants", "2")
    run(*several, "--out", "one")
    stems = {Path(name).stem for name in SIZES}
    assert names(place / "one") == {f"{s}{end}.png" for s in stems for end in ("", "-1", "-2")}
    words = torchrun("-m", "d3pm_image", *several, "--out", "two")
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.count("5 images in") == 1 and "on 2 processes: two (a.png … e.png)" in done.stdout
    assert "nothing to do" not in done.stderr and done.stderr.count("no colour") == 1
    assert contents(place / "one") == contents(place / "two")


def test_a_fault_that_one_process_finds_ends_all_before_anything_is_drawn(monkeypatch):
    """The first fault of all, on each of them."""
    items = [EditItem(Path(name), "", Path("o")) for name in "abcd"]

    def read(item: EditItem):
        raise ConfigError("image", str(item.image), "not a readable image")

    other = ({0: 1}, [], {2: ConfigError("image", "c", "of the first process")})
    for found, words in ((other, "'b'"), (({}, [], {0: ConfigError("image", "a", "")}), "'a'")):
        monkeypatch.setattr(edited_files, "gathered", lambda part, found=found: [found, part])
        with pytest.raises(ConfigError, match=f"^image={words}"):
            edited_files.surveyed(FolderRequest(items, rank=1, processes=2), read, lambda *_: {})


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("edit", ["masks", "--label", "Dress", "--feather", "1", "--variants", "2"]),
        ("outpaint", ["--left", "4", "--top", "2"]),
        ("tile", ["--axis", "x"]),
    ],
)
def test_an_image_gets_in_a_folder_what_it_gets_alone(place, command, words):
    """Under its number: the very file in batches of one. In larger ones the same window, whatever others are
    drawn with it."""
    without(place, "d.tif", "e.png")
    words = [*words, *FEW, "--first", "3"]
    run(command, "fashion-mnist", "photos", *words, "--out", "one", "--batch-size", "1")
    run(command, "fashion-mnist", "photos", *words, "--out", "many")
    for number, name in ((3, "a.png"), (5 if command == "edit" else 4, "b.jpg")):
        own = [f"masks/{name[0]}.png" if word == "masks" else word for word in words]
        alone = [command, "fashion-mnist", f"photos/{name}", *own, "--batch-size", "1", "--first", number]
        run(*alone, "--out", Path("alone") / f"{name[0]}.png")
    for name, file in contents(place / "alone").items():
        assert (place / "one" / name).read_bytes() == file
        assert np.array_equal(pixels(place / "many" / name), pixels(place / "alone" / name))


def test_what_a_folder_lacks_is_drawn(place, monkeypatch):
    """Images of which a file is missing, in the batches that they were drawn in; nothing else is
    touched."""
    several = asked("--variants", "2", "--out", "edited")
    run(*several)
    whole = contents(place / "edited")
    (place / "edited" / "mine.png").write_text("mine")
    for name in ("a.png", "a-1.png", "a-2.png", "d-2.png"):
        (place / "edited" / name).unlink()
    before = {
        path: path.stat().st_mtime_ns for path in (place / "edited").iterdir() if path.name[0] in "bcem"
    }
    drawn = []
    real = Pipeline.inpaint

    def watched(self, images, *rest, **how):
        drawn.append((how["first"], len(images)))
        return real(self, images, *rest, **how)

    monkeypatch.setattr(Pipeline, "inpaint", watched)
    run(*several, "--resume", "true")
    assert drawn == [(0, 2), (4, 2)]
    assert contents(place / "edited") == whole | {"mine.png": b"mine"}
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_results_of_another_request_are_not_taken_for_those_of_this(place, capsys):
    """Nor mixed with them; all are looked at before one is drawn."""
    run(*asked("--out", "edited"))
    (place / "edited" / "a.png").unlink()
    before = contents(place / "edited")
    again = asked("--out", "edited", "--resume", "true")
    for words, text in (
        (["--seed", "6"], "was made with seed 5, not 6"),
        (["--box", "1,1,4,4"], "was made with box '', not '1,1,4,4'"),
        (["--first", "2"], "was made with first 1, not 3"),
    ):
        assert text in fails(capsys, *again, *words)
    other = ("fashion-mnist", "photos", *FEW, "--out", "edited", "--resume", "true")
    area = ("--box", "1,1,4,4")
    assert "command 'inpaint', not 'edit'" in fails(capsys, "edit", *other, *area, "--label", "Bag")
    Image.fromarray(~hole(20, 24)).save(place / "masks" / "b.png")
    line = fails(capsys, *again)
    assert "was made with mask 'iVBOR" in line and len(line) < 500
    Image.fromarray(hole(20, 24, seed=1)).save(place / "masks" / "b.png")
    make_image(28, 28, "P", seed=9).save(place / "photos" / "e.png")
    assert "e.png': was made with image_sha256" in fails(capsys, *again)
    without(place, "a.png")
    assert "b.png': was made with first 1, not 0" in fails(capsys, *again)
    assert contents(place / "edited") == before


def test_sheets_and_single_results_are_told_apart(place, capsys):
    without(place, "b.jpg", "c.png", "d.tif")
    one, two = asked("--out", "edited"), asked("--out", "edited", "--variants", "2")
    run(*two)
    assert "variants 2, not 1" in fails(capsys, *one, "--resume", "true")
    run(*one, "--overwrite")
    assert "variants 1, not 2" in fails(capsys, *two, "--resume", "true")
    run("inpaint", "fashion-mnist", "photos", *FEW, "--out", "edited", "--box", "1,1,9,9", "--overwrite")
    line = fails(capsys, *one, "--box", "1,1,9,9", "--resume", "true")
    assert "was made with mask '', not 'iVBOR" in line


def test_files_that_are_there_stay(place, capsys):
    (place / "edited").mkdir()
    for name in ("c.png", "e.png"):
        (place / "edited" / name).write_text("mine")
    line = fails(capsys, *asked("--out", "edited"))
    assert "c.png': is there already (and 1 more)" in line and "--resume true" in line
    assert "remove it, and it is drawn again" in fails(capsys, *asked("--out", "edited", "--resume", "true"))
    assert contents(place / "edited") == {"c.png": b"mine", "e.png": b"mine"}
    run(*asked("--out", "edited", "--overwrite"))
    assert names(place / "edited") == {f"{Path(name).stem}.png" for name in SIZES}


def test_one_mask_for_all_and_a_folder_beside(place, monkeypatch):
    """The mask may lie among the images, the default result lies beside their folder; paths from home are
    read."""
    without(place, "b.jpg", "c.png")
    Image.fromarray(hole(28, 28)).save(place / "photos" / "mask.png")
    monkeypatch.setenv("HOME", str(place))
    run("inpaint", "fashion-mnist", "~/photos", "~/photos/mask.png", *FEW)
    assert names(place / "photos-inpainted") == {"a.png", "d.png", "e.png"}
    before, after = pixels(place / "photos" / "d.tif"), pixels(place / "photos-inpainted" / "d.png")
    assert np.array_equal(before[~hole(28, 28)], after[~hole(28, 28)]) and not np.array_equal(before, after)


def add(name: str, size: tuple[int, int] = (28, 28)):
    def change(place: Path) -> None:
        Image.new("L", size, 255).save(place / name)

    return change


def text(name: str):
    return lambda place: (place / name).write_text("no image")


def gone(name: str):
    return lambda place: (place / name).unlink()


FAULTS = {
    "mask without image": (add("masks/z.png"), [], "z.png': belongs to no image"),
    "image without mask": (gone("masks/c.png"), [], "mask='masks': holds no mask for c.png"),
    "two masks": (add("masks/a.bmp"), [], "a.bmp': and a.png have one name"),
    "two results of a name": (add("photos/a.bmp"), [], "a.bmp': has the result a.png, as a.png has"),
    "variants of a name": (
        lambda place: (add("photos/a-1.png")(place), add("masks/a-1.png")(place)),
        ["--variants", "2"],
        "has the result a-1.png, as a.png has",
    ),
    "unreadable image": (text("photos/d.tif"), [], "image='photos/d.tif': not a readable image"),
    "unreadable mask": (text("masks/d.png"), [], "mask='masks/d.png': not a readable image"),
    "mask of another size": (add("masks/d.png", (7, 7)), [], "image's size 28x28 (image d.tif)"),
    "box outside one": (None, ["--box", "30,2,4,4"], "(image a.png)"),
    "image for out": (None, ["--out", "o.png"], "out='o.png': is a file's name"),
    "array for out": (None, ["--out", "o.npz"], "is a file's name"),
    "out is the input": (None, ["--out", "photos"], "is a folder that is read"),
    "out is the masks": (None, ["--out", "photos/../masks"], "is a folder that is read"),
    "trajectory": (None, ["--trajectory", "t.gif"], "shows the decode of one image"),
    "resume and overwrite": (
        None,
        ["--resume", "true", "--overwrite", "true"],
        "cannot be combined with overwrite",
    ),
    "label": (None, ["--labels", "none such"], "labels='none such'"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_wrong_requests_are_one_line_and_write_nothing(place, capsys, monkeypatch, case):
    change, words, line = FAULTS[case]
    if change:
        change(place)
    before = {str(path): path.stat().st_mtime_ns for path in place.rglob("*")}
    monkeypatch.setattr(edited_files, "paint", None)
    assert line in fails(capsys, *asked(*words))
    assert {str(path): path.stat().st_mtime_ns for path in place.rglob("*")} == before


def test_other_folders_and_a_single_image_that_goes_on(place, capsys, monkeypatch):
    line = fails(capsys, "vary", "fashion-mnist", "photos/more", *FEW)
    assert "image='photos/more': holds no images; those of its subfolders" in line
    monkeypatch.chdir(place / "photos")
    run("vary", "fashion-mnist", ".", *FEW, "--box", "1,1,9,9", "--variants", "1")
    assert names(place) == {"photos", "masks", "photos-varied"}
    monkeypatch.chdir(place)
    line = fails(capsys, "vary", "fashion-mnist", "photos/a.png", "--resume", "true")
    assert "resume=True: is for a folder of images" in line


def test_one_image_is_the_first_processs_work(monkeypatch, capsys):
    variables = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    commands.run("vary", ["/no/such/model", "/no/such/image.png"])
    assert "vary: note: process 1 of 2 has nothing to do: the first one draws" in capsys.readouterr().err


def test_batches_are_full_but_where_images_are_large(monkeypatch):
    items = [EditItem(Path("a"), "", Path("b"))] * 7
    monkeypatch.setattr(edited_files, "MOST_PIXELS", 100)
    request = FolderRequest(items, variants=2, batch_size=7, first=5, rank=0, processes=1)
    assert request.batches([1] * 7) == [range(3), range(3, 6), range(6, 7)]
    assert request.batches([60, 41, 60, 40, 500, 1, 1]) == [range(1), range(1, 2), range(2, 4), range(4, 5), range(5, 7)]  # fmt: skip
    assert request.number(3) == 11
    assert FolderRequest(items, variants=9, batch_size=7).batches([1] * 2) == [range(1), range(1, 2)]


def test_a_result_says_that_it_was_drawn_among_others_and_is_made_again(place, capsys):
    run(*asked("--out", "edited"))
    metadata = read_settings(place / "edited" / "d.png")
    assert metadata["pictures_together"] == 4 and metadata["first"] == 3
    assert "pictures_together" not in read_settings(place / "edited" / "e.png")
    run("show", "edited/d.png", "--again", "true", "--inputs", "photos/d.tif")
    assert np.array_equal(pixels(place / "edited" / "d-again.png"), pixels(place / "edited" / "d.png"))
    plan = Plan({"batch_size": 4})
    assert "drawn among others" in reasons(metadata, plan)
    assert "drawn among others" not in reasons({**metadata, "pictures_together": 1}, plan)
