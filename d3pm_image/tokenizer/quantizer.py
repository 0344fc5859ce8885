"""The one place that touches vector-quantize-pytorch: features to codes and back, always in float32.

The library turns autocast off on CUDA only; under CPU bf16 autocast about 1 % of the nearest codes change. So
the whole quantizer runs in float32 here, channel-last (B, N, D), and projections stay in our own network: the encoder's last
convolution gives what the quantizer takes (``TokenizerConfig.vector_dim``). A :class:`Kind` is all that one quantizer differs in;
residual quantizers, which give several codes a cell, do not fit a grid of single codes and are left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import TokenizerConfig, need
from ..seeds import Share
from .bits import entropy_loss
from .ema_codebook import Moves

# of soft bits in the entropy loss, for features of about unit size. The library's 400 has no gradient except at 0: after 300 steps on
# Fashion-MNIST (width 32, 512 codes) LFQ had 19.2 dB with it, 20.1 with 20 and 20.2 with 4
SHARPNESS = 4.0


def need_codes(codes: Tensor, num_codes: int) -> None:
    """Raises ConfigError naming the worst code of a tensor of any shape unless all lie in 0..num_codes - 1."""
    least, worst = (int(codes.min()), int(codes.max())) if codes.numel() else (0, 0)
    worst = least if least < 0 else worst
    need(0 <= worst < num_codes, "codes", worst, f"codes must lie in 0..{num_codes - 1}")


class Quantizer(nn.Module):
    """Features (B, D, H, W) to codes (B, H, W) and back, by ``config.quantizer``.

    Args:
        config: Codebook settings.
        vectors_a_step: Feature vectors of an optimizer step over all processes and accumulation parts, B·N; the threshold for
            reviving a code is ``revive_below`` times the average count ``vectors_a_step / K``.
        synchronize: Move the codebook by the features of all processes. The process group must exist before the first call.
    """

    vq: Any  # the library's module, of a class for each kind

    def __init__(self, config: TokenizerConfig, vectors_a_step: int = 0, synchronize: bool = False):
        super().__init__()
        self.config, self.synchronize = config, synchronize
        self.vq = self.kind.build(config, synchronize)
        revive_under = config.revive_below * vectors_a_step / config.num_codes
        cosine = config.quantizer == "cosine"
        self.moves = Moves(self.vq._codebook, config.decay, revive_under, cosine, synchronize) if self.kind.starts else None

    @property
    def kind(self) -> Kind:
        """What this quantizer does; looked up, for its functions have no names that pickle could write down."""
        return KINDS[self.config.quantizer]

    def forward(self, features: Tensor, share: Share | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Quantize features (B, D, H, W). Returns quantized features (B, D, H, W) with gradients to the input,
        codes (B, H, W) int64, and the quantizer's own loss (scalar, 0 in eval mode; it can be negative for lfq and bsq).

        In training a codebook of moving averages moves after the last part of a step; ``share`` says which part this is. Without it the
        features are a whole step of one process, and codes are revived by torch's own generator.

        Raises:
            ConfigError: training on several processes without a share."""
        b, d, h, w = features.shape
        if self.training and self.moves is not None and share is None:
            need(not self.synchronize, "share", None, "several processes move one codebook: say which rows these are (StepRandom.share)")
            share = Share(0, b, int(torch.randint(2**62, ())))
        with torch.autocast(features.device.type, enabled=False):
            flat = features.float().permute(0, 2, 3, 1).reshape(b, h * w, d)
            quantized, codes, loss = self.kind.quantize(self, flat)
            codes = codes.long()
            if self.training and self.moves is not None:
                self.moves.add(flat, codes, share)
            if not self.training:  # exactly what the codes alone will give, without straight-through arithmetic
                quantized, loss = self.kind.vectors(self, codes), flat.new_zeros(())
        quantized = quantized.reshape(b, h, w, d).permute(0, 3, 1, 2)
        return quantized, codes.reshape(b, h, w), loss

    def lookup(self, codes: Tensor) -> Tensor:
        """Feature vectors (B, D, H, W) float32 of codes (B, H, W)."""
        with torch.autocast(codes.device.type, enabled=False):
            return self.kind.vectors(self, codes).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Kind:
    """What one quantizer does.

    Args:
        build: (configuration, synchronize) → the library's module.
        quantize: (quantizer, (B, N, D)) → quantized (B, N, D), codes (B, N), loss.
        vectors: (quantizer, codes of any shape) → (*shape, D).
        starts: True where the codebook must be fitted to features before training.
    """

    build: Callable[[TokenizerConfig, bool], nn.Module]
    quantize: Callable[[Quantizer, Tensor], tuple[Tensor, Tensor, Tensor]]
    vectors: Callable[[Quantizer, Tensor], Tensor]
    starts: bool = False


def averages(config: TokenizerConfig, synchronize: bool) -> nn.Module:
    """A codebook of moving averages (van den Oord et al. 2017, appendix A.1) with k-means start and revived codes; ``cosine``: of unit
    vectors, compared by their angle (Yu et al. 2022, ViT-VQGAN, section 3.2)."""
    from vector_quantize_pytorch import VectorQuantize  # imports for seconds, so only where it is used

    with contextlib.suppress(
        ImportError
    ):  # its only line, of few vectors for many codes, is a line of its source code; callers say that in words
        from loguru import logger

        logger.disable("vector_quantize_pytorch")
    return VectorQuantize(
        dim=config.code_dim,
        codebook_size=config.num_codes,
        decay=config.decay,
        commitment_weight=config.commitment,
        kmeans_init=True,
        kmeans_iters=10,
        threshold_ema_dead_code=0,  # moving.py moves and revives
        rotation_trick=config.rotation_trick,
        use_cosine_sim=config.quantizer == "cosine",
        sync_codebook=synchronize,
    )


def quantize_averages(quantizer: Quantizer, flat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, N, D) → nearest codes of the codebook, straight through or rotated, and the commitment loss."""
    quantized, codes, loss = quantizer.vq(flat, freeze_codebook=True)  # moving.py moves it at the end of the step
    return quantized, codes, loss.sum()


def simple(config: TokenizerConfig, synchronize: bool) -> nn.Module:
    """A fixed random codebook under a learned linear map, which moves all codes at once (Zhu et al. 2024, SimVQ)."""
    from vector_quantize_pytorch import SimVQ

    return SimVQ(
        config.code_dim,
        config.num_codes,
        rotation_trick=config.rotation_trick,
        input_to_quantize_commit_loss_weight=config.commitment,
    )


def finite_scalar(config: TokenizerConfig, synchronize: bool) -> nn.Module:
    """Each coordinate bounded and rounded to one of a few values (Mentzer et al. 2024, FSQ); nothing is learned."""
    from vector_quantize_pytorch import FSQ

    with torch.device("cpu"):  # it asks for a product when it is built, which networks laid out on the meta device cannot answer
        return FSQ(config.levels)


def quantize_scalars(quantizer: Quantizer, flat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, N, D) → rounded coordinates and their codes; no loss."""
    quantized, codes = quantizer.vq(flat)
    return quantized, codes, flat.new_zeros(())


def binary(config: TokenizerConfig, synchronize: bool) -> nn.Module:
    """The sign of each coordinate (Yu et al. 2024, LFQ); ``bsq``: after projection on a sphere (Zhao et al. 2024)."""
    from vector_quantize_pytorch import LFQ

    return LFQ(codebook_size=config.num_codes)


def quantize_bits(quantizer: Quantizer, flat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Signs of ±1 on both kinds: BSQ's sphere has radius √D here, so that the decoder sees numbers of one size."""
    config = quantizer.config
    if config.quantizer == "bsq":
        flat = F.normalize(flat, dim=-1) * flat.shape[-1] ** 0.5
    with torch.no_grad():
        signs, codes, _ = quantizer.vq.eval()(flat)  # its training mode would compute the entropy that bits.py computes
    if not quantizer.training:  # one process may validate alone: it must not wait for the others' share of the entropy
        return signs, codes, flat.new_zeros(())
    loss = config.commitment * F.mse_loss(flat, signs)
    if config.entropy:
        loss = loss + config.entropy * entropy_loss(flat.flatten(0, 1), SHARPNESS, quantizer.synchronize)
    return flat + (signs - flat).detach(), codes, loss


KINDS = {
    "ema": Kind(averages, quantize_averages, lambda q, codes: q.vq.codebook[codes], starts=True),
    "cosine": Kind(averages, quantize_averages, lambda q, codes: q.vq.codebook[codes], starts=True),
    "simvq": Kind(simple, lambda q, flat: q.vq(flat), lambda q, codes: q.vq.codebook[codes]),
    "fsq": Kind(finite_scalar, quantize_scalars, lambda q, codes: q.vq.implicit_codebook[codes]),
    "lfq": Kind(binary, quantize_bits, lambda q, codes: q.vq.codebook[codes]),
    "bsq": Kind(binary, quantize_bits, lambda q, codes: q.vq.codebook[codes]),
}
