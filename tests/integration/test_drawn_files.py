"""Images as files: by one process or two the same, resumed where an interruption left them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.command_line import fails, names, run
from helpers.runs import environment, torchrun
from PIL import Image

from d3pm_image import Pipeline
from d3pm_image.config import ConfigError
from d3pm_image.devices import pick_device
from d3pm_image.locks import file_lock
from d3pm_image.recipes import drawn_array, drawn_files

ASKED = (
    "generate",
    "fashion-mnist",
    "--num-images",
    "11",
    "--batch-size",
    "4",
    "--steps",
    "2",
    "--seed",
    "5",
)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def images(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path))[..., None] for path in sorted(folder.iterdir())])


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """What a request gives that is not interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    run(*ASKED, "--out", folder / "images")
    run(*ASKED, "--out", folder / "images.npz")
    return folder


def test_two_processes_write_the_files_of_one(tmp_path):
    """Bit for bit: a folder, and an array."""
    asked = [*ASKED, "--num-images", "64", "--batch-size", "16"]
    for out in ("images", "images.npz"):
        words = torchrun("-m", "d3pm_image", *asked, "--out", str(tmp_path / f"two-{out}"))
        done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=True)
        assert done.stdout.count("64 images in") == 1 and "on 2 processes" in done.stdout
        run(*asked, "--out", tmp_path / f"one-{out}")
    assert contents(tmp_path / "one-images") == contents(tmp_path / "two-images")
    assert (tmp_path / "one-images.npz").read_bytes() == (tmp_path / "two-images.npz").read_bytes()


def test_an_array_holds_the_images_of_the_folder(whole):
    held = np.load(whole / "images.npz")
    assert held["arr_0"].dtype == np.uint8 and held["arr_0"].shape == (11, 28, 28, 1)
    assert np.array_equal(held["arr_0"], images(whole / "images"))
    assert held["labels"].tolist() == [number % 10 for number in range(11)]
    assert names(whole) == {"images", "images.npz"}


def test_what_a_folder_lacks_is_drawn(whole, tmp_path):
    run(*ASKED, "--out", tmp_path / "images")
    gone = [
        path for number, path in enumerate(sorted((tmp_path / "images").iterdir())) if number in (1, 8, 9, 10)
    ]
    for path in gone:
        path.unlink()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "images").iterdir()}
    run(*ASKED, "--out", tmp_path / "images", "--resume", "true")
    assert contents(tmp_path / "images") == contents(whole / "images")
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


@pytest.fixture
def interrupted(tmp_path, monkeypatch) -> Path:
    """An array whose request was stopped in its second batch."""
    real = Pipeline.generate

    def stopped(self, count, labels, first, **how):
        if first >= 4:
            raise KeyboardInterrupt
        return real(self, count, labels, first=first, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Pipeline, "generate", stopped)
        with pytest.raises(SystemExit):
            run(*ASKED, "--out", tmp_path / "images.npz")
    assert names(tmp_path) == {".images.npz.parts"}
    assert names(tmp_path / ".images.npz.parts") == {"request.json", "000000000000.npy"}
    return tmp_path / "images.npz"


def test_an_interrupted_array_goes_on(whole, interrupted, monkeypatch):
    drawn = []
    real = Pipeline.generate
    monkeypatch.setattr(
        Pipeline,
        "generate",
        lambda self, count, *given, first, **how: (
            drawn.append(first),
            real(self, count, *given, first=first, **how),
        )[1],
    )
    run(*ASKED, "--out", interrupted, "--resume", "true")
    assert drawn == [4, 8]
    assert interrupted.read_bytes() == (whole / "images.npz").read_bytes()
    assert names(interrupted.parent) == {"images.npz"}


def test_parts_of_an_array_are_neither_lost_nor_mixed(interrupted, capsys):
    parts = interrupted.parent / ".images.npz.parts"
    before = contents(parts)
    assert "--resume true" in fails(capsys, *ASKED, "--out", interrupted)
    assert "was made with seed 5, not 6" in fails(
        capsys, *ASKED, "--out", interrupted, "--resume", "true", "--seed", "6"
    )
    assert contents(parts) == before
    with file_lock(parts / ".lock"):
        assert "is drawing it now" in fails(capsys, *ASKED, "--out", interrupted, "--resume", "true")
    (parts / "request.json").write_text("{")
    assert "does not say what its files belong to" in fails(
        capsys, *ASKED, "--out", interrupted, "--resume", "true"
    )
    (parts / "request.json").unlink()
    assert "does not say what its files belong to" in fails(
        capsys, *ASKED, "--out", interrupted, "--resume", "true"
    )


def test_damaged_parts_are_drawn_again_and_files_of_others_stay(whole, interrupted):
    parts = interrupted.parent / ".images.npz.parts"
    part = parts / "000000000000.npy"
    part.write_bytes(part.read_bytes()[:-7])
    (parts / "000000000004.npy").touch()
    np.save(parts / "000000000008.npy", np.zeros((2, 28, 28, 1), np.uint8))  # of three
    (parts / "mine.txt").touch()
    run(*ASKED, "--out", interrupted, "--resume", "true")
    assert interrupted.read_bytes() == (whole / "images.npz").read_bytes()
    assert names(parts) == {"mine.txt"}


def test_a_part_that_is_missing_at_the_end_is_named(tmp_path, capsys, monkeypatch):
    """As where machines do not share the disk."""
    real = drawn_array.join

    def join(request, parts, *rest):
        (parts / "000000000004.npy").unlink()
        real(request, parts, *rest)

    monkeypatch.setattr(drawn_array, "join", join)
    assert "lacks images 4 to 7" in fails(capsys, *ASKED, "--out", tmp_path / "images.npz")
    assert names(tmp_path) == {".images.npz.parts"}


def test_a_finished_array_is_not_drawn_again(whole, tmp_path, monkeypatch, capsys):
    shutil.copy(whole / "images.npz", tmp_path)
    monkeypatch.setattr(Pipeline, "generate", None)
    run(*ASKED, "--out", tmp_path / "images.npz", "--resume", "true")
    run(*ASKED, "--out", tmp_path / "images.npz", "--resume", "true", "--overwrite", "true")
    assert names(tmp_path) == {"images.npz"}
    assert "was made with seed 5, not 6" in fails(
        capsys, *ASKED, "--out", tmp_path / "images.npz", "--resume", "true", "--seed", "6"
    )
    (tmp_path / "images.npz").write_text("mine")
    assert "no request of this program" in fails(
        capsys, *ASKED, "--out", tmp_path / "images.npz", "--resume", "true"
    )


def test_an_interrupted_replacement_goes_on(whole, interrupted):
    interrupted.write_text("old")
    run(*ASKED, "--out", interrupted, "--resume", "true", "--overwrite", "true")
    assert interrupted.read_bytes() == (whole / "images.npz").read_bytes()
    assert names(interrupted.parent) == {"images.npz"}


def test_a_larger_request_goes_on_in_a_folder(tmp_path):
    """Also where numbers get more digits; the model may lie elsewhere."""
    few = (
        "generate",
        "fashion-mnist",
        "--steps",
        "1",
        "--batch-size",
        "2",
        "--first",
        "9998",
        "--out",
        tmp_path,
    )
    run(*few, "--num-images", "2")
    before = contents(tmp_path)
    run(*few, "--num-images", "4", "--resume", "true")
    assert {name.split("-")[0] for name in names(tmp_path)} == {"9998", "9999", "10000", "10001"}
    assert before.items() <= contents(tmp_path).items()


def test_where_the_model_lies_does_not_matter(whole, tmp_path):
    request = drawn_files.Request(tmp_path, [0], (), {"model": "a", "version": "1", "seed": 3})
    assert request.asked == {"seed": 3}


def test_batches_that_are_missing_are_dealt_out():
    """Not all of them: a resumed request would leave all work to one process."""
    for rank, own in ((0, ["a", "c"]), (1, ["b"])):
        request = drawn_files.Request(Path("x"), [0], (), {}, rank=rank, processes=2)
        assert list(request.own(["a", "b", "c"])) == own


def test_images_of_another_request_are_not_taken_for_those_of_this(whole, tmp_path, capsys):
    """Nor mixed with them, whatever their names; all are looked at before one is drawn."""
    run(*ASKED, "--out", tmp_path)
    for other, words in (
        (["--steps", "3"], "steps 2, not 3"),
        (["--seed", "6"], "seed 5, not 6"),
        (["--labels", "Dress"], "labels '', not 'Dress'"),
    ):
        assert f"was made with {words}" in fails(
            capsys, *ASKED, *other, "--out", tmp_path, "--resume", "true"
        )
    assert contents(tmp_path) == contents(whole / "images")
    (tmp_path / "notes.png").touch()
    damaged = tmp_path / "0003-seed5-Dress.png"
    damaged.write_bytes(damaged.read_bytes()[:40])
    assert "remove it, and it is drawn again" in fails(capsys, *ASKED, "--out", tmp_path, "--resume", "true")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--out", "grid.png"], "is for a folder or FILE.npz only"),
        (["--out", "images", "--overwrite", "true"], "cannot be combined with overwrite"),
        (["--out", ".npz"], "give a name before the ending"),
        (["--out", "images", "--trajectory", "a.gif"], "cannot be combined with resume"),
    ],
)
def test_what_does_not_go_with_resume_is_said(options, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert words in fails(capsys, *ASKED, "--resume", "true", *options)
    assert not names(tmp_path)


def test_an_array_that_is_there_stays(whole, tmp_path):
    (tmp_path / "images.npz").write_text("mine")
    run(*ASKED, "--out", tmp_path / "images.npz")
    assert (tmp_path / "images.npz").read_text() == "mine"
    assert (tmp_path / "images-2.npz").read_bytes() == (whole / "images.npz").read_bytes()


def test_paths_from_home(whole, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for out in ("~/images", "~/images.npz"):
        run(*ASKED, f"--out={out}")
    assert contents(tmp_path / "images") == contents(whole / "images")
    assert (tmp_path / "images.npz").read_bytes() == (whole / "images.npz").read_bytes()


def test_a_folder_with_the_name_of_an_array_is_refused_first(tmp_path, monkeypatch, capsys):
    (tmp_path / "images.npz").mkdir()
    monkeypatch.setattr(Pipeline, "generate", None)
    assert "is a folder" in fails(capsys, *ASKED, "--overwrite", "true", "--out", tmp_path / "images.npz")


WAITING = """
import atexit, time
import torch
from d3pm_image.training import launch
atexit.register(lambda: print("left" if not torch.distributed.is_initialized() else "open"))
launch.meet()
launch.GIVE_UP_S = 3.0
if launch.place_among_processes()[0] == 1:
    time.sleep(5)
print(launch.gathered(launch.place_among_processes()[0]))
"""


@pytest.mark.slow
def test_processes_that_have_met_wait_for_each_other(tmp_path):
    """For longer than they wait to meet: one may have nothing to draw. Their group ends before torch does, which
    otherwise aborts some."""
    (tmp_path / "waiting.py").write_text(WAITING)
    words = torchrun(str(tmp_path / "waiting.py"))
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.count("[0, 1]") == done.stdout.count("left") == 2


def test_each_of_several_processes_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert pick_device("auto") == pick_device("cuda") == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert pick_device("auto") == pick_device("cuda") == "cuda:3" and pick_device("cuda:1") == "cuda:1"
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "5")
    with pytest.raises(ConfigError, match="5 processes on this machine and 4 GPUs"):
        pick_device("auto")
