"""The configurations of named methods train and draw."""

from __future__ import annotations

import math

import pytest
from helpers.methods import FOLDER, NAMES, load
from helpers.tiny import options

from d3pm_image import Pipeline
from d3pm_image.cli import train_diffusion


@pytest.mark.parametrize("name", NAMES)
def test_configurations_train_and_sample(name, tmp_path):
    pytest.importorskip("sklearn")
    small = {"width": 16, "depth": 1, "heads": 2}
    loop = {"steps": 6, "batch_size": 8, "preview_every": 0, "checkpoint_every": 6, "warmup_steps": 2}
    groups = [
        *options("train", loop),
        *options("denoiser", small),
        "--data.limit",
        "16",
        "--sampling.steps",
        "4",
    ]
    train_diffusion.main(["--config", str(FOLDER / f"{name}.yaml"), *groups, "--out", str(tmp_path / name)])
    pipe = Pipeline.from_pretrained(tmp_path / name)
    assert pipe.process_config == load(name).process
    assert math.isfinite(pipe.metadata["validation"]["bits_per_code"])
    images = pipe.generate(2)
    assert [(image.size, image.mode) for image in images] == [((8, 8), "L")] * 2
