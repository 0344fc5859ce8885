"""A data set is known by its contents: copies with other times are the same, edited files are not, and held-out images are not training images."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from d3pm_image.config import DataConfig
from d3pm_image.data import identity
from d3pm_image.data.codes import build_cache, cache_key, former_key
from d3pm_image.data.identity import read_again
from d3pm_image.data.images import ImageSet
from d3pm_image.data.packing import pack
from d3pm_image.data.sources import folder, open_source, shard_set, stamp_of


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("D3PM_IMAGE_CACHE", str(tmp_path / "cache"))


def make_image(number: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8))


def write(root: Path, count: int = 12, first: int = 0) -> Path:
    """Images of one size in bytes (BMP), in two classes."""
    for number in range(first, first + count):
        path = root / "ab"[number % 2] / f"{number:02d}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        make_image(number).save(path)
    return root


def copy_with_other_times(root: Path, other: Path) -> Path:
    shutil.copytree(root, other, copy_function=shutil.copyfile)
    for number, path in enumerate(sorted(other.rglob("*.*"))):
        os.utime(path, (10_000 + number, 10_000 + number))
    return other


def edit(path: Path, number: int = 99) -> None:
    """Other pixels, the same size in bytes and the same time."""
    stat = path.stat()
    make_image(number).save(path)
    assert path.stat().st_size == stat.st_size
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def opened(kind: str, root: Path):
    return folder(root) if kind == "folder" else shard_set(str(root), True)


def some_set(kind: str, root: Path) -> Path:
    if kind == "folder":
        return write(root)
    pack(folder(write(root.with_name("plain"))), root, 5, quiet=True)
    return root


@pytest.mark.parametrize("kind", ["folder", "shards"])
def test_a_copy_with_other_times_is_the_same_set(tmp_path, kind):
    root = some_set(kind, tmp_path / "in")
    copy = copy_with_other_times(root, tmp_path / "copy")
    one, other = opened(kind, root), opened(kind, copy)
    assert one.fingerprint == other.fingerprint and one.known_as.former != other.known_as.former
    chosen = np.array([1, 4, 5])
    assert (
        one.subset(chosen).fingerprint
        == other.subset(chosen).fingerprint
        != one.subset(chosen[:2]).fingerprint
    )


@pytest.mark.parametrize("kind", ["folder", "shards"])
def test_other_contents_of_the_same_size_and_time_are_another_set(tmp_path, kind):
    root = some_set(kind, tmp_path / "in")
    before = opened(kind, root).known_as
    if kind == "folder":
        edit(root / "a" / "02.bmp")
    else:
        path = root / "shard-000001.tar"
        stat, data = path.stat(), bytearray(path.read_bytes())
        data[700] ^= 1  # a pixel
        path.write_bytes(bytes(data))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    now = opened(kind, root).known_as
    assert now.fingerprint != before.fingerprint and (now.files, now.former) == (before.files, before.former)


def test_names_belong_to_a_set(tmp_path):
    root = write(tmp_path / "in")
    before = folder(root).known_as
    (root / "a" / "00.bmp").rename(root / "b" / "00.bmp")
    now = folder(root).known_as
    assert now.fingerprint != before.fingerprint and now.contents == before.contents


def test_files_are_read_once_and_again_when_asked(tmp_path, monkeypatch):
    root, read = write(tmp_path / "in"), []
    real = identity.sha256
    monkeypatch.setattr(identity, "sha256", lambda path: read.append(path.name) or real(path))
    first = folder(root).fingerprint
    assert len(read) == 12
    assert folder(root).fingerprint == first and len(read) == 12
    (note,) = (tmp_path / "cache" / "contents").iterdir()
    with read_again():
        assert folder(root).fingerprint == first and len(read) == 24
    for damage in (
        b"",
        b"{",
        b"[" * 500,
        note.read_bytes().replace(b"a", b"b"),
        b'{"ordered": 1, "contents": 2, "sha256": 3}',
    ):
        note.write_bytes(damage)
        assert folder(root).fingerprint == first
    assert len(read) == 24 + 5 * 12
    note.unlink()
    os.mkfifo(note)
    assert folder(root).fingerprint == first


def test_a_set_that_is_too_large_to_read_is_known_by_its_times(tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "READ_AT_MOST", 1000)
    root = write(tmp_path / "in")
    copy = copy_with_other_times(root, tmp_path / "copy")
    one, other = folder(root).known_as, folder(copy).known_as
    assert (
        one.files == other.files and one.fingerprint == one.former != other.fingerprint and not one.contents
    )


def codes_of(root: Path, store: Path, key=None, batches: list | None = None) -> Path:
    images = ImageSet(folder(root), DataConfig("folder", str(root), image_size=8, channels=3))

    def encode(batch):
        if batches is not None:
            batches.append(len(batch))
        return batch[:, 0, ::4, ::4].long()

    return build_cache(
        images, encode, (key or cache_key)("t", images), store, quiet=True, former=former_key("t", images)
    )


def test_codes_are_not_made_anew_where_only_times_differ(tmp_path):
    root, batches = write(tmp_path / "in"), []
    place = codes_of(root, tmp_path / "codes")
    copy = copy_with_other_times(root, tmp_path / "copy")
    assert codes_of(copy, tmp_path / "codes", batches=batches) == place and batches == []
    edit(copy / "a" / "00.bmp")
    assert codes_of(copy, tmp_path / "codes") != place


def test_codes_of_a_version_that_read_no_contents_are_found(tmp_path):
    root, batches = write(tmp_path / "in"), []
    place = codes_of(root, tmp_path / "codes", key=former_key)
    assert codes_of(root, tmp_path / "codes", batches=batches) == place and batches == []
    (place / "codes.npy").write_bytes(b"")
    assert codes_of(root, tmp_path / "codes", batches=batches) != place and batches


def test_the_former_digest_is_what_earlier_versions_recorded(tmp_path):
    import hashlib

    root, stamp = write(tmp_path / "in"), hashlib.sha256()
    for path in sorted(root.rglob("*.bmp")):
        stat = path.stat()
        stamp.update(f"{path.relative_to(root)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    assert (
        folder(root).known_as.former
        == stamp.hexdigest()
        == stamp_of(folder(root).names, [p.stat() for p in folder(root).load.paths])
    )


def held_out(root: Path, val_root: Path):
    config = DataConfig("folder", str(root), str(val_root), image_size=8, channels=3)
    return open_source(config, held_out=True)


@pytest.mark.parametrize(
    "kind", ["itself", "link", "dots", "copy", "copy under other names", "inside", "around"]
)
def test_held_out_images_that_are_training_images_are_reported(tmp_path, capsys, kind):
    root = write(tmp_path / "in" / "deep")
    match kind:
        case "itself":
            val = root
        case "link":
            (val := tmp_path / "link").symlink_to(root)
        case "dots":
            val = root / "a" / ".."
        case "copy":
            val = copy_with_other_times(root, tmp_path / "copy")
        case "copy under other names":
            val = copy_with_other_times(root, tmp_path / "copy")
            for path in sorted(val.rglob("*.bmp")):
                path.rename(path.with_name(f"x{path.name}"))
        case "inside":
            val = root / "a"
        case _:
            val = tmp_path / "in"
    config = DataConfig("folder", str(root), str(val), image_size=8, channels=3, labels=False)
    open_source(config, held_out=True)
    said = capsys.readouterr().err
    assert "data.val_root=" in said and ("validation" in said)


def test_other_held_out_images_are_not_reported(tmp_path, capsys):
    root, val = write(tmp_path / "in"), write(tmp_path / "in-val", 4, first=50)
    held_out(root, val)
    assert capsys.readouterr().err == ""
