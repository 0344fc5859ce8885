"""The options that make an image again, from the settings that it records.

Settings are not trusted: they become fields of the command's dataclass, each of the field's type and no
larger than the image itself shows. They never become words of a command line, never name a file that is
written, and never name a model that would have to be downloaded.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import os
import tempfile
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..config import ConfigError, check
from ..image_io import open_image
from ..outputs import added, new_files
from ..storage import sha256
from .reading import read_settings
from .record import mask_of, recorded_model

REPEATABLE = ("generate", "inpaint", "outpaint", "edit", "vary", "tile", "interpolate")
IMAGES = {"generate": (), "interpolate": ("a", "b")}
"""Fields of a command that name images; ``image`` for all others."""
NOT_SETTINGS = {
    "model",
    "image",
    "mask",
    "a",
    "b",
    "out",
    "palette",
    "overwrite",
    "resume",
    "preview",
    "trajectory",
    "trajectory_ms",
    "device",
    "compile",
    "batch_size",
}
"""Options that do not come from the image, because it must not decide what is read and written."""
TILE = {"num_images": 64, "frames": 96, "variants": 96}
"""Pixels of a side that each image has at least in a grid, a strip or a sheet."""
MOST_TEXT = 100_000
"""Characters of a setting."""
MOST_TOGETHER = 256
"""Images that are drawn to make one of them again, in the batch that it came from."""


@dataclass(frozen=True)
class Plan:
    """How an image is made again.

    Args:
        options: Fields of the command's dataclass.
        place: Index of the image among the files that the command writes.
        alike: Whether it is drawn in a batch of the original size.
    """

    options: dict[str, Any]
    place: int = 0
    alike: bool = False


def make_again(
    image: str,
    metadata: dict[str, Any],
    kind: type,
    work: Callable[[Any], None],
    out: str = "",
    model: str = "",
    inputs: str = "",
    device: str = "auto",
    overwrite: bool = False,
) -> tuple[Path, str]:
    """Run the command that the settings of an image describe, and compare.

    Args:
        image: The image.
        metadata: Its settings.
        kind: Dataclass of the command's options. work: What runs them.
        out: File of the new image; default IMAGE-again.png beside it.
        model: The model, if it has moved. inputs: Likewise the input images, separated by commas.

    Returns:
        The new image, and a sentence on differences; empty if every pixel is the same.

    Raises:
        ConfigError: settings that no command wrote, or a missing model or image.
    """
    place = Path(image)
    target, went_in = places(image, metadata, out, inputs)
    before = open_image(place)
    plan = planned(image, metadata, before.size, kind)
    name = find_model(model, metadata)
    with tempfile.TemporaryDirectory(prefix="d3pm-image-") as folder:
        options = options_of(plan, metadata, kind, went_in, Path(folder))
        with contextlib.redirect_stdout(io.StringIO()):  # of files that are about to move
            work(kind(**options, model=name, device=device))
        made = result_of(plan, metadata, Path(folder))
        then, now = metadata.get("weights_sha256"), read_settings(made).get("weights_sha256")
        hint = "has other weights than those that made the image; name the right one with --model"
        check(then in (None, now), "model", model or name, hint)
        different = compare(place.name, before, open_image(made), reasons(metadata, plan))
        with new_files(target, overwrite) as files:
            files.draft.write_bytes(made.read_bytes())
    return files.path, different


def places(image: str, metadata: dict[str, Any], out: str, inputs: str) -> tuple[Path, list[Path]]:
    """The file of the new image, and the input images.

    Raises:
        ConfigError: an image that cannot be made again, or a result that would overwrite an input.
    """
    command, place = metadata["command"], Path(image)
    hint = f"was made by {command!r}, which cannot be run again from an image"
    check(command in REPEATABLE, "image", image, hint)
    hint = "has colours of a file (--palette), which it does not carry; call the command again"
    check(not metadata.get("recoloured"), "image", image, hint)
    hint = "shows the steps of a decode; only results can be made again"
    check(not metadata.get("shows"), "image", image, hint)
    target = Path(out) if out else added(place, "-again", ".png")
    hint = "would overwrite the image itself; choose another name"
    check(target.resolve() != place.resolve(), "out", str(target), hint)
    went_in = find_inputs(image, inputs, metadata)
    hint = "would overwrite an image that is read; choose another name"
    check(all(target.resolve() != path.resolve() for path in went_in), "out", str(target), hint)
    return target, went_in


def planned(image: str, metadata: dict[str, Any], size: tuple[int, int], kind: type) -> Plan:
    """The options that an image's settings give.

    Args:
        kind: Dataclass of the command's options.
        size: (width, height) of the image, which bounds the counts.

    Raises:
        ConfigError: a setting of another type than its field has, or larger than the image can show.
    """
    command = metadata["command"]
    given = {}
    for name, hint in types_of(kind).items():
        if name not in NOT_SETTINGS and metadata.get(name) is not None:
            damaged(image, name, fits(metadata[name], hint))
            given[name] = metadata[name]
    most = size[0] * size[1]
    if command == "generate":
        grid = "number" not in metadata
        damaged(image, "num_images", not grid or given.get("num_images", 1) * TILE["num_images"] ** 2 <= most)
        damaged(image, "columns", not grid or given.get("columns", 0) * TILE["num_images"] <= size[0])
        return (
            Plan(given | sized(image, metadata)) if grid else one_of(image, metadata, given, "number", most)
        )
    if command == "interpolate":
        damaged(image, "frames", given.get("frames", 8) * TILE["frames"] ** 2 <= most)
        return Plan(given | sized(image, metadata))
    for name in ("ring", "feather"):
        damaged(image, name, given.get(name, 0) <= max(size))
    if command == "outpaint" and ("variant" in metadata or metadata.get("variants", 1) == 1):
        added = {
            sides: sum(given.get(side, 0) for side in sides)
            for sides in (("left", "right"), ("top", "bottom"))
        }
        damaged(
            image, "left, right, top, bottom", all(a < b for a, b in zip(added.values(), size, strict=True))
        )
    if "variant" in metadata:
        return one_of(image, metadata, given, "variant", most)
    given.setdefault("variants", metadata.get("variants", 1) if whole(metadata.get("variants", 1)) else 0)
    if "variants" not in metadata:
        given["variants"] = 1
    damaged(image, "variants", given["variants"] == 1 or given["variants"] * TILE["variants"] ** 2 <= most)
    return Plan(given | sized(image, metadata))


def options_of(
    plan: Plan,
    metadata: dict[str, Any],
    kind: type,
    inputs: list[Path],
    folder: Path,
) -> dict[str, Any]:
    """Fields of the command's dataclass: those of the plan, the input images, and a path inside ``folder``
    for the result.

    Args:
        kind: Dataclass of the command's options.

    Raises:
        ConfigError: a mask that cannot be read.
    """
    own: dict[str, Any] = dict(
        zip(IMAGES.get(metadata["command"], ("image",)), map(str, inputs), strict=True)
    )
    if metadata.get("mask") and "mask" in types_of(kind):
        mask_of(metadata["mask"], size_of(inputs[0])).save(folder / "mask.png")
        own["mask"] = str(folder / "mask.png")
    return plan.options | own | {"out": str(folder / ("result" if "number" in metadata else "result.png"))}


def size_of(path: Path) -> tuple[int, int]:
    """(width, height) of an input image. Raises ConfigError if it cannot be read."""
    try:
        return open_image(path).size
    except Exception as error:  # Pillow raises many kinds for broken files
        raise ConfigError(
            "image", str(path), f"not a readable image ({type(error).__name__}: {error})"
        ) from error


def result_of(plan: Plan, metadata: dict[str, Any], folder: Path) -> Path:
    """The image that a command with these options has written."""
    if "number" in metadata:
        return sorted((folder / "result").iterdir())[plan.place]
    return folder / (
        f"result-{plan.place + 1}.png"
        if plan.options.get("variants", 1) > 1 and "variant" in metadata
        else "result.png"
    )


def one_of(image: str, metadata: dict[str, Any], given: dict[str, Any], name: str, pixels: int) -> Plan:
    """One image of several: made in a batch of the original size, if the image records it and it is not too
    large.

    Args:
        name: Key of its number in the metadata, ``number`` or ``variant``.
        pixels: Of one image.
    """
    counted = "num_images" if name == "number" else "variants"
    damaged(image, name, whole(metadata[name]))
    first, count = (
        metadata.get("batch_first" if name == "number" else "first"),
        metadata.get("batch_size" if name == "number" else "variants"),
    )
    if whole(first) and whole(count) and first <= metadata[name] < first + count and few(count, pixels):
        together = {"batch_size": count} if name == "number" else sized(image, metadata)
        return Plan(
            given | {"first": first, counted: count} | together, metadata[name] - first, alike=bool(together)
        )
    return Plan(given | {"first": metadata[name], counted: 1})


def few(count: int, pixels: int) -> bool:
    """Whether a batch of this many images and pixels may be drawn for one of them."""
    return count <= MOST_TOGETHER and count * pixels <= (Image.MAX_IMAGE_PIXELS or 0)


def sized(image: str, metadata: dict[str, Any]) -> dict[str, int]:
    """The recorded batch size, if there is one and it is not too large."""
    size = metadata.get("batch_size")
    damaged(image, "batch_size", size is None or whole(size))
    return {"batch_size": size} if size is not None and 1 <= size <= MOST_TOGETHER else {}


def damaged(image: str, name: str, right: bool) -> None:
    """Raises ConfigError unless a setting has the form that the commands write."""
    check(right, "image", image, f"its settings are damaged ({name})")


def whole(value: Any) -> typing.TypeGuard[int]:
    """Whether a value is a count."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1_000_000_000


def types_of(kind: type) -> dict[str, Any]:
    """Fields of a dataclass and their types."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def fits(value: Any, hint: Any) -> bool:
    """Whether a JSON value is of a field's type."""
    if typing.get_origin(hint) is typing.Literal:
        return isinstance(value, str) and value in typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in typing.get_args(hint))
    if hint is bool or isinstance(value, bool):
        return hint is bool and isinstance(value, bool)
    if hint is float:
        return isinstance(value, (int, float)) and abs(value) < 1e300 and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and abs(value) < 1 << 63
    return hint is str and isinstance(value, str) and len(value) <= MOST_TEXT


def find_model(given: str, metadata: dict[str, Any]) -> str:
    """The model: the one that was named, else the image's if it is on this machine.

    Raises:
        ConfigError: no model is named, or it is not on this machine: an image must not start a download.
    """
    if given:
        return given
    if (model := recorded_model(metadata)) is not None:
        return model
    named = metadata.get("model")
    known = isinstance(named, str) and bool(named)
    hint = "is not on this machine" if known else "the image does not name its model"
    raise ConfigError("model", named, f"{hint}; name it with --model, which takes a hub id too")


def find_inputs(image: str, given: str, metadata: dict[str, Any]) -> list[Path]:
    """The input images: as named, or under their recorded names beside the image or in the working folder.

    Raises:
        ConfigError: not recorded, missing, or changed.
    """
    fields = IMAGES.get(metadata["command"], ("image",))
    named = [name.strip() for name in given.split(",")] if given else []
    hint = f"{metadata['command']} takes {len(fields)} images"
    check(not named or len(named) == len(fields), "inputs", given, hint)
    found = []
    for number, field in enumerate(fields):
        recorded = metadata.get(field)
        hint = "the image does not record its input; name it with --inputs FILE"
        check(bool(named) or isinstance(recorded, str), "inputs", "", hint)
        places = (
            [Path(named[number])]
            if named
            else [folder / Path(str(recorded)).name for folder in (Path(image).parent, Path())]
        )
        path = next((place for place in places if os.path.isfile(place)), None)
        if path is None:
            text = (
                "no such file"
                if named
                else "is an input, and is not beside the image; name it with --inputs FILE"
            )
            raise ConfigError("inputs", named[number] if named else recorded, text)
        known = metadata.get(f"{field}_sha256")
        hint = "is not the original input: its content differs; name it with --inputs FILE"
        check(known in (None, sha256(path)), "inputs", str(path), hint)  # fmt: skip
        found.append(path)
    return found


def compare(name: str, one: Image.Image, other: Image.Image, why: str) -> str:
    """Differences of an image that was made again, in one line; empty if every pixel is the same."""
    if one.size != other.size or one.mode != other.mode:
        return (
            f"differs from {name}: {other.width}x{other.height} {other.mode} in place of"
            f" {one.width}x{one.height} {one.mode}"
        )
    differing = np.asarray(one) != np.asarray(other)
    share = (differing.any(-1) if differing.ndim > 2 else differing).mean()
    return f"{share:.1%} of the pixels differ from {name}: {why} may do that" if share else ""


def reasons(metadata: dict[str, Any], plan: Plan) -> str:
    """Possible causes of different pixels."""
    machine = "another device, processor or version of torch"
    among = metadata.get("pictures_together", 1) != 1  # in a folder
    whole_sheet = "batch_size" in plan.options and "number" not in metadata and "variant" not in metadata
    if not among and (plan.alike or whole_sheet):
        return machine
    return f"another batch size (the image was drawn among others), {machine}"
