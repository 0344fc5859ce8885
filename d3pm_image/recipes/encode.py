"""Images → cached codes, by one process or many, and a tokenizer without the codes that the images do not
use."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..config import DataConfig, TrainConfig, check, trains_nothing
from ..config.encode import Encode
from ..printable import printable
from .arguments import data_settings, tokenizer_name, with_sizes
from .token_cache import cached, open_code_images, open_tokenizer, tokenizer_data

if TYPE_CHECKING:
    from accelerate import Accelerator

    from ..data.codes import CodeSet
    from ..data.objects import Data, GivenImages
    from ..tokenizer import Autoencoder, Palette, Pixels
    from ..tokenizer.folder import TokenizerInfo
    from ..types import Tokenizer


def encode(
    data: Data,
    tokenizer: str | os.PathLike[str] | Autoencoder | Pixels | Palette,
    *,
    image_size: int | tuple[int, int] | None = None,
    channels: Literal[1, 2, 3, 4] | None = None,
    flip: bool | None = None,
    cache: str | os.PathLike[str] = "",
    drop_unused: str | os.PathLike[str] = "",
) -> CodeSet:
    """Write the code cache that :func:`~d3pm_image.recipes.diffusion.train_diffusion` reads. Training would
    write it itself.

    Args:
        data, image_size, channels, flip: As :func:`~d3pm_image.recipes.diffusion.train_diffusion` takes them.
        tokenizer: A tokenizer, its folder, the run that trained it, or pixels:L, palette:N or palette:FILE.
        cache, drop_unused: See :class:`~d3pm_image.config.encode.Encode`.

    Returns:
        The codes of the training images, or those of ``drop_unused`` if that is given; its ``held_out`` are
        the codes of the held-out images.

    Raises:
        ConfigError: wrong input, or a cache that cannot be written.
    """
    name = tokenizer_name(tokenizer)
    shortcuts = {"image_size": image_size, "channels": channels, "flip": flip}
    config, given = data_settings(data, DataConfig(), DataConfig(), shortcuts)
    config = with_sizes(config, given) if trains_nothing(name) else config
    return run(
        Encode(tokenizer=name, data=config, cache=os.fspath(cache), drop_unused=os.fspath(drop_unused)), given
    )


def run(args: Encode, given: GivenImages | None = None) -> CodeSet:
    """Encode training and held-out images.

    Raises:
        ConfigError: wrong input, or a cache that cannot be written.
    """
    from ..data.codes import CodeSet
    from ..tokenizer import Autoencoder
    from ..training.loop import end_training, make_accelerator

    accelerator = make_accelerator(TrainConfig(batch_size=1024 * 1024))
    with accelerator.main_process_first():
        tokenizer, info = open_tokenizer(args, given)
    hint = "only codes of a VQ-VAE can be dropped; leave out drop_unused"
    check(not args.drop_unused or isinstance(tokenizer, Autoencoder), "tokenizer", args.tokenizer, hint)
    tokenizer.to(accelerator.device)
    data = tokenizer_data(args.data, info)
    _, sources, team = open_code_images(data, accelerator, given=given)
    places = [cached(images, tokenizer, info.sha256, args.cache, team) for images in sources]
    if accelerator.is_main_process:
        for name, place in zip(("training", "held-out"), places, strict=True):
            codes = CodeSet(place)
            print(
                f"{name}: {len(codes)} images as {codes.grid[0]}x{codes.grid[1]} codes in"
                f" {printable(place, 0)}"
            )
    if args.drop_unused:
        tokenizer, info = smaller(args, tokenizer, info, places[0], accelerator)
        tokenizer.to(accelerator.device)
        places = [cached(images, tokenizer, info.sha256, args.cache, team) for images in sources]
    end_training(accelerator)
    codes, codes_held_out = (CodeSet(place, augment=False, num_codes=tokenizer.num_codes) for place in places)
    codes.held_out = codes_held_out
    return codes


def smaller(
    args: Encode, tokenizer: Tokenizer, info: TokenizerInfo, place: Path, accelerator: Accelerator
) -> tuple[Tokenizer, TokenizerInfo]:
    """The tokenizer with the codes that a cache uses, saved by the main process and loaded by all."""
    import numpy as np

    from ..data.code_files import CodeFiles
    from ..tokenizer import Autoencoder, load_tokenizer, save_tokenizer
    from ..tokenizer.codebook_pruning import keep_codes

    assert isinstance(tokenizer, Autoencoder)
    if accelerator.is_main_process:
        used = np.zeros(tokenizer.num_codes, bool)
        for block in CodeFiles(place).blocks():
            used[np.unique(block)] = True
        kept = np.flatnonzero(used).tolist()
        metadata = {
            **info.metadata,
            "data": info.metadata.get("data", dataclasses.asdict(args.data.resolved())),
            "kept_codes": kept,
        }
        save_tokenizer(keep_codes(tokenizer, kept), Path(args.drop_unused), info.image_size, metadata)
        print(f"{len(kept)} of {tokenizer.num_codes} codes are used: {printable(args.drop_unused, 0)}")
    accelerator.wait_for_everyone()
    return load_tokenizer(args.drop_unused)
