"""From image folders and tar shards to a trained run: what is read, counted and recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.image_files import class_folder, images, png, shard
from helpers.levels import brightest, levels, opened
from helpers.odd_names import ODD
from helpers.tiny import SMALL
from PIL import Image

from d3pm_image.cli import main
from d3pm_image.config import ConfigError, DataConfig


def test_nothing_unused_is_not_mentioned(tmp_path, capsys):
    root = images(tmp_path / "set", *(f"{i}.png" for i in range(8)))
    main(["train-tokenizer", "--data.root", str(root), *SMALL, "--out", str(tmp_path / "run")])
    assert "not used" not in capsys.readouterr().out and not (tmp_path / "run" / "unused_files.txt").exists()


@pytest.mark.filterwarnings("ignore:.*cannot decode", "ignore:.*not a readable image")
def test_images_that_cannot_be_decoded_are_in_the_list(tmp_path):
    root = images(tmp_path / "set", *(f"{i}.png" for i in range(9)))
    (root / "1.png").write_bytes((root / "1.png").read_bytes()[:200])
    (root / "2.png").write_bytes(b"no image")
    main(
        [
            "train-tokenizer",
            "--data.root",
            str(root),
            *SMALL,
            "--out",
            str(tmp_path / "run"),
            "--data.val_share",
            "0.01",
        ]
    )
    assert (
        {"1.png", "2.png"}
        >= {
            line.partition("\t")[0]
            for line in (tmp_path / "run" / "unused_files.txt").read_text(encoding="utf-8").splitlines()
        }
        >= {"2.png"}
    )


def test_the_first_line_says_what_is_read(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images(Path("sprites"), *(f"{'ab'[i % 2]}/{i}.png" for i in range(10)))
    main(["train-tokenizer", "--data.root", "sprites", *SMALL, "--out", "t"])
    line = capsys.readouterr().out.splitlines()[0]
    assert (
        line
        == f"images: folder {tmp_path}/sprites: 10 images (9 to train on, 1 held out), 2 classes (a, b), 16x16 pixels, RGB"
    )
    assert '"source": "folder"' in Path("t/config.yaml").read_text(encoding="utf-8")
    network = [
        "--denoiser.width=16",
        "--denoiser.depth=1",
        "--denoiser.heads=2",
        "--train.steps=2",
        "--train.batch_size=4",
    ]
    main(
        [
            "train-diffusion",
            "--tokenizer",
            "t",
            "--data.root",
            "sprites",
            *network,
            "--out",
            "d",
            "--cache",
            "c",
        ]
    )
    assert capsys.readouterr().out.splitlines()[0] == line
    main(["encode", "--tokenizer", "t", "--data.root", "sprites", "--cache", "c"])
    assert capsys.readouterr().out.splitlines()[0] == line
    main(["evaluate", "d", "--num_samples", "0", "--reconstruction_distance", "false"])
    assert f"images: folder {tmp_path}/sprites: 1 images" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["doctor", "sprites"])
    assert capsys.readouterr().out.startswith(
        f"images: folder {tmp_path}/sprites: 10 images, 2 classes, 16x16 pixels, RGB\n"
    )


def test_classes_without_an_image_are_named_in_the_first_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("D3PM_IMAGE_CACHE", str(tmp_path / "cache"))
    shard(
        tmp_path / "in" / "s.tar", *(m for i in range(8) for m in ((f"{i}.png", png(i)), (f"{i}.cls", b"1")))
    )
    (tmp_path / "in" / "classnames.txt").write_text("never\nalways\n", encoding="utf-8")
    main(["train-tokenizer", "--data.root", str(tmp_path / "in"), *SMALL, "--out", str(tmp_path / "t")])
    assert "2 classes (never, always; no image of never)" in capsys.readouterr().out.splitlines()[0]


def test_what_cannot_be_read_is_counted_by_ending_by_training_and_doctor_and_listed(tmp_path, capsys):
    root = images(tmp_path / "set", *(f"{i}.png" for i in range(8)))
    for name in ("a.HEIC", "b.heic", "a.CR2", "a.svg", "a.jxl", "notes.txt", "._0.png", ".DS_Store", "plain"):
        (root / name).write_bytes(b"x")
    main(["train-tokenizer", "--data.root", str(root), *SMALL, "--out", str(tmp_path / "run")])
    lines = capsys.readouterr().out.splitlines()
    said = "5 files of image formats that are not read (2 .heic, 1 .cr2, 1 .jxl, 1 .svg; pip install pillow-heif reads HEIC"
    if "pillow_heif" not in sys.modules:
        assert said in lines[1] and "2 other files" in lines[1] and "2 hidden files" in lines[1]
    listed = (tmp_path / "run" / "unused_files.txt").read_text(encoding="utf-8").splitlines()
    assert {line.partition("\t")[0] for line in listed} >= {
        "a.CR2",
        "a.svg",
        "a.jxl",
        "notes.txt",
        "._0.png",
        ".DS_Store",
        "plain",
    }
    with pytest.raises(SystemExit):
        main(["doctor", str(root)])
    printed = capsys.readouterr().out
    assert "1 .cr2, 1 .jxl, 1 .svg" in printed and "2 hidden files" in printed and "1 .txt" in printed


def test_it_can_be_said_and_is_recorded(tmp_path, capsys):
    root = levels(tmp_path / "in", np.uint16, *[4095] * 8)
    assert opened(root, white=8190)[0].white == 8190
    assert brightest(opened(root, white=8190)[1]) == pytest.approx([127.5] * 8, abs=1)
    assert brightest(opened(root, white=-1)[1]) == pytest.approx([16] * 8, abs=1)
    with pytest.raises(ConfigError, match=r"data\.white=-3"):
        DataConfig(white=-3)
    capsys.readouterr()
    main(["train-tokenizer", "--data.root", str(root), *SMALL, "--out", str(tmp_path / "t")])
    assert "white at 4095" in capsys.readouterr().out.splitlines()[0]
    assert '"white": 4095.0' in (tmp_path / "t" / "config.yaml").read_text(encoding="utf-8")
    network = [
        "--denoiser.width=16",
        "--denoiser.depth=1",
        "--denoiser.heads=2",
        "--train.steps=2",
        "--train.batch_size=4",
    ]
    levels(tmp_path / "dark", np.uint16, *[200] * 8)
    main(["train-diffusion", "--tokenizer", str(tmp_path / "t"), "--data.root", str(tmp_path / "dark"), *network,
          "--out", str(tmp_path / "d"), "--cache", str(tmp_path / "c")])  # fmt: skip
    assert (
        "white at 4095" in capsys.readouterr().out.splitlines()[0]
    )  # the tokenizer's, not that of these images
    from d3pm_image import Pipeline

    metadata = Pipeline.from_pretrained(tmp_path / "d").metadata
    assert metadata["data"]["white"] == 4095


@pytest.mark.slow
def test_a_pipeline_uses_the_level_of_its_training(copied):
    from d3pm_image import Pipeline

    pipe = Pipeline.from_pretrained(copied / "diffusion")
    deep = Image.fromarray(np.full((32, 32), 4000, np.uint16))
    mask = np.zeros((32, 32), bool)
    mask[4:20, 4:20] = True
    assert float(pipe.tensors([deep]).mean()) < 0.1
    pipe.metadata["data"]["white"] = 4095.0
    after = pipe.inpaint(deep, Image.fromarray(mask), steps=2)[0]
    assert np.asarray(after)[mask].max() <= 4095 and (np.asarray(after)[~mask] == 4000).all()
    assert float(pipe.tensors([deep]).mean()) > 0.95


def test_all_of_the_way_from_images_to_samples(odd, tmp_path, monkeypatch):
    """As a program of its own: its output is strict UTF-8."""
    network = [
        "--denoiser.width=16",
        "--denoiser.depth=1",
        "--denoiser.heads=2",
        "--train.steps=2",
        "--train.batch_size=4",
    ]
    (odd / f"{ODD}.heic").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    script = (
        "import sys\nfrom d3pm_image.cli import main\n"
        f"main(['train-tokenizer', '--data.root', sys.argv[1], *{list(SMALL)!r}, '--out', 't'])\n"
        f"main(['train-diffusion', '--data.root', sys.argv[1], '--tokenizer', 't', *{network!r}, '--out', 'd', '--cache', 'c'])\n"
        "main(['generate', 'd', '--num-images', '2', '--out', 'g.png'])\n"
        "main(['evaluate', 'd', '--num_samples', '0', '--reconstruction_distance', 'false', '--out', 'e.json'])\n"
        "try:\n    main(['doctor', sys.argv[1], '--out', 'f.json'])\nexcept SystemExit:\n    pass\n"
        "main(['shards', sys.argv[1], 's'])\nmain(['encode', '--tokenizer', 't', '--data.root', 's', '--cache', 'c'])\n"
    )
    environment = {
        **os.environ,
        "PYTHONIOENCODING": "utf-8:strict",
        "D3PM_IMAGE_CACHE": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-c", script, os.fsencode(odd)], capture_output=True, env=environment, check=False
    )
    out = done.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    assert (
        out.splitlines()[0].startswith(f"images: folder {tmp_path}/gr\\xfcn: 10 images")
        and "2 classes (b, gr\\xfcn)" in out
    )
    assert "gr\\xfcn.heic" in Path("t/unused_files.txt").read_text(encoding="utf-8")


def test_the_command_packs_and_training_reads(tmp_path, capsys):
    class_folder(tmp_path / "in", 40)
    main(["shards", str(tmp_path / "in"), str(tmp_path / "out"), "--shard-images", "8"])
    assert "40 images, 3 classes: 5 shards" in capsys.readouterr().out
    small = [
        "--data.source",
        "shards",
        "--data.root",
        str(tmp_path / "out"),
        "--data.image_size",
        "8",
        "--data.channels",
        "1",
    ]
    loop = [
        "--train.steps",
        "2",
        "--train.batch_size",
        "4",
        "--train.preview_every",
        "2",
        "--train.checkpoint_every",
        "2",
    ]
    model = [
        "--tokenizer.downsampling",
        "2",
        "--tokenizer.multipliers",
        "[1]",
        "--tokenizer.width",
        "8",
        "--tokenizer.quantizer.num_codes",
        "8",
    ]
    main(
        [
            "train-tokenizer",
            *small,
            *model,
            *loop,
            "--out",
            str(tmp_path / "t"),
            "--tokenizer.quantizer.code_dim",
            "4",
        ]
    )
    denoiser = [
        "--denoiser.width",
        "16",
        "--denoiser.depth",
        "1",
        "--denoiser.heads",
        "2",
        "--sampling.steps",
        "2",
    ]
    source = [
        "--data.source",
        "shards",
        "--data.root",
        str(tmp_path / "out"),
        "--tokenizer",
        str(tmp_path / "t"),
    ]
    main(
        [
            "train-diffusion",
            *source,
            *denoiser,
            *loop,
            "--cache",
            str(tmp_path / "cache"),
            "--out",
            str(tmp_path / "d"),
        ]
    )
    assert "36 images" in capsys.readouterr().out
    settings = json.loads((tmp_path / "d" / "model" / "config.json").read_text())
    assert settings["class_names"] == ["a", "b", "c"]
    for words in (["nowhere", tmp_path / "x"], [tmp_path / "in", tmp_path / "in"], ["digits", tmp_path / "x", "--held-out", "true"],
                  [tmp_path / "in", tmp_path / "x", "--shard-images", "0"]):  # fmt: skip
        with pytest.raises(SystemExit) as stop:
            main(["shards", *map(str, words)])
        assert stop.value.code == 2 and "error:" in capsys.readouterr().err


FULL = """
import os, resource, sys
from d3pm_image.cli import main
from d3pm_image.recipes import tokenizer
import d3pm_image.data.images, d3pm_image.training.loop
opened = tokenizer.open_images
def then_no_more(*arguments):
    found = opened(*arguments)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    try:
        while True: os.dup(0)
    except OSError:
        return found
tokenizer.open_images = then_no_more
main(sys.argv[1:])
"""


def test_too_many_open_files_end_the_command_in_one_line(tmp_path):
    images(tmp_path / "in", *(f"{i}.png" for i in range(10)))
    command = [
        sys.executable,
        "-c",
        FULL,
        "train-tokenizer",
        "--data.root",
        str(tmp_path / "in"),
        *SMALL,
        "--out",
        str(tmp_path / "o"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Too many open files" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "o" / "model").exists()
