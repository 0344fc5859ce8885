"""Images above their reconstructions by a tokenizer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..config import DataConfig, check
from ..config.reconstruct import ReconstructConfig
from ..data.images import ImageSet
from ..data.levels import remembered_white
from ..data.sources import folder, open_source
from ..data.spread import spread_over
from ..editing.canvas import convert_for
from ..editing.image_files.files import open_image_file
from ..imaging import for_viewing, grid_image, to_pil, to_tensor, with_white
from ..tokenizer.folder import TokenizerInfo
from ..types import Tokenizer
from .samples import remembered_data


def read_originals(asked: ReconstructConfig) -> tuple[list[Image.Image], list[str]]:
    """Images of the files that are named, or some of a folder; and notes on the files.

    Raises:
        ConfigError: a file that cannot be read, or would be overwritten.
    """
    if Path(asked.images).is_dir():
        source = folder(asked.images, use_labels=False)
        return [source.load(i) for i in spread_over(len(source), asked.limit).tolist()], []
    files = [open_image_file(name.strip(), "images") for name in asked.images.split(",")]
    hint = "would overwrite an image that is read; choose another name"
    check(all(Path(asked.out).resolve() != f.path.resolve() for f in files), "out", asked.out, hint)
    return [file.image for file in files], [note for file in files for note in file.notes]


def read_set(asked: ReconstructConfig, info: TokenizerInfo) -> Tensor:
    """Images (b, C, h, w) in [0, 1] of a data set, as the tokenizer was trained to see them.

    Raises:
        ConfigError: no such set, missing data, or a model without metadata about its data and no named data.
    """
    if asked.data.source:
        data = DataConfig(source=asked.data.source, root=asked.data.root)
    else:
        hint = "has no record of the data it was trained on; name images, or --data.source"
        check("data" in info.metadata, "model", asked.model, hint)
        data = remembered_data(info.metadata, asked.model, asked.data.root, option="data.root")
    sizes: dict[str, Any] = {"image_size": info.image_size, "channels": info.channels}
    data = dataclasses.replace(data, **sizes)
    source = open_source(data, held_out=asked.data.part == "held_out")
    chosen = spread_over(len(source), asked.limit)
    return ImageSet(source.subset(chosen), data).read(list(range(len(chosen))))


def side_by_side(
    tokenizer: Tokenizer, info: TokenizerInfo, images: Sequence[Image.Image] | Tensor, device: str = "cpu"
) -> tuple[Image.Image, float]:
    """One sheet of images above their reconstructions, up to eight in a row, and the mean squared error.

    Args:
        images: Of any size and mode, or (b, C, h, w) in [0, 1].
    """
    if not isinstance(images, Tensor):
        scaled = [with_white(image, remembered_white(info.metadata)) for image in images]
        images = torch.stack(
            [to_tensor(convert_for(image, info.channels, info.image_size)) for image in scaled]
        )
    batch = images.to(device)
    outputs = torch.cat([tokenizer.decode(tokenizer.encode(part)) for part in batch.split(64)])
    columns, rows = min(8, len(batch)), []
    for start in range(0, len(batch), columns):
        rows += to_pil(batch[start : start + columns]) + to_pil(outputs[start : start + columns])
    return grid_image([for_viewing(image) for image in rows], columns), float(
        (outputs - batch).square().mean()
    )
