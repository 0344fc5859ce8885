"""Names of bytes that are not UTF-8: images, classes and roots work from the folder to the samples, and are printed with their bytes spelled out."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from helpers.image_files import images, noise, png
from helpers.tiny import SMALL

from d3pm_image.config import ConfigError
from d3pm_image.data.image_source import text_of
from d3pm_image.data.sources import folder

ODD = os.fsdecode(b"gr\xfcn")


@pytest.fixture
def odd(tmp_path) -> Path:
    """Two classes and a root with such names; skips where the file system refuses them."""
    root = tmp_path / ODD
    try:
        images(root, *(f"{ODD if i % 2 else 'b'}/{i}{ODD}.png" for i in range(10)))
    except OSError:
        pytest.skip("the file system wants UTF-8")
    return root


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


def test_all_of_the_way_from_images_to_samples(odd, tmp_path, monkeypatch):
    """As a program of its own: its output is strict UTF-8."""
    network = ["--denoiser.width=16", "--denoiser.depth=1", "--denoiser.heads=2", "--train.steps=2", "--train.batch_size=4"]
    (odd / f"{ODD}.heic").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    script = (
        "import sys\nfrom d3pm_image.cli import main\n"
        f"main(['train-tokenizer', '--data.root', sys.argv[1], *{list(SMALL)!r}, '--out', 't'])\n"
        f"main(['train-diffusion', '--data.root', sys.argv[1], '--tokenizer', 't', *{network!r}, '--out', 'd', '--cache', 'c'])\n"
        "main(['generate', 'd', '--num-images', '2', '--out', 'g.png'])\n"
        "main(['evaluate', 'd', '--num_samples', '0', '--reconstruction_distance', 'false', '--out', 'e.json'])\n"
        "try:\n    main(['doctor', sys.argv[1], '--out', 'f.json'])\nexcept SystemExit:\n    pass\n"
        "main(['shards', sys.argv[1], 's'])\nmain(['encode', '--tokenizer', 't', '--data.root', 's', '--cache', 'c'])\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict", "D3PM_IMAGE_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", script, os.fsencode(odd)], capture_output=True, env=environment, check=False)
    out = done.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    assert out.splitlines()[0].startswith(f"images: folder {tmp_path}/gr\\xfcn: 10 images") and "2 classes (b, gr\\xfcn)" in out
    assert "gr\\xfcn.heic" in Path("t/unused_files.txt").read_text(encoding="utf-8")


def test_members_of_shards(tmp_path, monkeypatch):
    monkeypatch.setenv("D3PM_IMAGE_CACHE", str(tmp_path / "cache"))
    from d3pm_image.data.shards import open_shards

    with tarfile.open(tmp_path / "s.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in ((f"{ODD}.png", png(0)), (f"{ODD}.mp4", b"x"), ("\x1b[2J.png", png(1))):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    found = open_shards(str(tmp_path), tmp_path / "cache")
    assert list(found.names) == ["s.tar: gr\\xfcn.png", "s.tar: \\x1b[2J.png"] and found.load(0).tobytes() == noise(0).tobytes()
    assert "gr\\xfcn.mp4" in found.unused.more.read_text(encoding="utf-8")


def test_a_broken_image_of_such_a_name_is_named(odd):
    (odd / "b" / f"x{ODD}.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match=r"xgr\\xfcn\.png"):
        assert len(folder(odd)) == 10
