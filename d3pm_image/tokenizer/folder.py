"""A trained tokenizer as a folder: ``config.json`` and ``model.safetensors``, written together or not at all."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from ..config import ConfigError, TokenizerConfig, need, size_pair
from ..storage import sha256, write_tensors, write_text
from .autoencoder import Autoencoder

FORMAT = "d3pm-image-tokenizer"
VERSION = 1


@dataclasses.dataclass(frozen=True)
class TokenizerInfo:
    """What the weights alone do not tell: image size it was trained at, weight hash, and free-form training facts."""

    image_size: tuple[int, int]
    channels: int
    sha256: str
    facts: dict[str, Any]


def save_tokenizer(model: Autoencoder, folder: Path, image_size: int | tuple[int, int], facts: dict[str, Any] | None = None) -> None:
    """Write a tokenizer folder; an existing one is replaced file by file, each atomically.

    Args:
        model: Trained network.
        folder: Destination.
        image_size: Training size in pixels.
        facts: Whatever should be remembered (data, scores, time), JSON values.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / "model.safetensors", model.state_dict())
    config = {
        "format": FORMAT,
        "version": VERSION,
        "channels": model.channels,
        "image_size": list(size_pair(image_size)),
        "sha256": sha256(folder / "model.safetensors"),
        "tokenizer": dataclasses.asdict(model.config),
        "facts": facts or {},
    }
    write_text(folder / "config.json", json.dumps(config, indent=1))


def find(folder: str | Path, name: str, what: str) -> Path:
    """``folder`` itself, its ``model`` (a run folder), or its ``name`` part: the first that has a config.json of
    format ``d3pm-image-<name>``.

    Raises:
        ConfigError: none of them.
    """
    root = Path(folder).expanduser()
    need(root.is_dir(), what, str(folder), "no such folder; name a trained model or the run that made it")
    for place in (root, root / "model", root / name, root / "model" / name):
        try:
            if json.loads((place / "config.json").read_text(encoding="utf-8")).get("format") == f"d3pm-image-{name}":
                return place
        except (OSError, ValueError, AttributeError):
            continue
    unfinished = " (its training has not ended: go on with --resume true)" if (root / "checkpoints").is_dir() else ""
    raise ConfigError(what, str(folder), f"holds no trained {name}{unfinished}; name a model folder or a finished run")


def read_config(place: Path, what: str) -> dict[str, Any]:
    try:
        return json.loads((place / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(what, str(place), f"config.json cannot be read ({error})") from error


def read_weights(place: Path, what: str) -> dict:
    try:
        return load_file(place / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise ConfigError(what, str(place), f"model.safetensors cannot be read ({error}); copy the folder again") from error


def load_tokenizer(folder: str | Path) -> tuple[Autoencoder, TokenizerInfo]:
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
        config = TokenizerConfig(**raw["tokenizer"])
        model = Autoencoder(config, raw["channels"])
        model.load_state_dict(read_weights(place, "tokenizer"))
    except (KeyError, TypeError, RuntimeError) as error:
        raise ConfigError("tokenizer", str(place), f"does not fit this version ({str(error).splitlines()[0]})") from error
    need(
        sha256(place / "model.safetensors") == digest,
        "tokenizer",
        str(place),
        "model.safetensors is damaged (checksum differs); copy the folder again",
    )
    info = TokenizerInfo(size, raw["channels"], digest, raw.get("facts", {}))
    return model.eval(), info
