"""Two `shards` commands into one folder: one packs, the other waits and finds the shards there; a packing of an earlier version goes on."""

from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path

import numpy as np
from PIL import Image

from d3pm_image.data import packing
from d3pm_image.data.sources import folder, shard_set


def images(root: Path) -> Path:
    root.mkdir()
    for number in range(12):
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)).save(
            root / f"{number:02d}.png"
        )
    return root


def one_program(root: Path, out: Path, results) -> None:
    real = packing.write_shard

    def slow(*arguments):
        time.sleep(0.1)
        return real(*arguments)

    packing.write_shard = slow
    done = packing.pack(folder(root), out, 4, quiet=True)
    results.put((done.shards, done.kept))


def index_program(root: Path, cache: Path, results) -> None:
    from d3pm_image.data.shards import open_shards

    results.put(len(open_shards(str(root), cache).names))


def side_by_side(target, *arguments) -> list:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    both = [context.Process(target=target, args=(*arguments, results)) for _ in range(2)]
    for one in both:
        one.start()
    found = sorted(results.get(timeout=60) for _ in both)
    for one in both:
        one.join(30)
    return found


def test_two_programs_pack_once(tmp_path, capfd):
    root = images(tmp_path / "in")
    assert side_by_side(one_program, root, tmp_path / "out") == [(3, 0), (3, 3)]
    assert "waiting for process" in capfd.readouterr().err
    packing.pack(folder(root), tmp_path / "alone", 4, quiet=True)
    files = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert files == ["packing.json", *(f"shard-{i:06d}.tar" for i in range(3))]
    assert all(
        (tmp_path / "out" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes() for name in files
    )


def test_a_lock_that_a_killed_program_left_is_no_other_file(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / packing.LOCK).touch()
    assert packing.pack(folder(images(tmp_path / "in")), tmp_path / "out", 4, quiet=True).shards == 3


def test_a_packing_of_a_version_that_noted_times_goes_on(tmp_path):
    source = folder(images(tmp_path / "in"))
    packing.pack(source, tmp_path / "out", 4, quiet=True)
    note = tmp_path / "out" / packing.PACKED
    note.write_text(json.dumps(json.loads(note.read_text()) | {"data": source.known_as.former}))
    (tmp_path / "out" / "shard-000001.tar").unlink()
    assert packing.pack(source, tmp_path / "out", 4, quiet=True).kept == 2


def test_two_programs_write_one_index(tmp_path):
    root = images(tmp_path / "in")
    packing.pack(folder(root), tmp_path / "out", 4, quiet=True)
    assert side_by_side(index_program, tmp_path / "out", tmp_path / "cache") == [12, 12]
    assert [p.name.startswith(".") for p in (tmp_path / "cache" / "shards").iterdir()] == [False]
    assert len(shard_set(str(tmp_path / "out"), True)) == 12
