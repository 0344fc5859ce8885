"""New images in one ``.npz``, in the format of programs that compute published scores: ``arr_0``, uint8,
n × h × w × channels, and ``labels``.

Every batch is a file in a hidden folder of parts beside it until all are there. That folder says which
request its parts belong to, and one program at a time works in it.
"""

from __future__ import annotations

import contextlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ..config import ConfigError, check
from ..documents import Unreadable, read_json
from ..imaging import unindexed
from ..locks import Locked, file_lock
from ..outputs import new_files
from ..storage import whole_file, write_text
from ..training.launch import gathered
from .drawn_files import Draw, Request, check_same

REQUEST, LOCK = "request.json", ".lock"


def draw_array(request: Request, draw: Draw) -> list[Path]:
    """:func:`~d3pm_image.recipes.drawn_files.draw_files` into an array."""
    asked = request.asked | {"first": request.first, "num_images": len(request.ids)}
    asked["batch_size"] = request.batch_size
    parts, first = request.out.with_name(f".{request.out.name}.parts"), request.rank == 0
    with contextlib.ExitStack() as stack:
        done = gathered(first and finished(request, asked))[0]
        if done:
            return [request.out]
        if first:
            begin(request, parts, asked, stack)
        there = set(gathered(complete(request, parts) if first else [])[0])
        missing = [numbers for numbers in request.batches() if numbers.start not in there]
        for numbers in request.own(missing):
            made = [
                np.atleast_3d(np.asarray(unindexed(image))) for image in draw(numbers.start, len(numbers))
            ]
            with whole_file(part_of(parts, numbers), synced=True) as part, part.open("wb") as file:
                np.save(file, np.stack(made))
        gathered(None)  # all have written theirs
        path = ""
        if first:
            with new_files(request.out, request.overwrite) as files:
                join(request, parts, files.draft, asked)
            path = str(files.path)
            remove(request, parts)
    if first:
        with contextlib.suppress(OSError):  # other files are there
            parts.rmdir()
    return [Path(gathered(path)[0])]


def part_of(parts: Path, numbers: range) -> Path:
    """File of a batch."""
    return parts / f"{numbers.start:012d}.npy"


def finished(request: Request, asked: dict[str, Any]) -> bool:
    """Whether an existing array is the requested one, when a request is resumed.

    Raises:
        ConfigError: it is another one that must not be replaced; or a folder has its name.
    """
    check(not request.out.is_dir(), "out", str(request.out), "is a folder; choose another name")
    if not request.resume or not request.out.exists():
        return False
    try:
        with zipfile.ZipFile(request.out) as archive:
            held = json.loads(archive.read(REQUEST))
    except (zipfile.BadZipFile, KeyError, ValueError, OSError):
        held = None
    if not request.overwrite:
        hint = (
            "is a file that no request of this program has finished; choose another --out, or add --overwrite"
        )
        check(isinstance(held, dict), "resume", str(request.out), hint)
        check_same(held, asked, request.out)
    return held == asked


def begin(request: Request, parts: Path, asked: dict[str, Any], stack: contextlib.ExitStack) -> None:
    """Lock the folder of the parts and record their request.

    Raises:
        ConfigError: another program works there, or the parts belong to another request.
    """
    there = {path.name for path in parts.iterdir()} - {LOCK} if parts.is_dir() else set()
    hint = f"an unfinished request left parts in {parts.name}; add --resume true, or remove that folder"
    check(request.resume or not there, "out", str(request.out), hint)
    parts.mkdir(parents=True, exist_ok=True)
    try:
        stack.enter_context(file_lock(parts / LOCK, remove=True))
    except Locked as error:
        raise ConfigError("out", str(request.out), f"{error.holder} is drawing it now") from None
    if there:
        try:
            held = read_json(parts / REQUEST)
        except (Unreadable, OSError) as error:
            hint = f"does not say what its files belong to ({error}); remove it, or choose another --out"
            raise ConfigError("resume", str(parts), hint) from None
        check_same(held if isinstance(held, dict) else {}, asked, parts)
    write_text(parts / REQUEST, json.dumps(asked, indent=1) + "\n")


def complete(request: Request, parts: Path) -> list[int]:
    """First numbers of the finished batches; parts that a power cut damaged are removed."""
    found = []
    for numbers in request.batches():
        place = part_of(parts, numbers)
        if place.exists() and images_of(place, len(numbers)) is None:
            place.unlink()
        elif place.exists():
            found.append(numbers.start)
    return found


def images_of(place: Path, count: int) -> np.ndarray | None:
    """The images of a part; None where it is damaged."""
    try:
        images = np.load(place, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return images if images.dtype == np.uint8 and images.ndim == 4 and len(images) == count else None


def join(request: Request, parts: Path, out: Path, asked: dict[str, Any]) -> None:
    """All parts in the order of their numbers as one file; one part is in memory at a time.

    Raises:
        ConfigError: a part is missing or damaged, as where machines do not share the disk.
    """
    shapes = set()
    for numbers in request.batches():
        images = images_of(part_of(parts, numbers), len(numbers))
        hint = (
            f"lacks images {numbers.start} to {numbers.stop - 1}; is it on a disk that all processes share?"
        )
        check(images is not None, "out", str(parts), hint)
        assert images is not None
        shapes.add(images.shape[1:])
    check(
        len(shapes) == 1, "out", str(parts), f"holds images of different sizes: {sorted(shapes)}; remove it"
    )
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        with archive.open("arr_0.npy", "w", force_zip64=True) as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(request.ids), *shapes.pop())}
            np.lib.format.write_array_header_1_0(file, header)
            for numbers in request.batches():
                file.write(np.load(part_of(parts, numbers)).tobytes())
        with archive.open("labels.npy", "w") as file:
            np.save(file, np.asarray(request.ids, dtype=np.int64))
        archive.writestr(zipfile.ZipInfo(REQUEST), json.dumps(asked))


def remove(request: Request, parts: Path) -> None:
    """Remove the parts, and last the record of their request."""
    for numbers in request.batches():
        part_of(parts, numbers).unlink(missing_ok=True)
    (parts / REQUEST).unlink(missing_ok=True)
