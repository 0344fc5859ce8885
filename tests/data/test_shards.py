"""Tar shards give what the folder gives, in any order, from places that an index knows; damaged and hostile ones are named, never followed."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from helpers.image_files import class_folder, noise, shard
from helpers.tar_shards import config, encoded, opened, plain_shards

from d3pm_image.config import ConfigError, DataConfig
from d3pm_image.data.codes import cache_key
from d3pm_image.data.image_source import ImageSource
from d3pm_image.data.images import ImageSet
from d3pm_image.data.order import BatchOrder, batches
from d3pm_image.data.packing import pack
from d3pm_image.data.shards import find_shards
from d3pm_image.data.sources import folder, open_source


def everything(source: ImageSource) -> dict[str, torch.Tensor]:
    chosen = DataConfig("folder", "x", image_size=16, channels=3, memory_mb=0)
    images = ImageSet(source, chosen)
    return images.__getitems__(list(range(len(images))))


# what shards hold


@pytest.mark.parametrize("each", [1, 5, 23, 100])
def test_a_folder_packed_and_read_again_is_the_same(tmp_path, each):
    before = folder(class_folder(tmp_path / "in"))
    done = pack(before, tmp_path / "out", each, quiet=True)
    assert done.shards == -(-23 // each) == len(list((tmp_path / "out").glob("*.tar"))) and not done.left_out
    after = opened(tmp_path / "out", tmp_path / "cache")
    assert (
        after.class_names == before.class_names == ("a", "b", "c")
        and after.labels.tolist() == before.labels.tolist()
    )
    old, new = everything(before), everything(after)
    assert torch.equal(old["images"], new["images"]) and torch.equal(old["labels"], new["labels"])
    for index, path in enumerate(before.load.paths):
        assert (after.load.read(index) == path.read_bytes()) == (path.suffix != ".jp2")


def test_shards_are_read_as_webdataset_names_them(tmp_path):
    """Folders in names, double endings, capitals, numbers and names in JSON; what is neither image nor label is passed over."""
    members = [
        ("./a/x.JPG", encoded(0, "JPEG")), ("./a/x.json", b'{"label": "dog", "caption": "y"}'), ("./a/x.txt", b"words"),
        ("b/x.seg.png", encoded(90)), ("b/x.png", encoded(1)), ("b/x.cls", b"1\n"), ("b/x.json", b'{"label": 0}'),
        ("c.v2/y.json", b'{"cls": 0}'), ("c.v2/y.webp", encoded(2, "WEBP")), ("c.v2/._y.png", b"macOS"),
    ]  # fmt: skip
    shard(tmp_path / "s.tar", *members)
    (tmp_path / "classnames.txt").write_text("cat\ndog\n")
    found = opened(tmp_path, tmp_path / "cache")
    assert found.labels.tolist() == [1, 1, 0] and found.class_names == ("cat", "dog")
    assert np.array_equal(found.load(1), noise(1))
    assert [found.names[i] for i in range(3)] == ["s.tar: ./a/x.JPG", "s.tar: b/x.png", "s.tar: c.v2/y.webp"]


def test_long_names_and_pax_headers_keep_their_images(tmp_path):
    for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
        with tarfile.open(tmp_path / f"{kind}.tar", "w", format=kind) as archive:
            for i in range(3):
                data = encoded(i)
                member = tarfile.TarInfo(
                    f"{'d' * 80}/{'ü' if kind != tarfile.USTAR_FORMAT else 'u'}{i:090d}.png"
                )
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    found = opened(tmp_path, tmp_path / "cache")
    assert all(np.array_equal(found.load(i), noise(i % 3)) for i in range(9)) and len(found.names) == 9


def test_roots_are_folders_patterns_ranges_and_files(tmp_path):
    plain_shards(tmp_path, 12)
    names = lambda root: [p.name for p in find_shards(str(tmp_path / root))]  # noqa: E731
    every = [f"part-{i:03d}.tar" for i in range(12)]
    assert names(".") == names("part-*.tar") == names("part-{000..011}.tar") == every
    assert (
        names("part-{008..010}.tar") == every[8:11]
        and names("part-{0..0}{08..09}.tar") == every[8:10]
        and names("part-007.tar") == every[7:8]
    )
    for root, text in {
        "part-{000..012}.tar": "1 of 13 shards are missing .part-012.tar.", "none-*.tar": "no shards", "none": "no shards",
        "part-{5..2}.tar": "a range of -2", "part-{0..99999999999}.tar": "a range of 100000000000 shards",
        "{0..99999}{0..99999}.tar": "a range of 10000000000 shards",
    }.items():  # fmt: skip
        with pytest.raises(ConfigError, match=rf"data\.root=.*{text}"):
            find_shards(str(tmp_path / root))
    with pytest.raises(
        ConfigError, match=r"data\.root='': name the folder of images when data\.source is shards"
    ):
        DataConfig("shards")


# training and held-out parts


def test_held_out_rules_are_those_of_folders(tmp_path):
    plain_shards(tmp_path / "in", 5, 8)
    train, held = (open_source(config(tmp_path / "in", val_share=0.1), held_out=h) for h in (False, True))
    assert (len(train), len(held)) == (36, 4)
    names = [source.names[i] for source in (train, held) for i in range(len(source))]
    assert sorted(names) == [f"part-{i // 8:03d}.tar: {i:04d}.png" for i in range(40)]
    for source in (train, held):
        for i in range(len(source)):
            number = int(source.names[i].split()[1][:4])
            assert np.array_equal(source.load(i), noise(number)) and source.labels[i] == number % 3
    some = open_source(config(tmp_path / "in", limit=7))
    assert len(some) == 7 and some.names[0] == train.names[0] and some.names[6] == train.names[35]
    assert open_source(config(tmp_path / "in", labels=False)).labels is None


def test_own_held_out_shards_are_used_whole_with_the_same_class_numbers(tmp_path):
    """Named beside the training shards alone, in another order beside both, or numbers on both sides."""
    plain_shards(tmp_path / "train", 2)
    shard(tmp_path / "val" / "v.tar", ("a.png", encoded(50)), ("a.cls", b"1"))
    chosen = config(tmp_path / "train", val_root=str(tmp_path / "val"))
    assert len(open_source(chosen)) == 8 and open_source(chosen, held_out=True).labels.tolist() == [1]
    (tmp_path / "train" / "classnames.txt").write_text("x\ny\nz\n")
    held = open_source(chosen, held_out=True)
    assert held.labels.tolist() == [1] and held.class_names == ("x", "y", "z")
    (tmp_path / "val" / "classnames.txt").write_text("z\nx\n")
    assert open_source(chosen, held_out=True).labels.tolist() == [0]
    (tmp_path / "val" / "classnames.txt").write_text("z\nother\n")
    with pytest.raises(ConfigError, match=r"classes that data\.root does not have"):
        open_source(chosen, held_out=True)


def test_labels_are_used_where_every_image_has_one(tmp_path):
    shard(tmp_path / "a" / "s.tar", ("1.png", encoded(1)), ("1.cls", b"0"), ("2.png", encoded(2)))
    with pytest.warns(UserWarning, match="1 of 2 images have no label"):
        found = opened(tmp_path / "a", tmp_path / "cache")
    assert found.labels is None and found.class_names == ()
    shard(tmp_path / "b" / "s.tar", ("1.cls", b"0"), ("2.png", encoded(2)), ("2.cls", b"0"))
    with pytest.warns(UserWarning, match="1 keys have a label but no image"):
        assert len(opened(tmp_path / "b", tmp_path / "cache").names) == 1


# any order, from places


@pytest.mark.parametrize("workers", [0, 2])
def test_the_order_of_training_is_exact_from_any_step(tmp_path, workers):
    plain_shards(tmp_path / "in")
    source = opened(tmp_path / "in", tmp_path / "cache")
    images = ImageSet(source, config(tmp_path / "in", memory_mb=0, flip=True), augment=True, seed=3)
    unbroken = list(batches(images, BatchOrder(12, 5, 7, 0, 8), 0))
    resumed = list(batches(images, BatchOrder(12, 5, 7, 3, 8), workers))
    for a, b in zip(unbroken[3:], resumed, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in ("images", "labels", "index"))


def test_a_loader_sent_to_another_process_opens_its_index_there(tmp_path):
    load = opened(plain_shards(tmp_path / "in"), tmp_path / "cache").load
    sent = pickle.dumps(load)
    assert len(sent) < 1000 and np.array_equal(pickle.loads(sent)(5), noise(5))


def test_threads_read_more_shards_than_stay_open(tmp_path):
    plain_shards(tmp_path / "in", 150, 2)
    load, before = opened(tmp_path / "in", tmp_path / "cache").load, len(os.listdir("/proc/self/fd"))
    order = np.random.default_rng(0).permutation(300)
    with ThreadPoolExecutor(8) as pool:
        assert all(
            np.array_equal(image, noise(i)) for i, image in zip(order, pool.map(load, order), strict=True)
        )
    assert len(os.listdir("/proc/self/fd")) - before < 140


def test_an_index_is_made_once_and_again_when_a_shard_or_the_index_changed(tmp_path):
    root, cache = plain_shards(tmp_path / "in"), tmp_path / "cache"
    first = opened(root, cache)
    index = first.load.index
    stamp = index.stat().st_mtime_ns
    assert opened(root, cache).fingerprint == first.fingerprint and index.stat().st_mtime_ns == stamp
    good = index.read_bytes()
    for bad in (good[:-5], b"nonsense", good[:-24] + bytes([255]) * 24, b""):
        index.write_bytes(bad)
        again = opened(root, cache)
        assert index.read_bytes() == good and np.array_equal(again.load(11), noise(11))
    shard(root / "part-001.tar", ("0.png", encoded(77)), ("0.cls", b"2"))
    changed = opened(root, cache)
    assert (
        changed.fingerprint != first.fingerprint
        and len(changed.names) == 9
        and np.array_equal(changed.load(4), noise(77))
    )
    assert not [p for p in (cache / "shards").iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("kind", ["nested", "other JSON", "pipe", "folder", "none"])
def test_an_index_with_odd_facts_is_made_again(tmp_path, kind):
    root, cache = plain_shards(tmp_path / "in"), tmp_path / "cache"
    meta = opened(root, cache).load.index.with_name("meta.json")
    good = meta.read_bytes()
    meta.unlink()
    if kind in ("pipe", "folder"):
        os.mkfifo(meta) if kind == "pipe" else meta.mkdir()
    elif kind != "none":
        meta.write_text("[" * 100_000 if kind == "nested" else "[1]")
    assert len(opened(root, cache).names) == 12 and meta.read_bytes() == good


def test_programs_that_index_at_once_agree(tmp_path):
    root = plain_shards(tmp_path / "in", 20)
    pids = []
    for _ in range(4):
        pid = os.fork()
        if not pid:
            code = 1
            try:
                code = int(len(opened(root, tmp_path / "cache").names) != 80)
            finally:
                os._exit(code)
        pids.append(pid)
    assert all(os.waitpid(pid, 0)[1] == 0 for pid in pids)
    assert [p.name.startswith(".") for p in (tmp_path / "cache" / "shards").iterdir()] == [False]


def test_an_index_takes_no_memory_an_image(tmp_path, monkeypatch):
    """200,000 rows pass through a block of 1,000; what is left is the mapped file, 24 bytes per image."""
    from d3pm_image.data import shards

    monkeypatch.setattr(shards, "ROWS", 1000)
    total = 200_000
    monkeypatch.setattr(
        shards, "samples", lambda path, number, *rest: ((number, 1, 512, i % 7) for i in range(total))
    )
    shard(tmp_path / "in" / "s.tar", ("0.png", encoded(0)))
    import tracemalloc

    tracemalloc.start()
    found = opened(tmp_path / "in", tmp_path / "cache")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.names) == total and found.class_names == tuple("0123456") and int(found.labels[8]) == 1
    assert (
        peak
        < 2_000_000
        < (tmp_path / "cache" / "shards" / found.load.index.parent.name / "index.npy").stat().st_size
    )


def test_codes_depend_on_the_shards_and_their_labels(tmp_path):
    root, cache = plain_shards(tmp_path / "in"), tmp_path / "cache"
    key = lambda: cache_key("t", ImageSet(opened(root, cache), config(root)))  # noqa: E731
    keys = [key(), key()]
    assert keys[0] == keys[1]
    os.utime(root / "part-000.tar", (1, 1))
    assert key() == keys[0]  # times alone change nothing
    with open(root / "part-000.tar", "r+b") as file:
        file.seek(600)
        file.write(b"other bytes")
    keys.append(key())
    (root / "classnames.txt").write_text("a\nb\nc\n")
    keys.append(key())
    assert len(set(keys)) == 3


# damaged and hostile shards


# packing


def test_a_packing_that_was_stopped_goes_on(tmp_path, monkeypatch):
    from d3pm_image.data import packing

    source, calls = folder(class_folder(tmp_path / "in")), []
    whole = packing.write_shard

    def stops(*arguments):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        return whole(*arguments)

    monkeypatch.setattr(packing, "write_shard", stops)
    with pytest.raises(KeyboardInterrupt):
        pack(source, tmp_path / "out", 5, quiet=True)
    monkeypatch.setattr(packing, "write_shard", whole)
    done = pack(source, tmp_path / "out", 5, quiet=True)
    assert (done.shards, done.kept) == (5, 2)
    pack(source, tmp_path / "again", 5, quiet=True)
    files = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert files == ["classnames.txt", "packing.json", *(f"shard-{i:06d}.tar" for i in range(5))]
    assert all(
        (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in files
    )


def test_packing_does_not_mix_with_other_files(tmp_path):
    source = folder(class_folder(tmp_path / "in"))
    pack(source, tmp_path / "out", 5, quiet=True)
    for other, each in ((source, 6), (source.subset(np.arange(9)), 5)):
        with pytest.raises(ConfigError, match=r"out=.*other images or in another size"):
            pack(other, tmp_path / "out", each, quiet=True)
    with pytest.raises(ConfigError, match="holds other files"):
        pack(source, tmp_path / "in", 5, quiet=True)
    (tmp_path / "out/packing.json").unlink()
    os.mkfifo(tmp_path / "out/packing.json")
    with pytest.raises(ConfigError, match=r"out=.*holds other files .*pipe"):  # and does not wait for it
        pack(source, tmp_path / "out", 5, quiet=True)


@pytest.mark.filterwarnings("ignore:.*cannot be read, left out")
def test_images_that_cannot_be_packed_are_left_out(tmp_path):
    source = folder(class_folder(tmp_path / "in", 4))
    source.load.paths[0].write_bytes(b"")
    assert pack(source, tmp_path / "out", 9, quiet=True).left_out == 1
    assert len(opened(tmp_path / "out", tmp_path / "cache").names) == 3


def test_sets_by_name_are_packed_as_png(tmp_path):
    pytest.importorskip("sklearn")
    from d3pm_image.data.sources import whole_source

    digits = whole_source("digits", False)
    pack(digits.subset(np.arange(20)), tmp_path / "out", 9, quiet=True)
    found = opened(tmp_path / "out", tmp_path / "cache")
    assert found.labels.tolist() == digits.labels[:20].tolist()
    assert all(np.array_equal(found.load(i), digits.load(i)) for i in range(20))
