"""The process and its loss compile without graph breaks."""

from __future__ import annotations

import pytest
import torch
from helpers.marks import slow
from helpers.strategies import from_settings
from helpers.tensors import f64

from d3pm_image.diffusion import (
    Objective,
    bound_terms,
    diffusion_loss,
    fused_loss,
    leave_one_out_logits,
    posterior,
    posterior_logits,
    reverse_leave_one_out,
    reverse_mixture,
)


def everything(process, objective, hidden, weight, bias, x_0, t, s, draws):
    """The whole package in one function: corruption, jumps, both losses, posteriors, prior."""
    x_t = process.jump(process.corrupt(x_0, s, draws), s, t, draws)
    logits = torch.nn.functional.linear(hidden, weight, bias)
    plain = diffusion_loss(process, objective, bound_terms(process, logits, x_0, x_t, t), x_0, x_t, t)
    fused, _ = fused_loss(process, objective, hidden, weight, bias, x_0, x_t, t)
    x_hat = leave_one_out_logits(process, logits, x_t, process.schedule.survival(t)[1]).softmax(-1)
    reverse = reverse_leave_one_out(process, x_hat, x_t, t, s) + reverse_mixture(process, x_hat, x_t, t, s)
    exact = posterior(process, x_0, x_t, t, s)
    noise = process.prior(draws[..., :2]).double()
    return (
        plain
        + fused
        + reverse.mean()
        + exact.mean()
        + noise.mean()
        + posterior_logits(process, logits, x_t, t).mean()
        + process.prior_kl()
    )


FIRST = {"corruption": "linear", "uniform_share": 0.1}
OTHERS = [
    {"corruption": "cosine", "uniform_share": 0.0, "steps": 0},
    {"uniform_share": 1.0},
    {"corruption": "mutual_information", "uniform_share": 0.2},
    {"corruption": "gidd", "steps": 0},
    {"corruption": "vq_diffusion"},
]
LAST = {
    "corruption": "arccos",
    "scramble": "polynomial",
    "power": 2.0,
    "uniform_share": 1.0,
    "parameterisation": "posterior",
}


@pytest.mark.parametrize("settings_", [FIRST, *map(slow, [LAST, *OTHERS])], ids=str)
def test_process_and_loss_compile_without_graph_breaks(settings_):
    """fullgraph=True raises at any break; values and gradients equal the eager ones."""
    process, objective = from_settings(6, **settings_), Objective(0.7, 0.3, "clipped", 2.0)
    generator = torch.Generator().manual_seed(0)
    leaves = [
        torch.randn(*shape, generator=generator, requires_grad=True) for shape in ((2, 5, 8), (6, 8), (6,))
    ]
    x_0, draws = (
        torch.randint(6, (2, 5), generator=generator),
        torch.rand(2, 5, 3, generator=generator, dtype=torch.float64),
    )
    args = (process, objective, *leaves, x_0, f64(0.5, 0.9), f64(0.2, 0.4), draws)
    torch._dynamo.reset()
    compiled = torch.compile(everything, backend="aot_eager", fullgraph=True)
    eager, fast = everything(*args), compiled(*args)
    torch.testing.assert_close(fast, eager)
    for a, b in zip(torch.autograd.grad(fast, leaves), torch.autograd.grad(eager, leaves), strict=True):
        torch.testing.assert_close(a, b)
