"""Names whose bytes are not UTF-8."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from helpers.image_files import images

ODD = os.fsdecode(b"gr\xfcn")


@pytest.fixture
def odd(tmp_path) -> Path:
    """Two classes and a root with such names; skips where the file system refuses them."""
    root = tmp_path / ODD
    try:
        images(root, *(f"{ODD if i % 2 else 'b'}/{i}{ODD}.png" for i in range(10)))
    except OSError:
        pytest.skip("the file system wants UTF-8")
    return root
