"""Optimizers with linear warm-up and cosine decay: AdamW, or Muon for hidden matrices with AdamW for the
rest.

Weight decay acts on matrices, not on norms, biases and embeddings. Muon (Jordan et al. 2024,
torch.optim.Muon) orthogonalises the update of each hidden matrix; with ``match_rms_adamw`` its rate is on
AdamW's scale (Liu et al. 2025), so one learning rate, times ``muon_rate``, serves both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..config import TrainConfig
from ..devices import pick_device, pick_precision


class Optimizers:
    """One or two torch optimizers that step together under one learning-rate schedule.

    Args:
        members: (optimizer, factor of the learning rate) pairs.
    """

    def __init__(self, members: list[tuple[torch.optim.Optimizer, float]]):
        self.members = members

    def set_learning_rate(self, rate: float) -> None:
        """Give each optimizer its multiple of a rate."""
        for optimizer, factor in self.members:
            for group in optimizer.param_groups:
                group["lr"] = rate * factor

    def step(self, bad: Tensor | None = None) -> None:
        """One step of every optimizer; weights and moments stay if ``bad``, a float scalar on their device,
        is 1. The device decides this, without synchronisation."""
        for optimizer, _ in self.members:
            if bad is None:
                optimizer.step()
            else:
                step_unless(bad, optimizer)

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for optimizer, _ in self.members:
            optimizer.zero_grad(set_to_none=True)


class Float32Muon(torch.optim.Muon):
    """torch's Muon with matrix products in float32 instead of bf16, which processors without bf16 products
    only emulate, in four times the time."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step, as :class:`torch.optim.Muon` takes it with ``match_rms_adamw``."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(weight.grad)
                buffer = state["momentum_buffer"].lerp_(weight.grad, 1 - momentum)
                update = weight.grad.lerp(buffer, momentum) if group["nesterov"] else buffer
                update = orthogonal(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
                weight.mul_(1 - rate * group["weight_decay"])
                weight.add_(update, alpha=-rate * 0.2 * math.sqrt(max(weight.shape)))
        return loss


def orthogonal(matrix: Tensor, factors: tuple[float, float, float], steps: int, least: float) -> Tensor:
    """A matrix with singular values near 1, by Newton-Schulz iterations X ← a X + (b A + c A²) X with
    A = X Xᵀ (Jordan et al. 2024); ``least`` keeps its norm from 0."""
    a, b, c = factors
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if tall else matrix
    x = x / x.norm().clamp_min(least)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def step_unless(bad: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """A step of one optimizer that changes nothing if ``bad`` is 1. Fused AdamW reads ``found_inf``, as with
    torch.amp.GradScaler; the state of another optimizer is copied and restored."""
    inner: Any = getattr(optimizer, "optimizer", optimizer)  # inside Accelerate's wrapper
    if getattr(inner, "_step_supports_amp_scaling", False):
        inner.found_inf = bad
        optimizer.step()
        del inner.found_inf
        return
    moving = [p for group in inner.param_groups for p in group["params"] if p.grad is not None]
    tensors = [p.detach() for p in moving]
    tensors += [v for p in moving for v in inner.state[p].values() if isinstance(v, Tensor)]
    before = [t.clone() for t in tensors]
    optimizer.step()
    for tensor, value in zip(tensors, before, strict=True):
        tensor.copy_(torch.where(bad > 0, value, tensor))


def make_optimizers(model: nn.Module, config: TrainConfig) -> Optimizers:
    """AdamW over all parameters, or Muon over the matrices inside ``model.blocks`` and AdamW over the
    rest."""
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    hidden = {
        name
        for name, p in parameters.items()
        if config.optimizer == "muon"
        and p.ndim == 2
        and name.startswith("blocks.")
        and "modulation" not in name
    }
    embeddings = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    others = {name: p for name, p in parameters.items() if name not in hidden}
    decayed = [p for p in others.values() if p.ndim >= 2 and id(p) not in embeddings]
    rest = [p for p in others.values() if p.ndim < 2 or id(p) in embeddings]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    members: list[tuple[torch.optim.Optimizer, float]] = [
        (torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, config.beta2), fused=True), 1.0)
    ]
    if hidden:
        inner = pick_precision(config.muon_precision, pick_device("auto"))
        kind = torch.optim.Muon if inner == "bf16" else Float32Muon
        muon = kind(
            [parameters[n] for n in sorted(hidden)],
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )
        members.append((muon, config.muon_rate))
    return Optimizers(members)


def learning_rate(step: int, config: TrainConfig) -> float:
    """Rate of step ``step`` (from 0): rises over warmup_steps, then falls as a half cosine to final_rate ×
    peak."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = min(1.0, (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps))
    return config.learning_rate * (
        config.final_rate + (1 - config.final_rate) * 0.5 * (1 + math.cos(math.pi * progress))
    )
