"""A pipe in the place of an image."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from PIL import UnidentifiedImageError

from d3pm_image.image_io import open_image


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe_is_refused_before_it_hangs(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    code = "import sys; from d3pm_image.editing.image_files.files import open_image_file; open_image_file(sys.argv[1], 'mask')"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.png")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1 and re.search(r"mask='.*a\.png': not a readable image .*a pipe", done.stderr)
    with pytest.raises(UnidentifiedImageError, match="device"):
        open_image("/dev/zero")
