"""Training objectives: the variational bound, the cross-entropy on the posterior logits, and their weights.

    L = L_T + T · E_t[ KL( q(x_s | x_t, x_0) ‖ p(x_s | x_t) ) ] + λ · CE(π)        s = t - 1/T

(Austin et al. 2021, eq. 1 and 5)

or, in continuous time, the integral of dL/dt in place of the sum (see :mod:`~d3pm_image.diffusion.terms`).
Everything comes from the log-normaliser of the logits, two gathers and one reduction
(:mod:`~d3pm_image.diffusion.reduction`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import DiffusionLossConfig, check
from .kernel_terms import kernel_terms
from .process import Process
from .reduction import statistics
from .terms import Coefficients, coefficients, token_terms

BERT_KEPT = 0.1  # share of BERT's chosen tokens that it leaves as they were


@dataclass(frozen=True)
class Terms:
    """Per-token terms, each (B, N), in nats: ``bound`` is the estimate of the bound without L_T (T·KL, or
    dL/dt); ``auxiliary`` is CE(π), smoothed if asked; ``correct`` tells whether the largest posterior logit
    is the clean code."""

    bound: Tensor
    auxiliary: Tensor
    correct: Tensor


@dataclass(frozen=True)
class Objective:
    """What is minimised: bound · (weighted bound) + auxiliary · (cross-entropy on the posterior logits π),
    nats per token.

    Args:
        bound: Weight of the bound.
        auxiliary: λ, weight of the cross-entropy.
        weighting: Factor on the bound's terms, the same for kept and replaced tokens, with W the weight that
            the bound gives a mask, or a replaced token where the token is unmasked: elbo 1 · clipped min(1,
            cap/W) · min_snr min(1, cap/SNR), SNR = a/(1-a) (Hang et al. 2023) · dynamic 2 cap/W at masks and
            cap/W at unmasked tokens, which leaves kept ones the weight cap ρ/(κ+ρ) (after GIDD, von Rütte et
            al. 2025).
        weight_cap: cap.
        auxiliary_on: all: mean over all tokens · masked: over the masked tokens of each image, then over
            images (MaskGIT, Chang et al. 2022) · bert: masked and replaced tokens weigh 1, others the
            probability that BERT chose them and left them as they were (Devlin et al. 2019); mean over all
            tokens.
        label_smoothing: Share of the target spread over all codes.
    """

    bound: float = 1.0
    auxiliary: float = 0.0
    weighting: str = "elbo"
    weight_cap: float = 1.0
    auxiliary_on: str = "all"
    label_smoothing: float = 0.0

    @classmethod
    def from_config(cls, config: DiffusionLossConfig) -> Objective:
        """The objective that a configuration describes."""
        return cls(
            config.bound, config.auxiliary, config.weighting, config.weight_cap, config.auxiliary_on,
            config.label_smoothing
        )  # fmt: skip

    def check(self, process: Process) -> None:
        """Raises ConfigError where the process cannot carry the objective."""
        schedule = process.schedule
        hint = "a pure uniform process masks nothing; use all"
        check(
            self.auxiliary_on != "masked" or not schedule.uniform,
            "loss.auxiliary_on",
            self.auxiliary_on,
            hint,
        )
        dropped = self.auxiliary_on == "masked" and not self.bound and not schedule.absorbing
        hint = (
            "a loss without the unmasked tokens teaches nothing about random codes; set process.uniform_share"
            " to 0 or use all"
        )
        check(not dropped, "loss.auxiliary_on", self.auxiliary_on, hint)
        hint = (
            "BERT has a single noise level; set process.steps to 1, process.end to 0.135 and"
            " process.uniform_share to 0.1111"
        )
        check(self.auxiliary_on != "bert" or process.steps == 1, "loss.auxiliary_on", self.auxiliary_on, hint)
        plain = process.kernel is None
        hint = "is defined for the uniform kernel alone; use elbo"
        check(plain or self.weighting == "elbo", "loss.weighting", self.weighting, hint)
        hint = "BERT's random codes are uniform; use all"
        check(plain or self.auxiliary_on != "bert", "loss.auxiliary_on", self.auxiliary_on, hint)
        needs_rest = self.label_smoothing > 0 and schedule.absorbing and self.auxiliary_on != "masked"
        hint = "unmasked tokens of an absorbing process are certain; use loss.auxiliary_on masked"
        check(not needs_rest, "loss.label_smoothing", self.label_smoothing, hint)

    def weights(
        self, process: Process, x_0: Tensor, x_t: Tensor, t: Tensor, unknown: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Weights (B, N) float64 of the bound's and the auxiliary terms: the loss is the sum of weight ·
        term. Tokens that were declared known, where ``unknown`` (B, N) is False, have none."""
        masked, same = process.is_masked(x_t), x_t == x_0
        c = coefficients(process, t)
        each = 1 / x_0.numel()
        on_bound = self.bound * each * self._factor(process, c, t, masked)
        if self.auxiliary_on == "masked":
            share = masked.to(torch.float64)
            on_auxiliary = self.auxiliary * share / share.sum(1, keepdim=True).clamp_min(1) / len(x_0)
        elif self.auxiliary_on == "bert":
            on_auxiliary = (
                self.auxiliary
                * each
                * torch.where(same, bert_kept_weight(process, t)[:, None], torch.ones_like(on_bound))
            )
        else:
            on_auxiliary = torch.full_like(on_bound, self.auxiliary * each)
        if unknown is not None:
            return on_bound * unknown, on_auxiliary * unknown
        return on_bound, on_auxiliary

    def _factor(self, process: Process, c: Coefficients, t: Tensor, masked: Tensor) -> Tensor:
        one = torch.ones(masked.shape, dtype=torch.float64, device=masked.device)
        if self.weighting == "elbo":
            return one
        if self.weighting == "min_snr":
            g, kappa = process.schedule.survival(t)
            clean = g * kappa
            return one * (self.weight_cap * (1 - clean) / clean.clamp_min(1e-300)).clamp_max(1)[:, None]
        # one factor for all unmasked tokens of a noise level: a factor that told kept from replaced would
        # depend on x_0 and move the optimum of the bound
        at_mask, at_other, scale, first = (
            value[:, None] for value in (c.at_mask, c.at_other, c.scale, c.first)
        )
        own = scale * torch.where(first > 0, one, torch.where(masked, at_mask, at_other))
        if self.weighting == "clipped":
            return (self.weight_cap / own.clamp_min(1e-300)).clamp_max(1)
        return self.weight_cap * torch.where(masked, 2 * one, one) / own.clamp_min(1e-12)


def bert_kept_weight(process: Process, t: Tensor) -> Tensor:
    """P(chosen | left as it was), (B,): with b, c the random and masked shares, p = (b+c)/0.9 of the tokens
    were chosen and p (0.1 + 0.1/K) look as before; for BERT's 15 % it is .15(.1+.1/K)/(.85+.15(.1+.1/K))."""
    g, kappa = process.schedule.survival(t)
    chosen = (1 - g * kappa) / (1 - BERT_KEPT)
    as_before = chosen * BERT_KEPT + g * (1 - kappa) / process.num_codes
    return as_before / (1 - chosen + as_before)


def low_discrepancy_times(offset: Tensor, batch_size: int, steps: int = 0) -> Tensor:
    """One time per image, stratified over the batch: ((i + offset) mod B)/B-spaced, float64 (B,) in (0, 1].

    Args:
        offset: scalar uniform in [0, 1) shared by the batch (Kingma et al. 2021, variational diffusion
            models).
        batch_size: B.
        steps: T rounds the times up to 1/T … 1; 0 leaves them continuous.
    """
    places = torch.arange(batch_size, dtype=torch.float64, device=offset.device)
    times = 1 - ((places + offset.to(torch.float64)) / batch_size) % 1.0
    return torch.ceil(times * steps).clamp(1, steps) / steps if steps else times


def spread_rows(values: Coefficients, tokens: int) -> Coefficients:
    """(B,) → (B·N,): the coefficients of every token."""
    return Coefficients(*(value.repeat_interleave(tokens) for value in values))


def posterior_shift(process: Process, x_t: Tensor, bias: Tensor) -> Tensor | None:
    """Shift that turns the network's logits at each own code into leave-one-out logits: -ℓ for a posterior
    network, (B, N)."""
    if process.parameterisation != "posterior":
        return None
    bias = bias[:, None].expand(x_t.shape)
    return torch.where(process.is_masked(x_t) | (bias >= 1e4), torch.zeros_like(bias), -bias)


def bound_terms(
    process: Process, logits: Tensor, x_0: Tensor, x_t: Tensor, t: Tensor, label_smoothing: float = 0.0
) -> Terms:
    """Terms of the bound at times t; of a process with a kernel see
    :mod:`~d3pm_image.diffusion.kernel_terms`.

    Args:
        process: K, schedule, T and meaning of the logits.
        logits: (B, N, K) logits; half precision is raised to float32.
        x_0: (B, N) clean codes. x_t: (B, N) noisy codes in 0..K. t: (B,) float64 times in (0, 1].
        label_smoothing: Share of the cross-entropy's target spread over all codes.
    """
    if process.kernel is not None:
        return Terms(*kernel_terms(process, logits, x_0, x_t, t, label_smoothing))
    k, (batch, tokens) = process.num_codes, x_0.shape
    masked, c = process.is_masked(x_t), coefficients(process, t)
    own = torch.where(masked, x_0, x_t)
    shift = posterior_shift(process, x_t, c.bias)
    rows = spread_rows(c, tokens)
    spread = not process.schedule.absorbing
    stats = statistics(
        logits.reshape(-1, k), x_0.flatten(), own.flatten(), rows.ratio,
        None if shift is None else shift.flatten(), spread, label_smoothing > 0
    )  # fmt: skip
    values = token_terms(
        stats, rows, masked.flatten(), (own == x_0).flatten(), process.steps > 0, label_smoothing, k
    )
    return Terms(*(value.view(batch, tokens) for value in values))


def diffusion_loss(
    process: Process,
    objective: Objective,
    terms: Terms,
    x_0: Tensor,
    x_t: Tensor,
    t: Tensor,
    unknown: Tensor | None = None,
) -> Tensor:
    """The objective, a scalar in nats per token (L_T has no gradient and is left out), from terms with its
    label smoothing; ``unknown`` as in :meth:`Objective.weights`."""
    on_bound, on_auxiliary = objective.weights(process, x_0, x_t, t, unknown)
    total = terms.bound.new_zeros(())
    if objective.bound:
        total = total + (on_bound.to(terms.bound.dtype) * terms.bound).sum()
    if objective.auxiliary:
        total = total + (on_auxiliary.to(terms.bound.dtype) * terms.auxiliary).sum()
    return total
