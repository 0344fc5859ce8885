"""A trained tokenizer as a folder: ``config.json`` and ``model.safetensors``, written together or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from ..config import MAX_SIDE, ConfigError, TokenizerConfig, need, size_pair
from ..hub import locate
from ..storage import half_precision, sha256, tensor_shapes, write_tensors, write_text
from .autoencoder import Autoencoder
from .pixels import Pixels

FORMAT = "d3pm-image-tokenizer"
VERSION = 1


@dataclasses.dataclass(frozen=True)
class TokenizerInfo:
    """What the weights alone do not tell: image size it was trained at, weight hash, and free-form training facts."""

    image_size: tuple[int, int]
    channels: int
    sha256: str
    facts: dict[str, Any]


def pixel_tokenizer(
    levels: int, channels: int, image_size: int | tuple[int, int], facts: dict[str, Any] | None = None
) -> tuple[Pixels, TokenizerInfo]:
    """A tokenizer that needs no training, in eval mode on the CPU, and its facts, as :func:`load_tokenizer` gives them.

    Raises:
        ConfigError: see :class:`Pixels`.
    """
    model = Pixels(levels, channels).eval()
    digest = hashlib.sha256(save(model.state_dict())).hexdigest()
    return model, TokenizerInfo(size_pair(image_size), channels, digest, facts or {})


def save_tokenizer(
    model: Autoencoder | Pixels,
    folder: Path,
    image_size: int | tuple[int, int],
    facts: dict[str, Any] | None = None,
    half: bool = False,
) -> None:
    """Write a tokenizer folder; an existing one is replaced file by file, each atomically.

    Args:
        model: Trained network, or pixels.
        folder: Destination.
        image_size: Training size in pixels.
        facts: Whatever should be remembered (data, scores, time), JSON values.
        half: Write weights in half precision.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = model.state_dict()
    write_tensors(folder / "model.safetensors", half_precision(weights) if half else weights)
    config = {
        "format": FORMAT,
        "version": VERSION,
        "kind": "pixels" if isinstance(model, Pixels) else "vqvae",
        "channels": model.channels,
        "image_size": list(size_pair(image_size)),
        "sha256": sha256(folder / "model.safetensors"),
        "tokenizer": {"levels": model.levels} if isinstance(model, Pixels) else dataclasses.asdict(model.config),
        "facts": facts or {},
    }
    write_text(folder / "config.json", json.dumps(config, indent=1))


def find(folder: str | Path, name: str, what: str) -> Path:
    """``folder`` itself (or the shipped model or hub model of that name), its ``model`` (a run folder), or its ``name`` part: the first that
    has a config.json of format ``d3pm-image-<name>``.

    Raises:
        ConfigError: none of them.
    """
    root = locate(folder, what)
    for place in (root, root / "model", root / name, root / "model" / name):
        if is_part(place, name):
            return place
    raise ConfigError(what, str(folder), f"holds no trained {name}{instead(root, name)}")


def instead(root: Path, name: str) -> str:
    """What a folder without a trained part of that name is, and what to do."""
    for place in (root, root / "model"):
        if name != "tokenizer" and is_part(place, "tokenizer"):
            return f": it is a tokenizer; train stage two on it with d3pm-image train-diffusion --tokenizer {root}"
    if (root / "checkpoints").is_dir():
        return ": its training has not ended; go on with --resume true"
    return "; name a model folder or a finished run"


def is_part(place: Path, name: str) -> bool:
    """Whether a folder's config.json is that of a tokenizer, a denoiser or a pipeline."""
    try:
        return json.loads((place / "config.json").read_text(encoding="utf-8")).get("format") == f"d3pm-image-{name}"
    except (OSError, ValueError, AttributeError):
        return False


def read_config(place: Path, what: str) -> dict[str, Any]:
    """A model folder's config.json. Raises ConfigError where it cannot be read."""
    try:
        return json.loads((place / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(what, str(place), f"config.json cannot be read ({error})") from error


def read_weights(place: Path, what: str) -> dict:
    """A model folder's tensors by name. Raises ConfigError where they cannot be read."""
    try:
        return load_file(place / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise ConfigError(what, str(place), f"model.safetensors cannot be read ({error}); copy the folder again") from error


def check_outline(make: Callable[[], nn.Module], place: Path, what: str) -> None:
    """Compare a network that its settings describe with its weights' shapes, before either takes memory: settings of a folder from
    elsewhere may ask for any size.

    Args:
        make: Builds the network; called on torch's meta device.

    Raises:
        ConfigError: they differ, or the weights cannot be read.
    """
    try:
        stored = tensor_shapes(place / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise ConfigError(what, str(place), f"model.safetensors cannot be read ({error}); copy the folder again") from error
    with torch.device("meta"):
        described = {name: tuple(value.shape) for name, value in make().state_dict().items()}
    differing = sorted(name for name in described.keys() | stored.keys() if described.get(name) != stored.get(name))
    if differing:
        name = differing[0]
        mend = f"its weights do not fit its config.json ({name}: {stored.get(name)} for {described.get(name)}); copy the folder again"
        raise ConfigError(what, str(place), mend)


def build(kind: str, settings: dict[str, Any], channels: int) -> Autoencoder | Pixels:
    """An untrained tokenizer of a kind (vqvae or pixels) with its stored settings.

    Raises:
        ConfigError: no such kind, or impossible settings. TypeError: unknown settings.
    """
    need(kind in ("vqvae", "pixels"), "tokenizer", kind, "no such kind in this version; use the program that made it")
    return Pixels(**settings, channels=channels) if kind == "pixels" else Autoencoder(TokenizerConfig(**settings), channels)


def load_tokenizer(folder: str | Path) -> tuple[Autoencoder | Pixels, TokenizerInfo]:
    """A tokenizer in eval mode on the CPU, and its facts.

    Args:
        folder: Tokenizer folder, a run folder, or a pipeline folder.

    Raises:
        ConfigError: no tokenizer there, or its files are damaged.
    """
    place = find(folder, "tokenizer", "tokenizer")
    raw = read_config(place, "tokenizer")
    need(
        raw.get("version") == VERSION,
        "tokenizer",
        str(place),
        f"has format version {raw.get('version')}, this program reads {VERSION}; use the program that made it",
    )
    try:
        digest, size = raw["sha256"], size_pair(raw["image_size"])
        kind = raw.get("kind", "vqvae")  # older folders name none
        need(max(size) <= MAX_SIDE, "tokenizer", size, f"an image side of its config.json is over {MAX_SIDE} pixels")
        check_outline(lambda: build(kind, raw["tokenizer"], raw["channels"]), place, "tokenizer")
        model = build(kind, raw["tokenizer"], raw["channels"])
        model.load_state_dict(read_weights(place, "tokenizer"))
    except ConfigError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ConfigError("tokenizer", str(place), f"does not fit this version ({str(error).splitlines()[0]})") from error
    need(
        sha256(place / "model.safetensors") == digest,
        "tokenizer",
        str(place),
        "model.safetensors is damaged (checksum differs); copy the folder again",
    )
    info = TokenizerInfo(size, raw["channels"], digest, raw.get("facts", {}))
    return model.eval(), info
