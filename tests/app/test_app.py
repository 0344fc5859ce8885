"""The page behind the page: brush, live decode, requests, files and messages. What a browser does with it is in test_browser.py."""

from __future__ import annotations

import importlib.util
import threading

import numpy as np
import pytest
from helpers.command_line import fails
from helpers.masked import layer
from PIL import Image

from d3pm_image.app import streaming as live
from d3pm_image.app.canvas_mask import LARGE, SMALL, displayed, painted
from d3pm_image.config import ConfigError

# brush


@pytest.mark.parametrize("size", [(28, 28), (13, 9), (1, 5), (500, 300), (2000, 1000), (33, 2000)])
def test_the_canvas_shows_all_of_an_image_at_a_good_size(size):
    shown = displayed(Image.new("L", size))
    assert shown.mode == "RGB" and (min(SMALL, max(size)) / 2 <= max(shown.size) <= LARGE)
    assert abs(shown.width / size[0] - shown.height / size[1]) <= max(
        shown.width / size[0] * 0.5, 1 / min(size)
    )


def test_a_pixel_shown_large_counts_as_soon_as_it_is_touched():
    mask = painted(layer((280, 280), (9, 20, 21, 30)), (28, 28))
    expected = np.zeros((28, 28), bool)
    expected[2, 0:3] = True
    assert np.array_equal(mask, expected)


def test_of_a_reduced_image_all_pixels_under_the_paint_count():
    mask = painted(layer((900, 450), (100, 50, 200, 60)), (1800, 900))
    expected = np.zeros((900, 1800), bool)
    expected[100:120, 200:400] = True
    assert np.array_equal(mask, expected)


def test_no_paint_is_said():
    for value in (None, {"layers": []}, {"layers": [None]}, layer((20, 20), (0, 0, 0, 0))):
        with pytest.raises(ConfigError, match="paint over"):
            painted(value, (20, 20))


# the live decode


def test_a_slow_reader_does_not_slow_the_decode_and_gets_the_last_steps():
    done = threading.Event()

    def work(watch):
        for number in range(200):
            watch(number)
        done.set()
        return "result"

    seen = live.watched(work, threading.Event(), threading.Lock())
    first = next(seen)
    assert done.wait(10)
    rest = list(seen)
    assert rest[-1] == "result" and 199 in [first, *rest] and len(rest) < 20


def test_a_stop_ends_the_decode_and_frees_the_model():
    stop, lock = threading.Event(), threading.Lock()

    def work(watch):
        while True:
            watch("step")

    seen = live.watched(work, stop, lock)
    assert next(seen) == "step"
    stop.set()
    with pytest.raises(live.Stopped):
        list(seen)
    assert lock.acquire(timeout=10)


def test_a_reader_who_leaves_ends_the_decode():
    lock, ended = threading.Lock(), threading.Event()

    def work(watch):
        try:
            while True:
                watch("step")
        finally:
            ended.set()

    seen = live.watched(work, threading.Event(), lock)
    next(seen)
    seen.close()
    assert ended.wait(10) and lock.acquire(timeout=10)


def test_two_decodes_never_run_at_once():
    lock, inside, most = threading.Lock(), [], []

    def work(watch):
        inside.append(1)
        most.append(len(inside))
        for _ in range(3):
            watch("step")
        inside.pop()

    threads = [
        threading.Thread(target=lambda: list(live.watched(work, threading.Event(), lock))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1, 1]


# requests


# messages


@pytest.mark.integration
@pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="needs the extra app")
def test_messages_are_sentences_and_hold_no_markup():
    from d3pm_image.app.errors import failure, words

    assert words(ConfigError("seed", -1, "give 0 or more")) == "Seed (-1): give 0 or more."
    assert words(ConfigError("sides", {"left": 9000}, "too many: fewer")) == "Sides: too many: fewer."
    assert "memory" in str(failure(RuntimeError("could not create a primitive"))) and "memory" in str(
        failure(OSError(12, "no"))
    )
    assert "<b>" not in words(ConfigError("image", "<b>x</b>", "not readable"))
    assert "memory" in str(failure(type("OutOfMemoryError", (RuntimeError,), {})()))
    assert "memory" in str(failure(MemoryError())) and "disk" in str(
        failure(OSError(28, "No space left on device"))
    )
    fault = str(failure(RuntimeError("a fault in /home/somebody")))
    assert "RuntimeError" in fault and "/home" not in fault  # where it is goes to the terminal
    assert "\x1b" not in words(ConfigError("image", "\x1b[2J", "not\u202e readable"))


def test_without_the_extra_the_command_names_it(monkeypatch, capsys):
    real = (
        importlib.util.find_spec
    )  # others that look for packages meanwhile, as jsonargparse for YAML's, find them
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *rest: None if name == "gradio" else real(name, *rest)
    )
    assert 'pip install "d3pm-image[app]"' in fails(capsys, "app")
