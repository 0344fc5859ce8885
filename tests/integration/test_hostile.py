"""Folders and files from elsewhere: nothing in them is executed, followed or given memory before it is checked."""

from __future__ import annotations

import ast
import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.damage import Payload
from helpers.paths import ROOT
from helpers.tiny import TINY_DIFFUSION, TINY_TOKENIZER
from PIL import Image

from d3pm_image import Pipeline
from d3pm_image.cli import main, train_diffusion, train_tokenizer
from d3pm_image.config import ConfigError, DataConfig
from d3pm_image.data.codes import CodeSet, is_whole
from d3pm_image.data.images import ImageSet, count_unreadable
from d3pm_image.data.order import BatchOrder, batches
from d3pm_image.data.sources import folder as folder_source
from d3pm_image.evaluation.samples import remembered_data
from d3pm_image.tokenizer import load_tokenizer
from d3pm_image.training.checkpoint import checkpoints, load_checkpoint

pytestmark = pytest.mark.usefixtures("one_accelerator_a_test")

pytest.importorskip("sklearn")


def fails(capsys, *arguments: object) -> str:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert stop.value.code == 2 and len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("part", ["denoiser", "tokenizer"])
def test_pickled_weights_are_not_loaded(copied, tmp_path, capsys, part):
    place, trap = copied / "diffusion" / "model", tmp_path / "trap"
    (place / part / "model.safetensors").write_bytes(pickle.dumps(Payload(trap)))
    assert "cannot be read" in fails(capsys, "generate", place, "--out", tmp_path / "g.png")
    assert not trap.exists() and not (tmp_path / "g.png").exists()


FORBIDDEN = {
    "eval",
    "exec",
    "os.system",
    "os.popen",
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
    "yaml.load",
    "yaml.unsafe_load",
}


def executes(source: str) -> list[str]:
    """Calls that run or unpickle what they are given: names of functions, and arguments that allow it."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name, given = (
                ast.unparse(node.func),
                {word.arg: ast.unparse(word.value) for word in node.keywords},
            )
            allows = given.get("allow_pickle", "False") != "False" or given.get("shell", "False") != "False"
            unpickles = (
                name == "torch.load" and given.get("weights_only") != "True"
            )  # which reads tensors, and runs nothing
            found += [name] if name in FORBIDDEN or allows or unpickles else []
    return found


def test_no_module_unpickles_or_evaluates():
    found = {
        path.name: executes(path.read_text(encoding="utf-8")) for path in (ROOT / "d3pm_image").rglob("*.py")
    }
    assert {name: calls for name, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    "source",
    [
        "x = eval(y)",
        "f(exec (y))",
        "torch.load(p)",
        "np.load(p, allow_pickle=ok)",
        "subprocess.run(w, shell=True)",
        "yaml.load(t, L)",
    ],
)
def test_what_would_execute_is_seen(source):
    assert executes(source) and not executes(
        "network.eval(); torch.load(p, weights_only=True); yaml.safe_load(t)"
    )


def test_configurations_hold_no_objects(tmp_path, capsys):
    trap, config = tmp_path / "trap", tmp_path / "config.yaml"
    config.write_text(f'out: !!python/object/apply:os.system ["touch {trap}"]\n')
    fails(capsys, "train-tokenizer", "--config", config)
    assert not trap.exists()


CHANGES = {
    "denoiser/config.json": [("denoiser.width", 1 << 40), ("denoiser.depth", 1 << 30), ("num_codes", 1 << 40), ("num_classes", "many")],
    "tokenizer/config.json": [
        ("tokenizer.width", 1 << 40), ("tokenizer.blocks", 1 << 30), ("tokenizer.quantizer.num_codes", 60000),
        ("tokenizer.quantizer.code_dim", 1 << 40), ("tokenizer.quantizer.name", "os.system"), ("tokenizer.quantizer", 5),
        ("image_size", [1 << 20, 1 << 20]), ("image_size", "big"), ("channels", 1 << 30), ("kind", "os.system"),
    ],
    "config.json": [("process.steps", -1), ("sampler.sampler", "__import__"), ("process.shell", "x")],
}  # fmt: skip


@pytest.mark.parametrize(
    ("file", "name", "value"), [(file, *change) for file, changes in CHANGES.items() for change in changes]
)
def test_absurd_settings_of_a_model_are_refused_before_memory_is_taken(copied, file, name, value):
    path = copied / "diffusion" / "model" / file
    raw = json.loads(path.read_text())
    *parts, last = name.split(".")
    inner = raw
    for key in parts:
        inner = inner[key]
    inner[last] = value
    path.write_text(json.dumps(raw))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConfigError):
        Pipeline.from_pretrained(copied / "diffusion" / "model")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


def test_a_model_of_another_starts_no_download():
    assert not remembered_data({"data": {"source": "cifar10", "download": True}}, "model").download


@pytest.mark.parametrize("name", ["../../escape.safetensors", "/etc/passwd"])
def test_checkpoints_name_no_files_elsewhere(copied, name):
    place = checkpoints(copied / "tokenizer" / "checkpoints")[-1]
    state = json.loads((place / "state.json").read_text())
    (place / "state.json").write_text(json.dumps(state | {"sha256": {name: "0" * 64}}))
    with pytest.raises(RuntimeError, match="missing or damaged"):
        load_checkpoint(place)


def bomb(path: Path, side: int) -> None:
    """A PNG of a few bytes that says it has side × side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"0" * 64))
        + chunk(b"IEND", b"")
    )


@pytest.mark.filterwarnings("ignore:.*not a readable image")
def test_an_image_bomb_in_a_folder_is_left_out(tmp_path):
    bomb(tmp_path / "bomb.png", 100_000)
    for i in range(3):
        Image.new("L", (8, 8), i).save(tmp_path / f"{i}.png")
    assert folder_source(tmp_path).names == ["0.png", "1.png", "2.png"]


def images_of(tmp_path: Path, good: int, bad: int, memory_mb: int, share: float) -> ImageSet:
    for i in range(good + bad):
        Image.fromarray(np.full((8, 8), i % 256, np.uint8)).save(tmp_path / f"{i:04d}.png")
        if i < bad:
            path = tmp_path / f"{i:04d}.png"
            path.write_bytes(path.read_bytes()[:45])  # the header is whole, the pixels are not
    config = DataConfig(
        source="folder",
        root=str(tmp_path),
        image_size=8,
        channels=1,
        memory_mb=memory_mb,
        max_unreadable=share,
    )
    return ImageSet(folder_source(tmp_path), config)


@pytest.mark.filterwarnings("ignore:.*cannot decode")
@pytest.mark.parametrize("memory_mb", [0, 100])
def test_more_unreadable_images_than_allowed_stop(tmp_path, memory_mb):
    def read(images: ImageSet) -> int:
        order = BatchOrder(len(images), 50, 0, 0, 20)
        return len(list(count_unreadable(batches(images, order, 0), order, images)))

    assert read(images_of(tmp_path, 95, 5, memory_mb, 0.1)) == 20
    with pytest.raises(ConfigError, match=r"data.max_unreadable=0.02: \d+ of \d+ images cannot be decoded"):
        read(images_of(tmp_path, 95, 5, memory_mb, 0.02))


class Mortal(ImageSet):
    """Its loader process dies once, at the first image of class 7."""

    def __getitems__(self, keys):
        marker = Path(self.config.root) / "died"
        if 7 in keys and not marker.exists() and torch.utils.data.get_worker_info() is not None:
            marker.touch()
            os._exit(1)
        return super().__getitems__(keys)


def test_a_loader_process_that_dies_is_replaced(tmp_path, capsys):
    plain = images_of(tmp_path, 20, 0, 0, 0.0)
    order = BatchOrder(20, 4, 0, 0, 10)
    expected = [batch["index"].tolist() for batch in batches(plain, order, 0)]
    found = [batch["index"].tolist() for batch in batches(Mortal(plain.source, plain.config), order, 2)]
    assert found == expected and "a loader process died" in capsys.readouterr().err


def cache_of(copied: Path) -> Path:
    return next(p for p in copied.iterdir() if p.is_dir() and (p / "meta.json").is_file())


@pytest.mark.parametrize(
    "damage", ["short", "no codes", "other count", "nonsense", "codes", "codes, no sums"]
)
def test_a_damaged_code_cache_is_made_again_or_named(trained, tmp_path, capsys, damage):
    base = [
        *TINY_DIFFUSION,
        "--tokenizer",
        str(trained / "tokenizer"),
        "--cache",
        str(tmp_path / "cache"),
        "--train.steps",
        "2",
    ]
    train_diffusion.main([*base, "--out", str(tmp_path / "a")])
    for place in (tmp_path / "cache").iterdir():
        codes = place / "codes.npy"
        if damage == "short":
            codes.write_bytes(codes.read_bytes()[:-100])
        elif damage == "no codes":
            codes.unlink()
        elif damage == "other count":
            (place / "meta.json").write_text(
                (place / "meta.json").read_text().replace('"count": ', '"count": 1')
            )
        elif damage == "nonsense":
            codes.write_bytes(b"nonsense")
        else:
            array = np.load(codes)
            np.save(codes, np.full_like(array, 60000))
        if damage == "codes, no sums":  # of a version that stored none
            meta = json.loads((place / "meta.json").read_text())
            del meta["sha256"]
            (place / "meta.json").write_text(json.dumps(meta))
        assert is_whole(place, quiet=True) == (damage == "codes, no sums")
    capsys.readouterr()
    if damage == "codes, no sums":
        with pytest.raises(ConfigError, match=r"cache=.*holds code 60000 of 32"):
            train_diffusion.main([*base, "--out", str(tmp_path / "b")])
    else:
        train_diffusion.main([*base, "--out", str(tmp_path / "b")])
        assert "is damaged" in capsys.readouterr().err
        assert all(len(CodeSet(place)) > 100 for place in (tmp_path / "cache").iterdir())


def test_resume_refuses_other_data(copied):
    with pytest.raises(ConfigError, match=r"data=.*was begun with"):
        train_tokenizer.main(
            [*TINY_TOKENIZER, "--out", str(copied / "tokenizer"), "--resume", "true", "--data.limit", "500"]
        )


def run_limited(arguments: list[str], file_bytes: int) -> subprocess.CompletedProcess:
    """A run that may write no file larger than so many bytes: what a full disk does."""
    code = f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({file_bytes}, {file_bytes})); from d3pm_image.cli import main; main(sys.argv[1:])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=False
    )


def test_a_full_disk_is_one_line_and_leaves_the_last_state(copied):
    folder = copied / "tokenizer"
    before = {p: p.read_bytes() for p in (folder / "checkpoints").rglob("*") if p.is_file()}
    arguments = [
        "train-tokenizer",
        *TINY_TOKENIZER,
        "--out",
        str(folder),
        "--resume",
        "true",
        "--train.steps",
        "80",
    ]
    result = run_limited(arguments, 20_000)
    assert result.returncode == 1 and "Traceback" not in result.stderr, result.stderr[-1500:]
    assert "check the path, the rights and the space left" in result.stderr.splitlines()[-1]
    assert {p: p.read_bytes() for p in (folder / "checkpoints").rglob("*") if p.is_file()} == before
    train_tokenizer.main([*arguments[1:]])
    assert checkpoints(folder / "checkpoints")[-1].name == "step-00000080"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SystemExit) as stop:
        main(["train-tokenizer", *TINY_TOKENIZER, "--out", str(tmp_path / "file" / "run")])
    assert stop.value.code in (1, 2)
    assert "error:" in capsys.readouterr().err.splitlines()[-1]


def test_a_tokenizer_of_another_model_is_refused(copied):
    other = copied / "diffusion" / "model" / "tokenizer" / "config.json"
    raw = json.loads(other.read_text())
    other.write_text(json.dumps(raw | {"sha256": "0" * 64}))
    with pytest.raises(ConfigError, match="checksum differs"):
        load_tokenizer(copied / "diffusion" / "model" / "tokenizer")
