"""The bidirectional transformer denoiser: (x_t, κ, class) → leave-one-out logits over clean codes.

p(x_0 | x_t) depends on time only through κ_t, so the network is conditioned on κ and not on t: for pure
masking the condition is constant, and the mask schedule may change at inference. It embeds K + 1 tokens and
gives K logits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import DenoiserConfig, Tile, check
from ..label_sets import LabelSets
from ..types import Grid
from .dropout import stream
from .labels import SetEmbedding
from .layers import Block, LevelEmbedding, Places, TokenNorm, modulate, per_image, rotary_table
from .patches import Patches

TOKEN_SCALE = 0.5
"""Standard deviation of new embeddings."""
LEAST_CODE_WIDTH = 8


class Transformer(nn.Module):
    """Denoiser for any grid of codes (rotary positions and position features work at other sizes).

    Args:
        config: Width, depth, heads, cells per token.
        num_codes: K.
        num_classes: C; label C means no label. 0 is an unconditional model.
        tile: Axes along which the grid is a torus: codes rolled along them by a multiple of the patch have
            the same logits, rolled. Places (``config.places``) have no coordinate there.
        label_sets: Where images have a label of each of several sets; C is then the number of their
            combinations, ``label_sets.count``, and the embeddings of an image's labels are added.

    Raises:
        ConfigError: another C than that of the sets.
    """

    def __init__(
        self,
        config: DenoiserConfig,
        num_codes: int,
        num_classes: int,
        tile: Tile = "none",
        label_sets: LabelSets | None = None,
    ):
        super().__init__()
        if label_sets is not None:
            hint = f"the sets of labels have {label_sets.count} combinations"
            check(num_classes == label_sets.count, "num_classes", num_classes, hint)
        self.label_sets = label_sets
        self.config, self.num_codes, self.num_classes, self.tile = config, num_codes, num_classes, tile
        width = config.width
        hidden = -(-int(width * config.mlp_ratio) // 8) * 8
        self.tokens = nn.Embedding(num_codes + 1, config.cell_width)
        self.classes = (
            nn.Embedding(num_classes + 1, width) if label_sets is None else SetEmbedding(label_sets, width)
        )
        self.places = Places(width, tile) if config.places and tile != "both" else None
        self.level = LevelEmbedding(width)
        self.known_level = nn.Linear(width, config.cell_width, bias=False) if config.known_share > 0 else None
        self.blocks = nn.ModuleList(
            Block(width, config.heads, hidden, config.dropout) for _ in range(config.depth)
        )
        self.norm = TokenNorm(width)
        self.modulation = nn.Linear(width, 2 * width)
        self.head = nn.Linear(config.cell_width, num_codes)
        self.patches = (
            Patches(width, config.cell_width, config.patch, config.dropout, tile)
            if config.patch > 1
            else None
        )
        self._initialise()

    def _initialise(self) -> None:
        for embedding in (self.tokens, self.classes):
            nn.init.normal_(embedding.weight, std=TOKEN_SCALE)
        for block in cast("Iterable[Block]", self.blocks):
            for linear in (block.attention.out, block.feed_forward.out):
                nn.init.normal_(linear.weight, std=(2 * self.config.depth * linear.in_features) ** -0.5)
        # zero head: the first prediction is uniform, so the first loss is log K
        for linear in (self.modulation, self.head):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        if self.known_level is not None:
            nn.init.zeros_(self.known_level.weight)

    @property
    def token_levels(self) -> bool:
        """Whether it takes a noise level per token, see :class:`~d3pm_image.types.Denoiser`."""
        return self.known_level is not None

    @torch.no_grad()
    def start_from_codebook(self, vectors: Tensor) -> bool:
        """Token embeddings that keep the distances of the tokenizer's code vectors (K, D): these, centred,
        through a random orthogonal map, on the scale of random embeddings. The mask token keeps its own.

        Returns:
            Whether they were used; fewer than 8 dimensions cannot distinguish many codes.
        """
        wide, narrow = self.tokens.weight.shape[1], vectors.shape[1]
        centred = vectors.float() - vectors.float().mean(0)
        if narrow < LEAST_CODE_WIDTH or not bool(centred.any()):
            return False
        projection = torch.empty(narrow, wide, device=vectors.device)
        nn.init.orthogonal_(projection)  # keeps lengths if the embedding is the wider of the two
        embedded = centred @ projection
        self.tokens.weight[: self.num_codes] = embedded * (TOKEN_SCALE / embedded.std())
        return True

    def hidden(
        self, x_t: Tensor, kappa: Tensor, labels: Tensor, grid: Grid, keys: Tensor | None = None
    ) -> Tensor:
        """Features before the head, (B, N, D), in the order of x_t; D is config.cell_width where a token
        covers several cells. Levels and labels may be more than B: the rest is left out once it has kept
        small products in their usual kernel (precision.py)."""
        check(grid[0] * grid[1] == x_t.shape[1], "grid", grid, f"does not hold {x_t.shape[1]} tokens")
        hint = "this network takes one level per image, (B,); one per token needs denoiser.known_share"
        check(kappa.ndim == 1 or self.token_levels, "kappa", tuple(kappa.shape), hint)
        tokens = self.config.token_grid(grid)
        # a compiler folds the table into the graph by itself
        table = rotary_table.__wrapped__ if torch.compiler.is_compiling() else rotary_table
        exact = torch.float64 if self.head.weight.dtype == torch.float64 else torch.float32
        cos, sin = table(
            tokens, self.config.width // self.config.heads, x_t.device, tile=self.tile, dtype=exact
        )
        level = self.level(kappa if kappa.ndim == 1 else kappa.amin(1))
        condition = F.silu(level + self.classes(labels))
        cells = self.tokens(x_t)
        if self.known_level is not None and kappa.ndim == 2:
            cells = cells + self.known_offset(level, kappa, cells)
        x = cells if self.patches is None else self.patches.tokens(cells, grid)
        if self.places is not None:
            x = x + self.places(tokens)
        layers = (
            None
            if keys is None or not self.config.dropout
            else stream(keys, 2 * len(self.blocks) + 1).unbind(1)
        )
        for number, block in enumerate(self.blocks):
            x = block(x, condition, cos, sin, layers and layers[2 * number : 2 * number + 2])
        shift, scale = per_image(self.modulation(condition), x).chunk(2, -1)
        x = modulate(self.norm(x), shift, scale)
        return (
            x
            if self.patches is None
            else self.patches.cells(x, cells, grid, None if layers is None else layers[-1])
        )

    def known_offset(self, level: Tensor, kappa: Tensor, cells: Tensor) -> Tensor:
        """What known tokens are embedded with besides, like cells (B, N, D): a linear map of the embedding of
        their level, κ = 1, less that of the image's, so that it vanishes where the others are clean as well.

        Args:
            level: (R, D) embedded levels of the images, R ≥ B. kappa: (R, N).
        """
        assert self.known_level is not None
        offset = per_image(self.known_level(self.level(kappa.new_ones(1)) - level), cells)
        known = per_image(kappa == 1, cells)[:, 0, :, None]
        return torch.where(known, offset.to(cells.dtype), cells.new_zeros(()))

    def forward(
        self,
        x_t: Tensor,
        kappa: Tensor,
        labels: Tensor,
        grid: Grid,
        where: Tensor | None = None,
        head: bool = True,
        keys: Tensor | None = None,
    ) -> Tensor:
        """Logits (B, N, K) of x_t (B, N) int64 in 0..K at level kappa, labels (B,) in 0..C, grid (H, W).

        Args:
            kappa: (B,); or (B, N), 1 at known tokens and one level per image at all others, with
                ``known_share`` > 0.
            where: (B, N) bool, the needed positions: the head runs only at these, and logits elsewhere are 0.
                Default all.
            head: False gives the features of :meth:`hidden` instead, for a loss that applies the head itself.
            keys: (B,) int64, a number for every row, from which its dropout masks derive; needed in training
                with dropout, unread otherwise.

        Raises:
            ValueError: the grid does not hold N tokens, config.patch does not divide its sides, or levels per
                token for a network without that input.
        """
        features = self.hidden(x_t, kappa, labels, grid, keys)
        if not head:
            return features
        if where is None or bool(where.all()):
            return self.head(features)
        wanted = self.head(features[where])
        return wanted.new_zeros(*x_t.shape, wanted.shape[-1]).index_put((where,), wanted)
