"""The measured bound against the exact one, its parts and its standard error."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import reference
from helpers.strategies import from_settings

from d3pm_image.diffusion import bound_terms
from d3pm_image.metrics.likelihood import bound_in_bits

CODES, TOKENS, IMAGES = 3, 2, 400


class Fixed(torch.nn.Module):
    """Logits that depend on nothing."""

    def __init__(self, codes: int, scale: float):
        super().__init__()
        self.logits = scale * torch.randn(codes, generator=torch.Generator().manual_seed(5))

    def forward(self, x_t, kappa, labels, grid, where=None):
        return self.logits.expand(*x_t.shape, -1)


def images():
    return torch.randint(CODES, (IMAGES, TOKENS), generator=torch.Generator().manual_seed(0))


def exact_bits(process, denoiser, codes) -> tuple[float, float]:
    """(diffusion + prior, reconstruction) of the bound, by summing over all steps and all x_t of each token."""
    frequency = torch.bincount(codes.flatten(), minlength=CODES).double() / codes.numel()
    logits, rest, first = denoiser.logits, float(process.prior_kl()), 0.0
    for step in range(1, process.steps + 1):
        t = step / process.steps
        matrix = reference.transition(process, 0, t)
        for i in range(CODES):
            for v in range(CODES + 1):
                weight = float(frequency[i] * matrix[i, v])
                if weight > 0:
                    args = (
                        logits[None, None],
                        torch.tensor([[i]]),
                        torch.tensor([[v]]),
                        torch.tensor([t], dtype=torch.float64),
                    )
                    value = weight * float(bound_terms(process, *args).bound) / process.steps
                    first, rest = (first + value, rest) if step == 1 else (first, rest + value)
    return rest / math.log(2), first / math.log(2)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_estimate_is_the_exact_bound_within_its_error(share):
    process, denoiser, codes = (
        from_settings(CODES, corruption="linear", uniform_share=share, steps=12),
        Fixed(CODES, 1.0),
        images(),
    )
    found = bound_in_bits(
        denoiser,
        process,
        lambda k: (codes[k], torch.zeros(len(k), dtype=torch.long)),
        IMAGES,
        (1, TOKENS),
        draws=40,
    )
    rest, first = exact_bits(process, denoiser, codes)
    error = max(found.standard_error, 1e-3)
    assert abs(found.bits - rest - first) < 5 * error
    assert abs(found.reconstruction - first) < 0.01
    assert found.bits == pytest.approx(found.prior + found.reconstruction + found.diffusion)
    assert sum(bits for _, bits in found.by_time) == pytest.approx(found.diffusion)
    assert 0 < found.standard_error < 0.05


def test_a_uniform_guess_costs_log_k_under_masks():
    """Σ_t (1/(tT)) P(masked) log K = log K: the bound of a network that knows nothing."""
    process, codes = from_settings(CODES, corruption="cosine", uniform_share=0.0, steps=0), images()
    found = bound_in_bits(
        Fixed(CODES, 0.0), process, lambda k: (codes[k], torch.zeros(len(k))), IMAGES, (1, TOKENS), draws=40
    )
    assert abs(found.bits - math.log2(CODES)) < 4 * found.standard_error + 5e-3
    assert found.reconstruction == 0


def test_a_single_step_is_all_reconstruction():
    process, codes = from_settings(CODES, corruption="linear", uniform_share=0.2, steps=1), images()
    found = bound_in_bits(
        Fixed(CODES, 0.0), process, lambda k: (codes[k], torch.zeros(len(k))), IMAGES, (1, TOKENS)
    )
    assert found.diffusion == 0
    assert found.reconstruction == pytest.approx(math.log2(CODES), abs=0.05)


def test_the_estimate_repeats_under_its_seed_and_not_under_another():
    process, codes = from_settings(CODES, uniform_share=0.2), images()
    runs = [
        bound_in_bits(
            Fixed(CODES, 1.0), process, lambda k: (codes[k], torch.zeros(len(k))), IMAGES, (1, TOKENS), seed=s
        ).bits
        for s in (1, 1, 2)
    ]
    assert runs[0] == runs[1] != runs[2]
