"""Code caches in several files hold what one file holds; a damaged file is named and encoded again alone; memory stays flat."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.code_caches import COUNT, FILES, SHARD, Encoder, build, contents

from d3pm_image.config import ConfigError
from d3pm_image.data import code_files
from d3pm_image.data.code_files import MAPPED_PAGES, CodeFiles, Layout, empty, prepare
from d3pm_image.data.codes import CodeSet, Team, is_whole
from d3pm_image.data.order import BatchOrder, batches


@pytest.mark.parametrize("batch", [1, 5, 7, 14, 100])
@pytest.mark.parametrize("flip", [False, True])
def test_several_files_hold_what_one_file_holds(tmp_path, flip, batch):
    one, many = (
        build(tmp_path / "one", shard=COUNT, flip=flip),
        build(tmp_path / "many", batch=batch, flip=flip),
    )
    assert sorted(contents(one)) == ["codes.npy", "labels.npy", "meta.json"]  # not more than fit one file
    assert sorted(contents(many)) == [*FILES, "labels.npy", "meta.json"]
    assert [np.load(many / name).shape for name in FILES] == [(1 + flip, rows, 2, 4) for rows in (7, 7, 7, 2)]
    a, b = CodeSet(one, seed=3), CodeSet(many, seed=3)
    keys = np.random.default_rng(1).integers(0, 4 * COUNT, 300).tolist()
    assert (
        len(a) == len(b) == COUNT and a.grid == b.grid == (2, 4) and b.codes.shape == (1 + flip, COUNT, 2, 4)
    )
    for name in ("codes", "labels"):
        assert torch.equal(a.__getitems__(keys)[name], b.__getitems__(keys)[name])
    assert np.array_equal(np.concatenate(list(b.codes.blocks(3)), 1), np.load(one / "codes.npy"))


def test_processes_write_shards_together(tmp_path):
    barrier, encoders = threading.Barrier(3), [Encoder() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        places = list(
            pool.map(
                lambda r: build(tmp_path / "team", encoders[r], team=Team(r, 3, lambda: barrier.wait(30))),
                range(3),
            )
        )
    assert all(e.batches for e in encoders) and sum(e.batches for e in encoders) == 1 + 5
    assert contents(places[0]) == contents(build(tmp_path / "alone"))


@pytest.mark.parametrize("stops", [1, 3, 5])
def test_an_encoding_of_shards_that_was_stopped_goes_on(tmp_path, stops):
    with pytest.raises(OSError, match="no space"):
        build(tmp_path / "a", Encoder(stops))
    encoder = Encoder()
    place = build(tmp_path / "a", encoder)
    assert encoder.batches == 1 + 5 - (stops - 1)  # one to learn the grid
    assert contents(place) == contents(build(tmp_path / "b"))


@pytest.mark.parametrize("damage", ["short", "gone", "nonsense", "other shape"])
@pytest.mark.parametrize("number", [0, 2, 3])
def test_a_damaged_file_is_named_and_made_again_alone(tmp_path, capsys, number, damage):
    place = build(tmp_path / "a", batch=SHARD)
    good, path = contents(place), place / FILES[number]
    kept = {name: (place / name).stat().st_ino for name in FILES if name != path.name}
    if damage == "gone":
        path.unlink()
    elif damage == "other shape":
        np.save(path, np.zeros((1, 3, 2, 4), np.uint16))
    else:
        path.write_bytes(good[path.name][:-3] if damage == "short" else b"nonsense")
    assert not is_whole(place)
    assert f"({path.name}): encoding 1 of 4 files again" in capsys.readouterr().err
    encoder = Encoder()
    assert build(tmp_path / "a", encoder, batch=SHARD) == place
    assert encoder.batches == 2 and contents(place) == good  # one to learn the grid
    assert {name: (place / name).stat().st_ino for name in kept} == kept
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["k"]


def test_mending_a_damaged_file_can_be_stopped_too(tmp_path):
    place = build(tmp_path / "a")
    good = contents(place)
    (place / FILES[1]).unlink()  # batches 1 and 2
    for stops in (1, 2):  # at the first of the two, then at the second
        with pytest.raises(OSError, match="no space"):
            build(tmp_path / "a", Encoder(stops))
        assert contents(place) == {name: data for name, data in good.items() if name != FILES[1]}  # as it was
    encoder = Encoder()
    assert contents(build(tmp_path / "a", encoder)) == good and encoder.batches == 2


@pytest.mark.parametrize("damage", ["labels", "meta", "count", "shard"])
def test_damage_that_touches_every_file_means_all_anew(tmp_path, damage):
    place = build(tmp_path / "a")
    good = contents(place)
    meta = json.loads(good["meta.json"])
    if damage == "labels":
        (place / "labels.npy").write_bytes(b"")
    else:
        (place / "meta.json").write_text(
            {
                "meta": "{",
                "count": json.dumps(meta | {"count": 24}),
                "shard": json.dumps(meta | {"shard": -1}),
            }[damage]
        )
    assert not is_whole(place, quiet=True)
    encoder = Encoder()
    assert contents(build(tmp_path / "a", encoder)) == good and encoder.batches == 6


@pytest.mark.parametrize(
    "change",
    [
        {"count": 10**15},
        {"shard": 1, "count": 10**9},
        {"grid": [0, 4]},
        {"variants": "2"},
        {"grid": 5},
        {"shard": True},
    ],
)
def test_absurd_numbers_in_a_cache_are_refused_at_once(tmp_path, change):
    place = build(tmp_path / "a")
    meta = json.loads((place / "meta.json").read_text())
    (place / "meta.json").write_text(json.dumps(meta | change))
    assert not is_whole(place, quiet=True)


def test_a_cache_of_one_file_from_before_is_read_whatever_its_length(tmp_path):
    place = build(tmp_path / "a", shard=COUNT)
    meta = json.loads((place / "meta.json").read_text())
    assert "shard" not in meta
    encoder = Encoder()
    assert build(tmp_path / "a", encoder, shard=SHARD) == place and encoder.batches == 0
    assert len(CodeSet(place)) == COUNT


def test_a_code_that_the_tokenizer_lacks_names_its_file(tmp_path):
    place = build(tmp_path / "a")
    codes = np.load(place / FILES[2])
    codes[0, 3] = 65000
    np.save(place / FILES[2], codes)
    held = CodeSet(place, num_codes=60_000)
    held.__getitems__([0, 13, 16, 21])
    with pytest.raises(ConfigError, match=rf"cache='.*{FILES[2]}': holds code 65000 of 60000; remove it"):
        held.__getitems__([0, 17, 3])


def test_a_file_damaged_before_the_encoding_is_whole_is_made_again(tmp_path):
    with pytest.raises(OSError, match="no space"):
        build(tmp_path / "a", Encoder(4), batch=SHARD)
    part = tmp_path / "a" / ".k.part"
    (part / FILES[1]).write_bytes(b"nonsense")
    encoder = Encoder()
    place = build(tmp_path / "a", encoder, batch=SHARD)
    assert encoder.batches == 1 + 2 and contents(place) == contents(build(tmp_path / "b"))


def resident(name: str) -> float:
    """RssAnon or RssFile of this process in MB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(name))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_ten_million_images_are_read_in_flat_memory(tmp_path, monkeypatch):
    """Sparse shards, so nothing is on disk: the order and the mapped pages are all that is held."""
    monkeypatch.setattr(code_files, "MAPPED_PAGES", 2**25)  # else 300 batches would not fill it
    layout = Layout(1, 10_000_000, (8, 8), 2**20)
    part = tmp_path / "c"
    part.mkdir()
    prepare(part, tmp_path / "none", layout, 256)
    (part / "meta.json").write_text(
        json.dumps({"count": layout.count, "variants": 1, "grid": [8, 8], "shard": layout.shard})
    )
    assert is_whole(part) and len(list(part.glob("codes-*.npy"))) == 10
    codes = CodeSet(part)
    assert codes.codes.large
    loader = iter(batches(codes, BatchOrder(len(codes), 256, 0, 0, 301), 0))
    next(loader)  # shuffles the epoch
    before = resident("RssAnon"), resident("RssFile")
    for _ in range(300):
        assert next(loader)["codes"].shape == (256, 64)
    after = resident("RssAnon"), resident("RssFile")
    assert after[0] - before[0] < 20
    assert after[1] - before[1] < 32 + 80  # and the labels, 80 MB


def test_large_caches_give_the_same_codes_when_pages_are_given_back(tmp_path):
    codes = CodeFiles(build(tmp_path / "a"))
    every = np.zeros(COUNT, np.int64), np.arange(COUNT)
    before, codes.large, codes._touched = codes.read(*every), True, MAPPED_PAGES
    assert np.array_equal(codes.read(*every), before) and codes._touched == 0


def test_an_empty_file_does_not_change_the_other_name_of_its_place(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(3))
    (tmp_path / "b.npy").hardlink_to(tmp_path / "a.npy")
    empty(tmp_path / "b.npy", (5,), np.uint16)
    assert (
        np.load(tmp_path / "a.npy").tolist() == [1, 1, 1] and np.load(tmp_path / "b.npy").tolist() == [0] * 5
    )
