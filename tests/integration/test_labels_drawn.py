"""Classes by name with a trained model."""

from __future__ import annotations

import pytest
from helpers.command_line import fails, run


def test_the_shell_draws_the_class_of_that_name(trained, tmp_path, capsys):
    from PIL import Image

    from d3pm_image import Pipeline

    pipe = Pipeline.from_pretrained(trained / "diffusion")
    pipe.class_names = (*(str(i + 1) for i in range(9)), "none")
    pipe.save_pretrained(tmp_path / "m")
    run("generate", tmp_path / "m", "--num-images", 2, "--labels", "1,none", "--out", tmp_path / "s")
    shown = [Image.open(path).text["d3pm_image"] for path in sorted((tmp_path / "s").iterdir())]
    assert '"label": "1"' in shown[0] and '"label": "none"' in shown[1]
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    run(
        "inpaint", tmp_path / "m", tmp_path / "a.png", "--box", "0,0,4,4", "--out", tmp_path / "b.png"
    )  # no class is the default
    assert Image.open(tmp_path / "b.png").size == (8, 8)
    for command in (["generate"], ["inpaint", tmp_path / "a.png", "--box", "0,0,4,4"]):
        assert "labels=" in fails(
            capsys, command[0], tmp_path / "m", *command[1:], "--labels", "²", "--out", tmp_path / "c.png"
        )
    assert pipe.label_ids("1", 1) == [0]


def test_an_image_of_the_page_names_its_class(trained, tmp_path, capsys):
    """Class 1 of the list is the folder 2: the command that makes the image again must not take 1 for a name."""
    pytest.importorskip("gradio")
    import threading

    from d3pm_image import Pipeline
    from d3pm_image.app.page_model import Finished, PageModel, PageRequest
    from d3pm_image.provenance import read_settings

    pipe = Pipeline.from_pretrained(trained / "diffusion")
    pipe.class_names = tuple(str(i + 1) for i in range(10))
    pipe.save_pretrained(tmp_path / "m")
    (tmp_path / "shelf").mkdir()
    page_model = PageModel(Pipeline.from_pretrained(tmp_path / "m"), str(tmp_path / "m"), tmp_path / "shelf")
    for label, name in (("1", "2"), ("none", "no class"), ("", "1")):
        *_, seen = page_model.generate(PageRequest(label, 2), threading.Event())
        assert isinstance(seen, Finished)
        run("show", seen.paths[0], "--again", "--out", tmp_path / "again.png", "--overwrite")
        assert "every pixel is as in" in capsys.readouterr().out
        assert read_settings(seen.paths[0])["label"] == name
