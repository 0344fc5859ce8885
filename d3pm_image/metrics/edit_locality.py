"""How far an edit reaches: codes of an image that change although the pixels of their receptive field did
not."""

from __future__ import annotations

from torch import Tensor

from ..devices import exact_device
from ..types import Tokenizer


def far_changes(tokenizer: Tokenizer, images: Tensor, receptive_field: int) -> float:
    """Share of the codes out of reach that change when the left quarter of every image is replaced by that
    of the next.

    Cells whose receptive field has no replaced pixel are out of reach. They change only through statistics
    over the whole image.

    Args:
        tokenizer: In eval mode.
        images: (B, C, h, w), B at least 2, on its device.
        receptive_field: Side in pixels of what a cell sees.

    Raises:
        ValueError: images so small that no cell is out of reach.
    """
    cell, width = tokenizer.downsampling, images.shape[3]
    edited = images.clone()
    edge = width // 4
    edited[..., :edge] = images.roll(1, 0)[..., :edge]
    # the cell's left pixel, less its overhang, is at the edge or beyond
    first = -(-(2 * edge + receptive_field - cell) // (2 * cell))
    if first * cell >= width:
        raise ValueError(
            f"images of {width} pixels have no cell out of reach of an edit of {edge} pixels; a receptive"
            f" field is {receptive_field}"
        )
    before, after = (tokenizer.encode(x)[..., first:] for x in (images, edited))
    return float((before != after).to(exact_device(images.device)).double().mean())
