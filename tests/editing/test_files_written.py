"""Where results go, and what is said of files of formats that are not read."""

from __future__ import annotations

import pytest
from helpers.odd_images import (
    make_image,
)
from PIL import Image

from d3pm_image.config import ConfigError
from d3pm_image.editing.image_files.files import (
    ImageFile,
    check_outputs,
    open_image_file,
    result_path,
    write_image_file,
)
from d3pm_image.editing.image_files.metadata import Metadata


@pytest.mark.parametrize(
    ("name", "kind", "result"),
    [("a.jpg", "JPEG", "a-edited.jpg"), ("a.b.JPEG", "JPEG", "a.b-edited.JPEG"), ("a.jpg", "PNG", "a-edited.png"), ("a", "TIFF", "a-edited.tif"), ("a.psd", "PSD", "a-edited.png"), ("a.tiff", "TIFF", "a-edited.tiff"), ("a.pdf", "WEBP", "a-edited.webp")],
)  # fmt: skip
def test_results_stand_beside_the_image_in_its_format(tmp_path, name, kind, result):
    assert (
        result_path(ImageFile(tmp_path / name, make_image("L"), kind, Metadata()), "edited")
        == tmp_path / result
    )


@pytest.mark.parametrize("name", ["a", "a.txt", "a.pdf", "a.eps", "png"])
def test_unknown_endings_are_refused(tmp_path, name):
    with pytest.raises(ConfigError, match=r"^out=.*use an ending such as \.png"):
        check_outputs([tmp_path / name], [])


def test_inputs_are_never_overwritten(tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    check_outputs([tmp_path / "b.png"], [tmp_path / "a.png"])
    for out in (tmp_path / "a.png", tmp_path / "folder.png" / ".." / "a.png", tmp_path / "link.png"):
        with pytest.raises(ConfigError, match="would overwrite an image that is read"):
            check_outputs([tmp_path / "b.png", out], [tmp_path / "a.png"])
    with pytest.raises(ConfigError, match="is a folder"):
        check_outputs([tmp_path / "folder.png"], [])


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    source = ImageFile(tmp_path / "a.png", make_image("RGB"), "PNG", Metadata())

    def breaks(self, path, **kwargs):
        path.write_bytes(b"half a pic")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", breaks)
    with pytest.raises(OSError, match="No space left"):
        write_image_file(source.image, tmp_path / "b.png", source)
    assert not list(tmp_path.iterdir())


def test_formats_of_other_programs_say_what_reads_them(tmp_path):
    for name, words in (("a.jxl", "convert JPEG XL to PNG first"), ("b.NEF", "convert raw images first")):
        (tmp_path / name).write_bytes(b"no image")
        with pytest.raises(ConfigError, match=words):
            open_image_file(tmp_path / name)
    (tmp_path / "c.png").write_bytes(b"no image")
    with pytest.raises(ConfigError, match=r"not a readable image \(.*\)$"):
        open_image_file(tmp_path / "c.png")
