"""The textures of docs/tiles.md repeat: examples/textures.py."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
import torch
from helpers.paths import ROOT
from PIL import Image

from d3pm_image.metrics.seam import border_seam

spec = importlib.util.spec_from_file_location("textures", ROOT / "examples" / "textures.py")
textures = importlib.util.module_from_spec(spec)
spec.loader.exec_module(textures)


@pytest.mark.parametrize("name", textures.TEXTURES)
@pytest.mark.parametrize("size", [16, 32])
def test_a_texture_s_border_is_like_any_other_place(name, size):
    """Of many rolled images the border is no more visible than the inside, and an image is not flat."""
    rng = np.random.default_rng(0)
    found = [
        np.roll(textures.TEXTURES[name](rng, size), rng.integers(0, size, 2), (0, 1)) for _ in range(300)
    ]
    images = torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)
    assert border_seam(images) == pytest.approx(1, abs=0.15)
    assert float(images.std((2, 3)).min()) > 2


def test_the_command_writes_a_folder_of_classes(tmp_path, monkeypatch, capsys):
    line = ["textures.py", str(tmp_path), "--count", "7", "--size", "16"]
    monkeypatch.setattr(sys, "argv", line)
    textures.main()
    files = sorted(tmp_path.rglob("*.png"))
    assert len(files) == 7 and {file.parent.name for file in files} == set(textures.TEXTURES)
    assert Image.open(files[0]).size == (16, 16)
    before = [file.read_bytes() for file in files]
    textures.main()
    assert [file.read_bytes() for file in files] == before
    monkeypatch.setattr(sys, "argv", [*line, "--size", "20"])
    with pytest.raises(SystemExit):
        textures.main()
    assert "multiple of 8" in capsys.readouterr().err
