"""Tuning from Python."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.command_line import run
from helpers.tuning import hashes, measured
from PIL import Image

from d3pm_image import Pipeline, tune
from d3pm_image.config import ConfigError
from d3pm_image.evaluation import tune as tuning
from d3pm_image.sampling.choice import flat

FEW = {"samplers": ["confidence"], "steps": [2], "guidance": [1, 1.5], "num_samples": 20}


def test_from_python_a_run_is_tuned_as_the_command_does(copied):
    run(
        "tune",
        copied / "diffusion",
        "--samplers",
        "confidence",
        "--steps",
        "2",
        "--guidance",
        "1,1.5",
        "--num-samples",
        "20",
        "--save",
        "false",
    )
    typed = measured(copied / "diffusion" / "tune" / "tune.json")
    found = tune(copied / "diffusion", **FEW)
    assert [e["figures"] for e in typed] == [e["figures"] for e in measured(found.figures_file)] and len(
        typed
    ) == 3
    assert (
        found.figures_file == copied / "diffusion" / "tune" / "tune.json" and found.chart.name == "tune-2.png"
    )
    again = Pipeline.from_pretrained(copied / "diffusion")
    assert flat(again.sampler, again.sampling) == found.best and again.metadata["tuned"]["num_samples"] == 20
    assert again.generate(1, seed=3) == found.pipe.generate(1, seed=3, **found.best)
    assert "best" in str(found) and "real images" in str(found)


def test_a_pipeline_in_memory_is_tuned_on_images_in_memory_and_writes_nothing(copied, monkeypatch):
    before, pipe = hashes(copied), Pipeline.from_pretrained(copied / "diffusion")
    height, width = pipe.image_size
    labels = np.arange(200) % len(pipe.class_names)
    names = [pipe.class_names[number] for number in labels]
    images = np.random.default_rng(0).integers(0, 256, (200, height, width), dtype=np.uint8)
    present = (pipe.sampler, pipe.sampling)
    found = tune(
        pipe,
        data=[(Image.fromarray(i), name) for i, name in zip(images, names, strict=True)],
        **FEW,
        save=False,
    )
    assert (
        (pipe.sampler, pipe.sampling) == present
        and len(found.rows) == 3
        and found.figures_file is None is found.chart
    )
    remembered = tune(pipe, **FEW)
    assert remembered.real != found.real, "the images were not those that were given"
    assert flat(pipe.sampler, pipe.sampling) == remembered.best and remembered.pipe is pipe
    assert hashes(copied) == before


def test_a_shipped_model_is_tuned_without_touching_it(monkeypatch):
    with pytest.raises(ConfigError, match="came with the package"):
        tune("fashion-mnist", **FEW)
    found, stop = [], KeyboardInterrupt
    monkeypatch.setattr(
        tuning,
        "measured",
        lambda args, pipe, place, folder, data: found.append((place, folder)) or (_ for _ in ()).throw(stop),
    )
    with pytest.raises(stop):
        tune("fashion-mnist", **FEW, save=False)
    assert found[0][0].name == "fashion-mnist" and found[0][1] is None


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"step": [2]}, TypeError, "did you mean steps"),
        ({"steps": 2}, ConfigError, "steps=2"),
        ({"steps": []}, ConfigError, "steps="),
        ({"samplers": []}, ConfigError, "samplers="),
        ({"guidance": ["1"]}, ConfigError, "guidance="),
        ({"metric": "beauty"}, ConfigError, "metric='beauty'"),
        ({"precision": "half"}, ConfigError, "precision='half'"),
        ({"eta": [-1.0], "samplers": ["ctmc"]}, ConfigError, "eta=-1"),
    ],
)
def test_wrong_python_requests(settings, error, words):
    with pytest.raises(error, match=words):
        tune("fashion-mnist", **settings)
