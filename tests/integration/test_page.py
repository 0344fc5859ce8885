"""The page as it is put together, without a browser: every click of the decode's buttons gets what its handler expects."""

from __future__ import annotations

import inspect
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from d3pm_image import Pipeline
from d3pm_image.app.page_model import PageModel

gr = pytest.importorskip("gradio", reason="needs the extra app")
ASK = SimpleNamespace(session_hash="a")


@pytest.fixture
def page(trained, tmp_path):
    from d3pm_image.app.page import build

    (tmp_path / "shelf").mkdir()
    return build(PageModel(Pipeline.from_pretrained(trained / "diffusion"), "digits", tmp_path / "shelf"))


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (17, 23, 3), np.uint8)).save(path)
    return path


def clicked(page, name: str):
    """The function behind a handler's name, and its fields."""
    found = [event for event in page.fns.values() if getattr(event.fn, "__name__", "") == name]
    assert len(found) == 1, name
    return found[0]


PINNED = {"Keep this seed": True}


def pressed(event, given: dict[str, object]) -> list[tuple]:
    """All updates that a handler gives for the fields as the page shows them, but for those that are ``given`` by their names."""
    unknown = set(given) - {field.label for field in event.inputs}
    assert not unknown, unknown
    return list(event.fn(ASK, *(given.get(field.label, field.value) for field in event.inputs)))


def painted(size: tuple[int, int]) -> dict:
    from d3pm_image.app.canvas_mask import displayed

    canvas = displayed(Image.new("RGB", size))
    paint = Image.new("RGBA", canvas.size)
    paint.paste(
        (20, 184, 166, 255), (canvas.width // 4, canvas.height // 4, canvas.width // 2, canvas.height // 2)
    )
    return {"background": None, "layers": [paint], "composite": None}


@pytest.mark.parametrize(
    "name, count, size",
    [("generate", 10, (8, 8)), ("inpaint", 4, (23, 17)), ("outpaint", 4, (31, 17)), ("vary", 6, (23, 17))],
)
def test_a_press_on_the_button_of_every_tab_draws_as_many_images_as_its_field_says(
    page, own, name, count, size
):
    event = clicked(page, name)
    given = {} if name == "generate" else {"Your image: drop it here": str(own)}
    if name == "inpaint":
        given["Paint over what should be redrawn"] = painted((23, 17))
    updates = pressed(event, {**given, "Steps": 2})
    assert all(len(update) == len(event.outputs) == 6 for update in updates) and len(updates) > 2
    live, gallery, download, status, *_ = updates[-1]
    assert (
        not live["visible"]
        and gallery["visible"]
        and len(gallery["value"]) == count
        and download["interactive"]
    )
    assert status.startswith(f"{count} images in ") and all(
        Image.open(path).size == size for path, _ in gallery["value"]
    )
    begins, first = updates[:2]
    assert begins[4]["interactive"] and first[0]["visible"]  # it can be stopped, and is shown as it happens
    assert first[3].startswith("Step ") and f"seed {begins[5]}." in status


def test_an_image_is_made_seamless_and_shown_repeated(page, own):
    from d3pm_image.editing.seamless import cross

    event = clicked(page, "tile")
    given = {"Your image: drop it here": str(own), "Steps": 2, "Images": 2}
    *_, (_, gallery, download, status, *_) = pressed(event, {**given, "The image shall repeat": "x"})
    files = [Path(path) for path, _ in gallery["value"]]
    assert [caption for _, caption in gallery["value"]] == [
        "result 1", "result 2", "result 1, repeated", "result 2, repeated"
    ]  # fmt: skip
    assert status.startswith("2 images in ")
    with zipfile.ZipFile(download["value"]) as zipped:  # the views are not in it
        assert sorted(zipped.namelist()) == [path.name for path in files[:2]]
    original, band = np.asarray(Image.open(own)), cross((17, 23), "x", 0)
    for result, view in zip(files[:2], files[2:], strict=True):
        drawn = np.asarray(Image.open(result))
        assert np.array_equal(drawn[~band], original[~band]) and (drawn[band] != original[band]).any()
        assert np.array_equal(np.asarray(Image.open(view)), np.tile(drawn, (1, 3, 1)))
    for width, says in ((22, "Width"), (2.5, "whole number")):
        with pytest.raises(gr.Error, match=says):
            pressed(event, {**given, "Width of the bands": width})


def test_fields_reach_what_they_name(page):
    drawn = {}
    event = clicked(page, "generate")
    for changed in (
        {},
        {"Seed": 1},
        {"Class": "3"},
        {"Temperature": 0.5},
        {"Guidance": 3.0},
        {"Sampler": "halton"},
        {"Steps": 3},
    ):
        *_, (_, gallery, *_) = pressed(event, {"Steps": 4, "Images": 3, **PINNED, **changed})
        drawn[str(changed)] = b"".join(np.asarray(Image.open(path)).tobytes() for path, _ in gallery["value"])
    assert len(set(drawn.values())) == len(drawn)


def test_wrong_input_is_a_message_and_changes_nothing(page, own):
    for name, given, says in (
        ("generate", {"Steps": None}, "whole number"),
        ("generate", {"Images": 2.5}, "whole number"),
        ("inpaint", {}, "Choose an image first."),
        ("outpaint", {"Your image: drop it here": str(own), "Left": 0, "Right": 0}, "pixels"),
        (
            "vary",
            {
                "Your image: drop it here": str(own),
                "Strength (0 keeps what the tokenizer keeps, 1 is a new image)": 3,
            },
            "0, 1",
        ),
    ):
        with pytest.raises(gr.Error) as error:
            pressed(clicked(page, name), given)
        assert says in error.value.message, error.value.message
    press = clicked(page, "generate")
    assert len(pressed(press, {"Steps": 2, "Images": 1})[-1][1]["value"]) == 1  # and it goes on


def test_an_image_handed_in_is_shown_read_and_taken_apart(page, own):
    load, about = clicked(page, "load").fn, clicked(page, "tokens").fn
    canvas, text = load("digits", str(own))
    assert canvas["value"]["background"].size[0] > 23 and text.startswith("23×17 pixels, mode RGB")
    assert load("digits", None)[0]["value"] is None and about("digits", None) == (None, None, None, "")
    *images, line = about("digits", str(own))
    assert len(images) == 3 and "codes" in line
    given = {"Steps": 2, "Images": 1, "Seed": 11, **PINNED}
    *_, (_, gallery, *_) = pressed(clicked(page, "generate"), given)
    read = clicked(page, "read").fn
    table = read(gallery["value"][0][0])
    assert "<th>" in table and "11" in table.partition("seed<")[2][:30] and read(None) == ""
    with pytest.raises(gr.Error, match=r"Image \(own.png\)"):
        read(str(own))


def test_a_result_goes_on_to_another_tab(page):
    from d3pm_image.app.events import sent, which
    from d3pm_image.config import ConfigError

    shown = [("a.png", None), ("b.png", None)]
    assert [sent("vary", shown, i)[0] for i in (0, 1, 5)] == ["a.png", "b.png", "b.png"]
    assert sent("vary", shown, 0)[1]["selected"] == "vary" and which(SimpleNamespace(index=1)) == 1
    for nothing in (None, []):
        with pytest.raises(ConfigError, match="make some images first"):
            sent("vary", nothing, 0)


def test_all_work_of_the_model_stands_in_one_line_and_no_click_is_a_public_address(page):
    for event in page.fns.values():
        assert event.api_visibility == "private"
    line = [
        event
        for event in page.fns.values()
        if getattr(event.fn, "__name__", "") in ("generate", "inpaint", "outpaint", "vary", "tile", "tokens")
    ]
    assert len(line) == 6 and {(event.concurrency_id, event.concurrency_limit) for event in line} == {
        ("model", 1)
    }
    for event in line:
        taken = [p for p in inspect.signature(event.fn).parameters.values() if p.kind is p.VAR_POSITIONAL]
        assert taken or len(inspect.signature(event.fn).parameters) == len(event.inputs)


def test_a_stop_without_a_decode_is_nothing(page):
    clicked_stop = [event for event in page.fns.values() if getattr(event.fn, "__name__", "") == "stop"]
    assert clicked_stop
    for event in clicked_stop:
        assert event.fn(ASK) is None
