"""``show --again`` on images of strangers: nothing is written, loaded or counted that they do not show; and on one's own."""

from __future__ import annotations

import base64
import io
import time

import pytest
from helpers.command_line import fails, run
from helpers.notes import made
from PIL import Image
from PIL.PngImagePlugin import PngInfo

GENERATED = {
    "command": "generate",
    "model": "fashion-mnist",
    "seed": 1,
    "labels": "",
    "steps": 1,
    "number": 0,
    "label": "Bag",
}
INPAINTED = {
    "command": "inpaint",
    "model": "fashion-mnist",
    "seed": 1,
    "labels": "",
    "steps": 1,
    "image": "image.png",
    "box": "1,1,4,4",
}


@pytest.mark.parametrize(
    "model",
    [
        "--trajectory=victim.gif",
        "--out=victim.gif",
        "--config=/etc/passwd",
        "-h",
        "evil/huge-model",
        "evil/huge@main",
        "~nobody/x",
        "\0",
        "a" * 5000,
        7,
    ],
)
def test_an_image_names_no_option_and_no_download(tmp_path, monkeypatch, capsys, model):
    import huggingface_hub

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("a download began")
    )
    (tmp_path / "victim.gif").write_bytes(b"mine")
    assert "model=" in fails(capsys, "show", made(tmp_path, {**GENERATED, "model": model}), "--again")
    assert (
        sorted(p.name for p in tmp_path.iterdir()) == ["made.png", "victim.gif"]
        and (tmp_path / "victim.gif").read_bytes() == b"mine"
    )


HOSTILE = {
    "many labels": {"labels": "0..999999999999"},
    "long labels": {"labels": "0," * 100_000},
    "labels that are a list": {"labels": [1]},
    "a number beyond the batch": {"number": 10**9, "batch_first": 0, "batch_size": 10**9, "labels": "0..999999999999"},
    "a number of another type": {"number": "0"},
    "a number that is true": {"number": True},
    "a number that is null": {"number": None, "num_images": 10**6},
    "a number below 0": {"number": -1},
    "a batch of another type": {"batch_size": "64", "number": None, "num_images": 1},
    "a grid larger than the image": {"number": None, "num_images": 10**6},
    "columns wider than the image": {"number": None, "num_images": 1, "columns": 900},
    "a seed that is a text": {"seed": "1; rm"},
    "a seed that is a fraction": {"seed": 1.5},
    "a large seed": {"seed": 10**300},
    "a negative seed": {"seed": -1},
    "steps beyond all": {"steps": 10**9},
    "no number": {"guidance": float("nan")},
    "infinite": {"temperature": float("inf")},
    "a sampler of no name": {"sampler": "magic"},
    "a sampler of another type": {"sampler": {"a": 1}},
    "precision": {"precision": "float8"},
    "trueish": {"roll": "false"},
    "a class beyond": {"negative_label": 10**9},
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_settings_of_a_stranger_end_in_one_line(tmp_path, capsys, case):
    metadata = {
        name: value
        for name, value in (GENERATED | HOSTILE[case]).items()
        if not (name == "number" and value is None)
    }
    began = time.monotonic()
    line = fails(capsys, "show", made(tmp_path, metadata), "--again")
    assert len(line) < 3000 and time.monotonic() - began < 60
    assert [p.name for p in tmp_path.iterdir()] == ["made.png"]


def one_bit(width: int, height: int) -> str:
    file = io.BytesIO()
    Image.new("1", (width, height)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize(
    ("command", "metadata"),
    [
        ("inpaint", {"mask": one_bit(12_000, 12_000)}),
        ("inpaint", {"mask": "no base 64"}),
        ("inpaint", {"mask": ["a"]}),
        ("inpaint", {"box": "1,1,1e999,4"}),
        ("inpaint", {"box": "9" * 5000}),
        ("inpaint", {"box": "", "polygon": "1,1 2,2 " * 20_000}),
        ("inpaint", {"variants": 10**6}),
        ("inpaint", {"variants": 900}),
        ("inpaint", {"variant": 10**12}),
        ("inpaint", {"ring": 10**9}),
        ("inpaint", {"feather": 10**9}),
        ("inpaint", {"image": "../../etc/passwd"}),
        ("inpaint", {"image": "a\0b"}),
        ("inpaint", {"image": "x" * 5000}),
        ("outpaint", {"left": 9000, "box": None}),
        ("interpolate", {"a": "image.png", "b": "image.png", "frames": 1000, "box": None}),
        ("edit", {"label": 5}),
        ("vary", {"strength": "1"}),
        ("../outputs", {}),
        ("train_tokenizer", {}),
    ],
)
def test_edits_of_a_stranger_end_in_one_line(image_file, tmp_path, capsys, command, metadata):
    path = made(
        tmp_path,
        {
            name: value
            for name, value in (INPAINTED | {"command": command} | metadata).items()
            if value is not None
        },
        size=(30, 20),
    )
    before = sorted(p.name for p in tmp_path.iterdir())
    line = fails(capsys, "show", path, "--again")
    assert len(line) < 3000 and sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        '{"command": "generate", "seed": ' + "9" * 10_000 + "}",
        "5",
        '{"command": 5}',
        "\\ud800",
    ],
)
def test_damaged_texts_are_one_line(tmp_path, capsys, text):
    info = PngInfo()
    info.add_text("d3pm_image", text)
    Image.new("L", (4, 4)).save(tmp_path / "a.png", pnginfo=info)
    for more in ([], ["--json"], ["--again"]):
        assert "image=" in fails(capsys, "show", tmp_path / "a.png", *more)


def test_what_is_shown_cannot_steer_the_terminal(tmp_path, capsys):
    evil = "\x1b]0;owned\x07\x9b2J\u202egnp\nmodel  safe\ud800"
    metadata = {
        "command": "generate",
        "model": evil,
        evil: evil,
        "seed": evil,
        "label": evil,
        "sampler": evil,
        "weights_sha256": evil,
        "version": evil,
    }
    path = made(tmp_path, metadata | {f"x{i}": i for i in range(100_000)})
    for more in ([], ["--json"]):
        run("show", path, *more)
        said = capsys.readouterr().out
        assert not set(said) & set("\x1b\x07\x9b\u202e\ud800") and "\nmodel  safe" not in said
        assert more or len(said.splitlines()) < 80
    assert not set(fails(capsys, "show", path, "--again")) & set("\x1b\x07\x9b\u202e\ud800")
