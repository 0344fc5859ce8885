"""Shared fixtures: tiny models, real data where it is there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.image_files import images
from helpers.odd_names import ODD
from helpers.paths import ROOT, SHARED
from helpers.tiny import DENOISER, LOOP, TOKENIZER
from PIL import Image

warnings.filterwarnings("ignore", message=".*pin_memory.*")
INTEGRATION = ROOT / "tests" / "integration"


def pytest_ignore_collect(collection_path, config):
    """Without the integration tests their modules are not even imported, which takes seconds."""
    return True if "not integration" in config.option.markexpr and collection_path == INTEGRATION else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """What lies in tests/integration is marked by its folder."""
    for item in items:
        if INTEGRATION in item.path.parents:
            item.add_marker("integration")


@pytest.fixture(autouse=True, scope="session")
def private_cache(tmp_path_factory):
    """Caches of the tests go to a temporary folder."""
    os.environ["D3PM_IMAGE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["D3PM_IMAGE_PRECISION"] = (
        "float32"  # what is compared bit by bit is the same on every processor
    )
    torch.set_num_threads(1)


def unpacked(name: str, tmp_path_factory) -> Path:
    if not (SHARED / "unpack").is_file():
        pytest.skip(f"needs the {name} images beside the repository (../shared/data)")
    where = tmp_path_factory.mktemp(name)
    subprocess.run([str(SHARED / "unpack"), str(where), name], check=True, capture_output=True)
    return where


@pytest.fixture(scope="session")
def flowers(tmp_path_factory):
    """Folder with train/ and val/ class folders of 128-pixel photographs."""
    return unpacked("flowers", tmp_path_factory) / "flower_photos_128"


@pytest.fixture(scope="session")
def fashion_mnist(tmp_path_factory):
    return unpacked("fashion_mnist", tmp_path_factory)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Run folders (tokenizer, diffusion) of a minute's training on digits."""
    from d3pm_image import train_diffusion, train_tokenizer

    pytest.importorskip("sklearn")
    folder = tmp_path_factory.mktemp("trained")
    train_tokenizer("digits", image_size=8, tokenizer=TOKENIZER, train=LOOP, out=folder / "tokenizer")
    stage_two = {"denoiser": DENOISER, "sampling": {"steps": 4}, "train": LOOP}
    train_diffusion("digits", tokenizer=str(folder / "tokenizer"), out=folder / "diffusion", **stage_two)
    return folder


@pytest.fixture
def copied(trained, tmp_path):
    """A private copy of the trained runs."""
    shutil.copytree(trained, tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def image_file(tmp_path):
    """An image file of 30 by 20 pixels, and a mask file whose middle is hidden."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    mask = np.zeros((20, 30), np.uint8)
    mask[5:15, 10:20] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return tmp_path / "image.png", tmp_path / "mask.png"


@pytest.fixture
def one_accelerator_a_test():
    """Accelerate keeps one state a process; each run of these tests is a program of its own."""
    yield
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def pipe():
    """A shipped model."""
    from d3pm_image import Pipeline

    return Pipeline.from_pretrained("fashion-mnist")


@pytest.fixture
def model(trained):
    """Folder of the run of stage two."""
    return trained / "diffusion"


@pytest.fixture
def plans(tmp_path):
    """YAML files of two stages; the second names a tokenizer that the first will train."""
    loop = dict(LOOP, batch_size=8)
    one = {
        "out": str(tmp_path / "runs/tokenizer"),
        "data": {"image_size": 8, "channels": 1},
        "tokenizer": TOKENIZER,
        "train": loop,
    }
    two = {
        "out": str(tmp_path / "runs/diffusion"),
        "tokenizer": one["out"],
        "denoiser": DENOISER,
        "train": loop,
    }
    for name, values in (("tokenizer", one), ("diffusion", two)):
        (tmp_path / f"{name}.yaml").write_text(json.dumps(values), encoding="utf-8")  # JSON is YAML
    return tmp_path


@pytest.fixture
def odd(tmp_path) -> Path:
    """Two classes and a root with such names; skips where the file system refuses them."""
    root = tmp_path / ODD
    try:
        images(root, *(f"{ODD if i % 2 else 'b'}/{i}{ODD}.png" for i in range(10)))
    except OSError:
        pytest.skip("the file system wants UTF-8")
    return root
