"""The subject of an estimate: the stage that a YAML file trains, its tokenizer's codes, and its images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from ..config import (
    ConfigError,
    DiffusionRun,
    TokenizerRun,
    check,
    is_stage_two,
    palette_source,
    pixel_codes,
    pixel_levels,
    size_pair,
)
from ..config.estimate import EstimateConfig
from ..data.sources import open_source
from ..documents import Unreadable, read_yaml
from ..label_sets import LabelSets, sets_of
from ..recipes.token_cache import check_image_settings, check_tile_of
from ..tokenizer import load_tokenizer
from ..tokenizer.palette import read_palette
from .grids import Codes
from .report import Problem


def make_problem(
    config: TokenizerRun | DiffusionRun, asked: EstimateConfig, read: Callable[[str], TokenizerRun]
) -> tuple[Problem, list[str]]:
    """A training to be estimated, and notes on what is assumed or left out.

    Args:
        read: Reads the YAML file of a tokenizer's run.

    Raises:
        ConfigError: a batch that the devices cannot share, no tokenizer, or a number of images that is
            neither given nor found.
    """
    train, notes = config.train, []
    hint = f"devices x train.accumulate must divide train.batch_size={train.batch_size}"
    check(train.batch_size % (asked.devices * train.accumulate) == 0, "devices", asked.devices, hint)
    if isinstance(config, TokenizerRun) and (config.loss.perceptual or config.loss.adversarial.weight):
        notes.append("the perceptual network and the discriminator are not counted")
    codes = tokenizer_codes(config, asked.file, notes, read) if isinstance(config, DiffusionRun) else None
    images, classes, sets = count_images(config, asked.images, asked.classes, notes)
    return (
        Problem(config, codes, images, classes, asked.devices, sets),
        notes,
    )


def stage_of(path: str, stage: str) -> str:
    """Which stage a YAML file trains.

    Raises:
        ConfigError: no such file, not a mapping, or a file that both stages could read.
    """
    try:
        values = read_yaml(Path(path).expanduser())
    except Unreadable as error:
        raise ConfigError(
            "file", path, f"{error}; name a YAML file of train-tokenizer or train-diffusion"
        ) from error
    hint = "holds no options; name a YAML file of train-tokenizer or train-diffusion"
    check(isinstance(values, dict), "file", path, hint)
    if stage != "auto":
        return stage
    if is_stage_two(values):
        return "diffusion"
    hint = "does not say which stage it trains; add --stage tokenizer or diffusion"
    check(isinstance(values.get("tokenizer"), dict), "file", path, hint)
    return "tokenizer"


def tokenizer_codes(
    config: DiffusionRun, path: str, notes: list[str], read: Callable[[str], TokenizerRun]
) -> Codes:
    """Grid and codes of the tokenizer of a stage-two run: pixels, a trained one, or one that a YAML file will
    train.

    Raises:
        ConfigError: none of these, or image settings that are not the tokenizer's.
    """
    source = palette_source(config.tokenizer)
    if source:
        size = size_pair(config.data.image_size)
        count = int(source) if source.isdecimal() else len(read_palette(source))
        return Codes(count, size, size, config.data.channels, config.data.tile)
    levels = pixel_levels(config.tokenizer)
    if levels:
        size = size_pair(config.data.image_size)
        count = pixel_codes(levels, config.data.channels)
        return Codes(count, size, size, config.data.channels, config.data.tile)
    plan = planned(config.tokenizer, path, read)
    if plan is not None:
        notes.append(f"the tokenizer is not trained yet; its codes are those of {plan}")
        first = read(str(plan))
        size, channels = size_pair(first.data.image_size), first.data.channels
        found = Codes(first.tokenizer.num_codes, first.tokenizer.grid(size), size, channels, first.data.tile)
    else:
        try:
            model, info = load_tokenizer(config.tokenizer)
        except ConfigError as error:
            raise ConfigError(
                "tokenizer",
                config.tokenizer,
                f"{error.args[0].partition(': ')[2]}; or give --tokenizer FILE, the YAML that will train it",
            ) from error
        found = Codes(
            model.num_codes,
            model.grid(info.image_size),
            size_pair(info.image_size),
            info.channels,
            info.tile,
        )
    check_image_settings(config.data, found.image_size, found.channels)
    check_tile_of(config.data, found.tile)
    config.denoiser.token_grid(found.grid)
    return found


def planned(tokenizer: str, path: str, read: Callable[[str], TokenizerRun]) -> Path | None:
    """The YAML file of a tokenizer that is not trained yet: named outright, left by a run, or beside ``path``
    and writing to that folder."""
    place = Path(tokenizer).expanduser()
    if place.is_file():
        return place
    if place.is_dir():
        unfinished = not any((place / name / "config.json").is_file() for name in ("model", "", "tokenizer"))
        return place / "config.yaml" if unfinished and (place / "config.yaml").is_file() else None
    beside = Path(path).expanduser().parent / "tokenizer.yaml"
    if beside.is_file() and read(str(beside)).out == tokenizer:
        return beside
    return None


def count_images(
    config: TokenizerRun | DiffusionRun, images: int, classes: int, notes: list[str]
) -> tuple[int, int, LabelSets | None]:
    """Training images, classes and sets of labels, as given or as the source has them.

    Raises:
        ConfigError: the number of images is neither given nor to be found.
    """
    if images and (classes >= 0 or isinstance(config, TokenizerRun)):
        return images, max(classes, 0), None
    try:
        source = open_source(dataclasses.replace(config.data, download=False))
        found, there, sets = len(source), len(source.class_names), sets_of(source.class_names)
    except ConfigError as error:
        hint = f"the images cannot be counted ({error}); give --images, the number of training images"
        if not images:
            raise ConfigError("images", 0, hint) from error
        notes.append(
            "the images are missing: no classes are assumed; give --classes to count their embeddings"
        )
        found, there, sets = images, 0, None
    return images or found, there if classes < 0 else classes, sets if classes < 0 else None
