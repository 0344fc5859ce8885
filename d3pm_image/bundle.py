"""A trained model as one self-contained folder: tokenizer, denoiser, process and sampler settings,
safetensors and JSON."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config import DenoiserConfig, ProcessConfig, SamplingConfig, check, check_tile
from .denoiser import Transformer
from .former_names import metadata_of
from .hub import SHIPPED
from .label_sets import JointNames, from_json, sets_of, to_json
from .printable import printable
from .sampling import Sampler
from .sampling.choice import samplers_of, to_values
from .storage import files_together, half_precision, sha256, write_tensors, write_text
from .tokenizer import load_tokenizer, save_tokenizer
from .tokenizer.folder import (
    NothingThere,
    check_outline,
    find,
    folder_for,
    read_config,
    read_weights,
    settings_of,
)
from .types import Tokenizer
from .unfinished import unfinished_parts


@dataclass(frozen=True)
class Bundle:
    """Content of such a folder; the fields are the arguments of :class:`~d3pm_image.pipeline.Pipeline`."""

    tokenizer: Tokenizer
    denoiser: Transformer
    process: ProcessConfig
    image_size: tuple[int, int]
    class_names: Sequence[str]
    sampler: Sampler
    sampling: SamplingConfig
    metadata: dict[str, Any]


def read_bundle(folder: str | Path) -> Bundle:
    """Load a folder written by :func:`write_bundle`, or the run folder of a training, onto the CPU. Of an
    unfinished training these are its best weights so far, with a note on standard error
    (:mod:`~d3pm_image.unfinished`).

    Raises:
        ConfigError: no model there, or a part of it is missing, damaged or from another model.
    """
    try:
        place = find(folder, "pipeline", "model")
    except NothingThere:
        if (unfinished := unfinished_parts(folder)) is None:
            raise
        return Bundle(**unfinished)
    raw = read_config(place, "model", "pipeline")
    for part in ("tokenizer", "denoiser"):
        there = os.path.lexists(place / part / "config.json")
        check(there, "model", str(place), f"holds no {part} folder; copy the model again, with all its parts")
    tokenizer, info = load_tokenizer(place / "tokenizer")
    parts = read_config(place / "denoiser", "model", "denoiser")
    with settings_of(place, "model"):
        own = raw["tokenizer_sha256"] == info.sha256
        hint = "its tokenizer is not the one that the denoiser was trained with; copy the model again"
        check(own, "model", str(place), hint)
        digest = parts.get("sha256")  # older models have none
        own = raw.get("denoiser_sha256") in (None, digest)
        hint = "its denoiser is another model's (checksum differs); copy the model again"
        check(own, "model", str(place), hint)
        names = class_names(raw["class_names"], parts["num_classes"])
        shape = (
            DenoiserConfig(**{"places": False, **parts["denoiser"]}),
            parts["num_codes"],
            parts["num_classes"],
            check_tile(parts.get("tile", "none")),
            sets_of(names),
        )
        check_outline(lambda: Transformer(*shape), place / "denoiser", "model")
        denoiser = Transformer(*shape)
        denoiser.load_state_dict(read_weights(place / "denoiser", "model", digest))
        process, (sampler, sampling) = ProcessConfig(**raw["process"]), samplers_of(raw)
        metadata = remembered(metadata_of(raw))
        return Bundle(tokenizer, denoiser, process, info.image_size, names, sampler, sampling, metadata)


def class_names(value: Any, classes: int) -> Sequence[str]:
    """The names of a model's classes from its config.json.

    Raises:
        ConfigError: not a list of texts, or not one per class, or one twice; a model may have none at all.
    """
    found = from_json(value)
    hint = "is not a list of names; copy the model again"
    check(found is not None, "class_names", printable(value, 80), hint)
    assert found is not None
    hint = f"names {len(found)} classes, and the denoiser was trained with {classes}; copy the model again"
    check(len(found) in (0, classes), "class_names", printable(value, 80), hint)
    if isinstance(found, JointNames):
        return found
    twice = next((name for place, name in enumerate(found) if name in found[:place]), "")
    hint = f"names {printable(twice)!r} twice, and a name means one class; copy the model again"
    check(len(set(found)) == len(found), "class_names", printable(value, 80), hint)
    return found


def remembered(metadata: Any) -> dict[str, Any]:
    """A model's metadata. Raises ConfigError if it is not made of dictionaries."""
    check(isinstance(metadata, dict), "metadata", type(metadata).__name__, "is not a dictionary")
    for name in ("data", "training", "tokenizer", "validation", "evaluation"):
        hint = "is not a dictionary"
        check(
            isinstance(metadata.get(name) or {}, dict),
            f"metadata.{name}",
            type(metadata.get(name)).__name__,
            hint,
        )
    return metadata


def write_bundle(
    bundle: Bundle, folder: str | Path, half: bool = False, files: dict[str, str | bytes] | None = None
) -> Path:
    """Write everything that is needed to generate into one folder; returns it. An older model there is
    replaced once the new one is complete; other files there stay, and so does a link to a folder. If the
    process dies meanwhile, the folder has the old model, the new one, or no config.json, and is then refused.

    Args:
        half: Write weights in half precision (float16): half the bytes; they are float32 again when they are
            read.
        files: Further files of the folder by name, such as a model card.

    Raises:
        ConfigError: see :func:`~d3pm_image.tokenizer.folder.folder_for`.
    """
    place = folder_for(folder, "pipeline")
    with files_together(place) as part:
        save_tokenizer(
            bundle.tokenizer, part / "tokenizer", bundle.image_size, bundle.metadata.get("tokenizer"), half
        )
        weights = bundle.denoiser.state_dict()
        (part / "denoiser").mkdir()
        write_tensors(part / "denoiser" / "model.safetensors", half_precision(weights) if half else weights)
        digest = sha256(part / "denoiser" / "model.safetensors")
        shape: dict[str, Any] = {
            "num_codes": bundle.denoiser.num_codes,
            "num_classes": bundle.denoiser.num_classes,
        }
        shape |= {"tile": bundle.denoiser.tile} if bundle.denoiser.tile != "none" else {}
        shape |= {
            "format": "d3pm-image-denoiser",
            "version": 1,
            "sha256": digest,
            "denoiser": dataclasses.asdict(bundle.denoiser.config),
        }
        write_text(part / "denoiser" / "config.json", json.dumps(shape, indent=1))
        config = {
            "format": "d3pm-image-pipeline",
            "version": 1,
            "process": dataclasses.asdict(bundle.process),
            "sampler": to_values(bundle.sampler),
            "sampling": dataclasses.asdict(bundle.sampling),
            "class_names": to_json(bundle.class_names),
            "tokenizer_sha256": sha256(part / "tokenizer" / "model.safetensors"),
            "denoiser_sha256": digest,
            "metadata": bundle.metadata,
        }
        write_text(part / "config.json", json.dumps(config, indent=1))
        for name, content in (files or {}).items():
            (part / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return place


def set_default_sampler(
    folder: str | Path, sampler: Sampler, sampling: SamplingConfig, metadata: dict[str, Any]
) -> Path:
    """Make ``sampler`` with ``sampling`` the default of a model on disk and add ``metadata`` to its metadata;
    nothing else changes. Returns the file.

    Raises:
        ConfigError: no model there, or one that came with the package.
    """
    place = own_model(folder)
    raw = read_config(place, "model", "pipeline")
    changed = raw | {
        "sampler": to_values(sampler),
        "sampling": dataclasses.asdict(sampling),
        "metadata": metadata_of(raw) | metadata,
    }
    with files_together(place) as part:
        write_text(part / "config.json", json.dumps(changed, indent=1))
    return place / "config.json"


def own_model(folder: str | Path) -> Path:
    """The folder of a model that may be changed.

    Raises:
        ConfigError: no model there, or one that came with the package.
    """
    place = find(folder, "pipeline", "model")
    hint = (
        "came with the package and stays as it is; copy it first:"
        " Pipeline.from_pretrained(NAME).save_pretrained(FOLDER)"
    )
    check(not place.resolve().is_relative_to(SHIPPED), "model", str(folder), hint)
    return place
