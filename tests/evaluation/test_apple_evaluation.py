"""An evaluation on a device without float64: the figures of the CPU."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
from helpers.apple import DEVICE, apple_machine
from helpers.edits import model

from d3pm_image import evaluate


def test_an_evaluation_gives_the_figures_of_the_cpu():
    images = np.random.default_rng(0).integers(0, 256, (64, 16, 16), dtype=np.uint8)
    settings = {"likelihood": True, "num_samples": 0, "reconstruction_distance": False, "batch_size": 4}
    expected = evaluate(deepcopy(model(2)), images, **settings)
    with apple_machine():
        pipe = deepcopy(model(2))
        found = evaluate(pipe, images, device="mps", **settings)
        assert pipe.device == DEVICE
    for figures in (expected, found):
        assert figures["likelihood"].pop("seconds") >= 0
    assert found["tokenizer"] == expected["tokenizer"] and found["likelihood"] == expected["likelihood"]
    assert found["denoiser_sha256"] == expected["denoiser_sha256"]
