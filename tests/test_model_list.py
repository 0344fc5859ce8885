"""Which models can be named: shipped ones and those of the hub's cache, each by its own words."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from helpers.command_line import run

from d3pm_image import model_list
from d3pm_image.hub import SHIPPED, shipped
from d3pm_image.model_list import known_models, summary


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty hub cache."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put(cache, repository: str, revision: str = "a" * 40):
    """A shipped model as the hub's cache keeps it."""
    place = cache / f"models--{repository.replace('/', '--')}"
    shutil.copytree(SHIPPED / "eurosat", place / "snapshots" / revision)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(revision)
    return place / "snapshots" / revision


def test_shipped_models_are_listed_with_what_a_reader_asks(cache, capsys):
    run("models")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == shipped() == ["emoji", "eurosat", "fashion-mnist"]
    assert "64x64 colour, 10 classes, " in lines[1] and " MB, apache-2.0, Fréchet distance " in lines[1]
    assert "28x28 grey" in lines[2] and "label accuracy 0.9" in lines[2]
    run("models", "--classes")
    assert "AnnualCrop, Forest" in capsys.readouterr().out


def test_models_of_the_hub_are_listed_and_others_left_out(cache):
    put(cache, "somebody/fields")
    other = put(cache, "somebody/language")
    (other / "config.json").write_text(json.dumps({"model_type": "bert"}))
    damaged = put(cache, "somebody/damaged")
    (damaged / "tokenizer" / "config.json").write_text("{")
    assert [one.name for one in known_models()] == ["emoji", "eurosat", "fashion-mnist", "somebody/fields"]


def test_another_format_is_no_model_whatever_else_it_holds(tmp_path):
    shutil.copytree(SHIPPED / "eurosat", tmp_path / "model")
    assert summary("x", tmp_path / "model") is not None
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps(config | {"format": "another"}))
    assert summary("x", tmp_path / "model") is None


def test_of_several_revisions_the_latest_is_listed(cache):
    """The hub's cache dates a revision by its files."""
    places = {name: put(cache, "somebody/fields", name * 40) for name in "a"}
    for name in "bc":
        places[name] = cache / "models--somebody--fields" / "snapshots" / (name * 40)
        shutil.copytree(places["a"], places[name])
    for name, seconds in (("a", 1000), ("b", 3000), ("c", 2000)):
        for path in places[name].rglob("*"):
            os.utime(path, (seconds, seconds))
    assert [(name, place.name) for name, place in model_list.cached()] == [("somebody/fields", "b" * 40)]


def test_scores_fall_back_to_the_bound_and_strangers_texts_do_no_harm(tmp_path):
    place = tmp_path / "model"
    shutil.copytree(SHIPPED / "eurosat", place)
    config = json.loads((place / "config.json").read_text())
    config["metadata"] = {"validation": {"bits_per_code": 8.5, "accuracy": "high"}, "evaluation": []}
    config["class_names"] = ["\x1b[2J"] * 10
    (place / "config.json").write_text(json.dumps(config))
    (place / "README.md").write_text("---\nlicense: \x1b[2J mine\n---\n")
    found = summary("x", place)
    assert found.scores == {"bits per code": 8.5}
    assert "\x1b" not in found.line() and "mine" in found.line()
    for wrong in ([], {"validation": "x"}, {"evaluation": {"samples": 3}}):
        (place / "config.json").write_text(json.dumps(config | {"metadata": wrong}))
        assert summary("x", place) is None or summary("x", place).scores == {}


def test_a_cache_that_cannot_be_read_is_no_error(monkeypatch, cache):
    cache.write_text("a file")
    assert model_list.cached() == []
