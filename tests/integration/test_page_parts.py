"""What the page shows besides results: what waits, what can be pressed, whose image it is, and with which seed."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from d3pm_image import Pipeline
from d3pm_image.app.page_model import PageModel, PageRequest

gr = pytest.importorskip("gradio", reason="needs the extra app")
ASK = SimpleNamespace(session_hash="a")
IMAGE = "Your image: drop it here"


@pytest.fixture(scope="module")
def page(trained, tmp_path_factory):
    from d3pm_image.app.page import build

    folder = tmp_path_factory.mktemp("shelf")
    return build(PageModel(Pipeline.from_pretrained(trained / "diffusion"), "digits", folder))


@pytest.fixture
def clear(tmp_path):
    """A coloured image with a transparent corner."""
    noise = np.random.default_rng(0).integers(0, 256, (17, 23, 4), np.uint8)
    noise[..., 3] = 255
    noise[:8, :8, 3] = 0
    Image.fromarray(noise).save(tmp_path / "clear.png")
    return tmp_path / "clear.png"


def events(page, name: str) -> list:
    return [event for event in page.fns.values() if getattr(event.fn, "__name__", "") == name]


def pressed(page, name: str, given: dict[str, object]) -> list[tuple]:
    (event,) = events(page, name)
    return list(event.fn(ASK, *(given.get(field.label, field.value) for field in event.inputs)))


def placed(block, wanted: type) -> list:
    """All parts of a kind below a block, in the order in which the keyboard reaches them."""
    found = [block] if isinstance(block, wanted) else []
    return found + [one for child in getattr(block, "children", []) for one in placed(child, wanted)]


# waiting


def test_the_clock_says_step_and_time_left_and_counts_parts():
    from d3pm_image.app.handlers import Clock

    clock = Clock()
    assert clock.line(0, 16, 10.0) == "Step 0 of 16"
    assert clock.line(4, 16, 12.0) == "Step 4 of 16, about 6 s left"
    assert clock.line(16, 16, 18.0) == "Step 16 of 16"
    assert clock.line(0, 16, 18.0) == "Part 2, step 0 of 16" and clock.line(1, 16, 19.0).startswith("Part 2")


def test_a_press_says_that_it_waits_and_the_queue_s_place_is_shown_there(page):
    waits, draws = events(page, "wait"), ("generate", "inpaint", "outpaint", "vary", "tile")
    assert len(waits) == 5
    chosen, status, *buttons = waits[0].fn(ASK)
    assert chosen == 0 and status == "Waiting for the model."
    assert len(buttons) == 4 and not any(button["interactive"] for button in buttons)
    for name in draws:
        (event,) = events(page, name)
        assert event.trigger_after in [one._id for one in waits]
        assert [block.elem_classes for block in event.show_progress_on] == [["status"]]
        after = [one for one in events(page, "settled") if one.trigger_after == event._id]
        ends = {(one.trigger_only_on_success, one.trigger_only_on_failure) for one in after}
        assert ends == {(True, False), (False, True)}  # also after an error


def test_a_second_press_while_a_decode_runs_changes_nothing(page):
    from d3pm_image.app.handlers import Handlers
    from d3pm_image.app.page_models import PageModels

    handlers = Handlers(PageModels(SimpleNamespace(model="digits")))
    handlers.running["a"] = threading.Event()
    assert all(set(update) == {"__type__"} for update in handlers.wait(ASK)) and len(handlers.wait(ASK)) == 6


def test_buttons_without_a_result_cannot_be_pressed(page):
    idle = {"Stop", "Download", "Inpaint it", "Outpaint it", "Vary it"}
    found = [block for block in placed(page, gr.Button) + placed(page, gr.DownloadButton)]
    assert len([block for block in found if block.value in idle or block.label in idle]) == 25
    for block in found:
        named = block.label if isinstance(block, gr.DownloadButton) else block.value
        assert block.interactive is (named not in idle), named


def test_at_the_end_of_a_decode_buttons_fit_what_there_is():
    from d3pm_image.app.events import settled

    for shown, able in ((None, False), ([], False), ([("a.png", "Dress")], True)):
        live, gallery, status, stop, *buttons = settled(shown, "Waiting for the model.")
        assert not live["visible"] and gallery["visible"] and status == "" and not stop["interactive"]
        assert [button["interactive"] for button in buttons] == [able] * 4
    assert settled([], "Step 3 of 16")[2] == "" and settled([], "Stopped.")[2] != ""


# the order of the keyboard


def test_generate_comes_before_the_folded_fields(page):
    tab = placed(page, gr.Tab)[0]
    (fold,) = placed(tab, gr.Accordion)
    column = fold.parent
    before = column.children[: column.children.index(fold)]
    kinds = (gr.Dropdown, gr.Slider, gr.Number, gr.Checkbox, gr.Button)
    stops = [one for child in before for kind in kinds for one in placed(child, kind)]
    stops = [one for one in stops if one.visible]  # menus of further sets of labels are not
    assert next(one.value for one in stops if isinstance(one, gr.Button)) == "Generate" and not fold.open
    sliders = [one for one in stops if isinstance(one, gr.Slider)]
    assert len(stops) <= 4 and all(one.buttons == [] for one in sliders)  # each stops the key at two places


# images of the user's own


@pytest.mark.parametrize("name", ["check", "load"])
def test_a_coloured_image_gets_the_note_of_the_command_line_with_a_grey_model(page, clear, name):
    from d3pm_image.config.editing import GREY_MODEL

    grey = clear.with_name("grey.png")
    Image.open(clear).convert("L").save(grey)
    handler = events(page, name)[0].fn
    assert handler("digits", str(clear))[1] == f"23×17 pixels, mode RGBA. Note: {GREY_MODEL}."
    assert handler("eurosat", str(clear))[1] == "23×17 pixels, mode RGBA."
    assert handler("digits", str(grey))[1] == "23×17 pixels, mode L."


def test_the_image_for_outpaint_variations_and_seamless_is_shown(page, clear):
    found = events(page, "check")
    assert len(found) == 3
    for event in found:
        shown, _ = event.fn("digits", str(clear))
        assert shown["visible"] and shown["value"].size == (414, 306)
        assert isinstance(event.outputs[0], gr.Image) and event.outputs[0].alt_text == "Your image"
        assert event.fn("digits", None)[0] == gr.update(value=None, visible=False)


def test_transparency_shows_a_chequerboard(clear):
    from d3pm_image.app.canvas_mask import displayed, is_transparent
    from d3pm_image.imaging import SQUARES

    own = Image.open(clear)
    shown = np.asarray(displayed(own))
    corner, rest = shown[: 8 * 18, : 8 * 18], shown[9 * 18 :: 18, 9 * 18 :: 18]
    assert set(np.unique(corner)) == set(SQUARES) and np.ptp(corner[:10, :10]) == 0
    assert np.array_equal(rest, np.asarray(own)[9:, 9:, :3])
    assert is_transparent(own) and not is_transparent(own.convert("RGB"))


def test_transparent_results_are_marked_as_such(clear):
    from d3pm_image.app.handlers import shape

    assert shape(clear) == ["results", "pixels", "transparent"]
    Image.open(clear).convert("RGB").save(clear)
    assert shape(clear) == ["results", "pixels"]


# results


def test_results_are_captioned_with_their_classes(page):
    page_model = events(page, "generate")[0].fn.__self__.page_models.first
    *_, last = page_model.generate(PageRequest("", 12, 0, {"steps": 1}), threading.Event())
    assert last.captions == [str(n % 10) for n in range(12)]
    *_, (_, gallery, *_) = pressed(page, "generate", {"Class": "3", "Images": 2, "Steps": 1})
    assert [caption for _, caption in gallery["value"]] == ["3", "3"]


def test_results_of_edits_are_numbered(page, clear):
    given = {IMAGE: str(clear), "Images": 2, "Steps": 1}
    for label, captions in (("", ["result 1", "result 2"]), ("4", ["4, result 1", "4, result 2"])):
        *_, (_, gallery, *_) = pressed(page, "vary", {**given, "Class": label})
        assert [caption for _, caption in gallery["value"]] == captions


def test_a_press_takes_a_new_seed_unless_it_is_kept(page):
    given = {"Images": 1, "Steps": 1, "Seed": 5}
    seeds = [pressed(page, "generate", given)[0][5] for _ in range(3)]
    assert len({5, *seeds}) == 4
    begins, *_, last = pressed(page, "generate", {**given, "Keep this seed": True})
    assert begins[5] == 5 and "seed 5." in last[3]


# errors in words


def test_errors_are_sentences(page):
    for name, given in (
        ("outpaint", {}),
        ("vary", {}),
        ("inpaint", {}),
        ("tile", {}),
    ):
        with pytest.raises(gr.Error) as error:
            pressed(page, name, given)
        assert error.value.message == "Choose an image first."
