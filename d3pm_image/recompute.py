"""Recomputing activations in the backward pass instead of keeping them (Chen et al. 2016): the memory of one
block instead of all, for about a third more operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .errors import check


class Recomputable(nn.Module):
    """A block of a network. ``recompute`` says whether training computes its activations again."""

    recompute = False

    def run(self, layers: Callable[..., Tensor], *inputs: Any) -> Tensor:
        """The output of ``layers``, the block's own forward pass; it must draw nothing from a generator."""
        if self.recompute and self.training and torch.is_grad_enabled():
            return checkpoint(layers, *inputs, use_reentrant=False, preserve_rng_state=False)
        return layers(*inputs)


def recompute_blocks(network: nn.Module) -> None:
    """Let all blocks of a network compute their activations again.

    Raises:
        ConfigError: it has no block that can.
    """
    blocks = [module for module in network.modules() if isinstance(module, Recomputable)]
    hint = "no block of this network can compute its activations again; leave it out"
    check(bool(blocks), "train.recompute", True, hint)
    for block in blocks:
        block.recompute = True
