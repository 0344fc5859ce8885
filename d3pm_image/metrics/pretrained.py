"""Features of a network that was trained on other images: for images without classes, where no classifier of their own can be had.

A Fréchet distance in them has the formula of the FID and other features, so its values are no FID and compare among themselves alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..config import TokenizerLossConfig
from ..tokenizer.perceptual import SMALLEST, Perceptual

NAME = f"EfficientNet-Lite0 trained on ImageNet, pooled, shorter side at least {SMALLEST}"


def pretrained_features(device: str = "cpu") -> Callable[[Tensor], Tensor]:
    """uint8 images (B, C, h, w) → (B, 1280) float32 on the CPU: what EfficientNet-Lite0's classes are read from, averaged over places.

    Raises:
        ConfigError: its packages are not installed.
    """
    perceptual = Perceptual(TokenizerLossConfig(perceptual_network="efficientnet_lite0")).to(device)

    @torch.no_grad()
    def features(images: Tensor) -> Tensor:
        prepared = perceptual.prepare(images.to(device).float() / 255)
        return perceptual.network.network.extract_features(prepared).mean((2, 3)).cpu()

    return features
