"""Activations that are computed again give the gradients of those that are kept."""

from __future__ import annotations

import pytest
import torch

from d3pm_image.config import ConfigError, DenoiserConfig, DiffusionRun, TokenizerConfig, TrainConfig
from d3pm_image.denoiser import Transformer
from d3pm_image.denoiser.layers import Block
from d3pm_image.estimate.flops import count, diffusion_loss, imagined
from d3pm_image.recompute import recompute_blocks
from d3pm_image.tokenizer import Autoencoder
from d3pm_image.tokenizer.autoencoder import ResidualBlock


def denoiser_loss(network: Transformer) -> torch.Tensor:
    """With dropout, whose masks derive from keys and not from a generator."""
    x = torch.arange(32).view(2, 16) % 9
    keys, labels = torch.tensor([5, 6]), torch.tensor([0, 1])
    logits = network(x, torch.tensor([0.3, 0.9]), labels, (4, 4), keys=keys)
    return (logits * torch.linspace(-1, 1, logits.numel()).view_as(logits)).sum()


def tokenizer_loss(network: Autoencoder) -> torch.Tensor:
    output, _, commitment = network(torch.linspace(0, 1, 2 * 3 * 64).view(2, 3, 8, 8))
    return output.square().mean() + commitment


def networks():
    torch.manual_seed(0)
    denoiser = Transformer(DenoiserConfig(width=32, depth=2, heads=2, dropout=0.2), 8, 2)
    tokenizer = Autoencoder(TokenizerConfig(width=8, multipliers=(1, 2), blocks=1), 3)
    for network in (denoiser, tokenizer):
        for parameter in network.parameters():  # some begin at zero
            torch.nn.init.normal_(parameter, std=0.1)
    return {
        "denoiser": (denoiser, denoiser_loss, Block),
        "tokenizer": (tokenizer, tokenizer_loss, ResidualBlock),
    }


def gradients(network, loss) -> list[torch.Tensor]:
    network.train()
    network.zero_grad()
    loss(network).backward()
    return [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("name", ["denoiser", "tokenizer"])
def test_gradients_are_the_same_to_the_bit(name, monkeypatch):
    network, loss, kind = networks()[name]
    state = {key: value.clone() for key, value in network.state_dict().items()}
    kept = gradients(network, loss)
    network.load_state_dict(state)  # the codebook moves
    calls, real = [], kind.layers
    monkeypatch.setattr(kind, "layers", lambda self, *inputs: (calls.append(1), real(self, *inputs))[1])
    recompute_blocks(network)
    again = gradients(network, loss)
    blocks = sum(isinstance(module, kind) for module in network.modules())
    assert len(calls) == 2 * blocks
    assert len(kept) == len(again) and all(map(torch.equal, kept, again))
    calls.clear()
    with torch.no_grad():
        loss(network.eval())
    assert len(calls) == blocks


@pytest.mark.integration
def test_a_step_takes_less_memory_and_more_operations():
    costs = []
    for recompute in (False, True):
        config = DiffusionRun(
            denoiser=DenoiserConfig(width=64, depth=5, heads=1),
            train=TrainConfig(batch_size=8, recompute=recompute, mixed_precision="no"),
        )
        with imagined():
            loss = diffusion_loss(config, 16, (8, 8), 2, 8)
            costs.append(count(Transformer(config.denoiser, 16, 2), loss, config.train))
    kept, again = costs
    assert again.peak_bytes < 0.6 * kept.peak_bytes
    # the blocks' forward pass again, which is all of it but the embeddings and the head
    assert again.flops - kept.flops == again.backward_flops - kept.backward_flops
    assert 0.9 * kept.forward_flops < again.flops - kept.flops < kept.forward_flops


def test_a_network_without_blocks_is_named():
    with pytest.raises(ConfigError, match=r"train\.recompute=True: no block of this network"):
        recompute_blocks(torch.nn.Linear(2, 2))
