"""The entropy loss of binary codes: every bit certain, all codes used (Yu et al. 2024, MAGVIT-v2, section
3.1; Zhao et al. 2024, BSQ, section 3.2).

With soft bits p_i = σ(s·u_i) the codes of a feature vector u are independent coins, so their entropy is a sum
over bits. The loss is E[H(code | u)] - H(E[code]): low for each vector, high over the batch. The second term
needs the probability of every code; more than 2^10 of them are taken in groups of bits, whose entropies add
up to an upper bound of the joint one (BSQ, equation 10).

vector-quantize-pytorch has this loss too, but holds vectors × codes numbers for the first term, and under
several processes drops the mean that it asked for; here both processes see the same mean, with its gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

GROUP_BITS = 10


def entropy_loss(features: Tensor, sharpness: float, synchronize: bool) -> Tensor:
    """Scalar, in nats.

    Args:
        features: (N, D) float32, one coordinate per bit.
        sharpness: s; a bit is a coin of probability σ(s·u).
        synchronize: Take the mean over the codes of all processes.
    """
    logits = sharpness * features
    each = coin_entropy(logits).sum(-1).mean()
    parts = -(-logits.shape[1] // GROUP_BITS)
    return each - sum(group_entropy(part, synchronize) for part in logits.chunk(parts, 1))


def coin_entropy(logits: Tensor) -> Tensor:
    """H(σ(x)) in nats, elementwise: softplus(x) - x·σ(x)."""
    return F.softplus(logits) - logits * logits.sigmoid()


def group_entropy(logits: Tensor, synchronize: bool) -> Tensor:
    """Entropy of the mean distribution over the 2^D codes of (N, D) independent coins."""
    count = logits.shape[1]
    bits = (
        torch.arange(2**count, device=logits.device)[:, None] >> torch.arange(count, device=logits.device)
    ) & 1
    mean = (logits @ bits.T.to(logits.dtype) - F.softplus(logits).sum(1, keepdim=True)).exp().mean(0)
    if synchronize:
        from torch.distributed import get_world_size
        from torch.distributed.nn.functional import all_reduce

        mean = all_reduce(mean) / get_world_size()
    return -torch.special.xlogy(mean, mean.clamp_min(1e-20)).sum()
