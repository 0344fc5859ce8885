"""What lies below a folder: links are followed once, what programs keep for themselves is left alone, and all that is not used is counted."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
from helpers.image_files import images, noise, png, shard

from d3pm_image.cli import main
from d3pm_image.config import ConfigError, DataConfig
from d3pm_image.data.shards import open_shards
from d3pm_image.data.sources import folder, open_source


@pytest.mark.parametrize(
    "name",
    [".ipynb_checkpoints", ".thumbnails", "@eaDir", "__MACOSX", "lost+found", "$RECYCLE.BIN", "Thumbs"],
)
def test_folders_of_programs_are_no_data(tmp_path, name):
    images(tmp_path, "cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png", f"{name}/0.png", f"cat/{name}/0.png")
    source = folder(tmp_path)
    assert source.class_names == ("cat", "dog") and len(source) == 4
    assert "2 folders that are not looked into" in source.unused.summary() and name in source.unused.summary()


def test_a_root_may_have_such_a_name(tmp_path):
    assert len(folder(images(tmp_path / ".cache" / "set", "a/0.png", "b/0.png"))) == 2
    assert len(folder(images(tmp_path / "__MACOSX", "0.png"))) == 1


def test_class_folders_may_be_links(tmp_path):
    images(tmp_path / "store", "x/0.png", "x/deep/1.png", "y/0.png")
    (tmp_path / "set").mkdir()
    for name, goal in (("cat", "x"), ("dog", "y")):
        (tmp_path / "set" / name).symlink_to(tmp_path / "store" / goal)
    source = folder(tmp_path / "set")
    assert source.class_names == ("cat", "dog") and source.names == [
        "cat/0.png",
        "cat/deep/1.png",
        "dog/0.png",
    ]


def test_a_link_deep_in_one_class_takes_no_folder_of_another(tmp_path):
    """``cat/back`` leads to the folder where the goals of both classes lie; the classes are named first."""
    images(tmp_path / "store", "x/0.png", "y/0.png", "y/1.png")
    (tmp_path / "set").mkdir()
    for name, goal in (("cat", "x"), ("dog", "y")):
        (tmp_path / "set" / name).symlink_to(tmp_path / "store" / goal)
    (tmp_path / "store" / "x" / "back").symlink_to("..")
    assert folder(tmp_path / "set").names == ["cat/0.png", "dog/0.png", "dog/1.png"]


def test_links_in_circles_and_second_names_are_not_followed(tmp_path):
    root = images(tmp_path / "above" / "set", "cat/0.png", "dog/0.png", "dog/1.png")
    images(tmp_path / "above", "other.png")
    for name, goal in {
        "a_cat": "cat",
        "self": ".",
        "up": "..",
        "cat/back": "../dog",
        "dog/loop": ".",
    }.items():
        (root / name).symlink_to(goal)
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("one")
    (root / "dog" / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(root / "dog" / "pipe.png")
    source = folder(root)
    assert source.names == ["cat/0.png", "dog/0.png", "dog/1.png"] and source.class_names == ("cat", "dog")
    assert "9 links" in source.unused.summary()


def test_a_link_to_an_image_is_an_image(tmp_path):
    root = images(tmp_path / "set", "cat/0.png", "dog/0.png")
    images(tmp_path, "1.png")
    (root / "dog" / "1.png").symlink_to("../../1.png")
    assert len(folder(root)) == 3


def test_heic_alone_is_named(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"x")
    with pytest.raises(ConfigError, match="heic" if "pillow_heif" not in sys.modules else ""):
        folder(tmp_path)


def test_heic_is_read_where_pillow_heif_is_installed(tmp_path):
    pytest.importorskip("pillow_heif").register_heif_opener()
    noise(0).save(tmp_path / "a.HEIC", quality=-1)
    assert folder(tmp_path).load(0).size == (16, 16)


def test_ordinary_folders_are_known_by_the_digest_of_before(tmp_path):
    """Code caches and runs of before stay valid: the digest of names, sizes and times, in the order of before."""
    import hashlib

    root = images(tmp_path, "b/1.png", "b/0.png", "a/ü.png", "a/x/0.png", "a-b/0.png")
    digest = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        digest.update(
            f"{path.relative_to(root)}\0{path.stat().st_size}\0{path.stat().st_mtime_ns}\n".encode()
        )
    assert folder(root).known_as.former == digest.hexdigest()


# shards


def test_members_with_several_points_are_images(tmp_path):
    members = [
        ("img.v2.jpg", png(0)),
        ("img.v2.cls", b"1"),
        ("img.v3.png", png(1)),
        ("img.cls", b"0"),
        ("2021.05.03.png", png(2)),
    ]
    shard(tmp_path / "s.tar", *members, ("2021.05.03.cls", b"1"))
    found = open_shards(str(tmp_path), tmp_path / "cache")
    assert [np.array_equal(found.load(i), noise(i)) for i in range(3)] == [
        True
    ] * 3 and found.labels.tolist() == [1, 0, 1]


def test_a_mask_beside_an_image_is_no_image(tmp_path):
    shard(
        tmp_path / "s.tar",
        ("x.seg.png", png(9)),
        ("x.png", png(0)),
        ("x.depth.png", png(8)),
        ("y.png", png(1)),
        ("y.mp4", b"x"),
    )
    found = open_shards(str(tmp_path), tmp_path / "cache")
    assert len(found.names) == 2 and np.array_equal(found.load(0), noise(0))
    assert "1 .seg.png" in found.unused.summary() and "1 .mp4" in found.unused.summary()
    assert "x.seg.png" in found.unused.more.read_text(encoding="utf-8")


def test_many_names_under_one_key_do_not_wait_in_memory(tmp_path, monkeypatch):
    from d3pm_image.data import tar_members

    monkeypatch.setattr(tar_members, "WAITING", 3)
    shard(tmp_path / "s.tar", *((f"2021.{i:03d}.png", png(i)) for i in range(10)))
    found = open_shards(str(tmp_path), tmp_path / "cache")
    assert len(found.names) == 10 and all(np.array_equal(found.load(i), noise(i)) for i in range(10))


def test_images_that_older_versions_dropped_change_the_digest_of_before(tmp_path):
    """Codes that were cached without them are not taken for theirs; other shards keep their digest."""
    from d3pm_image.data.shards import find_shards, fingerprint_of

    shard(tmp_path / "a" / "s.tar", ("a.png", png(0)))
    shard(tmp_path / "b" / "s.tar", ("a.png", png(0)), ("b.v2.png", png(1)))
    same = [
        open_shards(str(tmp_path / n), tmp_path / "cache").identity.former
        == fingerprint_of(find_shards(str(tmp_path / n)), ())
        for n in "ab"
    ]
    assert same == [True, False]


@pytest.mark.parametrize("labels", [(1, 2, 3), (0, 2, 5), (7,), (0, 1, 2)])
def test_labels_that_do_not_occur_make_no_class(tmp_path, labels):
    shard(
        tmp_path / "s.tar",
        *(m for i, c in enumerate(labels) for m in ((f"{i}.png", png(i)), (f"{i}.cls", str(c).encode()))),
    )
    found = open_shards(str(tmp_path), tmp_path / "cache")
    assert found.class_names == tuple(map(str, labels)) and found.labels.tolist() == list(range(len(labels)))


def test_held_out_shards_keep_the_numbers_of_such_classes(tmp_path, monkeypatch):
    monkeypatch.setenv("D3PM_IMAGE_CACHE", str(tmp_path / "cache"))
    shard(
        tmp_path / "a" / "s.tar",
        *(m for i in (1, 2, 3) for m in ((f"{i}.png", png(i)), (f"{i}.cls", str(i).encode()))),
    )
    shard(tmp_path / "b" / "s.tar", ("0.png", png(0)), ("0.cls", b"3"))
    data = DataConfig("shards", str(tmp_path / "a"), val_root=str(tmp_path / "b"), image_size=8, channels=1)
    assert open_source(data).class_names == ("1", "2", "3") and open_source(
        data, held_out=True
    ).labels.tolist() == [2]


def test_doctor_reads_shards(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("D3PM_IMAGE_CACHE", str(tmp_path / "cache"))
    members = [m for i in range(6) for m in ((f"{i}.png", png(i % 5)), (f"{i}.cls", str(i % 2).encode()))]
    shard(
        tmp_path / "in" / "s-000.tar", *members, ("bad.png", b"no image"), ("bad.cls", b"0"), ("a.heic", b"x")
    )
    (tmp_path / "in" / "classnames.txt").write_text("a\nb\nnever\n", encoding="utf-8")
    for root in ("in", "in/s-000.tar", "in/s-{000..000}.tar"):
        with pytest.raises(SystemExit) as stop:
            main(["doctor", str(tmp_path / root)])
        printed = capsys.readouterr().out
        assert (
            stop.value.code == 1
            and "images: shards" in printed
            and "exact copies" in printed
            and "never" in printed
        )
        assert "s-000.tar: bad.png" in printed and "1 .heic" in printed and "--data.source shards" in printed
