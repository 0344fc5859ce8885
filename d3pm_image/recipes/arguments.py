"""Keyword arguments of the training functions as the settings of a run: the fields of the YAML file, nested
as dictionaries or dataclasses."""

from __future__ import annotations

import dataclasses
import os
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..config import (
    ConfigError,
    DataConfig,
    DiffusionRun,
    TokenizerConfig,
    TokenizerRun,
    check,
    closest_match,
    migrated,
    trains_nothing,
)
from ..config.hints import fits, words
from ..tokenizer.quantizers import QUANTIZERS, Quantizer

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from ..data.objects import Data, GivenImages
    from ..tokenizer import Autoencoder, Palette, Pixels

T = TypeVar("T", bound="DataclassInstance")
R = TypeVar("R", TokenizerRun, DiffusionRun)
GREY_SETS = ("digits", "mnist", "fashion_mnist", "kmnist")
OBJECTS = ("images", "val_images")
"""Keys of a dictionary of data settings whose values are images."""


def run_settings(
    kind: type[R], function: str, data: Data, shortcuts: Mapping[str, Any], settings: Mapping[str, Any]
) -> tuple[R, GivenImages | None]:
    """The settings of a run, and images in memory.

    Args:
        kind: TokenizerRun or DiffusionRun.
        function: Name of the function that was called, for messages.
        shortcuts: image_size, channels and flip; None is not given.

    Raises:
        TypeError: an unknown keyword argument. ConfigError: an impossible value, or an unknown key in a
            dictionary.
    """
    run = kind()
    check_names(function, settings, run, (*shortcuts, "data"))
    start = os.fspath(settings.get("start_from") or "")
    if start:
        from .finetune import defaults

        run = filled(run, nested(defaults(kind, start)), "")
    sizes = DataConfig(tile=run.data.tile)
    if start and kind is TokenizerRun:
        sizes = dataclasses.replace(sizes, image_size=run.data.image_size, channels=run.data.channels)
    stage = dict(settings)
    if "tokenizer" in stage and kind is DiffusionRun:
        stage["tokenizer"] = tokenizer_name(stage["tokenizer"])
    config, given = data_settings(data, sizes, run.data, shortcuts)
    if kind is TokenizerRun or trains_nothing(str(stage.get("tokenizer", ""))):
        config = with_sizes(config, given)
    return filled(run, {**stage, "data": config}, ""), given


def check_names(
    function: str, given: Mapping[str, Any], run: DataclassInstance, others: tuple[str, ...]
) -> None:
    """Raises TypeError for a keyword argument that is not a setting, with the nearest one, nested ones
    included."""
    names = [*others, *(item.name for item in dataclasses.fields(run))]
    inner = paths(run)
    for name in given:
        if name not in names:
            deeper = [path for path in inner if path.endswith(f".{name}")]
            hint = (
                f" (did you mean {' or '.join(deeper)}?)" if deeper else closest_match(name, [*names, *inner])
            )
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}{hint}")


def paths(group: Any, prefix: str = "") -> list[str]:
    """Dotted names of all settings in a group, and of groups in it; of every quantizer's, whichever is
    chosen."""
    if isinstance(group, Quantizer):
        return [f"{prefix}name", *(f"{prefix}{name}" for name in QUANTIZERS.types())]
    if not dataclasses.is_dataclass(group):
        return []
    found = []
    for item in dataclasses.fields(group):
        found += [f"{prefix}{item.name}", *paths(getattr(group, item.name), f"{prefix}{item.name}.")]
    return found


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values under dotted names as dictionaries in dictionaries."""
    found: dict[str, Any] = {}
    for path, value in values.items():
        *groups, name = path.split(".")
        place = found
        for group in groups:
            place = place.setdefault(group, {})
        place[name] = value
    return found


def filled(default: T, values: Mapping[str, Any], prefix: str) -> T:
    """A configuration with other values, checked by name and type; groups of settings may be dictionaries.

    Raises:
        ConfigError: an unknown name, another type, or an impossible value.
    """
    hints = typing.get_type_hints(type(default))
    names = [field.name for field in dataclasses.fields(default)]
    changes = {}
    for name, value in values.items():
        path = f"{prefix}{name}"
        check(
            name in names, path, value, f"no such setting{closest_match(str(name), paths(default), prefix)}"
        )
        changes[name] = converted(value, hints[name], getattr(default, name), path)
    return dataclasses.replace(default, **changes)


def converted(value: Any, hint: Any, default: Any, path: str) -> Any:
    """A value in the type of its field: numbers of NumPy and torch as Python's, paths as text, lists as
    tuples, dictionaries as groups.

    Raises:
        ConfigError: another type.
    """
    from ..keywords import scalar

    if isinstance(default, Quantizer) and isinstance(value, str):
        value = {"name": value}
    if isinstance(default, Quantizer) and isinstance(value, Mapping):
        types = {"name": str} | QUANTIZERS.types()
        own = {
            name: converted(item, types.get(name, Any), None, f"{path}.{name}")
            for name, item in value.items()
        }
        return QUANTIZERS.change(default, **own)
    if dataclasses.is_dataclass(default) and not isinstance(default, type):
        if isinstance(value, Mapping):
            found = migrated(value) if isinstance(default, TokenizerConfig) else value
            return filled(default, found, f"{path}.")
        hint = f"give a dictionary of settings, or a {type(default).__name__}"
        check(
            isinstance(value, Quantizer if isinstance(default, Quantizer) else type(default)),
            path,
            value,
            hint,
        )
        return value
    value = scalar(value)
    value = (
        os.fspath(value)
        if isinstance(value, os.PathLike)
        else tuple(value)
        if isinstance(value, list)
        else value
    )
    check(fits(value, hint), path, value, f"give {words(hint)}")
    return value


def data_settings(
    data: Data, sizes: DataConfig, default: DataConfig, shortcuts: Mapping[str, Any]
) -> tuple[DataConfig, GivenImages | None]:
    """Settings of the images, and the images if they are in memory.

    Args:
        sizes: image_size and channels, or 0, if a path or an object gives the rest.
        default: Values for what a dictionary leaves out.

    Raises:
        ConfigError: neither a path nor a name, settings nor images.
    """
    from ..data.objects import given_images, is_splits

    changes: dict[str, Any] = {name: value for name, value in shortcuts.items() if value is not None}
    given = None
    if isinstance(data, DataConfig):
        config = data
    elif isinstance(data, Mapping) and not is_splits(data):
        settings = {name: value for name, value in data.items() if name not in OBJECTS}
        config = filled(sizes if "images" in data else default, settings, "data.")
        hint = "is for images in memory only; leave it out"
        check("images" in data or "val_images" not in data, "data.val_images", "given", hint)
        if "images" in data:
            given = given_images(data["images"], data.get("val_images"), "data.images")
    elif isinstance(data, (str, os.PathLike)):
        config = filled(sizes, named_source(data), "data.")
    else:
        config, given = sizes, given_images(data)
    config = filled(config, changes | ({"source": "python"} if given is not None else {}), "data.").resolved()
    if config.source == "huggingface":
        from ..data.huggingface import hugging_face

        given = hugging_face(config)  # once, for all later readers
    return config, given


def named_source(data: str | os.PathLike[str]) -> dict[str, str]:
    """Source and root of a text: the digits or a torchvision set by name, else a folder, or shards. A folder
    of the same name is ``./NAME``.

    Raises:
        ConfigError: neither.
    """
    from ..data.torchvision_sets import TORCHVISION

    text = os.fspath(data)
    if isinstance(data, str) and data in ("digits", *TORCHVISION):
        return {"source": data}
    pattern = any(sign in text for sign in "*?{") or text.lower().endswith(".tar")
    there = bool(text) and (pattern or Path(text).expanduser().exists())
    if not there:
        place = Path(text).expanduser()
        beside = sorted(path.name for path in place.parent.glob("*/")) if place.parent.is_dir() else []
        meant = closest_match(place.name, [*beside, "digits", *TORCHVISION])
        raise ConfigError("data", text, f"no such folder, and no data set of this name{meant}")
    return {"root": text}


def with_sizes(config: DataConfig, given: GivenImages | None) -> DataConfig:
    """The settings with image_size and channels filled in if they were left out: colour if some images have
    it, and the size of images in memory if all have the same."""
    from ..imaging import profile_channels

    changes: dict[str, Any] = {}
    if not config.channels:
        changes["channels"] = max(map(profile_channels, modes(config, given)))
    if config.image_size == 0 and config.source == "digits":
        changes["image_size"] = 16
    elif config.image_size == 0 and given is not None:
        sizes = set(given.training.headers.sizes)
        for width, height in sizes if len(sizes) == 1 else ():
            changes["image_size"] = height if height == width else (height, width)
    return dataclasses.replace(config, **changes)


def modes(config: DataConfig, given: GivenImages | None) -> list[str]:
    """Pillow modes of some of the images, spread over the set; RGB if none can be opened."""
    from ..data.image_source import Files, ImageSource
    from ..data.listing import list_images
    from ..data.sources import open_source

    if config.source in GREY_SETS:
        return ["L"]
    if given is not None or config.source == "shards":
        source = given.training if given is not None else open_source(config)
    elif config.source == "folder":
        root = Path(config.root).expanduser()
        check(root.is_dir(), "data.root", str(root), "no such folder; name a folder of images")
        files = [root / path for path in list_images(root).files]
        source = ImageSource([path.name for path in files], None, (), Files(files), "")
    else:
        return ["RGB"]
    return list(source.headers.modes) or ["RGB"]


def tokenizer_name(tokenizer: str | os.PathLike[str] | Autoencoder | Pixels | Palette) -> str:
    """The text by which the settings of a run name a tokenizer: the folder that it was trained in or loaded
    from, or pixels:LEVELS.

    Raises:
        ConfigError: a tokenizer without a folder, or whose folder holds another one by now.
    """
    if isinstance(tokenizer, (str, os.PathLike)):
        return os.fspath(tokenizer)
    from ..tokenizer import Pixels
    from ..tokenizer.folder import find, read_config

    if isinstance(tokenizer, Pixels):
        return f"pixels:{tokenizer.levels}"
    folder, info = getattr(tokenizer, "folder", None), getattr(tokenizer, "info", None)
    kind = type(tokenizer).__name__
    if folder is None or info is None:
        raise ConfigError(
            "tokenizer",
            kind,
            "has no folder; write it with d3pm_image.tokenizer.save_tokenizer and name the folder",
        )
    now = read_config(find(folder, "tokenizer", "tokenizer"), "tokenizer", "tokenizer").get("sha256")
    check(
        now == info.sha256,
        "tokenizer",
        str(folder),
        "has changed since the tokenizer was loaded; load it again",
    )
    return str(folder)
