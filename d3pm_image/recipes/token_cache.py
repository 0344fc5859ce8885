"""The codes of a command's images: its tokenizer, its images at that tokenizer's size, and the cache of their
codes.

Shared by training, ``encode`` and the comparisons in benchmarks: all of them use the same cache.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, cast

from ..config import ConfigError, DataConfig, Tile, check, palette_source, pixel_levels, size_pair
from ..data.spread import spread_over
from ..pixel_range import from_levels
from .images import open_images

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor

    from ..data.codes import Team
    from ..data.image_source import ImageSource
    from ..data.images import ImageSet
    from ..data.objects import GivenImages
    from ..tokenizer.folder import TokenizerInfo
    from ..types import Tokenizer

VALIDATION_IMAGES = 2048


class OverTokenizer(Protocol):
    """Settings of a command that works on a tokenizer's codes."""

    @property
    def tokenizer(self) -> str:
        """A folder, pixels:LEVELS, palette:N or palette:FILE."""

    @property
    def data(self) -> DataConfig:
        """The images."""


def open_tokenizer(
    config: OverTokenizer, given: GivenImages | None = None
) -> tuple[Tokenizer, TokenizerInfo]:
    """The tokenizer of a run, a folder's, pixels or a palette, in eval mode, and its metadata
    (:class:`~d3pm_image.tokenizer.folder.TokenizerInfo`).

    Args:
        given: The images of ``data.source: python``.

    Raises:
        ConfigError: no tokenizer there.
    """
    from ..tokenizer import load_tokenizer, pixel_tokenizer

    tokenizer: Tokenizer
    if source := palette_source(config.tokenizer):
        from .palette import palette_tokenizer

        tokenizer, info = palette_tokenizer(source, config.data, given)
    elif levels := pixel_levels(config.tokenizer):
        metadata = {"data": dataclasses.asdict(config.data.resolved())}
        tokenizer, info = pixel_tokenizer(levels, config.data.channels, config.data.image_size, metadata)
    else:
        tokenizer, info = load_tokenizer(config.tokenizer)
    # one whose codes are single pixels serves images that repeat as well as others
    return tokenizer, info if hasattr(tokenizer, "tile") else replace(info, tile=config.data.tile)


def check_image_settings(data: DataConfig, size: tuple[int, int], channels: int) -> None:
    """Raises ConfigError if stage two has another image size (h, w) or number of channels than its
    tokenizer."""
    hint = f"the tokenizer was trained with {channels}; leave it out"
    check(data.channels in (0, channels), "data.channels", data.channels, hint)
    same = data.image_size == 0 or size_pair(data.image_size) == size
    hint = f"the tokenizer was trained at {size[0]}x{size[1]}; leave it out"
    check(same, "data.image_size", data.image_size, hint)


def check_tile_of(data: DataConfig, tile: Tile) -> None:
    """Raises ConfigError where stage two asks for other axes than those along which its tokenizer's images
    repeat."""
    hint = f"the tokenizer was trained with {tile}; leave it out, or train a tokenizer with {data.tile}"
    check(data.tile in ("none", tile), "data.tile", data.tile, hint)


def tokenizer_data(data: DataConfig, info: TokenizerInfo) -> DataConfig:
    """Data settings at the tokenizer's own size and channels.

    Raises:
        ConfigError: another size or number of channels was asked for.
    """
    size = size_pair(info.image_size)
    check_image_settings(data, size, info.channels)
    check_tile_of(data, info.tile)
    from ..data.levels import remembered_white

    # one level of white for both stages, so that codes have the same meaning
    white = data.white or remembered_white(info.metadata)
    channels = cast("Literal[1, 2, 3, 4]", info.channels)
    return dataclasses.replace(data, channels=channels, image_size=size, white=white, tile=info.tile)


def code_images(data: DataConfig, held_out: bool, source: ImageSource | None = None) -> ImageSet:
    """The images whose codes train the denoiser, or validate it (at most VALIDATION_IMAGES, never
    mirrored).

    Args:
        source: The source, if it is open already.
    """

    from ..data.images import ImageSet
    from ..data.sources import open_source

    source = source or open_source(data, held_out)
    if held_out and len(source) > VALIDATION_IMAGES:
        source = source.subset(spread_over(len(source), VALIDATION_IMAGES))
    return ImageSet(source, dataclasses.replace(data, flip=data.flip and not held_out))


def open_code_images(
    data: DataConfig, accelerator: Accelerator, out: str = "", given: GivenImages | None = None
) -> tuple[DataConfig, tuple[ImageSet, ImageSet], Team]:
    """The settings with the level of white, the training and the validation images, and the
    processes that encode them.

    Args:
        out, given: See :func:`~d3pm_image.recipes.images.open_images`.

    Raises:
        ConfigError: wrong input.
    """
    from ..data.codes import Team

    with accelerator.main_process_first():  # only one process downloads
        data, training, held_out = open_images(data, out, given)
        both = code_images(data, False, training), code_images(data, True, held_out)
    return (
        data,
        both,
        Team(accelerator.process_index, accelerator.num_processes, accelerator.wait_for_everyone),
    )


def cached(images: ImageSet, tokenizer: Tokenizer, tokenizer_sha256: str, cache: str, team: Team) -> Path:
    """Cache folder of images' codes, made by all processes together if it does not exist.

    Raises:
        ConfigError: it cannot be written.
    """
    from ..data.codes import build_cache, cache_key, former_key

    device = next(iter(tokenizer.state_dict().values())).device  # pixels have no parameters

    def encode(batch: Tensor) -> Tensor:
        return tokenizer.encode(from_levels(batch.to(device)))

    try:
        key, former = (f(tokenizer_sha256, images) for f in (cache_key, former_key))
        return build_cache(images, encode, key, cache, quiet=team.rank > 0, team=team, former=former)
    except OSError as error:
        if error.filename is not None and not is_below(error.filename, cache):
            raise  # an image that cannot be read
        hint = f"the code cache cannot be read or written ({error}); name another folder with --cache"
        raise ConfigError("cache", cache or "default", hint) from error


def is_below(path: str, cache: str) -> bool:
    """Whether a file is in the folder of cached codes."""
    from ..cache_folder import cache_root

    place = Path(cache).expanduser() if cache else cache_root() / "codes"
    return Path(os.fsdecode(path)).absolute().is_relative_to(place.absolute())
