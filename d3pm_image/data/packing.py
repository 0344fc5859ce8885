"""Images → tar shards in the webdataset layout: KEY.jpg (or the file's own ending) and KEY.cls, with
classnames.txt beside them.

Each shard is complete or absent, and the same images give the same bytes; an interrupted packing continues
with the shards that are missing. Of several programs that pack into one folder one works at a time, and the
others then find its shards.
"""

from __future__ import annotations

import io
import json
import tarfile
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from ..config import ConfigError, check
from ..documents import Missing, Unreadable, read_json
from ..imaging import plain
from ..locks import waiting_lock
from ..outputs import folder_to_write
from ..storage import sync, whole_file, write_text
from .code_sums import MAX_META
from .colour import image_in_srgb
from .image_source import Files, ImageSource, text_of
from .shards import CLASS_NAMES
from .tar_members import IMAGES

PACKED, LOCK = "packing.json", ".packing.lock"
PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
TIFF_MODES = ("CMYK", "F", "I", "I;16B")


@dataclass(frozen=True)
class Packed:
    """Result of a packing: shards in all, those that existed already, and images that could not be read."""

    shards: int
    kept: int
    left_out: int


def pack(source: ImageSource, out: Path, shard_images: int, quiet: bool = False) -> Packed:
    """Write a source as ``out/shard-000000.tar`` …

    Args:
        source: Image files are packed as they are, other images as PNG.
        shard_images: Images per shard.

    Raises:
        ConfigError: ``out`` holds something else than shards of these images in this size.
    """
    metadata = {
        "data": source.fingerprint,
        "classes": list(source.class_names),
        "images": len(source),
        "shard_images": shard_images,
    }
    folder_to_write(out).mkdir(parents=True, exist_ok=True)
    with waiting_lock(out / LOCK, f"the shards in {out}"):
        begin(out, metadata, source.known_as.former)
        return _missing(source, out, shard_images, quiet)


def _missing(source: ImageSource, out: Path, shard_images: int, quiet: bool) -> Packed:
    """Write the missing shards."""
    starts = range(0, len(source), shard_images)
    kept, left_out = 0, 0
    for number in tqdm(range(len(starts)), desc="packing", unit="shard", disable=quiet, leave=False):
        path = out / f"shard-{number:06d}.tar"
        if path.is_file():
            kept += 1
            continue
        with whole_file(path) as part:
            left_out += write_shard(
                part, source, range(starts[number], min(starts[number] + shard_images, len(source)))
            )
            sync(part)
    sync(out)
    return Packed(len(starts), kept, left_out)


def begin(out: Path, metadata: dict, former: str = "") -> None:
    """Record in ``out`` what is packed there, or check that it is the same as before.

    Args:
        former: Digest of the images in versions that did not read their contents, which the note may hold.

    Raises:
        ConfigError: other files or other images are there.
    """
    try:
        before = read_json(out / PACKED, MAX_META)
    except Missing:
        before = None if any(path.name != LOCK for path in out.iterdir()) else metadata
    except Unreadable as error:
        raise ConfigError("out", str(out), f"holds other files ({error}); name a new folder") from error
    check(before is not None, "out", str(out), "holds other files; name a new folder")
    if former and isinstance(before, dict) and before.get("data") == former:
        before["data"] = metadata["data"]
    changed = [
        name for name in metadata if not isinstance(before, dict) or before.get(name) != metadata[name]
    ]
    hint = f"holds shards of other images or in another size ({', '.join(changed)}); name a new folder"
    check(not changed, "out", str(out), hint)
    lines = [name for name in metadata["classes"] if not name.splitlines() or name.splitlines() != [name]]
    check(not lines, "source", lines[:1], "a class name that is not one line; rename the folder")
    write_text(out / PACKED, json.dumps(metadata, indent=1) + "\n")
    if metadata["classes"] and not (out / CLASS_NAMES).exists():  # one that was edited since stays
        write_text(out / CLASS_NAMES, "".join(f"{name}\n" for name in metadata["classes"]))


def write_shard(path: Path, source: ImageSource, indices: range) -> int:
    """One shard; returns how many images were left out, each named in a warning."""
    left_out = 0
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for index in indices:
            found = source.attempt(lambda i: content(source, i), index)
            if isinstance(found, Exception):
                warnings.warn(
                    f"{source.names[index]}: cannot be read, left out ({type(found).__name__})", stacklevel=2
                )
                left_out += 1
                continue
            ending, data = found
            add(archive, f"{index:08d}.{ending}", data)
            if source.labels is not None:
                add(archive, f"{index:08d}.cls", str(int(source.labels[index])).encode())
    if left_out == len(indices):
        raise ConfigError(
            "source",
            source.names[indices[0]],
            f"not one of {left_out} images could be read; check the images",
        )
    return left_out


def content(source: ImageSource, index: int) -> tuple[str, bytes]:
    """Ending and bytes of an image: its file's own where readers of shards know the format, else PNG."""
    if isinstance(source.load, Files):
        path = source.load.paths[index]
        ending = path.suffix.lower().removeprefix(".")
        if ending in IMAGES:
            data = path.read_bytes()
            check(bool(data), "source", text_of(path), "is empty")
            return ending, data
    image: Image.Image = source.load(index)
    file = io.BytesIO()
    if image.mode in TIFF_MODES:  # as they are: a scale for their levels is the whole set's, not this image's
        image.save(file, "TIFF", compression="tiff_adobe_deflate")
        return "tiff", file.getvalue()
    (image if image.mode in PNG_MODES else plain(image_in_srgb(image, source.names[index]), 3)).save(
        file, "PNG"
    )
    return "png", file.getvalue()


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """A member without owner or time, so that the same images give the same bytes."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))
