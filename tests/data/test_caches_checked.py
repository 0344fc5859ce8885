"""Caches whose files are damaged, odd or hostile are named in a line and made anew: code caches, reference caches, classifiers."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.code_caches import FILES, Encoder, build, contents
from helpers.damage import DAMAGE, archive, flip_a_bit, other_tensors
from helpers.reference_images import Space, image_set

from d3pm_image.data import code_sums
from d3pm_image.data.codes import CodeSet, is_whole
from d3pm_image.evaluation.reference_stats import reference
from d3pm_image.tensor_cache import cached_tensors

# code caches


@pytest.mark.parametrize("name", [FILES[0], FILES[3], "labels.npy"])
def test_right_shape_and_wrong_content_is_found(tmp_path, capsys, name):
    place = build(tmp_path / "a")
    good = contents(place)
    stat = (place / name).stat()
    flip_a_bit(place / name)
    os.utime(place / name, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as a failing disk does it
    assert not is_whole(place)
    assert f"is damaged ({name})" in capsys.readouterr().err
    assert build(tmp_path / "a") == place and contents(place) == good


def test_codes_that_are_all_zero_are_found(tmp_path):
    """What two programs at work on one cache left."""
    place = build(tmp_path / "a")
    good = contents(place)
    np.save(place / FILES[1], np.zeros_like(np.load(place / FILES[1])))
    encoder = Encoder()
    build(tmp_path / "a", encoder)
    assert contents(place) == good and encoder.batches == 1 + 2


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


ODD = {
    "an archive": archive(),
    "a broken archive": b"PK\x03\x04" + bytes(50),
    "objects": np.array([{}], object).dumps(),
    "empty": b"",
    "a header that is no Python": header("{'descr': (((("),
    "a deep header": header("(" * 5000),
    "a header that is no text": header("\\xff"),
    "another dtype": None,
    "big endian": None,
    "floats": None,
}


@pytest.mark.parametrize("sums", [True, False])
@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", [FILES[2], "labels.npy"])
def test_odd_files_of_a_code_cache_are_made_anew(tmp_path, name, odd, sums):
    place = build(tmp_path / "a")
    good, array = contents(place), np.load(place / name)
    if not sums:
        forget_sums(place)
    if ODD[odd] is None:
        kind = {"another dtype": np.int32, "big endian": array.dtype.newbyteorder(), "floats": np.float64}[
            odd
        ]
        np.save(place / name, array.astype(kind))
    else:
        (place / name).write_bytes(ODD[odd])
    build(tmp_path / "a")
    assert contents(place) == good


@pytest.mark.parametrize("name", [FILES[2], "labels.npy", "meta.json"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "link to nowhere", "link to itself", "endless"])
def test_what_is_no_file_is_not_waited_for(tmp_path, name, kind):
    place = build(tmp_path / "a")
    good = contents(place)
    path = place / name
    path.unlink()
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "endless":
            path.symlink_to("/dev/zero")
        case _:
            path.symlink_to("nowhere" if kind == "link to nowhere" else path)
    build(tmp_path / "a")
    assert contents(place) == good


def forget_sums(place: Path) -> None:
    meta = json.loads((place / "meta.json").read_text())
    del meta["sha256"]
    (place / "meta.json").write_text(json.dumps(meta, indent=1))


META = {
    "a number": "5",
    "a list": "[1]",
    "nothing": "",
    "deep": "[" * 100_000,
    "no UTF-8": b"\xff\xfe{",
    "sums of another kind": {"sha256": 5},
    "sums lack a file": {"sha256": {}},
    "sums are numbers": {"sha256": {name: 1 for name in [*FILES, "labels.npy"]}},
    "a grid of three": {"grid": [2, 4, 1]},
    "three variants": {"variants": 3},
    "infinite": '{"count": 1e999, "variants": 1, "grid": [2, 4]}',
    "more images": {"count": 24},
}


@pytest.mark.parametrize("change", META)
def test_odd_meta_of_a_code_cache_is_made_anew(tmp_path, change):
    place = build(tmp_path / "a")
    good, new = contents(place), META[change]
    meta = json.loads(good["meta.json"])
    text = json.dumps(meta | new) if isinstance(new, dict) else new
    (place / "meta.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    build(tmp_path / "a")
    assert contents(place) == good


@pytest.mark.parametrize("labels", [-2, 5, 10**12])
def test_labels_that_no_class_has_are_found_without_checksums(tmp_path, labels):
    place = build(tmp_path / "a")
    good, array = contents(place), np.load(place / "labels.npy")
    forget_sums(place)
    array[3] = labels
    np.save(place / "labels.npy", array)
    build(tmp_path / "a")
    assert contents(place) == good


def test_a_cache_of_a_version_without_checksums_is_read(tmp_path):
    place = build(tmp_path / "a")
    forget_sums(place)
    encoder = Encoder()
    assert build(tmp_path / "a", encoder) == place and encoder.batches == 0 and len(CodeSet(place)) == 23


def test_a_large_cache_is_read_whole_once_and_again_where_it_changed(tmp_path, monkeypatch):
    read = []
    real = code_sums.sha256
    monkeypatch.setattr(code_sums, "READ_EACH_TIME", 100)
    place = build(tmp_path / "a")
    monkeypatch.setattr(code_sums, "sha256", lambda path: read.append(path.name) or real(path))
    assert is_whole(place) and len(read) == 5
    read.clear()
    assert is_whole(place) and read == []
    stat = (place / FILES[1]).stat()
    flip_a_bit(place / FILES[1])
    os.utime(place / FILES[1], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert not is_whole(place, quiet=True) and read == [FILES[1]]
    assert not is_whole(place, quiet=True)  # what is wrong is not noted as right
    (tmp_path / "a" / ".k.verified.json").write_text("[" * 100_000)
    assert not is_whole(place, quiet=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission_is_not_damage(tmp_path):
    place = build(tmp_path / "a")
    (place / FILES[0]).chmod(0)
    with pytest.raises(PermissionError):
        build(tmp_path / "a")


# reference caches and classifiers


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_reference_is_named_and_made_anew(tmp_path, capsys, damage):
    images, space = image_set(), Space()
    first = reference(images, space(), tmp_path)
    (file,) = tmp_path.iterdir()
    DAMAGE[damage](file)
    again = reference(images, space(), tmp_path)
    assert space.count == 80 and torch.equal(again.features, first.features)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and f"{file} is damaged: computing it again" in said[0]
    assert reference(images, space(), tmp_path).moments.count == 40 and space.count == 80


def test_a_reference_of_a_version_without_checksums_is_read(tmp_path):
    space = Space()
    reference(image_set(), space(), tmp_path)
    other_tensors()(next(tmp_path.iterdir()))
    reference(image_set(), space(), tmp_path)
    assert space.count == 40


def test_a_reference_of_other_images_under_this_name_is_not_taken(tmp_path):
    space = Space()
    reference(image_set(), space(), tmp_path / "a")
    reference(image_set(41), space(), tmp_path / "b")
    (mine,), (other,) = (tmp_path / "a").iterdir(), (tmp_path / "b").iterdir()
    shutil.copy(other, mine)
    assert reference(image_set(), space(), tmp_path / "a").moments.count == 40


def test_a_cached_tensor_is_made_once(tmp_path):
    made = []
    make = lambda: made.append(1) or {"a": torch.arange(3)}  # noqa: E731
    for _ in range(2):
        assert cached_tensors(tmp_path / "x" / "a.safetensors", "k", lambda found: "a" in found, make, "it")[
            "a"
        ].tolist() == [0, 1, 2]
    assert made == [1]
