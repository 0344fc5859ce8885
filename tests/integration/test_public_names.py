"""The public names: typed, listed, and enough for the example."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from helpers.paths import ROOT

import d3pm_image


def test_the_example_trains_generates_and_inpaints(tmp_path):
    pytest.importorskip("sklearn")
    command = [
        sys.executable,
        str(ROOT / "examples" / "train_from_python.py"),
        "--out",
        str(tmp_path),
        "--steps",
        "4",
    ]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list(tmp_path.glob("image-*.png"))) == 8 and len(list(tmp_path.glob("repainted-*.png"))) == 4


RESULTS = {
    "generate(2)": "imaging.Images",
    "generate(2, output_type='pt', eta=1.0)": "torch._tensor.Tensor",
    "generate(2, output_type='np')": "numpy.ndarray",
    "__call__(output_type='np')": "keywords.ImageOutput[numpy.ndarray]",
    "reconstruct('a.png')": "imaging.Images",
    "inpaint('a.png', None, feather=2)": "imaging.Images",
    "inpaint(['a.png'], None)": "list[imaging.Images]",
    "inpaint('a.png', None, output_type='pt')": "torch._tensor.Tensor",
    "inpaint(pipe.generate(2), None, output_type='np')": "list[numpy.ndarray]",
    "outpaint('a.png', left=2)": "imaging.Images",
    "outpaint(('a.png',), left=2, output_type='pt')": "list[torch._tensor.Tensor]",
    "edit('a.png', None, 'cat')": "imaging.Images",
    "vary('a.png', 0.2, output_type='np')": "numpy.ndarray",
    "tile('a.png', axis='x')": "imaging.Images",
    "tile(['a.png'], width=8, output_type='np')": "list[numpy.ndarray]",
    "interpolate('a.png', 'b.png')": "imaging.Images",
}
"""Calls of a pipeline, and the types of what they return."""


@pytest.mark.slow
def test_the_public_names_are_typed(tmp_path):
    """mypy --strict finds no fault in the example, knows the names, and says which do not exist."""
    pytest.importorskip("mypy")
    script = (ROOT / "examples" / "train_from_python.py").read_text(encoding="utf-8")
    inside = "    reveal_type((images, repainted))\n    for kind, several"
    more = "import d3pm_image\nreveal_type(train_tokenizer('x'))\nreveal_type(train_diffusion('x'))\n"
    more += "pipe = d3pm_image.Pipeline.from_pretrained('x')\n"
    more += "".join(f"reveal_type(pipe.{call})\n" for call in RESULTS)
    more += "d3pm_image.nothing\ntrain_tokenizer('x', stpes=3)\n"
    (tmp_path / "right.py").write_text(script, encoding="utf-8")
    (tmp_path / "more.py").write_text(
        script.replace("    for kind, several", inside) + more, encoding="utf-8"
    )
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    strict = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--follow-imports=silent",
        "--config-file=",
        "right.py",
        "more.py",
    ]
    said = subprocess.run(
        strict, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    ).stdout
    assert "right.py" not in said and "Found 2 errors in 1 file" in said, said
    own = ("tokenizer.autoencoder.Autoencoder", "pipeline.Pipeline", *RESULTS.values())
    images, *found = [
        line.split('"')[1].replace("d3pm_image.", "") for line in said.splitlines() if "Revealed" in line
    ]
    assert images == "tuple[imaging.Images, imaging.Images]"
    assert [re.sub(r"ndarray\[.*?\]\]\]", "ndarray", one) for one in found] == list(own)


def test_what_is_public_is_listed_and_loads():
    assert dir(d3pm_image) == sorted(d3pm_image.__all__) and (ROOT / "d3pm_image" / "py.typed").is_file()
    assert all(getattr(d3pm_image, name) is not None for name in d3pm_image.__all__)
