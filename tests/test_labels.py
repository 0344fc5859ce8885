"""Classes by name and number: a name comes first, everywhere, and every class can be named."""

from __future__ import annotations

import pytest
from helpers.command_line import fails, run
from hypothesis import given, settings
from hypothesis import strategies as st

from d3pm_image.config import ConfigError
from d3pm_image.labels import label_ids, label_text, parse_labels, read_labels


@pytest.mark.parametrize(
    ("names", "text", "found"),
    [
        (("1", "2", "3"), "1", [0]),
        (("1", "2", "3"), "1,3", [0, 2]),
        (("1", "2", "3"), "0", [0]),  # no name: the place in the list
        (("1", "2", "3"), "1..3", [0, 1, 2]),
        (("001", "002"), "001", [0]),
        (("001", "002"), "001..002", [0, 1]),
        (("1", "10", "2"), "10", [1]),
        (("1", "10", "2"), "1..2", [0, 2]),
        (("2019", "2020"), "2019..2020", [0, 1]),
        (("none", "cat"), "none", [0]),
        (("none", "cat"), "cat,no class", [1, 2]),
        (("cat", "dog"), "none", [2]),
        (("cat", "dog"), "None", [2]),
        (("a,b", "c"), "a,b", [0]),
        (("a,b", "c"), '"a,b",c', [0, 1]),
        (("a", "b", "a,b"), '"a","b"', [0, 1]),
        (("0..1", "x"), "0..1", [0]),
        (('5" pipe', '"x"'), '5" pipe,"\\"x\\""', [0, 1]),
        (("Köln", "Ulm"), "Ko\u0308ln", [0]),
        (("Ko\u0308ln", "Ulm"), "köln", [0]),
        (("a", "b"), "0..1", [0, 1]),
        (("a", "b"), " b , a ", [1, 0]),
        (("a", "b"), " ", None),
    ],
)  # fmt: skip
def test_texts_of_the_command_line(names, text, found):
    assert read_labels(text, names) == found
    assert found is None or label_ids(parse_labels(text), len(found), names) == found


@pytest.mark.parametrize(
    "text",
    [
        "²",
        "٣",
        "1²",
        "0..999999999999",
        "9..3",
        "0..²",
        "3",
        "-1",
        '"a',
        '"0"',
        "9" * 5000,
        "0.." + "9" * 5000,
        "a,,b",
        "0..1,x",
        "None..1",
    ],
)
def test_what_names_no_class_is_one_line(text):
    with pytest.raises(ConfigError, match="labels="):
        read_labels(text, ("a", "b", "c"))
    with pytest.raises(ConfigError, match="labels="):
        label_ids(text, 1, ("a", "b", "c"))


def test_a_range_between_a_name_and_a_number_is_refused():
    with pytest.raises(ConfigError, match=r"0\.\.2"):
        read_labels("0..2", ("1", "2", "3"))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=6, unique_by=lambda name: name.casefold()))
def test_every_class_can_be_named(names):
    for number, name in enumerate(names):
        if name.strip():
            assert read_labels(label_text(number, names), names) == [number], (name, label_text(number, names))
    assert label_ids(None, 3, names, first=10**9) == [(10**9 + i) % len(names) for i in range(3)]


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
    run("inpaint", tmp_path / "m", tmp_path / "a.png", "--box", "0,0,4,4", "--out", tmp_path / "b.png")  # no class is the default
    assert Image.open(tmp_path / "b.png").size == (8, 8)
    for command in (["generate"], ["inpaint", tmp_path / "a.png", "--box", "0,0,4,4"]):
        assert "labels=" in fails(capsys, command[0], tmp_path / "m", *command[1:], "--labels", "²", "--out", tmp_path / "c.png")
    assert pipe.label_ids("1", 1) == [0]


def test_a_picture_of_the_page_names_its_class(trained, tmp_path, capsys):
    """Class 1 of the list is the folder 2: the command that makes the picture again must not take 1 for a name."""
    pytest.importorskip("gradio")
    import threading

    from d3pm_image import Pipeline
    from d3pm_image.app.session import Drawing, Finished, Studio
    from d3pm_image.provenance import read_settings

    pipe = Pipeline.from_pretrained(trained / "diffusion")
    pipe.class_names = tuple(str(i + 1) for i in range(10))
    pipe.save_pretrained(tmp_path / "m")
    (tmp_path / "shelf").mkdir()
    studio = Studio(Pipeline.from_pretrained(tmp_path / "m"), str(tmp_path / "m"), tmp_path / "shelf")
    for label, name in (("1", "2"), ("none", "no class"), ("", "1")):
        *_, seen = studio.generate(Drawing(label, 2), threading.Event())
        assert isinstance(seen, Finished)
        run("show", seen.paths[0], "--again", "--out", tmp_path / "again.png", "--overwrite")
        assert "every pixel is as in" in capsys.readouterr().out
        assert read_settings(seen.paths[0])["label"] == name
