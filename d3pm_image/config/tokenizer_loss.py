"""Losses of the tokenizer: errors of pixels, of structure and of a network's features, and a
discriminator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..errors import check, finite
from .data import size_pair
from .worded import worded

PERCEPTUAL = ("efficientnet_lite0", "squeezenet1_1", "alexnet", "vgg16")


@dataclass(frozen=True)
class AdversarialConfig:
    """A discriminator that scores patches of reconstructions; off while weight is 0.

    Args:
        weight: Weight of the adversarial loss in the tokenizer's loss; 0 is off. Try 0.3 if it is adaptive,
            0.05 if not.
        adaptive: Scale the adversarial loss of each image so that its gradient is ``weight`` times the
            gradient of the other terms, and less while the discriminator cannot distinguish; off uses weight
            as it is.
        start_step: Step from which the discriminator trains.
        warmup_steps: Steps that it trains alone before the adversarial loss is used.
        ramp_steps: Steps over which the weight then rises to its full value.
        lecam: Weight of LeCam regularisation of the discriminator; 0 is off.
        rate: Learning rate of the discriminator, as a multiple of train.learning_rate.
        width: Channels of its first layer.
        layers: Number of stride-2 layers; one score per patch of 2**layers pixels.
    """

    weight: float = worded(0.0, "off")
    adaptive: bool = True
    start_step: int = 0
    warmup_steps: int = 500
    ramp_steps: int = 500
    lecam: float = 0.001
    rate: float = 1.0
    width: int = 64
    layers: int = 2

    def __post_init__(self) -> None:
        for name in ("weight", "lecam"):
            value = getattr(self, name)
            hint = "give 0 (off) or a positive weight"
            check(finite(value) and value >= 0, f"loss.adversarial.{name}", value, hint)
        for name in ("start_step", "warmup_steps", "ramp_steps"):
            hint = "give 0 or more steps"
            check(getattr(self, name) >= 0, f"loss.adversarial.{name}", getattr(self, name), hint)
        hint = "give a positive multiple, such as 1"
        check(finite(self.rate) and self.rate > 0, "loss.adversarial.rate", self.rate, hint)
        hint = "use a multiple of 8"
        check(self.width >= 8 and self.width % 8 == 0, "loss.adversarial.width", self.width, hint)
        check(1 <= self.layers <= 6, "loss.adversarial.layers", self.layers, "use 1 to 6 halvings")

    def check_size(self, image_size: int | tuple[int, int]) -> None:
        """Raises ConfigError for images that leave the discriminator fewer than 2 x 2 scores."""
        side = min(size_pair(image_size))
        most = max(1, side.bit_length() - 2)
        hint = f"too many for a side of {side} pixels; use at most {most}"
        check(side >= 2 ** (self.layers + 1), "loss.adversarial.layers", self.layers, hint)

    def adversarial_weight(self, step: int) -> float:
        """Weight of the adversarial loss at a step (from 0): 0 until the discriminator has warmed up, then
        rising linearly."""
        since = step - self.start_step - self.warmup_steps
        return self.weight * min(1.0, (since + 1) / (self.ramp_steps + 1)) if since >= 0 else 0.0


@dataclass(frozen=True)
class TokenizerLossConfig:
    """Loss of reconstructions, of pixels in [0, 1]; every term is a weight times an error, and weight 0
    leaves it out.

    Args:
        l2: Weight of the squared error (times 10, so that typical values are near 1).
        l1: Weight of the absolute error.
        gradient: Weight of the absolute error of differences between neighbouring pixels, at three scales.
        ssim: Weight of 1 - SSIM, the similarity of local structure.
        perceptual: Weight of the squared distance in the features of a trained network.
        perceptual_network: efficientnet_lite0 (pip install 'd3pm-image[perceptual]'), or squeezenet1_1,
            alexnet or vgg16 with weights of your own.
        perceptual_weights: File with the network's weights as torchvision names them; not for
            efficientnet_lite0.
        perceptual_target: features at several depths, or logits: the scores of classes (efficientnet_lite0).
        adversarial: Discriminator.
    """

    l2: float = 1.0
    l1: float = 0.0
    gradient: float = 0.0
    ssim: float = 0.0
    perceptual: float = 0.0
    perceptual_network: Literal["efficientnet_lite0", "squeezenet1_1", "alexnet", "vgg16"] = (
        "efficientnet_lite0"
    )
    perceptual_weights: str = ""
    perceptual_target: Literal["features", "logits"] = "features"
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)

    def __post_init__(self) -> None:
        weights = {name: getattr(self, name) for name in ("l2", "l1", "gradient", "ssim", "perceptual")}
        for name, weight in weights.items():
            hint = "weights must be finite and 0 or more"
            check(finite(weight) and weight >= 0, f"loss.{name}", weight, hint)
        given = tuple(weights[name] for name in ("l2", "l1", "ssim", "perceptual"))
        hint = "give at least one of loss.l2, loss.l1, loss.ssim and loss.perceptual a positive weight"
        check(sum(given) > 0, "loss", given, hint)
        hint = f"use {', '.join(PERCEPTUAL)}"
        check(self.perceptual_network in PERCEPTUAL, "loss.perceptual_network", self.perceptual_network, hint)
        packaged = self.perceptual_network == "efficientnet_lite0"
        hint = "efficientnet_lite0 has its own; leave it empty, or name another loss.perceptual_network"
        check(
            not (packaged and self.perceptual_weights),
            "loss.perceptual_weights",
            self.perceptual_weights,
            hint,
        )
        hint = f"name the file that holds the weights of {self.perceptual_network}"
        check(
            packaged or bool(self.perceptual_weights),
            "loss.perceptual_weights",
            self.perceptual_weights,
            hint,
        )
        hint = "use features or logits"
        check(
            self.perceptual_target in ("features", "logits"),
            "loss.perceptual_target",
            self.perceptual_target,
            hint,
        )
        hint = f"{self.perceptual_network} is used without its classifier; use features"
        check(
            packaged or self.perceptual_target == "features",
            "loss.perceptual_target",
            self.perceptual_target,
            hint,
        )
