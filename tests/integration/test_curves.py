"""A training ends with an image of its curves."""

from __future__ import annotations

import pytest
from PIL import Image

from d3pm_image.visualization.curves import SIZE


@pytest.mark.parametrize("stage", ["tokenizer", "diffusion"])
def test_a_run_has_its_curves(trained, stage):
    with Image.open(trained / stage / "curves.png") as image:
        assert image.size == SIZE and len(image.getcolors(10**6)) > 10
