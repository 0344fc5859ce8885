"""The discriminator: its losses by hand, a calm start, and a second network that is saved, resumed, split and shared like the first."""

from __future__ import annotations

import pytest
import torch

from d3pm_image.config import (
    AdversarialConfig,
    ConfigError,
    DataConfig,
    TokenizerLossConfig,
    TokenizerRun,
    TrainConfig,
)
from d3pm_image.tokenizer.discriminator import (
    Discriminator,
    balanced,
    discriminator_loss,
    generator_loss,
    lecam,
    trust,
)

pytestmark = pytest.mark.usefixtures("one_accelerator_a_test")

TINY = AdversarialConfig(weight=0.1, width=8, layers=1)


class Scores(torch.nn.Module):
    """A discriminator that says what it is told: the mean of an image."""

    def __init__(self):
        super().__init__()
        self.register_buffer("anchors", torch.tensor([0.5, -0.25]))

    def forward(self, images):
        return images.mean((1, 2, 3), keepdim=True)


def test_the_losses_by_hand():
    network, values = Scores(), torch.tensor([0.25, 1.5, 0.5, -2.0]).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    images, output = values[:2], values[2:]
    loss, logs = discriminator_loss(network, network, images, output, AdversarialConfig(weight=1, lecam=0))
    hinge = ((0.75 + 0) / 2 + (1.5 + 0) / 2) / 2
    assert float(loss) == pytest.approx(hinge)
    assert float(logs["score_real"]) == pytest.approx(0.875) and float(logs["score_fake"]) == pytest.approx(
        -0.75
    )
    torch.testing.assert_close(
        network.anchors, torch.tensor([0.99 * 0.5 + 0.01 * 0.875, -0.99 * 0.25 - 0.01 * 0.75])
    )
    expected = ((0.25 + 0.3) ** 2 + (1.5 + 0.3) ** 2) / 2 + (0 + (0.4 + 2) ** 2) / 2
    assert float(lecam(images.mean((2, 3)), output.mean((2, 3)), torch.tensor([0.4, -0.3]))) == pytest.approx(
        expected
    )
    network.anchors.copy_(torch.tensor([0.5, -0.25]))
    more, logs = discriminator_loss(network, network, images, output, AdversarialConfig(weight=1, lecam=0.5))
    assert float(more) == pytest.approx(hinge + 0.5 * float(logs["lecam"]))


def test_the_adversarial_loss_teaches_the_output_and_not_the_discriminator():
    torch.manual_seed(0)
    network = Discriminator(TINY, 3)
    output = torch.rand(2, 3, 8, 8, requires_grad=True)
    score = network(output).mean()
    loss = generator_loss(network, output)
    assert float(loss.detach()) == pytest.approx(-float(score.detach()))
    loss.backward()
    assert float(output.grad.abs().sum()) > 0 and all(p.grad is None for p in network.parameters())
    before, output.grad = output.grad, None
    (-score).backward()
    torch.testing.assert_close(before, output.grad)


def pixels_and_losses(rows: int = 3):
    torch.manual_seed(0)
    network, images, output = (
        Discriminator(TINY, 3),
        torch.rand(rows, 3, 8, 8),
        torch.rand(rows, 3, 8, 8, requires_grad=True),
    )
    return output, (output - images).square().mean(), generator_loss(network, output)


def test_a_balanced_adversarial_loss_pulls_as_hard_as_it_was_told_on_every_image():
    output, wanted, against = pixels_and_losses()
    (pull,) = torch.autograd.grad(wanted, output, retain_graph=True)
    loss, factor = balanced(output, wanted, against, 0.25)
    assert float(loss.detach()) == pytest.approx(float(wanted.detach())) and float(factor) > 0
    loss.backward()
    lengths = (output.grad - pull).flatten(1).norm(dim=1) / pull.flatten(1).norm(dim=1)
    torch.testing.assert_close(lengths, torch.full((3,), 0.25))
    assert bool(
        ((output.grad * pull).flatten(1).sum(1) > 0).all()
    )  # a step still lowers the error of every image


@pytest.mark.parametrize(
    "real, fake, expected",
    [(0.0, 0.0, 0.0), (0.2, 0.3, 0.0), (1.0, 0.0, 0.5), (1.0, -1.0, 1.0), (3.0, -2.0, 1.0)],
)
def test_a_discriminator_is_trusted_as_far_as_it_can_tell(real, fake, expected):
    network = Scores()
    network.anchors.copy_(torch.tensor([real, fake]))
    assert trust(network) == expected


def test_an_image_is_balanced_by_itself():
    output, wanted, against = pixels_and_losses()
    balanced(output, wanted, against, 0.25)[0].backward()
    alone = output.detach()[1:2].clone().requires_grad_()
    torch.manual_seed(0)
    network, images = Discriminator(TINY, 3), torch.rand(3, 3, 8, 8)
    balanced(alone, (alone - images[1:2]).square().mean(), generator_loss(network, alone), 0.25)[0].backward()
    torch.testing.assert_close(alone.grad / 3, output.grad[1:2])  # losses are means over images


def test_a_reconstruction_without_error_is_left_alone():
    output = torch.rand(2, 3, 8, 8, requires_grad=True)
    loss, factor = balanced(
        output,
        (output - output.detach()).square().mean(),
        generator_loss(Discriminator(TINY, 3), output),
        0.25,
    )
    loss.backward()
    assert float(factor) == 0 and float(output.grad.abs().max()) == 0


@pytest.mark.parametrize("layers, size", [(1, (8, 8)), (2, (28, 28)), (3, (32, 48))])
def test_scores_are_one_a_patch_and_images_do_not_touch(layers, size):
    network = Discriminator(AdversarialConfig(width=8, layers=layers), 1)
    images = torch.rand(3, 1, *size)
    scores = network(images)
    assert scores.shape == (3, 1, size[0] // 2**layers, size[1] // 2**layers)
    torch.testing.assert_close(network(images[1:2]), scores[1:2])


def test_a_discriminator_learns_to_tell():
    torch.manual_seed(0)
    network = Discriminator(TINY, 1)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    for _ in range(60):
        real = (torch.rand(16, 1, 8, 8) > 0.5).float()
        loss, logs = discriminator_loss(network, network, real, 0.5 * real + 0.25, TINY)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(logs["score_real"]) > 0.5 > -0.5 > float(logs["score_fake"])


def test_the_adversarial_loss_counts_after_the_warm_up_and_rises_evenly():
    config = AdversarialConfig(weight=0.5, start_step=10, warmup_steps=5, ramp_steps=4)
    weights = [config.adversarial_weight(step) for step in range(30)]
    assert weights[:15] == [0.0] * 15
    assert weights[15:20] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5]) and weights[19:] == [0.5] * 11
    assert AdversarialConfig(weight=0.5, warmup_steps=0, ramp_steps=0).adversarial_weight(0) == 0.5
    assert not any(AdversarialConfig().adversarial_weight(step) for step in range(2000))


def test_a_discriminator_too_deep_for_the_images_is_refused():
    data, loss = (
        DataConfig(image_size=16, channels=1),
        TokenizerLossConfig(adversarial=AdversarialConfig(weight=1, layers=4)),
    )
    with pytest.raises(
        ConfigError, match=r"loss\.adversarial\.layers=4: too many for a side of 16 pixels; use at most 3"
    ):
        TokenizerRun(data=data, loss=loss)
    TokenizerRun(data=data, loss=TokenizerLossConfig(adversarial=AdversarialConfig(weight=1, layers=3)))
    with pytest.raises(ConfigError, match="the discriminator has its own"):
        TokenizerRun(
            data=data, loss=TokenizerLossConfig(adversarial=TINY), train=TrainConfig(mixed_precision="fp16")
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"weight": -1.0},
        {"lecam": -1.0},
        {"start_step": -1},
        {"warmup_steps": -1},
        {"ramp_steps": -1},
        {"rate": 0.0},
        {"width": 12},
        {"layers": 0},
    ],
)
def test_impossible_discriminators_are_refused(changes):
    with pytest.raises(ConfigError, match=rf"loss\.adversarial\.{next(iter(changes))}="):
        AdversarialConfig(**changes)
