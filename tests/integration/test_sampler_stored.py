"""The sampler that training stores."""

from __future__ import annotations

from d3pm_image.config import DiffusionRun
from d3pm_image.parser import parse
from d3pm_image.sampling.choice import from_values


def test_training_stores_the_samplers_own_default(tmp_path):
    """Options, files of today and files of version 0.1.0: what is not typed is the sampler's own."""
    words = ["--tokenizer", "x", "--out", "y"]

    def sampler(*more):
        return from_values(parse("train-diffusion", DiffusionRun, [*words, *map(str, more)]).sampler)

    assert (
        sampler("--sampler.name", "renoise").eta == 1
        and sampler("--sampler.name", "renoise", "--sampler.eta", "2").eta == 2
    )
    path = tmp_path / "run.yaml"
    path.write_text("sampler:\n  sampler: halton\n  steps: 3\n")
    old = parse("train-diffusion", DiffusionRun, [*words, "--config", str(path)])
    assert from_values(old.sampler).reveal == "arccos" and old.sampling.steps == 3
    path.write_text("sampler: {name: halton, reveal: linear}\nsampling: {steps: 3}\n")
    assert sampler("--config", path).reveal == "linear"
    started = parse(
        "train-diffusion",
        DiffusionRun,
        ["--start_from", "fashion-mnist", "--out", "y", "--sampler.name", "renoise"],
    )
    assert from_values(started.sampler).eta == 1 and started.sampling.guidance == 1.5
