"""A codebook of moving averages and the search for the nearest code.

vector-quantize-pytorch computes all distances at once, a one-hot row of K numbers per feature, and a product
with it: at K = 4096 that is four fifths of a training step. Here the distances of a part of the features are
computed at a time, few enough for the processor's cache, and codes are looked up. The library still
initialises the codebook (k-means) and rotates gradients; its import takes seconds, and generating images does
not need it.
"""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

AT_ONCE = {"cpu": 2**20, "cuda": 2**26}
"""Distances that are computed at a time; ``python -m benchmarks.speed nearest`` measures others."""
KMEANS_STEPS = 10
SMOOTHING = 1e-5
"""Laplace smoothing of the counts of uses."""


def nearest_codes(vectors: Tensor, codebook: Tensor, unit: bool = False) -> Tensor:
    """The nearest code of each vector, the first of equally near ones.

    Args:
        vectors: (n, D) float32.
        codebook: (K, D) float32.
        unit: Compare by the angle: all vectors have length 1.

    Returns:
        (n,) int64 in 0..K-1.
    """
    # argmin of |e|² - 2 x·e, which is |x - e|² less what all codes have in common
    lengths = codebook.new_zeros(len(codebook)) if unit else codebook.square().sum(1)
    transposed = codebook.T

    def search(part: Tensor) -> Tensor:
        return torch.addmm(lengths, part, transposed, alpha=-2).argmin(1)

    rows = max(1, AT_ONCE.get(vectors.device.type, 2**26) // len(codebook))
    # a graph for any number of images cannot say how many parts there are
    if torch.compiler.is_exporting() or len(vectors) <= rows:
        return search(vectors)
    return torch.cat([search(part) for part in vectors.split(rows)])


class Averages(nn.Module):
    """Moving counts and sums of the features of each code, and the codes that follow from them. The leading
    axis of 1 is that of vector-quantize-pytorch, whose files have it."""

    initted: Tensor
    cluster_size: Tensor
    embed_avg: Tensor
    embed: Tensor

    def __init__(self, num_codes: int, width: int, unit: bool):
        super().__init__()
        self.codebook_size, self.unit = num_codes, unit
        self.register_buffer("initted", torch.tensor(False))
        self.register_buffer("cluster_size", torch.ones(1, num_codes))
        self.register_buffer("embed_avg", torch.zeros(1, num_codes, width))
        self.register_buffer("embed", torch.zeros(1, num_codes, width))

    def update_ema(self) -> None:
        """Compute the codes from the averages."""
        total = self.cluster_size.sum(-1, keepdim=True)
        counts = (self.cluster_size + SMOOTHING) / (total + self.codebook_size * SMOOTHING) * total
        codes = self.embed_avg / counts[..., None]
        self.embed.copy_(F.normalize(codes, dim=-1, eps=1e-6) if self.unit else codes)


class AveragesCodebook(nn.Module):
    """Features to their nearest codes.

    Args:
        num_codes, width: K and D.
        unit: Codes and features are unit vectors.
        commitment: Weight of the loss that keeps features near their codes.
        rotate: Carry gradients through by rotation (Fifty et al. 2024) instead of straight through.
        synchronize: Start the codebook from the features of all processes.
    """

    def __init__(
        self, num_codes: int, width: int, unit: bool, commitment: float, rotate: bool, synchronize: bool
    ):
        super().__init__()
        self.unit, self.commitment, self.rotate, self.synchronize = unit, commitment, rotate, synchronize
        self._codebook = Averages(num_codes, width, unit)

    @property
    def codebook(self) -> Tensor:
        """(K, D)."""
        return self._codebook.embed[0]

    def forward(self, flat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, N, D) → quantized (B, N, D), codes (B, N), and the commitment loss, a scalar; the first
        features start the codebook."""
        x = F.normalize(flat, dim=-1, eps=1e-6) if self.unit else flat
        if not self._codebook.initted:
            self.start(x.detach().flatten(0, 1))
        with torch.no_grad():
            codes = nearest_codes(x.flatten(0, 1), self.codebook, self.unit).unflatten(0, x.shape[:2])
            quantized = self.codebook[codes]
        if not self.training:
            return quantized, codes, flat.new_zeros(())
        loss = F.mse_loss(quantized, x) * self.commitment
        if not flat.requires_grad:
            return quantized, codes, loss
        if self.rotate:
            from vector_quantize_pytorch.vector_quantize_pytorch import rotate_to

            return rotate_to(x, quantized), codes, loss
        return x + (quantized - x).detach(), codes, loss

    @torch.no_grad()
    def start(self, vectors: Tensor) -> None:
        """Fit the codebook to vectors (n, D) by k-means."""
        from vector_quantize_pytorch import vector_quantize_pytorch as library

        # its only log line, of few vectors for many codes, is a line of its source code; callers say that in
        # words
        with contextlib.suppress(ImportError):
            from loguru import logger

            logger.disable("vector_quantize_pytorch")
        together = self.synchronize
        book = self._codebook
        means, counts = library.kmeans(
            vectors[None],
            book.codebook_size,
            KMEANS_STEPS,
            self.unit,
            library.sample_vectors_distributed if together else library.batched_sample_vectors,
            distributed.all_reduce if together else library.noop,
        )
        book.embed_avg.copy_(means * counts[..., None])
        book.cluster_size.copy_(counts)
        book.update_ema()
        book.initted.fill_(True)
