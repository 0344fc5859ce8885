"""Each sampler's own defaults hold unless somebody typed another value: in the class, the help, the docs and in what runs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers.paths import ROOT

from d3pm_image import Pipeline, cli
from d3pm_image.cli.options import SamplerChanges
from d3pm_image.provenance import describe, read_settings
from d3pm_image.sampling import SAMPLERS
from d3pm_image.sampling.choice import make_sampler, migrated

PAPERS = {
    ("confidence", "gumbel"): 4.5, ("confidence", "reveal"): "cosine", ("entropy", "gumbel"): 4.5, ("entropy", "reveal"): "cosine",
    ("margin", "gumbel"): 4.5, ("margin", "reveal"): "cosine", ("halton", "reveal"): "arccos", ("purity", "gumbel"): 1.0,
    ("ctmc", "eta"): 0.0, ("renoise", "eta"): 1.0, ("remask", "eta"): 0.1, ("predictor_corrector", "eta"): 1.0,
}  # fmt: skip


def test_the_classes_have_the_defaults_of_the_papers():
    shared = {"gumbel", "reveal", "eta"}
    found = {
        (name, setting): value
        for name, kind in SAMPLERS.items()
        for setting, value in kind().settings().items()
        if setting in shared
    }
    assert found == PAPERS


@pytest.mark.parametrize(("name", "setting"), PAPERS, ids=str)
def test_what_runs_is_the_samplers_own_default(pipe, name, setting):
    """The model's folder was written by version 0.1.0, and says eta 0.1, gumbel 4.5, reveal cosine."""
    assert getattr(pipe.request(sampler=name).sampler, setting) == PAPERS[name, setting]
    typed = {"gumbel": 2.0, "reveal": "linear", "eta": 0.3}[setting]
    assert getattr(pipe.request(sampler=name, **{setting: typed}).sampler, setting) == typed


def test_a_models_own_settings_belong_to_its_own_sampler(pipe):
    parts = pipe.tokenizer, pipe.denoiser, pipe.process_config, pipe.image_size, pipe.class_names
    other = Pipeline(*parts, make_sampler("confidence", gumbel=10.0))
    assert other.request(steps=3).sampler.gumbel == other.request(sampler="confidence").sampler.gumbel == 10
    assert other.request(sampler="purity").sampler.gumbel == 1
    assert other.request(sampler="margin").sampler.gumbel == 4.5


def test_models_draw_what_they_drew():
    """What config.json of a model of version 0.1.0 says of the default sampler holds."""
    model = "fashion-mnist"
    stored = json.loads((ROOT / "d3pm_image" / "models" / model / "config.json").read_text())["sampler"]
    later = {"set_guidance": ""}  # settings that came after it, which are off
    assert Pipeline.from_pretrained(model).request().values().items() <= (stored | later).items()
    before = migrated({**stored, "sampler": "renoise"})[0]  # a model that was given this sampler in training
    assert before.eta == stored["eta"]


def test_the_command_runs_and_records_the_samplers_own_defaults(tmp_path, pipe):
    out = tmp_path / "new"
    cli.main(
        [
            "generate",
            "fashion-mnist",
            "--sampler",
            "renoise",
            "--steps",
            "3",
            "--num-images",
            "2",
            "--out",
            str(out),
        ]
    )
    path = sorted(out.iterdir())[0]
    assert read_settings(path)["eta"] == 1.0
    from PIL import Image

    with Image.open(path) as image:
        right = pipe.generate(1, steps=3, sampler="renoise", eta=1.0)[0]
        assert np.array_equal(np.asarray(image), np.asarray(right))
    assert "drawing" not in describe(read_settings(path))


def test_show_names_what_is_not_the_samplers_own_default():
    metadata = {"command": "generate", "sampler": "renoise", "seed": 0, "eta": 0.1}
    assert describe(metadata)["drawing"] == "eta 0.1"  # as version 0.1.0 drew it
    assert "drawing" not in describe({**metadata, "eta": 1.0})
    assert "drawing" not in describe({**metadata, "sampler": "ancestral"}) and describe(
        {**metadata, "sampler": ["x"]}
    )


def test_help_and_page_name_the_defaults():
    text = SamplerChanges.__doc__ or ""
    page = (ROOT / "docs" / "samplers.md").read_text(encoding="utf-8")
    for (name, setting), value in PAPERS.items():
        line = next(line for line in text.splitlines() if line.strip().startswith(f"{setting}:"))
        assert f"{name} (default {value})" in line
        row = next(
            row for row in page.splitlines() if row.startswith("| `") and f"`{name}`" in row.split("|")[1]
        )
        assert f"`{setting}` {value:g}" in row if isinstance(value, float) else f"`{setting}` {value}" in row


def test_a_search_tries_samplers_with_their_own_defaults(pipe):
    from d3pm_image.evaluation.sweep import combine

    found, skipped = combine({"sampler": ["renoise", "purity", "ctmc"], "steps": [4]}, pipe)
    assert not skipped and [sampler.settings() for sampler, _ in found] == [
        {"eta": 1.0},
        {"gumbel": 1.0},
        {"eta": 0.0, "form": "exact"},
    ]
