"""Names of bytes that are not UTF-8: images, classes and roots work from the folder to the samples, and are printed with their bytes spelled out."""

from __future__ import annotations

import io
import json
import tarfile

import pytest
from helpers.image_files import images, noise, png
from helpers.odd_names import ODD

from d3pm_image.config import ConfigError
from d3pm_image.data.image_source import text_of
from d3pm_image.data.sources import folder


def test_sources_give_names_that_can_be_written(odd):
    source = folder(odd)
    assert source.class_names == ("b", "gr\\xfcn") and source.names[0] == "b/0gr\\xfcn.png"
    json.dumps(source.names, ensure_ascii=False).encode()
    assert source.load(0).size == (16, 16)


def test_ordinary_names_stay_as_they_are():
    assert text_of("été/猫 1.png") == "été/猫 1.png"


def test_two_folders_that_would_look_the_same_are_refused(odd):
    images(odd, "gr\\xfcn/0.png")
    with pytest.raises(ConfigError, match="look the same"):
        folder(odd)


def test_members_of_shards(tmp_path, monkeypatch):
    monkeypatch.setenv("D3PM_IMAGE_CACHE", str(tmp_path / "cache"))
    from d3pm_image.data.shards import open_shards

    with tarfile.open(tmp_path / "s.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in ((f"{ODD}.png", png(0)), (f"{ODD}.mp4", b"x"), ("\x1b[2J.png", png(1))):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    found = open_shards(str(tmp_path), tmp_path / "cache")
    assert (
        list(found.names) == ["s.tar: gr\\xfcn.png", "s.tar: \\x1b[2J.png"]
        and found.load(0).tobytes() == noise(0).tobytes()
    )
    assert "gr\\xfcn.mp4" in found.unused.more.read_text(encoding="utf-8")


def test_a_broken_image_of_such_a_name_is_named(odd):
    (odd / "b" / f"x{ODD}.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match=r"xgr\\xfcn\.png"):
        assert len(folder(odd)) == 10
