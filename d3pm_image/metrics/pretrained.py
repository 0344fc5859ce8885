"""Features of a network that was trained on other images: for images without classes, for which no classifier
can be trained.

A Fréchet distance in them has the formula of the FID but other features, so its values compare only with each
other.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..config import TokenizerLossConfig
from ..pixel_range import from_levels, on_white
from ..storage import tensors_sha256
from ..tokenizer.perceptual import SMALLEST, EfficientNetLite, Perceptual
from .feature_extractor import FeatureSpace

NAME = "EfficientNet-Lite0 trained on ImageNet, 1280 features"


def pretrained_space(device: str = "cpu") -> FeatureSpace:
    """Features (B, 1280) of uint8 images (B, C, h, w), on white where they have alpha: what
    EfficientNet-Lite0's classes are read from, averaged over places.

    Raises:
        ConfigError: its packages are not installed.
    """
    perceptual = Perceptual(TokenizerLossConfig(perceptual_network="efficientnet_lite0")).to(device)
    lite = perceptual.network
    assert isinstance(lite, EfficientNetLite)

    @torch.no_grad()
    def features(images: Tensor) -> Tensor:
        parts = [perceptual.prepare(from_levels(on_white(part.to(device)))) for part in images.split(100)]
        return torch.cat([lite.network.extract_features(part).mean((2, 3)).cpu() for part in parts])

    preparation = (
        f"shorter side enlarged to {SMALLEST} pixels where it is smaller, bilinear; grey repeated to three"
        " channels"
    )
    return FeatureSpace(features, NAME, tensors_sha256(lite.state_dict()), preparation)
