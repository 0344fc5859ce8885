"""Shared fixtures: tiny models, real data where it is there."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import warnings
from pathlib import Path

import pytest
import torch

from d3pm_image.recipes.settings import leaves

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
warnings.filterwarnings("ignore", message=".*pin_memory.*")


@pytest.fixture(autouse=True, scope="session")
def private_cache(tmp_path_factory):
    """Caches of the tests go to a temporary folder."""
    os.environ["D3PM_IMAGE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
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


LOOP = {"steps": 60, "batch_size": 64, "warmup_steps": 5, "preview_every": 30, "checkpoint_every": 20, "log_every": 5}
TOKENIZER = {"downsampling": 2, "multipliers": [1], "width": 16, "quantizer": {"num_codes": 32, "code_dim": 8}}
DENOISER = {"width": 32, "depth": 2, "heads": 2}


def free_port() -> str:
    """A port for torchrun that nobody listens on: tests run side by side."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def options(group: str, values: dict) -> list[str]:
    """Settings, nested or not, as options of the command line."""
    return [word for name, value in leaves(values, f"{group}.").items() for word in (f"--{name}", str(value))]


TINY_TOKENIZER = [*options("data", {"image_size": 8, "channels": 1}), *options("tokenizer", TOKENIZER), *options("train", LOOP)]
TINY_DIFFUSION = [*options("denoiser", DENOISER), *options("train", LOOP), *options("sampling", {"steps": 4})]


@pytest.fixture
def copied(trained, tmp_path):
    """A private copy of the trained runs."""
    shutil.copytree(trained, tmp_path / "runs")
    return tmp_path / "runs"
