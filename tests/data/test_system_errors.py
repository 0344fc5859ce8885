"""Only a decoder's error leaves an image out: the system's errors end the run under their own name, from loader processes too."""

from __future__ import annotations

import errno
import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.image_files import images
from PIL import Image

from d3pm_image.config import ConfigError, DataConfig
from d3pm_image.data.failures import is_decoder_error
from d3pm_image.data.images import ImageSet
from d3pm_image.data.order import BatchOrder, batches
from d3pm_image.data.packing import pack
from d3pm_image.data.sources import folder
from d3pm_image.diagnostics import examine_images

LAZY, HELD = 0, 2048
ERRORS = [
    MemoryError(), OSError(errno.EIO, "Input/output error"), OSError(errno.EMFILE, "Too many open files"),
    OSError(errno.ENOSPC, "No space left on device"), PermissionError(errno.EACCES, "Permission denied"),
    OSError("out of memory error when reading image file"),
]  # fmt: skip


class Failing:
    """Loads images, but for one that raises."""

    def __init__(self, load, error: Exception, number: int = 3):
        self.load, self.error, self.number = load, error, number

    def __call__(self, index: int) -> Image.Image:
        if index == self.number:
            raise self.error
        return self.load(index)


def failing(root: Path, error: Exception):
    source = folder(images(root, *(f"{i}.png" for i in range(10))))
    return replace(source, load=Failing(source.load, error))


def config(**changes) -> DataConfig:
    return DataConfig("folder", "x", **{"image_size": 8, "channels": 3, **changes})


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_the_systems_errors_end_the_run_under_their_own_name(tmp_path, error, workers):
    source = failing(tmp_path, error)
    kind = MemoryError if "memory" in str(error) else type(error)
    with pytest.raises(kind) as caught:
        if workers:
            list(batches(ImageSet(source, config(memory_mb=LAZY)), BatchOrder(10, 5, 0, 0, 4), workers))
        else:
            ImageSet(source, config(memory_mb=HELD))
    assert type(caught.value) is kind and "3.png" in str(caught.value)
    assert getattr(caught.value, "errno", None) == getattr(error, "errno", None)


@pytest.mark.parametrize(
    "error",
    [OSError("image file is truncated"), ValueError("bad"), SyntaxError("broken PNG"), EOFError()],
    ids=repr,
)
@pytest.mark.filterwarnings("ignore:.*cannot decode")
def test_a_decoders_errors_leave_one_image_out(tmp_path, error):
    source = failing(tmp_path, error)
    assert len(ImageSet(source, config())) == 9
    loaded = list(batches(ImageSet(source, config(memory_mb=LAZY)), BatchOrder(10, 5, 0, 0, 2), 2))
    assert sorted(i for batch in loaded for i in batch["index"].tolist()).count(4) == 2


def test_what_a_decoder_hides_is_found_by_reading_the_file_again(tmp_path):
    """Pillow's TIFF decoder reads by itself and reports a failing disk as a damaged image; the file that is gone stands for the disk."""
    source = folder(images(tmp_path, *(f"{i}.png" for i in range(10))))
    source = replace(source, load=Failing(source.load, OSError("decoder error -2")))
    with pytest.raises(OSError, match="decoder"):
        source.load(3)
    kept = ImageSet(source, config(memory_mb=LAZY))

    class Gone(Failing):
        def read(self, index: int) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    kept.source = replace(source, load=Gone(source.load.load, OSError("decoder error -2")))
    with pytest.raises(OSError) as caught:
        kept.__getitems__([3])
    assert caught.value.errno == errno.EIO


def test_configuration_errors_survive_the_way_from_a_loader_process(tmp_path):
    again = pickle.loads(pickle.dumps(ConfigError("a.b", [1], "do")))
    assert (again.name, again.value, again.hint, str(again)) == ("a.b", [1], "do", "a.b=[1]: do")
    source = failing(tmp_path, ConfigError("data.root", "x", "repair it"))
    with pytest.raises(ConfigError, match="not one image"):
        source = replace(source, load=Failing(source.load, ValueError(), number=-1), names=source.names[:1])
        source.load.number = 0
        next(iter(batches(ImageSet(source, config(memory_mb=LAZY)), BatchOrder(1, 1, 0, 0, 1), 1)))


@pytest.mark.parametrize("error", ERRORS[:2], ids=repr)
def test_packing_does_not_leave_out_what_the_system_refuses(tmp_path, error):
    with pytest.raises(type(error)):
        pack(failing(tmp_path / "in", error), tmp_path / "out", 100, quiet=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_rights_ends_the_run(tmp_path):
    root = images(tmp_path, "a/0.png", "b/0.png")
    (root / "b").chmod(0)
    try:
        with pytest.raises(PermissionError):
            folder(root)
    finally:
        (root / "b").chmod(0o700)


def test_doctor_tells_files_that_cannot_be_opened_from_broken_ones(tmp_path, monkeypatch):
    from d3pm_image.data.image_source import Files

    images(tmp_path, *(f"{i}.png" for i in range(10)))
    load = Files.__call__

    def refused(self, i):
        return (
            load(self, i)
            if i != 2
            else Failing(load, PermissionError(errno.EACCES, "Permission denied"), i)(i)
        )

    monkeypatch.setattr(Files, "__call__", refused)
    found = {finding.name: finding for finding in examine_images(tmp_path)}
    assert (
        "unreadable" not in found
        and "Permission denied" in found["cannot_open"].text
        and "2.png" in found["cannot_open"].text
    )


def test_which_errors_are_a_decoders():
    assert all(
        is_decoder_error(e)
        for e in (OSError("truncated"), Image.DecompressionBombError(), ValueError(), EOFError())
    )
    assert not any(
        is_decoder_error(e) for e in (*ERRORS, KeyboardInterrupt(), RuntimeError("can't start new thread"))
    )
