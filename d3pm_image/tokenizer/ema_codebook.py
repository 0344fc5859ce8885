"""The codebook's update in training: moving averages of the features of each code in a step, and new vectors
for unused codes.

    n_k ← γ n_k + (1 - γ) Σ 1[code = k],    m_k ← γ m_k + (1 - γ) Σ x 1[code = k],    e_k = m_k / n_k

(van den Oord et al. 2017, appendix A.1)

with counts smoothed as in the library, whose buffers these are. The sums run over the whole step: all
accumulation parts and all processes, in float64, so that the order of addition does not matter. A code whose
n_k fell under a threshold is set to a feature vector of the step, the k-th of a random order that derives
from the step's seed: again the same for any number of processes and parts.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, distributed
from torch.nn import functional as F

from ..seeds import Share


class Codebook(Protocol):
    """The library's module: ``codebook_size`` K, buffers cluster_size (1, K), embed_avg and embed (1, K,
    D)."""

    codebook_size: int
    cluster_size: Tensor
    embed_avg: Tensor
    embed: Tensor

    def update_ema(self) -> None:
        """Make the codes of the averages."""


class Moves:
    """Sums of a step on their way to the codebook.

    Args:
        codebook: The codebook to update.
        decay: γ.
        revive_under: Count n_k under which a code is revived; 0 is never.
        unit: Codes and features are unit vectors (cosine similarity).
        synchronize: Add up over processes.
    """

    def __init__(self, codebook: Codebook, decay: float, revive_under: float, unit: bool, synchronize: bool):
        self.codebook, self.decay, self.revive_under = codebook, decay, revive_under
        self.unit, self.synchronize, self.rows = unit, synchronize, 0
        self.sums: Tensor | None = None  # of the step under way

    @torch.no_grad()
    def add(self, flat: Tensor, codes: Tensor, share: Share) -> None:
        """Add a part of a step, features (B, N, D) and their codes (B, N); after the last part of this
        process's share the codebook moves.

        A step that was given up before its last part leaves nothing behind: the first part of the next one
        starts from zero.
        """
        rows, tokens, d = flat.shape
        own = share.total // (distributed.get_world_size() if self.synchronize else 1)
        x = (F.normalize(flat.detach(), dim=-1) if self.unit else flat.detach()).reshape(-1, d).double()
        k = self.codebook.codebook_size
        if share.first % own == 0:
            self.rows, self.sums = 0, x.new_zeros(k, 2 * d + 1)
        sums = self.sums
        assert sums is not None, "the first part of a step must come first"
        sums[:, :d].index_add_(0, codes.reshape(-1), x)
        sums[:, d].index_add_(0, codes.reshape(-1), x.new_ones(len(x)))
        order = self._order(k, share.total * tokens, share.seed) if self.revive_under else None
        if order is not None:
            start = share.first * tokens
            mine = ((order >= start) & (order < start + len(x))).nonzero()[:, 0]
            sums[mine.to(x.device), d + 1 :] = x[(order[mine] - start).to(x.device)]
        self.rows += rows
        if self.rows == own:
            if self.synchronize:
                distributed.all_reduce(sums)
            self._move(
                sums[:, :d],
                sums[:, d],
                sums[:, d + 1 :],
                None if order is None else order < share.total * tokens,
            )
            self.rows, self.sums = 0, None

    @staticmethod
    def _order(num_codes: int, vectors: int, seed: int) -> Tensor:
        """For every code the number of the vector of the step that would revive it, on the CPU, each vector
        once; numbers from ``vectors`` on mean none."""
        return torch.randperm(max(num_codes, vectors), generator=torch.Generator().manual_seed(seed))[
            :num_codes
        ]

    def _move(self, sums: Tensor, counts: Tensor, places: Tensor, able: Tensor | None) -> None:
        """Averages, codes, and codes that come back; sums and places (K, D), counts and able (K,)."""
        book = self.codebook
        for buffer, value in ((book.cluster_size[0], counts), (book.embed_avg[0], sums)):
            buffer.lerp_(value.to(buffer.dtype), 1 - self.decay)
        book.update_ema()
        if able is None:
            return
        dead = (book.cluster_size[0] < self.revive_under) & able.to(counts.device)
        places, column = places.to(book.embed.dtype), dead[:, None]
        book.embed[0].copy_(torch.where(column, places, book.embed[0]))
        book.embed_avg[0].copy_(torch.where(column, places * self.revive_under, book.embed_avg[0]))
        book.cluster_size[0].masked_fill_(dead, self.revive_under)
