"""A GPU gives what a processor gives: logits, losses, gradients, codes, images."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from helpers.denoisers import CODES, denoiser_task
from helpers.edits import hole, make_image, model

from d3pm_image.sampling import SAMPLERS
from d3pm_image.training.random import StepRandom


def loss_and_gradients(task, network, batch, device) -> tuple[float, dict[str, torch.Tensor]]:
    """With the noise of a processor, which a GPU does not draw by itself."""
    network = network.to(device)
    random = StepRandom(0, 0, 6, slice(0, 6), torch.device("cpu"))
    moved = {k: v.to(device) for k, v in batch.items()}
    original = StepRandom.uniform, StepRandom.keys
    StepRandom.uniform = lambda self, *shape: original[0](self, *shape).to(device)
    StepRandom.keys = lambda self: original[1](self).to(device)
    try:
        loss = task.loss(network, moved, random)[0]
    finally:
        StepRandom.uniform, StepRandom.keys = original
    loss.backward()
    return float(loss.detach()), {
        n: p.grad.cpu() for n, p in network.named_parameters() if p.grad is not None
    }


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_losses_and_gradients(gpu, share, fused):
    task, batch = denoiser_task(share, fused)
    # its output layers begin at zero
    with torch.no_grad():
        for p in task.model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    loss, gradients = loss_and_gradients(task, copy.deepcopy(task.model), batch(0), torch.device("cpu"))
    other, found = loss_and_gradients(task, copy.deepcopy(task.model), batch(0), gpu)
    assert other == pytest.approx(loss, rel=1e-4)
    assert gradients.keys() == found.keys()
    for name, value in gradients.items():
        torch.testing.assert_close(found[name], value, rtol=2e-3, atol=2e-5)


def test_logits(gpu):
    task, _ = denoiser_task()
    codes = torch.randint(CODES, (64, 16), generator=torch.Generator().manual_seed(1))
    network = task.model.eval()

    def logits(device):
        network.to(device)
        kappa, labels = torch.full((64,), 0.5), torch.zeros(64, dtype=torch.int64)
        with torch.no_grad():
            return network(codes.to(device), kappa.to(device), labels.to(device), (4, 4)).cpu()

    torch.testing.assert_close(logits(gpu), logits(torch.device("cpu")), rtol=1e-3, atol=1e-4)


def share_equal(a, b) -> float:
    return float(np.mean([np.array_equal(np.asarray(x), np.asarray(y)) for x, y in zip(a, b, strict=True)]))


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_samples(gpu, sampler):
    """Image i under a seed is the same on a GPU, except where two codes are as likely to the last digits."""
    pipe = copy.deepcopy(model())
    there = pipe.generate(8, seed=3, steps=4, sampler=sampler)
    here = pipe.to(gpu).generate(8, seed=3, steps=4, sampler=sampler)
    assert share_equal(there, here) >= 0.85
    alone = pipe.generate(8, seed=3, steps=4, sampler=sampler, batch_size=3)
    assert share_equal(alone, here) >= 0.85


def test_an_edit_keeps_what_is_known(gpu):
    pipe, image, mask = copy.deepcopy(model()).to(gpu), make_image(16, 16), hole(16, 16)
    for made in pipe.inpaint(image, mask, variants=3, steps=4, seed=1):
        assert np.array_equal(np.asarray(made)[~mask], np.asarray(image)[~mask])


def test_half_precision_is_near(gpu):
    """Codes of one step's logits: nearly all the same."""
    pipe = copy.deepcopy(model()).to(gpu)
    whole = pipe.generate_codes(32, seed=3, steps=1)
    half = pipe.to(torch.bfloat16).generate_codes(32, seed=3, steps=1)
    assert pipe.precision == "bf16"
    assert float((whole == half).double().mean()) > 0.9
