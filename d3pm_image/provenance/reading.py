"""The settings that a PNG records, read back and described in words."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from ..config import ConfigError, SamplingConfig, check
from ..image_io import opened
from ..imaging import SETTINGS
from ..sampling import SAMPLERS
from ..sampling.choice import flat, is_setting, migrated

WHAT = {
    "generate": "a new image",
    "inpaint": "an image with a part repainted",
    "outpaint": "an image continued beyond its borders",
    "edit": "an image with a part repainted as another class",
    "vary": "a variation of an image",
    "tile": "an image made seamless",
    "interpolate": "an interpolation between two images",
}
SPOKEN = ("sampler", "steps", "guidance")
"""Settings of the sampler that are named always; others where they are not the default."""
MOST_LINES = 60
"""Largest number of lines of a description, because settings are not trusted."""
TOLD = (
    "command",
    "version",
    "model",
    "weights_sha256",
    "label",
    "labels",
    "number",
    "variant",
    "seed",
    "shows",
    "batch_first",
)
"""Metadata with lines of their own."""


def read_settings(path: str | Path) -> dict[str, Any]:
    """The settings in a PNG.

    Raises:
        ConfigError: no such file, no image, or one without settings.
    """
    try:
        with opened(path) as image:  # loaded: texts may stand behind the pixels
            kind, text = image.format, getattr(image, "text", {}).get(SETTINGS)
    except FileNotFoundError:
        raise ConfigError("image", str(path), "no such file") from None
    except Exception as error:  # Pillow raises many kinds for broken files
        raise ConfigError("image", str(path), f"not a readable image ({type(error).__name__})") from error
    check(kind == "PNG", "image", str(path), f"is a {kind} file; only PNGs carry their settings")
    hint = "carries no settings: it was not made by d3pm-image, or they were taken out since"
    check(text is not None, "image", str(path), hint)
    try:
        metadata = json.loads(str(text))
    except (ValueError, RecursionError) as error:
        raise ConfigError("image", str(path), "its settings are damaged") from error
    hint = "its settings are not of this program"
    check(isinstance(metadata, dict) and isinstance(metadata.get("command"), str), "image", str(path), hint)
    return of_today(metadata)


def of_today(metadata: dict[str, Any]) -> dict[str, Any]:
    """Settings of an image of version 0.1.0, which recorded a value for every setting of every sampler, as
    this version records them; all others as they are."""
    if (
        "ctmc_form" not in metadata
        or not isinstance(metadata.get("sampler"), str)
        or metadata["sampler"] not in SAMPLERS
    ):
        return metadata
    try:
        drawn = flat(*migrated({name: value for name, value in metadata.items() if is_setting(name)}))
    except (ConfigError, TypeError):
        return metadata
    return {name: value for name, value in metadata.items() if not is_setting(name)} | drawn


def describe(metadata: dict[str, Any]) -> dict[str, str]:
    """Settings in words, one line each: name → value."""
    lines = {"what": what(metadata), "model": model(metadata)}
    alike = {"": "every class in turn" if metadata["command"] == "generate" else "none"}
    chosen = metadata.get("label") or alike.get(str(metadata.get("labels")), metadata.get("labels"))
    lines["class"] = str(chosen) if chosen is not None else ""
    lines["seed"] = f"{metadata.get('seed')}{number(metadata)}"
    lines |= sampler(metadata)
    for name, value in metadata.items():
        if len(lines) == MOST_LINES:
            return lines | {"…": f"{len(metadata)} settings in all"}
        if (
            name not in TOLD
            and not is_setting(name)
            and not name.endswith("_sha256")
            and value not in (None, "")
        ):
            lines[name.replace("_", " ")] = "painted, carried by the image" if name == "mask" else str(value)
    return {name: text for name, text in lines.items() if text}


def what(metadata: dict[str, Any]) -> str:
    """The kind of image."""
    text = WHAT.get(metadata["command"], metadata["command"])
    several = metadata.get("num_images", metadata.get("variants", 1))
    text = (
        f"a grid of {several} new images"
        if metadata["command"] == "generate" and "number" not in metadata
        else text
    )
    text += (
        f", a sheet of {several} results"
        if "variants" in metadata and several != 1 and "variant" not in metadata
        else ""
    )
    text = f"the steps of a decode: {text}" if metadata.get("shows") else text
    return f"{text} ({metadata['command']})" + (
        f", by version {metadata['version']}" if metadata.get("version") else ""
    )


def model(metadata: dict[str, Any]) -> str:
    """Which model."""
    digest = str(metadata.get("weights_sha256", ""))
    return str(metadata.get("model", "")) + (f" (weights {digest[:12]})" if digest else "")


def number(metadata: dict[str, Any]) -> str:
    """Which image of the seed."""
    value = metadata.get("number", metadata.get("variant"))
    return "" if value is None else f", image number {value}"


def sampler(metadata: dict[str, Any]) -> dict[str, str]:
    """How the codes were drawn: the usual settings, and the others where they are not the default."""
    kinds = [
        kind for kind in (SAMPLERS.get(str(metadata.get("sampler"))), SamplingConfig) if kind is not None
    ]
    usual = {field.name: field.default for kind in kinds for field in dataclasses.fields(kind)}
    lines = {name: str(metadata[name]) for name in SPOKEN if name in metadata}
    others = [
        f"{name} {metadata[name]}"
        for name, value in usual.items()
        if name not in SPOKEN and metadata.get(name, value) != value
    ]
    return lines | ({"drawing": ", ".join(others)} if others else {})
