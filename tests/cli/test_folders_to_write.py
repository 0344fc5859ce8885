"""A folder that is to be written, or one above it, is a file: one line that names the field, before any work, whatever the command."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.command_line import run

from d3pm_image import Pipeline, hub, outputs, train_tokenizer
from d3pm_image.config import ConfigError
from d3pm_image.export import export
from d3pm_image.tokenizer import load_tokenizer

SHIPPED = "fashion-mnist"
FOLDERS = {
    "generate": ["generate", SHIPPED, "--num-images", 1],
    "train-tokenizer": ["train-tokenizer", "--data.source", "digits", "--train.steps", 1],
    "export": ["export", SHIPPED],
    "package": ["package", SHIPPED],
    "tune": ["tune", SHIPPED],
    "shards": None,
}
IMAGES = {
    "generate": ["generate", SHIPPED, "--num-images", 1, "--out", "OUT"],
    "trajectory": ["generate", SHIPPED, "--num-images", 1, "--trajectory", "OUT"],
    "inpaint": ["inpaint", SHIPPED, "image.png", "mask.png", "--out", "OUT"],
    "interpolate": ["interpolate", SHIPPED, "image.png", "image.png", "--out", "OUT"],
    "reconstruct": ["reconstruct", SHIPPED, "image.png", "--out", "OUT"],
}


@pytest.mark.parametrize("place", ["/dev/null", "/dev/null/below", "file", "file/below/deeper"])
@pytest.mark.parametrize("command", FOLDERS)
def test_a_file_where_a_folder_goes(image_file, tmp_path, monkeypatch, capsys, command, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("my thesis", encoding="utf-8")
    words = ["shards", tmp_path, place] if command == "shards" else [*FOLDERS[command], "--out", place]
    with monkeypatch.context() as patch:
        patch.setattr(Pipeline, "generate", unreached)
        with pytest.raises(SystemExit):
            run(*words)
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "='" in line and "is a file, or a link to a folder that is not there; name a folder" in line, line
    assert "Errno" not in line and (tmp_path / "file").read_text(encoding="utf-8") == "my thesis"


@pytest.mark.parametrize("command", IMAGES)
def test_an_image_below_a_file_is_refused_before_any_work(image_file, tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("my thesis", encoding="utf-8")
    for method in ("generate", "inpaint", "interpolate", "reconstruct"):
        if hasattr(Pipeline, method):
            monkeypatch.setattr(Pipeline, method, unreached)
    ending = "below.gif" if command in ("trajectory", "interpolate") else "below.png"
    with pytest.raises(SystemExit):
        run(*(f"file/{ending}" if word == "OUT" else word for word in IMAGES[command]))
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "is a file, or a link to a folder that is not there; name a folder" in line, line


def unreached(*_, **__):
    raise AssertionError("work began before the folder was looked at")


def test_python_names_the_field_and_the_value(tmp_path):
    pipe = Pipeline.from_pretrained(SHIPPED)
    calls = {
        "save": lambda: pipe.save_pretrained(5),
        "save none": lambda: pipe.save_pretrained(None),
        "save device": lambda: pipe.save_pretrained("/dev/null"),
        "export": lambda: export(pipe, 5),
        "load": lambda: Pipeline.from_pretrained(5),
        "load none": lambda: Pipeline.from_pretrained(None),
        "tokenizer": lambda: load_tokenizer(5),
        "locate": lambda: hub.locate(5),
        "train": lambda: train_tokenizer(data="digits", out="/dev/null"),
    }
    for name, call in calls.items():
        with pytest.raises(ConfigError, match=r"(folder|model|out|tokenizer)=.*: .*name a "):
            call()
            raise AssertionError(name)


def test_what_can_be_made_is_returned_with_home_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert outputs.folder_to_write("~/a/b") == tmp_path / "a" / "b" and not (tmp_path / "a").exists()
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(ConfigError, match="link"):
        outputs.folder_to_write(tmp_path / "link" / "x")
    (tmp_path / "gone").mkdir()
    assert outputs.folder_to_write(tmp_path / "link" / "x") == Path(tmp_path, "link", "x")
