"""Embedded labels of several sets, and labels hidden in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..label_sets import LabelSets


class SetEmbedding(nn.Embedding):
    """Labels as :class:`~d3pm_image.label_sets.LabelSets` numbers them, (B,) int64, to the sum (B, D) of the
    embeddings of each set's label or of none of it.

    Args:
        sets: S sets with C_i labels; the weight has Σ (C_i + 1) rows, one set after the other.
        width: D.
    """

    sizes: Tensor
    places: Tensor
    first: Tensor

    def __init__(self, sets: LabelSets, width: int):
        super().__init__(sum(size + 1 for size in sets.sizes), width)
        sizes = torch.tensor(sets.sizes) + 1
        self.register_buffer("sizes", sizes, persistent=False)
        self.register_buffer("places", torch.tensor(sets.places), persistent=False)
        self.register_buffer("first", sizes.cumsum(0) - sizes, persistent=False)

    def forward(self, labels: Tensor) -> Tensor:
        return super().forward(digits_of(labels, self.sizes, self.places) + self.first).sum(-2)


def digits_of(labels: Tensor, sizes: Tensor, places: Tensor) -> Tensor:
    """Labels of each set (B, S) of numbers (B,); of a number beyond the last one, the first set's is beyond
    its labels as well."""
    digits = torch.div(labels[..., None], places, rounding_mode="floor")
    return torch.cat([digits[..., :1], digits[..., 1:] % sizes[1:]], -1)


def with_some_hidden(labels: Tensor, sets: LabelSets, hidden: Tensor) -> Tensor:
    """Numbers (B,) without the labels of the sets that are hidden, (B, S) bool."""
    sizes = torch.tensor(sets.sizes, device=labels.device)
    places = torch.tensor(sets.places, device=labels.device)
    digits = digits_of(labels, sizes + 1, places)
    return (torch.where(hidden, sizes, digits) * places).sum(-1)
