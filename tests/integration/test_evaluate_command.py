"""The evaluate command on tokenizers and runs."""

from __future__ import annotations

import json
import sys

import pytest
from helpers.command_line import fails, run
from helpers.image_sets import noisy
from helpers.tokenizers import small, started
from PIL import Image

from d3pm_image.tokenizer import Autoencoder, save_tokenizer


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory):
    """A tokenizer that remembers a folder of images without classes."""
    root = tmp_path_factory.mktemp("unlabelled")
    (root / "in").mkdir()
    for i, pixels in enumerate(noisy(20, 16)):
        Image.fromarray(pixels).save(root / "in" / f"{i:02d}.png")
    data = {"source": "folder", "root": str(root / "in"), "image_size": 16, "channels": 1, "val_share": 0.5}
    save_tokenizer(started(small(), 1), root / "tokenizer", 16, {"data": data})
    return root


@pytest.mark.slow
def test_without_classes_the_distance_is_in_features_of_a_trained_network(unlabelled, tmp_path):
    pytest.importorskip("efficientnet_lite_pytorch")
    run(
        "evaluate",
        unlabelled / "tokenizer",
        "--root",
        unlabelled / "in",
        "--out",
        tmp_path / "e.json",
        "--batch-size",
        4,
    )
    found = json.loads((tmp_path / "e.json").read_text())["tokenizer"]
    assert found["reconstruction_frechet_distance"] > 0 and "note" not in found
    assert found["reconstruction_frechet_features"].startswith("EfficientNet-Lite0")
    run(
        "evaluate",
        unlabelled / "tokenizer",
        "--root",
        unlabelled / "in",
        "--out",
        tmp_path / "f.json",
        "--batch-size",
        64,
    )
    again = json.loads((tmp_path / "f.json").read_text())["tokenizer"]
    assert again.pop("reconstruction_frechet_distance") == pytest.approx(
        found.pop("reconstruction_frechet_distance"), rel=1e-4
    )
    assert again == found


def test_without_classes_and_network_the_distance_is_left_out_in_words(unlabelled, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    run("evaluate", unlabelled / "tokenizer", "--root", unlabelled / "in", "--out", tmp_path / "e.json")
    found = json.loads((tmp_path / "e.json").read_text())["tokenizer"]
    assert "reconstruction_frechet_distance" not in found
    assert "left out: the images have no classes" in found["note"] and "pip install" in found["note"]
    without = (
        "--root",
        unlabelled / "in",
        "--reconstruction-distance",
        "false",
        "--out",
        tmp_path / "e.json",
        "--overwrite",
    )
    run("evaluate", unlabelled / "tokenizer", *without)
    assert "note" not in json.loads((tmp_path / "e.json").read_text())["tokenizer"]


def test_evaluate_loads_and_encodes_once(trained, tmp_path, monkeypatch):
    """A whole model with everything asked for: 180 held-out digits go through the tokenizer once, its file is read once."""
    import d3pm_image.bundle
    import d3pm_image.tokenizer

    encoded, loaded = [], []
    encode, load = Autoencoder.encode, d3pm_image.tokenizer.load_tokenizer
    monkeypatch.setattr(
        Autoencoder, "encode", lambda self, images: encoded.append(len(images)) or encode(self, images)
    )
    for module in (d3pm_image.bundle, d3pm_image.tokenizer):
        monkeypatch.setattr(module, "load_tokenizer", lambda folder: loaded.append(folder) or load(folder))
    arguments = [
        "--likelihood",
        "true",
        "--draws",
        2,
        "--num-samples",
        20,
        "--steps",
        2,
        "--worst",
        tmp_path / "w.png",
    ]
    run("evaluate", trained / "diffusion", *arguments, "--out", tmp_path / "e.json")
    assert sum(encoded) == 180 and len(loaded) == 1
    found = json.loads((tmp_path / "e.json").read_text())
    assert found["likelihood"]["images"] == 180 and len(found["worst"]) == 16
    run(
        "evaluate",
        trained / "diffusion",
        *arguments[:4],
        "--num-samples",
        0,
        "--batch-size",
        50,
        "--out",
        tmp_path / "f.json",
    )
    again = json.loads((tmp_path / "f.json").read_text())
    assert again["tokenizer"] == found["tokenizer"]


def test_held_out_images_that_have_moved(tmp_path, capsys):
    """A model trained with a folder of held-out images finds them where they are now."""
    for part, count in (("train", 4), ("val", 3)):
        for i, pixels in enumerate(noisy(count, 16)):
            (tmp_path / part).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / part / f"{i}.png")
    data = {
        "source": "folder",
        "root": "/nowhere/train",
        "val_root": "/nowhere/val",
        "image_size": 16,
        "channels": 1,
    }
    save_tokenizer(started(small(), 1), tmp_path / "tokenizer", 16, {"data": data})
    base = ["evaluate", tmp_path / "tokenizer", "--reconstruction-distance", "false"]
    assert "/nowhere/train" in fails(capsys, *base)
    run(*base, "--root", tmp_path / "train", "--val-root", tmp_path / "val")
    assert '"held_out_images": 3' in capsys.readouterr().out
