"""The VQ-VAE (van den Oord et al. 2017): image → residual encoder → quantizer → residual decoder → image.

The first halving is a pixel-unshuffle (and its inverse at the end): it is as good as a full-resolution level
at a fraction of the cost. Levels are norm + SiLU residual blocks without attention, so any image whose sides
the downsampling divides can be encoded. The receptive field of a code is bounded by the convolutions; beyond
it there are only the means and variances that GroupNorm takes over the whole image (``norm: channel`` has
none). editing/receptive.py measures both.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import Tile, TokenizerConfig, check, wraps
from ..devices import Precision
from ..imaging import fill_hidden, hidden_cells
from ..pixel_range import settled_alpha, to_signed
from ..recompute import Recomputable
from ..seeds import Share
from ..torus import TorusConv2d, convolution
from .context import Context
from .quantizer import QuantizerModule, need_codes

if TYPE_CHECKING:
    from .folder import TokenizerInfo


class ChannelNorm(nn.Module):
    """Each position's channels to mean 0 and variance 1, then a gain and a shift per channel: no statistics
    over the image.

    (B, C, H, W) → same (Ba et al. 2016, on channels alone)."""

    def __init__(self, width: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.movedim(1, -1), self.weight.shape, self.weight, self.bias).movedim(-1, 1)


def norm(config: TokenizerConfig, width: int) -> nn.Module:
    """The normalisation that the configuration names, of ``width`` channels."""
    return nn.GroupNorm(8, width) if config.norm == "group" else ChannelNorm(width)


def conv(
    config: TokenizerConfig, tile: Tile, inputs: int, outputs: int, size: int = 3, stride: int = 1
) -> nn.Conv2d:
    """A convolution that keeps the sides (or halves them, stride 2 and size 4), padded by the other border
    along the tiled axes, else as the configuration says."""
    return convolution(inputs, outputs, size, stride, config.padding, tile)


class ResidualBlock(Recomputable):
    """x + conv(silu(norm(conv(silu(norm(x)))))), the last convolution starting at zero. (B, C, H, W) →
    same."""

    def __init__(self, config: TokenizerConfig, width: int, tile: Tile):
        super().__init__()
        self.norm1 = norm(config, width)
        self.conv1 = conv(config, tile, width, width)
        self.norm2 = norm(config, width)
        self.conv2 = conv(config, tile, width, width)
        nn.init.zeros_(self.conv2.weight)
        assert self.conv2.bias is not None
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self.layers, x)

    def layers(self, x: Tensor) -> Tensor:
        """The forward pass."""
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))


class EvenConv2d(TorusConv2d):
    """A convolution before a pixel shuffle by 2 that answers a constant input alike for all four pixels.

    A shuffle gives each of four neighbouring pixels weights of its own, so that areas of one code show a
    pattern of that period. Here the weights of the four have the same sum for every input channel, and the
    same bias, so that flat stays flat, whereas the answers to edges and slopes may differ, as they must.
    Weights and bias are stored as any convolution's; only their common part counts.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, D, H, W) → (B, 4C, H, W)."""
        assert self.bias is not None
        weight = self.weight.unflatten(0, (-1, 4))
        sums = weight.sum((-2, -1), keepdim=True)
        weight = weight - (sums - sums.mean(1, keepdim=True)) / weight[0, 0, 0].numel()
        bias = self.bias.unflatten(0, (-1, 4)).mean(1, keepdim=True).expand(-1, 4)
        return F.conv2d(self.padded(input), weight.flatten(0, 1), bias.flatten(), self.stride)


class SmoothShuffle(nn.Module):
    """A pixel shuffle by 2 and the binomial filter [1, 2, 1]/4 along both sides. (B, 4C, H, W) → (B, C, 2H,
    2W).

    The filter is 0 at the frequencies of a pattern of that period and lets the slow ones pass, as low-pass
    filters after upsampling do elsewhere (Karras et al. 2021, "Alias-Free Generative Adversarial Networks").
    Beyond a border the image is mirrored, which continues the pattern, or goes on at the other border along
    the tiled axes.
    """

    def __init__(self, tile: Tile = "none"):
        super().__init__()
        self.tile = tile

    def forward(self, x: Tensor) -> Tensor:
        """Shuffle, pad each axis in its own way, and average four neighbours twice."""
        rows, columns = wraps(self.tile)
        x = F.pad(F.pixel_shuffle(x, 2), (1, 1, 0, 0), "circular" if columns else "reflect")
        x = F.pad(x, (0, 0, 1, 1), "circular" if rows else "reflect")
        return F.avg_pool2d(F.avg_pool2d(x, 2, 1), 2, 1)


def doubling(config: TokenizerConfig, tile: Tile, inputs: int, outputs: int) -> list[nn.Module]:
    """Layers to twice the sides: (B, D, H, W) → (B, C, 2H, 2W)."""
    if config.upsampling != "even":
        last = SmoothShuffle(tile) if config.upsampling == "smooth" else nn.PixelShuffle(2)
        return [conv(config, tile, inputs, outputs * 4), last]
    layer = EvenConv2d(inputs, outputs * 4, 3, padding=1, padding_mode=config.padding)
    layer.tile = tile
    return [layer, nn.PixelShuffle(2)]


def arrange(network: nn.Module, device: str) -> None:
    """Set the memory format of weights for a type of device: channels last on ``cuda``, which tensor cores
    use directly.

    A CPU gains nothing: time of a training step (width 64, 32 pixels, 16 images, one core of an AMD EPYC,
    side by side) without it over with it, 0.96 in float32 and 0.92 in bf16 with ``norm: group``, 1.02 and
    1.03 with ``norm: channel``. Not measured on a GPU.
    """
    if device == "cuda":
        network.to(memory_format=torch.channels_last)


def encoder(config: TokenizerConfig, channels: int, tile: Tile = "none") -> nn.Sequential:
    """(B, C, h, w) in [-1, 1] → (B, D, h/f, w/f)."""
    stem = 2 if config.downsampling > 1 else 1
    widths = [config.width * m for m in config.multipliers]
    layers: list[nn.Module] = [nn.PixelUnshuffle(stem), conv(config, tile, channels * stem**2, widths[0])]
    for level, width in enumerate(widths):
        if level > 0:
            layers.append(conv(config, tile, widths[level - 1], width, 4, stride=2))
        layers += [ResidualBlock(config, width, tile) for _ in range(config.blocks)]
    layers += [norm(config, widths[-1]), nn.SiLU(), nn.Conv2d(widths[-1], config.quantizer.vector_dim, 1)]
    return nn.Sequential(*layers)


def decoder(config: TokenizerConfig, channels: int, tile: Tile = "none") -> nn.Sequential:
    """(B, D, h/f, w/f) → (B, C, h, w) in about [-1, 1]."""
    stem = 2 if config.downsampling > 1 else 1
    widths = [config.width * m for m in config.multipliers]
    layers: list[nn.Module] = [conv(config, tile, config.quantizer.vector_dim, widths[-1])]
    for level in reversed(range(len(widths))):
        layers += [ResidualBlock(config, widths[level], tile) for _ in range(config.blocks + 1)]
        if level > 0:
            layers += doubling(config, tile, widths[level], widths[level - 1])
    layers += [norm(config, widths[0]), nn.SiLU()]
    if stem == 1:
        return nn.Sequential(*layers, conv(config, tile, widths[0], channels), nn.PixelShuffle(1))
    return nn.Sequential(*layers, *doubling(config, tile, widths[0], channels))


def in_parts(function: Callable[..., Tensor], codes: Tensor, *others: Tensor) -> Tensor:
    """Images of codes (B, H, W), and of other tensors with a row per image, a few at a time on a CPU.

    A convolution adds up in another order for one image than for several; on several threads every number of
    images has its own order, and only an even number of threads treats both images of a pair alike. An image
    must not depend on its batch."""
    if codes.device.type != "cpu" or not len(codes):
        return function(codes, *others)
    given = (codes, *others)
    filled = [torch.cat([x, x[-1:]]) if len(x) % 2 else x for x in given]
    at_once = len(filled[0]) if torch.get_num_threads() == 1 else 2
    parts = zip(*(x.split(at_once) for x in filled), strict=True)
    return torch.cat([function(*part) for part in parts])[: len(codes)]


class Autoencoder(nn.Module):
    """Images (B, C, h, w), float in [0, 1], to codes (B, H, W), int64 in 0..K-1, and back.

    Args:
        config: Network and codebook.
        channels: 1 or 3, or 2 or 4 with alpha (:mod:`~d3pm_image.pixel_range`).
        vectors_a_step, synchronize: See :class:`QuantizerModule`.
        tile: Axes along which images repeat; see :class:`~d3pm_image.config.DataConfig`. Images rolled by
            multiples of the downsampling along them have the same codes, rolled, and the reverse.
    """

    folder: Path | None = None
    """Where it was loaded from."""
    info: TokenizerInfo | None = None
    """Metadata of its folder."""
    precision: Precision = "float32"
    """Of :meth:`decode` and :meth:`complete`: bf16 runs the decoder under autocast. Codes are always found in
    float32."""

    def __init__(
        self,
        config: TokenizerConfig,
        channels: int,
        vectors_a_step: int = 0,
        synchronize: bool = False,
        tile: Tile = "none",
    ):
        super().__init__()
        self.config, self.channels, self.fixed_codes, self.tile = config, channels, False, tile
        self.encoder = encoder(config, channels, tile)
        self.quantizer = QuantizerModule(config.quantizer, vectors_a_step, synchronize)
        self.decoder = decoder(config, channels, tile)
        self.context = Context(config, channels, tile) if config.context else None
        places = [
            i for i, layer in enumerate(self.decoder) if isinstance(layer, (nn.PixelShuffle, SmoothShuffle))
        ]
        self.level_starts = {0, *places[:-1]}  # layers of the decoder that lead to a new level

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """As torch's; the codebook is updated outside the compiled graphs."""
        self.quantizer.leave_uncompiled()
        super().compile(*args, **kwargs)

    @property
    def num_codes(self) -> int:
        """K."""
        return self.config.num_codes

    @property
    def downsampling(self) -> int:
        """Pixels per side of a code cell."""
        return self.config.downsampling

    def grid(self, image_size: int | tuple[int, int]) -> tuple[int, int]:
        """Code grid (H, W) of an image. Raises ConfigError if the downsampling does not divide the sides."""
        return self.config.grid(image_size)

    def receptive_field(self) -> int:
        """Side in pixels of a code's receptive field through the encoder's convolutions, centred on its cell.

        With ``norm: group`` the image's mean and variance reach every code besides."""
        side, spacing = 1, 1  # receptive field of one position, and distance of neighbouring positions
        for layer in self.encoder.modules():
            if isinstance(layer, (nn.Conv2d, nn.PixelUnshuffle)):
                size = layer.kernel_size[0] if isinstance(layer, nn.Conv2d) else layer.downscale_factor
                side += (size - 1) * spacing
                spacing *= layer.stride[0] if isinstance(layer, nn.Conv2d) else layer.downscale_factor
        return side

    def fix_codes(self, fix_decoder: bool = False) -> None:
        """Leave encoder and codebook as they are from now on: the decoder alone learns, and every image keeps
        its codes. With ``fix_decoder`` the context branch alone learns."""
        for part in (self.encoder, self.quantizer, *([self.decoder] if fix_decoder else [])):
            part.requires_grad_(False)
        self.fixed_codes = True
        self.train(self.training)

    def train(self, mode: bool = True) -> Autoencoder:
        """As torch's; fixed codes stay in eval mode."""
        super().train(mode)
        if self.fixed_codes:
            self.encoder.eval()
            self.quantizer.eval()
        return self

    def forward(
        self,
        images: Tensor,
        share: Share | None = None,
        hidden: Tensor | None = None,
        seen: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Training pass: reconstruction (B, C, h, w), not clamped; codes (B, H, W); commitment loss (scalar,
        0 with fixed codes).

        Args:
            images: (B, C, h, w) in [0, 1].
            share: See :meth:`QuantizerModule.forward`.
            hidden: (B, h, w) bool, a region that is repainted, for training of the context branch.
            seen: Images whose codes stand in the cells of that region; None takes ``images``.
        """
        if hidden is not None:
            codes = self.codes_around(images, hidden, images if seen is None else seen)
            return self.fitted(codes, images, ~hidden), codes, images.new_zeros(())
        if self.fixed_codes:
            codes = self.codes(images)
            return self.decoder(self.vectors(codes)) * 0.5 + 0.5, codes, images.new_zeros(())
        quantized, codes, commitment = self.quantizer(self.encoder(to_signed(images)), share)
        return self.decoder(quantized) * 0.5 + 0.5, codes, commitment

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Codes (B, H, W) of images (B, C, h, w) in [0, 1], in float32 and without touching the codebook.

        Raises:
            ValueError: wrong number of channels, or sides that the downsampling does not divide.
        """
        hint = f"give (B, {self.channels}, h, w)"
        check(images.ndim == 4 and images.shape[1] == self.channels, "images", tuple(images.shape), hint)
        self.grid((images.shape[2], images.shape[3]))
        assert not self.training, "encode() in training mode would move the codebook; call eval() first"
        return self.codes(images)

    @torch.no_grad()
    def codes(self, images: Tensor) -> Tensor:
        """:meth:`encode` without input validation (for export)."""
        with torch.autocast(images.device.type, enabled=False):
            return self.quantizer(self.encoder(to_signed(images.float())))[1]

    def codes_around(self, images: Tensor, hidden: Tensor, seen: Tensor) -> Tensor:
        """Codes (B, H, W) as a repaint has them: outside a region those of the images without it, in its
        cells those of the images ``seen``, which stand for drawn ones."""
        around = self.codes(fill_hidden(images, hidden))
        return torch.where(hidden_cells(hidden, self.downsampling), self.codes(seen), around)

    def fitted(self, codes: Tensor, images: Tensor, known: Tensor) -> Tensor:
        """Images (B, C, h, w), not clamped, of codes (B, H, W), fitted to pixels of ``images`` that are
        known, (B, h, w) bool; without a context branch the codes' own."""
        x = self.quantizer.lookup(codes)
        if self.context is None:
            return self.decoder(x) * 0.5 + 0.5
        added = self.context(to_signed(images), known)
        for place, layer in enumerate(self.decoder):
            x = layer(x)
            if place in self.level_starts:
                x = x + added.pop()  # coarsest first
        return x * 0.5 + 0.5

    def vectors(self, codes: Tensor) -> Tensor:
        """Codebook vectors of codes (B, H, W), (B, D, H, W) float32."""
        return self.quantizer.lookup(codes)

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Images (B, C, h, w) float32 in [0, 1] of codes (B, H, W).

        Raises:
            ValueError: a code outside 0..K-1.
        """
        need_codes(codes, self.num_codes)
        with self.cast(codes.device):
            return in_parts(self.images, codes)

    def cast(self, device: torch.device) -> torch.autocast:
        """The precision, as a context, whatever that of the caller."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16")

    @torch.no_grad()
    def complete(self, codes: Tensor, images: Tensor, known: Tensor) -> Tensor:
        """Images (B, C, h, w) float32 in [0, 1] of codes (B, H, W), fitted to the pixels of ``images`` that
        are known. Without a context branch, or where nothing is known, as :meth:`decode`.

        Args:
            images: (B, C, h, w) float in [0, 1]; pixels that are not known are not read.
            known: (B, h, w) bool. What they show is fitted to, not copied.

        Raises:
            ValueError: a code outside 0..K-1, or images or known pixels of another shape.
        """
        need_codes(codes, self.num_codes)
        size = tuple(side * self.downsampling for side in codes.shape[1:])
        shape = (len(codes), self.channels, *size)
        check(images.shape == shape, "images", tuple(images.shape), f"give {shape}, as the codes")
        hint = f"give {(len(codes), *size)}, as the codes"
        check(known.shape == (len(codes), *size), "known", tuple(known.shape), hint)
        with self.cast(codes.device):
            if self.context is None:
                return in_parts(self.images, codes)
            return in_parts(self.fitted_images, codes, images, known)

    @torch.no_grad()
    def fitted_images(self, codes: Tensor, images: Tensor, known: Tensor) -> Tensor:
        """:meth:`complete` without input validation, in the precision of the caller."""
        return settled_alpha(self.fitted(codes, images.float(), known).float().clamp(0, 1))

    @torch.no_grad()
    def images(self, codes: Tensor) -> Tensor:
        """:meth:`decode` without input validation (for export), in the precision of the caller."""
        return settled_alpha((self.decoder(self.quantizer.lookup(codes)).float() * 0.5 + 0.5).clamp(0, 1))
