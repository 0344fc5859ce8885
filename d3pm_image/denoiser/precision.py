"""The denoiser in a chosen precision, with its head only at the needed positions, and with the same result
for an image in batches of any size.

On a CPU a product of few rows uses another kernel, which adds in another order: at 1 to 3 rows on one thread,
up to 11 on two (float32, AVX-512). Products of whole images have enough rows. Those of the condition have one
per image, and the head may be needed at a single position. These few rows are padded to a multiple of
:data:`ROWS`, and only their own results are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from .transformer import Transformer

ROWS = 16
"""Number of rows of a matrix product from which results do not depend on the number of rows."""


@contextmanager
def undisturbed() -> Iterator[None]:
    """Networks that are built in here are float32 on the CPU whatever torch's defaults, and draw nothing from
    its global generator."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(usual)


def filled(rows: Tensor, multiple: int = ROWS) -> Tensor:
    """Rows (n, …), n > 0, padded with copies of the first row to a multiple."""
    return torch.cat([rows, rows[:1].expand(-len(rows) % multiple, *rows.shape[1:])])


def logits_of(
    denoiser: Transformer,
    bf16: bool,
    x_t: Tensor,
    kappa: Tensor,
    labels: Tensor,
    grid: tuple[int, int],
    where: Tensor | None = None,
) -> Tensor:
    """Logits (B, N, K) float32; tensors as in :class:`~d3pm_image.types.Denoiser`.

    Args:
        bf16: Run under autocast to bfloat16.
        where: (B, N) bool, the needed positions: the head runs only at these, and logits elsewhere are 0.
            Default all.
    """
    height, width = denoiser.config.token_grid(grid)
    # a convolution of one image uses another kernel too
    least = max(-(-ROWS // (height * width)), 1 if denoiser.patches is None else 2)
    images = filled(x_t, least) if len(x_t) < least else x_t
    condition = filled(kappa), filled(labels)
    with torch.autocast(x_t.device.type, torch.bfloat16, enabled=bf16):
        if where is None or bool(where.all()):
            return denoiser(images, *condition, grid)[: len(x_t)].float()
        features = denoiser(images, *condition, grid, head=False)[: len(x_t)]
        wanted = features[where]
        wanted = (
            denoiser.head(filled(wanted))[: len(wanted)].float()
            if len(wanted)
            else denoiser.head(wanted).float()
        )
    logits = wanted.new_zeros(*x_t.shape, wanted.shape[-1])
    logits[where] = wanted
    return logits
