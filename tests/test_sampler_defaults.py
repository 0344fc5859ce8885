"""Each sampler's own defaults hold unless somebody typed another value: in the class, the help, the docs and in what runs."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from conftest import ROOT
from d3pm_image.commands.parsing import parse
from d3pm_image.sampling.rules import settings_read

from d3pm_image import Pipeline, commands
from d3pm_image.config import OWN_DEFAULTS, SAMPLERS, DiffusionRun, SamplerConfig
from d3pm_image.provenance import describe, read_settings
from d3pm_image.sampling import make_rule

PAPERS = {
    ("confidence", "gumbel"): 4.5, ("confidence", "reveal"): "cosine", ("entropy", "gumbel"): 4.5, ("entropy", "reveal"): "cosine",
    ("margin", "gumbel"): 4.5, ("margin", "reveal"): "cosine", ("halton", "reveal"): "arccos", ("purity", "gumbel"): 1.0,
    ("ctmc", "eta"): 0.0, ("renoise", "eta"): 1.0, ("remask", "eta"): 0.1, ("predictor_corrector", "eta"): 1.0,
}  # fmt: skip
WRITTEN_BEFORE = {"gumbel": 4.5, "reveal": "cosine", "eta": 0.1}  # in every model's config.json, whatever its sampler


@pytest.fixture(scope="module")
def pipe():
    return Pipeline.from_pretrained("fashion-mnist")


def test_the_table_the_classes_and_the_samplers_that_read_them_agree():
    assert {(name, setting): value for name, own in OWN_DEFAULTS.items() for setting, value in own.items()} == PAPERS
    for name in SAMPLERS:
        rule, shared = make_rule(SamplerConfig(sampler=name)), {"gumbel", "reveal", "eta"}
        assert set(OWN_DEFAULTS.get(name, {})) == settings_read(SamplerConfig(sampler=name)) & shared
        for setting, value in OWN_DEFAULTS.get(name, {}).items():
            assert getattr(rule, setting) == value == getattr(type(rule), setting, value)
            assert next(f.default for f in dataclasses.fields(rule) if f.name == setting) == value


@pytest.mark.parametrize(("name", "setting"), PAPERS, ids=str)
def test_what_runs_is_the_samplers_own_default(pipe, name, setting):
    """The model's default sampler reads none of these, and its folder says eta 0.1, gumbel 4.5, reveal cosine."""
    config = pipe.settings(sampler=name)
    assert getattr(config, setting) == PAPERS[name, setting] == getattr(make_rule(config), setting)
    typed = {"gumbel": 2.0, "reveal": "linear", "eta": 0.3}[setting]
    assert getattr(make_rule(pipe.settings(sampler=name, **{setting: typed})), setting) == typed


def test_a_models_own_settings_belong_to_its_own_sampler(pipe):
    other = Pipeline(
        pipe.tokenizer, pipe.denoiser, pipe.process_config, pipe.image_size, pipe.class_names, SamplerConfig("confidence", gumbel=10.0)
    )
    assert make_rule(other.settings(steps=3)).gumbel == make_rule(other.settings(sampler="confidence")).gumbel == 10
    assert make_rule(other.settings(sampler="purity")).gumbel == 1
    assert make_rule(other.settings(sampler="margin")).gumbel == 4.5


@pytest.mark.parametrize("model", ["fashion-mnist", "eurosat"])
def test_models_draw_what_they_drew(model):
    """What config.json says of the default sampler holds, all of it written out."""
    stored = json.loads((ROOT / "d3pm_image" / "models" / model / "config.json").read_text())["sampler"]
    assert dataclasses.asdict(Pipeline.from_pretrained(model).settings()) == stored
    before = SamplerConfig(**{**stored, "sampler": "renoise"})  # a model that was given this sampler in training
    assert make_rule(before).eta == stored["eta"]


def test_the_command_runs_and_records_the_samplers_own_defaults(tmp_path, pipe):
    out = tmp_path / "new"
    commands.main(["generate", "fashion-mnist", "--sampler", "renoise", "--steps", "3", "--num-images", "2", "--out", str(out)])
    path = sorted(out.iterdir())[0]
    assert read_settings(path)["eta"] == 1.0
    from PIL import Image

    with Image.open(path) as image:
        right = pipe.generate(1, steps=3, sampler="renoise", eta=1.0)[0]
        assert np.array_equal(np.asarray(image), np.asarray(right))
    assert "drawing" not in describe(read_settings(path))


def test_show_names_what_is_not_the_samplers_own_default():
    facts = {"command": "generate", "sampler": "renoise", "seed": 0, **WRITTEN_BEFORE}
    assert describe(facts)["drawing"] == "eta 0.1"  # as version 0.1.0 drew it
    assert "drawing" not in describe({**facts, "eta": 1.0})
    assert "drawing" not in describe({**facts, "sampler": "ancestral"}) and describe({**facts, "sampler": ["x"]})


def test_training_stores_the_samplers_own_default(tmp_path):
    """Nested options and files: what is not typed stays open until the sampler is known."""
    words = ["--tokenizer", "x", "--out", "y"]
    run = parse("train-diffusion", DiffusionRun, [*words, "--sampler.sampler", "renoise"])
    assert run.sampler.eta is None and make_rule(run.sampler).eta == 1
    path = tmp_path / "run.yaml"
    path.write_text("sampler:\n  sampler: halton\n")
    assert make_rule(parse("train-diffusion", DiffusionRun, [*words, "--config", str(path)]).sampler).reveal == "arccos"
    started = parse("train-diffusion", DiffusionRun, ["--start_from", "fashion-mnist", "--out", "y", "--sampler.sampler", "renoise"])
    assert make_rule(started.sampler).eta == 1


def test_help_and_page_name_the_defaults():
    text = SamplerConfig.__doc__ or ""
    page = (ROOT / "docs" / "samplers.md").read_text(encoding="utf-8")
    for (name, setting), value in PAPERS.items():
        line = next(line for line in text.splitlines() if line.strip().startswith(f"{setting}:"))
        assert name in line and (f"{value:g}" if isinstance(value, float) else value) in line
        row = next(row for row in page.splitlines() if row.startswith("| `") and f"`{name}`" in row.split("|")[1])
        assert f"`{setting}` {value:g}" in row if isinstance(value, float) else f"`{setting}` {value}" in row


def test_a_search_tries_samplers_with_their_own_defaults(pipe):
    from d3pm_image.commands.sweep import combine

    found, skipped = combine({"sampler": ["renoise", "purity", "ctmc"], "steps": [4]}, pipe)
    assert not skipped and [make_rule(c).eta for c in found if c.sampler != "purity"] == [1, 0]
    assert [c.gumbel for c in found if c.sampler == "purity"] == [1]
