"""The loss of stage two: noise, labels hidden at random, regions declared known, and the objective."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ..config import DiffusionLossConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..diffusion import Process
    from ..label_sets import LabelSets
    from ..training.random import StepRandom
    from ..training.task import Loss
    from ..types import Grid, TrainableDenoiser


def make_loss(process: Process, config: DiffusionLossConfig, grid: Grid, known_share: float = 0.0) -> Loss:
    """The objective of a :class:`~d3pm_image.types.TrainableDenoiser` on a batch of codes, with labels hidden
    at random, and regions of a share of the images declared known."""
    import torch

    from ..denoiser.labels import with_some_hidden
    from ..diffusion import Objective, bound_terms, diffusion_loss, fused_loss, low_discrepancy_times
    from ..diffusion.known_regions import DRAWS, known_regions
    from ..label_sets import LabelSets
    from ..metrics.noise_levels import accuracy_by_token, bound_by_noise_level

    objective, shares = Objective.from_config(config), dict[LabelSets, list[float]]()

    def loss(
        model: nn.Module, batch: dict[str, Tensor], random: StepRandom
    ) -> tuple[Tensor, dict[str, Tensor]]:
        x_0, labels = batch["codes"], batch["labels"]
        network = unwrapped(model)  # calls go to the wrapper, which exchanges gradients between processes
        times = low_discrepancy_times(random.shared(), random.total, process.steps)
        t = times[random.rows].to(x_0.device, non_blocking=True)
        x_t = process.corrupt(x_0, t, random.uniform(x_0.shape[1], 3))
        hidden = (random.uniform() < config.label_dropout) | (labels < 0)
        kappa, unknown = process.schedule.survival(t)[1], None
        if known_share > 0:
            known = known_regions(random.uniform(DRAWS + x_0.shape[1]), grid)
            unknown = ~(known & (random.uniform() < known_share)[:, None])
            x_t = torch.where(unknown, x_t, x_0)
            kappa = torch.where(unknown, kappa[:, None], torch.ones_like(kappa)[:, None])
        labels = torch.where(hidden, torch.full_like(labels, network.num_classes), labels)
        sets: LabelSets | None = getattr(network, "label_sets", None)
        if sets is not None:  # labels of one set are hidden as well
            if sets not in shares:
                shares[sets] = set_dropout(sets, config)
            drawn = random.uniform(len(sets.sizes))
            labels = with_some_hidden(labels, sets, drawn < drawn.new_tensor(shares[sets]))
        output = model(x_t, kappa, labels, grid, head=not config.fused, keys=random.keys())
        if config.fused:
            total, terms = fused_loss(
                process, objective, output, network.head.weight, network.head.bias, x_0, x_t, t, unknown
            )
        else:
            terms = bound_terms(process, output, x_0, x_t, t, objective.label_smoothing)
            total = diffusion_loss(process, objective, terms, x_0, x_t, t, unknown)
        bound, auxiliary = (mean_of_unknown(values, unknown) for values in (terms.bound, terms.auxiliary))
        found = {"bound_nats": bound.mean(), "cross_entropy_nats": auxiliary.mean()}
        found |= accuracy_by_token(process, terms.correct, x_0, x_t, unknown) | bound_by_noise_level(bound, t)
        return total, found

    return loss


def set_dropout(sets: LabelSets, config: DiffusionLossConfig) -> list[float]:
    """Fraction of the images whose label of a set is hidden, for each set. Raises ConfigError."""
    return sets.weights(config.set_dropout, "loss.set_dropout", 1.0, 0.0)


def mean_of_unknown(values: Tensor, unknown: Tensor | None) -> Tensor:
    """Values (B, N) so that the mean of a row is that over its unknown tokens; 0 at known ones."""
    if unknown is None:
        return values
    return values * unknown * (unknown.shape[1] / unknown.sum(1, keepdim=True).clamp_min(1))


def unwrapped(model: nn.Module) -> TrainableDenoiser:
    """The network inside a data-parallel wrapper."""
    return cast("TrainableDenoiser", getattr(model, "module", model))
