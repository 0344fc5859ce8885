"""The uniform + absorbing D3PM process: schedule → process (corrupt) → posterior → loss. Pure tensor
mathematics.

Notation, everywhere in this package: K codes, mask token m = K, t = 0 clean and t = 1 noise, s < t. Two
survival curves describe the process: g(t), not yet masked, and κ(t), not yet resampled from the K codes given
not masked:

    q(x_t | x_0) = g κ e_{x_0} + g (1-κ) u + (1-g) e_m ,   u uniform on the K codes.

docs/derivation has the derivation.
"""

from .curve import Curve
from .fused import fused_loss
from .kernel import Kernel
from .loss import Objective, Terms, bound_terms, diffusion_loss, low_discrepancy_times
from .posterior import (
    leave_one_out_logits,
    posterior,
    posterior_bias,
    posterior_logits,
    reverse_leave_one_out,
    reverse_mixture,
)
from .process import Process
from .schedule import ConstantShare, Gidd, Independent, MutualInformation, Schedule, make_schedule

__all__ = [
    "ConstantShare",
    "Curve",
    "Gidd",
    "Independent",
    "Kernel",
    "MutualInformation",
    "Objective",
    "Process",
    "Schedule",
    "Terms",
    "bound_terms",
    "diffusion_loss",
    "fused_loss",
    "leave_one_out_logits",
    "low_discrepancy_times",
    "make_schedule",
    "posterior",
    "posterior_bias",
    "posterior_logits",
    "reverse_leave_one_out",
    "reverse_mixture",
]
