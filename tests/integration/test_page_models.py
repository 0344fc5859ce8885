"""The page's menu of models: what it offers, what a change sets, and that nothing else can be named."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from d3pm_image import Pipeline
from d3pm_image.app import studios as module
from d3pm_image.app.session import Studio
from d3pm_image.app.studios import MOST_LOADED, Studios
from d3pm_image.config import ConfigError
from d3pm_image.hub import SHIPPED

gr = pytest.importorskip("gradio", reason="needs the extra app")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A hub cache with one model of a stranger's; the hub is not to be asked."""
    import huggingface_hub
    import huggingface_hub.constants as constants

    def asked(*_args, **_how):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", asked)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    place = tmp_path / "hub" / "models--somebody--clothes"
    shutil.copytree(SHIPPED / "fashion-mnist", place / "snapshots" / ("a" * 40))
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("a" * 40)


@pytest.fixture
def studio(trained, tmp_path):
    (tmp_path / "shelf").mkdir()
    return Studio(Pipeline.from_pretrained(trained / "diffusion"), "digits", tmp_path / "shelf")


def test_the_menu_offers_the_page_s_model_shipped_ones_and_those_of_the_cache(studio, cache):
    assert Studios(studio).names == ["digits", "eurosat", "fashion-mnist", "somebody/clothes"]
    studio.model = "eurosat"
    assert Studios(studio).names == ["eurosat", "fashion-mnist", "somebody/clothes"]


def test_a_model_of_the_menu_is_read_from_its_folder_and_shares_the_line(studio, cache):
    studios = Studios(studio)
    other = studios.get("somebody/clothes")
    assert other.model == "somebody/clothes" and other.pipe.image_size == (28, 28)
    assert other.lock is studio.lock and other.shelf.folder == studio.shelf.folder
    assert other.pipe.device == studio.pipe.device and studios.get("somebody/clothes") is other
    assert studios.get("digits") is studio


@pytest.mark.parametrize(
    "name", ["/etc", "../models/eurosat", str(SHIPPED / "eurosat"), "somebody/else", "", None, ["eurosat"], 3]
)
def test_nothing_but_the_menu_can_be_named(studio, cache, name):
    with pytest.raises(ConfigError, match="not in the menu"):
        Studios(studio).get(name)


def test_few_models_stay_in_memory(studio, monkeypatch):
    known = [SimpleNamespace(name=f"model {n}", folder=SHIPPED / "eurosat") for n in range(MOST_LOADED + 2)]
    monkeypatch.setattr(module, "known_models", lambda: known)
    studios = Studios(studio)
    monkeypatch.setattr(studios, "load", lambda name: object())
    first = studios.get("model 0")
    for one in known[1:]:
        assert studios.get("model 0") is first  # it was used last
        studios.get(one.name)
    assert list(studios.loaded) == ["model 0", f"model {MOST_LOADED + 1}"]


def test_a_change_of_the_model_sets_what_depends_on_it(studio, cache):
    from d3pm_image.app.page import build

    page = build(studio)
    (event,) = [one for one in page.fns.values() if getattr(one.fn, "__name__", "") == "switched"]
    assert event.inputs[0].label == "Model" and event.inputs[0].value == "digits"
    updates = event.fn("eurosat", None, None, None)
    assert len(updates) == len(event.outputs)
    by_label = [
        (getattr(block, "label", ""), value) for block, value in zip(event.outputs, updates, strict=True)
    ]
    assert updates[0] == "# d3pm-image\n64×64 colour images of 10 classes"
    (classes, *others) = [value for label, value in by_label if label == "Class"]
    assert len(others) == 3 and ("Forest", "1") in classes["choices"] and classes["value"] == ""
    assert [value for label, value in by_label if label in ("Left", "Right")] == [32, 32]
    guidance = [value["value"] for label, value in by_label if label == "Guidance"]
    assert set(guidance) == {Pipeline.from_pretrained(SHIPPED / "eurosat").sampling.guidance}


def test_the_model_of_the_menu_draws_and_is_named_in_the_results(studio, cache):
    from d3pm_image.app.page import build
    from d3pm_image.provenance import read_settings

    page = build(studio)
    (event,) = [one for one in page.fns.values() if getattr(one.fn, "__name__", "") == "generate"]
    given = {"Model": "somebody/clothes", "Images": 2, "Steps": 1}
    values = [given.get(field.label, field.value) for field in event.inputs]
    *_, (_, gallery, *_) = event.fn(SimpleNamespace(session_hash="a"), *values)
    assert [caption for _, caption in gallery["value"]] == ["T-shirt/top", "Trouser"]
    assert read_settings(gallery["value"][0][0])["model"] == "somebody/clothes"
    values[event.inputs.index(next(field for field in event.inputs if field.label == "Model"))] = "/etc"
    with pytest.raises(gr.Error, match="not in the menu"):
        list(event.fn(SimpleNamespace(session_hash="a"), *values))
