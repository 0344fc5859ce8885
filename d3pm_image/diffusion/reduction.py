"""Statistics of the logits for the loss, in one pass: the log-normaliser, two gathers and one reduction over
the codes.

For logits z (R, K), x̂ = softmax(z), and for each row a clean code i, an own code v and a ratio r = κ/ρ:

    lse = log Σ_j e^{z_j},   z_i,   z_v,   S = Σ_j log1p(r x̂_j),   top = max_j z_j,   mean = Σ_j z_j / K

A shift may be added to z_v first: it turns posterior logits into leave-one-out logits.

Rows are taken in chunks that stay in the processor's cache, and the backward pass writes the one gradient of
the size of the logits directly; nothing else of that size exists. The operator is opaque to torch.compile, so
it never breaks a graph.

On a CPU the logarithms dominate, so factors are first multiplied in groups of four: with a, b ≥ 0, (1+a)(1+b)
- 1 = a + b + ab has no cancellation, and Σ log1p over K/4 products equals Σ log1p over K terms.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, library

CHUNK_ELEMENTS = {"cpu": 1 << 18}
OTHER_CHUNK = 1 << 26
FOLD_LIMIT = 1e9  # (1 + r/4)^4 stays inside float32


class Statistics(NamedTuple):
    """One value per row, (R,), float32 (float64 for double logits)."""

    lse: Tensor
    z_i: Tensor
    z_v: Tensor
    spread: Tensor
    top: Tensor
    mean: Tensor


def chunk_rows(rows: int, codes: int, device: torch.device) -> int:
    """Rows that are computed at once on a device, so that their temporaries stay small."""
    return max(1, min(rows, CHUNK_ELEMENTS.get(device.type, OTHER_CHUNK) // max(codes, 1)))


def working_type(logits: Tensor) -> torch.dtype:
    """float64 stays, all else is computed in float32."""
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


def log_product(x: Tensor, ratio: Tensor, fold: bool) -> Tensor:
    """Σ_j log1p(r x_j) over the last axis for x (n, K) ≥ 0 and r (n,).

    Factors are multiplied in groups of four: with p = r x, (1+p)(1+p') - 1 = r (x + x' + r x x').
    """
    r = ratio[:, None]
    for _ in range(2 if fold else 0):
        half, odd = divmod(x.shape[-1], 2)
        if odd or half < 8:
            break
        first, second = x[:, :half], x[:, half:]
        x = (second * r).mul_(first).add_(first).add_(second)
    return (x * r).log1p_().sum(-1)


def chunk_statistics(
    z: Tensor, i: Tensor, v: Tensor, ratio: Tensor, spread: bool, mean: bool, fold: bool
) -> Statistics:
    """Statistics of one chunk of logits z (n, K), already in the working type."""
    top = z.amax(-1)
    x = torch.softmax(z, -1)
    nothing = torch.zeros_like(top)
    return Statistics(
        top - x.amax(-1).log(),  # the largest of K probabilities is at least 1/K: no digit is lost
        z.gather(-1, i[:, None])[:, 0],
        z.gather(-1, v[:, None])[:, 0],
        log_product(x, ratio, fold) if spread else nothing,
        top,
        z.mean(-1) if mean else nothing,
    )


def chunk_gradient(
    z: Tensor, i: Tensor, v: Tensor, ratio: Tensor, grads: Statistics, spread: bool, mean: bool, out: Tensor
) -> None:
    """Write ∂/∂z of one chunk into ``out`` (n, K), for gradients (n,) by lse, z_i, z_v, spread and (already
    over K) mean.

    With w = r/(1 + r x̂), ∂S/∂z_k = x̂_k (w_k - Σ_j w_j x̂_j).
    """
    x = torch.softmax(z, -1)
    if spread:
        r = ratio[:, None]
        w = (x * r).add_(1).reciprocal_().mul_(r)
        w.add_((w * x).sum(-1, keepdim=True).neg_()).mul_(grads.spread[:, None]).add_(grads.lse[:, None])
        x.mul_(w)
    else:
        x.mul_(grads.lse[:, None])
    if mean:
        x.add_(grads.mean[:, None])
    x.scatter_add_(-1, i[:, None], grads.z_i[:, None]).scatter_add_(-1, v[:, None], grads.z_v[:, None])
    out.copy_(x)


def folds(ratio: Tensor) -> bool:
    """Whether factors may be multiplied in groups of four: on a CPU, without synchronisation of a device."""
    return ratio.device.type == "cpu" and bool((ratio <= FOLD_LIMIT).all())


def working_chunk(logits: Tensor, rows: slice, v: Tensor, shift: Tensor | None) -> Tensor:
    """Rows of the logits in the working type, shifted at their own codes; the logits themselves are never
    changed."""
    z = logits[rows].to(working_type(logits))
    return z if shift is None else z.scatter_add(-1, v[rows, None], shift[rows, None])


@library.custom_op("d3pm_image::statistics", mutates_args=())
def statistics_op(
    logits: Tensor, i: Tensor, v: Tensor, ratio: Tensor, shift: Tensor | None, spread: bool, mean: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """:func:`statistics` as one operator to torch.compile, in chunks of rows."""
    fold = folds(ratio)
    out = tuple(logits.new_empty(len(logits), dtype=working_type(logits)) for _ in range(6))
    step = chunk_rows(logits.shape[0], logits.shape[1], logits.device)
    for start in range(0, len(logits), step):
        rows = slice(start, start + step)
        values = chunk_statistics(
            working_chunk(logits, rows, v, shift), i[rows], v[rows], ratio[rows], spread, mean, fold
        )
        for place, value in zip(out, values, strict=True):
            place[rows] = value
    return cast("tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]", out)  # range(6)


@statistics_op.register_fake
def _(logits: Tensor, *_: object) -> tuple[Tensor, ...]:
    return tuple(logits.new_empty(logits.shape[0], dtype=working_type(logits)) for _ in range(6))


@library.custom_op("d3pm_image::statistics_gradient", mutates_args=())
def gradient_op(
    logits: Tensor, i: Tensor, v: Tensor, ratio: Tensor, shift: Tensor | None, g_lse: Tensor, g_i: Tensor,
    g_v: Tensor,
    g_s: Tensor, g_mean: Tensor, spread: bool, mean: bool,
) -> Tensor:  # fmt: skip
    """Gradient of :func:`statistics_op` by the logits, in the same chunks."""
    out = torch.empty_like(logits)
    step = chunk_rows(logits.shape[0], logits.shape[1], logits.device)
    for start in range(0, len(logits), step):
        rows = slice(start, start + step)
        grads = Statistics(
            g_lse[rows], g_i[rows], g_v[rows], g_s[rows], g_s[rows], g_mean[rows] / logits.shape[1]
        )
        chunk_gradient(
            working_chunk(logits, rows, v, shift),
            i[rows],
            v[rows],
            ratio[rows],
            grads,
            spread,
            mean,
            out[rows],
        )
    return out


@gradient_op.register_fake
def _(logits: Tensor, *_: object) -> Tensor:
    return torch.empty_like(logits)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: object) -> None:
    logits, i, v, ratio, shift, ctx.spread, ctx.mean = inputs
    ctx.save_for_backward(logits, i, v, ratio, shift)


def _backward(
    ctx: Any, g_lse: Tensor, g_i: Tensor, g_v: Tensor, g_s: Tensor, g_top: Tensor, g_mean: Tensor
) -> tuple[Tensor | None, ...]:
    logits, i, v, ratio, shift = ctx.saved_tensors
    grads = (
        ratio.new_zeros(len(logits)) if g is None else g.contiguous() for g in (g_lse, g_i, g_v, g_s, g_mean)
    )
    return (
        gradient_op(logits, i, v, ratio, shift, *grads, ctx.spread, ctx.mean),
        None,
        None,
        None,
        None,
        None,
        None,
    )


statistics_op.register_autograd(_backward, setup_context=_keep)


def statistics(
    logits: Tensor,
    i: Tensor,
    v: Tensor,
    ratio: Tensor,
    shift: Tensor | None = None,
    spread: bool = True,
    mean: bool = False,
) -> Statistics:
    """Statistics of logits (R, K) for clean codes i (R,), own codes v (R,) and ratios κ/ρ (R,);
    differentiable by the logits.

    Args:
        shift: Added to the logit of the own code, (R,).
        spread: Compute S; pure absorbing processes do not need it.
        mean: Compute the mean logit; label smoothing needs it.
    """
    kind = working_type(logits)
    return Statistics(
        *statistics_op(logits, i, v, ratio.to(kind), None if shift is None else shift.to(kind), spread, mean)
    )
