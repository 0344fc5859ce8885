"""Images as files: by one process or two the same, resumed where an interruption left them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.command_line import fails, names, run
from helpers.paths import ROOT
from helpers.tiny import free_port
from PIL import Image

from d3pm_image import Pipeline
from d3pm_image.devices import pick_device

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
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    for out in ("images", "images.npz"):
        launch = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nproc_per_node",
            "2",
            "--master_port",
            free_port(),
        ]
        done = subprocess.run(
            [*launch, "-m", "d3pm_image", *asked, "--out", str(tmp_path / f"two-{out}")],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
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
    parts = contents(interrupted.parent / ".images.npz.parts")
    assert "--resume true" in fails(capsys, *ASKED, "--out", interrupted)
    line = fails(capsys, *ASKED, "--out", interrupted, "--resume", "true", "--seed", "6")
    assert "resume" in line and "another seed" in line
    assert contents(interrupted.parent / ".images.npz.parts") == parts
    (interrupted.parent / ".images.npz.parts" / "request.json").write_text("{")
    assert "request.json" in fails(capsys, *ASKED, "--out", interrupted, "--resume", "true")


def test_images_of_another_request_are_not_taken_for_those_of_this(whole, tmp_path, capsys):
    run(*ASKED, "--out", tmp_path / "images")
    line = fails(capsys, *ASKED, "--steps", "3", "--out", tmp_path / "images", "--resume", "true")
    assert "was made with steps 2, not 3" in line
    assert contents(tmp_path / "images") == contents(whole / "images")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--out", "grid.png"], "one picture is drawn at once"),
        (["--out", "images", "--overwrite", "true"], "leave one of the two out"),
        (["--out", "images", "--trajectory", "a.gif"], "does not go with resume"),
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


def test_each_of_several_processes_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert pick_device("auto") == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert pick_device("auto") == "cuda:3"
