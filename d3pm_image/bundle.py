"""A trained model as one self-contained folder: tokenizer, denoiser, process and sampler settings, safetensors and JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config import ConfigError, DenoiserConfig, ProcessConfig, SamplerConfig, need
from .denoiser import Transformer
from .hub import SHIPPED
from .storage import half_precision, replace_folder, sha256, write_tensors, write_text
from .tokenizer import Autoencoder, Pixels, load_tokenizer, save_tokenizer
from .tokenizer.folder import check_outline, find, read_config, read_weights


@dataclass(frozen=True)
class Bundle:
    """What such a folder holds; the fields are the arguments of :class:`~d3pm_image.pipeline.Pipeline`."""

    tokenizer: Autoencoder | Pixels
    denoiser: Transformer
    process: ProcessConfig
    image_size: tuple[int, int]
    class_names: Sequence[str]
    sampler: SamplerConfig
    facts: dict[str, Any]


def read_bundle(folder: str | Path) -> Bundle:
    """Load a folder written by :func:`write_bundle`, or the run folder of a finished training, onto the CPU.

    Raises:
        ConfigError: no model there, or a part of it is missing, damaged or another's.
    """
    place = find(folder, "pipeline", "model")
    raw = read_config(place, "model")
    for part in ("tokenizer", "denoiser"):
        there = (place / part / "config.json").is_file()
        need(there, "model", str(place), f"holds no {part} folder; copy the model again, with all its parts")
    tokenizer, info = load_tokenizer(place / "tokenizer")
    parts = read_config(place / "denoiser", "model")
    try:
        need(
            raw["tokenizer_sha256"] == info.sha256,
            "model",
            str(place),
            "its tokenizer is not the one that the denoiser was trained with; copy the model again",
        )
        shape = DenoiserConfig(**{"places": False, **parts["denoiser"]}), parts["num_codes"], parts["num_classes"]
        check_outline(lambda: Transformer(*shape), place / "denoiser", "model")
        denoiser = Transformer(*shape)
        denoiser.load_state_dict(read_weights(place / "denoiser", "model"))
        process, sampler = ProcessConfig(**raw["process"]), SamplerConfig(**raw["sampler"])
        return Bundle(tokenizer, denoiser, process, info.image_size, raw["class_names"], sampler, raw.get("facts", {}))
    except ConfigError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(
            "model", str(place), f"does not fit this version ({type(error).__name__}: {str(error).splitlines()[0]})"
        ) from error


def write_bundle(bundle: Bundle, folder: str | Path, half: bool = False, files: dict[str, str | bytes] | None = None) -> Path:
    """Write everything that is needed to generate into one folder; returns it. An older model there is replaced as a whole, once the
    new one is complete.

    Args:
        half: Write weights in half precision (float16): half the bytes; they are float32 again when they are read.
        files: Further files of the folder by name, such as a model card.
    """
    place = Path(folder).expanduser()
    part = place.with_name(f".{place.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    (part / "denoiser").mkdir(parents=True)
    try:
        save_tokenizer(bundle.tokenizer, part / "tokenizer", bundle.image_size, bundle.facts.get("tokenizer"), half)
        weights = bundle.denoiser.state_dict()
        write_tensors(part / "denoiser" / "model.safetensors", half_precision(weights) if half else weights)
        shape: dict[str, Any] = {"num_codes": bundle.denoiser.num_codes, "num_classes": bundle.denoiser.num_classes}
        shape |= {"format": "d3pm-image-denoiser", "version": 1, "denoiser": dataclasses.asdict(bundle.denoiser.config)}
        write_text(part / "denoiser" / "config.json", json.dumps(shape, indent=1))
        config = {
            "format": "d3pm-image-pipeline",
            "version": 1,
            "process": dataclasses.asdict(bundle.process),
            "sampler": dataclasses.asdict(bundle.sampler),
            "class_names": list(bundle.class_names),
            "tokenizer_sha256": sha256(part / "tokenizer" / "model.safetensors"),
            "facts": bundle.facts,
        }
        write_text(part / "config.json", json.dumps(config, indent=1))
        for name, content in (files or {}).items():
            (part / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        replace_folder(part, place)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return place


def set_default_sampler(folder: str | Path, sampler: SamplerConfig, facts: dict[str, Any]) -> Path:
    """Make ``sampler`` the default of a model on disk and add ``facts`` to what it remembers; nothing else changes. Returns the file.

    Raises:
        ConfigError: no model there, or one that came with the package.
    """
    place = own_model(folder)
    raw = read_config(place, "model")
    changed = raw | {"sampler": dataclasses.asdict(sampler), "facts": raw.get("facts", {}) | facts}
    write_text(place / "config.json", json.dumps(changed, indent=1))
    return place / "config.json"


def own_model(folder: str | Path) -> Path:
    """The place of a model that may be changed.

    Raises:
        ConfigError: no model there, or one that came with the package.
    """
    place = find(folder, "pipeline", "model")
    mend = "came with the package and stays as it is; copy it first: Pipeline.from_pretrained(NAME).save_pretrained(FOLDER)"
    need(not place.resolve().is_relative_to(SHIPPED), "model", str(folder), mend)
    return place
