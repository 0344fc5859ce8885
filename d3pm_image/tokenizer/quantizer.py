"""The network's part between encoder and decoder: features to codes and back, by one of
:mod:`~d3pm_image.tokenizer.quantizers`, always in float32.

vector-quantize-pytorch turns autocast off on CUDA only; under CPU bf16 autocast about 1 % of the nearest
codes change. So the whole quantizer runs in float32 here, channel-last (B, N, D), and projections stay in our
own network: the encoder's last convolution gives what the quantizer takes (``Quantizer.vector_dim``).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..config import check
from ..seeds import Share
from ..types import Tokenizer
from .codebook import AveragesCodebook
from .ema_codebook import Moves
from .quantizers import Quantizer


def need_codes(codes: Tensor, num_codes: int) -> None:
    """Raises ConfigError naming the worst code of a tensor of any shape unless all lie in 0..num_codes -
    1."""
    least, worst = (int(codes.min()), int(codes.max())) if codes.numel() else (0, 0)
    worst = least if least < 0 else worst
    check(0 <= worst < num_codes, "codes", worst, f"codes must lie in 0..{num_codes - 1}")


@torch.no_grad()
def code_vectors(tokenizer: Tokenizer) -> Tensor:
    """What each code of a tokenizer stands for, (K, D), where its weights are."""
    weight = next(iter(tokenizer.state_dict().values()), torch.empty(0))
    every = torch.arange(tokenizer.num_codes, device=weight.device)
    return tokenizer.vectors(every[None, None])[0, :, 0].T


class QuantizerModule(nn.Module):
    """Features (B, D, H, W) to codes (B, H, W) and back.

    Args:
        quantizer: The quantizer with its settings.
        vectors_a_step: Feature vectors of an optimizer step over all processes and accumulation parts, B·N;
            the threshold for reviving a code is ``revive_below`` times the average count ``vectors_a_step /
            K``.
        synchronize: Update the codebook by the features of all processes. The process group must exist before
            the first call.
    """

    vq: Any  # the library's module, of another class for each quantizer

    def __init__(self, quantizer: Quantizer, vectors_a_step: int = 0, synchronize: bool = False):
        super().__init__()
        self.settings, self.synchronize = quantizer, synchronize
        self.vq = quantizer.build(synchronize)
        self.moves = quantizer.moves(self.vq, vectors_a_step, synchronize)

    def forward(self, features: Tensor, share: Share | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Quantize features (B, D, H, W). Returns quantized features (B, D, H, W) with gradients to the
        input, codes (B, H, W) int64, and the quantizer's own loss (scalar, 0 in eval mode; it can be negative
        for lfq and bsq).

        In training a codebook of moving averages is updated after the last part of a step; ``share`` says
        which part this is. Without it the features are a whole step of one process, and codes are revived by
        torch's own generator.

        Raises:
            ConfigError: training on several processes without a share."""
        b, d, h, w = features.shape
        if self.training and self.moves is not None and share is None:
            hint = "a codebook shared by several processes needs share= (StepRandom.share)"
            check(not self.synchronize, "share", None, hint)
            share = Share(0, b, int(torch.randint(2**62, ())))
        with torch.autocast(features.device.type, enabled=False):
            flat = features.float().permute(0, 2, 3, 1).reshape(b, h * w, d)
            quantized, codes, loss = self.settings.quantize(self.vq, flat, self.training, self.synchronize)
            codes = codes.long()
            if self.training and self.moves is not None:
                assert share is not None
                self.moves.add(flat, codes, share)
            # exactly what the codes alone will give, without straight-through arithmetic
            if not self.training:
                quantized, loss = self.settings.vectors(self.vq, codes), flat.new_zeros(())
        quantized = quantized.reshape(b, h, w, d).permute(0, 3, 1, 2)
        return quantized, codes.reshape(b, h, w), loss

    def leave_uncompiled(self) -> None:
        """Call before compiling: the codebook's moves and its start stay outside the graphs. A decorator
        would import the compiler with every model that is loaded."""
        for kind, name in ((Moves, "add"), (AveragesCodebook, "start")):
            method = getattr(kind, name)
            if not getattr(method, "_torchdynamo_disable", False):
                setattr(kind, name, torch.compiler.disable(method))

    def lookup(self, codes: Tensor) -> Tensor:
        """Feature vectors (B, D, H, W) float32 of codes (B, H, W)."""
        with torch.autocast(codes.device.type, enabled=False):
            return self.settings.vectors(self.vq, codes).permute(0, 3, 1, 2)
