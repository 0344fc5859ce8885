"""Files of runs: written by the rules of every system, with names that all can store, and no word of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from d3pm_image.cli import main
from d3pm_image.provenance import read_settings
from d3pm_image.provenance.record import model_name

TWIN = """
import errno, os, sys
real_open, real_fsync, flags_of = os.open, os.fsync, {}
def w_open(path, flags, *a, **k):
    if os.path.isdir(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))
    handle = real_open(path, flags, *a, **k)
    flags_of[handle] = flags
    return handle
def w_fsync(handle):
    if handle in flags_of and not flags_of[handle] & (os.O_WRONLY | os.O_RDWR):
        raise OSError(errno.EBADF, "Bad file descriptor")
    return real_fsync(handle)
os.open, os.fsync = w_open, w_fsync
from d3pm_image.cli import main
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_tokenizer_is_trained_where_folders_and_reading_handles_cannot_be_flushed(tmp_path):
    words = "train-tokenizer --data.source digits --data.image_size 16 --data.channels 1 --tokenizer.width 8 --tokenizer.quantizer.num_codes 8"
    words += (
        f" --tokenizer.quantizer.code_dim 4 --train.steps 2 --train.batch_size 8 --out {tmp_path / 'out'}"
    )
    result = subprocess.run(
        [sys.executable, "-c", TWIN, *words.split()], capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert (tmp_path / "out" / "model" / "config.json").is_file()


@pytest.mark.parametrize("stem", ["x" * 245, "a\\b"])
def test_results_of_images_with_odd_names(trained, tmp_path, stem):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"{stem}.png")
    main(["inpaint", str(trained / "diffusion"), str(tmp_path / f"{stem}.png"), "--box", "2,2,3,3"])
    made = [p for p in tmp_path.iterdir() if p.name != f"{stem}.png"]
    assert len(made) == 1 and made[0].name.endswith("-inpainted.png") and "\\" not in made[0].name


def test_images_do_not_tell_where_the_model_lies(trained, tmp_path, monkeypatch):
    model = trained / "diffusion"
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    main(["generate", str(model), "--num-images", "1", "--out", str(tmp_path / "g.png")])
    main(
        [
            "inpaint",
            str(model / "model"),
            str(tmp_path / "image.png"),
            "--box",
            "2,2,3,3",
            "--out",
            str(tmp_path / "i.png"),
        ]
    )
    main(
        [
            "interpolate",
            str(model),
            str(tmp_path / "image.png"),
            str(tmp_path / "image.png"),
            "--frames",
            "2",
            "--out",
            str(tmp_path / "m.png"),
        ]
    )
    for name, expected in (("g", "diffusion"), ("i", "diffusion/model"), ("m", "diffusion")):
        metadata = read_settings(tmp_path / f"{name}.png")
        assert metadata["model"] == expected and str(trained) not in json.dumps(metadata)
    main(["show", str(tmp_path / "g.png"), "--again", "--out", str(tmp_path / "again.png")])
    assert read_settings(tmp_path / "again.png")["model"] == "diffusion"
    monkeypatch.chdir(trained)
    assert model_name(model) == "diffusion" and model_name(trained / "a" / "b") == os.path.join("a", "b")
    assert [model_name(name) for name in ("eurosat", "someone/digits@v1", "runs/a")] == [
        "eurosat",
        "someone/digits@v1",
        "runs/a",
    ]


def test_a_packaged_evaluation_does_not_tell_where_the_model_lay(trained, tmp_path):
    model = tmp_path / "given"
    main(["package", str(trained / "diffusion"), "--out", str(model)])
    main(["evaluate", str(model), "--num-samples", "20", "--out", str(tmp_path / "e.json"), "--steps", "2"])
    main(["package", str(model), "--out", str(tmp_path / "scored"), "--evaluation", str(tmp_path / "e.json")])
    told = "".join(p.read_text() for p in (tmp_path / "scored").rglob("*") if p.suffix in (".md", ".json"))
    assert "d3pm-image evaluate given" in told and str(tmp_path) not in told
