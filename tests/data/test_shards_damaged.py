"""Damaged and hostile tar shards are named, never followed."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import resource
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from helpers.damage import Payload
from helpers.image_files import noise, shard
from helpers.tar_shards import config, encoded, opened

from d3pm_image.config import ConfigError
from d3pm_image.data.failures import is_decoder_error
from d3pm_image.data.images import ImageSet


def test_a_shard_cut_anywhere_is_named(tmp_path):
    whole = shard(tmp_path / "in" / "s.tar", *((f"{i}.png", encoded(i)) for i in range(3))).read_bytes()
    for length in (
        0,
        100,
        512,
        700,
        1024,
        1500,
        2000,
        whole.index(b"1.png"),
        whole.index(b"2.png") + 512,
        len(whole.rstrip(bytes(1))),
    ):
        (tmp_path / "in" / "s.tar").write_bytes(whole[:length])
        with pytest.raises(ConfigError, match=r"data\.root='.*in/s\.tar'"):
            opened(tmp_path / "in", tmp_path / "cache")
    assert not (tmp_path / "cache" / "shards").exists() or not list((tmp_path / "cache" / "shards").iterdir())


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path):
    path = shard(tmp_path / "s.tar", *((f"{i}.png", encoded(i)) for i in range(3)))
    whole = path.read_bytes()
    place = whole.index(b"1.png")
    path.write_bytes(
        whole[: place + 124] + b"7" * 11 + whole[place + 135 :]
    )  # its size, with a checksum that no longer fits
    with pytest.raises(ConfigError, match=r"s\.tar': cut short or damaged"):
        opened(tmp_path, tmp_path / "cache")


def test_other_files_are_no_shards(tmp_path):
    whole = shard(tmp_path / "s.tar", ("0.png", encoded(0))).read_bytes()
    for content, text in (
        (gzip.compress(whole), "plain tar, not compressed"),
        (b"words " * 500, "not a whole tar"),
        (bytes(5000), "no image"),
    ):
        (tmp_path / "s.tar").write_bytes(content)
        with pytest.raises(ConfigError, match=text):
            opened(tmp_path, tmp_path / "cache")


def test_shards_without_images_are_refused(tmp_path):
    shard(tmp_path / "s.tar", ("a.txt", b"x"), ("b.mp4", b"x"))
    with pytest.raises(ConfigError, match="no image in 1 shards"):
        opened(tmp_path, tmp_path / "cache")


def test_pickles_links_and_paths_are_not_followed(tmp_path):
    """Nothing is unpickled or written, and a link to a secret, or a device, gives no image."""
    trap, secret, out = tmp_path / "trap", tmp_path / "secret.png", tmp_path / "in" / "s.tar"
    secret.write_bytes(encoded(9))
    out.parent.mkdir()
    with tarfile.open(out, "w") as archive:
        for name, data in (("a.pyd", pickle.dumps(Payload(trap))), ("a.pickle", pickle.dumps(Payload(trap))), ("a.png", encoded(1)),
                           ("../../escape.png", encoded(2)), (f"{tmp_path}/escape.png", encoded(3))):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)):
            member = tarfile.TarInfo(f"l{number}.png")
            member.type, member.linkname = kind, str(secret)
            archive.addfile(member)
    before = sorted(p for p in tmp_path.rglob("*"))
    found = opened(tmp_path / "in", tmp_path / "in" / "cache")
    assert [np.array_equal(found.load(i), noise(i + 1)) for i in range(len(found.names))] == [True] * 3
    assert not trap.exists() and sorted(p for p in tmp_path.rglob("*") if "cache" not in p.parts) == before


def test_a_member_is_opened_as_an_image_alone(tmp_path):
    """An EPS under another ending would start a program in Pillow."""
    shard(
        tmp_path / "s.tar",
        ("a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n"),
        ("b.png", encoded(1)),
    )
    found = opened(tmp_path, tmp_path / "cache")
    with pytest.raises(OSError, match="cannot identify"):
        found.load(0)
    images = ImageSet(found, config(tmp_path, memory_mb=0))
    with pytest.warns(UserWarning, match=r"s\.tar: a\.png: cannot decode"):
        assert images.__getitems__([0])["index"].tolist() == [1]


def test_an_image_bomb_is_left_out(tmp_path):
    header = (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + b"IHDR"
        + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    )
    shard(tmp_path / "s.tar", ("a.png", header + bytes(100)), ("b.png", encoded(1)))
    with pytest.warns(UserWarning, match=r"a\.png: cannot decode"):
        assert len(ImageSet(opened(tmp_path, tmp_path / "cache"), config(tmp_path, max_unreadable=0.5))) == 1


def forged(path: Path, name: str, size: int, kind: bytes = tarfile.REGTYPE, body: bytes = b"") -> Path:
    """A shard whose one header says any size, with the right checksum; the file is as long as a sparse file can be."""
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, abs(size)
    block = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    if size < 0:
        block[124:136] = (size & (2**96 - 1)).to_bytes(12, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    path.write_bytes(bytes(block) + body)
    return path


@pytest.mark.parametrize("size", [10_000_000_000, 2**60, 5000, -512, -1024])
@pytest.mark.parametrize(
    "kind",
    [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_SPARSE],
)
def test_absurd_sizes_are_refused_before_memory_is_taken(tmp_path, size, kind):
    path = forged(tmp_path / "s.tar", "a.png", size, kind, bytes(2048))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConfigError, match=r"s\.tar"):
        opened(tmp_path, tmp_path / "cache")
    if size != 5000:  # which would be a sound size then
        os.truncate(path, 20_000_000_000)  # takes no space
        with pytest.raises(ConfigError, match=r"data\.root"):
            opened(tmp_path, tmp_path / "cache")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_a_chain_of_headers_ends(tmp_path):
    """Each long name announces another: tarfile reads them by calling itself."""
    link = tarfile.TarInfo("x")
    link.type, link.size = tarfile.GNUTYPE_LONGNAME, 5
    (tmp_path / "s.tar").write_bytes(
        (link.tobuf(tarfile.GNU_FORMAT) + b"a.png".ljust(512, b"\0")) * 5000 + bytes(1024)
    )
    with pytest.raises(ConfigError, match=r"s\.tar"):
        opened(tmp_path, tmp_path / "cache")


WRONG = {
    "a.cls": [b"", b"-1", b"cat", b"1.5", b"9999999999", b"\xff\xfe", b"1" * 2**21, b"999999999"],
    "a.json": [b"{", b"[" * 100_000, b'{"label": -1}', b'{"label": 1.5}', b'{"label": true}', b'{"label": [1]}', b'{"label": "cat"}', b'{"label": 1e99}'],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content"),
    [(name, content) for name, all_ in WRONG.items() for content in all_],
    ids=lambda v: str(v)[:20],
)
def test_wrong_labels_are_named_and_can_be_ignored(tmp_path, name, content):
    shard(tmp_path / "s.tar", ("a.png", encoded(0)), (name, content))
    with pytest.raises(ConfigError, match=rf"s\.tar: {name}.*set data\.labels false"):
        opened(tmp_path, tmp_path / "cache")
    assert opened(tmp_path, tmp_path / "cache", use_labels=False).labels is None


@pytest.mark.parametrize("text", [b"", b"a\na\n", b"\xff\xfe\n"])
def test_wrong_class_names_are_refused(tmp_path, text):
    shard(tmp_path / "s.tar", ("a.png", encoded(0)), ("a.cls", b"0"))
    (tmp_path / "classnames.txt").write_bytes(text)
    with pytest.raises(ConfigError, match=r"classnames\.txt'"):
        opened(tmp_path, tmp_path / "cache")


def test_a_number_without_a_class_name_and_a_second_image_are_refused(tmp_path):
    shard(tmp_path / "a" / "s.tar", ("a.png", encoded(0)), ("a.cls", b"2"))
    (tmp_path / "a" / "classnames.txt").write_text("x\ny\n")
    with pytest.raises(ConfigError, match=r"a\.cls.*2 is no class number"):
        opened(tmp_path / "a", tmp_path / "cache")
    shard(tmp_path / "b" / "s.tar", ("a.png", encoded(0)), ("a.jpg", encoded(1, "JPEG")))
    with pytest.raises(ConfigError, match=r"a\.jpg.*second image"):
        opened(tmp_path / "b", tmp_path / "cache")


def test_a_shard_cut_while_training_ends_the_run(tmp_path):
    path = shard(tmp_path / "s.tar", ("a.png", encoded(0)), ("b.png", encoded(1)))
    load = opened(tmp_path, tmp_path / "cache").load
    os.truncate(path, 600)
    with pytest.raises(OSError, match=r"s\.tar ends within an image") as caught:
        load(1)
    assert not is_decoder_error(caught.value)
