"""The page's menu of models: what it offers, what a change sets, and that nothing else can be named."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from d3pm_image import Pipeline
from d3pm_image.app import page_models as module
from d3pm_image.app.page_model import PageModel
from d3pm_image.app.page_models import MOST_LOADED, PageModels
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
def page_model(trained, tmp_path):
    (tmp_path / "shelf").mkdir()
    return PageModel(Pipeline.from_pretrained(trained / "diffusion"), "digits", tmp_path / "shelf")


def test_the_menu_offers_the_page_s_model_shipped_ones_and_those_of_the_cache(page_model, cache):
    assert PageModels(page_model).names == ["digits", "emoji", "eurosat", "fashion-mnist", "somebody/clothes"]
    page_model.model = "eurosat"
    assert PageModels(page_model).names == ["eurosat", "emoji", "fashion-mnist", "somebody/clothes"]


def test_a_model_of_the_menu_is_read_from_its_folder_and_shares_the_line(page_model, cache):
    page_models = PageModels(page_model)
    other = page_models.get("somebody/clothes")
    assert other.model == "somebody/clothes" and other.pipe.image_size == (28, 28)
    assert other.lock is page_model.lock and other.shelf.folder == page_model.shelf.folder
    assert other.pipe.device == page_model.pipe.device and page_models.get("somebody/clothes") is other
    assert page_models.get("digits") is page_model


@pytest.mark.parametrize(
    "name", ["/etc", "../models/eurosat", str(SHIPPED / "eurosat"), "somebody/else", "", None, ["eurosat"], 3]
)
def test_nothing_but_the_menu_can_be_named(page_model, cache, name):
    with pytest.raises(ConfigError, match="not in the menu"):
        PageModels(page_model).get(name)


def test_few_models_stay_in_memory(page_model, monkeypatch):
    known = [SimpleNamespace(name=f"model {n}", folder=SHIPPED / "eurosat") for n in range(MOST_LOADED + 2)]
    monkeypatch.setattr(module, "known_models", lambda: known)
    page_models = PageModels(page_model)
    monkeypatch.setattr(page_models, "load", lambda name: object())
    first = page_models.get("model 0")
    for one in known[1:]:
        assert page_models.get("model 0") is first  # it was used last
        page_models.get(one.name)
    assert list(page_models.loaded) == ["model 0", f"model {MOST_LOADED + 1}"]


def test_a_change_of_the_model_sets_what_depends_on_it(page_model, cache):
    from d3pm_image.app.page import build

    page = build(page_model)
    (event,) = [one for one in page.fns.values() if getattr(one.fn, "__name__", "") == "switched"]
    assert event.inputs[0].label == "Model" and event.inputs[0].value == "digits"
    updates = event.fn("eurosat", None, None, None, None)
    assert len(updates) == len(event.outputs)
    by_label = [
        (getattr(block, "label", ""), value) for block, value in zip(event.outputs, updates, strict=True)
    ]
    assert updates[0] == "# d3pm-image\n64×64 colour images of 10 classes"
    (classes, *others) = [value for label, value in by_label if label == "Class"]
    assert len(others) == 4 and ("Forest", "1") in classes["choices"] and classes["value"] == ""
    assert [value for label, value in by_label if label in ("Left", "Right")] == [32, 32]
    guidance = [value["value"] for label, value in by_label if label == "Guidance"]
    assert set(guidance) == {Pipeline.from_pretrained(SHIPPED / "eurosat").sampling.guidance}


def test_the_model_of_the_menu_draws_and_is_named_in_the_results(page_model, cache):
    from d3pm_image.app.page import build
    from d3pm_image.provenance import read_settings

    page = build(page_model)
    (event,) = [one for one in page.fns.values() if getattr(one.fn, "__name__", "") == "generate"]
    given = {"Model": "somebody/clothes", "Images": 2, "Steps": 1}
    values = [given.get(field.label, field.value) for field in event.inputs]
    *_, (_, gallery, *_) = event.fn(SimpleNamespace(session_hash="a"), *values)
    assert [caption for _, caption in gallery["value"]] == ["T-shirt/top", "Trouser"]
    assert read_settings(gallery["value"][0][0])["model"] == "somebody/clothes"
    values[event.inputs.index(next(field for field in event.inputs if field.label == "Model"))] = "/etc"
    with pytest.raises(gr.Error, match="not in the menu"):
        list(event.fn(SimpleNamespace(session_hash="a"), *values))
