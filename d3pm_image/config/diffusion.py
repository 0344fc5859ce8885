"""The process, the denoiser, the objective and the sampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import ConfigError, check, finite
from .data import Tile

CURVES = ("linear", "cosine", "offset_cosine", "arccos", "polynomial")  # their formulas: diffusion/curve.py
Corruption = Literal[(*CURVES, "mutual_information", "vq_diffusion", "gidd")]  # type: ignore[valid-type]
Scramble = Literal[("tied", *CURVES)]  # type: ignore[valid-type]


@dataclass(frozen=True)
class ProcessConfig:
    """The corruption process: uniform + absorbing D3PM (Austin et al. 2021) with T steps or in continuous
    time.

    Args:
        corruption: Shape of the share of corrupted tokens over time: linear, cosine (MaskGIT: few clean
            tokens, more often), offset_cosine (multinomial diffusion: many clean tokens), arccos, polynomial,
            mutual_information (D3PM), vq_diffusion (discrete), gidd.
        uniform_share: Share of the corrupted tokens that carry a random code; the rest is masked. 0 is pure
            absorbing, 1 pure uniform. gidd: share of random codes at t = 1/2.
        scramble: tied keeps that share at all times; a curve lets random codes follow it, independent of the
            masks that follow corruption (uniform_share is then the share of unmasked tokens that are random
            at t = 1).
        power: Exponent of polynomial curves.
        end: Share of tokens corrupted at t = 1; less than 1 cannot be sampled from noise (BERT has 0.135).
        steps: Number of time steps T; 0 means continuous time.
        parameterisation: What the network's logits mean: leave_one_out (a token from the others; D3PM,
            multinomial diffusion, UDLM, GIDD) or posterior (a token from all, itself included; VQ-Diffusion).
        kernel: What a random code depends on: uniform (nothing), or the code that it replaces: gaussian
            (likelier the more alike they are) or nearest (one of its nearest codes first). For up to 512
            codes.
        neighbours: Codes that nearest calls near; the distance to the last of them is the width of gaussian.
    """

    corruption: Corruption = "cosine"
    uniform_share: float = 0.1
    scramble: Scramble = "tied"
    power: float = 1.0
    end: float = 1.0
    steps: int = 1000
    parameterisation: Literal["leave_one_out", "posterior"] = "leave_one_out"
    kernel: Literal["uniform", "gaussian", "nearest"] = "uniform"
    neighbours: int = 8

    def __post_init__(self) -> None:
        self._check_kernel()
        hint = f"use one of {', '.join(get_args(Corruption))}"
        check(self.corruption in get_args(Corruption), "process.corruption", self.corruption, hint)
        hint = f"use one of {', '.join(get_args(Scramble))}"
        check(self.scramble in get_args(Scramble), "process.scramble", self.scramble, hint)
        hint = "use leave_one_out or posterior"
        check(
            self.parameterisation in ("leave_one_out", "posterior"),
            "process.parameterisation",
            self.parameterisation,
            hint,
        )
        hint = "give a share in [0, 1], such as 0.1"
        check(0 <= self.uniform_share <= 1, "process.uniform_share", self.uniform_share, hint)
        hint = "give 0 (continuous time) or a number of steps, such as 1000"
        check(self.steps >= 0, "process.steps", self.steps, hint)
        hint = "use 0 (continuous time) rather than more than a million steps"
        check(self.steps <= 1_000_000, "process.steps", self.steps, hint)
        special = self.corruption in ("mutual_information", "vq_diffusion", "gidd")
        hint = "vq_diffusion is a discrete schedule: give at least 2 steps, such as 100"
        check(self.corruption != "vq_diffusion" or self.steps >= 2, "process.steps", self.steps, hint)
        hint = "gidd needs random codes and masks: give a share between 0 and 1, such as 0.1"
        check(
            self.corruption != "gidd" or 0 < self.uniform_share < 1,
            "process.uniform_share",
            self.uniform_share,
            hint,
        )
        hint = f"process.corruption={self.corruption} sets its own random codes; use tied"
        check(self.scramble == "tied" or not special, "process.scramble", self.scramble, hint)
        hint = "give a positive exponent, such as 2"
        check(finite(self.power) and self.power > 0, "process.power", self.power, hint)
        hint = "only polynomial curves have an exponent; leave it out"
        check(
            self.power == 1 or "polynomial" in (self.corruption, self.scramble),
            "process.power",
            self.power,
            hint,
        )
        check(0 < self.end <= 1, "process.end", self.end, "give a share in (0, 1]")
        hint = "works with a plain curve and scramble tied; leave it out"
        check(self.end == 1 or (self.scramble == "tied" and not special), "process.end", self.end, hint)

    def _check_kernel(self) -> None:
        """Raises ConfigError for a kernel that is not known, or does not go with the other settings."""
        kinds = ("uniform", "gaussian", "nearest")
        check(self.kernel in kinds, "process.kernel", self.kernel, "use uniform, gaussian or nearest")
        check(self.neighbours >= 1, "process.neighbours", self.neighbours, "give 1 or more, such as 8")
        if self.kernel == "uniform":
            hint = "the uniform kernel has no neighbours; leave it out"
            check(self.neighbours == 8, "process.neighbours", self.neighbours, hint)
            return
        hint = "moves random codes, and process.uniform_share 0 has none; give a share such as 0.1, or 1"
        check(self.uniform_share > 0, "process.kernel", self.kernel, hint)
        hint = f"process.kernel={self.kernel} works with leave_one_out"
        check(
            self.parameterisation == "leave_one_out",
            "process.parameterisation",
            self.parameterisation,
            hint,
        )


@dataclass(frozen=True)
class DenoiserConfig:
    """The bidirectional transformer: noisy codes, noise level and class to logits over clean codes.

    Args:
        width: Channels D.
        depth: Number of blocks.
        heads: Attention heads; width / heads must be a multiple of 4 (2-D rotary positions).
        mlp_ratio: Hidden width of the gated feed-forward layer, as a multiple of width.
        dropout: Dropout in attention output and feed-forward layers.
        patch: Code cells per side that one token covers; more than 1 for large grids, such as pixels as
            codes. Must divide the sides of the grid.
        places: Give every token its position on the grid. Without it the network has only relative positions,
            and cannot distinguish the cells of a grid of masks.
        known_share: Fraction of the training images in which a region is left clean and declared known. The
            network can then be told which tokens of an image to complete are certain. 0 leaves this input
            out, and the network takes known tokens for as uncertain as the drawn ones around them.
    """

    width: int = 256
    depth: int = 6
    heads: int = 4
    mlp_ratio: float = 2.667
    dropout: float = 0.0
    patch: int = 1
    places: bool = True
    known_share: float = 0.0

    def __post_init__(self) -> None:
        check(self.width >= 8, "denoiser.width", self.width, "use at least 8")
        check(1 <= self.depth <= 512, "denoiser.depth", self.depth, "use 1 to 512 blocks")
        hint = f"must divide denoiser.width={self.width}"
        check(self.heads >= 1 and self.width % self.heads == 0, "denoiser.heads", self.heads, hint)
        hint = f"width / heads = {self.width // self.heads} must be a multiple of 4 for 2-D rotary positions"
        check((self.width // self.heads) % 4 == 0, "denoiser.heads", self.heads, hint)
        hint = "give a positive ratio, such as 2.667"
        check(finite(self.mlp_ratio) and self.mlp_ratio > 0, "denoiser.mlp_ratio", self.mlp_ratio, hint)
        check(0 <= self.dropout < 1, "denoiser.dropout", self.dropout, "give a rate in [0, 1)")
        check(self.patch >= 1, "denoiser.patch", self.patch, "use 1 (one token per cell) or more, such as 2")
        hint = "give a share in [0, 1], such as 0.5"
        check(0 <= self.known_share <= 1, "denoiser.known_share", self.known_share, hint)

    @property
    def cell_width(self) -> int:
        """Channels of a cell, at the embedding and at the head: width, or about width / patch if a token
        covers several cells."""
        return self.width if self.patch == 1 else -(-self.width // (8 * self.patch)) * 8

    def rolls(self, tile: Tile) -> Tile:
        """Axes along which rolled codes teach something: where a token covers several cells. Tokens of one
        cell are alike wherever they lie on a torus."""
        return tile if self.patch > 1 else "none"

    def token_grid(self, grid: tuple[int, int]) -> tuple[int, int]:
        """(H/p, W/p) tokens of (H, W) cells. Raises ConfigError if the patch does not divide the sides."""
        height, width = grid
        if height % self.patch or width % self.patch:
            fitting = ", ".join(str(p) for p in range(1, min(grid) + 1) if height % p == 0 and width % p == 0)
            raise ConfigError(
                "denoiser.patch",
                self.patch,
                f"does not divide the {height}x{width} grid of codes; use one of {fitting}",
            )
        return height // self.patch, width // self.patch


@dataclass(frozen=True)
class DiffusionLossConfig:
    """The training objective, in nats per token: bound · (variational bound) + auxiliary · (cross-entropy on
    the posterior logits).

    Args:
        bound: Weight of the D3PM variational bound.
        auxiliary: Weight λ of the auxiliary cross-entropy (Austin et al. 2021, eq. 5), on the posterior
            logits.
        weighting: Weights of the bound over noise: elbo (the bound itself), clipped (at masks and at replaced
            tokens no more than weight_cap), min_snr (by min(1, weight_cap/SNR)), dynamic (GIDD: 2, 1 and
            nearly 0 times weight_cap at masked, replaced and kept tokens).
        weight_cap: The cap of clipped, min_snr and dynamic.
        auxiliary_on: Tokens of the cross-entropy: all, masked (MaskGIT; mean over an image's masks) or bert
            (masked and replaced, and a tenth of the chosen ones left as they were).
        label_smoothing: Fraction of the cross-entropy's target that is distributed over all codes (MaskGIT:
            0.1).
        label_dropout: Fraction of training images whose label is hidden, for classifier-free guidance.
        set_dropout: With several sets of labels, fraction of training images whose label of one set is hidden
            besides, so that labels may be asked for alone: one number, or one for each set, such as
            group=0.1,style=0.3.
        fused: Compute the head and the loss together, in chunks that never hold all logits: for thousands of
            codes.
    """

    bound: float = 0.2
    auxiliary: float = 1.0
    weighting: Literal["elbo", "clipped", "min_snr", "dynamic"] = "elbo"
    weight_cap: float = 1.0
    auxiliary_on: Literal["all", "masked", "bert"] = "all"
    label_smoothing: float = 0.0
    label_dropout: float = 0.1
    set_dropout: float | str = 0.1
    fused: bool = False

    def __post_init__(self) -> None:
        weights = (self.bound, self.auxiliary)
        hint = "weights must be finite and 0 or more"
        check(finite(sum(weights)) and min(weights) >= 0, "loss", weights, hint)
        hint = "give at least one of loss.bound and loss.auxiliary a positive weight"
        check(sum(weights) > 0, "loss", weights, hint)
        hint = "use elbo, clipped, min_snr or dynamic"
        check(
            self.weighting in ("elbo", "clipped", "min_snr", "dynamic"),
            "loss.weighting",
            self.weighting,
            hint,
        )
        hint = "give a positive number, such as 1"
        check(finite(self.weight_cap) and self.weight_cap > 0, "loss.weight_cap", self.weight_cap, hint)
        hint = "use all, masked or bert"
        check(self.auxiliary_on in ("all", "masked", "bert"), "loss.auxiliary_on", self.auxiliary_on, hint)
        hint = "give a share in [0, 1), such as 0.1"
        check(0 <= self.label_smoothing < 1, "loss.label_smoothing", self.label_smoothing, hint)
        hint = "give a share in [0, 1], such as 0.1"
        check(0 <= self.label_dropout <= 1, "loss.label_dropout", self.label_dropout, hint)
