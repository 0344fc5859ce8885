"""The model of emoji that comes with the package: two label sets, colour with alpha."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers.command_line import run
from PIL import Image

from d3pm_image import Pipeline
from d3pm_image.hub import SHIPPED, shipped
from d3pm_image.packaging import ABSOLUTE, without_folders

GROUPS = ("activities", "animals", "flags", "food", "objects", "people", "smileys", "symbols", "travel")
STYLES = ("fluent", "fluent-flat", "noto", "noto-v1", "twemoji")


def test_its_label_sets_are_asked_for_by_name(tmp_path):
    sets = Pipeline.from_pretrained("emoji").label_sets
    assert sets is not None and sets.names == ("group", "style") and sets.labels == (GROUPS, STYLES)
    out = tmp_path / "animals"
    labels = ["--labels", "group=animals,style=fluent", "--num-images", "2", "--steps", "2"]
    run("generate", "emoji", *labels, "--out", out)
    first, second = (Image.open(path) for path in sorted(out.iterdir()))
    assert first.mode == "RGBA" and first.size == (64, 64)
    alpha = np.asarray(first)[..., 3]
    assert alpha.min() == 0 and alpha.max() == 255
    assert not np.array_equal(np.asarray(first), np.asarray(second))
    assert all("animals" in path.name and "fluent" in path.name for path in out.iterdir())


def test_the_page_offers_both_menus(tmp_path):
    gr = pytest.importorskip("gradio", reason="needs the extra app")
    from d3pm_image.app.page import build
    from d3pm_image.app.page_model import PageModel

    page = build(PageModel(Pipeline.from_pretrained("emoji"), "emoji", tmp_path))
    (event,) = [one for one in page.fns.values() if getattr(one.fn, "__name__", "") == "generate"]
    menus = {field.label: field for field in event.inputs if isinstance(field, gr.Dropdown)}
    for name, labels in (("Group", GROUPS), ("Style", STYLES)):
        assert menus[name].visible and [label for label, _ in menus[name].choices] == ["any", *labels]


@pytest.mark.parametrize("name", shipped())
def test_models_that_ship_name_no_folder_of_a_machine(name):
    for file in (SHIPPED / name).rglob("config.json"):
        held = json.loads(file.read_text(encoding="utf-8"))
        assert without_folders(held) == held


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("/home/me/labels.csv:group,style", "labels.csv:group,style"),
        ("~/photos/", "photos"),
        ("C:\\me\\weights.pt", "weights.pt"),
        ("D:/me/weights.pt", "weights.pt"),
        ("\\\\server\\share\\set", "set"),
        ("runs/emoji", "runs/emoji"),
        ("a/b: c", "a/b: c"),
        ("", ""),
    ],
)
def test_absolute_paths_are_shortened(text, kept):
    assert without_folders({"a": [{"b": text}], "n": 3}) == {"a": [{"b": kept}], "n": 3}
    assert bool(ABSOLUTE.match(text)) == (text != kept)
