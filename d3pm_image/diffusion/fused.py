"""Head and loss together, in chunks of positions: all logits of a large vocabulary never exist at once.

The logits of a chunk are computed, its terms and their derivatives taken
(:func:`~d3pm_image.diffusion.terms.token_gradient`), and the gradients of features and head accumulated at
once, so nothing is computed twice: three matrix products, as without fusing. Equal to
``bound_terms(process, linear(hidden), …)`` and ``diffusion_loss`` in value and gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, library
from torch.nn import functional as F

from ..config import check
from .loss import Objective, Terms, posterior_shift
from .process import Process
from .reduction import Statistics, chunk_gradient, chunk_rows, chunk_statistics, folds
from .terms import Coefficients, coefficients, token_gradient, token_terms

LOGITS_AT_ONCE = 1 << 22
ROWS_AT_LEAST, MOST_LOGITS = 256, 1 << 24
"""Matrix products of fewer rows are slow: at K = 65,536 this takes 0.75 of the time of 64 rows. More logits,
67 MB in float32, would take memory that this loss is there to save."""


@library.custom_op("d3pm_image::fused_loss", mutates_args=())
def fused_op(
    hidden: Tensor, weight: Tensor, bias: Tensor, i: Tensor, v: Tensor, masked: Tensor, image: Tensor,
    pack: Tensor, shift: Tensor | None,
    w_bound: Tensor, w_aux: Tensor, discrete: bool, absorbing: bool, smoothing: float, gradients: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """hidden (R, D), weight (K, D), bias (K,) → loss (), bound, auxiliary, correct (R,) and gradients of the
    first three."""
    kind = torch.float64 if hidden.dtype == torch.float64 else torch.float32
    codes = weight.shape[0]
    outputs = [hidden.new_zeros(len(hidden), dtype=d) for d in (kind, kind, torch.bool)]
    total, g_hidden = (
        hidden.new_zeros((), dtype=kind),
        torch.zeros_like(hidden) if gradients else hidden.new_empty(0),
    )
    g_weight, g_bias = (
        torch.zeros_like(p, dtype=kind) if gradients else p.new_empty(0) for p in (weight, bias)
    )
    step = max(
        1,
        min(ROWS_AT_LEAST, MOST_LOGITS // codes),
        LOGITS_AT_ONCE * (1 if hidden.device.type == "cpu" else 8) // codes,
    )
    # unmasked tokens of an absorbing process have no loss: their logits are not computed
    order = masked.nonzero()[:, 0] if absorbing and shift is None else None
    with torch.autocast(hidden.device.type, enabled=False):
        for start in range(0, len(hidden) if order is None else len(order), step):
            rows = slice(start, start + step) if order is None else order[start : start + step]
            h, moved = hidden[rows], None if shift is None else shift[rows]
            z = F.linear(h, weight).to(kind).add_(bias.to(kind))
            if moved is not None:
                z.scatter_add_(-1, v[rows, None], moved[:, None].to(kind))
            c = Coefficients(*pack[:, image[rows]])
            ratio, same = c.ratio.to(kind), v[rows] == i[rows]
            derive = partial(token_gradient, c=c, masked=masked[rows], same=same, discrete=discrete,
                             smoothing=smoothing, w_bound=w_bound[rows], w_aux=w_aux[rows])  # fmt: skip
            g_z, stats = _chunk(z, i[rows], v[rows], ratio, not absorbing, smoothing, gradients, derive)
            values = token_terms(stats, c, masked[rows], same, discrete, smoothing, codes)
            for place, value in zip(outputs, values, strict=True):
                place[rows] = value
            total += (w_bound[rows] * values.bound + w_aux[rows] * values.auxiliary).sum()
            if gradients:
                g_bias += g_z.sum(0)
                g_z = g_z.to(h.dtype)
                g_hidden[rows] = g_z @ weight
                g_weight.addmm_(g_z.t(), h) if h.dtype == kind else g_weight.add_(g_z.t() @ h)
    if order is not None:
        outputs[2] |= ~masked & (v == i)
    bound, auxiliary, correct = outputs
    return total, bound, auxiliary, correct, g_hidden, g_weight.to(weight.dtype), g_bias.to(bias.dtype)


def _chunk(z: Tensor, i: Tensor, v: Tensor, ratio: Tensor, spread: bool, smoothing: float, gradients: bool,
           derive: Callable[[Statistics], Statistics]) -> tuple[Tensor, Statistics]:  # fmt: skip
    """Statistics of z (n, K) and, written over z, its gradient; in pieces that stay in the cache."""
    n, codes = z.shape
    step, mean, fold = chunk_rows(n, codes, z.device), smoothing > 0, folds(ratio)
    pieces = [slice(a, a + step) for a in range(0, n, step)]
    parts = [chunk_statistics(z[p], i[p], v[p], ratio[p], spread, mean, fold) for p in pieces]
    stats = Statistics(*(torch.cat(values) for values in zip(*parts, strict=True)))
    if gradients:
        g = derive(stats)
        g = g._replace(mean=g.mean / codes)
        for p in pieces:
            chunk_gradient(z[p], i[p], v[p], ratio[p], Statistics(*(x[p] for x in g)), spread, mean, z[p])
    return z, stats


@fused_op.register_fake
def _(hidden: Tensor, weight: Tensor, bias: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    gradients = rest[-1]
    kind = torch.float64 if hidden.dtype == torch.float64 else torch.float32
    rows = [hidden.new_empty(hidden.shape[0], dtype=d) for d in (kind, kind, torch.bool)]
    grads = [torch.empty_like(p) if gradients else p.new_empty(0) for p in (hidden, weight, bias)]
    return hidden.new_empty((), dtype=kind), *rows, *grads


def _keep(ctx: Any, inputs: object, output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*output[4:])


def _backward(ctx: Any, g_loss: Tensor, *_: object) -> tuple[Tensor | None, ...]:
    grads = tuple((g * g_loss).to(g.dtype) for g in ctx.saved_tensors)
    return *grads, *([None] * 12)


fused_op.register_autograd(_backward, setup_context=_keep)


def fused_loss(
    process: Process,
    objective: Objective,
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    x_0: Tensor,
    x_t: Tensor,
    t: Tensor,
    unknown: Tensor | None = None,
) -> tuple[Tensor, Terms]:
    """The objective and its terms from the features before the head.

    Args:
        hidden: (B, N, D) features. weight: (K, D) and bias: (K,) of the head. Under autocast products run in
            its type.
        x_0, x_t: (B, N) clean and noisy codes. t: (B,) times. unknown: As in :meth:`Objective.weights`.

    Returns:
        Scalar loss, differentiable once by hidden, weight and bias; terms (B, N) to log, without gradient (at
        unmasked tokens of an absorbing process they are 0 and not computed).

    Raises:
        ConfigError: a process with a kernel, whose terms need all logits.
    """
    hint = "computes the uniform kernel alone; use false"
    check(process.kernel is None, "loss.fused", True, hint)
    (batch, tokens), device = x_0.shape, hidden.device
    c = coefficients(process, t)
    masked = process.is_masked(x_t)
    own = torch.where(masked, x_0, x_t)
    on_bound, on_auxiliary = (w.flatten() for w in objective.weights(process, x_0, x_t, t, unknown))
    shift = posterior_shift(process, x_t, c.bias)
    if torch.is_autocast_enabled(device.type):
        half = torch.get_autocast_dtype(device.type)
        hidden, weight = hidden.to(half), weight.to(half)
    kind = torch.float64 if hidden.dtype == torch.float64 else torch.float32
    image = torch.arange(batch, device=device).repeat_interleave(tokens)
    absorbing = process.schedule.absorbing
    differentiate = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    loss, bound, auxiliary, correct, *_ = fused_op(
        hidden.reshape(-1, hidden.shape[-1]), weight, bias, x_0.flatten(), own.flatten(), masked.flatten(),
        image, torch.stack(tuple(c)),
        None if shift is None or absorbing else shift.flatten(), on_bound.to(kind), on_auxiliary.to(kind),
        process.steps > 0, absorbing,
        objective.label_smoothing, differentiate,
    )  # fmt: skip
    return loss, Terms(*(value.view(batch, tokens) for value in (bound, auxiliary, correct)))
