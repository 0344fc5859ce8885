"""A trained tokenizer as a folder: ``config.json`` and ``model.safetensors``, written together or not at
all."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..config import MAX_SIDE, ConfigError, Tile, TokenizerConfig, check, check_tile, size_pair
from ..documents import LFS, Missing, Unreadable, check_regular, read_json
from ..former_names import metadata_of
from ..hub import locate
from ..outputs import folder_to_write
from ..printable import printable
from ..storage import files_together, half_precision, sha256, tensor_outlines, write_tensors, write_text
from ..types import Tokenizer
from .autoencoder import Autoencoder
from .palette import Palette
from .pixels import Pixels

FORMAT = "d3pm-image-tokenizer"
VERSION = 1
KINDS: dict[type, str] = {Autoencoder: "vqvae", Pixels: "pixels", Palette: "palette"}
"""This library's own tokenizers, and what their folders call them."""
OWN = (Autoencoder, Pixels, Palette)


@dataclasses.dataclass(frozen=True)
class TokenizerInfo:
    """Metadata besides the weights: image size of the training, hash of the weights, and free-form training
    metadata."""

    image_size: tuple[int, int]
    channels: int
    sha256: str
    metadata: dict[str, Any]
    tile: Tile = "none"
    """Axes along which its images repeat."""


def pixel_tokenizer(
    levels: int, channels: int, image_size: int | tuple[int, int], metadata: dict[str, Any] | None = None
) -> tuple[Pixels, TokenizerInfo]:
    """A tokenizer that needs no training, in eval mode on the CPU, and its metadata, as
    :func:`load_tokenizer` gives them.

    Raises:
        ConfigError: see :class:`Pixels`.
    """
    model = Pixels(levels, channels).eval()
    digest = hashlib.sha256(save(model.state_dict())).hexdigest()
    return model, TokenizerInfo(size_pair(image_size), channels, digest, metadata or {})


def palette_of(
    colours: Tensor, image_size: int | tuple[int, int], metadata: dict[str, Any] | None = None
) -> tuple[Palette, TokenizerInfo]:
    """A tokenizer of colours (K, C) uint8, as :func:`pixel_tokenizer`. Raises ConfigError: see
    :class:`Palette`."""
    model = Palette(colours).eval()
    digest = hashlib.sha256(save(model.state_dict())).hexdigest()
    return model, TokenizerInfo(size_pair(image_size), model.channels, digest, metadata or {})


def save_tokenizer(
    model: Tokenizer,
    folder: Path,
    image_size: int | tuple[int, int],
    metadata: dict[str, Any] | None = None,
    half: bool = False,
) -> None:
    """Write a tokenizer folder; an older tokenizer there is replaced once the new one is complete, and other
    files stay.

    Args:
        model: Trained network, or pixels; one that was written elsewhere has to be saved by its own code.
        folder: Destination.
        image_size: Training size in pixels.
        metadata: Metadata of the training (data, scores, time), JSON values.
        half: Write weights in half precision.

    Raises:
        ConfigError: see :func:`folder_for`, or a tokenizer of other code.
    """
    hint = "is not a tokenizer of this library, and cannot be saved in its format; save it by its own code"
    check(isinstance(model, OWN), "tokenizer", type(model).__name__, hint)
    assert isinstance(model, OWN)
    place = folder_for(folder, "tokenizer")
    with files_together(place) as part:
        weights = model.state_dict()
        write_tensors(part / "model.safetensors", half_precision(weights) if half else weights)
        config = {
            "format": FORMAT,
            "version": VERSION,
            "kind": KINDS[type(model)],
            "channels": model.channels,
            "image_size": list(size_pair(image_size)),
            **({"tile": model.tile} if isinstance(model, Autoencoder) and model.tile != "none" else {}),
            "sha256": sha256(part / "model.safetensors"),
            "tokenizer": settings_to_build(model),
            "metadata": metadata or {},
        }
        write_text(part / "config.json", json.dumps(config, indent=1))


def settings_to_build(model: Autoencoder | Pixels | Palette) -> dict[str, Any]:
    """What :func:`build` takes besides the kind and the channels."""
    if isinstance(model, Autoencoder):
        return dataclasses.asdict(model.config)
    return {"levels": model.levels} if isinstance(model, Pixels) else {"entries": model.num_codes}


def folder_for(folder: str | Path, name: str) -> Path:
    """The folder to write a tokenizer or pipeline to; other files there stay.

    Raises:
        ConfigError: it is a file, a link to nothing, or holds the config.json of something else.
    """
    place = folder_to_write(folder, "folder")
    try:
        raw = read_json(place / "config.json")
    except Unreadable:  # none, or one that is damaged
        return place
    own = isinstance(raw, dict) and raw.get("format") == f"d3pm-image-{name}"
    hint = f"holds a config.json of something else than a {name}, which would be lost; name another folder"
    check(own, "folder", str(folder), hint)
    return place


class NothingThere(ConfigError):
    """A valid folder without the requested part."""


def find(folder: str | Path, name: str, what: str) -> Path:
    """``folder`` itself (or the shipped model or hub model of that name), its ``model`` (a run folder), or
    its ``name`` part: the first that has a config.json of format ``d3pm-image-<name>``.

    Raises:
        NothingThere: none of them. ConfigError: no such folder, or a config.json that cannot be read.
    """
    try:
        root = locate(folder, what)
    except PermissionError as error:
        raise ConfigError(
            what, str(folder), "may not be read by this user (no permission); ask its owner for the right"
        ) from error
    fault = None
    for place in (root, root / "model", root / name, root / "model" / name):
        try:
            if is_part(place, name):
                return place
        except Unreadable as error:
            fault = fault or ConfigError(
                what, str(place), f"{error}; copy the folder again, or ask its owner"
            )
    raise fault or NothingThere(what, str(folder), f"holds no trained {name}{instead(root, name)}")


def instead(root: Path, name: str) -> str:
    """Description of a folder without a trained part of that name, and a hint."""
    for place in (root, root / "model"):
        if name != "tokenizer" and is_part(place, "tokenizer"):
            return (
                ": it is a tokenizer; train stage two on it with d3pm-image train-diffusion --tokenizer"
                f" {root}"
            )
    if name != "tokenizer" and (root / "chosen.json").is_file():  # of d3pm-image train
        return ": its training is in stage one, or was interrupted there; wait, or go on with --resume true"
    if (root / "checkpoints").is_dir():
        return ": its training has not ended; go on with --resume true"
    return "; name a model folder or a finished run"


def is_part(place: Path, name: str) -> bool:
    """Whether a folder's config.json is that of a tokenizer, a denoiser or a pipeline. Raises Unreadable for
    one that cannot be read, or holds no settings."""
    try:
        raw = read_json(place / "config.json")
    except Missing:
        return False
    if not isinstance(raw, dict):
        raise Unreadable(place / "config.json", f"holds no settings but {printable(raw, 40)}")
    return raw.get("format") == f"d3pm-image-{name}"


def read_config(place: Path, what: str, name: str = "") -> dict[str, Any]:
    """A model folder's config.json.

    Args:
        name: Required kind: tokenizer, denoiser or pipeline; empty for no check.

    Raises:
        ConfigError: it cannot be read, or is of another kind.
    """
    try:
        raw = read_json(place / "config.json")
    except Unreadable as error:
        raise ConfigError(what, str(place), f"{error}; copy the folder again") from error
    check(isinstance(raw, dict), what, str(place), "config.json holds no settings; copy the folder again")
    if name:
        hint = f"config.json is not that of a {name}; copy the folder again"
        check(raw.get("format") == f"d3pm-image-{name}", what, str(place), hint)
        version = (
            f"has format version {printable(raw.get('version'), 40)}, this program reads {VERSION}; use the"
            " program that made it"
        )
        check(raw.get("version") == VERSION, what, str(place), version)
    return raw


def read_weights(place: Path, what: str, expected_sha256: str | None = None) -> dict[str, torch.Tensor]:
    """A model folder's tensors by name.

    Args:
        expected_sha256: Checksum of the file; None where the folder, an older one, has none.

    Raises:
        ConfigError: they cannot be read, are damaged, or hold numbers that are not finite.
    """
    path = place / "model.safetensors"
    check_weights(place, what)
    try:
        whole = expected_sha256 is None or sha256(path) == expected_sha256
        hint = "model.safetensors is damaged (checksum differs); copy the folder again"
        check(whole, what, str(place), hint)
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigError(
            what, str(place), f"model.safetensors cannot be read ({error}); copy the folder again"
        ) from error
    for name, value in weights.items():
        sound = not value.is_floating_point() or bool(value.isfinite().all())
        hint = (
            f"its weights are not finite numbers ({printable(name)}): training diverged, or the file is"
            " damaged"
        )
        check(sound, what, str(place), hint)
    return weights


PAGE_BEGINS = 256
"""Bytes in which a web page, or the pointer of Git LFS, shows what it is."""


def check_weights(place: Path, what: str) -> None:
    """Raises ConfigError if a model folder's weights are missing, may not be read, or are another kind of
    file."""
    path = place / "model.safetensors"
    try:
        check_regular(path)
        with open(path, "rb") as file:
            begins = file.read(PAGE_BEGINS)
    except Unreadable as error:
        raise ConfigError(
            what, str(place), f"{error}; copy the folder again" if isinstance(error, Missing) else str(error)
        ) from error
    hint = (
        "model.safetensors cannot be read (it is a Git LFS pointer, not the weights); fetch them with 'git"
        " lfs pull'"
    )
    check(not begins.startswith(LFS), what, str(place), hint)
    hint = "model.safetensors is empty: a download or copy was cut off; copy the file again"
    check(bool(begins), what, str(place), hint)
    page = begins.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml"))
    hint = "model.safetensors is a web page, such as the one about the file; download the file itself"
    check(not page, what, str(place), hint)


@contextmanager
def settings_of(place: Path, what: str) -> Iterator[None]:
    """Turn errors in the settings of a config.json into one line that names the folder."""
    try:
        yield
    except ConfigError as error:
        if error.name == what:
            raise
        raise ConfigError(what, str(place), f"its config.json says {printable(error, 300)}") from error
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        reason = printable(f"{type(error).__name__}: {error}".splitlines()[0], 300)
        raise ConfigError(what, str(place), f"does not fit this version ({reason})") from error


FLOATING = {"F64", "F32", "F16", "BF16"}
"""Floating-point dtypes by safetensors' names."""


class Uninitialised(TorchFunctionMode):
    """Networks are built without initial values, for weights that are read from a file. On the meta device
    drawing normal numbers would import torch's compiler, which takes seconds."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def check_outline(make: Callable[[], nn.Module], place: Path, what: str) -> None:
    """Compare a network that its settings describe with its weights' shapes and kinds of number, before
    either takes memory: settings of a folder from elsewhere may ask for any size.

    Args:
        make: Builds the network; called on torch's meta device.

    Raises:
        ConfigError: they differ, or the weights cannot be read.
    """
    check_weights(place, what)
    try:
        stored = tensor_outlines(place / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise ConfigError(
            what, str(place), f"model.safetensors cannot be read ({error}); copy the folder again"
        ) from error
    with torch.device("meta"), Uninitialised():
        described = {
            name: (tuple(value.shape), value.is_floating_point())
            for name, value in make().state_dict().items()
        }
    found = {name: (shape, kind in FLOATING) for name, (shape, kind) in stored.items()}
    differing = sorted(
        name for name in described.keys() | found.keys() if described.get(name) != found.get(name)
    )
    if differing:
        name = differing[0]
        words = f"{printable(name, 80)}: {outline(stored.get(name))} for {outline(described.get(name))}"
        raise ConfigError(
            what, str(place), f"its weights do not fit its config.json ({words}); copy the folder again"
        )


def outline(found: tuple[tuple[int, ...], str | bool] | None) -> str:
    """Shape and kind of a tensor, or that there is none."""
    if found is None:
        return "nothing"
    shape, kind = found
    return (
        f"{shape} {('a floating dtype' if kind else 'an integer dtype') if isinstance(kind, bool) else kind}"
    )


def build(
    kind: str, settings: dict[str, Any], channels: int, tile: Tile = "none"
) -> Autoencoder | Pixels | Palette:
    """An untrained tokenizer of a kind (vqvae, pixels or palette) with its stored settings.

    Raises:
        ConfigError: no such kind, or impossible settings. TypeError: unknown settings.
    """
    hint = "no such kind in this version; use the program that made it"
    check(kind in KINDS.values(), "tokenizer", kind, hint)
    if kind == "pixels":
        return Pixels(**settings, channels=channels)
    if kind == "palette":
        return Palette(torch.zeros((settings["entries"], channels), dtype=torch.uint8))
    return Autoencoder(TokenizerConfig.from_values(settings), channels, tile=tile)


def load_tokenizer(folder: str | Path) -> tuple[Autoencoder | Pixels | Palette, TokenizerInfo]:
    """A tokenizer in eval mode on the CPU, and its metadata.

    Args:
        folder: Tokenizer folder, a run folder, or a pipeline folder.

    Raises:
        ConfigError: no tokenizer there, or its files are damaged.
    """
    place = find(folder, "tokenizer", "tokenizer")
    raw = read_config(place, "tokenizer", "tokenizer")
    with settings_of(place, "tokenizer"):
        digest, size = raw["sha256"], size_pair(raw["image_size"])
        kind = raw.get("kind", "vqvae")  # older folders name none
        check(max(size) <= MAX_SIDE, "image_size", size, f"an image side is over {MAX_SIDE} pixels")
        check(min(size) >= 1, "image_size", size, "an image side is under 1 pixel")
        check(raw["channels"] in (1, 2, 3, 4), "channels", raw["channels"], "is none of 1, 2, 3 and 4")
        check(isinstance(digest, str), "sha256", digest, "is not a checksum")
        metadata = metadata_of(raw)
        check(isinstance(metadata, dict), "metadata", type(metadata).__name__, "is not a dictionary")
        shape = kind, raw["tokenizer"], raw["channels"], check_tile(raw.get("tile", "none"))
        check_outline(lambda: build(*shape), place, "tokenizer")
        model = build(*shape)
        model.load_state_dict(read_weights(place, "tokenizer", digest))
    model.folder, model.info = (
        place,
        TokenizerInfo(size, raw["channels"], digest, metadata, getattr(model, "tile", "none")),
    )
    return model.eval(), model.info
