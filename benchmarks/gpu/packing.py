"""What travels to a machine with a GPU, beside the repository: data sets as tar shards, the weights of the
perceptual loss, and wheels of packages that the machine may lack."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from d3pm_image.cache_folder import cache_root
from d3pm_image.data.image_source import ImageSource
from d3pm_image.data.packing import pack as pack_shards
from d3pm_image.data.sources import whole_source
from d3pm_image.data.torchvision_sets import TORCHVISION
from d3pm_image.documents import read_yaml

ROOT = Path(__file__).resolve().parents[2]
TRAININGS = Path(__file__).parent / "trainings.yaml"
WHEELS = (
    "vector-quantize-pytorch", "einx", "frozendict", "loguru", "torch-einops-utils", "docstring-parser",
    "jsonargparse", "typeshed-client", "importlib-resources",
)  # fmt: skip
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64")
SHARD_IMAGES = 10_000


def trainings(file: str | Path = "") -> list[dict[str, Any]]:
    """The entries of the list of trainings."""
    return read_yaml(Path(file or TRAININGS))  # type: ignore[return-value]


def size(path: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def repository_size() -> int:
    """Bytes of the files that git tracks, which travel too."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    paths = [ROOT / name for name in names.decode().split("\0") if name]
    return sum(path.stat().st_size for path in paths if path.is_file())


def smaller(source: ImageSource, folder: Path, quality: int, limit: int) -> ImageSource:
    """The images of a source as WebP files in a folder, with its classes as subfolders."""
    step = max(1, len(source) // limit) if limit else 1
    for index in range(0, len(source), step):
        label = "images" if source.labels is None else source.class_names[int(source.labels[index])]
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        source.load(index).save(buffer, "WEBP", quality=quality, method=4)
        (place / f"{index:06d}.webp").write_bytes(buffer.getvalue())
    return whole_source(str(folder))


def pack_images(entry: dict[str, Any], data: Path, out: Path, limit: int) -> None:
    """The images of an entry as tar shards, compressed: headers take as much as small images do."""
    name = str(entry["images"])
    known = name in TORCHVISION or not (data / name).is_dir()
    source = whole_source(name if known else str(data / name))
    with tempfile.TemporaryDirectory() as scratch:
        if entry["quality"] is not None or limit:
            source = smaller(source, Path(scratch) / "images", entry["quality"] or 90, limit)
        shards = Path(scratch) / "shards"
        pack_shards(source, shards, SHARD_IMAGES)
        with tarfile.open(out, "w:xz", preset=2) as tar:
            tar.add(shards, entry["name"])


def unpack_images(entry: dict[str, Any], pack: Path, folder: Path) -> Path:
    """Put the shards of an entry into a folder; their own one there."""
    with tarfile.open(pack / f"{entry['name']}.tar.xz") as tar:
        tar.extractall(folder, filter="data")
    return folder / str(entry["name"])


def pack_wheels(out: Path, python: str) -> None:
    """Wheels of :data:`WHEELS` for Linux on x86-64 and a version of Python such as 3.12."""
    words = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    words += ["--python-version", python, "--implementation", "cp", "-d", str(out)]
    words += [word for name in PLATFORMS for word in ("--platform", name)]
    subprocess.run([*words, *WHEELS], check=True)


def pack(
    out: Path,
    data: Path | None = None,
    perceptual: Path | None = None,
    megabytes: float = 64,
    python: str = "3.12",
    list_file: str = "",
    limit: int = 0,
) -> list[str]:
    """Make the folder; an entry that does not fit is left out with those after it, and named.

    Args:
        out: Folder, made anew.
        data: Where data sets lie; default ``datasets`` of the cache folder.
        perceptual: Weights of SqueezeNet 1.1 for the perceptual loss.
        megabytes: For this folder and the repository's tracked files together, in MiB.
        python: Version that the wheels are for; empty for none.
        list_file: Another list of trainings.
        limit: At most about so many images of each set (a rehearsal).

    Returns:
        Names of the entries that are in it.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    if perceptual:
        shutil.copyfile(perceptual, out / "squeezenet1_1.pt")
    if python:
        pack_wheels(out / "wheels", python)
    packed, space = [], megabytes * 2**20 - repository_size()
    for entry in trainings(list_file):
        place = out / f"{entry['name']}.tar.xz"
        pack_images(entry, data or cache_root() / "datasets", place, limit)
        own = f"{entry['name']}: {place.stat().st_size / 2**20:.1f} MiB"
        if size(out) > space:
            print(f"{own} do not fit; left out, with all after it")
            place.unlink()
            break
        packed.append(entry["name"])
        print(own)
    print(f"{size(out) / 2**20:.1f} MiB in {out}, {repository_size() / 2**20:.1f} MiB in the repository")
    return packed
