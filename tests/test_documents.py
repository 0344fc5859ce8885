"""Small files are read safely, files have names that every system can store, and flushing works by Windows' rules."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from d3pm_image import storage
from d3pm_image.cli import main
from d3pm_image.documents import LARGEST_YAML, Missing, Unreadable, read_json, read_text, read_yaml
from d3pm_image.imaging import save_image
from d3pm_image.local_notes import note_folder
from d3pm_image.tokenizer import Pixels, save_tokenizer


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    return "\n".join([*lines, *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels))])


YAML = {
    "an alias bomb": (bomb(9), "stands for more than"),
    "a bomb in merge keys": (bomb(7).replace("a6: &a6", "train: &a6"), "stands for more than"),
    "an alias inside itself": ("train: &a {steps: *a}", "inside what it stands for"),
    "a key given twice": ("train: {steps: 3}\nout: x\ntrain: {steps: 4}", "train is given twice"),
    "an inner key given twice": ("train: {steps: 3, seed: 1, steps: 4}", "steps is given twice"),
    "nested lists": ("out: " + "[" * 100_000, "nesting depth"),
    "nested lists that libyaml takes": ("out: " + "[" * 500 + "]" * 500, "levels deep"),
    "utf-16": ("out: x".encode("utf-16"), "save it as UTF-8"),
    "utf-16 without a mark": ("out: x".encode("utf-16-le"), "save it as UTF-8"),
    "latin-1": ("out: café".encode("latin-1"), "save it as UTF-8"),
    "no YAML": ("train: [", "is not valid YAML"),
    "a date that is none": ("out: 2026-13-45", "is not valid YAML"),
    "an object": ("out: !!python/object/apply:os.getcwd []", "is not valid YAML"),
    "two documents": ("out: a\n---\nout: b", "single document"),
    "nothing": ("", "holds no settings"),
    "a number": ("5", "holds no settings"),
    "more than a settings file holds": ("out: " + "x" * (LARGEST_YAML + 1), "larger than 1 MB"),
}


def fails(capsys, *arguments: object) -> str:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    lines = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize("kind", YAML)
def test_a_settings_file_is_one_line(tmp_path, kind, capsys):
    content, words = YAML[kind]
    (tmp_path / "c.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    said = fails(capsys, "train-tokenizer", "--config", tmp_path / "c.yaml", "--out", tmp_path / "out")
    assert words in said and "c.yaml" in said and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "key"),
    [("8: 1", "8"), ("data: {8: 1}", "data.8"), ("loss: {adversarial: {true: 1}}", "loss.adversarial.True"), ("null: x", "None"),
     ("daat: {root: a}", "daat"), ("data: {rot: a}", "data.rot"), ("train: {steps: x}", "train.steps"), ("odd: 1", "odd"),
     ("loss: {adversarial: {weight: x}}", "loss.adversarial.weight"), ("loss: {adversarial: {weight: -1}}", "weight")],
)  # fmt: skip
@pytest.mark.parametrize("command", ["train-tokenizer", "estimate"])
def test_what_is_wrong_with_a_key_names_its_file(tmp_path, content, key, command, capsys):
    (tmp_path / "c.yaml").write_text(content)
    given = (
        [tmp_path / "c.yaml", "--stage", "tokenizer"]
        if command == "estimate"
        else ["--config", tmp_path / "c.yaml"]
    )
    said = fails(capsys, command, *given)
    assert key in said and str(tmp_path / "c.yaml") in said


@pytest.mark.parametrize("kind", ["pipe", "zeros", "folder"])
@pytest.mark.parametrize(
    "command", [["train-diffusion", "--config"], ["estimate"], ["evaluate", "--compare", __file__]]
)
def test_what_is_no_file_is_not_opened(tmp_path, kind, command, capsys):
    path = tmp_path / "c.yaml"
    {"pipe": os.mkfifo, "zeros": lambda p: p.symlink_to("/dev/zero"), "folder": Path.mkdir}[kind](path)
    said = fails(capsys, *command, path)
    assert "c.yaml" in said or "compare" in said


def test_a_file_with_a_byte_order_mark_is_read(tmp_path, capsys):
    (tmp_path / "c.yaml").write_bytes(b"\xef\xbb\xbfdata: {source: nosuch}\n")
    assert "data.source='nosuch'" in fails(capsys, "train-tokenizer", "--config", tmp_path / "c.yaml")
    assert read_yaml(tmp_path / "c.yaml") == {"data": {"source": "nosuch"}}
    (tmp_path / "c.json").write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(tmp_path / "c.json") == [1]


def test_ordinary_aliases_and_merged_keys_are_read(tmp_path):
    (tmp_path / "c.yaml").write_text("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: [*a, *a]\n? [1, 2]\n: z\n")
    with pytest.raises(Unreadable):  # a list as a key is no setting
        read_yaml(tmp_path / "c.yaml")
    (tmp_path / "c.yaml").write_text("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: [*a, *a]\n")
    assert read_yaml(tmp_path / "c.yaml") == {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": [{"x": 1}] * 2}


def test_keys_and_names_cannot_write_to_the_terminal(tmp_path, capsys):
    (tmp_path / "c.yaml").write_text('"\\e[31mx\\n": 1')
    assert "\x1b" not in fails(capsys, "train-tokenizer", "--config", tmp_path / "c.yaml")
    assert "\x1b" not in fails(capsys, "generate", "no\x1b[31m")


def test_reasons_differ(tmp_path):
    with pytest.raises(Missing):
        read_text(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(Missing):
        read_text(tmp_path / "file" / "below")
    (tmp_path / "a").symlink_to("a")
    with pytest.raises(Missing):  # a link to itself leads nowhere
        read_text(tmp_path / "a")
    (tmp_path / "grows").write_text("x" * 100)
    with pytest.raises(Unreadable, match="larger"):
        read_text(tmp_path / "grows", largest=99)


# Windows


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EBADF, errno.ENOTSUP])
def test_file_systems_that_flush_no_folders(tmp_path, monkeypatch, code):
    real = os.fsync

    def picky(handle):
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            raise OSError(code, "no")
        real(handle)

    monkeypatch.setattr(os, "fsync", picky)
    storage.write_text(tmp_path / "a.txt", "x")
    save_tokenizer(Pixels(4, 1), tmp_path / "t", 4)
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(errno.EIO, "broken disk")))
    with pytest.raises(OSError, match="broken disk"):
        storage.write_text(tmp_path / "b.txt", "x")
    assert not (tmp_path / "b.txt").exists()


@pytest.mark.parametrize("name", ["x" * 245, "x" * 255, "é" * 127, "日" * 85])
def test_long_names_can_be_written(tmp_path, name):
    storage.write_text(tmp_path / name, "1")
    storage.write_tensors(tmp_path / name, {"a": torch.zeros(1)})
    image = name.encode()[:251].decode(errors="ignore") + ".png"
    save_image(Image.new("L", (2, 2)), tmp_path / image)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, image])


@pytest.mark.parametrize(
    ("text", "name"),
    [("a\\b/c", "a_b_c.png"), ("CON", "_CON.png"), ("nul.tar", "_nul.tar.png"), ("COM¹", "_COM¹.png"), ("lpt9 ", "_lpt9.png"), ("..", "_.png"),
     ("a\nb\x1b", "a_b_.png"), ("cat: 5?", "cat_ 5_.png"), ("Köln", "Köln.png"), ("console", "console.png"), ("\udcff", "_.png"), ("", "_.png")],
)  # fmt: skip
def test_names_for_every_system(text, name):
    assert storage.safe_name(text, ".png") == name


def test_a_long_text_is_cut_between_characters():
    name = storage.safe_name("日" * 200, ".png")
    assert len(name.encode()) <= 240 and set(name.removesuffix(".png")) == {"日"}


def test_device_names_are_refused_on_windows(tmp_path, monkeypatch):
    path = tmp_path / "NUL.png"
    monkeypatch.setattr(storage.os, "name", "nt")
    with pytest.raises(OSError, match="device"):
        storage.part_path(path)


# what a stranger's model may name, and what is told of this machine


@pytest.fixture
def secret(tmp_path):
    for i in range(6):
        (tmp_path / "secret").mkdir(exist_ok=True)
        Image.new("L", (8, 8), 40 * i).save(tmp_path / "secret" / f"{i}.png")
    return tmp_path / "secret"


@pytest.mark.parametrize("named", ["root", "val_root"])
def test_a_strangers_model_reads_no_folder_that_was_not_named(tmp_path, secret, named, capsys):
    own = tmp_path / "own"
    own.mkdir()
    for i in range(6):
        Image.new("L", (8, 8), 10 * i).save(own / f"{i}.png")
    data = {"source": "folder", "root": str(own), "image_size": 8, "channels": 1, "val_share": 0.5} | {
        named: str(secret)
    }
    save_tokenizer(Pixels(4, 1), tmp_path / "model", 8, {"data": data})
    base = [tmp_path / "model", "--reconstruction-distance", "false"]
    for place in secret.iterdir():
        place.write_bytes(b"whoever reads this complains")
    root = [] if named == "root" else ["--root", own]
    said = fails(capsys, "evaluate", *base, *root)
    assert (
        f"--{named.replace('_', '-')}" in said.replace("val_root", "val-root")
        and "not named on this machine" in said
    )
    said = fails(
        capsys,
        "reconstruct",
        tmp_path / "model",
        *(["--data.root", own] if root else []),
        "--out",
        tmp_path / "x.png",
    )
    assert "not named on this machine" in said
    for i, place in enumerate(sorted(secret.iterdir())):
        Image.new("L", (8, 8), 40 * i).save(place)
    main([str(w) for w in ["evaluate", *base, *root, f"--{named.replace('_', '-')}", secret]])
    note_folder(str(secret))  # as training does
    main([str(w) for w in ["evaluate", *base, *root]])


def test_remembered_data_of_another_kind_is_one_line(tmp_path, capsys):
    for data in ({"nosuch": 1}, {"source": 5}, {"image_size": "x"}, {"image_size": []}):
        save_tokenizer(Pixels(4, 1), tmp_path / "model", 8, {"data": data})
        fails(capsys, "evaluate", tmp_path / "model")
