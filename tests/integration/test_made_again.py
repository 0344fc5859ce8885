"""``show --again`` on one's own images."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers.command_line import fails, run
from helpers.notes import made
from PIL import Image

from d3pm_image.imaging import save_image
from d3pm_image.provenance import read_settings


def test_a_model_may_be_named_by_its_folder_or_by_hand(trained, tmp_path, capsys):
    run("generate", trained / "diffusion", "--num-images", 1, "--out", tmp_path / "a.png")
    metadata = {
        name: value for name, value in read_settings(tmp_path / "a.png").items() if name != "weights_sha256"
    }  # noted on this machine
    again = made(
        tmp_path, {**metadata, "model": "somebody/somewhere"}, "b.png", Image.open(tmp_path / "a.png").size
    )
    assert "is not on this machine" in fails(capsys, "show", again, "--again")
    with pytest.raises(
        SystemExit
    ) as stop:  # made, with other pixels than the black image that claims to be it
        run("show", again, "--again", "--model", trained / "diffusion")
    assert stop.value.code == 1 and "of the pixels differ" in capsys.readouterr().out


def test_an_image_is_made_again_in_its_batch(trained, tmp_path, monkeypatch, capsys):
    """bf16: the size of the batch changes pixels; the image tells in which batch it was drawn."""
    from d3pm_image import Pipeline

    run(
        "generate",
        trained / "diffusion",
        "--num-images",
        7,
        "--first",
        2,
        "--batch-size",
        4,
        "--precision",
        "bf16",
        "--out",
        tmp_path / "s",
    )
    seen, generate = [], Pipeline.generate
    monkeypatch.setattr(
        Pipeline,
        "generate",
        lambda self, *a, **k: seen.append((a[0], k["first"], k["batch_size"])) or generate(self, *a, **k),
    )
    files = sorted((tmp_path / "s").iterdir())
    for path, batch in ((files[1], (4, 2, 4)), (files[5], (3, 6, 3))):
        run("show", path, "--again", "--out", tmp_path / "new.png", "--overwrite")
        assert seen.pop() == batch and "every pixel is as in" in capsys.readouterr().out
    run(
        "generate",
        trained / "diffusion",
        "--num-images",
        3,
        "--batch-size",
        2,
        "--out",
        tmp_path / "grid.png",
    )
    seen.clear()
    run("show", tmp_path / "grid.png", "--again")
    assert seen == [(2, 0, 2), (1, 2, 2)]


def test_variants_are_made_again_together(trained, image_file, tmp_path, monkeypatch, capsys):
    from d3pm_image import Pipeline

    words = [
        "--variants",
        3,
        "--first",
        2,
        "--batch-size",
        2,
        "--precision",
        "bf16",
        "--out",
        tmp_path / "v.png",
    ]
    run("inpaint", trained / "diffusion", image_file[0], "--box", "4,4,9,9", *words)
    seen, inpaint = [], Pipeline.inpaint
    monkeypatch.setattr(
        Pipeline,
        "inpaint",
        lambda self, *a, **k: (
            seen.append([k[n] for n in ("variants", "first", "batch_size")]) or inpaint(self, *a, **k)
        ),
    )
    run("show", tmp_path / "v-2.png", "--again")
    assert seen == [[3, 2, 2]] and "every pixel is as in" in capsys.readouterr().out


def test_other_pixels_end_with_1_and_say_why(trained, tmp_path, capsys):
    run("generate", trained / "diffusion", "--num-images", 2, "--out", tmp_path / "s")
    path = sorted((tmp_path / "s").iterdir())[0]
    with Image.open(path) as image:
        metadata, changed = json.loads(image.text["d3pm_image"]), 255 - np.asarray(image)
    for without, says in ((("batch_first", "batch_size"), "another batch size"), ((), "another device")):
        save_image(
            Image.fromarray(changed),
            path,
            {name: value for name, value in metadata.items() if name not in without},
        )
        with pytest.raises(SystemExit) as stop:
            run("show", path, "--again")
        said = capsys.readouterr().out
        assert stop.value.code == 1 and f"differ from {path.name}: {says}" in said
    assert sorted(p.name for p in (tmp_path / "s").glob("0000*again*")) == [
        "0000-seed0-0-again-2.png",
        "0000-seed0-0-again.png",
    ]
