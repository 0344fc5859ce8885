"""Images continued to a format such as 16:9."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.command_line import fails, run
from helpers.edits import make_image
from helpers.models import pipeline
from PIL import Image

from d3pm_image.config import ConfigError
from d3pm_image.editing.outpaint import extend, sides_to


@pytest.mark.parametrize(
    ("size", "form", "sides"),
    [
        ((100, 100), (16, 9), (39, 0, 39, 0)),
        ((101, 100), (16, 9), (38, 0, 39, 0)),
        ((160, 90), (16, 9), (0, 0, 0, 0)),
        ((200, 90), (16, 9), (0, 11, 0, 11)),
        ((10, 30), (1, 1), (10, 0, 10, 0)),
        ((30, 10), (1, 2), (0, 25, 0, 25)),
        ((1, 1), (1000, 1), (499, 0, 500, 0)),
    ],
)
def test_the_short_side_grows_at_both_ends(size, form, sides):
    assert sides_to(size, form) == sides


@pytest.mark.parametrize("size", [(7, 13), (640, 480), (333, 1000)])
@pytest.mark.parametrize("form", [(16, 9), (9, 16), (1, 1), (3, 2)])
def test_the_result_has_the_format_to_the_pixel_and_contains_the_image(size, form):
    left, top, right, bottom = sides_to(size, form)
    width, height = size[0] + left + right, size[1] + top + bottom
    assert min(abs(width - height * form[0] / form[1]), abs(height - width * form[1] / form[0])) <= 0.5
    assert not (left + right and top + bottom) and 0 <= right - left <= 1 and 0 <= bottom - top <= 1


@pytest.mark.parametrize(
    "text", ["", "16", "16:0", "0:9", "16x9", "16:9:1", "-1:2", "1.5:1", "2000:1", "a:b"]
)
def test_other_texts_are_refused(text):
    if text:
        with pytest.raises(ConfigError, match=r"to=.*give width:height"):
            extend(make_image(8, 8), 0, 0, 0, 0, text)
    else:
        assert extend(make_image(8, 8), 0, 0, 0, 0, text)[0].size == (8, 8)


def test_a_format_and_pixels_are_refused_together(capsys):
    with pytest.raises(ConfigError, match=r"to='16:9': sets the sides; leave out left, bottom"):
        pipeline().outpaint(make_image(8, 8), left=3, bottom=1, to="16:9")
    said = fails(capsys, "outpaint", "fashion-mnist", "image.png", "--to", "16:9", "--right", "4")
    assert "leave out right" in said


def test_python_and_command_give_the_format_and_keep_the_image(trained, tmp_path, capsys):
    image = make_image(12, 8)
    (found,) = pipeline().outpaint(image, to=" 2 : 1 ", seed=1)
    assert found.size == (16, 8)
    for name, size in (("a", (9, 9)), ("b", (12, 9))):
        folder = tmp_path / "own"
        folder.mkdir(exist_ok=True)
        Image.fromarray(np.arange(size[0] * size[1], dtype=np.uint8).reshape(size[::-1])).save(
            folder / f"{name}.png"
        )
    run("outpaint", trained / "diffusion", tmp_path / "own", "--to", "16:9", "--out", tmp_path / "wide")
    for name, size in (("a", (16, 9)), ("b", (16, 9))):
        wide = np.asarray(Image.open(tmp_path / "wide" / f"{name}.png"))
        before = np.asarray(Image.open(tmp_path / "own" / f"{name}.png"))
        assert wide.shape[::-1] == size
        left = (wide.shape[1] - before.shape[1]) // 2
        assert np.array_equal(wide[:, left : left + before.shape[1]], before)
    capsys.readouterr()
    wide, own = tmp_path / "wide" / "a.png", tmp_path / "own" / "a.png"
    run("show", wide, "--again", "--inputs", own, "--out", tmp_path / "again.png")
    assert "every pixel is as in" in capsys.readouterr().out
