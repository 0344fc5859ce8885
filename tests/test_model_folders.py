"""Model folders: saving adds or replaces only its own files, whenever it is killed; what a stranger's folder holds is one line."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import stat
import tempfile
import time
from pathlib import Path

import pytest
import torch
from helpers.damage import fifo, flip_a_bit
from helpers.models import OWN, files, mark, pipeline
from safetensors.torch import load_file, save_file

from d3pm_image import Pipeline, storage
from d3pm_image.bundle import set_default_sampler
from d3pm_image.cli import main
from d3pm_image.config import ConfigError, SamplingConfig
from d3pm_image.sampling.request import default_sampler
from d3pm_image.tokenizer import Pixels, save_tokenizer


@pytest.fixture
def model(tmp_path):
    return pipeline().save_pretrained(tmp_path / "model")


# saving


def test_other_files_stay_and_a_link_stays_a_link(tmp_path):
    place, link = tmp_path / "disk", tmp_path / "model"
    (place / "denoiser").mkdir(parents=True)
    link.symlink_to(place)
    others = ["letter.txt", "log.jsonl", "denoiser/notes.txt", ".hidden"]
    for name in others:
        (place / name).write_text("mine")
    for seed in (0, 1):
        pipeline(seed).save_pretrained(link)
        assert link.is_symlink() and mark(Pipeline.from_pretrained(link)) == mark(pipeline(seed))
        assert files(place) == sorted([*OWN, *others]) and sorted(p.name for p in tmp_path.iterdir()) == [
            "disk",
            "model",
        ]
    set_default_sampler(link, default_sampler(), SamplingConfig(steps=7), {})
    save_tokenizer(Pixels(4, 1), link / "tokenizer", 4)
    assert link.is_symlink() and files(place) == sorted([*OWN, *others])
    assert Pipeline.from_pretrained(link).sampling.steps == 7


def test_the_working_folder_may_be_written_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").touch()
    pipeline().save_pretrained(".")
    assert files(tmp_path) == sorted([*OWN, "mine.txt"])
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    pipeline(1).save_pretrained("..")
    assert mark(Pipeline.from_pretrained("..")) == mark(pipeline(1))
    with pytest.raises(ConfigError, match="folder=''"):
        pipeline().save_pretrained("")


def test_what_is_something_elses_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "config.json").write_text('{"name": "my web site"}')
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    save_tokenizer(Pixels(4, 1), tmp_path / "tokenizer", 4)
    before = files(tmp_path)
    for place in (tmp_path, tmp_path / "gone", tmp_path / "config.json", tmp_path / "tokenizer"):
        with pytest.raises(ConfigError, match="folder="):
            pipeline().save_pretrained(place)
    with pytest.raises(ConfigError, match="folder="):
        save_tokenizer(Pixels(4, 1), tmp_path, 4)
    assert files(tmp_path) == before


def test_a_readme_of_the_users_is_not_replaced_by_a_model_card(tmp_path, capsys):
    model = pipeline().save_pretrained(tmp_path / "model")
    out = pipeline(1).save_pretrained(tmp_path / "out")
    (out / "README.md").write_text("my notes")
    with pytest.raises(SystemExit) as stop:
        main(["package", str(model), "--out", str(out), "--overwrite"])
    assert stop.value.code == 2 and "README.md" in capsys.readouterr().err
    assert (out / "README.md").read_text() == "my notes" and mark(Pipeline.from_pretrained(out)) == mark(
        pipeline(1)
    )
    (out / "README.md").unlink()
    (out / "notes.txt").touch()
    for _ in range(2):
        main(["package", str(model), "--out", str(out), "--overwrite"])
    assert files(out) == sorted([*OWN, "README.md", "notes.txt", "samples.jpg"])


@pytest.mark.parametrize("call", range(1, 20))
def test_a_failure_leaves_the_old_model(model, monkeypatch, call):
    """Whichever rename fails; the error reaches the caller and nothing is left behind."""
    real, calls = os.replace, []

    def fails(source, target):
        calls.append(target)
        if len(calls) == call:
            raise OSError("disk full")
        return real(source, target)

    monkeypatch.setattr(os, "replace", fails)
    with contextlib.suppress(OSError):
        pipeline(1).save_pretrained(model)
    monkeypatch.undo()
    expected = pipeline(1) if len(calls) < call else pipeline()
    assert mark(Pipeline.from_pretrained(model)) == mark(expected) and files(model) == OWN


def test_a_left_over_of_a_living_process_is_left_alone(model):
    with storage.files_together(model) as part:
        pipeline(1).save_pretrained(model)
        assert part.is_dir() and mark(Pipeline.from_pretrained(model)) == mark(pipeline(1))


def test_two_writers_that_begin_at_once_both_write(model, monkeypatch):
    """The second one looks for left-overs just when the first one has a folder and not yet its lock."""
    make, places = tempfile.mkdtemp, []

    def interrupted(*args, **kwargs):
        places.append(make(*args, **kwargs))
        if len(places) == 1:
            storage.remove_left_overs(model)
        return places[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", interrupted)
    pipeline(1).save_pretrained(model)
    assert len(places) > 1 and not Path(places[0]).exists()
    assert mark(Pipeline.from_pretrained(model)) == mark(pipeline(1)) and not list(model.glob(".new-*"))


# rights


@contextlib.contextmanager
def umask(bits: int):
    before = os.umask(bits)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("bits", [0o022, 0o002, 0o077])
def test_all_files_follow_the_umask(tmp_path, bits):
    with umask(bits):
        folder = pipeline().save_pretrained(tmp_path / "model")
        main(["package", str(folder), "--out", str(tmp_path / "given")])
        storage.write_tensors(tmp_path / "w.safetensors", {"a": torch.zeros(2)})
    modes = {
        p.relative_to(tmp_path): stat.S_IMODE(p.stat().st_mode) for p in tmp_path.rglob("*") if p.is_file()
    }
    assert set(modes.values()) == {0o666 & ~bits}, modes


# strangers' folders


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_weights(path: Path, change) -> None:
    tensors = load_file(path)
    name = next(n for n, t in tensors.items() if t.dim() == 2)
    tensors[name] = change(tensors[name])
    save_file(tensors, path)
    edit(path.with_name("config.json"), sha256=storage.sha256(path))
    edit(path.parent.parent / "config.json", denoiser_sha256=storage.sha256(path))


def put(value):
    def change(tensor):
        tensor = tensor.clone()
        tensor[0, 0] = value
        return tensor

    return change


def link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def huge(path: Path) -> None:
    with open(path, "r+b") as file:
        file.truncate(2**34)


WEIGHTS, SHAPE = Path("denoiser/model.safetensors"), Path("denoiser/config.json")
FAULTS = {
    "nan": lambda m: change_weights(m / WEIGHTS, put(float("nan"))),
    "infinite": lambda m: change_weights(m / WEIGHTS, put(float("-inf"))),
    "integers": lambda m: change_weights(m / WEIGHTS, lambda t: t.to(torch.int32)),
    "bytes": lambda m: change_weights(m / WEIGHTS, lambda t: t.to(torch.uint8)),
    "complex": lambda m: change_weights(m / WEIGHTS, lambda t: t.to(torch.complex64)),
    "eight bits": lambda m: change_weights(m / WEIGHTS, lambda t: t.to(torch.float8_e4m3fn)),
    "flipped bit": lambda m: flip_a_bit(m / WEIGHTS),
    "another denoiser": lambda m: [
        os.replace(pipeline(1).save_pretrained(m.parent / "o") / f, m / f) for f in (WEIGHTS, SHAPE)
    ],
    "pointer": lambda m: (m / WEIGHTS).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    ),
    "pointer in place of config": lambda m: (m / SHAPE).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    ),
    "weights are a pipe": lambda m: fifo(m / WEIGHTS),
    "weights are zeros": lambda m: link(m / WEIGHTS, "/dev/zero"),
    "weights are huge": lambda m: huge(m / WEIGHTS),
    "later pipeline": lambda m: edit(m / "config.json", version=2),
    "later denoiser": lambda m: edit(m / SHAPE, version=2),
    "no version": lambda m: edit(m / "config.json", version=None),
    "another format": lambda m: edit(m / SHAPE, format="d3pm-image-tokenizer"),
    "config is a pipe": lambda m: fifo(m / "config.json"),
    "inner config is a pipe": lambda m: fifo(m / SHAPE),
    "config is zeros": lambda m: link(m / "config.json", "/dev/zero"),
    "config is a loop": lambda m: link(m / "config.json", "config.json"),
    "config is huge": lambda m: huge(m / "config.json"),
    "nested lists": lambda m: (m / "config.json").write_text("[" * 100_000),
    "nested dictionaries": lambda m: (m / "config.json").write_text(
        '{"metadata":' * 100_000 + "1" + "}" * 100_000
    ),
    "nested below what Python refuses": lambda m: edit(
        m / "config.json", metadata=json.loads('{"a":' * 600 + "1" + "}" * 600)
    ),
    "utf-16": lambda m: (m / "config.json").write_text((m / "config.json").read_text(), encoding="utf-16"),
    "latin-1": lambda m: (m / "config.json").write_bytes(
        b'{"format": "d3pm-image-pipeline", "class_names": ["caf\xe9"]}'
    ),
    "pipeline is a list": lambda m: (m / "config.json").write_text("[1]"),
    "weights are empty": lambda m: (m / WEIGHTS).write_bytes(b""),
    "weights are a web page": lambda m: (m / WEIGHTS).write_text("\n<!DOCTYPE html><html>Not found</html>"),
    "tokenizer's weights are a web page": lambda m: (m / "tokenizer/model.safetensors").write_text("<HTML>"),
    "one name twice": lambda m: edit(m / "config.json", class_names=["cat", "cat"]),
    "a list": lambda m: (m / SHAPE).write_text("[]"),
    "one name too many": lambda m: edit(m / "config.json", class_names=["cat", "dog", "bird"]),
    "one name too few": lambda m: edit(m / "config.json", class_names=["cat"]),
    "names in one text": lambda m: edit(m / "config.json", class_names="ab"),
    "names are numbers": lambda m: edit(m / "config.json", class_names=[1, 2]),
    "names are null": lambda m: edit(m / "config.json", class_names=None),
    "facts are a list": lambda m: edit(m / "config.json", metadata=[]),
    "facts of data are a text": lambda m: edit(m / "config.json", metadata={"data": "x"}),
    "a sampler of a megabyte": lambda m: edit(
        m / "config.json", sampler={"sampler": "\x1b[31m" + "x" * 10**6}
    ),
    "process is a list": lambda m: edit(m / "config.json", process=[1]),
    "classes are a text": lambda m: edit(m / SHAPE, num_classes="2"),
    "minus classes": lambda m: edit(m / SHAPE, num_classes=-7),
    "more codes than memory": lambda m: edit(m / SHAPE, num_codes=10**15),
    "wider than memory": lambda m: edit(m / SHAPE, denoiser={"width": 2**40, "depth": 1, "heads": 1}),
    "endless ratio": lambda m: edit(
        m / SHAPE, denoiser={"width": 16, "depth": 1, "heads": 1, "mlp_ratio": 1e300}
    ),
    "one side": lambda m: edit(m / "tokenizer/config.json", image_size=[4]),
    "sides of text": lambda m: edit(m / "tokenizer/config.json", image_size="ab"),
    "no side": lambda m: edit(m / "tokenizer/config.json", image_size=[-4, 4]),
    "two channels": lambda m: edit(m / "tokenizer/config.json", channels=2),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_strangers_folder_is_one_line(model, fault, capsys):
    FAULTS[fault](model)
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SystemExit) as stop:
        main(["generate", str(model), "--num-images", "1", "--out", str(model / "x.png")])
    lines = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and len(lines) == 1 and len(lines[0]) < 2500, lines
    assert "error: model=" in lines[0] or "error: tokenizer=" in lines[0]
    assert "\x1b" not in lines[0] and not (model / "x.png").exists()
    assert (
        time.perf_counter() - began < 20
        and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 800_000
    )


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("pipeline is a list", "config.json holds no settings but [1]; copy the folder again"),
        ("weights are empty", "model.safetensors is empty"),
        ("weights are a web page", "is a web page, such as the one about the file; download the file itself"),
        ("tokenizer's weights are a web page", "is a web page"),
        ("one name twice", "names 'cat' twice, and a name means one class"),
    ],
)
def test_a_damaged_folder_says_what_to_do(model, fault, words):
    FAULTS[fault](model)
    with pytest.raises(ConfigError) as error:
        Pipeline.from_pretrained(model)
    assert words in str(error.value)


@pytest.mark.parametrize("name", ["config.json", "denoiser/config.json", "tokenizer/config.json"])
def test_a_byte_order_mark_is_read_over(model, name):
    (model / name).write_bytes(b"\xef\xbb\xbf" + (model / name).read_bytes())
    assert mark(Pipeline.from_pretrained(model)) == mark(pipeline())
    set_default_sampler(model, default_sampler(), SamplingConfig(steps=3), {})
    assert Pipeline.from_pretrained(model).sampling.steps == 3


def test_folders_written_before_still_load(model):
    """They have no checksum of the denoiser."""
    for name in ("config.json", "denoiser/config.json"):
        raw = json.loads((model / name).read_text())
        (model / name).write_text(
            json.dumps({k: v for k, v in raw.items() if "sha256" not in k or k == "tokenizer_sha256"})
        )
    assert mark(Pipeline.from_pretrained(model)) == mark(pipeline())
