"""A patch discriminator and its losses: hinge (Lim & Ye 2017), patches (Isola et al. 2017), LeCam
regularisation (Tseng et al. 2021).

The discriminator gives a score for every patch: at least 1 for originals and at most -1 for reconstructions
is what it is trained for, and the tokenizer's loss is minus the score of its reconstructions. It normalises
with GroupNorm, so that images of a batch are independent and processes agree.
The weight of the adversarial loss is ``AdversarialConfig.adversarial_weight``; by default it is relative to
the other terms' gradient, and smaller if the discriminator has learnt little: :func:`balanced`,
:func:`trust`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import AdversarialConfig
from ..pixel_range import to_signed

ANCHOR_DECAY = 0.99
MOST_BALANCE = 1e4


class Discriminator(nn.Module):
    """Scores (B, 1, h/2^L, w/2^L) of images (B, C, h, w) in [0, 1]: high for originals.

    ``anchors`` are moving means of its scores of originals and of reconstructions, for LeCam.
    """

    anchors: Tensor

    def __init__(self, config: AdversarialConfig, channels: int):
        super().__init__()
        layers: list[nn.Module] = []
        for level in range(config.layers):
            width = config.width * 2 ** min(level, 3)
            layers.append(nn.Conv2d(channels, width, 4, stride=2, padding=1))
            layers += [nn.GroupNorm(8, width), nn.LeakyReLU(0.2)] if level else [nn.LeakyReLU(0.2)]
            channels = width
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.GroupNorm(8, channels), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 1, 3, padding=1))
        self.register_buffer("anchors", torch.zeros(2))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(to_signed(images))


def generator_loss(discriminator: Discriminator, output: Tensor) -> Tensor:
    """The tokenizer's adversarial loss, minus the mean score of its reconstructions; gradients reach
    ``output`` alone."""
    fixed = {name: value.detach() for name, value in discriminator.named_parameters()}
    return -torch.func.functional_call(discriminator, fixed, (output,)).float().mean()


def trust(discriminator: Discriminator) -> float:
    """Gate in [0, 1] on the weight of the adversarial loss: how far the moving means of the scores of
    originals and of reconstructions are apart, divided by the 2 that the hinge loss aims at. The gradient of
    a discriminator that cannot distinguish them is noise, and as long as any other."""
    return float(((discriminator.anchors[0] - discriminator.anchors[1]) / 2).clamp(0, 1))


def balanced(output: Tensor, wanted: Tensor, against: Tensor, weight: float) -> tuple[Tensor, Tensor]:
    """Two losses of reconstructions in one, the second with ``weight`` times the gradient of the first, image
    by image (after VQGAN, Esser et al. 2021, equation 7, which balances the gradients of the decoder's last
    layer). To first order a step in the pixels then lowers ``wanted`` whatever ``against`` asks for, as long
    as ``weight`` < 1; and an image's balance does not depend on the others of its batch or process.

    Args:
        output: Reconstructions (B, C, h, w), part of a graph.
        wanted, against: Scalar losses computed from ``output``; their graphs are used up here.
        weight: Ratio of the gradients' lengths.

    Returns:
        A scalar with the value of ``wanted`` and the joint gradient, and the mean factor that ``against`` was
        given.
    """
    (pull,) = torch.autograd.grad(wanted, output)
    (push,) = torch.autograd.grad(against, output)
    lengths = [g.float().flatten(1).norm(dim=1) for g in (pull, push)]
    factor = (weight * lengths[0] / (lengths[1] + 1e-12)).clamp_max(MOST_BALANCE)
    joint = pull.float() + factor[:, None, None, None] * push.float()
    carrier = (output.float() * joint).sum()
    return wanted.detach() + carrier - carrier.detach(), factor.mean()


def discriminator_loss(
    network: nn.Module,
    discriminator: Discriminator,
    images: Tensor,
    output: Tensor,
    config: AdversarialConfig,
    everywhere: Callable[[Tensor], Tensor] = lambda value: value,
    share: float = 1.0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Hinge loss of the discriminator plus LeCam, and values to log. Moves the anchors.

    Args:
        network: The discriminator, or its wrapper for several processes, which is called.
        discriminator: The discriminator itself, which has the anchors.
        images, output: Originals and reconstructions (B, C, h, w); no gradient reaches either.
        config: ``lecam``, the weight of the regularisation.
        everywhere: Mean over processes, so that all hold the same anchors.
        share: Part of a step that these images are, where it is computed in parts; anchors move by as much.
    """
    real, fake = network(torch.cat([images, output.detach().float()])).float().chunk(2)
    loss = 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())
    means = everywhere(torch.stack([real.detach().mean(), fake.detach().mean()]))
    with torch.no_grad():
        discriminator.anchors.lerp_(means, share * (1 - ANCHOR_DECAY))
    values = {"discriminator": loss, "score_real": means[0], "score_fake": means[1]}
    if config.lecam:
        values["lecam"] = lecam(real, fake, discriminator.anchors)
        loss = loss + config.lecam * values["lecam"]
    return loss, values


def lecam(real: Tensor, fake: Tensor, anchors: Tensor) -> Tensor:
    """Mean square of how far scores of originals lie above the moving mean of reconstructions', and the
    reverse: scores are kept from running away from each other (Tseng et al. 2021, equation 4, one-sided as in
    their program)."""
    return F.relu(real - anchors[1]).square().mean() + F.relu(anchors[0] - fake).square().mean()
