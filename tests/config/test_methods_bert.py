"""BERT's configuration gives what its paper writes."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from helpers.methods import method, random_logits, times
from helpers.textbook import (
    K,
    step_matrix,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from d3pm_image.diffusion import bound_terms


def bert_outcomes(code: int) -> list[tuple[float, bool, int]]:
    """(probability, chosen, what the network sees) of one token."""
    replaced = [(0.15 * 0.1 / K, True, j) for j in range(K)]
    return [(0.85, False, code), (0.15 * 0.8, True, K), (0.15 * 0.1, True, code), *replaced]


def fixed_predictor(x_t: Tensor) -> Tensor:
    """Logits (B, N, K) that depend on the whole of x_t (B, N)."""
    mixing = random_logits(x_t.shape[1] * (K + 1), x_t.shape[1] * K, seed=7)
    return (F.one_hot(x_t, K + 1).double().flatten(1) @ mixing).view(*x_t.shape, K)


def bert_loss(x_0: Tensor) -> float:
    """Expected sum over chosen tokens of -log p(x_0 | what the network sees), every outcome enumerated."""
    outcomes = list(itertools.product(*(bert_outcomes(int(code)) for code in x_0)))
    seen = torch.tensor([[token[2] for token in o] for o in outcomes])
    chosen = torch.tensor([[token[1] for token in o] for o in outcomes])
    probability = times(*[math.prod(token[0] for token in o) for o in outcomes])
    entropy = F.cross_entropy(fixed_predictor(seen).transpose(1, 2), x_0.expand_as(seen), reduction="none")
    return float((probability[:, None] * chosen * entropy).sum())


@given(st.tuples(*[st.integers(0, K - 1)] * 3))
@settings(max_examples=5, deadline=None)
def test_bert_loss_has_the_expectation_of_masked_language_modelling(codes):
    """Weights 1 at masks and replaced tokens, P(chosen | unchanged) at the others: the sum over chosen tokens, for any predictor."""
    process, objective = method("bert")
    x_0 = torch.tensor(codes)
    x_t = torch.cartesian_prod(*[torch.arange(K + 1)] * 3)
    table = step_matrix(0.865, 0.015, 0.12)
    probability = table[x_0.expand_as(x_t), x_t].prod(-1)
    one, clean = times(1.0).expand(len(x_t)), x_0.expand_as(x_t)
    terms = bound_terms(process, fixed_predictor(x_t), clean, x_t, one)
    _, weights = objective.weights(process, clean, x_t, one)
    found = float((probability[:, None] * weights * x_t.numel() * terms.auxiliary).sum())
    assert found == pytest.approx(bert_loss(x_0), rel=1e-6)  # 1/9 has seven digits in the file


def test_bert_weighs_kept_tokens_by_the_probability_that_they_were_chosen():
    process, objective = method("bert")
    x_0, x_t, one = torch.tensor([[0, 1, 2]]), torch.tensor([[K, 3, 2]]), times(1.0)
    _, weights = objective.weights(process, x_0, x_t, one)
    kept = 0.15 * (0.1 + 0.1 / K)
    torch.testing.assert_close(3 * weights[0], times(1, 1, kept / (0.85 + kept)), rtol=1e-6, atol=0)


def test_bert_corruption_draws_80_10_10():
    process, _ = method("bert")
    count, generator = 300_000, torch.Generator().manual_seed(0)
    draws = torch.rand(1, count, 3, dtype=torch.float64, generator=generator)
    ours = process.corrupt(torch.full((1, count), 2), times(1.0), draws)[0]
    chosen, kind = torch.rand(2, count, generator=generator)
    code = torch.randint(K, (count,), generator=generator)
    theirs = torch.where(chosen >= 0.15, 2, torch.where(kind < 0.8, K, torch.where(kind < 0.9, code, 2)))
    a, b = (torch.bincount(x, minlength=K + 1).double() / count for x in (ours, theirs))
    assert ((a - b).abs() < 5 * (2 * b * (1 - b) / count).sqrt()).all()
